//! The sandbox as a program: a simulated AWS on a local port, for the AWS CLI, boto3 and curious people.

mod arguments;
mod feed;
mod greeting;

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf};

use sandbox::{
    Clock, Options, Sandbox,
    deployment::{self, INSTANCE_STATE, LIFECYCLE, RECONCILE},
    fleet::Fleet,
    lambda::process::{self, FunctionProcess},
    log_line::LogLine,
    server::{self, Server},
};
use tokio::sync::mpsc::{self, UnboundedSender};

use arguments::{HELP, parse};
use feed::{Line, print_what_happens, sentence};
use greeting::{greet, introduce};

/// What `--functions` starts.
const FUNCTIONS: [&str; 3] = [INSTANCE_STATE, LIFECYCLE, RECONCILE];

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = match parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return Ok(());
        }
        Err(error) => {
            eprintln!("sandbox: {error}\n\n{HELP}");
            std::process::exit(2);
        }
    };
    // Before the clock starts.
    let binaries = if arguments.has_functions { build()? } else { BTreeMap::new() };
    let options = Options { seed: arguments.seed, ..Options::default() };
    let sandbox = Sandbox::new(Clock::scaled(arguments.speed), options);
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, arguments.port)).await?;
    let (said, lines) = mpsc::unbounded_channel();
    let _functions = start(&sandbox, &server, binaries, &said).await?;
    greet(&server, &arguments);
    if arguments.has_fleet {
        let fleet = sandbox.with(Fleet::seed).map_err(|error| io::Error::other(error.message))?;
        introduce(&sandbox, &fleet);
    }
    println!("Every call is shown here. Stop it with Ctrl-C.\n");
    tokio::select! {
        () = print_what_happens(&sandbox, lines) => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped,
    }
}

fn build() -> io::Result<BTreeMap<&'static str, PathBuf>> {
    println!("Building the functions. The first time, that takes some minutes.");
    FUNCTIONS.into_iter().map(|function| Ok((function, deployment::build(function)?))).collect()
}

/// Deploys the functions that have binaries, and starts a process of each.
async fn start(
    sandbox: &Sandbox,
    server: &Server,
    binaries: BTreeMap<&'static str, PathBuf>,
    said: &UnboundedSender<Line>,
) -> io::Result<Vec<FunctionProcess>> {
    if !binaries.is_empty() {
        sandbox.with(|world| deployment::deploy(world, &[("Mode", "enforce")])).map_err(io::Error::other)?;
    }
    let mut processes = Vec::new();
    for (function, binary) in binaries {
        let launch = process::Launch {
            function: function.to_owned(),
            binary,
            endpoint_url: server.endpoint_url(),
            environment: BTreeMap::new(),
        };
        let (clock, said) = (sandbox.clock().clone(), said.clone());
        let on_line = move |line: &str| {
            if let Some(line) = LogLine::of(line) {
                // Nobody listens any more when the program ends.
                let _ = said.send((clock.now(), sentence(function, &line)));
            }
        };
        processes.push(process::spawn(sandbox, launch, on_line).await?);
    }
    Ok(processes)
}

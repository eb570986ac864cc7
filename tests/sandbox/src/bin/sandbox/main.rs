//! The sandbox as a program: a simulated AWS on a local port, for the AWS CLI, boto3 and curious people.

mod arguments;
mod feed;
mod greeting;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::ExitCode,
};

use sandbox::{
    Clock, Options, Sandbox,
    deployment::{self, INSTANCE_STATE, LIFECYCLE, RECONCILE},
    fleet::Fleet,
    lambda::process::{self, FunctionProcess},
    log_line::LogLine,
    server::{self, Server},
};
use tokio::sync::mpsc::{self, UnboundedSender};

use arguments::{Arguments, HELP, environment, parse};
use feed::{Line, print_what_happens, sentence};
use greeting::{greet, introduce, tell_settings};

/// The functions that `--functions` starts.
const FUNCTIONS: [&str; 3] = [INSTANCE_STATE, LIFECYCLE, RECONCILE];

/// The exit status of a program that was called wrongly.
const WRONGLY_CALLED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match parse(lexopt::Parser::from_env(), &environment()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("sandbox: {why} (`cargo sandbox --help` has every option)");
            return ExitCode::from(WRONGLY_CALLED);
        }
    };
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        // Prints the sentence: an error that `main` returns would be printed in its Debug form.
        Err(why) => {
            eprintln!("sandbox: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is stopped.
async fn run(arguments: &Arguments) -> Result<(), String> {
    let address = (Ipv4Addr::LOCALHOST, arguments.port);
    // This comes first, because building the functions can take minutes. The port is closed again meanwhile: otherwise a client
    // would wait for its answer.
    TcpListener::bind(address).map_err(|error| cannot_listen(arguments.port, &error))?;
    // They are built before the clock starts.
    let binaries = if arguments.functions.is_some() { build()? } else { BTreeMap::new() };
    let options = Options { seed: arguments.seed, ..Options::default() };
    let sandbox = Sandbox::new(Clock::scaled(arguments.speed), options);
    // The fleet is there before the program listens, so that the first client finds it.
    let fleet = arguments.has_fleet.then(|| sandbox.with(Fleet::seed)).transpose();
    let fleet = fleet.map_err(|error| format!("cannot create the fleet: {}", error.message))?;
    let server = server::serve(&sandbox, address).await.map_err(|error| cannot_listen(arguments.port, &error))?;
    let (said, lines) = mpsc::unbounded_channel();
    let _functions = match &arguments.functions {
        Some(parameters) => start(&sandbox, &server, parameters, binaries, &said).await?,
        None => Vec::new(),
    };
    greet(&server, arguments);
    if let Some(fleet) = &fleet {
        introduce(&sandbox, fleet, arguments.functions.is_some());
    }
    if let Some(parameters) = &arguments.functions {
        tell_settings(parameters);
    }
    println!("Every call is shown here. Stop it with Ctrl-C.\n");
    tokio::select! {
        () = print_what_happens(&sandbox, lines) => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| format!("cannot wait for Ctrl-C: {error}")),
    }
}

fn cannot_listen(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} of 127.0.0.1 is in use, perhaps by another sandbox: end that program, or choose another port with --port (0 is any free one)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} of 127.0.0.1 is not for this user: choose one from 1024 with --port (0 is any free one)"
            )
        }
        _ => format!(
            "cannot listen on port {port} of 127.0.0.1: {error}; choose another with --port (0 is any free one)"
        ),
    }
}

fn build() -> Result<BTreeMap<&'static str, PathBuf>, String> {
    println!("Building the functions. The first time, that takes some minutes.");
    let build = |function| deployment::build(function).map(|binary| (function, binary));
    FUNCTIONS
        .into_iter()
        .map(build)
        .collect::<io::Result<_>>()
        .map_err(|error| format!("cannot build a function: {error}"))
}

/// Deploys the functions, and starts a process of each.
async fn start(
    sandbox: &Sandbox,
    server: &Server,
    parameters: &BTreeMap<String, String>,
    binaries: BTreeMap<&'static str, PathBuf>,
    said: &UnboundedSender<Line>,
) -> Result<Vec<FunctionProcess>, String> {
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let deployed = sandbox.with(|world| deployment::deploy(world, &parameters));
    deployed.map_err(|error| format!("cannot deploy template.yaml: {error}"))?;
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
                // The receiver is gone when the program ends.
                let _ = said.send((clock.now(), sentence(function, &line)));
            }
        };
        let process = process::spawn(sandbox, launch, on_line).await;
        processes.push(process.map_err(|error| format!("cannot start {function}: {error}"))?);
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_is_named_with_what_to_do() {
        for (kind, words) in [
            (io::ErrorKind::AddrInUse, "port 4566 of 127.0.0.1 is in use"),
            (io::ErrorKind::PermissionDenied, "port 4566 of 127.0.0.1 is not for this user"),
            (io::ErrorKind::AddrNotAvailable, "cannot listen on port 4566 of 127.0.0.1"),
        ] {
            let sentence = cannot_listen(4566, &kind.into());
            assert!(sentence.starts_with(words) && sentence.contains("--port (0 is any free one)"), "{sentence}");
        }
    }
}

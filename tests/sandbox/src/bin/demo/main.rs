//! `cargo demo`: the real function, as it runs in Lambda, follows an instance over a stop and a start in a simulated AWS.
//!
//! It needs Rust and nothing else: no account, no network but for the crates. `story` plays, `watch` tells.

mod paint;
mod registered;
mod story;
mod table;
mod watch;

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, process::ExitCode};

use sandbox::{
    Clock, Options, Sandbox, Span,
    deployment::{self, INSTANCE_STATE},
    fleet::Fleet,
    lambda::process,
    server,
};
use tokio::sync::mpsc;

use paint::{ALARM, BOLD, paint};
use story::Broken;
use watch::Watch;

/// Simulated seconds in a real one. The story takes a bit over three minutes: slower, nobody waits for the end; faster,
/// nobody can read along.
const SPEED: f64 = 18.0;

const INTRODUCTION: &str = "\
An EC2 instance is stopped and started again. Its load balancers do not follow
by themselves: elb-registrar does it for them. The AWS here is simulated; the
function is the real one, as it runs in Lambda.
";

const FLEET: &str = "\
shop-classic is a Classic load balancer; web is a target group of instances on
two ports, behind an Application Load Balancer; edge is a target group of
addresses, behind a Network Load Balancer. web-2 gets another private address
whenever it starts, as in EC2-Classic. Times are simulated minutes and seconds.";

const POINTERS: &str = "\
What it does, and how to install it:  README.md
To stop and start them yourself:      cargo sandbox --functions --fleet";

#[tokio::main]
async fn main() -> ExitCode {
    anstream::println!("{}\n{INTRODUCTION}", paint(BOLD, "elb-registrar"));
    anstream::println!("Building the function {INSTANCE_STATE}. The first time, that takes some minutes.");
    let binary = match deployment::build(INSTANCE_STATE) {
        Ok(binary) => binary,
        Err(error) => return fail(&format!("cannot build the function: {error}"), &[]),
    };
    match run(binary).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((why, last_lines)) => fail(&why, &last_lines),
    }
}

/// Sets everything up and plays the story. Where that fails, it says why, and what the function wrote last.
async fn run(binary: PathBuf) -> Result<(), (String, Vec<String>)> {
    let without_lines = |why: &dyn std::fmt::Display| (why.to_string(), Vec::new());
    let sandbox = Sandbox::new(Clock::scaled(SPEED), options());
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| without_lines(&error))?;
    let fleet = sandbox.with(|world| {
        deployment::deploy(world, &[("Mode", "enforce")]).map_err(|error| without_lines(&error))?;
        Fleet::seed(world).map_err(|error| without_lines(&Broken::from(error)))
    })?;
    let (said, lines) = mpsc::unbounded_channel();
    let clock = sandbox.clock().clone();
    let launch = process::Launch {
        function: INSTANCE_STATE.to_owned(),
        binary,
        endpoint_url: server.endpoint_url(),
        environment: BTreeMap::new(),
    };
    // Nobody listens any more once the story is over.
    let on_line = move |line: &str| drop(said.send((clock.now(), line.to_owned())));
    let function = process::spawn(&sandbox, launch, on_line).await.map_err(|error: io::Error| without_lines(&error))?;
    anstream::println!("It runs in a simulated AWS at {}, {SPEED} times as fast.\n\n{FLEET}", server.endpoint_url());
    let mut watch = Watch::new(sandbox.clone(), fleet, lines);
    let played = story::play(&sandbox, &mut watch, function.access_key()).await;
    played.map_err(|why| (why.to_string(), watch.last_lines().map(str::to_owned).collect()))?;
    anstream::println!("\n{POINTERS}");
    Ok(())
}

/// Times that AWS takes, mostly at the short end, where nobody wants to wait for them. Not so the stopping: an instance
/// such as web-2 has its address only until it is stopped, and on a slow machine the function needs real time as well.
fn options() -> Options {
    Options {
        starting: Span::milliseconds(8_000, 12_000),
        stopping: Span::milliseconds(38_000, 42_000),
        becoming_healthy: Span::milliseconds(8_000, 14_000),
        ..Options::default()
    }
}

fn fail(why: &str, last_lines: &[String]) -> ExitCode {
    anstream::eprintln!("\n{} {why}.", paint(ALARM, "The demo failed:"));
    if !last_lines.is_empty() {
        anstream::eprintln!("The function's last words were:");
        last_lines.iter().for_each(|line| anstream::eprintln!("  {line}"));
    }
    ExitCode::FAILURE
}

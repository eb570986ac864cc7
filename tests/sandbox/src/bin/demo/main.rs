//! `cargo demo`: the real functions, as they run in Lambda, follow an instance over a stop and a start, and an Auto Scaling group
//! out and in, in a simulated AWS.
//!
//! It needs Rust and nothing else: no account, no network but for the crates. `story` and `scaling` play, `watch` tells.

mod beside;
mod paint;
mod registered;
mod scaling;
mod story;
mod table;
mod watch;

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, process::ExitCode};

use sandbox::{
    Clock, Options, Sandbox, Span,
    deployment::{self, INSTANCE_STATE, LIFECYCLE, LIFECYCLE_QUEUE, QUEUE},
    fleet::Fleet,
    lambda::process::{self, FunctionProcess},
    server,
};
use tokio::sync::mpsc;

use beside::Beside;
use paint::{ALARM, BOLD, paint};
use story::Broken;
use watch::{Subject, Watch};

/// Simulated seconds in a real one. The acts take some five minutes. Too small: a viewer does not wait for the end. Too large: a
/// viewer cannot read along.
const SPEED: f64 = 18.0;

const INTRODUCTION: &str = "\
An EC2 instance is stopped and started again. Its load balancers do not follow
by themselves: elb-registrar does it for them. The AWS here is simulated; the
functions are the real ones, as they run in Lambda. The same happens to the same
fleet in a second simulated AWS without them.
";

const FLEET: &str = "\
shop-classic is a Classic load balancer; web is a target group of instances on
two ports, behind an Application Load Balancer; edge is a target group of
addresses, behind a Network Load Balancer. web-2, whose id is $web_2, gets
another private address whenever it starts, as in EC2-Classic. Times are
simulated minutes and seconds.";

const GROUP: &str = "\
app is an Auto Scaling group behind a target group of addresses, which it cannot
attach. It has two lifecycle hooks, and the function completes their actions.";

const POINTERS: &str = "\
What it does, and how to install it:  README.md
To stop and start them yourself:      cargo sandbox --functions --fleet";

#[tokio::main]
async fn main() -> ExitCode {
    anstream::println!("{}\n{INTRODUCTION}", paint(BOLD, "elb-registrar"));
    anstream::println!("Building the functions. The first time, that takes some minutes.");
    let binaries = match deployment::build(INSTANCE_STATE).and_then(|first| Ok([first, deployment::build(LIFECYCLE)?]))
    {
        Ok(binaries) => binaries,
        Err(error) => return fail(&format!("cannot build a function: {error}"), &[]),
    };
    match run(binaries).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((why, last_lines)) => fail(&why, &last_lines),
    }
}

/// A function that runs, and how to watch it.
struct Actor {
    process: FunctionProcess,
    subject: Subject,
}

/// Why a story ended badly, and the function's last lines.
type Failure = (String, Vec<String>);

/// Sets everything up and plays both acts.
async fn run(binaries: [PathBuf; 2]) -> Result<(), Failure> {
    let sandbox = Sandbox::new(Clock::scaled(SPEED), options());
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| without_lines(&error))?;
    let (fleet, app) = sandbox.with(|world| {
        deployment::deploy(world, &[("Mode", "enforce")]).map_err(|error| without_lines(&error))?;
        let fleets = Fleet::seed(world).and_then(|fleet| Ok((fleet, scaling::set_up(world)?)));
        fleets.map_err(|error| without_lines(&Broken::from(error)))
    })?;
    let mut beside = Beside::new(Sandbox::new(Clock::scaled(SPEED), options()))
        .map_err(|error| without_lines(&Broken::from(error)))?;
    let url = server.endpoint_url();
    let [instance_state, lifecycle] = binaries;
    let first = start(&sandbox, &url, INSTANCE_STATE, QUEUE, instance_state).await?;
    let second = start(&sandbox, &url, LIFECYCLE, LIFECYCLE_QUEUE, lifecycle).await?;
    anstream::println!("They run in a simulated AWS at {url}, {SPEED} times as fast.");

    anstream::println!("\n{}\n{FLEET}", paint(BOLD, "Act one: a stop and a start"));
    let mut watch = Watch::new(sandbox.clone(), fleet, first.subject);
    let played = story::play(&sandbox, &mut beside, &mut watch, first.process.access_key()).await;
    played.map_err(|why| with_lines(&why, &watch))?;

    anstream::println!("\n{}\n{GROUP}", paint(BOLD, "Act two: out and in, without a lost request"));
    let mut watch = Watch::new(sandbox.clone(), app, second.subject).of_group(scaling::GROUP, &scaling::NAMES);
    let played = scaling::play(&sandbox, &mut beside, &mut watch, second.process.access_key()).await;
    played.map_err(|why| with_lines(&why, &watch))?;
    anstream::println!("\n{POINTERS}");
    Ok(())
}

async fn start(
    sandbox: &Sandbox,
    endpoint_url: &str,
    function: &'static str,
    queue: &'static str,
    binary: PathBuf,
) -> Result<Actor, Failure> {
    let (said, lines) = mpsc::unbounded_channel();
    let clock = sandbox.clock().clone();
    let launch = process::Launch {
        function: function.to_owned(),
        binary,
        endpoint_url: endpoint_url.to_owned(),
        environment: BTreeMap::new(),
    };
    // The receiver is gone when its act is over.
    let on_line = move |line: &str| drop(said.send((clock.now(), line.to_owned())));
    let process = process::spawn(sandbox, launch, on_line).await.map_err(|error: io::Error| without_lines(&error))?;
    Ok(Actor { process, subject: Subject { function, queue, lines } })
}

fn without_lines(why: &dyn std::fmt::Display) -> Failure {
    (why.to_string(), Vec::new())
}

fn with_lines(why: &Broken, watch: &Watch) -> Failure {
    (why.to_string(), watch.last_lines().map(str::to_owned).collect())
}

/// AWS's times, mostly at the short end, where a viewer need not wait for them. The stopping is longer: an instance such as web-2
/// has its address only until it is stopped, and on a slow machine the function needs real time as well.
fn options() -> Options {
    Options {
        starting: Span::milliseconds(8_000, 12_000),
        stopping: Span::milliseconds(38_000, 42_000),
        becoming_healthy: Span::milliseconds(8_000, 14_000),
        group_reaction: Span::milliseconds(1_000, 2_000),
        lifecycle_step: Span::milliseconds(500, 1_000),
        launch_to_wait: Span::milliseconds(3_000, 6_000),
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

//! The sandbox as a program: a simulated AWS on a local port, for the AWS CLI, boto3 and curious people.

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, time::Duration};

use lexopt::prelude::{Long, Short, ValueExt};
use sandbox::{
    Call, Clock, Options, Sandbox, Timestamp,
    deployment::{self, INSTANCE_STATE, LIFECYCLE, RECONCILE},
    events::Event,
    fleet::{self, Fleet, Place, RENEWED},
    lambda::{
        Ended,
        process::{self, FunctionProcess},
    },
    log_line::LogLine,
    server::{self, Server},
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

const HELP: &str = "\
A simulated AWS: EC2, Elastic Load Balancing (both), Auto Scaling, SQS, EventBridge, and Lambda's Invoke.

Usage: cargo sandbox [--functions] [--fleet] [--port 4566] [--speed 20] [--seed 24301]

  --functions  builds elb-registrar's functions, deploys them, and shows what they say
  --fleet      begins with three instances behind load balancers of all kinds, instead of nothing
  --port       where to listen on 127.0.0.1; 0 is any free port
  --speed      simulated seconds in a real one: at 20, a drain of five minutes takes fifteen seconds
  --seed       decides every delay and order, so that a run can be repeated
";

/// What `--functions` starts.
const FUNCTIONS: [&str; 3] = [INSTANCE_STATE, LIFECYCLE, RECONCILE];

/// How often what happened is printed. Calls are printed once they are answered, so a little late and in their order.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks after which a call is printed although it has no answer: its caller was killed, or it takes long.
const LOOKS_FOR_AN_ANSWER: u32 = 50;

/// Something that happened, and when.
type Line = (Timestamp, String);

struct Arguments {
    port: u16,
    speed: f64,
    seed: u64,
    has_functions: bool,
    has_fleet: bool,
}

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

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments =
        Arguments { port: 4566, speed: 20.0, seed: Options::default().seed, has_functions: false, has_fleet: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => arguments.port = parser.value()?.parse()?,
            Long("speed") => arguments.speed = parser.value()?.parse()?,
            Long("seed") => arguments.seed = parser.value()?.parse()?,
            Long("functions") => arguments.has_functions = true,
            Long("fleet") => arguments.has_fleet = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let is_usable = arguments.speed.is_finite() && (0.01..=10_000.0).contains(&arguments.speed);
    is_usable.then_some(Some(arguments)).ok_or_else(|| "--speed must be from 0.01 to 10000".into())
}

fn greet(server: &Server, arguments: &Arguments) {
    println!(
        "A simulated AWS listens at {}, {} times as fast as the real one.",
        server.endpoint_url(),
        arguments.speed
    );
    println!("In another terminal:\n");
    // Version 1 of the AWS CLI and boto3 read the one variable, version 2 and the other SDKs the other.
    println!(
        "  export AWS_REGION={0} AWS_DEFAULT_REGION={0} AWS_ENDPOINT_URL={1}",
        sandbox::REGION,
        server.endpoint_url()
    );
    println!("  export AWS_ACCESS_KEY_ID=AKIAEXAMPLE AWS_SECRET_ACCESS_KEY=sandbox");
    match arguments.has_fleet {
        true => println!(),
        // Version 1 of the CLI goes to the real SQS, whatever the environment says (awscli, overridesslcommonname.py).
        false => println!(
            "  aws ec2 describe-instances\n  aws sqs create-queue --queue-name events --endpoint-url $AWS_ENDPOINT_URL\n"
        ),
    }
}

/// Prints the fleet's ids, and commands that make something happen to it.
fn introduce(sandbox: &Sandbox, fleet: &Fleet) {
    println!("The fleet is registered in shop-classic (a Classic load balancer), in the target group web on the ports");
    println!("80 and 8080, and in the target group edge (of addresses) on port 443:\n");
    for member in &fleet.members {
        let address = sandbox.with(|world| fleet::primary_address(world, &member.id));
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let remark = if member.name == RENEWED { "  (another address at each restart, as in EC2-Classic)" } else { "" };
        println!("  {}  {}  {address}{remark}", member.name, member.id);
    }
    println!();
    if let Some(member) = fleet.member(RENEWED) {
        for verb in ["stop", "start"] {
            println!("  aws ec2 {verb}-instances --instance-ids {}", member.id);
        }
        println!("  aws ec2 describe-tags --filters Name=resource-id,Values={}", member.id);
    }
    println!("  aws elb describe-instance-health --load-balancer-name shop-classic");
    let mut arns: Vec<&str> = fleet.places.iter().filter_map(Place::target_group_arn).collect();
    arns.dedup();
    for arn in arns {
        println!("  aws elbv2 describe-target-health --target-group-arn {arn}");
    }
    println!();
}

/// Prints events, calls, invocations and what functions say, until it is dropped.
async fn print_what_happens(sandbox: &Sandbox, mut said: UnboundedReceiver<Line>) {
    let (mut events_seen, mut calls_seen, mut ended_seen, mut looks) = (0, 0, 0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut lines: Vec<Line> = Vec::new();
        let (events, calls, ended): (Vec<Event>, Vec<Call>, Vec<Ended>) = sandbox.with(|world| {
            let events = world.events.log[events_seen..].to_vec();
            (events, world.calls[calls_seen..].to_vec(), world.lambda.log[ended_seen..].to_vec())
        });
        events_seen += events.len();
        lines.extend(events.iter().map(of_event));
        for call in calls {
            if call.outcome.is_none() && looks < LOOKS_FOR_AN_ANSWER {
                looks += 1;
                break;
            }
            (calls_seen, looks) = (calls_seen + 1, 0);
            lines.push(of_call(&call));
        }
        lines.extend(std::iter::from_fn(|| said.try_recv().ok()));
        ended_seen += ended.len();
        lines.extend(ended.iter().map(of_invocation));
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().for_each(|(at, text)| println!("{} {text}", at.format("%H:%M:%S")));
    }
}

fn of_event(event: &Event) -> Line {
    (event.time, format!("event {}: {}", event.detail_type, event.detail))
}

fn sentence(function: &str, line: &LogLine) -> String {
    let instance = line.instance.as_deref().map(|id| format!("{id}: ")).unwrap_or_default();
    format!("{function} says: {instance}{line}")
}

fn of_call(call: &Call) -> Line {
    let outcome = match &call.outcome {
        Some(Ok(())) => "ok",
        Some(Err(code)) => code,
        None => "no answer",
    };
    let hidden = |name: &str| name == "Action" || name == "Version";
    let parameters: Vec<String> = call
        .parameters
        .iter()
        .filter(|(name, _)| !hidden(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (call.at, format!("{} {} {} -> {outcome}", call.access_key, call.iam_action(), parameters.join(" ")))
}

fn of_invocation(ended: &Ended) -> Line {
    let (Ok(result) | Err(result)) = &ended.result;
    let word = if ended.result.is_ok() { "answered" } else { "failed" };
    (ended.at, format!("{} lambda:{} {} {word} {result}", ended.access_key, ended.function, ended.request_id))
}

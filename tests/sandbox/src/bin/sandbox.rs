//! The sandbox as a program: a simulated AWS on a local port, for the AWS CLI, boto3 and curious people.

use std::{io, net::Ipv4Addr, time::Duration};

use lexopt::prelude::{Long, Short, ValueExt};
use sandbox::{
    Call, Clock, Options, Sandbox,
    lambda::Ended,
    server::{self, Server},
};

const HELP: &str = "\
A simulated AWS: EC2, Elastic Load Balancing (both), Auto Scaling, SQS, EventBridge, and Lambda's Invoke.

Usage: sandbox [--port 4566] [--speed 20] [--seed 24301]

  --port   where to listen on 127.0.0.1; 0 is any free port
  --speed  simulated seconds in a real one: at 20, a drain of five minutes takes fifteen seconds
  --seed   decides every delay and order, so that a run can be repeated
";

/// How often what happened is printed. Calls are printed once they are answered, so a little late and in their order.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks after which a call is printed although it has no answer: its caller was killed, or it takes long.
const LOOKS_FOR_AN_ANSWER: u32 = 50;

struct Arguments {
    port: u16,
    speed: f64,
    seed: u64,
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
    let options = Options { seed: arguments.seed, ..Options::default() };
    let sandbox = Sandbox::new(Clock::scaled(arguments.speed), options);
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, arguments.port)).await?;
    greet(&server, &arguments);
    // What else is to run in it (queues, rules, functions) is set up here.
    tokio::select! {
        () = print_what_happens(&sandbox) => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped,
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments { port: 4566, speed: 20.0, seed: Options::default().seed };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => arguments.port = parser.value()?.parse()?,
            Long("speed") => arguments.speed = parser.value()?.parse()?,
            Long("seed") => arguments.seed = parser.value()?.parse()?,
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
    // Not `AWS_REGION`, which neither boto3 nor version 1 of the CLI reads.
    println!("  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={}", server.endpoint_url(), sandbox::REGION);
    println!("  export AWS_ACCESS_KEY_ID=AKIAEXAMPLE AWS_SECRET_ACCESS_KEY=sandbox");
    println!("  aws ec2 describe-instances");
    // Version 1 of the CLI goes to the real SQS, whatever the environment says (awscli, overridesslcommonname.py).
    println!("  aws sqs create-queue --queue-name events --endpoint-url $AWS_ENDPOINT_URL\n");
    println!("Every call is shown here. Stop it with Ctrl-C.\n");
}

/// Prints calls and invocations until it is dropped.
async fn print_what_happens(sandbox: &Sandbox) {
    let (mut calls_seen, mut ended_seen, mut looks) = (0, 0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (calls, ended): (Vec<Call>, Vec<Ended>) =
            sandbox.with(|world| (world.calls[calls_seen..].to_vec(), world.lambda.log[ended_seen..].to_vec()));
        for call in calls {
            if call.outcome.is_none() && looks < LOOKS_FOR_AN_ANSWER {
                looks += 1;
                break;
            }
            (calls_seen, looks) = (calls_seen + 1, 0);
            print_call(&call);
        }
        ended_seen += ended.len();
        ended.iter().for_each(print_invocation);
    }
}

fn print_call(call: &Call) {
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
    let (at, who) = (call.at.format("%H:%M:%S"), &call.access_key);
    println!("{at} {who} {} {} -> {outcome}", call.iam_action(), parameters.join(" "));
}

fn print_invocation(ended: &Ended) {
    let (Ok(result) | Err(result)) = &ended.result;
    let word = if ended.result.is_ok() { "answered" } else { "failed" };
    let (at, who) = (ended.at.format("%H:%M:%S"), &ended.access_key);
    println!("{at} {who} lambda:{} {} {word} {result}", ended.function, ended.request_id);
}

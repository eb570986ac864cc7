//! What the program was started with.

use lexopt::prelude::{Long, Short, ValueExt};
use sandbox::Options;

pub(crate) const HELP: &str = "\
A simulated AWS: EC2, Elastic Load Balancing (both), Auto Scaling, SQS, EventBridge, and Lambda's Invoke.

Usage: cargo sandbox [--functions] [--fleet] [--port 4566] [--speed 20] [--seed 24301]

  --functions  builds elb-registrar's functions, deploys them, and shows what they say
  --fleet      begins with three instances behind load balancers of all kinds, instead of nothing
  --port       where to listen on 127.0.0.1; 0 is any free port
  --speed      simulated seconds in a real one: at 20, a drain of five minutes takes fifteen seconds
  --seed       decides every delay and order, so that a run can be repeated
";

pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) speed: f64,
    pub(crate) seed: u64,
    pub(crate) has_functions: bool,
    pub(crate) has_fleet: bool,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
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

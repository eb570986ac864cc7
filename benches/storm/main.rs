//! `cargo storm`: the cost and the time of many instances that stop and start together.
//!
//! The real handlers run in the sandbox, as the template deploys them, under the limits on calls that AWS publishes. All times are
//! simulated: they depend on the code and on no machine.

mod account;
mod bound;
mod course;
mod ledger;
mod page;
mod plan;
mod results;
mod table;

use std::{path::Path, process::ExitCode, time::Instant};

use lexopt::prelude::{Long, Short, ValueExt};

use account::Size;
use plan::Plan;

const HELP: &str = "\
Measures in a simulated AWS, with the published limits on calls, what it takes when many instances stop and start together.

Usage: cargo storm [--quick | --size 1000x500 | --write] [--jobs 2]

  --quick  small sizes only: whether everything still works
  --size   one size only: instances x target groups
  --jobs   how many at a time; as many as there are cores, unless said otherwise
  --write  writes docs/storm.md and docs/storm.svg, too

Exits with 1 if a storm did not end as it should, if an invocation timed out, or if 1000x500 missed its goals (benches/storm/results.rs).
";

/// The repository that this was built from.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

struct Arguments {
    plan: Plan,
    jobs: usize,
    is_written: bool,
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(arguments)) => run(arguments),
        Err(error) => {
            eprintln!("storm: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let (mut part, mut is_written) = (None, false);
    let mut jobs = std::thread::available_parallelism().map_or(1, usize::from);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => part = Some(Plan::quick()),
            Long("size") => part = Some(Plan::one(parser.value()?.parse_with(size)?)),
            Long("jobs") => jobs = parser.value()?.parse::<usize>()?.max(1),
            Long("write") => is_written = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if is_written && part.is_some() {
        return Err("the page has all sizes: --write goes with neither --quick nor --size".into());
    }
    Ok(Some(Arguments { plan: part.unwrap_or_else(Plan::full), jobs, is_written }))
}

fn size(text: &str) -> Result<Size, String> {
    let parts =
        text.split_once('x').and_then(|(n, g)| Some(Size { instances: n.parse().ok()?, groups: g.parse().ok()? }));
    // The restarts of one instance need groups of its own network for five registrations.
    parts.filter(|size| size.instances > 0 && size.groups >= 6).ok_or_else(|| "at least 1x6".to_owned())
}

fn run(Arguments { plan, jobs, is_written }: Arguments) -> ExitCode {
    let begun = now();
    let results = plan.run(jobs);
    let took = now() - begun;
    for table in results.tables() {
        println!("{}", table.to_text());
    }
    let memory = benchmarks::machine::memory().map_or_else(String::new, |most| format!(", with {most} MiB"));
    println!("measured in {:.0} s{memory}", took.as_secs_f64());
    let faults = results.faults();
    for fault in &faults {
        println!("{fault}");
    }
    if is_written && let Err(error) = page::write(Path::new(REPOSITORY), &results, took) {
        eprintln!("storm: cannot write the page: {error}");
        return ExitCode::FAILURE;
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is real time")]
fn now() -> Instant {
    Instant::now()
}

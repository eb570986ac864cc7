//! `cargo simulate`: plays many seeds, or one again.

use std::{
    collections::BTreeMap,
    ops::Range,
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use end_to_end::simulation::{
    self, Failure, Outcome, draw,
    exhaustive::{self, HARMS},
    plan::{Harm, Plan},
    shrink::shrink,
};
use lexopt::prelude::{Long, Short, ValueExt};

const HELP: &str = "\
Plays a seed's fleet, schedule and faults in a simulated AWS with the real functions, and checks what is promised.

Usage: cargo simulate [--seeds 1000] [--from 0] [--jobs 2] [--go-on]
       cargo simulate --seed 4711 [--log]
       cargo simulate --every-call [--jobs 2]

  --seeds  how many
  --from   the first one
  --jobs   how many at a time; as many as there are cores, unless said otherwise
  --go-on  when a promise was broken, too: says which seeds broke one, and stops after the last seed
  --seed   only this one: prints its plan, and how it ended
  --log    and everything that happened
  --every-call
           plays a few basic plans once for each call and each way in which that can go wrong, and races

Exits with 1 where a promise was broken, after printing the shortest plan found that breaks it, and the command that repeats it.
";

struct Arguments {
    seeds: Range<u64>,
    jobs: usize,
    /// Whether to play the other seeds after one that broke a promise.
    goes_on: bool,
    /// No seeds, but every call of the basic plans.
    every_call: bool,
    /// One seed alone: whether to print its log.
    one: Option<bool>,
}

/// The sums over many seeds.
#[derive(Default)]
struct Totals {
    seeds: u64,
    simulated: Duration,
    calls: usize,
    struck: BTreeMap<&'static str, usize>,
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(Arguments { seeds, one: Some(log), .. })) => one(seeds.start, log),
        Ok(Some(Arguments { jobs, every_call: true, .. })) => every_call(jobs),
        Ok(Some(arguments)) => many(&arguments),
        Err(error) => {
            eprintln!("simulate: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let (mut count, mut from, mut seed) = (1_000, 0, None);
    let (mut goes_on, mut log, mut every_call) = (false, false, false);
    let mut jobs = std::thread::available_parallelism().map_or(1, usize::from);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => count = parser.value()?.parse()?,
            Long("from") => from = parser.value()?.parse()?,
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("jobs") => jobs = parser.value()?.parse::<usize>()?.max(1),
            Long("go-on") => goes_on = true,
            Long("log") => log = true,
            Long("every-call") => every_call = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    let seeds = seed.map_or(from..from + count, |seed: u64| seed..seed + 1);
    Ok(Some(Arguments { seeds, jobs, goes_on, every_call, one: seed.map(|_| log) }))
}

fn one(seed: u64, is_log_wanted: bool) -> ExitCode {
    let plan = draw::plan(seed);
    print!("{plan}");
    match simulation::run(&plan) {
        Ok(outcome) => {
            if is_log_wanted {
                print!("{}", outcome.log);
            }
            println!("{:?}, {:?}: every promise was kept", outcome.cost, outcome.struck);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if is_log_wanted {
                print!("{}", failure.log);
            }
            report(seed, &failure);
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let begun = now();
    let (next, seeds) = (AtomicU64::new(arguments.seeds.start), arguments.seeds.clone());
    let (told, results) = mpsc::channel();
    let (totals, broken) = std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            let (told, next, end) = (told.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // The receiver is gone after the first failure.
                    if seed >= end || told.send((seed, run(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        let collected = collect(results, arguments, begun);
        next.store(seeds.end, Ordering::Relaxed);
        collected
    });
    if broken.is_empty() || arguments.goes_on {
        totals.print(now() - begun);
    }
    for (seed, failure) in &broken {
        report(*seed, failure);
    }
    if !broken.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("every promise was kept");
    ExitCode::SUCCESS
}

fn every_call(jobs: usize) -> ExitCode {
    let begun = now();
    let basics = exhaustive::basics().into_iter().flat_map(|(name, plan)| {
        HARMS.map(|harm| Work { name: name.to_owned(), plan: plan.clone(), harm: Some(harm) })
    });
    let races = exhaustive::races().into_iter().map(|(name, plan)| Work { name, plan, harm: None });
    let work: Vec<Work> = basics.chain(races).collect();
    let next = AtomicUsize::new(0);
    let runs: Vec<Option<usize>> = std::thread::scope(|scope| {
        let worker = || {
            let mut runs = Some(0);
            while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                match work.play() {
                    Ok(more) => runs = runs.map(|runs| runs + more),
                    Err((struck, failure)) => {
                        println!("{}: {}\n{struck}\nwhich ends:\n{}", work.name, failure.violation, tail(&failure.log));
                        runs = None;
                    }
                }
            }
            runs
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("its panic was printed")).collect()
    });
    match runs.into_iter().sum::<Option<usize>>() {
        Some(runs) => {
            println!("{runs} runs in {:.0} s: every promise was kept", (now() - begun).as_secs_f64());
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

/// A plan to be played as it is, or once for each of its calls with a harm that strikes that one.
struct Work {
    name: String,
    plan: Plan,
    harm: Option<Harm>,
}

impl Work {
    /// Returns the number of runs.
    fn play(&self) -> Result<usize, (Box<Plan>, Box<Failure>)> {
        match self.harm {
            Some(harm) => exhaustive::strike_each(&self.plan, harm),
            None => match simulation::run(&self.plan) {
                Ok(_) => Ok(1),
                Err(failure) => Err((Box::new(self.plan.clone()), failure)),
            },
        }
    }
}

/// Runs a seed. If that panics, prints the seed before the panic goes on.
fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    let plan = draw::plan(seed);
    std::panic::catch_unwind(|| simulation::run(&plan)).unwrap_or_else(|panic| {
        eprintln!("seed {seed} panicked; repeat it with: cargo simulate --seed {seed}\n{plan}");
        std::panic::resume_unwind(panic)
    })
}

/// Returns the sums over the seeds, and the seeds that broke a promise: only the first one, unless all are wanted.
fn collect(
    results: mpsc::Receiver<(u64, Result<Outcome, Box<Failure>>)>,
    arguments: &Arguments,
    begun: Instant,
) -> (Totals, Vec<(u64, Box<Failure>)>) {
    let (mut totals, mut broken, mut printed) = (Totals::default(), Vec::new(), begun);
    for (seed, result) in results {
        match result {
            Ok(outcome) => totals.add(&outcome),
            Err(failure) => {
                println!("seed {seed}: {}", failure.violation);
                broken.push((seed, failure));
                if !arguments.goes_on {
                    break;
                }
            }
        }
        if now() - printed >= Duration::from_secs(1) {
            printed = now();
            let seeds = arguments.seeds.end - arguments.seeds.start;
            println!("{} of {seeds} seeds, {} calls", totals.seeds, totals.calls);
        }
    }
    (totals, broken)
}

fn report(seed: u64, failure: &Failure) {
    let plan = draw::plan(seed);
    println!("\nseed {seed}: {}\n\nlooking for a shorter plan...", failure.violation);
    let short = shrink(&plan, failure.violation.promise);
    match simulation::run(&short) {
        Err(shortest) => println!("{}\n{short}\nwhich ends:\n{}", shortest.violation, tail(&shortest.log)),
        Ok(_) => println!("none found; this one fails:\n{plan}\nwhich ends:\n{}", tail(&failure.log)),
    }
    println!("repeat it with: cargo simulate --seed {seed} --log");
}

/// Returns the end of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.simulated += outcome.duration;
        self.calls += outcome.cost.calls;
        for (kind, count) in &outcome.struck {
            *self.struck.entry(kind).or_default() += count;
        }
    }

    fn print(&self, wall: Duration) {
        let Self { seeds, simulated, calls, struck } = self;
        let hours = simulated.as_secs() / 3600;
        let per_second = *seeds as f64 / wall.as_secs_f64();
        println!(
            "{seeds} seeds, {hours} simulated hours, {calls} calls, in {:.0} s: {per_second:.1} a second",
            wall.as_secs_f64()
        );
        let faults: Vec<String> = struck.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("faults: {}", faults.join(", "));
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is real time")]
fn now() -> Instant {
    Instant::now()
}

//! Instructions of one event, counted by valgrind's callgrind: the figure that CI watches, since it hardly depends on the machine.
//!
//! Over plain HTTP: what encryption costs is its library's, and varies with what the processor offers to it.

use std::{collections::BTreeMap, error::Error, fs, path::Path, process::Stdio, time::Duration};

use sandbox::{
    deployment::INSTANCE_STATE,
    lambda::{
        process::{self, Launch},
        serve_runtime,
    },
    server,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::scene::Scene;

/// Events of the shorter of two runs; the longer has twice as many. Fewer, and what varies from run to run is a larger part of the
/// difference; more, and it takes longer than a step of CI should.
const EVENTS: usize = 6;

/// How much more than committed is a regression, in parts of a hundred. What varies from run to run are hash seeds, and which of the
/// calls in flight find a connection: two counts, on a busy machine, were within 0.4 (event) and 1.9 (start). Less fails for
/// nothing; more, and a few further calls among some thirty go unseen.
const TOLERATED_PERCENT: u64 = 10;

/// Of one run. Valgrind is some fifty times slower than the processor, and a machine of CI may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the committed figures are.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// Counts, and compares with what is committed, or commits it.
pub(crate) async fn check(binary: &Path, updates: bool) -> Result<(), Box<dyn Error>> {
    let counted = count(binary).await?;
    println!("instructions: {} an event (a stop), {} to start and connect", counted.event, counted.start);
    if updates {
        let figures = json!({ "event": counted.event, "start": counted.start });
        return Ok(fs::write(COMMITTED, format!("{figures:#}\n"))?);
    }
    let committed: Value = serde_json::from_str(&fs::read_to_string(COMMITTED)?)?;
    let compared =
        [("event", counted.event), ("start", counted.start)].map(|(name, now)| compare(name, &committed, now));
    let worse: Vec<String> = compared.into_iter().filter_map(Result::err).collect();
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\nIf that is meant: .ci/instructions --update", worse.join("\n")).into()),
    }
}

fn compare(name: &str, committed: &Value, now: u64) -> Result<(), String> {
    let before = committed[name].as_u64().ok_or_else(|| format!("{COMMITTED} has no number for {name}"))?;
    match now * 100 <= before * (100 + TOLERATED_PERCENT) {
        true => Ok(()),
        false => {
            Err(format!("{name}: {now} instructions, {before} are committed, {TOLERATED_PERCENT} % more are tolerated"))
        }
    }
}

/// What was counted.
struct Counted {
    /// Of one event, when the process has served some.
    event: u64,
    /// Of everything else: the start, and what only the first events need.
    start: u64,
}

/// Two runs, and the difference between them: so nothing of an event's figure is the start's.
async fn count(binary: &Path) -> Result<Counted, Box<dyn Error>> {
    let shorter = run(binary, EVENTS).await?;
    let longer = run(binary, 2 * EVENTS).await?;
    let events = u64::try_from(EVENTS)?;
    let event = longer.saturating_sub(shorter) / events;
    Ok(Counted { event, start: shorter.saturating_sub(event * events) })
}

/// All instructions of a process that serves so many stops.
async fn run(binary: &Path, events: usize) -> Result<u64, Box<dyn Error>> {
    // In both runs the same account, with the same answers.
    let scene = Scene::new(2 * EVENTS)?;
    let aws = server::serve(&scene.sandbox, ([127, 0, 0, 1], 0)).await?;
    let counts = callgrind(binary, &scene, events, aws.endpoint_url(), BTreeMap::new()).await?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
}

/// Runs a program under callgrind while it serves so many stops. Returns what callgrind writes.
pub(crate) async fn callgrind(
    binary: &Path,
    scene: &Scene,
    events: usize,
    endpoint_url: String,
    environment: BTreeMap<String, String>,
) -> Result<String, Box<dyn Error>> {
    let runtime = serve_runtime(&scene.sandbox, INSTANCE_STATE).await?;
    let launch = Launch { function: INSTANCE_STATE.into(), binary: binary.to_owned(), endpoint_url, environment };
    let counts = std::env::temp_dir().join(format!("callgrind.{}.{events}", std::process::id()));
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--error-exitcode=0", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(binary)
        .env_clear()
        .envs(process::variables(&scene.sandbox, &launch, &runtime))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let served = async {
        for index in 0..events {
            let answer = scene.sandbox.invoke(INSTANCE_STATE, scene.stop(index).await?).await;
            if scene.standing(index)? != (0, 3) {
                return Err(format!("the {index}th stop was not served: {answer:?}"));
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, served).await.map_err(|_| "the stops take too long")??;
    // A process that finds no API to ask for the next event ends, and valgrind writes what it has counted.
    drop(runtime);
    tokio::time::timeout(PATIENCE, child.wait()).await.map_err(|_| "the process does not end")??;
    let text = fs::read_to_string(&counts)?;
    fs::remove_file(&counts)?;
    Ok(text)
}

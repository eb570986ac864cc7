//! The project as it is deployed: rule, queue, dead letters, function, and the settings that tie them together.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    events::{self, Target},
    lambda::{self, BatchSettings, FunctionSpec},
    sqs,
    world::{ACCOUNT, REGION, World},
};

/// The function that converges the instances that EC2's state changes name, and its queue.
pub const INSTANCE_STATE: &str = "instance-state";

/// The function that sweeps, on a schedule.
pub const RECONCILE: &str = "reconcile";

/// The queue for what nobody understands, and for what failed for good.
pub const DEAD_LETTERS: &str = "instance-state-dead-letters";

/// How long one invocation may take: a scan of a thousand target groups at the published rates, and some.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Receives of a message until it is a dead letter. Waiting is parking, and every look is a receive: an ordinary restart has
/// four, one that has to wait for a draining some more. What always fails is retried for about eight hours.
const RECEIVES_MAX: u32 = 50;

/// What the rule matches.
pub const PATTERN: &str = r#"{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"]}"#;

/// Deploys the function `instance-state` with its rule and queues. `settings` are environment variables of the function
/// beside the queues' URLs.
///
/// # Panics
/// Where the sandbox refuses its own project: a bug of one of the two.
pub fn deploy(world: &mut World, settings: &BTreeMap<String, String>) {
    let visibility = (TIMEOUT.as_secs() * 6).to_string();
    let redrive =
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"{RECEIVES_MAX}"}}"#, sqs::arn(DEAD_LETTERS));
    let attributes = [("VisibilityTimeout", visibility.as_str()), ("RedrivePolicy", redrive.as_str())];
    sqs::create_queue(world, DEAD_LETTERS, &[]).expect("a new name");
    sqs::create_queue(world, INSTANCE_STATE, &attributes).expect("a new name and known attributes");

    let mut function = FunctionSpec::new(INSTANCE_STATE);
    function.timeout = TIMEOUT;
    function.environment = settings.clone();
    function.environment.insert("REGISTRAR_QUEUE_URL".into(), queue_url(INSTANCE_STATE));
    function.environment.insert("REGISTRAR_DEAD_LETTER_QUEUE_URL".into(), queue_url(DEAD_LETTERS));
    lambda::create_function(world, function);
    let mut sweep = FunctionSpec::new(RECONCILE);
    sweep.timeout = Duration::from_secs(900);
    sweep.environment = settings.clone();
    lambda::create_function(world, sweep);
    let batches = BatchSettings {
        batch_size: 1_000,
        window: Duration::from_secs(2),
        maximum_concurrency: Some(2),
        report_item_failures: true,
    };
    lambda::map_queue(world, INSTANCE_STATE, INSTANCE_STATE, batches).expect("a queue of which nobody else receives");

    events::put_rule(world, INSTANCE_STATE, Some(PATTERN), None, true).expect("a documented pattern");
    events::put_target(world, INSTANCE_STATE, Target::new("queue", &sqs::arn(INSTANCE_STATE)))
        .expect("an existing rule");
}

/// The URL of one of the deployment's queues. Which host it names does not matter to the sandbox.
pub fn queue_url(name: &str) -> String {
    format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}")
}

/// Builds a function with the cargo that runs us and the same profile, and says where its binary is.
///
/// The variable `ELB_REGISTRAR_BINARIES` names a folder of binaries to be used instead, such as what `sam build` has made.
///
/// # Errors
/// Where it does not build, or there is no such binary.
pub fn build(function: &str) -> io::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ELB_REGISTRAR_BINARIES") {
        let binary = Path::new(&folder).join(function);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", binary.display()));
        return binary.is_file().then_some(binary.clone()).ok_or_else(missing);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // From the workspace's root and without `--package`, so that all crates have the features that they have in
    // `cargo test` and `cargo run` there: otherwise the AWS SDK would be compiled once more.
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).args(["build", "--bin", function]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{function} does not build")));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == function;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    lines
        .lines()
        .rev()
        .find_map(executable)
        .ok_or_else(|| io::Error::other(format!("cargo named no binary {function}")))
}

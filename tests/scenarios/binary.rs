//! The built binary over sockets: Lambda's Runtime API on one side, AWS's wire protocols on the other.
//!
//! The sandbox's clock runs 60 times as fast as the wall's, so no figure here is about time.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use sandbox::{
    Clock, Options, Sandbox, World,
    deployment::{self, INSTANCE_STATE, QUEUE},
    ec2::{self, Launch},
    elb,
    lambda::process::{self, FunctionProcess},
    server::{self, Server},
};
use serde_json::Value;

/// Simulated seconds in a second.
const SPEED: f64 = 60.0;

fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| deployment::build(INSTANCE_STATE).expect("a function that builds")).clone()
}

/// The function deployed in an AWS that listens, with one instance behind a Classic load balancer.
struct Running {
    sandbox: Sandbox,
    instance: String,
    lines: Arc<Mutex<Vec<String>>>,
    _server: Server,
    _process: FunctionProcess,
}

/// `environment` is what the function has besides what the template gives it.
async fn run(environment: &[(&str, &str)]) -> Running {
    let binary = tokio::task::spawn_blocking(binary).await.expect("a binary");
    let sandbox = Sandbox::new(Clock::scaled(SPEED), Options::default());
    let instance = sandbox.with(|world| {
        deployment::deploy(world, &[("Mode", "enforce")]).expect("a template that can be deployed");
        let vpc = ec2::create_vpc(world, "10.0.0.0/16");
        let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
        let instance = ec2::launch_running(world, Launch::new(&subnet)).expect("a launch");
        elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("a new name");
        elb::register(world, "shop", &instance).expect("an instance");
        instance
    });
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = lines.clone();
    let launch = process::Launch {
        function: INSTANCE_STATE.into(),
        binary,
        endpoint_url: server.endpoint_url(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let keep = move |line: &str| kept.lock().expect("no panic in between").push(line.to_owned());
    let process = process::spawn(&sandbox, launch, keep).await.expect("a process");
    Running { sandbox, instance, lines, _server: server, _process: process }
}

impl Running {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic in between").clone()
    }

    async fn until(&self, what: &str, is_true: impl Fn(&World) -> bool) {
        // A minute of the wall's time, which is an hour here.
        for _ in 0..600 {
            if self.sandbox.with(|world| is_true(world)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}\n{}", self.lines().join("\n"));
    }

    fn log(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_takes_out_and_gives_back() {
    let running = run(&[]).await;
    let instance = running.instance.clone();
    running.sandbox.with(|world| ec2::stop(world, &instance)).expect("a stop");
    running
        .until("out, held and stopped", |world| {
            let found = world.ec2.instance(&instance).expect("an instance");
            elb::members(world, "shop").is_empty()
                && found.tags.keys().any(|key| key.starts_with("elb-registrar:held"))
                && found.state == ec2::InstanceState::Stopped
        })
        .await;
    running.sandbox.with(|world| ec2::start(world, &instance)).expect("a start");
    running
        .until("back and forgotten", |world| {
            let found = world.ec2.instance(&instance).expect("an instance");
            elb::members(world, "shop").len() == 1 && found.tags.is_empty()
        })
        .await;
    println!("{} bytes of log", running.lines().iter().map(|line| line.len() + 1).sum::<usize>());
    let log = running.log();
    for message in ["held", "deregistered", "registered", "forgotten"] {
        let line = log.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {log:#?}"));
        assert_eq!((&line["instance"], &line["registration"]), (&instance.as_str().into(), &"clb:shop".into()));
        assert!(line["why"].is_string() && line["level"] == "INFO", "{line}");
        let time = line["timestamp"].as_str().unwrap_or_default();
        // RFC 3339: without it Lambda takes no notice of the level.
        assert!(time.len() > 19 && &time[10..11] == "T" && time.ends_with('Z'), "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_answers_the_documented_event_with_a_report() {
    let running = run(&[]).await;
    let event = include_str!("../../events/instance-stopped.json");
    let event = serde_json::from_str(event).expect("JSON");
    let report = running.sandbox.invoke(INSTANCE_STATE, event).await.expect("a report");
    let part = &report["instances"]["i-abcd1111"];
    assert_eq!(part["nothing_to_do"], "EC2 does not know the instance (any more)", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_stops_the_binary_with_a_sentence_that_names_it() {
    let running = run(&[("REGISTRAR_MODE", "dry-run")]).await;
    let sentence = "the environment variable REGISTRAR_MODE is `dry-run`, and has to be `enforce` or `observe`";
    for _ in 0..100 {
        if running.lines().iter().any(|line| line.contains(sentence)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", running.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_in_the_log_and_the_event_is_kept() {
    let running = run(&[]).await;
    let instance = running.instance.clone();
    running
        .sandbox
        .with(|world| {
            let all = world.iam.permissions();
            all.iter().filter(|permission| permission.action == "ec2:CreateTags").for_each(|missing| {
                world.iam.revoke(missing);
            });
            ec2::stop(world, &instance)
        })
        .expect("a stop");
    let is_named =
        |line: &Value| line["level"] == "ERROR" && line["why"].as_str().is_some_and(|w| w.contains("ec2:CreateTags"));
    for _ in 0..600 {
        if running.log().iter().any(is_named) {
            let kept = running.sandbox.with(|world| world.sqs.queue(QUEUE).map_or(0, |queue| queue.messages().count()));
            let members = running.sandbox.with(|world| elb::members(world, "shop").len());
            assert_eq!((kept > 0, members), (true, 1), "not held, so not taken");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", running.lines());
}

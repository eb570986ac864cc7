//! The built binary over sockets: Lambda's Runtime API on one side, AWS's wire protocols on the other.
//!
//! The sandbox's clock runs 60 times as fast as the wall's, so no figure here is about time.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use sandbox::{
    Clock, Options, Sandbox, World,
    auto_scaling::{self, ActionResult, Ending, GroupSpec, HookSpec, LifecycleState},
    deployment::{self, INSTANCE_STATE, LIFECYCLE, QUEUE},
    ec2::{self, Launch},
    elb,
    elbv2::{self, Kind, TargetGroupSpec},
    lambda::process::{self, FunctionProcess},
    server::{self, Server},
    traffic::{self, Client},
    wire::ApiError,
};
use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpListener};

/// Simulated seconds in a second.
const SPEED: f64 = 60.0;

/// Builds each program once, one after the other.
pub(crate) fn binary(function: &'static str) -> PathBuf {
    static BINARIES: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut binaries = BINARIES.lock().expect("no function that does not build");
    binaries.entry(function).or_insert_with(|| deployment::build(function).expect("a function that builds")).clone()
}

/// A function deployed in an AWS that listens, with one instance behind a Classic load balancer.
struct Running {
    sandbox: Sandbox,
    vpc: String,
    subnet: String,
    instance: String,
    lines: Arc<Mutex<Vec<String>>>,
    _server: Server,
    _process: FunctionProcess,
}

/// Starts a function. `environment` adds variables to those that the template gives it.
async fn run(environment: &[(&str, &str)]) -> Running {
    run_function(INSTANCE_STATE, environment).await
}

async fn run_function(function: &'static str, environment: &[(&str, &str)]) -> Running {
    let binary = tokio::task::spawn_blocking(move || binary(function)).await.expect("a binary");
    let sandbox = Sandbox::new(Clock::scaled(SPEED), Options::default());
    let (vpc, subnet, instance) = sandbox.with(|world| {
        deployment::deploy(world, &[("Mode", "enforce")]).expect("a template that can be deployed");
        let vpc = ec2::create_vpc(world, "10.0.0.0/16");
        let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
        let instance = ec2::launch_running(world, Launch::new(&subnet)).expect("a launch");
        elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("a new name");
        elb::register(world, "shop", &instance).expect("an instance");
        (vpc, subnet, instance)
    });
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = lines.clone();
    let launch = process::Launch {
        function: function.into(),
        binary,
        endpoint_url: server.endpoint_url(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let keep = move |line: &str| kept.lock().expect("no panic in between").push(line.to_owned());
    let process = process::spawn(&sandbox, launch, keep).await.expect("a process");
    Running { sandbox, vpc, subnet, instance, lines, _server: server, _process: process }
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
    // It tells of a change after AWS has confirmed it.
    running.until("told", |_| running.log().iter().any(|line| line["message"] == "forgotten")).await;
    println!("{} bytes of log", running.lines().iter().map(|line| line.len() + 1).sum::<usize>());
    let log = running.log();
    for message in ["held", "deregistered", "registered", "forgotten"] {
        let line = log.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {log:#?}"));
        assert_eq!((&line["instance"], &line["registration"]), (&instance.as_str().into(), &"clb:shop".into()));
        assert!(line["why"].is_string() && line["level"] == "INFO", "{line}");
        let time = line["timestamp"].as_str().unwrap_or_default();
        // RFC 3339: with another format Lambda ignores the level.
        assert!(time.len() > 19 && &time[10..11] == "T" && time.ends_with('Z'), "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_connects_before_it_has_work_and_may() {
    let running = run(&[]).await;
    let is_answered = |world: &World, action: &str| {
        world.calls.iter().any(|call| call.action == action && matches!(call.outcome, Some(Ok(()))))
    };
    let both = |world: &World| ["DescribeInstances", "DescribeLoadBalancers"].iter().all(|a| is_answered(world, a));
    running.until("both hosts have answered", both).await;
    let calls = running.sandbox.with(|world| world.calls.len());
    let log = running.log();
    let told: Vec<(&str, &str)> =
        log.iter().filter_map(|line| Some((line["mode"].as_str()?, line["message"].as_str()?))).collect();
    assert_eq!((calls, log.len(), told), (2, 1, vec![("enforce", "what is decided is done")]));
}

/// Listens on a port, which may stand in a URL.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address.to_string())
}

/// Accepts a connection, and returns what comes first.
async fn first_heard(listener: TcpListener) -> String {
    let (mut connection, _) = listener.accept().await.expect("a connection");
    let mut read = [0; 4096];
    let length = connection.read(&mut read).await.expect("a request");
    String::from_utf8_lossy(&read[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_calls_through_the_proxy_unless_a_host_is_excepted() {
    let ((proxy, at), (excepted, direct)) = (listen().await, listen().await);
    let _running = run(&[
        ("HTTPS_PROXY", &format!("http://me:secret@{at}")),
        ("NO_PROXY", "127.0.0.1"),
        ("AWS_ENDPOINT_URL_EC2", "https://ec2.us-east-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING", &format!("https://{direct}")),
    ])
    .await;
    let heard = async { tokio::join!(first_heard(proxy), first_heard(excepted)) };
    let (proxy, excepted) = tokio::time::timeout(Duration::from_secs(60), heard).await.expect("two connections");
    assert!(proxy.starts_with("CONNECT ec2.us-east-1.amazonaws.com:443 HTTP/1.1\r\n"), "{proxy}");
    // `me:secret` in Base64.
    assert!(proxy.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"), "{proxy}");
    assert!(excepted.starts_with('\u{16}'), "a handshake of TLS: {excepted:?}");
}

/// Creates a group with hooks. Its only member must be registered by its address in a target group that drains for a minute.
fn create_fleet(world: &mut World, vpc: &str, subnet: &str) -> Result<(), ApiError> {
    let group = elbv2::create_target_group(world, TargetGroupSpec::addresses("edge", vpc, 443))?;
    let balancer = elbv2::create_load_balancer(world, Kind::Application, "edge-alb", vpc)?;
    elbv2::attach(world, &group, &balancer, 443)?;
    elbv2::set_deregistration_delay(world, &group, DRAIN)?;
    let launch = HookSpec::launching("elb-registrar-launch").heartbeat(900).metadata(r#"{"register": ["tg:edge"]}"#);
    let terminate = HookSpec::terminating("elb-registrar-terminate").heartbeat(900);
    auto_scaling::create_group(world, GroupSpec::new("fleet", subnet).hook(launch).hook(terminate).desired(1))
}

const DRAIN: Duration = Duration::from_secs(60);

/// Returns the number of members, if all of them are in service.
fn in_service(world: &World) -> Option<usize> {
    let members = &world.auto_scaling.groups["fleet"].members;
    let all = members.values().all(|member| member.lifecycle_state == LifecycleState::InService);
    all.then_some(members.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_loses_no_request_as_members_come_and_go() {
    let running = run_function(LIFECYCLE, &[]).await;
    let sandbox = &running.sandbox;
    sandbox.with(|world| create_fleet(world, &running.vpc, &running.subnet)).expect("a group");
    running.until("a first member", |world| in_service(world) == Some(1)).await;
    sandbox.with(|world| traffic::send(world, Client::to("tg:edge").taking(DRAIN / 2))).expect("a balancer");
    for wanted in [2, 1] {
        sandbox.with(|world| auto_scaling::set_desired(world, "fleet", wanted)).expect("a size");
        running.until("as many members as wanted", |world| in_service(world) == Some(wanted)).await;
    }
    let (ended, tally) = sandbox.with(|world| (world.auto_scaling.ended_actions.clone(), traffic::tally(world)));
    let hooks: Vec<_> = ended.iter().map(|ended| (ended.action.hook.name.as_str(), ended.ending)).collect();
    let continued = |hook| (hook, Ending::Completed(ActionResult::Continue));
    let [launch, terminate] = ["elb-registrar-launch", "elb-registrar-terminate"].map(continued);
    assert_eq!(hooks, [launch, launch, terminate], "{}", running.lines().join("\n"));
    let held_for = (ended[2].ended - ended[2].action.begun).to_std().unwrap_or_default();
    assert!(held_for >= DRAIN, "{held_for:?}");
    assert!(tally.lost() == 0 && tally.served() > 0, "{tally}: {:?}", tally.losses.first());
    let log = running.log();
    let told = |result: &str| {
        log.iter().filter(|line| line["message"] == "lifecycle action" && line["result"] == result).count()
    };
    assert!(told("CONTINUE") == 3 && told("none") >= 3, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_binary_answers_the_documented_event_with_a_report() {
    let running = run(&[]).await;
    let event = include_str!("../../../events/instance-stopped.json");
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
async fn the_log_names_a_missing_permission_and_the_event_is_kept() {
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

//! An instance is stopped or terminated while a function registers it. The function takes back what it gave in vain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use end_to_end::{Stage, places};
use sandbox::{
    Call, FaultGuard, Options, Span, Verdict,
    auto_scaling::{self, ActionResult, GroupSpec, HookSpec},
    deployment::LIFECYCLE,
    ec2::{self, InstanceState},
    elbv2::{self, Target},
    events::Delivery,
};
use serde_json::json;

/// Registrations that take long.
struct SlowRegistration {
    has_begun: Arc<AtomicBool>,
    _fault: FaultGuard,
}

/// Delays every registration by some seconds.
fn slow_registration(stage: &Stage, seconds: u64) -> SlowRegistration {
    let has_begun = Arc::new(AtomicBool::new(false));
    let begun = has_begun.clone();
    let fault = stage.sandbox.fault(move |call: &Call| match call.action == "RegisterTargets" {
        true => {
            begun.store(true, Ordering::Relaxed);
            Verdict::Delay(Duration::from_secs(seconds))
        }
        false => Verdict::Pass,
    });
    SlowRegistration { has_begun, _fault: fault }
}

impl SlowRegistration {
    /// Lets time pass until a registration is under way.
    async fn begins(&self, stage: &Stage) {
        stage.until("registering", |_| self.has_begun.load(Ordering::Relaxed)).await;
    }
}

/// Returns a stage on which a group launches its only member into its launch hook, whose metadata declares a registration.
fn launching(options: Options, declared: &str) -> Stage {
    let stage = Stage::with(options, &[]);
    stage.addresses_group("edge").drains("edge", 30).instances_group("web").drains("web", 30);
    let metadata = format!(r#"{{"register": ["{declared}"]}}"#);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .hook(HookSpec::launching("elb-registrar-in").heartbeat(300).metadata(&metadata))
        .desired(1);
    stage.fleet(spec);
    stage
}

fn only_member(stage: &Stage) -> String {
    stage.member_states("fleet").remove(0).0
}

/// Loses all events of EC2.
fn no_event_of_ec2(stage: &Stage) {
    stage.world(|world| {
        world.events.set_delivery(|event| match event.source.as_str() {
            "aws.ec2" => Delivery::Lost,
            _ => Delivery::Normal,
        });
    });
}

fn end(stage: &Stage, id: &str) {
    stage.world(|world| ec2::terminate(world, id)).expect("terminated by an operator");
    stage.world(|world| auto_scaling::set_desired(world, "fleet", 0)).expect("no member");
}

fn served(stage: &Stage) -> Vec<String> {
    stage.members("tg:edge").into_iter().chain(stage.members("tg:web")).collect()
}

#[tokio::test(start_paused = true)]
async fn an_instance_stopped_while_its_launch_hook_registers_it_is_registered_nowhere() {
    for declared in ["tg:edge", "tg:web"] {
        let stage = launching(Options::default(), declared);
        let slow = slow_registration(&stage, 8);
        slow.begins(&stage).await;
        let id = only_member(&stage);
        stage.world(|world| ec2::stop(world, &id)).expect("stopped by an operator");
        stage
            .until("stopped", |world| world.ec2.instance(&id).is_some_and(|i| i.state == InstanceState::Stopped))
            .await;
        assert_eq!(served(&stage), Vec::<String>::new(), "{declared} of a stopped instance\n{}", stage.describe());
        stage.world(|world| auto_scaling::set_desired(world, "fleet", 0)).expect("no member");
        stage.rest().await;
        assert_eq!(served(&stage), Vec::<String>::new(), "{declared} of a terminated instance\n{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_ended_while_its_launch_hook_registers_it_is_registered_nowhere() {
    for declared in ["tg:edge", "tg:web"] {
        // The instance is gone before the registration's answer, or after it.
        for stopping in [6_000, 20_000] {
            let options = Options { stopping: Span::milliseconds(stopping, stopping), ..Options::default() };
            let stage = launching(options, declared);
            let slow = slow_registration(&stage, 8);
            slow.begins(&stage).await;
            end(&stage, &only_member(&stage));
            stage.rest().await;
            assert_eq!(served(&stage), Vec::<String>::new(), "{declared}, {stopping} ms\n{}", stage.describe());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_hook_takes_out_its_instance_that_dies_unannounced() {
    let stage = launching(Options::default(), "tg:edge");
    no_event_of_ec2(&stage);
    let is_registered = |call: &Call| call.action == "RegisterTargets" && call.outcome == Some(Ok(()));
    stage.until("registered", |world| world.calls.iter().any(is_registered)).await;
    end(&stage, &only_member(&stage));
    stage.rest().await;
    assert_eq!(served(&stage), Vec::<String>::new(), "of a terminated instance\n{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_launch_hook_holds_what_its_stopped_instance_loses() {
    let stage = launching(Options::default(), "tg:edge");
    no_event_of_ec2(&stage);
    let is_registered = |call: &Call| call.action == "RegisterTargets" && call.outcome == Some(Ok(()));
    stage.until("registered", |world| world.calls.iter().any(is_registered)).await;
    let id = only_member(&stage);
    stage.world(|world| ec2::stop(world, &id)).expect("stopped by an operator");
    stage.until("deregistered", |world| places(world, &id).is_empty()).await;
    assert_eq!(stage.held_by(&id), ["tg:edge:443=eth0"], "{}", stage.describe());
}

/// Returns a stage with an instance that declares a registration, whose termination takes so long.
fn declaring(stopping: Span, declared: &str) -> Stage {
    let stage = Stage::with(Options { stopping, ..Options::default() }, &[]);
    stage.addresses_group("edge").instances_group("web").instance("web-1");
    stage.tagged("web-1", "elb-registrar:register", declared);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_back_what_it_gave_to_an_instance_that_ends() {
    for declared in ["tg:edge", "tg:web"] {
        // The description shows the instance shutting down, or terminated and without any address.
        for stopping in [Span::milliseconds(6_000, 8_000), Span::milliseconds(1_000, 2_000)] {
            let stage = declaring(stopping, declared);
            let slow = slow_registration(&stage, 4);
            let terminate = async {
                slow.begins(&stage).await;
                stage.terminate("web-1");
            };
            let (report, ()) = tokio::join!(stage.sweep(), terminate);
            stage.rest().await;
            assert_eq!(
                served(&stage),
                Vec::<String>::new(),
                "{declared} {stopping:?} {report:?}\n{}",
                stage.describe()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_holds_what_it_takes_back_from_an_instance_that_stops() {
    let stage = declaring(Span::milliseconds(2_000, 3_000), "tg:edge");
    let slow = slow_registration(&stage, 4);
    let stop = async {
        slow.begins(&stage).await;
        stage.stop("web-1");
    };
    let (report, ()) = tokio::join!(stage.sweep(), stop);
    assert_eq!(served(&stage), Vec::<String>::new(), "{report:?}\n{}", stage.describe());
    assert_eq!(stage.held("web-1"), ["tg:edge:443=eth0"]);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:edge:443=eth0"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_event_takes_back_what_it_gave_to_an_instance_that_ends() {
    let stage = declaring(Span::milliseconds(2_000, 3_000), "tg:edge");
    stage.stop_and_rest("web-1").await;
    let slow = slow_registration(&stage, 8);
    stage.forget_calls();
    stage.start("web-1");
    slow.begins(&stage).await;
    stage.terminate("web-1").rest().await;
    assert_eq!(served(&stage), Vec::<String>::new(), "of a terminated instance\n{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn what_was_given_in_vain_stays_if_its_address_has_another_host() {
    let stage = declaring(Span::milliseconds(500, 600), "tg:edge");
    let slow = slow_registration(&stage, 6);
    let address = stage.world(|world| {
        let id = world.ec2.instances.keys().next().cloned().expect("an instance");
        world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4).expect("an address")
    });
    let replace = async {
        slow.begins(&stage).await;
        stage.terminate("web-1");
        stage.until_it_is("web-1", InstanceState::Terminated).await;
        let new = ec2::NewInterface { ipv4: ec2::Ipv4Wish::Exactly(address), ..ec2::NewInterface::default() };
        stage.world(|world| ec2::create_interface(world, &stage.subnet, new)).expect("the address is free");
    };
    let (report, ()) = tokio::join!(stage.sweep(), replace);
    assert_eq!(stage.members("tg:edge").len(), 1, "another interface has {address} by now: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_remembered_stop_does_not_hide_the_end_though_descriptions_lag() {
    let options = Options { event_delay: Span::milliseconds(500, 500), ..Options::default() };
    let stage = Stage::with(options, &[]);
    stage.addresses_group("edge").drains("edge", 1).instance("web-1").registered("web-1", "tg:edge:443=eth0");
    stage.stop_and_rest("web-1").await;
    let id = stage.id("web-1");
    // A person registers the stopped instance again, and then it is terminated.
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").expect("a group");
        let address = world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4).expect("an address");
        elbv2::register(world, &arn, Target::new(address.to_string()).on(443)).expect("registered");
    });
    let ended = stage.world(|world| world.now());
    // The description is ten seconds old at first.
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        "DescribeInstances" if (call.at - ended).num_seconds() < 8 => Verdict::Stale(Duration::from_secs(10)),
        _ => Verdict::Pass,
    });
    stage.terminate("web-1").rest().await;
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_short_launch_hook_leaves_nothing_of_a_stopped_instance() {
    let stage = Stage::new();
    stage.instances_group("web").drains("web", 30);
    let hook = HookSpec::launching("elb-registrar-in").heartbeat(60).by_default(ActionResult::Continue);
    let hook = hook.metadata(r#"{"register": ["tg:web"]}"#);
    no_event_of_ec2(&stage);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1));
    let is_registered = |call: &Call| call.action == "RegisterTargets" && call.outcome == Some(Ok(()));
    stage.until("registered", |world| world.calls.iter().any(is_registered)).await;
    let id = only_member(&stage);
    stage.world(|world| ec2::stop(world, &id)).expect("stopped by an operator");
    stage.sandbox.advance(Duration::from_secs(50)).await;
    assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new(), "{}", stage.describe());
}

/// One invocation takes out an instance that was stopped at its launch hook, for more than a minute, and has another launch.
#[tokio::test(start_paused = true)]
async fn what_takes_long_for_one_launch_makes_no_other_reading_fresh() {
    let stage = Stage::new();
    stage.instances_group("web");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:web")
        .hook(HookSpec::launching("elb-registrar-launch").heartbeat(900))
        .desired(2);
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    stage.fleet(spec).sandbox.advance(Duration::from_secs(90)).await;
    let actions = stage.world(|world| world.auto_scaling.actions.clone());
    let (stopped, other) = (actions[0].instance_id.clone(), actions[1].instance_id.clone());
    // Two waves of sixteen calls, and a short one, before which the instance is read again.
    for number in 0..36 {
        let name = format!("g-{number}");
        stage.instances_group(&name);
        stage.world(|world| {
            let arn = elbv2::arn_of(world, &name).expect("a group");
            elbv2::register(world, &arn, Target { port: Some(80), ..Target::new(&stopped) }).expect("a target");
        });
    }
    stage.world(|world| ec2::stop(world, &stopped)).expect("a stop");
    stage.sandbox.advance(Duration::from_secs(60)).await;
    let _slow = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
        "DeregisterTargets" => Verdict::Delay(Duration::from_secs(8)),
        _ => Verdict::Pass,
    });
    let begun = |world: &sandbox::World| world.calls.iter().any(|call| call.action == "DeregisterTargets");
    let record = |action: &auto_scaling::Action| {
        json!({
            "messageId": action.token, "receiptHandle": action.token, "eventSource": "aws:sqs",
            "body": crate::lifecycle::event_of(action).to_string(), "attributes": { "ApproximateReceiveCount": "1" },
        })
    };
    let batch = json!({ "Records": actions.iter().map(record).collect::<Vec<_>>() });
    let (answer, ()) = tokio::join!(stage.sandbox.invoke(LIFECYCLE, batch), async {
        stage.until("the other one is taken out", begun).await;
        stage.world(|world| ec2::stop(world, &other)).expect("a stop");
    });
    answer.expect("an answer");
    let given = |call: &Call| call.action == "RegisterTargets" && call.mentions(&other);
    let given: Vec<Call> = stage.world(|world| world.calls.iter().filter(|call| given(call)).cloned().collect());
    assert!(given.is_empty(), "{given:?}");
}

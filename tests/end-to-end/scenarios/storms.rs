//! Storms: instances that stop or start together are served together. An instance that waits for others never waits long in vain.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Call, Throttle, Verdict, World,
    auto_scaling::{GroupSpec, HookSpec},
    deployment::{DEAD_ORDERS, RECONCILE},
    ec2::{self, Launch},
    events::Delivery,
    fault::{every, kth},
    lambda,
    throttle::Era,
    wire::ApiError,
};
use serde_json::json;

use crate::calls::{A_NIGHT, calls_by_action};

/// The time between one stop and the next: a schedule that goes through a fleet.
const STEP: Duration = Duration::from_millis(50);

/// The same for a slow schedule: a hundred instances a minute.
const SLOW_STEP: Duration = Duration::from_millis(600);

/// Creates some target groups, and instances that are dealt out to the first `used` of them.
fn fleet(instances: usize, used: usize, groups: usize) -> (Stage, Vec<String>) {
    let stage = Stage::new();
    for number in 0..groups {
        stage.instances_group(&format!("group-{number}"));
    }
    let names: Vec<String> = (0..instances).map(|number| format!("web-{number}")).collect();
    // These are more instances than the stage's own subnet has addresses.
    let subnet = stage.world(|world| ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.8.0/21"));
    for (number, name) in names.iter().enumerate() {
        stage.launch(name, Launch::new(&subnet)).registered(name, &format!("tg:group-{}", number % used));
    }
    (stage, names)
}

/// Stops the instances of a fleet one after the other.
async fn stop_in_turn(stage: &Stage, names: &[String], step: Duration) {
    for name in names {
        stage.stop(name);
        stage.sandbox.advance(step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_simultaneous_stops_share_one_scan_and_each_groups_call() {
    let (stage, names) = fleet(100, 20, 25);
    for name in &names {
        stage.stop(name);
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    let calls = calls_by_action(&stage);
    assert_eq!([calls["DeregisterTargets"], calls["CreateTags"]], [20, 20], "{calls:?}");
    // The second events may reach another process, which has not seen the first ones.
    assert!(calls["DescribeTargetHealth"] <= 2 * 25, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn instances_that_stop_or_start_in_turn_share_calls() {
    // Each group loses its second instance five seconds after its first: without any wait it would be 200 calls.
    let (stage, names) = fleet(200, 100, 100);
    stage.deliver_only(&["stopping", "running"]);
    stop_in_turn(&stage, &names, STEP).await;
    stage.rest().await;
    let calls = calls_by_action(&stage);
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    assert_eq!(calls["DeregisterTargets"], 100, "one for each group: {calls:?}");
    stage.sandbox.advance(A_NIGHT).await;
    stage.forget_calls();
    // EC2 takes ten to twenty seconds for each.
    for name in &names {
        stage.start(name);
    }
    stage.rest().await;
    let calls = calls_by_action(&stage);
    assert!(names.iter().all(|name| stage.places(name).len() == 1 && stage.held(name).is_empty()));
    // The first few start alone, as far as any function can see.
    assert!(calls["RegisterTargets"] <= 115, "about one for each group: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_night_of_a_hundred_instances_costs_five_invocations_each() {
    // The figures of docs/cost.md come from this: 100 instances in 20 target groups stop within a minute, and start within one.
    let (stage, names) = fleet(100, 20, 20);
    stop_in_turn(&stage, &names, SLOW_STEP).await;
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty()));
    for name in &names {
        stage.start(name);
        stage.sandbox.advance(Duration::from_millis(600)).await;
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).len() == 1 && stage.held(name).is_empty()));
    let (invocations, busy) = stage.world(|world| {
        let busy: i64 = world.lambda.log.iter().map(|ended| (ended.at - ended.started).num_milliseconds()).sum();
        (world.lambda.log.len(), busy)
    });
    let calls: usize = calls_by_action(&stage).values().sum();
    println!("{invocations} invocations, {} s in all, {calls} calls", busy / 1000);
    assert!(invocations <= 500 && busy <= 140_000 && calls <= 1_400, "{invocations} invocations, {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_stops_slowly_is_taken_out_as_it_stops() {
    let (stage, names) = fleet(60, 60, 100);
    stop_in_turn(&stage, &names, SLOW_STEP).await;
    let ids: Vec<String> = names.iter().map(|name| stage.id(name)).collect();
    let last = stage.world(|world| world.now());
    stage.until("all out", |world| ids.iter().all(|id| end_to_end::places(world, id).is_empty())).await;
    let took = stage.world(|world| (world.now() - last).num_seconds());
    assert!(took < 30, "{took} s after the last stop");
}

#[tokio::test(start_paused = true)]
async fn instances_that_stop_seconds_apart_share_scans_of_a_large_account() {
    // A scan of 1,200 groups takes longer than the six seconds until the next instance stops, and nearly as long as the stop itself.
    let (stage, names) = fleet(10, 10, 1_200);
    let _limits = stage.sandbox.fault(Throttle::shared(Era::Today, 0));
    stage.stop(&names[0]);
    stage.rest().await;
    let scanned = |stage: &Stage| calls_by_action(stage)["DescribeTargetHealth"];
    assert!(stage.places(&names[0]).is_empty());
    assert!(scanned(&stage) < 1_200 + 20, "the second event scans nothing: {}", scanned(&stage));
    stage.forget_calls();
    stop_in_turn(&stage, &names[1..], Duration::from_secs(6)).await;
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    assert!(scanned(&stage) < 5 * 1_200, "nine of them: {}", scanned(&stage));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_stops_does_not_wait_for_others_that_are_terminated() {
    let (stage, names) = fleet(60, 60, 100);
    let subnet = stage.world(|world| ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.4.0/22"));
    let builders: Vec<String> = (0..800).map(|number| format!("builder-{number}")).collect();
    for builder in &builders {
        stage.launch(builder, Launch::new(&subnet));
    }
    stage.deliver_only(&["stopping"]);
    stop_in_turn(&stage, &names, STEP).await;
    let begun = stage.world(|world| world.now());
    for builder in &builders {
        stage.terminate(builder);
        stage.sandbox.advance(Duration::from_millis(100)).await;
    }
    let calls = stage.all_calls();
    let last = calls.iter().filter(|call| call.action == "DeregisterTargets").map(|call| call.at).max();
    let took = (last.expect("they are taken out") - begun).num_seconds();
    assert!(names.iter().all(|name| stage.places(name).is_empty()));
    assert!(took < 45, "{took} s after the last stop");
}

#[tokio::test(start_paused = true)]
async fn a_storm_loses_nothing_wherever_its_function_dies() {
    for (action, number, verdict) in [
        ("DescribeInstances", 5, Verdict::KillAfter),
        ("DescribeTargetGroups", 4, Verdict::KillAfter),
        ("DescribeTargetHealth", 60, Verdict::KillAfter),
        ("CreateTags", 1, Verdict::KillBefore),
        ("CreateTags", 3, Verdict::KillAfter),
        ("DeregisterTargets", 1, Verdict::KillBefore),
        ("DeregisterTargets", 40, Verdict::KillAfter),
        ("RegisterTargets", 1, Verdict::KillBefore),
        ("RegisterTargets", 40, Verdict::KillAfter),
        ("DeleteTags", 1, Verdict::KillBefore),
    ] {
        let (stage, names) = fleet(100, 80, 80);
        let fault = stage.sandbox.fault(kth(action, number, verdict));
        stop_in_turn(&stage, &names, STEP).await;
        stage.rest().await;
        let is_out = |name: &String| stage.places(name).is_empty() && stage.held(name).len() == 1;
        assert!(names.iter().all(is_out), "{action} {number}: {}", stage.describe());
        stage.sandbox.advance(A_NIGHT).await;
        for name in &names {
            stage.start(name);
        }
        stage.rest().await;
        drop(fault);
        let is_back = |name: &String| stage.places(name).len() == 1 && stage.held(name).is_empty();
        assert!(names.iter().all(is_back), "{action} {number}: {}", stage.describe());
        assert!(stage.dead_letters().is_empty(), "{:?}", stage.dead_letters());
    }
}

#[tokio::test(start_paused = true)]
async fn one_sweep_serves_a_storm_of_which_most_events_are_lost() {
    // Three of four events are lost, and all second ones.
    let (stage, names) = fleet(200, 100, 100);
    let mut ids: Vec<String> = names.iter().map(|name| stage.id(name)).collect();
    ids.sort();
    let told = ids[150..].to_vec();
    stage.world(|world| {
        world.events.set_delivery(move |event| {
            let is_told =
                event.detail["state"] == "stopping" && told.iter().any(|id| event.detail["instance-id"] == id.as_str());
            if is_told { Delivery::Normal } else { Delivery::Lost }
        });
    });
    let begun = stage.world(|world| world.now());
    stop_in_turn(&stage, &names, STEP).await;
    stage.until("all out", |world| ids.iter().all(|id| end_to_end::places(world, id).is_empty())).await;
    let took = stage.world(|world| (world.now() - begun).num_seconds());
    // Ten seconds of stops, and a pass through a hundred groups.
    assert!(took < 60, "{took} s");
}

/// Returns the seconds from the stop of an instance until it is registered nowhere.
async fn seconds_until_out(stage: &Stage, name: &str) -> f64 {
    let (id, begun) = (stage.id(name), stage.world(|world| world.now()));
    stage.stop(name);
    while stage.world(|world| !end_to_end::places(world, &id).is_empty()) {
        stage.sandbox.advance(Duration::from_millis(100)).await;
    }
    stage.world(|world| (world.now() - begun).as_seconds_f64())
}

#[tokio::test(start_paused = true)]
async fn a_lone_stop_is_out_within_seconds_of_its_event() {
    for (groups, seconds) in [(100, 4.0), (500, 15.0)] {
        let (stage, _) = fleet(3, 3, groups);
        let _limits = stage.sandbox.fault(Throttle::shared(Era::Today, 0));
        let took = seconds_until_out(&stage, "web-1").await;
        assert!(took <= seconds, "{took} s among {groups} groups");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_look_comes_within_a_second_of_its_time() {
    // The group drains the same address for two minutes.
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 120).instance("web-1").registered("web-1", "tg:edge:443=eth0");
    stage.stop("web-1");
    let id = stage.id("web-1");
    stage.until("out", |world| end_to_end::places(world, &id).is_empty()).await;
    let out_at = stage.world(|world| world.now());
    stage.until_it_is("web-1", ec2::InstanceState::Stopped).await;
    stage.start("web-1");
    while stage.world(|world| end_to_end::places(world, &id).is_empty()) {
        stage.sandbox.advance(Duration::from_millis(100)).await;
    }
    let late = stage.world(|world| (world.now() - out_at).as_seconds_f64()) - 120.0;
    // The stage sees up to a second too late when it was out.
    assert!((-1.0..3.0).contains(&late), "{late} s after the drain");
}

/// Starts a storm over a fleet, and waits until its sweep deregisters.
async fn storm_under_way(stage: &Stage, names: &[String]) {
    for name in names {
        stage.stop(name);
    }
    let is_taking = |world: &World| world.calls.iter().filter(|call| call.action == "DeregisterTargets").count() > 30;
    stage.until("a sweep takes out", is_taking).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_delays_a_lone_stop_by_seconds_only() {
    // Without a storm, the lone one is out after 7 s and 30 s. In the larger account a sweep serves it.
    for (groups, at_most) in [(300, 17.0), (1_200, 40.0)] {
        let (stage, names) = fleet(301, 300, groups);
        let _limits = stage.sandbox.fault(Throttle::shared(Era::Today, 0));
        let (alone, others) = names.split_last().expect("a fleet");
        storm_under_way(&stage, others).await;
        let took = seconds_until_out(&stage, alone).await;
        let left = others.iter().filter(|name| !stage.places(name).is_empty()).count();
        assert!(left > 20, "the storm is over: {left}");
        assert!(took <= at_most, "{groups} groups: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_delays_a_hook_by_seconds_only() {
    let mut took = Vec::new();
    for is_stormy in [false, true] {
        let (stage, names) = fleet(300, 300, 300);
        let _limits = stage.sandbox.fault(Throttle::shared(Era::Today, 0));
        let spec = GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:group-0").desired(1);
        let spec = spec.hook(HookSpec::terminating("elb-registrar-out"));
        stage.drains("group-0", 0).fleet(spec).rest().await;
        if is_stormy {
            storm_under_way(&stage, &names).await;
        }
        let id = stage.member_states("fleet").remove(0).0;
        stage.wants("fleet", 0);
        let is_waiting = |world: &World| world.auto_scaling.actions.iter().any(|action| action.instance_id == id);
        stage.until("at its hook", is_waiting).await;
        let begun = stage.world(|world| world.now());
        stage.until("out", |world| end_to_end::places(world, &id).is_empty()).await;
        took.push(stage.world(|world| (world.now() - begun).as_seconds_f64()));
    }
    assert!(took[1] - took[0] <= 10.0, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_scheduled_sweep_does_not_hold_up_a_storm() {
    let (stage, names) = fleet(100, 80, 80);
    // The first process of the function is at a sweep, and stands still in it for minutes.
    let mut has_stood_still = false;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        let is_scheduled = call.access_key.ends_with("0001") && end_to_end::is_by(call, RECONCILE);
        match is_scheduled && !std::mem::replace(&mut has_stood_still, true) {
            true => Verdict::FreezeAfter(Duration::from_secs(600)),
            false => Verdict::Pass,
        }
    });
    stage.world(|world| lambda::invoke_async(world, RECONCILE, json!({}))).expect("a function");
    stage.sandbox.advance(Duration::from_secs(5)).await;
    let begun = stage.world(|world| world.now());
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    let ids: Vec<String> = names.iter().map(|name| stage.id(name)).collect();
    stage.until("all out", |world| ids.iter().all(|id| end_to_end::places(world, id).is_empty())).await;
    let took = stage.world(|world| (world.now() - begun).num_seconds());
    assert!(took < 60, "{took} s");
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_process_dies_comes_again_within_minutes() {
    let (stage, names) = fleet(40, 20, 20);
    stage.deliver_only(&["stopping"]);
    let mut is_first = true;
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        "DescribeTargetHealth" if end_to_end::is_by(call, RECONCILE) && std::mem::take(&mut is_first) => {
            Verdict::KillAfter
        }
        _ => Verdict::Pass,
    });
    let begun = stage.world(|world| world.now());
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    let ids: Vec<String> = names.iter().map(|name| stage.id(name)).collect();
    stage.until("all out", |world| ids.iter().all(|id| end_to_end::places(world, id).is_empty())).await;
    let took = stage.world(|world| (world.now() - begun).num_seconds());
    assert!((100..180).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn an_order_survives_half_an_hour_of_dying_processes() {
    let (stage, names) = fleet(40, 20, 20);
    stage.deliver_only(&["stopping"]);
    let fault = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
        "DescribeTargetHealth" if end_to_end::is_by(call, RECONCILE) => Verdict::KillAfter,
        _ => Verdict::Pass,
    });
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    stage.sandbox.advance(Duration::from_secs(1800)).await;
    assert!(names.iter().any(|name| !stage.places(name).is_empty()), "no process has lived for long enough");
    assert!(stage.dead_letters().is_empty());
    drop(fault);
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    assert!(stage.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_storm_outlasts_three_hours_in_which_ec2_describes_nothing() {
    let (stage, names) = fleet(40, 20, 20);
    stage.deliver_only(&["stopping"]);
    let mut is_ordered = false;
    let fault = stage.sandbox.fault(move |call: &Call| {
        // Before that, no sweep is ordered.
        is_ordered |= end_to_end::is_by(call, RECONCILE);
        match is_ordered && call.action == "DescribeInstances" {
            true => Verdict::Refuse(ApiError::sender("UnauthorizedOperation", "no")),
            false => Verdict::Pass,
        }
    });
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    stage.sandbox.advance(Duration::from_secs(3 * 3600)).await;
    let left = names.iter().filter(|name| stage.places(name).len() == 1).count();
    assert!(left > 30, "EC2 describes nothing, and {left} are left");
    drop(fault);
    // What fails is looked at every ten minutes.
    stage.sandbox.advance(Duration::from_secs(900)).await;
    let dead = [stage.dead_letters(), stage.dead_letters_in(DEAD_ORDERS)].concat();
    assert!(dead.is_empty(), "{dead:?}");
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_send_an_order_works_alone() {
    let (stage, names) = fleet(12, 4, 6);
    stage.deliver_only(&["stopping"]);
    let _fault = stage.sandbox.fault(every("SendMessage", Verdict::Refuse(ApiError::sender("AccessDenied", "no"))));
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    assert!(stage.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_storms_failed_work_is_retried_and_ends_in_dead_letters() {
    let (stage, names) = fleet(12, 4, 6);
    stage.deliver_only(&["stopping"]);
    let fault =
        stage.sandbox.fault(every("CreateTags", Verdict::Refuse(ApiError::sender("UnauthorizedOperation", "no"))));
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    assert!(names.iter().all(|name| stage.places(name).len() == 1), "nothing is taken that is not held");
    stage.rest().await;
    assert_eq!(stage.dead_letters().len(), 12, "{:?}", stage.dead_letters());
    drop(fault);
}

#[tokio::test(start_paused = true)]
async fn a_storm_that_outlasts_its_sweeps_stays_one_storm() {
    // Other tools use nine parts of ten of the account's limits, so that one sweep deregisters some dozens of the hundred groups.
    let (stage, names) = fleet(400, 100, 100);
    stage.time_limit(RECONCILE, Duration::from_secs(180));
    let _limits = stage.sandbox.fault(Throttle::shared(Era::Today, 90));
    stop_in_turn(&stage, &names, Duration::ZERO).await;
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty()));
    let is_done = |call: &&Call| call.action == "DeregisterTargets" && call.outcome == Some(Ok(()));
    let done = stage.all_calls().iter().filter(is_done).count();
    assert!(done <= 130, "{done} calls for 100 groups: what a sweep left was worked on in parts");
}

/// Returns a stage with so many groups, and with instances that have an address in one group each.
fn addresses(instances: usize, groups: usize, launch: impl Fn(&str) -> Launch) -> (Stage, Vec<String>) {
    let stage = Stage::new();
    for number in 0..groups {
        stage.addresses_group(&format!("edge-{number:03}"));
    }
    let subnet = stage.world(|world| ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.8.0/21"));
    let names: Vec<String> = (0..instances).map(|number| format!("web-{number:03}")).collect();
    for (number, name) in names.iter().enumerate() {
        stage.launch(name, launch(&subnet)).registered(name, &format!("tg:edge-{:03}:443=eth0", number % groups));
    }
    (stage, names)
}

fn addresses_left(stage: &Stage, groups: usize) -> usize {
    (0..groups).map(|number| stage.members(&format!("tg:edge-{number:03}")).len()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_terminated_in_turn_leaves_no_address() {
    // A fleet at once, in parts, and one by one.
    for (instances, groups, part, step) in [(300, 85, 25, 5), (120, 85, 120, 5), (90, 40, 1, 1)] {
        let (stage, names) = addresses(instances, groups, Launch::new);
        stage.forget_calls();
        let begun = stage.world(|world| world.now());
        for part in names.chunks(part) {
            for name in part {
                stage.terminate(name);
            }
            stage.sandbox.advance(Duration::from_secs(step)).await;
        }
        stage.rest().await;
        let calls = stage.all_calls();
        let first = calls.iter().find(|call| call.action == "DeregisterTargets").expect("a deregistration").at;
        let waited = (first - begun).num_seconds();
        assert!(waited < 20, "the first of {instances} was served for {waited} s");
        let calls = calls.len();
        assert_eq!(addresses_left(&stage, groups), 0, "{instances} in {groups} groups, {calls} calls");
        println!("{instances} terminated in {groups} groups, {part} every {step} s: {calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_loses_its_addresses_is_held_as_a_whole() {
    let (instances, groups) = (300, 85);
    let (stage, names) = addresses(instances, groups, |subnet| Launch::new(subnet).renewed());
    for part in names.chunks(25) {
        for name in part {
            stage.stop(name);
        }
        stage.sandbox.advance(Duration::from_secs(5)).await;
    }
    stage.rest().await;
    let held = names.iter().filter(|name| !stage.held(name).is_empty()).count();
    assert_eq!(
        (addresses_left(&stage, groups), held),
        (0, instances),
        "addresses left, and instances that hold theirs"
    );
}

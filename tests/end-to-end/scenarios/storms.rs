//! Many at once: instances that stop or start together are worked on together, and whoever waits for another waits in vain for no long.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Verdict,
    ec2::{self, Launch},
    events::Delivery,
    fault::kth,
};

use crate::calls::{A_NIGHT, calls_by_action};

/// Between one stop and the next: a schedule that goes through a fleet.
const STEP: Duration = Duration::from_millis(50);

/// The same of one that is in no hurry: a hundred instances a minute.
const SLOW_STEP: Duration = Duration::from_millis(600);

/// Instances in the first `used` of some target groups, dealt out to them.
fn fleet(instances: usize, used: usize, groups: usize) -> (Stage, Vec<String>) {
    let stage = Stage::new();
    for number in 0..groups {
        stage.instances_group(&format!("group-{number}"));
    }
    let names: Vec<String> = (0..instances).map(|number| format!("web-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        stage.instance(name).registered(name, &format!("tg:group-{}", number % used));
    }
    (stage, names)
}

/// Stops a fleet one after the other.
async fn stop_in_turn(stage: &Stage, names: &[String], step: Duration) {
    for name in names {
        stage.stop(name);
        stage.sandbox.advance(step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_instances_that_stop_at_once_share_one_scan_and_one_call_for_each_group() {
    let (stage, names) = fleet(100, 20, 25);
    for name in &names {
        stage.stop(name);
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 1));
    let calls = calls_by_action(&stage);
    assert_eq!([calls["DeregisterTargets"], calls["CreateTags"]], [20, 20], "{calls:?}");
    // The second events may meet another process, which has not seen the first ones.
    assert!(calls["DescribeTargetHealth"] <= 2 * 25, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn instances_that_stop_or_start_one_after_the_other_wait_for_each_other_where_that_saves_calls() {
    // Each group loses its second instance five seconds after its first: 200 calls, were nothing waited for.
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
    assert_eq!(calls["RegisterTargets"], 100, "one for each group: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_night_of_a_hundred_instances_costs_one_invocation_each() {
    // What README's costs are worked out from: 100 instances in 20 target groups stop within a minute, and start within one.
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
    assert!(invocations <= 120 && calls <= 2_000, "{invocations} invocations, {calls} calls");
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
    let calls = stage.calls();
    let last = calls.iter().filter(|call| call.action == "DeregisterTargets").map(|call| call.at).max();
    let took = (last.expect("they are taken out") - begun).num_seconds();
    assert!(names.iter().all(|name| stage.places(name).is_empty()));
    assert!(took < 45, "{took} s after the last stop");
}

#[tokio::test(start_paused = true)]
async fn a_storm_loses_nothing_wherever_the_function_dies_that_works_on_all_of_it() {
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
async fn a_storm_waits_a_minute_at_most_for_the_batch_that_should_lead() {
    // Three of four events are lost, the one of the lowest id among them: no batch has most of the storm, or begins with it. So
    // are second events, which would be worked on as they come.
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
    // Ten seconds of stops, a minute of waiting, and a pass through a hundred groups.
    assert!((60..120).contains(&took), "{took} s");
}

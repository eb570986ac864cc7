//! A hook with a short heartbeat is kept alive while a look takes long, and between two looks.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Call, Verdict,
    auto_scaling::{ActionResult, EndedAction, GroupSpec, HookSpec},
    deployment::LIFECYCLE,
    elbv2::{self, Target},
    fault::every,
    wire::ApiError,
};

use crate::lifecycle::{continued, endings};

const OUT: &str = "elb-registrar-out";

/// Returns a stage with one member that is registered in so many groups, each of which drains for so long.
async fn member_of_many(groups: usize, drain: u64, heartbeat: u32) -> Stage {
    let stage = Stage::new();
    stage.world(|world| world.elbv2.registrations_per_id = 10_000);
    let names: Vec<String> = (0..groups).map(|n| format!("web-{n:03}")).collect();
    for name in &names {
        stage.instances_group(name).drains(name, drain);
    }
    let hook = HookSpec::terminating(OUT).heartbeat(heartbeat).by_default(ActionResult::Continue);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1)).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| {
        for name in &names {
            let arn = elbv2::arn_of(world, name).expect("a group");
            elbv2::register(world, &arn, Target::new(&id)).expect("registered");
        }
    });
    stage
}

async fn ended(stage: &Stage) -> (EndedAction, i64) {
    stage.wants("fleet", 0).rest().await;
    let ended = stage.ended_actions().last().cloned().expect("an action");
    let held_for = (ended.ended - ended.action.begun).num_seconds();
    (ended, held_for)
}

#[tokio::test(start_paused = true)]
async fn the_shortest_heartbeat_survives_a_look_over_hundred_and_sixty_groups() {
    let stage = member_of_many(160, 120, 30).await;
    let (ended, held_for) = ended(&stage).await;
    assert!(held_for >= 120, "ended after {held_for} s: {:?}", ended.ending);
    assert_eq!(endings(&stage), [continued(OUT)]);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_a_minute_survives_a_look_over_320_groups() {
    let stage = member_of_many(320, 120, 60).await;
    let (ended, held_for) = ended(&stage).await;
    assert!(held_for >= 120, "ended after {held_for} s: {:?}", ended.ending);
    assert_eq!(endings(&stage), [continued(OUT)]);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_heartbeat_survives_two_calls_that_hang() {
    let stage = member_of_many(1, 300, 30).await;
    let mut struck = 0;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        if call.action == "DescribeTargetHealth" && struck < 2 {
            struck += 1;
            return Verdict::NeverAnswer;
        }
        Verdict::Pass
    });
    let (ended, held_for) = ended(&stage).await;
    assert!(held_for >= 300, "ended after {held_for} s: {:?}", ended.ending);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_heartbeat_survives_a_reading_that_is_refused_for_a_minute() {
    let stage = member_of_many(1, 60, 30).await;
    let begun = stage.world(|world| world.now());
    let _fault = stage.sandbox.fault(move |call: &Call| {
        let is_early = (call.at - begun).num_seconds() < 80;
        match call.action == "DescribeAutoScalingInstances" && call.access_key.starts_with("AKIALIFECYCLE") && is_early
        {
            true => Verdict::Refuse(ApiError::sender("AccessDenied", "not authorized, just now".to_owned())),
            false => Verdict::Pass,
        }
    });
    let (ended, held_for) = ended(&stage).await;
    assert!(held_for >= 100, "ended after {held_for} s: {:?}", ended.ending);
    assert_eq!(endings(&stage), [continued(OUT)]);
}

#[tokio::test(start_paused = true)]
async fn a_late_delivery_of_twenty_seconds_finds_the_shortest_hook_alive() {
    let stage = member_of_many(1, 200, 30).await;
    // Lambda may take 20 s from a message's return until it serves it: each look's first call comes so much later.
    let mut last: Option<String> = None;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        let is_first = call.action == "DescribeInstances" && call.access_key.starts_with("AKIALIFECYCLE");
        let request = format!("{}", call.at);
        match is_first && last.as_ref() != Some(&request) {
            true => {
                last = Some(request);
                Verdict::FreezeAfter(Duration::from_secs(20))
            }
            false => Verdict::Pass,
        }
    });
    let (ended, held_for) = ended(&stage).await;
    assert!(held_for >= 200, "ended after {held_for} s: {:?}", ended.ending);
}

#[tokio::test(start_paused = true)]
async fn a_short_look_records_one_heartbeat() {
    let stage = member_of_many(1, 100, 300).await;
    stage.wants("fleet", 0).rest().await;
    let calls = stage.calls_of(LIFECYCLE);
    let count = |action: &str| calls.iter().filter(|call| call.action == action).count();
    let (heartbeats, looks) = (count("RecordLifecycleActionHeartbeat"), count("DescribeLifecycleHooks"));
    assert!(heartbeats <= looks, "{heartbeats} heartbeats in {looks} looks");
    assert_eq!(endings(&stage), [continued(OUT)]);
}

/// The answer that a production system got for actions that had just begun (<https://github.com/PrairieLearn/PrairieLearn/pull/15586>).
fn not_known() -> ApiError {
    let message = "No active Lifecycle Action found with token 00000000-0000-0000-0000-000000000000";
    ApiError::sender("ValidationError", message)
}

#[tokio::test(start_paused = true)]
async fn an_action_that_auto_scaling_does_not_know_yet_is_kept() {
    for action in ["RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"] {
        let stage = Stage::new();
        stage.addresses_group("edge");
        let launch =
            HookSpec::launching("elb-registrar-in").heartbeat(300).metadata(r#"{"register": ["tg:edge:443"]}"#);
        let out = HookSpec::terminating(OUT).heartbeat(300);
        let begun = stage.world(|world| world.now());
        let _fault = stage.sandbox.fault(move |call: &Call| {
            match call.action == action && (call.at - begun).num_seconds() < 45 {
                true => Verdict::Refuse(not_known()),
                false => Verdict::Pass,
            }
        });
        stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(launch).hook(out).desired(1)).rest().await;
        assert_eq!(endings(&stage), [continued("elb-registrar-in")], "{action}");
        assert_eq!(stage.members("tg:edge").len(), 1, "{action}");
        let taken = stage.world(|world| world.now()) - begun;
        assert!(taken.num_seconds() < 240, "{action}: {taken}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_that_never_was_is_given_up_after_a_minute() {
    let stage = Stage::new();
    stage.addresses_group("edge");
    let launch = HookSpec::launching("elb-registrar-in").heartbeat(7_200).metadata(r#"{"register": ["tg:edge:443"]}"#);
    let _fault = stage.sandbox.fault(every("RecordLifecycleActionHeartbeat", Verdict::Refuse(not_known())));
    let _other = stage.sandbox.fault(every("CompleteLifecycleAction", Verdict::Refuse(not_known())));
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(launch).desired(1));
    stage.sandbox.advance(Duration::from_secs(120)).await;
    stage.forget_calls();
    stage.sandbox.advance(Duration::from_secs(600)).await;
    assert_eq!(stage.calls_of(LIFECYCLE).len(), 0, "{:?}", stage.calls_of(LIFECYCLE).first());
}

//! Lifecycle hooks: waits, heartbeats, results, deletion.

use super::{
    super::{ActionKey, Ending, complete, delete_hook, put_hook, record_heartbeat, set_desired, terminate_member},
    *,
};
use crate::ec2;

fn done(fleet: &Fleet, hook: &str, result: ActionResult) {
    let key = ActionKey::Token(fleet.token());
    fleet.sandbox.with(|world| complete(world, "web", hook, &key, result).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_member_waits_at_the_launch_hook_and_is_registered_after_it() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::launching("ready").metadata("blue")));
    fleet.advance(60).await;
    assert_eq!(fleet.states(), [("Pending:Wait", 1)].into());
    assert!(fleet.registered().is_empty() && fleet.is_moving());
    assert_eq!(fleet.events(), [event(LAUNCH, "EC2", "AutoScalingGroup")]);
    let id = fleet.ids().remove(0);
    let detail = fleet.sandbox.with(|world| {
        let told = world.events.log.iter().find(|event| event.detail_type == LAUNCH).unwrap();
        assert_eq!(told.resources, [world.auto_scaling.groups["web"].arn.clone()]);
        told.detail.clone()
    });
    assert_eq!(detail["LifecycleActionToken"], fleet.token());
    assert_eq!((detail["EC2InstanceId"].as_str(), &detail["NotificationMetadata"]), (Some(&*id), &"blue".into()));
    assert!(detail.get("Action").is_none());
    done(&fleet, "ready", ActionResult::Continue);
    fleet.advance(30).await;
    assert_eq!((fleet.states(), fleet.registered()), ([("InService", 1)].into(), vec![id]));
    assert_eq!(fleet.ended()[0].ending, Ending::Completed(ActionResult::Continue));
    fleet.settle().await;
    assert!(!fleet.is_moving());
}

#[tokio::test(start_paused = true)]
async fn a_member_leaves_the_balancers_before_its_terminate_hook() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::terminating("drained")));
    fleet.settle().await;
    let id = fleet.ids().remove(0);
    assert_eq!(fleet.registered(), std::slice::from_ref(&id));
    fleet.sandbox.with(|world| set_desired(world, "web", 0).unwrap());
    fleet.advance(30).await;
    assert_eq!((fleet.states(), fleet.registered().len()), ([("Terminating:Wait", 1)].into(), 0));
    assert_eq!(fleet.events(), [event(TERMINATE, "AutoScalingGroup", "EC2")]);
    let state = fleet.sandbox.with(|world| world.ec2.instance(&id).unwrap().state);
    assert_eq!(state, ec2::InstanceState::Running);
    done(&fleet, "drained", ActionResult::Continue);
    fleet.settle().await;
    assert!(fleet.ids().is_empty() && !fleet.is_moving());
    let state = fleet.sandbox.with(|world| world.ec2.instance(&id).unwrap().state);
    assert_eq!(state, ec2::InstanceState::Terminated);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_launch_is_terminated_and_replaced() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::launching("ready")));
    fleet.advance(60).await;
    let first = fleet.ids();
    done(&fleet, "ready", ActionResult::Abandon);
    fleet.settle().await;
    assert_eq!(fleet.states(), [("Pending:Wait", 1)].into());
    assert_ne!(fleet.ids(), first);
    assert!(fleet.registered().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_terminate_hook_runs_for_an_abandoned_launch_only_by_option() {
    for (terminate_hooks_after_failed_launch, events) in [(false, 0), (true, 1)] {
        let options = Options { terminate_hooks_after_failed_launch, ..Options::default() };
        let fleet = Fleet::with(options, |spec| {
            spec.desired(1).hook(HookSpec::launching("ready")).hook(HookSpec::terminating("drained"))
        });
        fleet.advance(60).await;
        done(&fleet, "ready", ActionResult::Abandon);
        fleet.advance(60).await;
        assert_eq!(fleet.events().iter().filter(|(kind, ..)| kind == TERMINATE).count(), events);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_heartbeat_an_action_ends_with_the_default_result() {
    let hook = HookSpec::launching("ready").heartbeat(30).by_default(ActionResult::Continue);
    let fleet = Fleet::new(|spec| spec.desired(1).hook(hook));
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
    let [ended] = fleet.ended().try_into().unwrap();
    assert_eq!(ended.ending, Ending::TimedOut(ActionResult::Continue));
    assert_eq!((ended.ended - ended.action.begun).num_seconds(), 30);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_extend_the_wait_up_to_the_global_limit() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::launching("ready").heartbeat(30)));
    // Waits until the first action, and then until that one is over.
    while fleet.look(|state| state.actions.is_empty()) {
        fleet.advance(1).await;
    }
    while fleet.ended().is_empty() {
        let key = ActionKey::Token(fleet.token());
        fleet.sandbox.with(|world| record_heartbeat(world, "web", "ready", &key).unwrap());
        fleet.advance(20).await;
    }
    let ended = fleet.ended().remove(0);
    assert_eq!((ended.ended - ended.action.begun).num_seconds(), 3_000, "100 heartbeats of 30 seconds");
    assert_eq!(ended.ending, Ending::TimedOut(ActionResult::Abandon));
}

#[tokio::test(start_paused = true)]
async fn a_member_goes_on_when_the_last_of_several_hooks_is_completed() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::launching("a")).hook(HookSpec::launching("b")));
    fleet.advance(60).await;
    let id = fleet.ids().remove(0);
    let by_instance = |hook| {
        let key = ActionKey::Instance(id.clone());
        fleet.sandbox.with(|world| complete(world, "web", hook, &key, ActionResult::Continue))
    };
    assert_eq!(fleet.events().len(), 2);
    by_instance("b").unwrap();
    fleet.advance(60).await;
    assert_eq!(fleet.states(), [("Pending:Wait", 1)].into());
    assert!(by_instance("b").unwrap_err().message.ends_with(&format!("with instance ID {id}")));
    by_instance("a").unwrap();
    fleet.advance(60).await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_termination_stops_the_other_hooks() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::terminating("a")).hook(HookSpec::terminating("b")));
    fleet.settle().await;
    let id = fleet.ids().remove(0);
    fleet.sandbox.with(|world| terminate_member(world, &id, true).unwrap());
    fleet.advance(30).await;
    let key = ActionKey::Instance(id);
    fleet.sandbox.with(|world| complete(world, "web", "a", &key, ActionResult::Abandon).unwrap());
    fleet.settle().await;
    let endings: Vec<_> = fleet.ended().iter().map(|ended| ended.ending).collect();
    assert_eq!(endings, [Ending::Completed(ActionResult::Abandon), Ending::Stopped]);
    assert!(fleet.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_hook_completes_what_is_open_at_it() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::terminating("drained")));
    fleet.settle().await;
    let id = fleet.ids().remove(0);
    fleet.sandbox.with(|world| {
        put_hook(world, "web", HookSpec::launching("ready")).unwrap();
        terminate_member(world, &id, false).unwrap();
    });
    fleet.advance(90).await;
    assert_eq!(fleet.states(), [("Pending:Wait", 1), ("Terminating:Wait", 1)].into());
    fleet.sandbox.with(|world| {
        delete_hook(world, "web", "ready").unwrap();
        delete_hook(world, "web", "drained").unwrap();
    });
    let endings: Vec<_> = fleet.ended().iter().map(|ended| ended.ending).collect();
    let deleted = [Ending::HookDeleted(ActionResult::Abandon), Ending::HookDeleted(ActionResult::Continue)];
    assert_eq!(endings, deleted);
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
}

/// No event has told the group until then: it learns of it when it would put the member in service.
#[tokio::test(start_paused = true)]
async fn an_instance_that_dies_at_the_launch_hook_keeps_its_action() {
    let fleet = Fleet::new(|spec| spec.desired(1).hook(HookSpec::launching("ready")));
    fleet.advance(60).await;
    let first = fleet.ids();
    fleet.sandbox.with(|world| ec2::terminate(world, &first[0]).unwrap());
    fleet.settle().await;
    assert_eq!((fleet.states(), fleet.ids()), ([("Pending:Wait", 1)].into(), first.clone()));
    done(&fleet, "ready", ActionResult::Continue);
    fleet.settle().await;
    assert_eq!(fleet.states(), [("Pending:Wait", 1)].into());
    assert_ne!(fleet.ids(), first);
}

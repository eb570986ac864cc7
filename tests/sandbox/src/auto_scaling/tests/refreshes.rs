//! Instance refreshes: batches, strategies, and a cancellation.

use super::{
    super::{
        ActionKey, Preferences, RefreshStatus, Strategy, WarmPool, cancel_refresh, complete, put_warm_pool,
        start_refresh,
    },
    *,
};

fn preferences(least: usize, most: usize) -> Preferences {
    Preferences { min_healthy_percentage: least, max_healthy_percentage: most, instance_warmup: Some(0) }
}

fn start(fleet: &Fleet, strategy: Strategy, preferences: Preferences) {
    fleet.sandbox.with(|world| start_refresh(world, "web", strategy, preferences).unwrap());
}

/// Completes open actions for a number of seconds, and returns the fewest and the most members in service meanwhile.
async fn complete_all(fleet: &Fleet, seconds: u64) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    for _ in 0..seconds / 5 {
        fleet.sandbox.with(|world| {
            for action in world.auto_scaling.actions.clone() {
                let key = ActionKey::Token(action.token);
                complete(world, "web", &action.hook.name, &key, ActionResult::Continue).unwrap();
            }
        });
        fleet.advance(5).await;
        let in_service = fleet.registered().len();
        (least, most) = (least.min(in_service), most.max(in_service));
    }
    (least, most)
}

fn status(fleet: &Fleet) -> RefreshStatus {
    fleet.look(|state| state.groups["web"].refreshes.last().unwrap().status)
}

#[tokio::test(start_paused = true)]
async fn a_refresh_replaces_everybody_through_the_hooks_and_keeps_enough_in_service() {
    for (least, most, range) in [(50, 100, 2..=4), (100, 150, 4..=6), (100, 100, 3..=4)] {
        let fleet = Fleet::new(|spec| spec.desired(4).hook(HookSpec::terminating("drained")));
        fleet.settle().await;
        let before = fleet.ids();
        start(&fleet, Strategy::Rolling, preferences(least, most));
        let refused =
            fleet.sandbox.with(|world| start_refresh(world, "web", Strategy::Rolling, preferences(least, most)));
        assert_eq!(refused.unwrap_err().code, "InstanceRefreshInProgress");
        let seen = complete_all(&fleet, 1_200).await;
        assert!(range.contains(&seen.0) && range.contains(&seen.1), "{least} to {most} percent: {seen:?}");
        assert_eq!((status(&fleet), fleet.is_moving()), (RefreshStatus::Successful, false));
        assert_eq!(fleet.states(), [("InService", 4)].into());
        assert!(fleet.ids().iter().all(|id| !before.contains(id)));
        assert_eq!(fleet.events(), vec![event(TERMINATE, "AutoScalingGroup", "EC2"); 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_replaces_the_warm_pool_last() {
    let fleet = Fleet::new(|spec| spec.desired(2));
    fleet.settle().await;
    let pool = WarmPool { max_group_prepared_capacity: Some(3), ..WarmPool::default() };
    fleet.sandbox.with(|world| put_warm_pool(world, "web", pool).unwrap());
    fleet.settle().await;
    let before = fleet.ids();
    start(&fleet, Strategy::Rolling, preferences(50, 100));
    complete_all(&fleet, 1_200).await;
    assert_eq!(status(&fleet), RefreshStatus::Successful);
    assert_eq!(fleet.states(), [("InService", 2), ("Warmed:Stopped", 1)].into());
    assert!(fleet.ids().iter().all(|id| !before.contains(id)));
}

#[tokio::test(start_paused = true)]
async fn a_root_volume_is_replaced_between_hooks_without_traffic() {
    let fleet = Fleet::new(|spec| {
        spec.desired(1).hook(HookSpec::launching("ready").heartbeat(30).by_default(ActionResult::Continue))
    });
    fleet.settle().await;
    fleet.sandbox.with(|world| super::super::put_hook(world, "web", HookSpec::terminating("drained")).unwrap());
    let (before, launched) = (fleet.ids(), fleet.events().len());
    start(&fleet, Strategy::ReplaceRootVolume, preferences(0, 100));
    fleet.advance(20).await;
    assert_eq!((fleet.states(), fleet.registered().len()), ([("ReplacingRootVolume:Wait", 1)].into(), 0));
    let key = ActionKey::Token(fleet.token());
    fleet.sandbox.with(|world| complete(world, "web", "drained", &key, ActionResult::Continue).unwrap());
    fleet.settle().await;
    assert_eq!((fleet.states(), fleet.ids()), ([("InService", 1)].into(), before.clone()));
    assert_eq!((fleet.registered(), status(&fleet)), (before, RefreshStatus::Successful));
    let expected = [LAUNCH, TERMINATE].map(|kind| event(kind, "AutoScalingGroup", "AutoScalingGroup"));
    let mut events = fleet.events().split_off(launched);
    events.sort();
    assert_eq!(events, expected);
    fleet.sandbox.with(|world| {
        let about = world.events.log.iter().filter(|told| told.detail["Action"] == "ReplaceRootVolume");
        assert_eq!(about.count(), 2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_refresh_leaves_the_others_as_they_are() {
    let fleet = Fleet::new(|spec| spec.desired(2).hook(HookSpec::terminating("drained")));
    fleet.settle().await;
    let before = fleet.ids();
    start(&fleet, Strategy::Rolling, preferences(50, 100));
    // The first is out by then, and none in its place yet.
    fleet.advance(10).await;
    fleet.sandbox.with(|world| cancel_refresh(world, "web").unwrap());
    complete_all(&fleet, 600).await;
    assert_eq!((status(&fleet), fleet.is_moving()), (RefreshStatus::Cancelled, false));
    assert_eq!(fleet.ids().iter().filter(|id| before.contains(id)).count(), 1);
    let refused = fleet.sandbox.with(|world| cancel_refresh(world, "web")).unwrap_err();
    assert_eq!(refused.code, "ActiveInstanceRefreshNotFound");
}

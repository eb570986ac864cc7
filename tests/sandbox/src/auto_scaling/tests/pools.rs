//! Warm pools: on the way in, at rest, out, and back.

use super::{
    super::{
        ActionKey, Deletion, Ending, PoolState, WarmPool, complete, delete_warm_pool, put_warm_pool, set_desired,
        terminate_member,
    },
    *,
};
use crate::ec2::{self, InstanceState};

/// Returns a group that wants one member, with one more in its pool.
async fn pooled(change: impl FnOnce(GroupSpec) -> GroupSpec, pool: WarmPool) -> Fleet {
    let fleet = Fleet::new(|spec| change(spec.desired(1)));
    fleet.settle().await;
    let pool = WarmPool { min_size: 1, max_group_prepared_capacity: Some(2), ..pool };
    fleet.sandbox.with(|world| put_warm_pool(world, "web", pool).unwrap());
    fleet.settle().await;
    fleet
}

/// Completes each open action for a number of seconds.
async fn complete_all(fleet: &Fleet, result: ActionResult) {
    for _ in 0..60 {
        fleet.sandbox.with(|world| {
            for action in world.auto_scaling.actions.clone() {
                let key = ActionKey::Token(action.token);
                complete(world, "web", &action.hook.name, &key, result).unwrap();
            }
        });
        fleet.advance(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_keeps_members_in_its_state_and_without_traffic() {
    for (state, word, in_ec2) in [
        (PoolState::Stopped, "Warmed:Stopped", InstanceState::Stopped),
        (PoolState::Hibernated, "Warmed:Hibernated", InstanceState::Stopped),
        (PoolState::Running, "Warmed:Running", InstanceState::Running),
    ] {
        let fleet = pooled(|spec| spec, WarmPool { state, ..WarmPool::default() }).await;
        assert_eq!(fleet.states(), [("InService", 1), (word, 1)].into());
        assert_eq!((fleet.registered().len(), fleet.is_moving()), (1, false));
        let warmed = fleet.look(|state| {
            let mut members = state.groups["web"].members.values();
            members.find(|member| member.lifecycle_state.is_warmed()).unwrap().instance_id.clone()
        });
        assert_eq!(fleet.sandbox.with(|world| world.ec2.instance(&warmed).unwrap().state), in_ec2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_launch_hook_runs_for_entering_and_for_leaving_the_pool() {
    let fleet = pooled(|spec| spec, WarmPool::default()).await;
    let warmed = fleet.look(|state| {
        let mut members = state.groups["web"].members.values();
        members.find(|member| member.lifecycle_state.is_warmed()).unwrap().instance_id.clone()
    });
    fleet.sandbox.with(|world| {
        super::super::put_hook(world, "web", HookSpec::launching("ready")).unwrap();
        set_desired(world, "web", 2).unwrap();
    });
    fleet.advance(90).await;
    // The member that leaves the pool waits, and so does the one that comes in its place.
    assert_eq!(fleet.states(), [("InService", 1), ("Pending:Wait", 1), ("Warmed:Pending:Wait", 1)].into());
    let waiting: Vec<_> = fleet.look(|state| state.actions.iter().map(|action| action.instance_id.clone()).collect());
    assert!(waiting.contains(&warmed));
    let mut events = fleet.events();
    events.sort();
    assert_eq!(events, [event(LAUNCH, "EC2", "WarmPool"), event(LAUNCH, "WarmPool", "AutoScalingGroup")]);
    complete_all(&fleet, ActionResult::Continue).await;
    assert_eq!(fleet.states(), [("InService", 2), ("Warmed:Stopped", 1)].into());
    assert!(fleet.registered().contains(&warmed));
}

#[tokio::test(start_paused = true)]
async fn scaling_in_returns_a_member_to_a_pool_that_reuses() {
    let pool = WarmPool { reuse_on_scale_in: true, ..WarmPool::default() };
    let fleet = pooled(|spec| spec.hook(HookSpec::terminating("drained")), pool).await;
    let id = fleet.registered().remove(0);
    fleet.sandbox.with(|world| set_desired(world, "web", 0).unwrap());
    fleet.advance(30).await;
    let state = fleet.look(|state| state.member(&id).unwrap().lifecycle_state.name());
    assert_eq!((state, fleet.registered().len()), ("Warmed:Pending:Wait", 0));
    assert_eq!(fleet.events(), [event(TERMINATE, "AutoScalingGroup", "WarmPool")]);
    complete_all(&fleet, ActionResult::Continue).await;
    assert_eq!(fleet.states(), [("Warmed:Stopped", 2)].into());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_return_to_the_pool_ends_in_termination() {
    let pool = WarmPool { reuse_on_scale_in: true, ..WarmPool::default() };
    let fleet = pooled(|spec| spec.hook(HookSpec::terminating("drained")), pool).await;
    let id = fleet.registered().remove(0);
    fleet.sandbox.with(|world| set_desired(world, "web", 0).unwrap());
    fleet.advance(30).await;
    complete_all(&fleet, ActionResult::Abandon).await;
    assert!(!fleet.ids().contains(&id));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_too_large_terminates_through_the_hook() {
    let fleet = pooled(|spec| spec.hook(HookSpec::terminating("drained")), WarmPool::default()).await;
    fleet.sandbox.with(|world| {
        put_warm_pool(world, "web", WarmPool { max_group_prepared_capacity: Some(0), ..WarmPool::default() }).unwrap()
    });
    fleet.advance(30).await;
    assert_eq!(fleet.states(), [("InService", 1), ("Warmed:Terminating:Wait", 1)].into());
    assert_eq!(fleet.events(), [event(TERMINATE, "WarmPool", "EC2")]);
    complete_all(&fleet, ActionResult::Continue).await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_terminated_member_of_the_pool_is_replaced_in_it() {
    let fleet = pooled(|spec| spec, WarmPool::default()).await;
    let before = fleet.ids();
    let warmed = before.iter().find(|id| !fleet.registered().contains(id)).unwrap().clone();
    let refused = fleet.sandbox.with(|world| terminate_member(world, &warmed, false)).unwrap_err();
    assert_eq!(refused.code, "ValidationError");
    fleet.sandbox.with(|world| ec2::terminate(world, &warmed).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1), ("Warmed:Stopped", 1)].into());
    assert!(!fleet.ids().contains(&warmed));
}

#[tokio::test(start_paused = true)]
async fn a_pool_deleted_by_force_takes_its_members_and_their_actions_along() {
    for deletion in [Deletion::Orderly, Deletion::Forced] {
        let fleet = Fleet::new(|spec| spec.hook(HookSpec::launching("ready").heartbeat(7_200)));
        let pool = WarmPool { min_size: 1, max_group_prepared_capacity: Some(0), ..WarmPool::default() };
        fleet.sandbox.with(|world| put_warm_pool(world, "web", pool).unwrap());
        fleet.advance(60).await;
        assert_eq!(fleet.states(), [("Warmed:Pending:Wait", 1)].into());
        fleet.sandbox.with(|world| delete_warm_pool(world, "web", deletion).unwrap());
        if deletion == Deletion::Forced {
            assert!(fleet.ids().is_empty());
        }
        fleet.settle().await;
        assert!(fleet.ids().is_empty());
        assert_eq!(fleet.ended()[0].ending, Ending::Overtaken);
        assert!(fleet.look(|state| state.groups["web"].warm_pool.is_none()));
    }
}

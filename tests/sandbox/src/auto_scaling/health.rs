//! The health check `EC2` of members: an instance that EC2 does not run is unhealthy, and is replaced (Auto Scaling guide,
//! "Health checks for instances in an Auto Scaling group").
//!
//! `ELB` and the others are modelled only by name. A member on a course is not checked: an instance that dies at a hook keeps its
//! action until that is completed or times out (buildkite/lifecycled issue 55).

use std::time::Duration;

use super::{LifecycleState, capacity, course::Course, journey, process::Process};
use crate::{clock::delta, ec2::InstanceState, world::World};

/// Does the group's work when one of its instances has reached a state in EC2.
pub(super) fn instance_changed(world: &mut World, id: &str, state: InstanceState) {
    use InstanceState::{ShuttingDown, Stopped, Stopping, Terminated};
    if matches!(state, Stopping | Stopped | ShuttingDown | Terminated) {
        look_after(world, id);
    }
}

/// Plans a health check of a member that EC2 does not run: after the grace period, if that is not over, and at the next check. If
/// the instance is started again before, it is healthy.
pub(super) fn look_after(world: &mut World, id: &str) {
    let Some(member) = world.auto_scaling.member(id) else { return };
    let Some(group) = world.auto_scaling.group_of(id) else { return };
    let is_suspended = group.suspended.contains_key(&Process::HealthCheck);
    if is_running(world, id) || member.course.is_some() || is_suspended {
        return;
    }
    let (since, moves) = (member.in_service_since, member.moves);
    let grace = delta(Duration::from_secs(u64::from(group.health_check_grace_period)));
    let grace_left = since.map(|since| since + grace - world.now()).and_then(|left| left.to_std().ok());
    let span = world.options.health_check;
    let wait = grace_left.unwrap_or_default() + span.draw(super::dice(world));
    let id = id.to_owned();
    if let Some(member) = world.auto_scaling.member_mut(&id) {
        member.checks_due += 1;
    }
    world.after(wait, move |world| {
        let Some(member) = world.auto_scaling.member_mut(&id) else { return };
        member.checks_due = member.checks_due.saturating_sub(1);
        if member.moves == moves {
            check(world, &id);
        }
    });
}

fn check(world: &mut World, id: &str) {
    let Some(group) = world.auto_scaling.group_of(id) else { return };
    let Some(member) = group.members.get(id) else { return };
    let is_checked = member.course.is_none()
        && (member.lifecycle_state == LifecycleState::InService || member.lifecycle_state.is_resting());
    // A stopped member of a pool of stopped ones is as it should be.
    let is_well = match member.lifecycle_state {
        LifecycleState::WarmedStopped | LifecycleState::WarmedHibernated => is_there(world, id),
        _ => is_running(world, id),
    };
    if !is_checked || is_well || group.suspended.contains_key(&Process::HealthCheck) {
        return;
    }
    let (name, is_warmed) = (group.name.clone(), member.lifecycle_state.is_warmed());
    let is_replaced = !group.suspended.contains_key(&Process::ReplaceUnhealthy);
    if let Some(member) = world.auto_scaling.member_mut(id) {
        member.is_healthy = false;
    }
    if is_replaced {
        // This also happens when EC2 has already terminated it: "ASG will later find out that the instance is terminated and run
        // lifecycle hook" (AWS support in getsocial-rnd/ecs-drain-lambda issue 6).
        journey::begin(world, id, if is_warmed { Course::TerminateWarmed } else { Course::Terminate });
        capacity::review_soon(world, &name);
    }
}

fn is_running(world: &World, id: &str) -> bool {
    world
        .ec2
        .instance(id)
        .is_some_and(|instance| matches!(instance.state, InstanceState::Pending | InstanceState::Running))
}

fn is_there(world: &World, id: &str) -> bool {
    let gone = [InstanceState::ShuttingDown, InstanceState::Terminated];
    world.ec2.instance(id).is_some_and(|instance| !gone.contains(&instance.state))
}

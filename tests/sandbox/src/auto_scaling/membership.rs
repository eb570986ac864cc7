//! Members: how they come, rest and go, and how the balancers of the group follow.

use std::time::Duration;

use super::{
    Group, LifecycleState, Member, TrafficSource,
    action::{self, Ending},
    balancing, capacity, health,
    process::{self, Process},
};
use crate::{
    ec2::{self, InstanceState},
    wire::ApiError,
    world::World,
};

/// The tag of an instance with the name of its group.
pub(super) const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// Makes an instance a member in any state, as a group that launched it would: for fixtures. The desired capacity follows; the
/// balancers follow if the state is `InService`.
///
/// This suspends the group's processes `HealthCheck` and `ReplaceUnhealthy`, as AWS advises for maintenance ("Suspend and resume
/// processes"): a test that stops a member is about that member and not about its replacement. A test about the replacement lets
/// the group launch its members, or calls [`process::resume`].
///
/// # Errors
/// If there is no such group, or the instance is in one already.
pub fn add_member(
    world: &mut World,
    group_name: &str,
    instance_id: &str,
    lifecycle_state: LifecycleState,
) -> Result<(), ApiError> {
    insert(world, group_name, instance_id, lifecycle_state)?;
    process::suspend(world, group_name, &[Process::HealthCheck, Process::ReplaceUnhealthy])
}

fn insert(world: &mut World, group_name: &str, instance_id: &str, state: LifecycleState) -> Result<(), ApiError> {
    if let Some(other) = world.auto_scaling.group_of(instance_id) {
        let message = format!("Instance {instance_id} is already part of AutoScalingGroup: {}", other.name);
        return Err(ApiError::sender("ValidationError", message));
    }
    let mut member = Member::new(world, instance_id, LifecycleState::Pending);
    member.in_service_since = Some(world.now());
    existing_mut(world, group_name)?.members.insert(instance_id.to_owned(), member);
    ec2::set_tag(world, instance_id, GROUP_TAG, group_name);
    change_state(world, instance_id, state);
    let group = existing_mut(world, group_name)?;
    group.desired_capacity = group.members.values().filter(|member| member.lifecycle_state.is_wanted()).count();
    Ok(())
}

/// Puts a member in a state, and ends its course: for fixtures. When it enters or leaves `InService`, it is registered with the
/// group's balancers, or deregistered. An instance in no group is left alone.
pub fn set_lifecycle_state(world: &mut World, instance_id: &str, lifecycle_state: LifecycleState) {
    action::close_all_of(world, instance_id, Ending::Overtaken);
    if let Some(member) = world.auto_scaling.member_mut(instance_id) {
        member.course = None;
    }
    change_state(world, instance_id, lifecycle_state);
}

/// Puts a member in a state, and lets the balancers follow. A member that is launched while `AddToLoadBalancer` is suspended is
/// never added ("when you resume ... it doesn't add the instances that were launched while this process was suspended").
pub(super) fn change_state(world: &mut World, instance_id: &str, lifecycle_state: LifecycleState) {
    let Some(group) = world.auto_scaling.groups.values_mut().find(|group| group.members.contains_key(instance_id))
    else {
        return;
    };
    let Some(member) = group.members.get_mut(instance_id) else { return };
    let before = std::mem::replace(&mut member.lifecycle_state, lifecycle_state);
    member.moves += 1;
    let sources = group.traffic_sources.clone();
    let is_added = !group.suspended.contains_key(&Process::AddToLoadBalancer);
    let follow = match (before == LifecycleState::InService, lifecycle_state == LifecycleState::InService) {
        (false, true) if is_added => balancing::register,
        (true, false) => balancing::deregister,
        _ => return,
    };
    sources.iter().for_each(|source| follow(world, source, instance_id));
}

/// AttachInstances: all or none.
pub(super) fn attach(world: &mut World, group_name: &str, ids: &[String]) -> Result<(), ApiError> {
    let group = existing(world, group_name)?;
    let wanted = group.desired_capacity + ids.len();
    if wanted > group.max_size {
        let message = format!(
            "New SetDesiredCapacity value {wanted} is above max value {} for the AutoScalingGroup.",
            group.max_size
        );
        return Err(invalid(message));
    }
    for id in ids {
        check_attachable(world, group, id)?;
    }
    // In AWS there is `Pending` for some seconds on the way, which no function looks at. Hooks do not run ("does not apply when
    // you attach or detach instances, move instances in and out of standby mode", Auto Scaling guide).
    ids.iter().try_for_each(|id| insert(world, group_name, id, LifecycleState::InService))
}

/// "The instance is in the running state, ... not a member of another group, launched into one of the zones of the group"
/// (Auto Scaling guide, "Attach instances").
fn check_attachable(world: &World, group: &Group, id: &str) -> Result<(), ApiError> {
    let instance =
        world.ec2.instance(id).ok_or_else(|| invalid(format!("Invalid Instance ID(s): [{id}] specified")))?;
    if instance.state != InstanceState::Running {
        return Err(invalid(format!(
            "Instance [{id}] is not in correct state. Instance(s) must be in 'running' state."
        )));
    }
    if let Some(other) = world.auto_scaling.group_of(id) {
        return Err(invalid(format!("Instance {id} is already part of AutoScalingGroup: {}", other.name)));
    }
    if !group.zones.contains(&instance.zone) {
        let message = format!("The availability zone {} of instance {id} is not one of the group's", instance.zone);
        return Err(invalid(message));
    }
    Ok(())
}

/// How the group's desired capacity follows when members leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It becomes smaller.
    Decrements,
    /// It stays, and the group launches others in their place.
    IsReplaced,
}

/// DetachInstances: all or none. The members leave the balancers first, and stay running. No hook runs.
///
/// "If connection draining (deregistration delay) is enabled for your load balancer, Amazon EC2 Auto Scaling waits for in-flight
/// requests to complete", and a decrement counts every member that leaves, also one in Standby that counted for nothing (Auto Scaling
/// guide, "Detach or attach instances",
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html>). Here it waits for the whole
/// delay, as the balancers themselves do. It is *not verified* that a replacement is launched meanwhile.
///
/// # Errors
/// Returns the errors of DetachInstances.
pub fn detach(world: &mut World, group_name: &str, ids: &[String], leaving: Leaving) -> Result<(), ApiError> {
    use LifecycleState::{
        Detaching, InService, Standby, TerminatingRetained, WarmedPendingRetained, WarmedTerminatingRetained,
    };
    // "Instances in a retained state can be detached only if you don't decrement the desired capacity" (the same page).
    let mut detachable = vec![InService, Standby];
    if leaving == Leaving::IsReplaced {
        detachable.extend([TerminatingRetained, WarmedPendingRetained, WarmedTerminatingRetained]);
    }
    check_members(world, group_name, ids, &detachable)?;
    leave(world, group_name, ids.len(), leaving)?;
    let sources = existing(world, group_name)?.traffic_sources.clone();
    for id in ids {
        set_lifecycle_state(world, id, Detaching);
        let drained = sources.iter().filter_map(|source| balancing::draining_until(world, source, id)).max();
        let drains = drained.and_then(|drained| (drained - world.now()).to_std().ok()).unwrap_or_default();
        step_after(world, id, drains, |world, id| {
            change_state(world, id, LifecycleState::Detached);
            step_after(world, id, Duration::ZERO, leave_group);
        });
    }
    Ok(())
}

/// Takes a detached member out of its group.
fn leave_group(world: &mut World, id: &str) {
    let group = world.auto_scaling.groups.values_mut().find(|group| group.members.contains_key(id));
    let Some(group) = group else { return };
    group.members.remove(id);
    let name = group.name.clone();
    ec2::remove_tag(world, id, GROUP_TAG);
    capacity::review_soon(world, &name);
}

/// Takes a member's next step a moment after a time, unless another deed has moved it by then.
fn step_after(world: &mut World, id: &str, time: Duration, step: fn(&mut World, &str)) {
    let span = world.options.lifecycle_step;
    let wait = time + span.draw(super::dice(world));
    after(world, id, wait, step);
}

/// Takes a member's next step after a time, unless another deed has moved it by then. With each course that ends, it moves.
pub(super) fn after(world: &mut World, id: &str, wait: Duration, step: fn(&mut World, &str)) {
    let Some(moves) = world.auto_scaling.member(id).map(|member| member.moves) else { return };
    let id = id.to_owned();
    world.after(wait, move |world| {
        if world.auto_scaling.member(&id).is_some_and(|member| member.moves == moves) {
            step(world, &id);
        }
    });
}

/// EnterStandby: all or none.
///
/// # Errors
/// Returns the errors of EnterStandby.
pub fn enter_standby(world: &mut World, group_name: &str, ids: &[String], leaving: Leaving) -> Result<(), ApiError> {
    check_members(world, group_name, ids, &[LifecycleState::InService])?;
    leave(world, group_name, ids.len(), leaving)?;
    ids.iter().for_each(|id| set_lifecycle_state(world, id, LifecycleState::Standby));
    Ok(())
}

/// ExitStandby: all or none. "After you put the instances back in service, the desired capacity is incremented" (botocore).
///
/// # Errors
/// Returns the errors of ExitStandby.
pub fn exit_standby(world: &mut World, group_name: &str, ids: &[String]) -> Result<(), ApiError> {
    check_members(world, group_name, ids, &[LifecycleState::Standby])?;
    let group = existing_mut(world, group_name)?;
    if group.desired_capacity + ids.len() > group.max_size {
        return Err(invalid(format!("AutoScalingGroup {group_name} has max-size={}", group.max_size)));
    }
    group.desired_capacity += ids.len();
    for id in ids {
        set_lifecycle_state(world, id, LifecycleState::InService);
        health::look_after(world, id);
    }
    capacity::review_soon(world, group_name);
    Ok(())
}

/// Attaches a traffic source, and registers the members in service with it. A second time changes nothing.
pub(super) fn attach_source(world: &mut World, group_name: &str, source: TrafficSource) -> Result<(), ApiError> {
    let group = existing_mut(world, group_name)?;
    if !group.traffic_sources.contains(&source) {
        group.traffic_sources.push(source.clone());
        let members = in_service(group);
        members.iter().for_each(|id| balancing::register(world, &source, id));
    }
    Ok(())
}

/// Detaches a traffic source, and deregisters the members in service from it. It must have been attached by the same kind of
/// operation ("not for target groups that were attached by using AttachTrafficSources", botocore).
pub(super) fn detach_source(world: &mut World, group_name: &str, source: &TrafficSource) -> Result<(), ApiError> {
    let group = existing_mut(world, group_name)?;
    let Some(place) = group.traffic_sources.iter().position(|other| other == source) else {
        let message = format!(
            "Trying to remove Load Balancers/Target Groups that are not part of the group: {}",
            source.identifier
        );
        return Err(invalid(message));
    };
    group.traffic_sources.remove(place);
    let members = in_service(group);
    members.iter().for_each(|id| balancing::deregister(world, source, id));
    Ok(())
}

fn in_service(group: &Group) -> Vec<String> {
    let in_service = |member: &&Member| member.lifecycle_state == LifecycleState::InService;
    group.members.values().filter(in_service).map(|member| member.instance_id.clone()).collect()
}

fn check_members(world: &World, group_name: &str, ids: &[String], wanted: &[LifecycleState]) -> Result<(), ApiError> {
    let group = existing(world, group_name)?;
    for id in ids {
        let member = group
            .members
            .get(id)
            .ok_or_else(|| invalid(format!("The instance {id} is not part of Auto Scaling group {group_name}.")))?;
        if !wanted.contains(&member.lifecycle_state) {
            // AWS names the retained states in no refusal that is known: "is not in InService or Standby".
            let words = wanted.iter().map(|state| state.name()).filter(|name| !name.ends_with("Retained"));
            let wanted: Vec<_> = words.collect();
            return Err(invalid(format!("The instance {id} is not in {}.", wanted.join(" or "))));
        }
    }
    Ok(())
}

fn leave(world: &mut World, group_name: &str, by: usize, leaving: Leaving) -> Result<(), ApiError> {
    capacity::review_soon(world, group_name);
    if leaving == Leaving::IsReplaced {
        return capacity::check_launches(existing(world, group_name)?, by);
    }
    let group = existing_mut(world, group_name)?;
    let desired = group.desired_capacity.saturating_sub(by);
    if desired < group.min_size {
        let message = format!(
            "AutoScalingGroup {group_name} has min-size={}, max-size={}, and desired-size={}. To place into standby {by} \
             instance or detach it, please update the AutoScalingGroup sizes appropriately.",
            group.min_size, group.max_size, group.desired_capacity
        );
        return Err(invalid(message));
    }
    group.desired_capacity = desired;
    Ok(())
}

pub(super) fn existing<'a>(world: &'a World, group_name: &str) -> Result<&'a Group, ApiError> {
    world.auto_scaling.groups.get(group_name).ok_or_else(|| not_found(group_name))
}

pub(super) fn existing_mut<'a>(world: &'a mut World, group_name: &str) -> Result<&'a mut Group, ApiError> {
    world.auto_scaling.groups.get_mut(group_name).ok_or_else(|| not_found(group_name))
}

fn not_found(group_name: &str) -> ApiError {
    invalid(format!("AutoScalingGroup name not found - AutoScalingGroup '{group_name}' not found"))
}

pub(super) fn invalid(message: String) -> ApiError {
    ApiError::sender("ValidationError", message)
}

//! How many members a group has. Actual are the members that count; wanted is the desired capacity (and, for a while, the surplus
//! of a refresh). A review closes the gap by launching, by drawing on the warm pool, and by terminating.
//!
//! A review is due after every change of either side. It reads everything again, so that one more does no harm.

use std::collections::BTreeMap;

use super::{
    Group, LaunchSource, LifecycleState, Member,
    course::Course,
    event, journey,
    membership::{GROUP_TAG, existing, existing_mut, invalid},
    process::Process,
};
use crate::{
    ec2::{self, Launch},
    options::Span,
    wire::ApiError,
    world::World,
};

/// How long a group waits after EC2 has refused a launch. AWS waits longer and longer; how long is not documented.
const AFTER_REFUSAL: Span = Span::milliseconds(60_000, 60_000);

/// Sets how many members a group wants.
///
/// # Errors
/// Returns the errors of SetDesiredCapacity: the number is outside of the group's bounds.
pub fn set_desired(world: &mut World, group_name: &str, desired: usize) -> Result<(), ApiError> {
    let group = existing(world, group_name)?;
    check_desired(group, desired)?;
    check_launches(group, desired)?;
    existing_mut(world, group_name)?.desired_capacity = desired;
    review_soon(world, group_name);
    Ok(())
}

/// Sets a group's bounds, and keeps its desired capacity within them (botocore, UpdateAutoScalingGroup).
///
/// # Errors
/// Returns the errors of UpdateAutoScalingGroup.
pub(super) fn update_sizes(
    world: &mut World,
    group_name: &str,
    [least, most, desired]: [Option<usize>; 3],
) -> Result<(), ApiError> {
    let group = existing(world, group_name)?;
    let (least, most) = (least.unwrap_or(group.min_size), most.unwrap_or(group.max_size));
    if least > most {
        return Err(invalid("Max bound, and min bound must be in order".to_owned()));
    }
    let changed = Group { min_size: least, max_size: most, ..group.clone() };
    let desired = desired.unwrap_or(group.desired_capacity.clamp(least, most));
    check_desired(&changed, desired)?;
    check_launches(&changed, desired)?;
    *existing_mut(world, group_name)? = Group { desired_capacity: desired, ..changed };
    review_soon(world, group_name);
    Ok(())
}

fn check_desired(group: &Group, desired: usize) -> Result<(), ApiError> {
    let bound = match desired {
        n if n > group.max_size => Some(format!("above max value {}", group.max_size)),
        n if n < group.min_size => Some(format!("below min value {}", group.min_size)),
        _ => None,
    };
    bound.map_or(Ok(()), |bound| {
        Err(invalid(format!("New SetDesiredCapacity value {desired} is {bound} for the AutoScalingGroup.")))
    })
}

/// A group that has zones and no subnets would launch in the default VPC, which the sandbox does not have.
pub(super) fn check_launches(group: &Group, desired: usize) -> Result<(), ApiError> {
    if desired > 0 && group.subnet_ids.is_empty() {
        return Err(ApiError::not_modelled("a launch by a group without subnets"));
    }
    Ok(())
}

/// TerminateInstanceInAutoScalingGroup: through the hooks, and with another member in its place or one fewer wanted.
///
/// # Errors
/// If it is in no group, in the warm pool, or the group would want fewer than its least.
pub fn terminate_member(world: &mut World, id: &str, should_decrement: bool) -> Result<(), ApiError> {
    let found = world.auto_scaling.group_of(id).and_then(|group| Some((group, group.members.get(id)?)));
    let (group, member) = found
        .ok_or_else(|| invalid(format!("Instance Id not found - No managed instance found for instance ID: {id}")))?;
    if member.lifecycle_state.is_warmed() {
        return Err(invalid(format!("The instance {id} is in the warm pool, and cannot be terminated by this call")));
    }
    let (name, counts) = (group.name.clone(), member.lifecycle_state.is_wanted());
    if should_decrement && counts {
        let lowered = group.desired_capacity.saturating_sub(1);
        if lowered < group.min_size {
            let message = format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's \
                 min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                group.min_size
            );
            return Err(invalid(message));
        }
        existing_mut(world, &name)?.desired_capacity = lowered;
    }
    if !is_ending(world, id) {
        journey::begin(world, id, Course::Terminate);
    }
    review_soon(world, &name);
    Ok(())
}

fn is_ending(world: &World, id: &str) -> bool {
    let course = world.auto_scaling.member(id).and_then(|member| member.course);
    matches!(course, Some(Course::Terminate | Course::TerminateWarmed))
}

/// Reviews a group in a while.
pub(super) fn review_soon(world: &mut World, group_name: &str) {
    let span = world.options.group_reaction;
    review_after(world, group_name, span);
}

fn review_after(world: &mut World, group_name: &str, span: Span) {
    let wait = span.draw(super::dice(world));
    let Some(group) = world.auto_scaling.groups.get_mut(group_name) else { return };
    group.reviews_due += 1;
    // It is found by its ARN, since another group may have its name by then.
    let (name, arn) = (group_name.to_owned(), group.arn.clone());
    world.after(wait, move |world| {
        let Some(group) = world.auto_scaling.groups.get_mut(&name).filter(|group| group.arn == arn) else { return };
        group.reviews_due -= 1;
        review(world, &name);
    });
}

/// Closes the gap between the actual and the desired members of a group, as far as its processes are not suspended.
fn review(world: &mut World, group_name: &str) {
    let group = &world.auto_scaling.groups[group_name];
    let counting = group.members.values().filter(|member| member.lifecycle_state.is_wanted()).count();
    let (wanted, most) = (group.desired_capacity + group.surge_to_launch(), group.desired_capacity + group.surge());
    if counting < wanted && !group.suspended.contains_key(&Process::Launch) {
        for _ in counting..wanted {
            if launch_or_draw(world, group_name).is_err() {
                return;
            }
        }
    } else if counting > most && !group.suspended.contains_key(&Process::Terminate) {
        scale_in(world, group_name, counting - most);
    }
    review_pool(world, group_name);
}

/// Adds one member: out of the warm pool ("a warm start") or, if the pool is empty, a new one. During a refresh it is always a
/// new one, since the members of the pool are outdated as well.
fn launch_or_draw(world: &mut World, group_name: &str) -> Result<(), ()> {
    let group = &world.auto_scaling.groups[group_name];
    let ready = group.members.values().filter(|member| member.lifecycle_state.is_resting());
    let ready = ready.min_by_key(|member| member.joined).filter(|_| group.active_refresh().is_none());
    match ready.map(|member| member.instance_id.clone()) {
        Some(id) => {
            journey::begin(world, &id, Course::LeavePool);
            Ok(())
        }
        None => launch(world, group_name, Course::Launch),
    }
}

/// Launches an instance in the subnet that has the fewest members, with the tags that the group hands on.
fn launch(world: &mut World, group_name: &str, course: Course) -> Result<(), ()> {
    let group = &world.auto_scaling.groups[group_name];
    let members_in = |subnet: &&String| {
        let is_there = |member: &&Member| {
            world.ec2.instance(&member.instance_id).is_some_and(|instance| instance.subnet_id == **subnet)
        };
        group.members.values().filter(is_there).count()
    };
    let Some(subnet) = group.subnet_ids.iter().min_by_key(members_in) else { return Err(()) };
    let handed_on = group.tags.iter().filter(|tag| tag.propagate_at_launch);
    let mut tags: BTreeMap<_, _> = handed_on.map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    tags.insert(GROUP_TAG.to_owned(), group_name.to_owned());
    let is_protected = group.protects_new_members;
    let plain = match &group.source {
        LaunchSource::Template { id, name, .. } => {
            ec2::launch_by_template(world, id.as_deref(), name.as_deref(), subnet)
        }
        LaunchSource::Configuration(_) | LaunchSource::Instance(_) => Launch::new(subnet),
    };
    let launch = Launch { tags, ..plain };
    // The launch is announced within a moment, when it is already a member.
    match ec2::launch(world, launch) {
        Ok(id) => {
            let mut member = Member::new(world, &id, course.first());
            member.protected_from_scale_in = is_protected;
            if let Some(group) = world.auto_scaling.groups.get_mut(group_name) {
                group.members.insert(id.clone(), member);
            }
            journey::begin(world, &id, course);
            Ok(())
        }
        Err(refusal) => {
            event::launch_failed(world, group_name, &refusal.message);
            review_after(world, group_name, AFTER_REFUSAL);
            Err(())
        }
    }
}

/// Sends surplus members away: into the pool if it takes them back, otherwise to their end. The oldest go first, which is only
/// one rule of the default termination policy. The zones' shares are not looked at.
fn scale_in(world: &mut World, group_name: &str, surplus: usize) {
    let group = &world.auto_scaling.groups[group_name];
    let can_go = |member: &&Member| member.lifecycle_state.is_wanted() && !member.protected_from_scale_in;
    let mut members: Vec<_> = group.members.values().filter(can_go).collect();
    members.sort_by_key(|member| (member.lifecycle_state != LifecycleState::InService, member.joined));
    let going: Vec<_> = members.iter().take(surplus).map(|m| (m.instance_id.clone(), m.lifecycle_state)).collect();
    let reuses = group.warm_pool.as_ref().is_some_and(|pool| pool.reuse_on_scale_in && !pool.is_being_deleted);
    for (id, state) in going {
        let course =
            if reuses && state == LifecycleState::InService { Course::ReturnToPool } else { Course::Terminate };
        journey::begin(world, &id, course);
    }
}

/// Does the same for the warm pool.
fn review_pool(world: &mut World, group_name: &str) {
    let group = &world.auto_scaling.groups[group_name];
    let Some(pool) = &group.warm_pool else { return };
    let wanted = if pool.is_being_deleted { 0 } else { pool.wanted(group.max_size, group.desired_capacity) };
    let is_in_pool = |member: &&Member| {
        member.lifecycle_state.is_resting() || matches!(member.course, Some(Course::Warm | Course::ReturnToPool))
    };
    let mut members: Vec<_> = group.members.values().filter(is_in_pool).collect();
    members.sort_by_key(|member| member.joined);
    let is_deleted = pool.is_being_deleted && !group.members.values().any(|member| member.lifecycle_state.is_warmed());
    let surplus = members.len().saturating_sub(wanted);
    let surplus: Vec<_> = members.iter().take(surplus).map(|member| member.instance_id.clone()).collect();
    let missing = wanted.saturating_sub(members.len());
    let may = |process| !group.suspended.contains_key(&process);
    let (may_launch, may_terminate) = (may(Process::Launch), may(Process::Terminate));
    if is_deleted && let Some(group) = world.auto_scaling.groups.get_mut(group_name) {
        group.warm_pool = None;
        return;
    }
    if may_terminate {
        surplus.iter().for_each(|id| journey::begin(world, id, Course::TerminateWarmed));
    }
    if may_launch {
        for _ in 0..missing {
            if launch(world, group_name, Course::Warm).is_err() {
                return;
            }
        }
    }
}

//! Sizes of a group, its suspended processes, and members that are terminated.

use super::{
    super::{Group, Process, capacity, membership, process},
    activity, groups, member,
};
use crate::{
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

pub(super) fn set_desired(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, _) = (params.required("AutoScalingGroupName")?, params.required("DesiredCapacity")?);
    // The sandbox has no cooldowns to be honored.
    params.optional("HonorCooldown");
    capacity::set_desired(world, &group, params.parsed("DesiredCapacity")?.unwrap_or(0))?;
    Ok(Element::result())
}

/// Changes the sizes that are named; the others stay.
pub(super) fn update(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    let group = membership::existing(world, &name)?;
    let sizes = [params.parsed("MinSize")?, params.parsed("MaxSize")?, params.parsed("DesiredCapacity")?];
    let source = groups::optional_launch_source(params);
    let changed = Group {
        source: source.unwrap_or_else(|| group.source.clone()),
        health_check_type: params.optional("HealthCheckType").unwrap_or_else(|| group.health_check_type.clone()),
        health_check_grace_period: params.parsed("HealthCheckGracePeriod")?.unwrap_or(group.health_check_grace_period),
        protects_new_members: params.parsed("NewInstancesProtectedFromScaleIn")?.unwrap_or(group.protects_new_members),
        retains: groups::retains(params)?.unwrap_or(group.retains),
        ..group.clone()
    };
    capacity::update_sizes(world, &name, sizes)?;
    let group = membership::existing_mut(world, &name)?;
    group.source = changed.source;
    group.health_check_type = changed.health_check_type;
    group.health_check_grace_period = changed.health_check_grace_period;
    group.protects_new_members = changed.protects_new_members;
    group.retains = changed.retains;
    Ok(Element::result())
}

pub(super) fn terminate_instance(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let id = params.required("InstanceId")?;
    params.required("ShouldDecrementDesiredCapacity")?;
    let should_decrement = params.parsed("ShouldDecrementDesiredCapacity")?.unwrap_or(false);
    let group = world.auto_scaling.group_of(&id).map(|group| group.name.clone()).unwrap_or_default();
    capacity::terminate_member(world, &id, should_decrement)?;
    let activity = activity(world, "Activity", &group, &id, "Terminating EC2 instance");
    Ok(Element::result().child(activity))
}

pub(super) fn suspend(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    process::suspend(world, &group, &processes(params)?)?;
    Ok(Element::result())
}

pub(super) fn resume(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    process::resume(world, &group, &processes(params)?)?;
    Ok(Element::result())
}

/// "If you omit this property, all processes are specified" (botocore).
fn processes(params: &Params) -> Result<Vec<Process>, ApiError> {
    let names = params.texts("ScalingProcesses");
    if names.is_empty() {
        return Ok(Process::ALL.to_vec());
    }
    names.iter().map(|name| Process::of_name(name)).collect()
}

pub(super) fn suspended_elements(group: &Group) -> impl Iterator<Item = Element> {
    group.suspended.iter().map(|(process, since)| {
        member()
            .text("ProcessName", process.name())
            .text("SuspensionReason", format!("User suspended at {}", since.format("%Y-%m-%dT%H:%M:%SZ")))
    })
}

//! Members: attached, detached, set aside, described.

use super::{
    super::{Group, Member, membership},
    cut,
    groups::member_element,
    invalid, member,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Ids in a DescribeAutoScalingInstances call (hjacobs/kube-aws-autoscaler issue 25).
const MAX_DESCRIBED: usize = 50;

/// Ids in a call that moves members (Auto Scaling guide, quotas; reproio/ecs_deploy pull request 39).
const MAX_MOVED: usize = 20;

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = params.texts("InstanceIds");
    if ids.len() > MAX_DESCRIBED {
        return Err(invalid(format!("The number of instance ids that may be passed in is limited to {MAX_DESCRIBED}")));
    }
    // An unknown id is left out silently.
    let groups = world.auto_scaling.groups.values();
    let members = groups.flat_map(|group| group.members.values().map(move |member| (group, member)));
    let members = members.filter(|(_, member)| ids.is_empty() || ids.contains(&member.instance_id));
    let members = members.map(|(group, one)| (one.instance_id.clone(), instance_element(world, group, one))).collect();
    let Page { elements, next } = cut(world, params, members, 50, 50)?;
    Ok(Element::result().list("AutoScalingInstances", elements).optional("NextToken", next))
}

fn instance_element(world: &World, group: &Group, one: &Member) -> Element {
    member_element(world, group, one).text("AutoScalingGroupName", &group.name)
}

pub(super) fn attach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::attach(world, &group, &ids)?;
    Ok(Element::result())
}

pub(super) fn detach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::require_decrement(should_decrement(params)?)?;
    membership::detach(world, &group, &ids)?;
    Ok(activities(world, &group, &ids, "Detaching EC2 instance"))
}

pub(super) fn enter_standby(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::require_decrement(should_decrement(params)?)?;
    membership::enter_standby(world, &group, &ids)?;
    Ok(activities(world, &group, &ids, "Moving EC2 instance to Standby"))
}

pub(super) fn exit_standby(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::exit_standby(world, &group, &ids)?;
    Ok(activities(world, &group, &ids, "Moving EC2 instance out of Standby"))
}

fn should_decrement(params: &Params) -> Result<bool, ApiError> {
    params.required("ShouldDecrementDesiredCapacity")?;
    Ok(params.parsed("ShouldDecrementDesiredCapacity")?.unwrap_or(false))
}

fn moved(params: &Params) -> Result<Vec<String>, ApiError> {
    let ids = params.texts("InstanceIds");
    if ids.is_empty() {
        return Err(invalid("At least one instance ID must be specified.".to_owned()));
    }
    if ids.len() > MAX_MOVED {
        return Err(invalid(format!("List exceeds the maximum number of instances, {MAX_MOVED}")));
    }
    Ok(ids)
}

fn activities(world: &mut World, group: &str, ids: &[String], what: &str) -> Element {
    let at = world.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let activities: Vec<_> = ids
        .iter()
        .map(|id| {
            let number = world.invent_number();
            member()
                .text("ActivityId", format!("00000000-0000-0000-0000-{number:012x}"))
                .text("AutoScalingGroupName", group)
                .text("Description", format!("{what}: {id}"))
                .text("Cause", format!("At {at} instance {id} was moved in response to a user request."))
                .text("StartTime", &at)
                .text("StatusCode", "InProgress")
                .text("Progress", 50)
                .text("Details", "{}")
        })
        .collect();
    Element::result().list("Activities", activities)
}

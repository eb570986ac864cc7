//! Members: attached, detached, set aside, described.

use super::{
    super::{Group, Leaving, Member, membership},
    activity, cut,
    groups::{HealthWord, member_element},
    invalid,
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
    let members = members.map(|(group, one)| (one.instance_id.clone(), instance_element(group, one))).collect();
    let Page { elements, next } = cut(world, params, members, 50, 50)?;
    Ok(Element::result().list("AutoScalingInstances", elements).optional("NextToken", next))
}

fn instance_element(group: &Group, one: &Member) -> Element {
    member_element(group, one, HealthWord::Capitals).text("AutoScalingGroupName", &group.name)
}

pub(super) fn attach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::attach(world, &group, &ids)?;
    Ok(Element::result())
}

pub(super) fn detach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::detach(world, &group, &ids, leaving(params)?)?;
    Ok(activities(world, &group, &ids, "Detaching EC2 instance"))
}

pub(super) fn enter_standby(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::enter_standby(world, &group, &ids, leaving(params)?)?;
    Ok(activities(world, &group, &ids, "Moving EC2 instance to Standby"))
}

pub(super) fn exit_standby(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, ids) = (params.required("AutoScalingGroupName")?, moved(params)?);
    membership::exit_standby(world, &group, &ids)?;
    Ok(activities(world, &group, &ids, "Moving EC2 instance out of Standby"))
}

fn leaving(params: &Params) -> Result<Leaving, ApiError> {
    params.required("ShouldDecrementDesiredCapacity")?;
    let decrements = params.parsed("ShouldDecrementDesiredCapacity")?.unwrap_or(false);
    Ok(if decrements { Leaving::Decrements } else { Leaving::IsReplaced })
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
    let activities: Vec<_> = ids.iter().map(|id| activity(world, "member", group, id, what)).collect();
    Element::result().list("Activities", activities)
}

//! Groups: created, described, deleted.

use std::collections::BTreeSet;

use super::{
    super::{AttachedBy, Group, GroupTag, LaunchSource, Member, TrafficSource, TrafficSourceKind, membership},
    cut, invalid, member,
    sources::read_sources,
    text_members,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::{ACCOUNT, REGION, World},
};

/// Names in one call (kops issue 4832).
const MAX_NAMES: usize = 50;

/// Seconds, where the caller says nothing (botocore, CreateAutoScalingGroup: 0 through the API).
const GRACE_PERIOD: u32 = 0;

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    if world.auto_scaling.groups.contains_key(&name) {
        let message = "AutoScalingGroup by this name already exists - A group with the same name exists";
        return Err(ApiError::sender("AlreadyExists", message));
    }
    params.required("MinSize")?;
    params.required("MaxSize")?;
    let min_size = params.parsed("MinSize")?.unwrap_or(0);
    if min_size > 0 || params.parsed("DesiredCapacity")?.unwrap_or(0_usize) > 0 {
        return Err(ApiError::not_modelled("a group that launches instances: create it empty and attach them"));
    }
    let (subnet_ids, zones) = places(world, params)?;
    let id = world.invent_number();
    let arn = format!(
        "arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:00000000-0000-0000-0000-{id:012x}:autoScalingGroupName/{name}"
    );
    let group = Group {
        source: launch_source(params)?,
        min_size,
        max_size: params.parsed("MaxSize")?.unwrap_or(0),
        desired_capacity: 0,
        subnet_ids,
        zones,
        health_check_type: params.optional("HealthCheckType").unwrap_or_else(|| "EC2".to_owned()),
        health_check_grace_period: params.parsed("HealthCheckGracePeriod")?.unwrap_or(GRACE_PERIOD),
        traffic_sources: traffic_sources(params)?,
        tags: params.list("Tags").iter().map(|tag| read_tag(tag, &name)).collect::<Result<_, _>>()?,
        members: Default::default(),
        created: world.now(),
        name: name.clone(),
        arn,
    };
    world.auto_scaling.groups.insert(name, group);
    Ok(Element::result())
}

fn launch_source(params: &Params) -> Result<LaunchSource, ApiError> {
    let template = params.structure("LaunchTemplate");
    let (id, name) = (template.optional("LaunchTemplateId"), template.optional("LaunchTemplateName"));
    let version = template.optional("Version");
    let configuration = params.optional("LaunchConfigurationName");
    let instance = params.optional("InstanceId");
    match (configuration, instance) {
        _ if id.is_some() || name.is_some() => Ok(LaunchSource::Template { id, name, version }),
        (Some(name), _) => Ok(LaunchSource::Configuration(name)),
        (_, Some(id)) => Ok(LaunchSource::Instance(id)),
        _ => Err(invalid(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or \
             MixedInstancesPolicy parameter."
                .to_owned(),
        )),
    }
}

/// Subnets, and the zones that they are in or that the caller names.
fn places(world: &World, params: &Params) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let subnet_ids: Vec<_> = params
        .optional("VPCZoneIdentifier")
        .map(|ids| ids.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect())
        .unwrap_or_default();
    let mut zones: BTreeSet<_> = params.texts("AvailabilityZones").into_iter().collect();
    for id in &subnet_ids {
        let subnet = world.ec2.subnets.get(id);
        let subnet = subnet.ok_or_else(|| invalid(format!("The subnet ID '{id}' does not exist")))?;
        zones.insert(subnet.zone.clone());
    }
    if zones.is_empty() {
        return Err(invalid("At least one Availability Zone or VPC Subnet is required.".to_owned()));
    }
    Ok((subnet_ids, zones.into_iter().collect()))
}

fn traffic_sources(params: &Params) -> Result<Vec<TrafficSource>, ApiError> {
    let named = |field: &str, kind| {
        params.texts(field).into_iter().map(move |identifier| TrafficSource {
            kind,
            identifier,
            attached_by: AttachedBy::LoadBalancerOperation,
        })
    };
    let classic = named("LoadBalancerNames", TrafficSourceKind::Classic);
    let groups = named("TargetGroupARNs", TrafficSourceKind::TargetGroup);
    Ok(classic.chain(groups).chain(read_sources(params)?).collect())
}

fn read_tag(params: &Params, group_name: &str) -> Result<GroupTag, ApiError> {
    let of_group = params.optional("ResourceId").is_none_or(|id| id == group_name);
    let of_kind = params.optional("ResourceType").is_none_or(|kind| kind == "auto-scaling-group");
    if !of_group || !of_kind {
        return Err(invalid("A tag of a group must name the group, or nothing".to_owned()));
    }
    Ok(GroupTag {
        key: params.required("Key")?,
        value: params.optional("Value").unwrap_or_default(),
        // The API's own default is true (Auto Scaling API reference, Tag).
        propagate_at_launch: params.parsed("PropagateAtLaunch")?.unwrap_or(true),
    })
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    let force = params.parsed("ForceDelete")?.unwrap_or(false);
    let members: Vec<_> = membership::existing(world, &name)?.members.keys().cloned().collect();
    if !members.is_empty() && !force {
        let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) \
                       still in the group.";
        return Err(ApiError::sender("ResourceInUse", message));
    }
    if force {
        // "The force delete operation will also terminate the EC2 instances" (botocore). Deregistered first, as ever.
        for id in &members {
            super::super::set_lifecycle_state(world, id, super::super::LifecycleState::Terminating);
            crate::ec2::terminate(world, id)?;
        }
    }
    world.auto_scaling.groups.remove(&name);
    Ok(Element::result())
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let names = params.texts("AutoScalingGroupNames");
    if names.len() > MAX_NAMES {
        return Err(invalid(format!("The number of group names that may be passed in is limited to {MAX_NAMES}")));
    }
    // An unknown name is left out silently.
    let groups = world.auto_scaling.groups.values().filter(|group| names.is_empty() || names.contains(&group.name));
    let groups = groups.map(|group| (group.name.clone(), group_element(world, group))).collect();
    let Page { elements, next } = cut(world, params, groups, 50, 100)?;
    Ok(Element::result().list("AutoScalingGroups", elements).optional("NextToken", next))
}

fn group_element(world: &World, group: &Group) -> Element {
    let identifiers = |kind| {
        let shown = move |source: &&TrafficSource| {
            source.kind == kind && source.attached_by == AttachedBy::LoadBalancerOperation
        };
        text_members(group.traffic_sources.iter().filter(shown).map(|source| &source.identifier))
    };
    let sources = group
        .traffic_sources
        .iter()
        .map(|source| member().text("Identifier", &source.identifier).text("Type", source.kind.name()));
    let members = group.members.values().map(|one| member_element(world, group, one));
    member()
        .text("AutoScalingGroupName", &group.name)
        .text("AutoScalingGroupARN", &group.arn)
        .append(&source_element(&group.source))
        .text("MinSize", group.min_size)
        .text("MaxSize", group.max_size)
        .text("DesiredCapacity", group.desired_capacity)
        .text("DefaultCooldown", 300)
        .list("AvailabilityZones", text_members(&group.zones))
        .list("LoadBalancerNames", identifiers(TrafficSourceKind::Classic))
        .list("TargetGroupARNs", identifiers(TrafficSourceKind::TargetGroup))
        .text("HealthCheckType", &group.health_check_type)
        .text("HealthCheckGracePeriod", group.health_check_grace_period)
        .list("Instances", members)
        .text("CreatedTime", group.created.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
        .list("SuspendedProcesses", [])
        .text("VPCZoneIdentifier", group.subnet_ids.join(","))
        .list("EnabledMetrics", [])
        .list("Tags", group.tags.iter().map(|tag| tag_element(&group.name, tag)))
        .list("TerminationPolicies", [Element::of_text("member", "Default")])
        .text("NewInstancesProtectedFromScaleIn", false)
        .list("TrafficSources", sources)
}

fn tag_element(group_name: &str, tag: &GroupTag) -> Element {
    member()
        .text("ResourceId", group_name)
        .text("ResourceType", "auto-scaling-group")
        .text("Key", &tag.key)
        .text("Value", &tag.value)
        .text("PropagateAtLaunch", tag.propagate_at_launch)
}

fn source_element(source: &LaunchSource) -> Element {
    match source {
        LaunchSource::Template { id, name, version } => Element::result().child(
            Element::new("LaunchTemplate")
                .optional("LaunchTemplateId", id.as_ref())
                .optional("LaunchTemplateName", name.as_ref())
                .optional("Version", version.as_ref()),
        ),
        LaunchSource::Configuration(name) => Element::result().text("LaunchConfigurationName", name),
        LaunchSource::Instance(_) => Element::result(),
    }
}

/// A member, in the group's description or in DescribeAutoScalingInstances.
pub(super) fn member_element(world: &World, group: &Group, one: &Member) -> Element {
    let zone = world.ec2.instance(&one.instance_id).map(|instance| &instance.zone);
    member()
        .text("InstanceId", &one.instance_id)
        .optional("AvailabilityZone", zone)
        .text("LifecycleState", one.lifecycle_state.name())
        .text("HealthStatus", &one.health_status)
        .text("ProtectedFromScaleIn", one.protected_from_scale_in)
        .append(&source_element(&group.source))
}

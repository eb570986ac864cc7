//! Groups: created, described, deleted.

use super::{
    super::{AttachedBy, Group, GroupSpec, GroupTag, LaunchSource, Member, TrafficSource, TrafficSourceKind, group},
    capacity::suspended_elements,
    cut,
    hooks::read_hook,
    invalid, member,
    sources::read_sources,
    text_members,
    warm_pools::configuration_element,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Names in one call, unless `MaxRecords` says more (API reference, DescribeAutoScalingGroups; <https://github.com/kubernetes/kops/issues/4832>).
const MAX_NAMES: usize = 50;

/// Seconds, if the caller says nothing (botocore, CreateAutoScalingGroup: 0 through the API).
const GRACE_PERIOD: u32 = 0;

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    params.required("MinSize")?;
    params.required("MaxSize")?;
    let subnets = params.optional("VPCZoneIdentifier").unwrap_or_default();
    let subnet_ids = subnets.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
    let min_size = params.parsed("MinSize")?.unwrap_or(0);
    let spec = GroupSpec {
        source: launch_source(params)?,
        sizes: (min_size, params.parsed("MaxSize")?.unwrap_or(min_size), params.parsed("DesiredCapacity")?),
        subnet_ids,
        zones: params.texts("AvailabilityZones"),
        health_check_type: params.optional("HealthCheckType").unwrap_or_else(|| "EC2".to_owned()),
        health_check_grace_period: params.parsed("HealthCheckGracePeriod")?.unwrap_or(GRACE_PERIOD),
        traffic_sources: traffic_sources(params)?,
        tags: params.list("Tags").iter().map(|tag| read_tag(tag, &name)).collect::<Result<_, _>>()?,
        hooks: params.list("LifecycleHookSpecificationList").iter().map(read_hook).collect::<Result<_, _>>()?,
        protects_new_members: params.parsed("NewInstancesProtectedFromScaleIn")?.unwrap_or(false),
        retains: retains(params)?.unwrap_or(false),
        name,
    };
    group::create_group(world, spec)?;
    Ok(Element::result())
}

/// Reads whether an instance stays whose terminate hook was abandoned.
pub(super) fn retains(params: &Params) -> Result<Option<bool>, ApiError> {
    let trigger = params.optional("InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon");
    let trigger = trigger.map(|word| match word.as_str() {
        "retain" => Ok(true),
        "terminate" => Ok(false),
        _ => Err(invalid(format!("TerminateHookAbandon has to be retain or terminate, and is {word}"))),
    });
    trigger.transpose()
}

fn launch_source(params: &Params) -> Result<LaunchSource, ApiError> {
    let instance = params.optional("InstanceId").map(LaunchSource::Instance);
    optional_launch_source(params).or(instance).ok_or_else(|| {
        invalid(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or \
             MixedInstancesPolicy parameter."
                .to_owned(),
        )
    })
}

pub(super) fn optional_launch_source(params: &Params) -> Option<LaunchSource> {
    let template = params.structure("LaunchTemplate");
    let (id, name) = (template.optional("LaunchTemplateId"), template.optional("LaunchTemplateName"));
    let version = template.optional("Version");
    let configuration = params.optional("LaunchConfigurationName").map(LaunchSource::Configuration);
    match id.is_some() || name.is_some() {
        true => Some(LaunchSource::Template { id, name, version }),
        false => configuration,
    }
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

pub(super) fn read_tag(params: &Params, group_name: &str) -> Result<GroupTag, ApiError> {
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
    let (name, force) = (params.required("AutoScalingGroupName")?, params.parsed("ForceDelete")?.unwrap_or(false));
    group::delete_group(world, &name, force)?;
    Ok(Element::result())
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let names = params.texts("AutoScalingGroupNames");
    let most = params.parsed("MaxRecords")?.unwrap_or(MAX_NAMES);
    if names.len() > most {
        return Err(invalid(format!("The number of group names that may be passed in is limited to {most}")));
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
    let shows_pool = world.options.groups_show_warm_pool;
    let members = group.members.values().filter(|one| shows_pool || !one.lifecycle_state.is_warmed());
    let members = members.map(|one| member_element(group, one, HealthWord::Capital));
    let warmed = group.members.values().filter(|one| one.lifecycle_state.is_warmed()).count();
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
        .list("SuspendedProcesses", suspended_elements(group))
        .text("VPCZoneIdentifier", group.subnet_ids.join(","))
        .list("EnabledMetrics", [])
        .list("Tags", group.tags.iter().map(|tag| tag_element(&group.name, tag)))
        .list("TerminationPolicies", [Element::of_text("member", "Default")])
        .text("NewInstancesProtectedFromScaleIn", group.protects_new_members)
        .list("TrafficSources", sources)
        .child(retention_element(group))
        .append(&pool_element(group, warmed))
}

fn retention_element(group: &Group) -> Element {
    let word = if group.retains { "retain" } else { "terminate" };
    let triggers = Element::new("RetentionTriggers").text("TerminateHookAbandon", word);
    Element::new("InstanceLifecyclePolicy").child(triggers)
}

pub(super) fn tag_element(group_name: &str, tag: &GroupTag) -> Element {
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

/// Returns the warm pool in the description of a group that has one.
fn pool_element(group: &Group, warmed: usize) -> Element {
    match &group.warm_pool {
        Some(pool) => Element::result()
            .child(Element::new("WarmPoolConfiguration").append(&configuration_element(pool)))
            .text("WarmPoolSize", warmed),
        None => Element::result(),
    }
}

/// How an operation writes a health status: `Healthy` in DescribeAutoScalingGroups and DescribeWarmPool, `HEALTHY` in
/// DescribeAutoScalingInstances (the examples of the AWS CLI's reference).
#[derive(Clone, Copy, Debug)]
pub(super) enum HealthWord {
    Capital,
    Capitals,
}

/// Returns a member, in the group's or the pool's description or in DescribeAutoScalingInstances.
pub(super) fn member_element(group: &Group, one: &Member, word: HealthWord) -> Element {
    let health = match (one.is_healthy, word) {
        (true, HealthWord::Capital) => "Healthy",
        (true, HealthWord::Capitals) => "HEALTHY",
        (false, HealthWord::Capital) => "Unhealthy",
        (false, HealthWord::Capitals) => "UNHEALTHY",
    };
    member()
        .text("InstanceId", &one.instance_id)
        .text("AvailabilityZone", &one.zone)
        .text("LifecycleState", one.lifecycle_state.name())
        .text("HealthStatus", health)
        .text("ProtectedFromScaleIn", one.protected_from_scale_in)
        .append(&source_element(&group.source))
}

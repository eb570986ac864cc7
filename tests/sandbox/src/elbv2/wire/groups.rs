//! Operations on target groups and their targets.

use std::collections::BTreeMap;

use crate::{
    clock::Timestamp,
    elb::{page::Page, tags},
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

use super::super::{
    HealthCheck, IpAddressType, Target, TargetGroup, TargetGroupSpec, TargetType, TargetView, create_target_group,
    delete_target_group, deregister_all, invalid, register_all, set_attributes,
    targets::{views, views_of},
};

/// Target groups that one DescribeTargetGroups call describes by name or ARN (<https://github.com/ansible-collections/amazon.aws/pull/1593>).
const MAX_DESCRIBED: usize = 20;

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let target_type = match params.optional("TargetType").as_deref() {
        None | Some("instance") => TargetType::Instance,
        Some("ip") => TargetType::Ip,
        Some("lambda") => TargetType::Lambda,
        Some("alb") => TargetType::Alb,
        Some(other) => return Err(invalid(format!("Target type '{other}' is not valid"))),
    };
    let (protocol, vpc_id) = (params.optional("Protocol"), params.optional("VpcId"));
    let (name, port) = (params.required("Name")?, params.parsed("Port")?);
    let mut spec = TargetGroupSpec::new(&name, target_type, protocol.as_deref(), port, vpc_id.as_deref());
    spec.ip_address_type = match params.optional("IpAddressType").as_deref() {
        None | Some("ipv4") => IpAddressType::Ipv4,
        Some("ipv6") => IpAddressType::Ipv6,
        Some(other) => return Err(invalid(format!("IP address type '{other}' is not valid"))),
    };
    spec.protocol_version = params.optional("ProtocolVersion").or(spec.protocol_version);
    change_check(&mut spec.health_check, params)?;
    spec.tags = tags::read(params)?;
    let arn = create_target_group(world, spec)?;
    Ok(Element::result().list("TargetGroups", [show(world, world.elbv2.target_group(&arn)?)]))
}

/// Changes the settings of a health check that a call names; the others stay.
fn change_check(check: &mut HealthCheck, params: &Params) -> Result<(), ApiError> {
    check.enabled = params.parsed("HealthCheckEnabled")?.unwrap_or(check.enabled);
    check.protocol = params.optional("HealthCheckProtocol").or(check.protocol.take());
    check.port = params.optional("HealthCheckPort").or(check.port.take());
    check.path = params.optional("HealthCheckPath").or(check.path.take());
    check.interval_seconds = params.parsed("HealthCheckIntervalSeconds")?.unwrap_or(check.interval_seconds);
    check.timeout_seconds = params.parsed("HealthCheckTimeoutSeconds")?.unwrap_or(check.timeout_seconds);
    check.healthy_threshold = params.parsed("HealthyThresholdCount")?.unwrap_or(check.healthy_threshold);
    check.unhealthy_threshold = params.parsed("UnhealthyThresholdCount")?.unwrap_or(check.unhealthy_threshold);
    for code in ["HttpCode", "GrpcCode"] {
        if let Some(codes) = params.structure("Matcher").optional(code) {
            check.matcher = Some((code.to_owned(), codes));
        }
    }
    Ok(())
}

/// Changes a group's health check, the only thing that can be changed so.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyTargetGroup.html>
pub(super) fn modify(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let arn = params.required("TargetGroupArn")?;
    let group = world.elbv2.target_group_mut(&arn)?;
    let mut check = group.spec.health_check.clone();
    change_check(&mut check, params)?;
    if !check.enabled && group.spec.target_type != TargetType::Lambda {
        return Err(invalid("Health checks cannot be disabled for this target type"));
    }
    group.spec.health_check = check;
    Ok(Element::result().list("TargetGroups", [show(world, world.elbv2.target_group(&arn)?)]))
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let page = Page::asked(params, &world.options)?;
    let (arns, names) = (params.texts("TargetGroupArns"), params.texts("Names"));
    let balancer = params.optional("LoadBalancerArn");
    if usize::from(!arns.is_empty()) + usize::from(!names.is_empty()) + usize::from(balancer.is_some()) > 1 {
        return Err(invalid("Target group ARNs, names and a load balancer ARN cannot be specified at the same time"));
    }
    if arns.len().max(names.len()) > MAX_DESCRIBED {
        return Err(invalid(format!("You cannot describe more than '{MAX_DESCRIBED}' target groups at a time")));
    }
    let state = &world.elbv2;
    for arn in &arns {
        state.target_group(arn)?;
    }
    if names.iter().any(|name| !state.target_groups.values().any(|group| group.spec.name == *name)) {
        return Err(ApiError::sender("TargetGroupNotFound", "One or more target groups not found"));
    }
    if let Some(arn) = &balancer {
        state.load_balancer(arn)?;
    }
    let wanted = |group: &TargetGroup| match &balancer {
        Some(arn) => state.balancers_of(&group.arn).contains(arn.as_str()),
        None => arns.is_empty() && names.is_empty() || arns.contains(&group.arn) || names.contains(&group.spec.name),
    };
    let (found, marker) = page.cut(state.target_groups.iter().filter(|(_, group)| wanted(group)));
    let mut shown: Vec<_> = found.into_iter().map(|group| show(world, group)).collect();
    world.elbv2.shuffle(&world.options, &mut shown);
    Ok(Element::result().list("TargetGroups", shown).optional("NextMarker", marker))
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    delete_target_group(world, &params.required("TargetGroupArn")?)?;
    Ok(Element::result())
}

pub(super) fn describe_attributes(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    show_attributes(world, &params.required("TargetGroupArn")?)
}

pub(super) fn modify_attributes(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let arn = params.required("TargetGroupArn")?;
    let mut changes = BTreeMap::new();
    for attribute in params.list("Attributes") {
        changes.insert(attribute.required("Key")?, attribute.optional("Value").unwrap_or_default());
    }
    set_attributes(world, &arn, &changes)?;
    show_attributes(world, &arn)
}

pub(super) fn register(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (arn, targets) = (params.required("TargetGroupArn")?, targets(params)?);
    register_all(world, &arn, &some(targets)?)?;
    Ok(Element::result())
}

pub(super) fn deregister(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (arn, targets) = (params.required("TargetGroupArn")?, targets(params)?);
    deregister_all(world, &arn, &some(targets)?)?;
    Ok(Element::result())
}

pub(super) fn describe_health(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let group = world.elbv2.target_group(&params.required("TargetGroupArn")?)?;
    let asked = targets(params)?;
    let views = match asked.is_empty() {
        true => views(world, group, as_of),
        false => views_of(world, group, &asked, as_of)?,
    };
    let mut shown: Vec<_> = views.iter().map(|view| show_target(group, view)).collect();
    world.elbv2.shuffle(&world.options, &mut shown);
    Ok(Element::result().list("TargetHealthDescriptions", shown))
}

fn targets(params: &Params) -> Result<Vec<Target>, ApiError> {
    // SDKs send an empty list as one empty field.
    let _ = params.optional("Targets");
    let target = |element: &Params| {
        let port = element.parsed("Port")?;
        if port == Some(0) {
            return Err(invalid("Port '0' is not between 1 and 65535"));
        }
        let (zone, quic) = (element.optional("AvailabilityZone"), element.optional("QuicServerId"));
        Ok(Target { id: element.required("Id")?, port, zone, quic })
    };
    params.list("Targets").iter().map(target).collect()
}

fn some(targets: Vec<Target>) -> Result<Vec<Target>, ApiError> {
    if targets.is_empty() { Err(invalid("Targets cannot be empty")) } else { Ok(targets) }
}

fn show(world: &World, group: &TargetGroup) -> Element {
    let (spec, check) = (&group.spec, &group.spec.health_check);
    let balancers = world.elbv2.balancers_of(&group.arn);
    let ip_address_type = match spec.ip_address_type {
        IpAddressType::Ipv4 => "ipv4",
        IpAddressType::Ipv6 => "ipv6",
    };
    let element = Element::new("member")
        .text("TargetGroupArn", &group.arn)
        .text("TargetGroupName", &spec.name)
        .optional("Protocol", spec.protocol.as_ref())
        .optional("Port", spec.port)
        .optional("VpcId", spec.vpc_id.as_ref())
        .optional("HealthCheckProtocol", check.protocol.as_ref())
        .optional("HealthCheckPort", check.port.as_ref())
        .text("HealthCheckEnabled", check.enabled)
        .text("HealthCheckIntervalSeconds", check.interval_seconds)
        .text("HealthCheckTimeoutSeconds", check.timeout_seconds)
        .text("HealthyThresholdCount", check.healthy_threshold)
        .text("UnhealthyThresholdCount", check.unhealthy_threshold)
        .optional("HealthCheckPath", check.path.as_ref())
        .list("LoadBalancerArns", balancers.iter().map(|arn| Element::of_text("member", arn)))
        .text("TargetType", spec.target_type.name())
        .optional("ProtocolVersion", spec.protocol_version.as_ref())
        .text("IpAddressType", ip_address_type);
    match &check.matcher {
        Some((kind, codes)) => element.child(Element::new("Matcher").text(kind, codes)),
        None => element,
    }
}

fn show_attributes(world: &World, arn: &str) -> Result<Element, ApiError> {
    let attributes = world.elbv2.target_group(arn)?.attributes.iter();
    let shown = attributes.map(|(key, value)| Element::new("member").text("Key", key).text("Value", value));
    Ok(Element::result().list("Attributes", shown))
}

fn show_target(group: &TargetGroup, view: &TargetView) -> Element {
    let target = Element::new("Target")
        .text("Id", &view.id)
        .optional("Port", view.port)
        .optional("AvailabilityZone", view.zone.as_ref())
        .optional("QuicServerId", view.quic.as_ref());
    let health = Element::new("TargetHealth")
        .text("State", view.health.state())
        .optional("Reason", view.health.reason())
        .optional("Description", view.health.description());
    let check_port = match group.spec.health_check.port.as_deref() {
        Some("traffic-port") => view.port.map(|port| port.to_string()),
        port => port.map(str::to_owned),
    };
    Element::new("member").child(target).optional("HealthCheckPort", check_port).child(health)
}

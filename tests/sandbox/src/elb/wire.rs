//! The operations of Classic Load Balancing. Names are those of botocore's model of 2012-06-01.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    clock::Timestamp,
    wire::{Answer, ApiError, Request, query::Params, xml::Element},
    world::World,
};

use super::{
    HealthCheck, Listener, LoadBalancer, LoadBalancerSpec, Standing, balancer, balancer_mut, create_as, delete,
    deregister_all, drain_for, health::health_at, no_balancer, not_found, page::Page, register_all, tags,
};

/// Does a call's work. Reading operations see the members and their health as of the time `as_of`.
///
/// # Errors
/// Returns the errors of Classic Load Balancing.
pub fn answer(world: &mut World, request: &Request, as_of: Timestamp) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // The dispatcher has read them already, but from another copy of the same fields.
    let _ = (params.optional("Action"), params.optional("Version"));
    let result = match request.action.as_str() {
        "CreateLoadBalancer" => create_load_balancer(world, params),
        "DeleteLoadBalancer" => {
            delete(world, &params.required("LoadBalancerName")?);
            Ok(Element::result())
        }
        "DescribeLoadBalancers" => describe_load_balancers(world, params, as_of),
        "RegisterInstancesWithLoadBalancer" => {
            register_all(world, &params.required("LoadBalancerName")?, &instances(params)?)?;
            show_members(world, params)
        }
        "DeregisterInstancesFromLoadBalancer" => {
            deregister_all(world, &params.required("LoadBalancerName")?, &instances(params)?)?;
            show_members(world, params)
        }
        "DescribeInstanceHealth" => describe_instance_health(world, params, as_of),
        "ConfigureHealthCheck" => configure_health_check(world, params),
        "CreateLoadBalancerListeners" => create_listeners(world, params),
        "DeleteLoadBalancerListeners" => delete_listeners(world, params),
        "DescribeLoadBalancerPolicies" => describe_policies(world, params),
        "DescribeLoadBalancerAttributes" => {
            let balancer = balancer(world, &params.required("LoadBalancerName")?)?;
            Ok(Element::result().child(show_attributes(balancer)))
        }
        "ModifyLoadBalancerAttributes" => modify_attributes(world, params),
        "AddTags" | "RemoveTags" => change_tags(world, params, request.action == "AddTags"),
        "DescribeTags" => describe_tags(world, params),
        other => Err(ApiError::not_modelled(format!("the operation {other}"))),
    }?;
    Ok(Answer::Xml(result))
}

fn create_load_balancer(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("LoadBalancerName")?;
    let (subnets, zones) = (params.texts("Subnets"), params.texts("AvailabilityZones"));
    let vpc_id = match (subnets.first(), world.ec2.vpcs.len()) {
        (Some(_), _) => None,
        // Zones alone mean the default VPC. The sandbox has none, so its only VPC stands for it.
        (None, 1) => world.ec2.vpcs.keys().next().cloned(),
        (None, _) => return Err(ApiError::not_modelled("a load balancer by zones where there is not one VPC")),
    };
    let mut spec = LoadBalancerSpec::http(world, &name, vpc_id.as_deref().unwrap_or_default(), &[]);
    spec.zones = zones.into_iter().collect();
    for id in subnets {
        let missing = || ApiError::sender("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        let subnet = world.ec2.subnets.get(&id).ok_or_else(missing)?;
        if !spec.vpc_id.is_empty() && spec.vpc_id != subnet.vpc_id {
            return Err(ApiError::sender("InvalidSubnet", "The subnets must be in the same VPC"));
        }
        spec.vpc_id.clone_from(&subnet.vpc_id);
        spec.zones.insert(subnet.zone.clone());
        spec.subnets.push(id);
    }
    if spec.zones.is_empty() {
        return Err(ApiError::sender("ValidationError", "Either AvailabilityZones or SubnetIds must be specified"));
    }
    spec.security_groups = params.texts("SecurityGroups");
    spec.scheme = params.optional("Scheme").unwrap_or_else(|| "internet-facing".into());
    if !["internet-facing", "internal"].contains(&spec.scheme.as_str()) {
        return Err(ApiError::sender("InvalidScheme", format!("The scheme '{}' is not valid", spec.scheme)));
    }
    spec.listeners = params.list("Listeners").iter().map(listener).collect::<Result<_, _>>()?;
    if spec.listeners.is_empty() {
        return Err(ApiError::sender("ValidationError", "Listeners cannot be empty"));
    }
    spec.tags = tags::read(params)?;
    let dns_name = dns_name(&spec);
    create_as(world, spec)?;
    Ok(Element::result().text("DNSName", dns_name))
}

fn listener(params: &Params) -> Result<Listener, ApiError> {
    let protocol = params.required("Protocol")?.to_uppercase();
    let missing = || ApiError::sender("ValidationError", "A listener needs LoadBalancerPort and InstancePort");
    Ok(Listener {
        port: params.parsed("LoadBalancerPort")?.ok_or_else(missing)?,
        instance_protocol: params.optional("InstanceProtocol").unwrap_or_else(|| protocol.clone()),
        instance_port: params.parsed("InstancePort")?.ok_or_else(missing)?,
        protocol,
    })
}

/// Adds listeners. If one is refused, none is added: *not verified*.
/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancerListeners.html>
fn create_listeners(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let balancer = balancer_mut(world, &params.required("LoadBalancerName")?)?;
    let mut listeners = balancer.spec.listeners.clone();
    for asked in params.list("Listeners") {
        let new = listener(&asked)?;
        match listeners.iter().find(|present| present.port == new.port) {
            // "otherwise, the properties of the new listener must match the properties of the existing listener"
            Some(present) if *present != new => {
                let message =
                    format!("A listener already exists for {} with LoadBalancerPort {}", balancer.spec.name, new.port);
                return Err(ApiError::sender("DuplicateListener", message));
            }
            Some(_) => {}
            None => listeners.push(new),
        }
    }
    balancer.spec.listeners = listeners;
    Ok(Element::result())
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DeleteLoadBalancerListeners.html>
fn delete_listeners(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let balancer = balancer_mut(world, &params.required("LoadBalancerName")?)?;
    let ports = params.texts("LoadBalancerPorts");
    balancer.spec.listeners.retain(|listener| !ports.contains(&listener.port.to_string()));
    Ok(Element::result())
}

/// Policies cannot be created here, so a load balancer has none. AWS's sample policies, which a call without a load balancer
/// describes, are not modelled.
/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancerPolicies.html>
fn describe_policies(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let Some(name) = params.optional("LoadBalancerName") else {
        return Err(ApiError::not_modelled("the sample policies of DescribeLoadBalancerPolicies"));
    };
    balancer(world, &name)?;
    match params.texts("PolicyNames").first() {
        Some(policy) => Err(ApiError::sender(
            "PolicyNotFound",
            format!("There is no policy with name {policy} for load balancer {name}"),
        )),
        None => Ok(Element::result().list("PolicyDescriptions", [])),
    }
}

fn describe_load_balancers(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let page = Page::asked(params, &world.options)?;
    let names: BTreeSet<String> = params.texts("LoadBalancerNames").into_iter().collect();
    if let Some(name) = names.iter().find(|name| !world.elb.load_balancers.contains_key(*name)) {
        return Err(no_balancer(name));
    }
    let wanted = world.elb.load_balancers.iter().filter(|(name, _)| names.is_empty() || names.contains(*name));
    let (found, marker) = page.cut(wanted);
    let mut elements: Vec<_> = found.into_iter().map(|balancer| (show(balancer), balancer.members_at(as_of))).collect();
    world.elb.shuffle(&world.options, &mut elements);
    let mut members = Vec::new();
    for (element, ids) in elements {
        let mut ids: Vec<_> = ids.into_iter().collect();
        world.elb.shuffle(&world.options, &mut ids);
        members.push(element.list("Instances", ids.iter().map(show_id)));
    }
    Ok(Element::result().list("LoadBalancerDescriptions", members).optional("NextMarker", marker))
}

fn show(balancer: &LoadBalancer) -> Element {
    let (spec, check) = (&balancer.spec, &balancer.health_check);
    let texts = |values: &[String]| values.iter().map(|v| Element::of_text("member", v)).collect::<Vec<_>>();
    let zones: Vec<String> = spec.zones.iter().cloned().collect();
    let listeners = spec.listeners.iter().map(|listener| {
        let inner = Element::new("Listener")
            .text("Protocol", &listener.protocol)
            .text("LoadBalancerPort", listener.port)
            .text("InstanceProtocol", &listener.instance_protocol)
            .text("InstancePort", listener.instance_port);
        Element::new("member").child(inner).list("PolicyNames", [])
    });
    let policies = Element::new("Policies")
        .list("AppCookieStickinessPolicies", [])
        .list("LBCookieStickinessPolicies", [])
        .list("OtherPolicies", []);
    let group = Element::new("SourceSecurityGroup").text("OwnerAlias", crate::ACCOUNT).text("GroupName", "default");
    Element::new("member")
        .text("LoadBalancerName", &spec.name)
        .text("DNSName", dns_name(spec))
        .text("CanonicalHostedZoneName", dns_name(spec))
        .text("CanonicalHostedZoneNameID", "Z35SXDOTRQ7X7K")
        .list("ListenerDescriptions", listeners)
        .child(policies)
        .list("BackendServerDescriptions", [])
        .list("AvailabilityZones", texts(&zones))
        .list("Subnets", texts(&spec.subnets))
        .text("VPCId", &spec.vpc_id)
        .child(show_check(check))
        .child(group)
        .list("SecurityGroups", texts(&spec.security_groups))
        .text("CreatedTime", balancer.created.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
        .text("Scheme", &spec.scheme)
}

fn show_check(check: &HealthCheck) -> Element {
    Element::new("HealthCheck")
        .text("Target", &check.target)
        .text("Interval", check.interval)
        .text("Timeout", check.timeout)
        .text("UnhealthyThreshold", check.unhealthy_threshold)
        .text("HealthyThreshold", check.healthy_threshold)
}

fn show_members(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("LoadBalancerName")?;
    let mut ids: Vec<_> = balancer(world, &name)?.members_at(world.now()).into_iter().collect();
    world.elb.shuffle(&world.options, &mut ids);
    Ok(Element::result().list("Instances", ids.iter().map(show_id)))
}

fn describe_instance_health(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let name = params.required("LoadBalancerName")?;
    let balancer = balancer(world, &name)?;
    let mut ids = instances_or_none(params)?;
    if let Some(unknown) = ids.iter().find(|id| !world.ec2.instances.contains_key(*id)) {
        return Err(not_found(unknown));
    }
    if ids.is_empty() {
        let visible = |standing| standing == Standing::Registered || !world.elb.health_hides_draining;
        let members = balancer.members.all(as_of).filter(|(_, _, standing)| visible(*standing));
        ids = members.map(|(id, _, _)| id.clone()).collect();
    }
    let states = ids.into_iter().filter_map(|id| health_at(world, balancer, &id, as_of).map(|health| (id, health)));
    let mut states: Vec<_> = states
        .map(|(id, health)| {
            show_id(&id)
                .text("State", health.state)
                .text("ReasonCode", health.reason_code)
                .text("Description", health.description)
        })
        .collect();
    world.elb.shuffle(&world.options, &mut states);
    Ok(Element::result().list("InstanceStates", states))
}

fn configure_health_check(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let balancer = balancer_mut(world, &params.required("LoadBalancerName")?)?;
    let check = params.structure("HealthCheck");
    let number = |name: &str, range: std::ops::RangeInclusive<u32>| match check.parsed::<u32>(name)? {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(ApiError::sender("ValidationError", format!("HealthCheck {name} must be within {range:?}"))),
    };
    balancer.health_check = HealthCheck {
        target: check.required("Target")?,
        interval: number("Interval", 5..=300)?,
        timeout: number("Timeout", 2..=60)?,
        unhealthy_threshold: number("UnhealthyThreshold", 2..=10)?,
        healthy_threshold: number("HealthyThreshold", 2..=10)?,
    };
    Ok(Element::result().child(show_check(&balancer.health_check)))
}

fn show_attributes(balancer: &LoadBalancer) -> Element {
    let draining = Element::new("ConnectionDraining")
        .text("Enabled", balancer.draining_enabled)
        .text("Timeout", balancer.draining_timeout.as_secs());
    let settings = Element::new("ConnectionSettings").text("IdleTimeout", balancer.idle_timeout_seconds);
    Element::new("LoadBalancerAttributes")
        .child(Element::new("CrossZoneLoadBalancing").text("Enabled", balancer.cross_zone))
        .child(Element::new("AccessLog").text("Enabled", false))
        .child(draining)
        .child(settings)
        .list("AdditionalAttributes", [])
}

fn modify_attributes(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("LoadBalancerName")?;
    balancer(world, &name)?;
    let attributes = params.structure("LoadBalancerAttributes");
    if attributes.parsed::<bool>("AccessLog.Enabled")? == Some(true) {
        return Err(ApiError::not_modelled("access logs"));
    }
    let enabled = attributes.parsed::<bool>("ConnectionDraining.Enabled")?;
    let timeout = attributes.parsed::<u64>("ConnectionDraining.Timeout")?.map(Duration::from_secs);
    let cross_zone = attributes.parsed("CrossZoneLoadBalancing.Enabled")?;
    let idle_timeout = attributes.parsed("ConnectionSettings.IdleTimeout")?;
    if let Some(enabled) = enabled {
        let kept = balancer(world, &name)?.draining_timeout;
        drain_for(world, &name, enabled.then(|| timeout.unwrap_or(kept)))?;
    }
    let balancer = balancer_mut(world, &name)?;
    balancer.cross_zone = cross_zone.unwrap_or(balancer.cross_zone);
    balancer.idle_timeout_seconds = idle_timeout.unwrap_or(balancer.idle_timeout_seconds);
    Ok(Element::result().text("LoadBalancerName", &name).child(show_attributes(balancer)))
}

fn change_tags(world: &mut World, params: &Params, add: bool) -> Result<Element, ApiError> {
    let names = params.texts("LoadBalancerNames");
    // "You can specify one load balancer only" (the API's reference, of AddTags and of RemoveTags).
    let [name] = names.as_slice() else {
        return Err(ApiError::sender("ValidationError", "Exactly one load balancer name must be specified"));
    };
    let present = &mut balancer_mut(world, name)?.spec.tags;
    if add {
        *present = tags::merged(present, &tags::read(params)?)?;
    } else {
        for tag in params.list("Tags") {
            present.remove(&tag.required("Key")?);
        }
    }
    Ok(Element::result())
}

fn describe_tags(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let names = params.texts("LoadBalancerNames");
    tags::check_described(names.len())?;
    let mut found = Vec::new();
    for name in names {
        let shown = tags::show(&balancer(world, &name)?.spec.tags);
        found.push(Element::new("member").text("LoadBalancerName", &name).list("Tags", shown));
    }
    world.elb.shuffle(&world.options, &mut found);
    Ok(Element::result().list("TagDescriptions", found))
}

fn instances(params: &Params) -> Result<Vec<String>, ApiError> {
    let ids = instances_or_none(params)?;
    if ids.is_empty() {
        return Err(ApiError::sender("ValidationError", "Instances cannot be empty"));
    }
    Ok(ids)
}

fn instances_or_none(params: &Params) -> Result<Vec<String>, ApiError> {
    // SDKs send an empty list as one empty field.
    let _ = params.optional("Instances");
    params.list("Instances").iter().map(|element| element.required("InstanceId")).collect()
}

fn show_id(id: &String) -> Element {
    Element::new("member").text("InstanceId", id)
}

fn dns_name(spec: &LoadBalancerSpec) -> String {
    let internal = if spec.scheme == "internal" { "internal-" } else { "" };
    format!("{internal}{}-1234567890.{}.elb.amazonaws.com", spec.name.to_lowercase(), crate::REGION)
}

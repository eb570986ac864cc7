//! Operations on load balancers and listeners.

use std::collections::BTreeSet;

use crate::{
    elb::{page::Page, tags},
    wire::{ApiError, query::Params, xml::Element},
    world::{REGION, World},
};

use super::super::{
    Kind, Listener, ListenerSpec, LoadBalancer, LoadBalancerSpec, check_arn, create_load_balancer_as,
    delete_load_balancer, invalid, no_balancer, no_listener, resources,
};

/// Load balancers that one DescribeLoadBalancers call describes by name or ARN (<https://github.com/cloud-custodian/cloud-custodian/issues/10550>).
const MAX_DESCRIBED: usize = 20;

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let kind = match params.optional("Type").as_deref() {
        None | Some("application") => Kind::Application,
        Some("network") => Kind::Network,
        Some("gateway") => Kind::Gateway,
        Some(other) => return Err(invalid(format!("Load balancer type '{other}' is not valid"))),
    };
    let mut subnets = params.texts("Subnets");
    for mapping in params.list("SubnetMappings") {
        subnets.push(mapping.required("SubnetId")?);
    }
    let mut zones = BTreeSet::new();
    let mut vpc_id = None;
    for id in &subnets {
        let missing = || ApiError::sender("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        let subnet = world.ec2.subnets.get(id).ok_or_else(missing)?;
        if vpc_id.replace(subnet.vpc_id.clone()).is_some_and(|other| other != subnet.vpc_id) {
            return Err(ApiError::sender("InvalidSubnet", "The subnets must be in the same VPC"));
        }
        if !zones.insert(subnet.zone.clone()) {
            return Err(ApiError::sender("InvalidConfigurationRequest", "Only one subnet a zone can be specified"));
        }
    }
    if kind == Kind::Application && zones.len() < 2 {
        return Err(invalid("At least two subnets in two different Availability Zones must be specified"));
    }
    let spec = LoadBalancerSpec {
        name: params.required("Name")?,
        kind,
        vpc_id: vpc_id.ok_or_else(|| invalid("At least one subnet must be specified"))?,
        subnets: Some(subnets),
        security_groups: params.texts("SecurityGroups"),
        scheme: params.optional("Scheme").unwrap_or_else(|| "internet-facing".into()),
        ip_address_type: params.optional("IpAddressType").unwrap_or_else(|| "ipv4".into()),
        tags: tags::read(params)?,
    };
    let arn = create_load_balancer_as(world, spec)?;
    Ok(Element::result().list("LoadBalancers", [show(world, world.elbv2.load_balancer(&arn)?)]))
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let page = Page::asked(params, &world.options)?;
    let (arns, names) = (params.texts("LoadBalancerArns"), params.texts("Names"));
    let asked = arns.len().max(names.len());
    if asked > MAX_DESCRIBED {
        let message =
            format!("Up to {MAX_DESCRIBED} load balancers can be described at a time, but {asked} were specified");
        return Err(invalid(message));
    }
    let state = &world.elbv2;
    for arn in &arns {
        state.load_balancer(arn)?;
    }
    if let Some(name) = names.iter().find(|name| !state.load_balancers.values().any(|b| b.spec.name == **name)) {
        return Err(no_balancer(name));
    }
    let all = arns.is_empty() && names.is_empty();
    let wanted = |balancer: &LoadBalancer| arns.contains(&balancer.arn) || names.contains(&balancer.spec.name);
    let (found, marker) = page.cut(state.load_balancers.iter().filter(|(_, balancer)| all || wanted(balancer)));
    let mut shown: Vec<_> = found.into_iter().map(|balancer| show(world, balancer)).collect();
    world.elbv2.shuffle(&world.options, &mut shown);
    Ok(Element::result().list("LoadBalancers", shown).optional("NextMarker", marker))
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let arn = params.required("LoadBalancerArn")?;
    check_arn(&arn, "loadbalancer")?;
    delete_load_balancer(world, &arn);
    Ok(Element::result())
}

pub(super) fn create_listener(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let mut target_groups = Vec::new();
    for action in params.list("DefaultActions") {
        let kind = action.required("Type")?;
        if kind != "forward" {
            return Err(ApiError::not_modelled(format!("a listener's action {kind}")));
        }
        let _ = action.optional("Order");
        let forward = action.structure("ForwardConfig").list("TargetGroups");
        for group in &forward {
            target_groups.push((group.required("TargetGroupArn")?, group.parsed("Weight")?));
        }
        // Told twice, it is the same group (botocore's model: "you can specify both only if they are identical").
        let single = action.optional("TargetGroupArn").filter(|_| forward.is_empty());
        target_groups.extend(single.map(|arn| (arn, None)));
    }
    if target_groups.is_empty() {
        return Err(invalid("A listener must forward to a target group"));
    }
    let spec = ListenerSpec {
        load_balancer_arn: params.required("LoadBalancerArn")?,
        protocol: params.optional("Protocol"),
        port: params.parsed("Port")?,
        target_groups,
        tags: tags::read(params)?,
    };
    let arn = resources::create_listener(world, spec)?;
    let listener = world.elbv2.listeners.get(&arn).ok_or_else(|| no_listener(&arn))?;
    Ok(Element::result().list("Listeners", [show_listener(listener)]))
}

pub(super) fn describe_listeners(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let page = Page::asked(params, &world.options)?;
    let (balancer, arns) = (params.optional("LoadBalancerArn"), params.texts("ListenerArns"));
    if let Some(arn) = &balancer {
        world.elbv2.load_balancer(arn)?;
    }
    if let Some(arn) = arns.iter().find(|arn| !world.elbv2.listeners.contains_key(*arn)) {
        return Err(no_listener(arn));
    }
    if balancer.is_some() != arns.is_empty() {
        return Err(invalid("Specify either listener ARNs or a load balancer ARN"));
    }
    let wanted = |l: &Listener| arns.contains(&l.arn) || balancer.as_ref() == Some(&l.spec.load_balancer_arn);
    let (found, marker) = page.cut(world.elbv2.listeners.iter().filter(|(_, listener)| wanted(listener)));
    let mut shown: Vec<_> = found.into_iter().map(show_listener).collect();
    world.elbv2.shuffle(&world.options, &mut shown);
    Ok(Element::result().list("Listeners", shown).optional("NextMarker", marker))
}

pub(super) fn delete_listener(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    resources::delete_listener(world, &params.required("ListenerArn")?)?;
    Ok(Element::result())
}

fn show(world: &World, balancer: &LoadBalancer) -> Element {
    let spec = &balancer.spec;
    let zones = balancer.subnets(world).map(|subnet| {
        Element::new("member")
            .text("ZoneName", &subnet.zone)
            .text("SubnetId", &subnet.id)
            .list("LoadBalancerAddresses", [])
    });
    let groups = spec.security_groups.iter().map(|id| Element::of_text("member", id));
    let id = balancer.arn.rsplit('/').next().unwrap_or_default();
    Element::new("member")
        .text("LoadBalancerArn", &balancer.arn)
        .text("DNSName", format!("{}-{id}.elb.{REGION}.amazonaws.com", spec.name.to_lowercase()))
        .text("CanonicalHostedZoneId", "Z26RNL4JYFTOTI")
        .text("CreatedTime", balancer.created.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
        .text("LoadBalancerName", &spec.name)
        .text("Scheme", &spec.scheme)
        .text("VpcId", &spec.vpc_id)
        .child(Element::new("State").text("Code", "active"))
        .text("Type", spec.kind.name())
        .list("AvailabilityZones", zones.collect::<Vec<_>>())
        .list("SecurityGroups", groups)
        .text("IpAddressType", &spec.ip_address_type)
}

fn show_listener(listener: &Listener) -> Element {
    let spec = &listener.spec;
    let groups = spec
        .target_groups
        .iter()
        .map(|(arn, weight)| Element::new("member").text("TargetGroupArn", arn).text("Weight", weight.unwrap_or(1)));
    let forward = Element::new("ForwardConfig").list("TargetGroups", groups);
    // The short form is told only where there is one group.
    let only = match spec.target_groups.as_slice() {
        [(arn, _)] => Some(arn),
        _ => None,
    };
    let action = Element::new("member").text("Type", "forward").optional("TargetGroupArn", only).child(forward);
    Element::new("member")
        .text("ListenerArn", &listener.arn)
        .text("LoadBalancerArn", &spec.load_balancer_arn)
        .optional("Port", spec.port)
        .optional("Protocol", spec.protocol.as_ref())
        .list("DefaultActions", [action])
}

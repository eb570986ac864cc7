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

/// The attributes are those of a new load balancer, since none can be changed here.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeLoadBalancerAttributes.html>
pub(super) fn describe_attributes(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let attributes = usual(&world.elbv2.load_balancer(&params.required("LoadBalancerArn")?)?.spec);
    let attributes = attributes.iter().map(|(key, value)| Element::new("member").text("Key", key).text("Value", value));
    Ok(Element::result().list("Attributes", attributes))
}

/// Every listener has its default rule, and no other can be made here.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeRules.html>
pub(super) fn describe_rules(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let page = Page::asked(params, &world.options)?;
    let listeners = &world.elbv2.listeners;
    let (listener, arns) = (params.optional("ListenerArn"), params.texts("RuleArns"));
    if let Some(arn) = listener.iter().find(|arn| !listeners.contains_key(*arn)) {
        return Err(no_listener(arn));
    }
    if let Some(arn) = arns.iter().find(|arn| !listeners.values().any(|listener| default_rule(listener) == **arn)) {
        return Err(ApiError::sender("RuleNotFound", format!("Rules '{arn}' not found")));
    }
    if listener.is_some() != arns.is_empty() {
        return Err(invalid("Specify either a listener ARN or rule ARNs"));
    }
    let wanted = |one: &Listener| listener.as_ref() == Some(&one.arn) || arns.contains(&default_rule(one));
    let (found, marker) = page.cut(listeners.iter().filter(|(_, listener)| wanted(listener)));
    let rules = found.into_iter().map(|listener| {
        Element::new("member")
            .text("RuleArn", default_rule(listener))
            .text("Priority", "default")
            .list("Conditions", [])
            .list("Actions", [show_forward(listener)])
            .text("IsDefault", true)
    });
    Ok(Element::result().list("Rules", rules.collect::<Vec<_>>()).optional("NextMarker", marker))
}

/// Returns the ARN of a listener's default rule. Its last part is invented.
fn default_rule(listener: &Listener) -> String {
    format!("{}/{:016x}", listener.arn.replacen(":listener/", ":listener-rule/", 1), 0)
}

/// Returns the attributes of a new load balancer, with their defaults
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html>).
fn usual(spec: &LoadBalancerSpec) -> Vec<(&'static str, &'static str)> {
    let cross_zone = if spec.kind == Kind::Application { "true" } else { "false" };
    let internal = if spec.scheme == "internal" { "true" } else { "false" };
    let mut attributes =
        vec![("deletion_protection.enabled", "false"), ("load_balancing.cross_zone.enabled", cross_zone)];
    if spec.kind != Kind::Gateway {
        attributes.extend([
            ("access_logs.s3.enabled", "false"),
            ("access_logs.s3.bucket", ""),
            ("access_logs.s3.prefix", ""),
            ("ipv6.deny_all_igw_traffic", internal),
            ("zonal_shift.config.enabled", "false"),
        ]);
    }
    match spec.kind {
        Kind::Application => attributes.extend([
            ("idle_timeout.timeout_seconds", "60"),
            ("client_keep_alive.seconds", "3600"),
            ("connection_logs.s3.enabled", "false"),
            ("connection_logs.s3.bucket", ""),
            ("connection_logs.s3.prefix", ""),
            ("routing.http.desync_mitigation_mode", "defensive"),
            ("routing.http.drop_invalid_header_fields.enabled", "false"),
            ("routing.http.preserve_host_header.enabled", "false"),
            ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false"),
            ("routing.http.xff_client_port.enabled", "false"),
            ("routing.http.xff_header_processing.mode", "append"),
            ("routing.http2.enabled", "true"),
            ("waf.fail_open.enabled", "false"),
        ]),
        Kind::Network => attributes.extend([
            ("dns_record.client_routing_policy", "any_availability_zone"),
            ("secondary_ips.auto_assigned.per_subnet", "0"),
        ]),
        Kind::Gateway => {}
    }
    attributes
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
        // If it is given twice, it is the same group (botocore's model: "you can specify both only if they are identical").
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
    Element::new("member")
        .text("ListenerArn", &listener.arn)
        .text("LoadBalancerArn", &spec.load_balancer_arn)
        .optional("Port", spec.port)
        .optional("Protocol", spec.protocol.as_ref())
        .list("DefaultActions", [show_forward(listener)])
}

/// Returns the action of a listener: it forwards to its target groups.
fn show_forward(listener: &Listener) -> Element {
    let spec = &listener.spec;
    let groups = spec
        .target_groups
        .iter()
        .map(|(arn, weight)| Element::new("member").text("TargetGroupArn", arn).text("Weight", weight.unwrap_or(1)));
    let forward = Element::new("ForwardConfig").list("TargetGroups", groups);
    // The short form is shown only if there is one group.
    let only = match spec.target_groups.as_slice() {
        [(arn, _)] => Some(arn),
        _ => None,
    };
    Element::new("member").text("Type", "forward").optional("TargetGroupArn", only).child(forward)
}

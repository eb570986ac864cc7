//! Making and deleting load balancers, listeners and target groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ec2,
    elb::{Roster, check_name},
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

use super::{
    Kind, Listener, ListenerSpec, LoadBalancer, LoadBalancerSpec, State, TargetGroup, TargetGroupSpec, TargetType,
    attributes, invalid, no_group,
};

/// Creates a load balancer in every zone of a network.
///
/// # Errors
/// Returns the errors of [`create_load_balancer_as`].
pub fn create_load_balancer(world: &mut World, kind: Kind, name: &str, vpc_id: &str) -> Result<String, ApiError> {
    let spec = LoadBalancerSpec {
        name: name.to_owned(),
        kind,
        vpc_id: vpc_id.to_owned(),
        subnets: None,
        security_groups: Vec::new(),
        scheme: "internet-facing".into(),
        ip_address_type: "ipv4".into(),
        tags: BTreeMap::new(),
    };
    create_load_balancer_as(world, spec)
}

/// Creates a load balancer, which is active at once, and returns its ARN.
///
/// # Errors
/// `ValidationError` for a bad name, `DuplicateLoadBalancerName` for one that is taken.
pub fn create_load_balancer_as(world: &mut World, spec: LoadBalancerSpec) -> Result<String, ApiError> {
    check_name(&spec.name)?;
    if let Some(same) = world.elbv2.load_balancers.values().find(|balancer| balancer.spec.name == spec.name) {
        if same.spec == spec {
            return Ok(same.arn.clone());
        }
        let message = format!("A load balancer with the same name '{}' exists, but with different settings", spec.name);
        return Err(ApiError::sender("DuplicateLoadBalancerName", message));
    }
    let arn = arn(&format!("loadbalancer/{}/{}/{:016x}", spec.kind.in_arn(), spec.name, world.invent_number()));
    let created = world.now();
    world.elbv2.load_balancers.insert(arn.clone(), LoadBalancer { arn: arn.clone(), spec, created });
    Ok(arn)
}

/// Deletes a load balancer and its listeners. A missing one is no error (botocore's model).
pub fn delete_load_balancer(world: &mut World, arn: &str) {
    if let Some(LoadBalancer { spec, .. }) = world.elbv2.load_balancers.remove(arn) {
        ec2::hold_for_interfaces(world, spec.subnets.into_iter().flatten().chain(spec.security_groups));
    }
    world.elbv2.listeners.retain(|_, listener| listener.spec.load_balancer_arn != arn);
}

/// Creates a target group, and returns its ARN. Creating one that is there with the same settings succeeds.
///
/// # Errors
/// `ValidationError` for settings that do not go together, `DuplicateTargetGroupName`.
pub fn create_target_group(world: &mut World, spec: TargetGroupSpec) -> Result<String, ApiError> {
    check_name(&spec.name)?;
    check_settings(world, &spec)?;
    if let Some(same) = world.elbv2.target_groups.values().find(|group| group.spec.name == spec.name) {
        if same.spec == spec {
            return Ok(same.arn.clone());
        }
        let message = format!("A target group with the same name '{}' exists, but with different settings", spec.name);
        return Err(ApiError::sender("DuplicateTargetGroupName", message));
    }
    let arn = arn(&format!("targetgroup/{}/{:016x}", spec.name, world.invent_number()));
    let group = TargetGroup {
        arn: arn.clone(),
        tags: spec.tags.clone(),
        attributes: attributes::usual(&spec),
        members: Roster::default(),
        spec,
    };
    world.elbv2.target_groups.insert(arn.clone(), group);
    Ok(arn)
}

fn check_settings(world: &World, spec: &TargetGroupSpec) -> Result<(), ApiError> {
    if spec.target_type == TargetType::Lambda {
        if spec.protocol.is_some() || spec.port.is_some() || spec.vpc_id.is_some() {
            return Err(invalid(
                "Protocol, port and VPC cannot be specified for target groups with target type 'lambda'",
            ));
        }
        return Ok(());
    }
    let Some(vpc_id) = &spec.vpc_id else { return Err(invalid("A VPC ID must be specified")) };
    if !world.ec2.vpcs.contains_key(vpc_id) {
        return Err(invalid(format!("The VPC ID '{vpc_id}' is not found")));
    }
    if spec.port.is_none_or(|port| port == 0) {
        return Err(invalid("A port must be specified"));
    }
    let known = ["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC"];
    if !spec.protocol.as_deref().is_some_and(|protocol| known.contains(&protocol)) {
        return Err(invalid("A valid protocol must be specified"));
    }
    if spec.target_type == TargetType::Alb && spec.protocol.as_deref() != Some("TCP") {
        return Err(invalid("Target groups with target type 'alb' must have the protocol TCP"));
    }
    // "If the target type is instance, ip, or alb, health checks are always enabled" (botocore's model).
    if !spec.health_check.enabled {
        return Err(invalid("Health checks cannot be disabled for this target type"));
    }
    Ok(())
}

/// Deletes a target group. A missing one is no error.
///
/// # Errors
/// `ResourceInUse`, while a listener forwards to it.
pub fn delete_target_group(world: &mut World, arn: &str) -> Result<(), ApiError> {
    super::check_arn(arn, "targetgroup")?;
    if !world.elbv2.balancers_of(arn).is_empty() {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(ApiError::sender("ResourceInUse", message));
    }
    world.elbv2.target_groups.remove(arn);
    Ok(())
}

/// Lets a load balancer forward a port to a target group, and returns the listener's ARN.
///
/// # Errors
/// Returns the errors of [`create_listener`].
pub fn attach(world: &mut World, group_arn: &str, load_balancer_arn: &str, port: u16) -> Result<String, ApiError> {
    let protocol = world.elbv2.target_group(group_arn)?.spec.protocol.clone();
    let kind = world.elbv2.load_balancer(load_balancer_arn)?.spec.kind;
    let (protocol, port) = match kind {
        Kind::Application => (Some("HTTP".to_owned()), Some(port)),
        Kind::Network => (protocol, Some(port)),
        Kind::Gateway => (None, None),
    };
    let target_groups = vec![(group_arn.to_owned(), None)];
    let load_balancer_arn = load_balancer_arn.to_owned();
    create_listener(world, ListenerSpec { load_balancer_arn, protocol, port, target_groups, tags: BTreeMap::new() })
}

/// Creates a listener, and returns its ARN.
///
/// # Errors
/// `LoadBalancerNotFound`, `TargetGroupNotFound`; `DuplicateListener` for a port that is taken; `IncompatibleProtocols`;
/// `TargetGroupAssociationLimit` for a group that another load balancer uses.
pub fn create_listener(world: &mut World, spec: ListenerSpec) -> Result<String, ApiError> {
    let balancer = world.elbv2.load_balancer(&spec.load_balancer_arn)?;
    let taken =
        |other: &Listener| other.spec.load_balancer_arn == spec.load_balancer_arn && other.spec.port == spec.port;
    if let Some(same) = world.elbv2.listeners.values().find(|other| taken(other)) {
        if same.spec == spec {
            return Ok(same.arn.clone());
        }
        return Err(ApiError::sender(
            "DuplicateListener",
            "A listener already exists on this port for this load balancer",
        ));
    }
    for (group_arn, _) in &spec.target_groups {
        check_forwarding(&world.elbv2, balancer, group_arn)?;
    }
    let stem = balancer.arn.replacen(":loadbalancer/", ":listener/", 1);
    let arn = format!("{stem}/{:016x}", world.invent_number());
    world.elbv2.listeners.insert(arn.clone(), Listener { arn: arn.clone(), spec });
    Ok(arn)
}

fn check_forwarding(state: &State, balancer: &LoadBalancer, group_arn: &str) -> Result<(), ApiError> {
    let group = state.target_groups.get(group_arn).ok_or_else(|| no_group(group_arn))?;
    if group.spec.kind() != balancer.spec.kind {
        let message = format!("The protocol of target group '{group_arn}' does not fit this load balancer");
        return Err(ApiError::sender("IncompatibleProtocols", message));
    }
    if state.balancers_of(group_arn).iter().any(|arn| *arn != balancer.arn) {
        let message =
            format!("The following target groups cannot be associated with more than one load balancer: {group_arn}");
        return Err(ApiError::sender("TargetGroupAssociationLimit", message));
    }
    Ok(())
}

/// Deletes a listener.
///
/// # Errors
/// `ListenerNotFound`.
pub fn delete_listener(world: &mut World, arn: &str) -> Result<(), ApiError> {
    world.elbv2.listeners.remove(arn).map(|_| ()).ok_or_else(|| super::no_listener(arn))
}

impl LoadBalancer {
    /// Returns the subnets that it is in.
    pub(super) fn subnets<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a crate::ec2::Subnet> {
        world.ec2.subnets.values().filter(|subnet| match &self.spec.subnets {
            Some(ids) => ids.contains(&subnet.id),
            None => subnet.vpc_id == self.spec.vpc_id,
        })
    }

    /// Returns the zones that it sends traffic to.
    pub(super) fn zones<'a>(&'a self, world: &'a World) -> BTreeSet<&'a str> {
        self.subnets(world).map(|subnet| subnet.zone.as_str()).collect()
    }
}

fn arn(resource: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{resource}")
}

//! Registering and deregistering targets, and everything that AWS refuses or silently does not do about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{
    clock::Timestamp,
    ec2::{InstanceState, Subnet},
    options::SameAddressWhileDraining,
    wire::ApiError,
    world::{REGION, World},
};

use super::{
    Health, Registration, Standing, State, TargetGroup, TargetKey, TargetType, attributes, health::Observer, invalid,
    resources::IpAddressType,
};

/// Where an address may be that is in no subnet of the group's VPC (SEED elbv2-register-targets).
const OUTSIDE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// A target as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// An instance's id, an address, or an ARN.
    pub id: String,
    /// The group's own, where none is told.
    pub port: Option<u16>,
    /// For addresses outside the VPC: a zone, or `all`.
    pub zone: Option<String>,
    /// For QUIC.
    pub quic: Option<String>,
}

impl Target {
    /// A target on the group's port.
    pub fn new(id: impl ToString) -> Self {
        Self { id: id.to_string(), port: None, zone: None, quic: None }
    }

    /// The same on a port of its own.
    #[must_use]
    pub fn on(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// The same in a zone, or `all`.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.to_owned()), ..self }
    }

    /// The same with a QUIC server id.
    #[must_use]
    pub fn quic(self, id: &str) -> Self {
        Self { quic: Some(id.to_owned()), ..self }
    }
}

/// A target as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetView {
    /// An instance's id, an address, or an ARN.
    pub id: String,
    /// Functions have none.
    pub port: Option<u16>,
    /// Told or found; addresses only.
    pub zone: Option<String>,
    /// For QUIC.
    pub quic: Option<String>,
    /// Registered, or draining.
    pub state: Standing,
    /// What DescribeTargetHealth says.
    pub health: Health,
}

/// The targets of a group, as they truly are now, sorted; none, where there is no such group.
pub fn targets(world: &World, arn: &str) -> Vec<TargetView> {
    world.elbv2.target_groups.get(arn).map(|group| views(world, group, world.now())).unwrap_or_default()
}

/// The targets of a group at a time, sorted.
pub(super) fn views(world: &World, group: &TargetGroup, at: Timestamp) -> Vec<TargetView> {
    let observer = Observer::new(world, group, at);
    group.members.all(at).map(|(key, record, standing)| view(&observer, key, record, standing)).collect()
}

/// The targets that a caller asks about, registered or not, in the caller's order.
pub(super) fn views_of(
    world: &World,
    group: &TargetGroup,
    asked: &[Target],
    at: Timestamp,
) -> Result<Vec<TargetView>, ApiError> {
    let observer = Observer::new(world, group, at);
    let view_of = |target: &Target| {
        let key = key(group, target)?;
        Ok(match group.members.standing(&key, at) {
            Some((record, standing)) => view(&observer, &key, record, standing),
            None => TargetView {
                id: key.0,
                port: key.1,
                zone: target.zone.clone(),
                quic: None,
                // Has no meaning here: the health tells.
                state: Standing::Registered,
                health: Health::NotRegistered,
            },
        })
    };
    asked.iter().map(view_of).collect()
}

fn view(observer: &Observer<'_>, key: &TargetKey, record: &Registration, state: Standing) -> TargetView {
    let (id, port) = key.clone();
    let health = observer.health(key, record, state);
    TargetView { id, port, zone: record.zone.clone(), quic: record.quic.clone(), state, health }
}

/// Registers one target.
///
/// # Errors
/// As [`register_all`].
pub fn register(world: &mut World, arn: &str, target: Target) -> Result<(), ApiError> {
    register_all(world, arn, &[target])
}

/// Registers targets: all or, if one cannot be, none.
///
/// # Errors
/// `TargetGroupNotFound`, `InvalidTarget`, `ValidationError`, `TooManyTargets`, `TooManyRegistrationsForTargetId`.
pub fn register_all(world: &mut World, arn: &str, targets: &[Target]) -> Result<(), ApiError> {
    let now = world.now();
    let group = world.elbv2.target_group(arn)?;
    let mut accepted = BTreeMap::new();
    for target in targets {
        let key = key(group, target)?;
        let (zone, outside) = match group.spec.target_type {
            TargetType::Ip => place(world, group, target)?,
            _ => (None, false),
        };
        check_quic(group, &key, target, now)?;
        accepted.insert(key, Registration { since: now, zone, quic: target.quic.clone(), outside });
    }
    match group.spec.target_type {
        TargetType::Instance => check_instances(world, group, &accepted)?,
        TargetType::Ip => check_draining(world, group, &mut accepted)?,
        TargetType::Lambda | TargetType::Alb => check_single(world, group, &accepted)?,
    }
    check_quotas(&world.elbv2, group, &accepted, now)?;
    let group = world.elbv2.target_group_mut(arn)?;
    for (key, registration) in accepted {
        group.members.enrol(now, key, registration);
    }
    Ok(())
}

/// Deregisters one target.
///
/// # Errors
/// As [`deregister_all`].
pub fn deregister(world: &mut World, arn: &str, target: Target) -> Result<(), ApiError> {
    deregister_all(world, arn, &[target])
}

/// Deregisters targets. A target on a port of its own has to be named with it: without, the group's port is meant, where
/// nothing may be, and "if the specified target does not exist, the action returns successfully" (botocore's model).
///
/// What is deregistered drains by the clock alone. That it does so in a group without a load balancer, and on an instance
/// that does not run, is *not verified*.
///
/// # Errors
/// `TargetGroupNotFound`; `ValidationError` for what can be no target of the group.
pub fn deregister_all(world: &mut World, arn: &str, targets: &[Target]) -> Result<(), ApiError> {
    let now = world.now();
    let group = world.elbv2.target_group_mut(arn)?;
    let keys: Vec<TargetKey> = targets.iter().map(|target| key(group, target)).collect::<Result<_, _>>()?;
    let drain = attributes::delay_of(group);
    for key in keys {
        // A function is gone at once: "in-flight requests fail" (SEED elbv2-register-targets). Its group has no delay.
        let drain = if group.spec.target_type == TargetType::Lambda { Duration::ZERO } else { drain };
        group.members.dismiss(now, key, drain);
    }
    Ok(())
}

/// The target that a caller means, if it can be one of the group.
fn key(group: &TargetGroup, target: &Target) -> Result<TargetKey, ApiError> {
    let id = &target.id;
    match group.spec.target_type {
        TargetType::Instance => {
            let digits = id.strip_prefix("i-").unwrap_or_default();
            if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(invalid(format!("Instance ID '{id}' is not valid")));
            }
            no_zone(target, "instance")?;
        }
        TargetType::Ip => {
            let address: IpAddr = id.parse().map_err(|_| invalid(format!("The IP address '{id}' is not valid")))?;
            if address.is_ipv6() != (group.spec.ip_address_type == IpAddressType::Ipv6) {
                return Err(invalid(format!(
                    "The IP address '{id}' does not fit the IP address type of the target group"
                )));
            }
            return Ok((address.to_string(), target.port.or(group.spec.port)));
        }
        TargetType::Lambda => {
            if !id.starts_with("arn:aws:lambda:") || target.port.is_some() {
                return Err(invalid(format!("'{id}' is not a valid Lambda function, or has a port")));
            }
            return Ok((id.clone(), None));
        }
        TargetType::Alb => {
            super::check_arn(id, "loadbalancer/app")?;
            no_zone(target, "alb")?;
        }
    }
    Ok((id.clone(), target.port.or(group.spec.port)))
}

/// "This parameter is not supported if the target type of the target group is instance or alb" (botocore's model).
fn no_zone(target: &Target, target_type: &str) -> Result<(), ApiError> {
    match target.zone {
        None => Ok(()),
        Some(_) => {
            let rule = "An Availability Zone cannot be specified for targets of the type";
            Err(invalid(format!("{rule} '{target_type}'")))
        }
    }
}

/// The zone of an address, and whether it is outside the VPC. AWS compares with subnets, not with the VPC's blocks
/// (aws-load-balancer-controller issue 3714). The sentences are from that project's issues 561 and 3084.
fn place(world: &World, group: &TargetGroup, target: &Target) -> Result<(Option<String>, bool), ApiError> {
    let (id, vpc_id) = (&target.id, group.spec.vpc_id.as_deref().unwrap_or_default());
    let address: IpAddr = id.parse().map_err(|_| invalid(format!("The IP address '{id}' is not valid")))?;
    let subnet = world.ec2.subnets.values().find(|subnet| subnet.vpc_id == vpc_id && is_in(subnet, address));
    match (subnet, &target.zone) {
        (Some(subnet), Some(zone)) if *zone != subnet.zone => {
            let rule = "is within the VPC, and cannot have its Availability Zone overridden to";
            Err(invalid(format!("The IP address '{id}' {rule} '{zone}' from '{}'", subnet.zone)))
        }
        (Some(subnet), _) => Ok((Some(subnet.zone.clone()), false)),
        (None, _) if matches!(address, IpAddr::V4(v4) if !OUTSIDE.iter().any(|block| v4_is_in(*block, v4))) => {
            // The code is not verified.
            Err(invalid(format!("The IP address '{id}' is not within a VPC subnet or a private address range")))
        }
        (None, Some(zone)) if zone == "all" || zone.starts_with(REGION) => Ok((Some(zone.clone()), true)),
        (None, _) => {
            let rule = "You must specify a valid Availability Zone or select 'all' for all enabled Availability zones";
            Err(invalid(format!("{rule}, since the IP address '{id}' is outside the VPC")))
        }
    }
}

/// The rules of `QuicServerId` (botocore's model, TargetDescription). The code for an id that is taken is not verified.
fn check_quic(group: &TargetGroup, key: &TargetKey, target: &Target, now: Timestamp) -> Result<(), ApiError> {
    let quic_group = matches!(group.spec.protocol.as_deref(), Some("QUIC" | "TCP_QUIC"));
    let Some(quic) = &target.quic else {
        return if quic_group { Err(invalid("A QUIC server ID must be specified")) } else { Ok(()) };
    };
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let well_formed = quic.strip_prefix("0x").is_some_and(|rest| rest.len() == 16 && rest.chars().all(is_digit));
    if !quic_group || !well_formed {
        return Err(invalid(format!("The QUIC server ID '{quic}' is not valid for this target group")));
    }
    // Neither another target's id, nor a new one for the same target.
    let clashes = |other: &TargetKey, theirs: &Option<String>| (other == key) != (theirs.as_ref() == Some(quic));
    if group.members.registered(now).any(|(other, record)| clashes(other, &record.quic)) {
        let message = format!("The QUIC server ID '{quic}' is in use, or the target is registered with another");
        return Err(ApiError::sender("InvalidTarget", message));
    }
    Ok(())
}

/// Instances must be there, in the VPC, running, and have an IPv6 address where the group wants one. Only the sentence
/// about the running state is verified.
fn check_instances(
    world: &World,
    group: &TargetGroup,
    accepted: &BTreeMap<TargetKey, Registration>,
) -> Result<(), ApiError> {
    let ids: BTreeSet<&String> = accepted.keys().map(|(id, _)| id).collect();
    let refuse_unless = |rule: &str, holds: &dyn Fn(&str) -> bool| {
        let bad: Vec<_> = ids.iter().filter(|id| !holds(id)).map(|id| format!("'{id}'")).collect();
        if bad.is_empty() {
            return Ok(());
        }
        let message = format!("The following targets are not {rule}: {}", bad.join(", "));
        Err(ApiError::sender("InvalidTarget", message))
    };
    let instance = |id: &str| world.ec2.instance(id);
    refuse_unless("valid instances", &|id| instance(id).is_some())?;
    refuse_unless("in the target group VPC", &|id| {
        instance(id).is_some_and(|i| Some(&i.vpc_id) == group.spec.vpc_id.as_ref())
    })?;
    refuse_unless("in a running state and cannot be registered", &|id| {
        instance(id).is_some_and(|i| i.state == InstanceState::Running)
    })?;
    refuse_unless("assigned a primary IPv6 address", &|id| {
        let has_primary =
            |i: &crate::ec2::Instance| i.interfaces.iter().any(|n| n.ipv6.iter().any(|(_, primary)| *primary));
        group.spec.ip_address_type == IpAddressType::Ipv4 || instance(id).is_some_and(has_primary)
    })
}

/// "You must wait for the deregistration delay to complete before you can register the same IP address again" (SEED
/// elbv2-register-targets). What the call answers is *not verified*, nor whether another port is the same address: if
/// refused, it is here; if accepted and lost, only the very same target is lost.
fn check_draining(
    world: &World,
    group: &TargetGroup,
    accepted: &mut BTreeMap<TargetKey, Registration>,
) -> Result<(), ApiError> {
    let now = world.now();
    let drains = |key: &TargetKey| matches!(group.members.standing(key, now), Some((_, Standing::Draining { .. })));
    if world.options.same_address_while_draining == SameAddressWhileDraining::AcceptedAndLost {
        accepted.retain(|key, _| !drains(key));
        return Ok(());
    }
    match accepted.keys().find(|(id, _)| group.keys_of(id, now).any(|key| drains(&key))) {
        None => Ok(()),
        Some((id, _)) => {
            let rule = "is being deregistered, and cannot be registered until the deregistration delay is over";
            Err(ApiError::sender("InvalidTarget", format!("The IP address '{id}' {rule}")))
        }
    }
}

/// Functions and Application Load Balancers come alone.
fn check_single(
    world: &World,
    group: &TargetGroup,
    accepted: &BTreeMap<TargetKey, Registration>,
) -> Result<(), ApiError> {
    let present = group.members.registered(world.now()).map(|(key, _)| key);
    if present.chain(accepted.keys()).collect::<BTreeSet<_>>().len() > 1 {
        return Err(too_many_targets());
    }
    Ok(())
}

fn check_quotas(
    state: &State,
    group: &TargetGroup,
    accepted: &BTreeMap<TargetKey, Registration>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let is_there = |key: &TargetKey| matches!(group.members.standing(key, now), Some((_, Standing::Registered)));
    let added: Vec<_> = accepted.keys().filter(|key| !is_there(key)).collect();
    // Counting is left out where it cannot matter, since fixtures register thousands, one by one.
    if group.members.at_most() + added.len() > state.targets_per_group
        && group.members.registered(now).count() + added.len() > state.targets_per_group
    {
        return Err(too_many_targets());
    }
    let balancers = state.balancers_of(&group.arn);
    let listeners = state.listeners.values().filter(|l| balancers.contains(l.spec.load_balancer_arn.as_str()));
    let arns: BTreeSet<&String> = listeners.flat_map(|l| &l.spec.target_groups).map(|(arn, _)| arn).collect();
    let others = arns.into_iter().filter(|arn| **arn != group.arn).filter_map(|arn| state.target_groups.get(arn));
    let neighbours: Vec<&TargetGroup> = others.chain([group]).collect();
    let ids: BTreeSet<&String> = added.iter().map(|(id, _)| id).collect();
    for id in ids {
        let new = added.iter().filter(|(its_id, _)| its_id == id).count();
        if neighbours.iter().map(|group| group.keys_of(id, now).count()).sum::<usize>() + new
            > state.registrations_per_id
        {
            let message = format!("The target '{id}' is registered too many times with the load balancer");
            return Err(ApiError::sender("TooManyRegistrationsForTargetId", message));
        }
    }
    Ok(())
}

fn too_many_targets() -> ApiError {
    ApiError::sender("TooManyTargets", "The quota for the number of targets in the target group is reached")
}

fn is_in(subnet: &Subnet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => v4_is_in(subnet.cidr, address),
        IpAddr::V6(address) => subnet.ipv6_cidr.is_some_and(|block| v6_is_in(block, address)),
    }
}

fn v4_is_in((base, prefix): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    u32::from(base) & mask == u32::from(address) & mask
}

fn v6_is_in((base, prefix): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    u128::from(base) & mask == u128::from(address) & mask
}

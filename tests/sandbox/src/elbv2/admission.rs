//! The targets that a group takes, and AWS's words for the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    clock::Timestamp,
    ec2::{Instance, InstanceState, Subnet},
    options::SameAddressWhileDraining,
    wire::ApiError,
    world::{REGION, World},
};

use super::{
    IpAddressType, Registration, Standing, State, Target, TargetGroup, TargetKey, TargetType, check_arn, invalid,
};

/// The ranges of an address that is in no subnet of the group's VPC (SEED elbv2-register-targets).
const OUTSIDE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Returns the target that a caller means, if the group can have it.
pub(super) fn key(group: &TargetGroup, target: &Target) -> Result<TargetKey, ApiError> {
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
            check_arn(id, "loadbalancer/app")?;
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

/// Returns the zone of an address, and whether it is outside the VPC. AWS compares with subnets, not with the VPC's blocks
/// (aws-load-balancer-controller issue 3714). The sentences are from that project's issues 561 and 3084.
pub(super) fn place(world: &World, group: &TargetGroup, target: &Target) -> Result<(Option<String>, bool), ApiError> {
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
pub(super) fn check_quic(
    group: &TargetGroup,
    key: &TargetKey,
    target: &Target,
    now: Timestamp,
) -> Result<(), ApiError> {
    let quic_group = matches!(group.spec.protocol.as_deref(), Some("QUIC" | "TCP_QUIC"));
    let Some(quic) = &target.quic else {
        return if quic_group { Err(invalid("A QUIC server ID must be specified")) } else { Ok(()) };
    };
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let well_formed = quic.strip_prefix("0x").is_some_and(|rest| rest.len() == 16 && rest.chars().all(is_digit));
    if !quic_group || !well_formed {
        return Err(invalid(format!("The QUIC server ID '{quic}' is not valid for this target group")));
    }
    // It clashes with another target's id, and so does a new id for the same target.
    let clashes = |other: &TargetKey, theirs: &Option<String>| (other == key) != (theirs.as_ref() == Some(quic));
    if group.members.registered(now).any(|(other, record)| clashes(other, &record.quic)) {
        let message = format!("The QUIC server ID '{quic}' is in use, or the target is registered with another");
        return Err(ApiError::sender("InvalidTarget", message));
    }
    Ok(())
}

/// Instances must exist, be in the VPC, run, and have an IPv6 address if the group wants one. Only the sentence about the running
/// state is verified.
pub(super) fn check_instances(
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
        let has_primary = |i: &Instance| i.interfaces.iter().any(|n| n.ipv6.iter().any(|(_, primary)| *primary));
        group.spec.ip_address_type == IpAddressType::Ipv4 || instance(id).is_some_and(has_primary)
    })
}

/// "You must wait for the deregistration delay to complete before you can register the same IP address again" (SEED
/// elbv2-register-targets). The call's answer is *not verified*, nor whether another port counts as the same address. If it is
/// refused, it is refused here. If it is accepted and lost, only the very same target is lost.
pub(super) fn check_draining(
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
pub(super) fn check_single(
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

pub(super) fn check_quotas(
    state: &State,
    group: &TargetGroup,
    accepted: &BTreeMap<TargetKey, Registration>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let is_there = |key: &TargetKey| matches!(group.members.standing(key, now), Some((_, Standing::Registered)));
    let added: Vec<_> = accepted.keys().filter(|key| !is_there(key)).collect();
    // The count is skipped if it cannot matter, since fixtures register thousands, one by one.
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

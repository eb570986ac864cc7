//! Registering and deregistering targets, and looking at them.

use std::{collections::BTreeMap, time::Duration};

use crate::{clock::Timestamp, wire::ApiError, world::World};

use super::{
    Health, Registration, Standing, TargetGroup, TargetKey, TargetType,
    admission::{check_draining, check_instances, check_quic, check_quotas, check_single, key, place},
    attributes::delay_of,
    health::Observer,
};

/// A target as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// An instance's id, an address, or an ARN.
    pub id: String,
    /// Its port; the group's own, if the caller gives none.
    pub port: Option<u16>,
    /// For addresses outside the VPC: a zone, or `all`.
    pub zone: Option<String>,
    /// For QUIC.
    pub quic: Option<String>,
}

impl Target {
    /// Returns a target on the group's port.
    pub fn new(id: impl ToString) -> Self {
        Self { id: id.to_string(), port: None, zone: None, quic: None }
    }

    /// Returns the same on a port of its own.
    #[must_use]
    pub fn on(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Returns the same in a zone, or `all`.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.to_owned()), ..self }
    }

    /// Returns the same with a QUIC server id.
    #[must_use]
    pub fn quic(self, id: &str) -> Self {
        Self { quic: Some(id.to_owned()), ..self }
    }
}

/// A target as it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetView {
    /// An instance's id, an address, or an ARN.
    pub id: String,
    /// Functions have none.
    pub port: Option<u16>,
    /// Given or found; addresses only.
    pub zone: Option<String>,
    /// For QUIC.
    pub quic: Option<String>,
    /// Registered, or draining.
    pub state: Standing,
    /// DescribeTargetHealth's report.
    pub health: Health,
}

/// Returns the targets of a group, as they truly are now, sorted. If there is no such group, it returns none.
pub fn targets(world: &World, arn: &str) -> Vec<TargetView> {
    world.elbv2.target_groups.get(arn).map(|group| views(world, group, world.now())).unwrap_or_default()
}

/// Returns until when an instance or address drains from a group on any port, if it does.
pub(crate) fn draining_until(world: &World, arn: &str, id: &str) -> Option<Timestamp> {
    let group = world.elbv2.target_groups.get(arn)?;
    let standings = group.members.within((id.to_owned(), None)..=(id.to_owned(), Some(u16::MAX)), world.now());
    let ends = standings.filter_map(|(_, _, standing)| match standing {
        Standing::Draining { until } => Some(until),
        Standing::Registered => None,
    });
    ends.max()
}

/// Returns the targets of a group at a time, sorted.
pub(super) fn views(world: &World, group: &TargetGroup, at: Timestamp) -> Vec<TargetView> {
    let observer = Observer::new(world, group, at);
    group.members.all(at).map(|(key, record, standing)| view(&observer, key, record, standing)).collect()
}

/// Returns the targets that a caller asks about, registered or not, in the caller's order.
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
                // It has no meaning here: the health shows the state.
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
/// Returns the errors of [`register_all`].
pub fn register(world: &mut World, arn: &str, target: Target) -> Result<(), ApiError> {
    register_all(world, arn, &[target])
}

/// Registers targets. If one cannot be registered, none is.
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
/// Returns the errors of [`deregister_all`].
pub fn deregister(world: &mut World, arn: &str, target: Target) -> Result<(), ApiError> {
    deregister_all(world, arn, &[target])
}

/// Deregisters targets. A target on a port of its own has to be named with it. Without it, the group's port is meant, which may
/// have no target, and "if the specified target does not exist, the action returns successfully" (botocore's model).
///
/// A deregistered target drains by the clock alone. It is *not verified* that it does so in a group without a load balancer, and
/// on an instance that does not run.
///
/// # Errors
/// `TargetGroupNotFound`; `ValidationError` for a target that the group cannot have.
pub fn deregister_all(world: &mut World, arn: &str, targets: &[Target]) -> Result<(), ApiError> {
    let now = world.now();
    let group = world.elbv2.target_group_mut(arn)?;
    let keys: Vec<TargetKey> = targets.iter().map(|target| key(group, target)).collect::<Result<_, _>>()?;
    let drain = delay_of(group);
    for key in keys {
        // A function is gone at once: "in-flight requests fail" (SEED elbv2-register-targets). Its group has no delay.
        let drain = if group.spec.target_type == TargetType::Lambda { Duration::ZERO } else { drain };
        group.members.dismiss(now, key, drain);
    }
    Ok(())
}

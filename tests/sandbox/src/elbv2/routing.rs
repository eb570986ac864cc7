//! The facts by which an Application or Network Load Balancer sends requests to a target group.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    ec2::Outage,
    traffic::{Balancing, Checks, Destination, Host, Member, Pool, Report},
    wire::ApiError,
    world::World,
};

use super::{Health, Kind, Registration, Standing, TargetGroup, TargetKey, TargetType, health::Observer};

/// Attributes that change the routing, with the values that are modelled: AWS's defaults.
const MODELLED: [(&str, &[&str]); 5] = [
    ("stickiness.enabled", &["false"]),
    ("slow_start.duration_seconds", &["0"]),
    ("load_balancing.algorithm.type", &["round_robin"]),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", &["1"]),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", &["off"]),
];

/// Returns all members that a target group's load balancer knows at a time.
///
/// # Errors
/// `TargetGroupNotFound`. An error, too, if the routing is not modelled: functions, Gateway Load Balancers, sticky sessions...
pub(crate) fn pool(world: &World, arn: &str, at: Timestamp) -> Result<Pool, ApiError> {
    let group = world.elbv2.target_group(arn)?;
    let balancing = balancing(group)?;
    let attribute = |key: &str| group.attributes.get(key).map(String::as_str);
    for (key, values) in MODELLED {
        if let Some(value) = attribute(key).filter(|value| !values.contains(value)) {
            return Err(ApiError::not_modelled(format!("requests to a target group with {key} = {value}")));
        }
    }
    let check = &group.spec.health_check;
    let is_set = |key: &str| attribute(key) == Some("true");
    Ok(Pool {
        balancing,
        is_in_use: !world.elbv2.balancers_of(arn).is_empty(),
        checks: Checks {
            interval: Duration::from_secs(check.interval_seconds.into()),
            timeout: Duration::from_secs(check.timeout_seconds.into()),
            threshold: check.unhealthy_threshold,
        },
        // An Application Load Balancer answers 502 if "the deregistration delay period elapsed for a request being handled by a
        // target that was deregistered" (its guide, "Troubleshoot"). A Network Load Balancer "can continue to send traffic" over
        // connections that are not idle (its guide, "Deregistration delay"), unless it is configured otherwise.
        cuts_when_left: balancing == Balancing::Application
            || is_set("deregistration_delay.connection_termination.enabled"),
        // "If a target becomes unhealthy, the load balancer sends a TCP RST" (Network guide, "Health checks"): the attribute
        // decides.
        cuts_when_unhealthy: is_set("target_health_state.unhealthy.connection_termination.enabled"),
        members: members(world, group, at),
    })
}

fn balancing(group: &TargetGroup) -> Result<Balancing, ApiError> {
    match (group.spec.target_type, group.spec.kind()) {
        (TargetType::Instance | TargetType::Ip, Kind::Application) => Ok(Balancing::Application),
        (TargetType::Instance | TargetType::Ip, Kind::Network) => Ok(Balancing::Network),
        (target_type, kind) => {
            let (target_type, kind) = (target_type.name(), kind.name());
            Err(ApiError::not_modelled(format!("requests through a {kind} load balancer to {target_type} targets")))
        }
    }
}

fn members(world: &World, group: &TargetGroup, at: Timestamp) -> Vec<Member> {
    let observer = Observer::new(world, group, at);
    let all = group.members.all(at).map(|(key, record, standing)| {
        let (id, port) = key;
        let is_instance = group.spec.target_type == TargetType::Instance;
        let destination = Destination {
            // At the registration, the balancer does not know the owner of an address.
            owner: is_instance.then(|| Host::Instance(id.as_str().into())),
            address: if is_instance { None } else { id.parse::<IpAddr>().ok() },
            vpc_id: group.spec.vpc_id.as_deref().unwrap_or_default().into(),
            is_outside: record.outside,
        };
        let name = Arc::from(format!("{id}:{}", port.unwrap_or_default()));
        Member { name, since: record.since, destination, report: report(&observer, key, record, standing) }
    });
    all.collect()
}

fn report(observer: &Observer<'_>, key: &TargetKey, record: &Registration, standing: Standing) -> Report {
    if let Standing::Draining { until } = standing {
        return Report::Draining { until };
    }
    let health = observer.health(key, record, standing);
    // The checks know of a reboot later than the requests that meet it.
    if matches!(health, Health::Healthy | Health::Timeout) {
        if let Some(Outage::Down { .. }) = observer.outage(key, record) {
            return Report::Failing;
        }
        if let Some(until) = observer.recovers(key, record) {
            return Report::Initial { until };
        }
    }
    match health {
        Health::Healthy => Report::Healthy,
        Health::RegistrationInProgress | Health::InitialHealthChecking => match observer.settles(key, record) {
            Some(until) => Report::Initial { until },
            None => Report::Failing,
        },
        Health::Timeout | Health::FailedHealthChecks => Report::Failing,
        Health::InvalidState(_) => Report::NotRunning,
        Health::NotRegistered
        | Health::NotInUse
        | Health::ZoneNotEnabled
        | Health::DeregistrationInProgress
        | Health::HealthCheckDisabled => Report::Unused,
    }
}

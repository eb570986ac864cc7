//! Attributes of target groups. Only the deregistration delay has an effect; the others are kept.

use std::{collections::BTreeMap, time::Duration};

use crate::{wire::ApiError, world::World};

use super::{Kind, TargetGroup, TargetGroupSpec, TargetType, invalid};

const DELAY: &str = "deregistration_delay.timeout_seconds";

/// Returns the attributes of a new group: every one that a group of its sort has (botocore's model, TargetGroupAttribute).
pub(super) fn usual(spec: &TargetGroupSpec) -> BTreeMap<String, String> {
    if spec.target_type == TargetType::Lambda {
        // "If the target is a Lambda function, [the deregistration delay] is not supported."
        return owned(&[("lambda.multi_value_headers.enabled", "false")]);
    }
    let mut attributes = owned(&[(DELAY, "300"), ("stickiness.enabled", "false")]);
    attributes.extend(match spec.kind() {
        Kind::Application => owned(&[
            ("stickiness.type", "lb_cookie"),
            ("stickiness.lb_cookie.duration_seconds", "86400"),
            ("stickiness.app_cookie.cookie_name", ""),
            ("stickiness.app_cookie.duration_seconds", "86400"),
            ("slow_start.duration_seconds", "0"),
            ("load_balancing.algorithm.type", "round_robin"),
            ("load_balancing.algorithm.anomaly_mitigation", "off"),
        ]),
        Kind::Network => owned(&[
            ("stickiness.type", "source_ip"),
            ("deregistration_delay.connection_termination.enabled", "false"),
            ("preserve_client_ip.enabled", "true"),
            ("proxy_protocol_v2.enabled", "false"),
            ("target_health_state.unhealthy.connection_termination.enabled", "true"),
            ("target_health_state.unhealthy.draining_interval_seconds", "0"),
        ]),
        Kind::Gateway => owned(&[
            ("stickiness.type", "source_ip_dest_ip"),
            ("target_failover.on_deregistration", "no_rebalance"),
            ("target_failover.on_unhealthy", "no_rebalance"),
        ]),
    });
    if spec.kind() != Kind::Gateway {
        attributes.extend(owned(&[
            ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
            ("target_group_health.dns_failover.minimum_healthy_targets.count", "1"),
            ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off"),
            ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1"),
            ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off"),
        ]));
    }
    attributes
}

/// Changes attributes. If one is refused, none is changed.
///
/// # Errors
/// `TargetGroupNotFound`; `ValidationError` for an attribute that the group does not have, or a delay outside 0-3600 s.
pub fn set_attributes(world: &mut World, arn: &str, changes: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let group = world.elbv2.target_group_mut(arn)?;
    for (key, value) in changes {
        if !group.attributes.contains_key(key) {
            return Err(invalid(format!("Target group attribute key '{key}' is not recognized")));
        }
        if key == DELAY && !value.parse().is_ok_and(|seconds: u64| seconds <= 3600) {
            return Err(invalid(format!("'{key}' must be an integer between 0 and 3600, inclusive")));
        }
    }
    group.attributes.extend(changes.clone());
    Ok(())
}

/// Sets how long deregistered targets drain. Targets that drain already keep their time: *not verified*.
///
/// # Errors
/// Returns the errors of [`set_attributes`].
pub fn set_deregistration_delay(world: &mut World, arn: &str, delay: Duration) -> Result<(), ApiError> {
    set_attributes(world, arn, &BTreeMap::from([(DELAY.to_owned(), delay.as_secs().to_string())]))
}

/// Returns how long deregistered targets drain.
///
/// # Errors
/// `TargetGroupNotFound`.
pub fn deregistration_delay(world: &World, arn: &str) -> Result<Duration, ApiError> {
    world.elbv2.target_group(arn).map(delay_of)
}

pub(super) fn delay_of(group: &TargetGroup) -> Duration {
    let seconds = group.attributes.get(DELAY).and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn owned(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

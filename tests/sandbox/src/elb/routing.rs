//! The facts by which a Classic Load Balancer sends requests.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    traffic::{Balancing, Checks, Destination, Host, Member, Pool, Report},
    wire::ApiError,
    world::World,
};

use super::{
    LoadBalancer, Standing, balancer,
    health::{Condition, condition},
};

/// Returns all members that a load balancer knows at a time.
///
/// # Errors
/// `LoadBalancerNotFound`.
pub(crate) fn pool(world: &World, name: &str, at: Timestamp) -> Result<Pool, ApiError> {
    let balancer = balancer(world, name)?;
    let check = &balancer.health_check;
    Ok(Pool {
        balancing: Balancing::Classic,
        is_in_use: true,
        checks: Checks {
            interval: Duration::from_secs(check.interval.into()),
            timeout: Duration::from_secs(check.timeout.into()),
            threshold: check.unhealthy_threshold,
        },
        // "When the maximum time limit is reached, the load balancer forcibly closes connections to the de-registering
        // instance"; without draining, requests in flight are not completed, neither to those nor to unhealthy ones
        // (Classic guide, "Configure connection draining").
        cuts_when_left: true,
        cuts_when_unhealthy: !balancer.draining_enabled,
        members: members(world, balancer, at),
    })
}

fn members(world: &World, balancer: &LoadBalancer, at: Timestamp) -> Vec<Member> {
    let all = balancer.members.all(at).filter_map(|(id, enrolment, standing)| {
        let instance = world.ec2.instance(id)?;
        let report = match (standing, condition(world, balancer, instance, enrolment, at)) {
            (Standing::Draining { until }, _) => Report::Draining { until },
            (Standing::Registered, Condition::InService) => Report::Healthy,
            (Standing::Registered, Condition::NotRunning(_)) => Report::NotRunning,
            (Standing::Registered, Condition::ZoneNotEnabled) => Report::Unused,
            (Standing::Registered, Condition::Settling { until } | Condition::Recovering { until }) => {
                Report::Initial { until }
            }
            (Standing::Registered, Condition::Failing | Condition::Rebooting { .. }) => Report::Failing,
        };
        let destination = Destination {
            owner: Some(Host::Instance(id.as_str().into())),
            address: enrolment.address.map(Into::into),
            vpc_id: balancer.spec.vpc_id.as_str().into(),
            is_outside: false,
        };
        Some(Member { name: Arc::from(id.as_str()), since: enrolment.since, destination, report })
    });
    all.collect()
}

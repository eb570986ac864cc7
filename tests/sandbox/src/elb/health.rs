//! The health of instances, as DescribeInstanceHealth shows it.

use crate::{
    clock::{Timestamp, delta},
    ec2::{self, Instance, InstanceState, Outage},
    options::{Options, Span},
    wire::ApiError,
    world::World,
};

use super::{Enrolment, LoadBalancer, Standing, balancer, eth0_address};

/// One line of DescribeInstanceHealth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceHealth {
    /// `InService` or `OutOfService`. A draining instance is `InService`.
    pub state: &'static str,
    /// `ELB`, `Instance` or `N/A`: the part at fault.
    pub reason_code: &'static str,
    /// The sentence that tells a stopped member from a stranger.
    pub description: &'static str,
}

const IN_SERVICE: InstanceHealth = InstanceHealth { state: "InService", reason_code: "N/A", description: "N/A" };

/// Returns a load balancer's report of an instance now; `None` if the instance is terminated or unknown.
///
/// # Errors
/// `LoadBalancerNotFound`.
pub fn instance_health(world: &World, name: &str, instance_id: &str) -> Result<Option<InstanceHealth>, ApiError> {
    Ok(health_at(world, balancer(world, name)?, instance_id, world.now()))
}

/// Returns a load balancer's report of an instance at a time. "The state of terminated instances is not returned" (the API's
/// reference).
pub(super) fn health_at(
    world: &World,
    balancer: &LoadBalancer,
    instance_id: &str,
    at: Timestamp,
) -> Option<InstanceHealth> {
    let instance = world.ec2.instances.get(instance_id)?.seen_at(at)?;
    if instance.state == InstanceState::Terminated {
        return None;
    }
    Some(match balancer.members.standing(&instance_id.to_owned(), at) {
        None => out_of_service("Instance", "Instance is not currently registered with the LoadBalancer."),
        Some((_, Standing::Draining { .. })) => {
            InstanceHealth { description: "Instance deregistration currently in progress.", ..IN_SERVICE }
        }
        Some((enrolment, Standing::Registered)) => member_health(world, balancer, instance, enrolment, at),
    })
}

/// The condition of a member, without AWS's words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    InService,
    /// Its instance does not run.
    NotRunning(InstanceState),
    /// The load balancer is not in its zone.
    ZoneNotEnabled,
    /// Its first checks are not over yet.
    Settling {
        until: Timestamp,
    },
    /// It is down for a reboot.
    Rebooting {
        /// Whether enough health checks have failed.
        is_noticed: bool,
    },
    /// It answers again after a reboot, and not enough health checks have succeeded.
    Recovering {
        until: Timestamp,
    },
    /// It fails its health checks.
    Failing,
}

/// Returns the condition of a registered instance at a time.
pub(super) fn condition(
    world: &World,
    balancer: &LoadBalancer,
    instance: &Instance,
    enrolment: &Enrolment,
    at: Timestamp,
) -> Condition {
    if instance.state != InstanceState::Running {
        return Condition::NotRunning(instance.state);
    }
    if !balancer.spec.zones.contains(&instance.zone) {
        return Condition::ZoneNotEnabled;
    }
    let seed_text = format!("elb {} {}", balancer.spec.name, instance.id);
    let base = enrolment.since.max(instance.since);
    if let Some(until) = settles_at(&world.options, &seed_text, base, at).filter(|until| at < *until) {
        return Condition::Settling { until };
    }
    // The checks go to the address at the time of registration. After an EC2-Classic restart no instance answers there.
    if world.elb.failing_health_checks.contains(&instance.id) || eth0_address(instance) != enrolment.address {
        return Condition::Failing;
    }
    let check = &balancer.health_check;
    let noticed_after = ec2::noticed_after(check.interval, check.timeout, check.unhealthy_threshold);
    match ec2::outage(world, &instance.id, at, noticed_after) {
        Some(Outage::Down { since }) => Condition::Rebooting { is_noticed: since + delta(noticed_after) <= at },
        // A member that was registered after it is checked for the first time anyway.
        Some(Outage::Over { since }) if since >= enrolment.since => {
            match settles_at(&world.options, &seed_text, since, at) {
                Some(until) if at < until => Condition::Recovering { until },
                _ => Condition::InService,
            }
        }
        Some(Outage::Over { .. }) | None => Condition::InService,
    }
}

fn member_health(
    world: &World,
    balancer: &LoadBalancer,
    instance: &Instance,
    enrolment: &Enrolment,
    at: Timestamp,
) -> InstanceHealth {
    use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    match condition(world, balancer, instance, enrolment, at) {
        Condition::InService | Condition::NotRunning(Running) | Condition::Rebooting { is_noticed: false } => {
            IN_SERVICE
        }
        Condition::NotRunning(Pending) => out_of_service("Instance", "Instance is in pending state."),
        // The API's list of descriptions has no sentence for the two states in between.
        Condition::NotRunning(Stopping | Stopped) => out_of_service("Instance", "Instance is in stopped state."),
        Condition::NotRunning(ShuttingDown | Terminated) => {
            out_of_service("Instance", "Instance is in terminated state.")
        }
        Condition::ZoneNotEnabled => out_of_service(
            "ELB",
            "Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to.",
        ),
        Condition::Settling { .. } => out_of_service("ELB", "Instance registration is still in progress."),
        Condition::Failing | Condition::Rebooting { is_noticed: true } | Condition::Recovering { .. } => {
            out_of_service(
                "Instance",
                "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
            )
        }
    }
}

/// Returns when a target that came at `base` becomes healthy, or `None` if that time has passed in any case. It is drawn from the
/// seed and the target, so that it needs no memory, and the same question always has the same answer.
pub(crate) fn settles_at(options: &Options, target: &str, base: Timestamp, at: Timestamp) -> Option<Timestamp> {
    let Span { most, .. } = options.becoming_healthy;
    if base + delta(most) <= at {
        return None;
    }
    let mut dice = World::dice(options.seed, &format!("healthy {target} {}", base.timestamp_millis()));
    Some(base + delta(options.becoming_healthy.draw(&mut dice)))
}

fn out_of_service(reason_code: &'static str, description: &'static str) -> InstanceHealth {
    InstanceHealth { state: "OutOfService", reason_code, description }
}

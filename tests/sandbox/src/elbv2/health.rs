//! The health of targets: computed at each question from the registrations, the running instances, and the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    clock::{Timestamp, delta},
    ec2::{self, Instance, InstanceState, Interface, Outage},
    elb::settles_at,
    world::World,
};

use super::{Registration, Standing, TargetGroup, TargetKey, TargetType};

/// DescribeTargetHealth's report of a target: state, reason and description in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// `healthy`.
    Healthy,
    /// `initial`: it has just come.
    RegistrationInProgress,
    /// `initial`: the first checks are not over.
    InitialHealthChecking,
    /// `unhealthy`: the address is free, or its instance does not run.
    Timeout,
    /// `unhealthy`: the world's `failing_health_checks` names it.
    FailedHealthChecks,
    /// `unused`: no such target in the group.
    NotRegistered,
    /// `unused`: no load balancer uses the group.
    NotInUse,
    /// `unused`: its load balancer is not in the target's zone.
    ZoneNotEnabled,
    /// `unused`: the instance does not run.
    InvalidState(InstanceState),
    /// `draining`.
    DeregistrationInProgress,
    /// `unavailable`: a function that is not checked.
    HealthCheckDisabled,
}

impl Health {
    /// `State`.
    pub fn state(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::RegistrationInProgress | Self::InitialHealthChecking => "initial",
            Self::Timeout | Self::FailedHealthChecks => "unhealthy",
            Self::NotRegistered | Self::NotInUse | Self::ZoneNotEnabled | Self::InvalidState(_) => "unused",
            Self::DeregistrationInProgress => "draining",
            Self::HealthCheckDisabled => "unavailable",
        }
    }

    /// `Reason`.
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::Healthy => return None,
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::NotRegistered => "Target.NotRegistered",
            Self::NotInUse | Self::ZoneNotEnabled => "Target.NotInUse",
            Self::InvalidState(_) => "Target.InvalidState",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
            Self::HealthCheckDisabled => "Target.HealthCheckDisabled",
        })
    }

    /// `Description`.
    pub fn description(self) -> Option<String> {
        Some(match self {
            Self::Healthy => return None,
            Self::RegistrationInProgress => "Target registration is in progress".into(),
            Self::InitialHealthChecking => "Initial health checks in progress".into(),
            Self::Timeout => "Request timed out".into(),
            Self::FailedHealthChecks => "Health checks failed".into(),
            Self::NotRegistered => "Target is not registered to the target group".into(),
            Self::NotInUse => "Target group is not configured to receive traffic from the load balancer".into(),
            Self::ZoneNotEnabled => {
                "Target is in an Availability Zone that is not enabled for the load balancer".into()
            }
            Self::InvalidState(state) => format!("Target is in the {} state", state.name()),
            Self::DeregistrationInProgress => "Target deregistration is in progress".into(),
            Self::HealthCheckDisabled => "Health checks are disabled for this target group".into(),
        })
    }
}

/// Looks at the targets of one group at one time. Facts that they share are found out once: a scan looks at thousands.
pub(super) struct Observer<'a> {
    world: &'a World,
    group: &'a TargetGroup,
    at: Timestamp,
    in_use: bool,
    /// `None`: all of them.
    enabled_zones: Option<BTreeSet<&'a str>>,
    /// The owner of each address of the group's VPC, as far as it is in the group. Interfaces have no past, so a stale read sees
    /// those of now.
    inside: BTreeMap<IpAddr, &'a Interface>,
    /// The owner of each address of another VPC.
    outside: BTreeMap<IpAddr, &'a Interface>,
}

impl<'a> Observer<'a> {
    pub(super) fn new(world: &'a World, group: &'a TargetGroup, at: Timestamp) -> Self {
        let arns = world.elbv2.balancers_of(&group.arn);
        let zones: BTreeSet<&str> =
            arns.iter().filter_map(|arn| world.elbv2.load_balancers.get(*arn)).flat_map(|b| b.zones(world)).collect();
        let (mut inside, mut outside) = (BTreeMap::new(), BTreeMap::new());
        let members = group.members.all(at).filter(|_| group.spec.target_type == TargetType::Ip);
        let listed: BTreeSet<IpAddr> = members.filter_map(|((id, _), _, _)| id.parse().ok()).collect();
        // There can be ten thousand interfaces, and a scan looks at a thousand groups.
        for interface in world.ec2.interfaces.values().filter(|_| !listed.is_empty()) {
            let ours = Some(&interface.vpc_id) == group.spec.vpc_id.as_ref();
            let side = if ours { &mut inside } else { &mut outside };
            let ipv4 = interface.ipv4.iter().map(|address| IpAddr::V4(*address));
            let addresses = ipv4.chain(interface.ipv6.iter().map(|(address, _)| IpAddr::V6(*address)));
            side.extend(addresses.filter(|address| listed.contains(address)).map(|address| (address, interface)));
        }
        let enabled_zones = (!zones.is_empty()).then_some(zones);
        Self { world, group, at, in_use: !arns.is_empty(), enabled_zones, inside, outside }
    }

    /// Returns the health of one target.
    pub(super) fn health(&self, key: &TargetKey, record: &Registration, standing: Standing) -> Health {
        if standing != Standing::Registered {
            return Health::DeregistrationInProgress;
        }
        if !self.in_use {
            return Health::NotInUse;
        }
        match self.alive_since(key, record) {
            Ok(_) if self.fails_by_reboot(key, record) => Health::Timeout,
            Ok(since) => self.checked(key, record.since.max(since)),
            Err(health) => health,
        }
    }

    /// Returns whether the checks of a target fail for a reboot of its host: while it is down, from the time at which enough of them
    /// have failed, and afterwards until enough have succeeded.
    fn fails_by_reboot(&self, key: &TargetKey, record: &Registration) -> bool {
        match self.outage(key, record) {
            Some(Outage::Down { since }) => since + delta(self.noticed_after()) <= self.at,
            Some(Outage::Over { .. }) => self.recovers(key, record).is_some(),
            None => false,
        }
    }

    /// Returns the outage of a target's host by a reboot.
    pub(super) fn outage(&self, key: &TargetKey, record: &Registration) -> Option<Outage> {
        let host = match self.group.spec.target_type {
            TargetType::Instance => Some(key.0.as_str()),
            TargetType::Ip => self.interface(&key.0, record)?.attachment.as_ref().map(|a| a.instance_id.as_str()),
            TargetType::Lambda | TargetType::Alb => None,
        };
        let outage = ec2::outage(self.world, host?, self.at, self.noticed_after());
        // A target that was registered after it is checked for the first time anyway.
        outage.filter(|outage| !matches!(outage, Outage::Over { since } if *since < record.since))
    }

    /// Returns when enough checks will have succeeded after a reboot, if that lies ahead.
    pub(super) fn recovers(&self, key: &TargetKey, record: &Registration) -> Option<Timestamp> {
        let Some(Outage::Over { since }) = self.outage(key, record) else { return None };
        settles_at(&self.world.options, &self.name(key), since, self.at).filter(|healthy_at| self.at < *healthy_at)
    }

    /// Returns the time in which enough checks fail, at the least.
    fn noticed_after(&self) -> Duration {
        let check = &self.group.spec.health_check;
        ec2::noticed_after(check.interval_seconds, check.timeout_seconds, check.unhealthy_threshold)
    }

    fn interface(&self, address: &str, record: &Registration) -> Option<&'a Interface> {
        let side = if record.outside { &self.outside } else { &self.inside };
        address.parse().ok().and_then(|address: IpAddr| side.get(&address)).copied()
    }

    /// Returns when the first checks of a target will be over, if they are not yet.
    pub(super) fn settles(&self, key: &TargetKey, record: &Registration) -> Option<Timestamp> {
        let base = record.since.max(self.alive_since(key, record).ok()?);
        settles_at(&self.world.options, &self.name(key), base, self.at)
    }

    fn alive_since(&self, key: &TargetKey, record: &Registration) -> Result<Timestamp, Health> {
        match self.group.spec.target_type {
            TargetType::Instance => self.instance(&key.0),
            TargetType::Ip => self.address(&key.0, record),
            TargetType::Lambda if !self.group.spec.health_check.enabled => Err(Health::HealthCheckDisabled),
            TargetType::Lambda | TargetType::Alb => Ok(record.since),
        }
    }

    /// Returns a target's name among all targets of all groups, for draws of its own.
    fn name(&self, (id, port): &TargetKey) -> String {
        format!("{} {id} {}", self.group.arn, port.unwrap_or_default())
    }

    /// Returns since when an instance runs, or why it gets no traffic.
    fn instance(&self, id: &str) -> Result<Timestamp, Health> {
        // EC2 forgets an instance an hour after its end. A target that is still registered or drains then belongs to a dead
        // instance.
        let instance = self.seen(id).ok_or(Health::InvalidState(InstanceState::Terminated))?;
        if instance.state != InstanceState::Running {
            return Err(Health::InvalidState(instance.state));
        }
        self.check_zone(&instance.zone)?;
        Ok(instance.since)
    }

    /// Returns since when a host answers at an address, or why none does.
    fn address(&self, address: &str, record: &Registration) -> Result<Timestamp, Health> {
        self.check_zone(record.zone.as_deref().unwrap_or("all"))?;
        match self.interface(address, record) {
            // Outside, only other VPCs are known here. The rest is a data centre, and taken to be up.
            None if record.outside => Ok(record.since),
            None => Err(Health::Timeout),
            Some(interface) => match &interface.attachment {
                // A task or a database: there is no instance, and it is up as long as it has the address.
                None => Ok(record.since),
                Some(attachment) => match self.seen(&attachment.instance_id) {
                    Some(instance) if instance.state == InstanceState::Running => Ok(instance.since),
                    _ => Err(Health::Timeout),
                },
            },
        }
    }

    /// Returns the health checks' result for a target that is up since a time.
    fn checked(&self, key: &TargetKey, base: Timestamp) -> Health {
        let options = &self.world.options;
        if base + delta(options.becoming_healthy.most) > self.at {
            let healthy_at = settles_at(options, &self.name(key), base, self.at);
            let left = healthy_at.map_or_else(chrono::TimeDelta::zero, |healthy_at| healthy_at - self.at);
            if left > chrono::TimeDelta::zero() {
                // The first of the two stages is the shorter one.
                let is_late = self.at - base > left / 2;
                return if is_late { Health::InitialHealthChecking } else { Health::RegistrationInProgress };
            }
        }
        match self.world.elbv2.failing_health_checks.contains(&key.0) {
            true => Health::FailedHealthChecks,
            false => Health::Healthy,
        }
    }

    fn check_zone(&self, zone: &str) -> Result<(), Health> {
        match &self.enabled_zones {
            Some(enabled) if zone != "all" && !enabled.contains(zone) => Err(Health::ZoneNotEnabled),
            _ => Ok(()),
        }
    }

    fn seen(&self, instance_id: &str) -> Option<&'a Instance> {
        self.world.ec2.instances.get(instance_id)?.seen_at(self.at)
    }
}

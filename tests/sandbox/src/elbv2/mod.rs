//! Application, Network and Gateway Load Balancers, their listeners, and target groups with their targets.
//!
//! `resources.rs` creates and deletes, `targets.rs` registers targets (those that `admission.rs` admits) and deregisters them,
//! `health.rs` returns the targets' health, and `routing.rs` the facts by which requests are sent. They do the work of the
//! operations in `wire/`; fixtures and checkers use them, too. Rules other than a listener's default are not modelled.

mod admission;
mod attributes;
mod health;
mod resources;
mod routing;
mod spec;
mod targets;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use crate::{clock::Timestamp, ec2::InstanceState, elb::Roster, options::Options, wire::ApiError, world::World};

pub use crate::elb::Standing;
pub use attributes::{deregistration_delay, set_attributes, set_deregistration_delay};
pub use health::Health;
pub use resources::{
    attach, create_listener, create_load_balancer, create_load_balancer_as, create_target_group, delete_listener,
    delete_load_balancer, delete_target_group,
};
pub(crate) use routing::pool;
pub use spec::{HealthCheck, IpAddressType, Kind, ListenerSpec, LoadBalancerSpec, TargetGroupSpec, TargetType};
pub(crate) use targets::draining_until;
pub use targets::{Target, TargetView, deregister, deregister_all, register, register_all, targets};
pub use wire::answer;

/// Everything of the API of 2015-12-01.
#[derive(Debug)]
pub struct State {
    /// By ARN.
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    /// By ARN.
    pub listeners: BTreeMap<String, Listener>,
    /// By ARN.
    pub target_groups: BTreeMap<String, TargetGroup>,
    /// Ids of targets (instances, addresses, functions) whose application does not answer health checks.
    pub failing_health_checks: BTreeSet<String>,
    /// Quota: registered targets in a target group.
    pub targets_per_group: usize,
    /// Quota: registrations of one id with the target groups of one load balancer.
    pub registrations_per_id: usize,
    /// The dice for the order of descriptions. Made at the first draw.
    dice: Option<fastrand::Rng>,
}

/// A load balancer.
#[derive(Debug)]
pub struct LoadBalancer {
    /// Its full name.
    pub arn: String,
    /// The specification that it was created with.
    pub spec: LoadBalancerSpec,
    /// When it was created.
    pub created: Timestamp,
}

/// A port of a load balancer, and the target groups that its default action forwards to.
#[derive(Debug)]
pub struct Listener {
    /// Its full name.
    pub arn: String,
    /// The specification that it was created with.
    pub spec: ListenerSpec,
}

/// A target group.
#[derive(Debug)]
pub struct TargetGroup {
    /// Its full name.
    pub arn: String,
    /// The specification that it was created with.
    pub spec: TargetGroupSpec,
    /// Its tags, as they are now.
    pub tags: BTreeMap<String, String>,
    /// Such as `deregistration_delay.timeout_seconds`.
    pub attributes: BTreeMap<String, String>,
    /// Its targets.
    members: Roster<TargetKey, Registration>,
}

/// The parts that tell two targets of a group apart: the id and the port. Only functions have no port.
type TargetKey = (String, Option<u16>);

/// A group's memory of a registration.
#[derive(Clone, Debug)]
struct Registration {
    since: Timestamp,
    /// Found or given, for addresses only.
    zone: Option<String>,
    quic: Option<String>,
    /// For addresses: whether it is in none of the subnets of the group's VPC.
    outside: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            load_balancers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            target_groups: BTreeMap::new(),
            failing_health_checks: BTreeSet::new(),
            // AWS's quotas for an Application Load Balancer, before an account asks for more.
            targets_per_group: 1_000,
            registrations_per_id: 100,
            dice: None,
        }
    }
}

impl State {
    /// Returns a target group.
    ///
    /// # Errors
    /// `ValidationError` for a text that is not such an ARN, `TargetGroupNotFound`.
    pub fn target_group(&self, arn: &str) -> Result<&TargetGroup, ApiError> {
        check_arn(arn, "targetgroup")?;
        self.target_groups.get(arn).ok_or_else(|| no_group(arn))
    }

    /// Returns the load balancers that use a target group.
    pub fn balancers_of(&self, group_arn: &str) -> BTreeSet<&str> {
        let listeners = self.listeners.values();
        let forwarding =
            listeners.filter(|listener| listener.spec.target_groups.iter().any(|(arn, _)| arn == group_arn));
        forwarding.map(|listener| listener.spec.load_balancer_arn.as_str()).collect()
    }

    fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, ApiError> {
        check_arn(arn, "targetgroup")?;
        self.target_groups.get_mut(arn).ok_or_else(|| no_group(arn))
    }

    fn load_balancer(&self, arn: &str) -> Result<&LoadBalancer, ApiError> {
        check_arn(arn, "loadbalancer")?;
        self.load_balancers.get(arn).ok_or_else(|| no_balancer(arn))
    }

    /// Shuffles a description, if the options say so: AWS promises no order.
    fn shuffle<T>(&mut self, options: &Options, elements: &mut [T]) {
        if options.shuffle {
            self.dice.get_or_insert_with(|| World::dice(options.seed, "elbv2")).shuffle(elements);
        }
    }
}

/// Returns the ARN of a target group or load balancer by its name.
pub fn arn_of(world: &World, name: &str) -> Option<String> {
    let groups = world.elbv2.target_groups.values().map(|group| (&group.spec.name, &group.arn));
    let balancers = world.elbv2.load_balancers.values().map(|balancer| (&balancer.spec.name, &balancer.arn));
    groups.chain(balancers).find(|(its_name, _)| *its_name == name).map(|(_, arn)| arn.clone())
}

/// Does the service's own work when an instance has reached a state. It notices only the end of its life, and only of instance
/// targets, since an ip target knows no instance (AWS-FACTS.md, first table).
pub(crate) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    if state != InstanceState::Terminated {
        return;
    }
    let now = world.now();
    for group in world.elbv2.target_groups.values_mut() {
        if group.spec.target_type == TargetType::Instance {
            let keys: Vec<_> = group.keys_of(instance_id, now).collect();
            let drain = attributes::delay_of(group);
            keys.into_iter().for_each(|key| group.members.dismiss(now, key, drain));
        }
    }
}

impl TargetGroup {
    /// Returns the targets with an id, on all ports, draining ones included.
    fn keys_of(&self, id: &str, at: Timestamp) -> impl Iterator<Item = TargetKey> {
        let range = (id.to_owned(), None)..=(id.to_owned(), Some(u16::MAX));
        self.members.within(range, at).map(|(key, _, _)| key.clone())
    }
}

/// Checks the form of an ARN, with its id of 16 hexadecimal digits
/// (<https://github.com/hashicorp/terraform-provider-aws/issues/4552> has the refusal).
fn check_arn(arn: &str, kind: &str) -> Result<(), ApiError> {
    let mut parts = arn.splitn(6, ':');
    let service = (parts.next(), parts.nth(1));
    let id = arn.rsplit('/').next().unwrap_or_default();
    let is_id = id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if service == (Some("arn"), Some("elasticloadbalancing")) && arn.contains(&format!(":{kind}/")) && is_id {
        return Ok(());
    }
    Err(ApiError::sender("ValidationError", format!("'{arn}' is not a valid {kind} ARN")))
}

fn no_group(arn: &str) -> ApiError {
    ApiError::sender("TargetGroupNotFound", format!("Target groups '{arn}' not found"))
}

fn no_balancer(arn: &str) -> ApiError {
    ApiError::sender("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}

fn no_listener(arn: &str) -> ApiError {
    ApiError::sender("ListenerNotFound", format!("Listener '{arn}' not found"))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("ValidationError", message)
}

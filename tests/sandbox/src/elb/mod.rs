//! Classic Load Balancing: load balancers that know instances by id, and reach them at the address that they had when they were
//! registered.
//!
//! These functions do the work of the operations in `wire.rs`; fixtures and checkers use them, too.

mod health;
pub(crate) mod page;
pub(crate) mod roster;
mod routing;
pub(crate) mod tags;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use crate::{
    clock::Timestamp,
    ec2::{self, Instance, InstanceState},
    wire::ApiError,
    world::World,
};

pub(crate) use health::settles_at;
pub use health::{InstanceHealth, instance_health};
pub(crate) use roster::Roster;
pub use roster::Standing;
pub(crate) use routing::pool;
pub use wire::answer;

/// The draining time of a new load balancer, once draining is switched on. AWS's default.
const DRAINING_BY_DEFAULT: Duration = Duration::from_secs(300);

/// All Classic Load Balancers.
#[derive(Debug, Default)]
pub struct State {
    /// By name.
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    /// Ids of instances whose application does not answer health checks.
    pub failing_health_checks: BTreeSet<String>,
    /// *Not verified*: whether DescribeInstanceHealth without `Instances` leaves out those that drain. The
    /// documentation says "currently registered" and no more.
    pub health_hides_draining: bool,
    /// The dice for the order of descriptions. Made at the first draw.
    dice: Option<fastrand::Rng>,
}

/// A Classic Load Balancer.
#[derive(Debug)]
pub struct LoadBalancer {
    /// The specification that it was created with.
    pub spec: LoadBalancerSpec,
    /// Its health check; the sandbox only keeps it.
    pub health_check: HealthCheck,
    /// Whether deregistered instances drain.
    pub draining_enabled: bool,
    /// How long they do.
    pub draining_timeout: Duration,
    /// `CrossZoneLoadBalancing`.
    pub cross_zone: bool,
    /// `ConnectionSettings`.
    pub idle_timeout_seconds: u32,
    /// When it was created.
    pub created: Timestamp,
    /// By instance id.
    members: Roster<String, Enrolment>,
    /// Every instance that ever was a member: Deregister accepts only their ids.
    known: BTreeSet<String>,
}

/// The specification of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerSpec {
    /// At most 32 letters, digits and hyphens.
    pub name: String,
    /// Its network.
    pub vpc_id: String,
    /// The zones that it sends traffic to.
    pub zones: BTreeSet<String>,
    /// Its subnets, one in each zone.
    pub subnets: Vec<String>,
    /// Only kept.
    pub security_groups: Vec<String>,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// Only kept.
    pub listeners: Vec<Listener>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A port of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Such as `HTTP`.
    pub protocol: String,
    /// Of the load balancer.
    pub port: u16,
    /// Towards the instances.
    pub instance_protocol: String,
    /// Of the instances.
    pub instance_port: u16,
}

/// Settings of the health check, in DescribeLoadBalancers' order.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Such as `TCP:80`.
    pub target: String,
    /// Seconds.
    pub interval: u32,
    /// Seconds.
    pub timeout: u32,
    /// Failures that make unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes that make healthy.
    pub healthy_threshold: u32,
}

/// A load balancer's memory of a registration.
#[derive(Clone, Debug)]
struct Enrolment {
    since: Timestamp,
    /// The address of eth0 at that time. "Elastic Load Balancing registers your load balancer with the instance using the IP
    /// addresses [...] cannot recognize the new IP address" (SEED elb-developer-guide): it is never looked up again.
    address: Option<Ipv4Addr>,
}

impl LoadBalancerSpec {
    /// Returns a specification with port 80, in each of a network's zones that has a subnet.
    pub fn http(world: &World, name: &str, vpc_id: &str, zones: &[&str]) -> Self {
        let listener =
            Listener { protocol: "HTTP".into(), port: 80, instance_protocol: "HTTP".into(), instance_port: 80 };
        let subnets = world.ec2.subnets.values();
        let subnets = subnets.filter(|subnet| subnet.vpc_id == vpc_id && zones.contains(&subnet.zone.as_str()));
        Self {
            name: name.to_owned(),
            vpc_id: vpc_id.to_owned(),
            zones: zones.iter().map(|&zone| zone.to_owned()).collect(),
            subnets: subnets.map(|subnet| subnet.id.clone()).collect(),
            security_groups: Vec::new(),
            scheme: "internet-facing".into(),
            listeners: vec![listener],
            tags: BTreeMap::new(),
        }
    }
}

/// Creates a load balancer with a listener on port 80, without draining: AWS's default when created by API.
///
/// # Errors
/// Returns the errors of [`create_as`].
pub fn create(world: &mut World, name: &str, vpc_id: &str, zones: &[&str]) -> Result<(), ApiError> {
    let spec = LoadBalancerSpec::http(world, name, vpc_id, zones);
    create_as(world, spec)
}

/// Creates a load balancer. Creating one that is there with the same settings succeeds and changes nothing.
///
/// # Errors
/// `ValidationError` for a bad name, `DuplicateLoadBalancerName` for one that is taken.
pub fn create_as(world: &mut World, spec: LoadBalancerSpec) -> Result<(), ApiError> {
    check_name(&spec.name)?;
    if let Some(same) = world.elb.load_balancers.get(&spec.name) {
        // Only a difference is refused; tags count as well (ansible issue 29965).
        if same.spec == spec {
            return Ok(());
        }
        let message =
            format!("Load Balancer named {} already exists and is configured with different parameters", spec.name);
        return Err(ApiError::sender("DuplicateLoadBalancerName", message));
    }
    let port = spec.listeners.first().map_or(80, |listener| listener.instance_port);
    let health_check = HealthCheck {
        target: format!("TCP:{port}"),
        interval: 30,
        timeout: 5,
        unhealthy_threshold: 2,
        healthy_threshold: 10,
    };
    let balancer = LoadBalancer {
        health_check,
        draining_enabled: false,
        draining_timeout: DRAINING_BY_DEFAULT,
        cross_zone: false,
        idle_timeout_seconds: 60,
        created: world.now(),
        members: Roster::default(),
        known: BTreeSet::new(),
        spec,
    };
    world.elb.load_balancers.insert(balancer.spec.name.clone(), balancer);
    Ok(())
}

/// Deletes a load balancer. A missing one is no error.
pub fn delete(world: &mut World, name: &str) {
    if let Some(LoadBalancer { spec, .. }) = world.elb.load_balancers.remove(name) {
        ec2::hold_for_interfaces(world, spec.subnets.into_iter().chain(spec.security_groups));
    }
}

/// Switches draining on, with a timeout, or off.
///
/// # Errors
/// `LoadBalancerNotFound`; `InvalidConfigurationRequest` for a time outside 1-3600 s.
pub fn drain_for(world: &mut World, name: &str, timeout: Option<Duration>) -> Result<(), ApiError> {
    let balancer = balancer_mut(world, name)?;
    if timeout.is_some_and(|timeout| !(1..=3600).contains(&timeout.as_secs())) {
        let message = "ConnectionDraining timeout must be an integer between 1 and 3600";
        return Err(ApiError::receiver(409, "InvalidConfigurationRequest", message));
    }
    balancer.draining_enabled = timeout.is_some();
    balancer.draining_timeout = timeout.unwrap_or(balancer.draining_timeout);
    Ok(())
}

/// Registers one instance.
///
/// # Errors
/// Returns the errors of [`register_all`].
pub fn register(world: &mut World, name: &str, instance_id: &str) -> Result<(), ApiError> {
    register_all(world, name, &[instance_id.to_owned()])
}

/// Registers instances. If one cannot be registered, none is.
///
/// # Errors
/// `LoadBalancerNotFound`; `InvalidInstance` for an instance that is unknown, not running or in another network.
pub fn register_all(world: &mut World, name: &str, instance_ids: &[String]) -> Result<(), ApiError> {
    let vpc_id = balancer(world, name)?.spec.vpc_id.clone();
    let now = world.now();
    let mut enrolments = Vec::new();
    for id in instance_ids {
        let instance = world.ec2.instance(id).ok_or_else(|| not_found(id))?;
        if instance.vpc_id != vpc_id {
            let message = format!("EC2 instance {id} is not in the same VPC as ELB.");
            return Err(ApiError::sender("InvalidInstance", message));
        }
        // "The instance must be a running instance" (SEED boto3); the words of the refusal are not verified.
        if instance.state != InstanceState::Running {
            return Err(ApiError::sender("InvalidInstance", format!("EC2 instance {id} is not in 'running' state.")));
        }
        enrolments.push((id.clone(), Enrolment { since: now, address: eth0_address(instance) }));
    }
    let balancer = balancer_mut(world, name)?;
    for (id, enrolment) in enrolments {
        balancer.known.insert(id.clone());
        balancer.members.enrol(now, id, enrolment);
    }
    Ok(())
}

/// Deregisters one instance.
///
/// # Errors
/// Returns the errors of [`deregister_all`].
pub fn deregister(world: &mut World, name: &str, instance_id: &str) -> Result<(), ApiError> {
    deregister_all(world, name, &[instance_id.to_owned()])
}

/// Deregisters instances. If one is unknown, none is deregistered.
///
/// # Errors
/// `LoadBalancerNotFound`. `InvalidInstance` for an instance that does not exist, or that exists and was never registered here
/// (boto issue 2274). An instance that was registered before is answered 200 (boto issue 2576).
pub fn deregister_all(world: &mut World, name: &str, instance_ids: &[String]) -> Result<(), ApiError> {
    let now = world.now();
    let known = &balancer(world, name)?.known;
    let is_strange = |id: &&String| world.ec2.instance(id).is_none() || !known.contains(*id);
    if let Some(id) = instance_ids.iter().find(is_strange) {
        return Err(not_found(id));
    }
    let balancer = balancer_mut(world, name)?;
    let drain = if balancer.draining_enabled { balancer.draining_timeout } else { Duration::ZERO };
    for id in instance_ids {
        balancer.members.dismiss(now, id.clone(), drain);
    }
    Ok(())
}

/// Returns the instances registered now, without those that drain. If there is no such load balancer, it returns none.
pub fn members(world: &World, name: &str) -> BTreeSet<String> {
    balancer(world, name).map(|balancer| balancer.members_at(world.now())).unwrap_or_default()
}

/// Returns until when an instance drains, if it does.
pub fn draining_until(world: &World, name: &str, instance_id: &str) -> Option<Timestamp> {
    let (_, standing) = balancer(world, name).ok()?.members.standing(&instance_id.to_owned(), world.now())?;
    match standing {
        Standing::Draining { until } => Some(until),
        Standing::Registered => None,
    }
}

/// Does the service's own work when an instance has reached a state: it notices only the end of its life.
pub(crate) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    let now = world.now();
    if state == InstanceState::Terminated {
        for balancer in world.elb.load_balancers.values_mut() {
            balancer.members.remove(now, instance_id.to_owned());
        }
    }
}

impl LoadBalancer {
    fn members_at(&self, at: Timestamp) -> BTreeSet<String> {
        self.members.registered(at).map(|(id, _)| id.clone()).collect()
    }
}

impl State {
    /// Shuffles a description, if the options say so: AWS promises no order.
    fn shuffle<T>(&mut self, options: &crate::Options, elements: &mut [T]) {
        if options.shuffle {
            self.dice.get_or_insert_with(|| World::dice(options.seed, "elb")).shuffle(elements);
        }
    }
}

/// Returns the primary address of the primary interface: device 0 on card 0.
fn eth0_address(instance: &Instance) -> Option<Ipv4Addr> {
    let eth0 = instance.interfaces.iter().find(|interface| {
        interface.attachment.as_ref().is_some_and(|a| (a.device_index, a.network_card_index) == (0, 0))
    })?;
    eth0.ipv4.first().copied()
}

fn balancer<'a>(world: &'a World, name: &str) -> Result<&'a LoadBalancer, ApiError> {
    world.elb.load_balancers.get(name).ok_or_else(|| no_balancer(name))
}

fn balancer_mut<'a>(world: &'a mut World, name: &str) -> Result<&'a mut LoadBalancer, ApiError> {
    world.elb.load_balancers.get_mut(name).ok_or_else(|| no_balancer(name))
}

fn no_balancer(name: &str) -> ApiError {
    ApiError::sender("LoadBalancerNotFound", format!("There is no ACTIVE Load Balancer named '{name}'"))
}

fn not_found(instance_id: &str) -> ApiError {
    ApiError::sender("InvalidInstance", format!("Could not find EC2 instance {instance_id}."))
}

/// Refuses a name that neither load balancers nor target groups may have.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if letters && (1..=32).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    let rule = "must be 1 to 32 letters, digits and hyphens, and must not begin or end with a hyphen";
    Err(ApiError::sender("ValidationError", format!("The name '{name}' {rule}")))
}

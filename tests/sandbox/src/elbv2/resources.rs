//! Making and deleting load balancers, listeners and target groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    elb::{Roster, check_name},
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

use super::{Listener, LoadBalancer, State, TargetGroup, attributes, invalid, no_group};

/// The kinds of load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP and HTTPS.
    Application,
    /// TCP, TLS, UDP, QUIC.
    Network,
    /// GENEVE.
    Gateway,
}

/// What the targets of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Instances by id.
    Instance,
    /// Addresses.
    Ip,
    /// One function.
    Lambda,
    /// One Application Load Balancer.
    Alb,
}

/// Which addresses a group can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpAddressType {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// What a load balancer is created as.
#[derive(Clone, Debug)]
pub struct LoadBalancerSpec {
    /// At most 32 letters, digits and hyphens.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its network.
    pub vpc_id: String,
    /// Where it is, and so which zones are enabled. `None`: in every subnet that the network has, or ever gets.
    pub subnets: Option<Vec<String>>,
    /// Only kept.
    pub security_groups: Vec<String>,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// `ipv4`, `dualstack`, ...
    pub ip_address_type: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What a listener is created as.
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Whose it is.
    pub load_balancer_arn: String,
    /// None with a Gateway Load Balancer.
    pub protocol: Option<String>,
    /// None with a Gateway Load Balancer.
    pub port: Option<u16>,
    /// Where the default action forwards to, with weights.
    pub target_groups: Vec<(String, Option<u32>)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What a target group is created as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupSpec {
    /// At most 32 letters, digits and hyphens.
    pub name: String,
    /// What its targets are.
    pub target_type: TargetType,
    /// None for functions.
    pub protocol: Option<String>,
    /// `HTTP1`, `HTTP2` or `GRPC`, for HTTP and HTTPS.
    pub protocol_version: Option<String>,
    /// Of targets that bring none of their own. None for functions.
    pub port: Option<u16>,
    /// None for functions.
    pub vpc_id: Option<String>,
    /// Which addresses it can have.
    pub ip_address_type: IpAddressType,
    /// How health is checked; the sandbox only keeps it, but for `enabled`.
    pub health_check: HealthCheck,
    /// Its tags at first.
    pub tags: BTreeMap<String, String>,
}

/// How health is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Can be off for functions only.
    pub enabled: bool,
    /// Such as `HTTP`.
    pub protocol: Option<String>,
    /// A number, or `traffic-port`.
    pub port: Option<String>,
    /// For HTTP.
    pub path: Option<String>,
    /// Between checks.
    pub interval_seconds: u32,
    /// Of one check.
    pub timeout_seconds: u32,
    /// Successes that make healthy.
    pub healthy_threshold: u32,
    /// Failures that make unhealthy.
    pub unhealthy_threshold: u32,
    /// Codes that are successes, for HTTP: `HttpCode` or `GrpcCode`, and which.
    pub matcher: Option<(String, String)>,
}

impl TargetGroupSpec {
    /// HTTP to instances.
    pub fn instances(name: &str, vpc_id: &str, port: u16) -> Self {
        Self::new(name, TargetType::Instance, Some("HTTP"), Some(port), Some(vpc_id))
    }

    /// HTTP to addresses.
    pub fn addresses(name: &str, vpc_id: &str, port: u16) -> Self {
        Self::new(name, TargetType::Ip, Some("HTTP"), Some(port), Some(vpc_id))
    }

    /// A function.
    pub fn function(name: &str) -> Self {
        Self::new(name, TargetType::Lambda, None, None, None)
    }

    /// Any, with AWS's defaults for the rest.
    pub fn new(
        name: &str,
        target_type: TargetType,
        protocol: Option<&str>,
        port: Option<u16>,
        vpc_id: Option<&str>,
    ) -> Self {
        let http = matches!(protocol, Some("HTTP" | "HTTPS"));
        Self {
            name: name.to_owned(),
            target_type,
            protocol: protocol.map(str::to_owned),
            protocol_version: http.then(|| "HTTP1".into()),
            port,
            vpc_id: vpc_id.map(str::to_owned),
            ip_address_type: IpAddressType::Ipv4,
            health_check: HealthCheck::usual(target_type, protocol),
            tags: BTreeMap::new(),
        }
    }

    /// The same for another protocol.
    #[must_use]
    pub fn protocol(self, protocol: &str) -> Self {
        let changed = Self::new(&self.name, self.target_type, Some(protocol), self.port, self.vpc_id.as_deref());
        Self { ip_address_type: self.ip_address_type, tags: self.tags, ..changed }
    }

    /// The same for IPv6.
    #[must_use]
    pub fn ipv6(self) -> Self {
        Self { ip_address_type: IpAddressType::Ipv6, ..self }
    }

    /// The same with one more tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Which kind of load balancer can use it; functions are an Application Load Balancer's.
    pub(super) fn kind(&self) -> Kind {
        match self.protocol.as_deref() {
            None | Some("HTTP" | "HTTPS") => Kind::Application,
            Some("GENEVE") => Kind::Gateway,
            Some(_) => Kind::Network,
        }
    }
}

impl HealthCheck {
    /// AWS's defaults (botocore's model, CreateTargetGroupInput).
    pub(super) fn usual(target_type: TargetType, protocol: Option<&str>) -> Self {
        let http = matches!(protocol, Some("HTTP" | "HTTPS")) || target_type == TargetType::Alb;
        let lambda = target_type == TargetType::Lambda;
        let (interval_seconds, timeout_seconds) = match protocol {
            _ if lambda => (35, 30),
            Some("GENEVE") => (10, 5),
            Some("HTTP") => (30, 6),
            _ => (30, 10),
        };
        Self {
            enabled: !lambda,
            protocol: (!lambda).then(|| if http { "HTTP" } else { "TCP" }.to_owned()),
            port: (!lambda).then(|| if protocol == Some("GENEVE") { "80" } else { "traffic-port" }.to_owned()),
            path: (http || lambda).then(|| "/".into()),
            interval_seconds,
            timeout_seconds,
            healthy_threshold: 5,
            unhealthy_threshold: if lambda { 5 } else { 2 },
            matcher: (http || lambda).then(|| ("HttpCode".into(), "200".into())),
        }
    }
}

impl Kind {
    /// The word in `Type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Network => "network",
            Self::Gateway => "gateway",
        }
    }

    /// The word in ARNs.
    fn in_arn(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Network => "net",
            Self::Gateway => "gwy",
        }
    }
}

impl TargetType {
    /// The word in `TargetType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Ip => "ip",
            Self::Lambda => "lambda",
            Self::Alb => "alb",
        }
    }
}

/// Creates a load balancer in every zone of a network.
///
/// # Errors
/// As [`create_load_balancer_as`].
pub fn create_load_balancer(world: &mut World, kind: Kind, name: &str, vpc_id: &str) -> Result<String, ApiError> {
    let spec = LoadBalancerSpec {
        name: name.to_owned(),
        kind,
        vpc_id: vpc_id.to_owned(),
        subnets: None,
        security_groups: Vec::new(),
        scheme: "internet-facing".into(),
        ip_address_type: "ipv4".into(),
        tags: BTreeMap::new(),
    };
    create_load_balancer_as(world, spec)
}

/// Creates a load balancer, which is active at once, and tells its ARN.
///
/// # Errors
/// `ValidationError` for a bad name, `DuplicateLoadBalancerName` for one that is taken.
pub fn create_load_balancer_as(world: &mut World, spec: LoadBalancerSpec) -> Result<String, ApiError> {
    check_name(&spec.name)?;
    if world.elbv2.load_balancers.values().any(|balancer| balancer.spec.name == spec.name) {
        let message = format!("A load balancer with the same name '{}' exists, but with different settings", spec.name);
        return Err(ApiError::sender("DuplicateLoadBalancerName", message));
    }
    let arn = arn(&format!("loadbalancer/{}/{}/{:016x}", spec.kind.in_arn(), spec.name, world.invent_number()));
    let created = world.now();
    world.elbv2.load_balancers.insert(arn.clone(), LoadBalancer { arn: arn.clone(), spec, created });
    Ok(arn)
}

/// Deletes a load balancer and its listeners. One that is not there is no error (botocore's model).
pub fn delete_load_balancer(world: &mut World, arn: &str) {
    world.elbv2.load_balancers.remove(arn);
    world.elbv2.listeners.retain(|_, listener| listener.spec.load_balancer_arn != arn);
}

/// Creates a target group, and tells its ARN. Creating one that is there with the same settings succeeds.
///
/// # Errors
/// `ValidationError` for settings that do not go together, `DuplicateTargetGroupName`.
pub fn create_target_group(world: &mut World, spec: TargetGroupSpec) -> Result<String, ApiError> {
    check_name(&spec.name)?;
    check_settings(world, &spec)?;
    if let Some(same) = world.elbv2.target_groups.values().find(|group| group.spec.name == spec.name) {
        if same.spec == spec {
            return Ok(same.arn.clone());
        }
        let message = format!("A target group with the same name '{}' exists, but with different settings", spec.name);
        return Err(ApiError::sender("DuplicateTargetGroupName", message));
    }
    let arn = arn(&format!("targetgroup/{}/{:016x}", spec.name, world.invent_number()));
    let group = TargetGroup {
        arn: arn.clone(),
        tags: spec.tags.clone(),
        attributes: attributes::usual(&spec),
        members: Roster::default(),
        spec,
    };
    world.elbv2.target_groups.insert(arn.clone(), group);
    Ok(arn)
}

fn check_settings(world: &World, spec: &TargetGroupSpec) -> Result<(), ApiError> {
    if spec.target_type == TargetType::Lambda {
        if spec.protocol.is_some() || spec.port.is_some() || spec.vpc_id.is_some() {
            return Err(invalid(
                "Protocol, port and VPC cannot be specified for target groups with target type 'lambda'",
            ));
        }
        return Ok(());
    }
    let Some(vpc_id) = &spec.vpc_id else { return Err(invalid("A VPC ID must be specified")) };
    if !world.ec2.vpcs.contains_key(vpc_id) {
        return Err(invalid(format!("The VPC ID '{vpc_id}' is not found")));
    }
    if spec.port.is_none_or(|port| port == 0) {
        return Err(invalid("A port must be specified"));
    }
    let known = ["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC"];
    if !spec.protocol.as_deref().is_some_and(|protocol| known.contains(&protocol)) {
        return Err(invalid("A valid protocol must be specified"));
    }
    if spec.target_type == TargetType::Alb && spec.protocol.as_deref() != Some("TCP") {
        return Err(invalid("Target groups with target type 'alb' must have the protocol TCP"));
    }
    // "If the target type is instance, ip, or alb, health checks are always enabled" (botocore's model).
    if !spec.health_check.enabled {
        return Err(invalid("Health checks cannot be disabled for this target type"));
    }
    Ok(())
}

/// Deletes a target group. One that is not there is no error.
///
/// # Errors
/// `ResourceInUse`, while a listener forwards to it.
pub fn delete_target_group(world: &mut World, arn: &str) -> Result<(), ApiError> {
    super::check_arn(arn, "targetgroup")?;
    if !world.elbv2.balancers_of(arn).is_empty() {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(ApiError::sender("ResourceInUse", message));
    }
    world.elbv2.target_groups.remove(arn);
    Ok(())
}

/// Lets a load balancer send what comes to a port to a target group, and tells the listener's ARN.
///
/// # Errors
/// As [`create_listener`].
pub fn attach(world: &mut World, group_arn: &str, load_balancer_arn: &str, port: u16) -> Result<String, ApiError> {
    let protocol = world.elbv2.target_group(group_arn)?.spec.protocol.clone();
    let kind = world.elbv2.load_balancer(load_balancer_arn)?.spec.kind;
    let (protocol, port) = match kind {
        Kind::Application => (Some("HTTP".to_owned()), Some(port)),
        Kind::Network => (protocol, Some(port)),
        Kind::Gateway => (None, None),
    };
    let target_groups = vec![(group_arn.to_owned(), None)];
    let load_balancer_arn = load_balancer_arn.to_owned();
    create_listener(world, ListenerSpec { load_balancer_arn, protocol, port, target_groups, tags: BTreeMap::new() })
}

/// Creates a listener, and tells its ARN.
///
/// # Errors
/// `LoadBalancerNotFound`, `TargetGroupNotFound`; `DuplicateListener` for a port that is taken; `IncompatibleProtocols`;
/// `TargetGroupAssociationLimit` for a group that another load balancer uses.
pub fn create_listener(world: &mut World, spec: ListenerSpec) -> Result<String, ApiError> {
    let balancer = world.elbv2.load_balancer(&spec.load_balancer_arn)?;
    let taken =
        |other: &Listener| other.spec.load_balancer_arn == spec.load_balancer_arn && other.spec.port == spec.port;
    if world.elbv2.listeners.values().any(taken) {
        return Err(ApiError::sender(
            "DuplicateListener",
            "A listener already exists on this port for this load balancer",
        ));
    }
    for (group_arn, _) in &spec.target_groups {
        check_forwarding(&world.elbv2, balancer, group_arn)?;
    }
    let stem = balancer.arn.replacen(":loadbalancer/", ":listener/", 1);
    let arn = format!("{stem}/{:016x}", world.invent_number());
    world.elbv2.listeners.insert(arn.clone(), Listener { arn: arn.clone(), spec });
    Ok(arn)
}

fn check_forwarding(state: &State, balancer: &LoadBalancer, group_arn: &str) -> Result<(), ApiError> {
    let group = state.target_groups.get(group_arn).ok_or_else(|| no_group(group_arn))?;
    if group.spec.kind() != balancer.spec.kind {
        let message = format!("The protocol of target group '{group_arn}' does not fit this load balancer");
        return Err(ApiError::sender("IncompatibleProtocols", message));
    }
    if state.balancers_of(group_arn).iter().any(|arn| *arn != balancer.arn) {
        let message =
            format!("The following target groups cannot be associated with more than one load balancer: {group_arn}");
        return Err(ApiError::sender("TargetGroupAssociationLimit", message));
    }
    Ok(())
}

/// Deletes a listener.
///
/// # Errors
/// `ListenerNotFound`.
pub fn delete_listener(world: &mut World, arn: &str) -> Result<(), ApiError> {
    world.elbv2.listeners.remove(arn).map(|_| ()).ok_or_else(|| super::no_listener(arn))
}

impl LoadBalancer {
    /// The subnets that it is in.
    pub(super) fn subnets<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a crate::ec2::Subnet> {
        world.ec2.subnets.values().filter(|subnet| match &self.spec.subnets {
            Some(ids) => ids.contains(&subnet.id),
            None => subnet.vpc_id == self.spec.vpc_id,
        })
    }

    /// The zones that it sends traffic to.
    pub(super) fn zones<'a>(&'a self, world: &'a World) -> BTreeSet<&'a str> {
        self.subnets(world).map(|subnet| subnet.zone.as_str()).collect()
    }
}

fn arn(resource: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{resource}")
}

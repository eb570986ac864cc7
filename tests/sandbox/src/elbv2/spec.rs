//! The specifications of load balancers, listeners and target groups, with AWS's defaults.

use std::collections::BTreeMap;

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

/// The kind of a group's targets.
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

/// The addresses that a group can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpAddressType {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// The specification of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerSpec {
    /// At most 32 letters, digits and hyphens.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its network.
    pub vpc_id: String,
    /// Its subnets, which decide about the enabled zones. `None`: every subnet that the network has, or ever gets.
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

/// The specification of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// The load balancer that it belongs to.
    pub load_balancer_arn: String,
    /// None with a Gateway Load Balancer.
    pub protocol: Option<String>,
    /// None with a Gateway Load Balancer.
    pub port: Option<u16>,
    /// The target groups of the default action, with weights.
    pub target_groups: Vec<(String, Option<u32>)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The specification of a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupSpec {
    /// At most 32 letters, digits and hyphens.
    pub name: String,
    /// The kind of its targets.
    pub target_type: TargetType,
    /// None for functions.
    pub protocol: Option<String>,
    /// `HTTP1`, `HTTP2` or `GRPC`, for HTTP and HTTPS.
    pub protocol_version: Option<String>,
    /// The port of targets without one of their own. None for functions.
    pub port: Option<u16>,
    /// None for functions.
    pub vpc_id: Option<String>,
    /// The addresses that it can have.
    pub ip_address_type: IpAddressType,
    /// Its health check; the sandbox only keeps it, except for `enabled`.
    pub health_check: HealthCheck,
    /// Its tags at first.
    pub tags: BTreeMap<String, String>,
}

/// The settings of a health check.
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
    /// Returns a group of instances, for HTTP.
    pub fn instances(name: &str, vpc_id: &str, port: u16) -> Self {
        Self::new(name, TargetType::Instance, Some("HTTP"), Some(port), Some(vpc_id))
    }

    /// Returns a group of addresses, for HTTP.
    pub fn addresses(name: &str, vpc_id: &str, port: u16) -> Self {
        Self::new(name, TargetType::Ip, Some("HTTP"), Some(port), Some(vpc_id))
    }

    /// Returns a group of one function.
    pub fn function(name: &str) -> Self {
        Self::new(name, TargetType::Lambda, None, None, None)
    }

    /// Returns a group of any kind, with AWS's defaults for the rest.
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

    /// Returns the same for another protocol.
    #[must_use]
    pub fn protocol(self, protocol: &str) -> Self {
        let changed = Self::new(&self.name, self.target_type, Some(protocol), self.port, self.vpc_id.as_deref());
        Self { ip_address_type: self.ip_address_type, tags: self.tags, ..changed }
    }

    /// Returns the same for IPv6.
    #[must_use]
    pub fn ipv6(self) -> Self {
        Self { ip_address_type: IpAddressType::Ipv6, ..self }
    }

    /// Returns the same with one more tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Returns the kind of load balancer that can use it. An Application Load Balancer can use functions.
    pub(super) fn kind(&self) -> Kind {
        match self.protocol.as_deref() {
            None | Some("HTTP" | "HTTPS") => Kind::Application,
            Some("GENEVE") => Kind::Gateway,
            Some(_) => Kind::Network,
        }
    }
}

impl HealthCheck {
    /// Returns AWS's defaults (botocore's model, CreateTargetGroupInput).
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
    /// Returns the word in `Type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Network => "network",
            Self::Gateway => "gateway",
        }
    }

    /// Returns the word in ARNs.
    pub(super) fn in_arn(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Network => "net",
            Self::Gateway => "gwy",
        }
    }
}

impl TargetType {
    /// Returns the word in `TargetType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Ip => "ip",
            Self::Lambda => "lambda",
            Self::Alb => "alb",
        }
    }
}

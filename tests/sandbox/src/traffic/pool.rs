//! A balancer as its requests see it: its members, and the service's own report of each.
//!
//! It is the truth of one time. [`super::routing`] has the routing's view of it, which lags.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{clock::Timestamp, elb, elbv2, wire::ApiError, world::World};

/// The kind of balancer, which decides about the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancing {
    /// A Classic Load Balancer: 503 if no member is in service.
    Classic,
    /// An Application Load Balancer: fails open.
    Application,
    /// A Network Load Balancer: fails open, and forgets slowly.
    Network,
}

/// A balancer at one time.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) balancing: Balancing,
    /// Whether any load balancer sends requests here.
    pub(crate) is_in_use: bool,
    pub(crate) checks: Checks,
    /// Whether requests in flight are cut when their target has drained.
    pub(crate) cuts_when_left: bool,
    /// Whether they are cut when their target is found unhealthy.
    pub(crate) cuts_when_unhealthy: bool,
    /// Registered or draining.
    pub(crate) members: Vec<Member>,
}

/// The settings of the health checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Failures in a row that make unhealthy.
    pub(crate) threshold: u32,
}

/// A member of a balancer.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its id, with the port if it has one.
    pub(crate) name: Arc<str>,
    /// When it was registered: a member that comes back is another one.
    pub(crate) since: Timestamp,
    pub(crate) destination: Destination,
    pub(crate) report: Report,
}

/// The destination of requests for a member, and its rightful owner.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The registered instance; `None` if an address was registered.
    pub(crate) owner: Option<Host>,
    /// The address of the requests. Without one, they go to the owner wherever it is.
    pub(crate) address: Option<IpAddr>,
    pub(crate) vpc_id: Arc<str>,
    /// Whether the address is one of another network.
    pub(crate) is_outside: bool,
}

/// A host that can have an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// By its id.
    Instance(Arc<str>),
    /// An interface of something else: a task, a database.
    Interface(Arc<str>),
    /// In a data centre, which is not modelled: taken to be up.
    Elsewhere,
}

/// The service's report of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Healthy,
    /// The first checks are not over.
    Initial {
        until: Timestamp,
    },
    /// It fails its health checks.
    Failing,
    /// EC2 says that the instance does not run.
    NotRunning,
    /// Requests are never sent to it: its zone is not enabled.
    Unused,
    /// Deregistered.
    Draining {
        until: Timestamp,
    },
}

impl Pool {
    /// Returns the balancer that `clb:NAME` or `tg:NAME` names.
    ///
    /// # Errors
    /// If there is none, or its routing is not modelled.
    pub(crate) fn of(world: &World, balancer: &str, at: Timestamp) -> Result<Self, ApiError> {
        match balancer.split_once(':') {
            Some(("clb", name)) => elb::pool(world, name, at),
            Some(("tg", name)) => {
                let no_group = || ApiError::sender("TargetGroupNotFound", format!("Target group '{name}' not found"));
                elbv2::pool(world, &elbv2::arn_of(world, name).ok_or_else(no_group)?, at)
            }
            _ => Err(ApiError::sender("ValidationError", format!("'{balancer}' is neither clb:NAME nor tg:NAME"))),
        }
    }

    /// Returns how long a target gets new requests after its deregistration.
    pub(crate) fn linger(&self, world: &World) -> Duration {
        let lag = world.options.routing_lag;
        match self.balancing {
            Balancing::Classic => Duration::ZERO,
            Balancing::Application => lag.application_linger,
            Balancing::Network => lag.network_linger,
        }
    }
}

impl Destination {
    /// Returns whether the service knows the member as an instance, and so can learn from EC2 that it stopped.
    pub(crate) fn is_known_by_id(&self, by: Balancing) -> bool {
        by == Balancing::Classic || self.address.is_none()
    }
}

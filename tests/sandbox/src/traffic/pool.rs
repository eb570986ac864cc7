//! A balancer as its requests see it: who is in it, and what the service's own report says of each.
//!
//! It is the truth of one time. What the routing makes of it, and how late, is in [`super::routing`].

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{clock::Timestamp, elb, elbv2, wire::ApiError, world::World};

/// Who sends the requests on, and so by which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancing {
    /// A Classic Load Balancer: 503 where nobody is in service.
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

/// How health is checked.
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
    /// Its id, with the port where it has one.
    pub(crate) name: Arc<str>,
    /// When it was registered: a member that comes back is another one.
    pub(crate) since: Timestamp,
    pub(crate) destination: Destination,
    pub(crate) report: Report,
}

/// Where requests for a member go, and who should be there.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Who was registered; of an address, nobody told.
    pub(crate) owner: Option<Host>,
    /// Where the requests go; without, to the owner wherever it is.
    pub(crate) address: Option<IpAddr>,
    pub(crate) vpc_id: Arc<str>,
    /// Whether the address is one of another network.
    pub(crate) is_outside: bool,
}

/// What can have an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// By its id.
    Instance(Arc<str>),
    /// An interface of something else: a task, a database.
    Interface(Arc<str>),
    /// In a data centre, of which nothing is known here: taken to be up.
    Elsewhere,
}

/// What the service reports of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Healthy,
    /// The first checks are not over.
    Initial {
        until: Timestamp,
    },
    /// Health checks find nobody.
    Failing,
    /// EC2 says that the instance does not run.
    NotRunning,
    /// No requests are ever sent: the zone is not enabled.
    Unused,
    /// Deregistered.
    Draining {
        until: Timestamp,
    },
}

impl Pool {
    /// The balancer that `clb:NAME` or `tg:NAME` names.
    ///
    /// # Errors
    /// Where there is none, or none whose routing is modelled.
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

    /// How long a target gets new requests after its deregistration.
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
    /// Whether the service knows the member as an instance, and so can learn from EC2 that it stopped.
    pub(crate) fn is_known_by_id(&self, by: Balancing) -> bool {
        by == Balancing::Classic || self.address.is_none()
    }
}

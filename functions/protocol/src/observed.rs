//! What was observed of balancers: registrations that were found, how wanted ones stand, what is still drained, and why something
//! is not done.
//!
//! Plain data, whatever the kind of the balancer. What follows from it is decided in [`crate::decide`].

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::{
    address::{Address, Family},
    balancer::{BalancerId, TargetGroupId},
    balancer_kind::BalancerKind,
    call_error::CallError,
    declaration::DoesNotFit,
    id::{AutoScalingGroupName, InstanceId, VpcId},
    instance::Instance,
    registration::Registration,
    tag::Owner,
    target_group::TargetType,
};

/// A registration that an instance shall have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// Who.
    pub instance: &'w Instance,
    /// Where.
    pub registration: &'w Registration,
    /// Whether nobody need look whether it is there, or drained ([`crate::decide::is_surely_absent`]).
    pub is_surely_absent: bool,
}

/// An instance and a balancer that may still drain it.
#[derive(Clone, Copy, Debug)]
pub struct Parting<'p> {
    /// Who.
    pub instance: &'p Instance,
    /// From where.
    pub balancer: &'p BalancerId,
}

/// What a balancer still does for an instance that was deregistered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Whether any target of the instance is still being drained.
    pub is_under_way: bool,
    /// How long a draining lasts at the most, counted from the deregistration, where it matters and could be read.
    pub delay: Option<Duration>,
    /// Whether it always lasts so long, or may end with the last connection.
    pub is_exact: bool,
    /// Whether a Network Load Balancer is in front, which goes on opening new connections for a while.
    pub is_network: bool,
}

/// A target as the calls name it: the registration with the address looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Instance id or IP address, as the balancer has it or shall have it.
    pub id: String,
    /// `None` only at a Classic load balancer. Deregistering a port override without its port answers 200 and does nothing.
    pub port: Option<u16>,
    /// `all`, or a zone, for an address outside the group's VPC.
    pub zone: Option<String>,
    /// The server id for QUIC.
    pub quic_id: Option<String>,
}

impl Target {
    /// Its address; `None` where the balancer knows it by the instance's id.
    pub fn address(&self) -> Option<IpAddr> {
        self.id.parse().ok()
    }
}

/// A target that is an address in the VPC of its group, and no draining one.
#[derive(Clone, Debug)]
pub struct AddressTarget {
    /// The group.
    pub group: TargetGroupId,
    /// The group's network.
    pub vpc: VpcId,
    /// The address.
    pub address: IpAddr,
    /// As the balancer lists it.
    pub target: Target,
    /// As it would be written.
    pub registration: Registration,
    /// What the balancer says of it.
    pub health: Health,
}

/// A registration that a scan saw.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whose.
    pub instance: InstanceId,
    /// What.
    pub registration: Registration,
    /// As the balancer lists it.
    pub target: Target,
    /// Somebody else who looks after this balancer.
    pub owner: Option<Owner>,
    /// An address outside the group's VPC: equal to the instance's, but perhaps another host's in another network.
    pub is_far: bool,
}

/// How a wanted registration stands.
#[derive(Debug)]
pub enum Standing {
    /// It is there.
    InPlace(Health),
    /// It is not there and can be registered.
    Absent(Target),
    /// The same address is still being drained: it can be registered when that is over (SEED elbv2-register-targets).
    Draining {
        /// The group's deregistration delay, counted from the deregistration; `None` where it could not be read.
        delay: Option<Duration>,
    },
    /// It can never be, or is not ours to register: to be let go, with a warning.
    Never(Reason),
    /// It cannot be for now, and a person has to do something about it.
    Stuck(Reason),
    /// It could not be read.
    Unreadable(CallError),
}

/// What a balancer says of the health of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Such as `healthy`, `initial`, `InService`.
    pub state: String,
    /// Such as `Target.Timeout`, with the balancer's description.
    pub reason: Option<String>,
    /// Whether waiting for it is in vain: no load balancer uses the group, or health checks are switched off.
    pub is_in_vain: bool,
}

impl Health {
    /// Whether it gets traffic.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state.as_str(), "healthy" | "InService")
    }
}

/// Why a registration is left alone, let go or stuck.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// An operator's word.
    #[error("the balancer (or the load balancer in front of it) bears the tag elb-registrar:ignore")]
    Ignored,
    /// A controller's own.
    #[error("a Kubernetes controller looks after the balancer")]
    Kubernetes,
    /// Auto Scaling registers and deregisters there.
    #[error("the balancer is attached to the Auto Scaling group {0}, which looks after it")]
    AttachedToGroup(AutoScalingGroupName),
    /// Deleted: something is held for it, so it did exist.
    #[error("the balancer does not exist any more")]
    BalancerGone,
    /// Declared, and never seen: a slip of the pen, or a balancer that is still to be made.
    #[error("there is no {sought} `{name}` in this account and Region{hint}")]
    NoSuchBalancer {
        /// What is declared.
        sought: BalancerKind,
        /// Its name.
        name: String,
        /// What the operator may have meant; empty if nothing is near ([`crate::names::hint`]).
        hint: String,
    },
    /// Not reachable.
    #[error("the balancer is in {}, the instance in {}", .balancer.as_ref().map_or("no VPC", VpcId::as_str), .instance.as_ref().map_or("no VPC", VpcId::as_str))]
    OtherVpc {
        /// The balancer's network.
        balancer: Option<VpcId>,
        /// The instance's network.
        instance: Option<VpcId>,
    },
    /// Moved to somebody else, perhaps.
    #[error("the address {0} does not belong to the instance")]
    AddressNotOwned(Address),
    /// The instance's, and not what the group takes.
    #[error("the target group takes {family} addresses, and {address} is none: write `=eth0` for the instance's own")]
    OtherFamily {
        /// The address.
        address: Address,
        /// What the group takes.
        family: Family,
    },
    /// An operator may add one.
    #[error("the instance has no {family} address at {address}")]
    NoAddress {
        /// The address looked for.
        address: Address,
        /// What the group takes.
        family: Family,
    },
    /// Two networks may use the same addresses.
    #[error(
        "{0} is the address of another interface, too, and a target outside its group's VPC does not say whose it is"
    )]
    AddressNotUnique(String),
    /// Such as `lambda`.
    #[error("the target group takes {0}, which is not what the registration is")]
    WrongTargetType(TargetType),
    /// An operator's word that does not fit.
    #[error("the declaration does not fit: {0}")]
    DoesNotFit(DoesNotFit),
}

impl Reason {
    /// Whether somebody else looks after the balancer, so that nothing is wrong.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Ignored | Self::Kubernetes | Self::AttachedToGroup(_))
    }
}

impl From<Owner> for Reason {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Ignored => Self::Ignored,
            Owner::Kubernetes => Self::Kubernetes,
        }
    }
}

/// Why a declaration could not be completed.
#[derive(Debug)]
pub enum Unresolved {
    /// Until a person changes something.
    Reason(Reason),
    /// Until the call succeeds.
    Unreadable(CallError),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

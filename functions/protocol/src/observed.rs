//! What was observed of balancers: registrations that were found, how wanted ones stand, what is still draining, and
//! why something is not done.
//!
//! These are plain data, whatever the kind of the balancer is. What follows from them is decided in [`crate::decide`].

use std::{fmt, net::IpAddr, time::Duration};

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::{
    address::{Address, Family},
    balancer::{BalancerId, TargetGroupId},
    balancer_kind::BalancerKind,
    call_error::CallError,
    controller::Controller,
    declaration::DoesNotFit,
    id::{AutoScalingGroupName, InstanceId, InterfaceId, VpcId},
    instance::Instance,
    plain::Plain,
    registration::Registration,
    tag::Owner,
    target_group::TargetType,
    time::Timestamp,
};

/// A registration that an instance should have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The instance.
    pub instance: &'w Instance,
    /// The registration.
    pub registration: &'w Registration,
    /// Whether it is certainly absent and not draining, so that no call need look
    /// ([`crate::decide::is_surely_absent`]).
    pub is_surely_absent: bool,
}

/// An instance that was deregistered from a balancer, which may still drain it.
#[derive(Clone, Copy, Debug)]
pub struct Deregistration<'p> {
    /// The instance.
    pub instance: &'p Instance,
    /// The balancer.
    pub balancer: &'p BalancerId,
}

/// What a balancer still does for an instance that was deregistered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Whether any target of the instance is still draining.
    pub is_under_way: bool,
    /// How long a draining lasts at most, counted from the deregistration, if it matters and could be read.
    pub delay: Option<Duration>,
    /// Whether a draining always lasts so long. Otherwise it may end with the last connection.
    pub is_exact: bool,
    /// Whether a Network Load Balancer forwards to the group. It goes on opening new connections for a while.
    pub is_network: bool,
}

/// A target as the calls name it: a registration with its address looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The instance id or IP address, as the balancer has it or should have it.
    pub id: String,
    /// The port; `None` only at a Classic load balancer. A port override that is deregistered without its port stays,
    /// and AWS answers 200.
    pub port: Option<u16>,
    /// `all`, or a zone, for an address outside the group's VPC. AWS finds the zone of an address inside by itself, and
    /// refuses another one.
    pub zone: Option<String>,
    /// The server id for QUIC.
    pub quic_id: Option<String>,
    /// The group's VPC, if the target is an address. Whose it is depends on it ([`crate::decide::doubt`]).
    pub vpc: Option<VpcId>,
}

impl Target {
    /// Returns the target's address; `None` if the balancer knows the target by the instance's id.
    pub fn address(&self) -> Option<IpAddr> {
        self.id.parse().ok()
    }

    /// Returns whether the target is an address outside its group's VPC.
    pub fn is_far(&self) -> bool {
        self.zone.is_some()
    }
}

/// A target that is an address in the VPC of its group, and that is not draining.
#[derive(Clone, Debug)]
pub struct AddressTarget {
    /// The group.
    pub group: TargetGroupId,
    /// The group's VPC.
    pub vpc: VpcId,
    /// The address.
    pub address: IpAddr,
    /// The target as the balancer lists it.
    pub target: Target,
    /// The target as a tag would have it.
    pub registration: Registration,
    /// What the balancer says of the target.
    pub health: Health,
}

/// A registration that a scan found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The instance that is registered.
    pub instance: InstanceId,
    /// The registration.
    pub registration: Registration,
    /// The target as the balancer lists it.
    pub target: Target,
    /// An operator's `ignore` or a controller that looks after the balancer, if there is one.
    pub owner: Option<Owner>,
    /// Why the target is not the instance's, or may not be ([`crate::decide::doubt`]). A scan does not ask.
    pub doubt: Option<Reason>,
}

/// How a wanted registration stands.
#[derive(Debug)]
pub enum Standing {
    /// It is in place.
    InPlace(Health),
    /// It is absent and can be registered.
    Absent(Target),
    /// The same address is still draining. It can be registered when that is over (SEED elbv2-register-targets).
    Draining {
        /// The group's deregistration delay, counted from the deregistration; `None` if it could not be read.
        delay: Option<Duration>,
    },
    /// It is absent, and its balancer was created only at this time, after the instance's tag was written. So another
    /// balancer had the name then.
    Replaced {
        /// When the balancer was created.
        created_at: Timestamp,
        /// How a registration stands that means whatever has the name.
        by_name: Box<Standing>,
    },
    /// It can never be registered, whatever a person or a controller does. A tag need not hold it any more, and the
    /// report warns of it.
    Never(Lasting),
    /// It is not ours to register, as long as the reason is true. What is held stays held: a person can take a tag away
    /// in the next minute, and a controller or a group can let its balancer go.
    Foreign(Reason),
    /// It cannot be registered for now, and a person has to do something about it.
    Stuck(Reason),
    /// It names an address that the instance does not have. Who has it, if any interface does, is asked for later.
    Away(Target),
    /// Its standing could not be read.
    Unreadable(CallError),
}

/// What a balancer says of the health of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state, such as `healthy`, `initial` or `InService`.
    pub state: String,
    /// The reason, such as `Target.Timeout`, with the balancer's description.
    pub reason: Option<String>,
    /// Whether it can never become healthy: no load balancer uses the group, or health checks are switched off.
    pub is_in_vain: bool,
}

impl Health {
    /// Returns whether the balancer still makes its first checks. They end by themselves, well or badly: "the load
    /// balancer is in the process of registering the target or performing the initial health checks on the target"
    /// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>).
    pub fn is_first_check(&self) -> bool {
        self.state == "initial"
    }

    /// Returns whether the registration gets traffic.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state.as_str(), "healthy" | "InService")
    }
}

/// Why a registration is left alone, given up or stuck.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The operator's tag says `ignore`.
    #[error("the balancer (or the load balancer in front of it) bears the tag elb-registrar:ignore")]
    Ignored,
    /// The balancer belongs to a controller.
    #[error("{0} looks after the balancer")]
    Controller(Controller),
    /// A controller registers what runs on the instance.
    #[error(
        "{0} looks after what runs on the instance: tag the instance elb-registrar:manage to overrule that, or declare \
         what is yours in elb-registrar:register"
    )]
    ControllersHost(Controller),
    /// Auto Scaling registers and deregisters there.
    #[error("the balancer is attached to the Auto Scaling group {0}, which looks after it")]
    AttachedToGroup(AutoScalingGroupName),
    /// The balancer was deleted. A tag holds something for it, so it did exist.
    #[error("the balancer does not exist any more")]
    BalancerGone,
    /// Another balancer has the name by now. Its owner may be a stranger.
    #[error(
        "a load balancer of this name was created at {}, after the tag was written, so it is another one: declare it in \
         elb-registrar:register if it is meant",
        .0.to_rfc3339_opts(SecondsFormat::Secs, true)
    )]
    BalancerReplaced(Timestamp),
    /// The balancer is declared and was never seen: its name is misspelt, or it is still to be created.
    #[error("there is no {sought} `{name}` in this account and Region{hint}")]
    NoSuchBalancer {
        /// The kind of the declared balancer.
        sought: BalancerKind,
        /// The declared name.
        name: String,
        /// What the operator may have meant; empty if no name is near ([`crate::names::hint`]).
        hint: String,
    },
    /// The balancer cannot reach the instance.
    #[error("the balancer is in {}, the instance in {}", .balancer.as_ref().map_or("no VPC", VpcId::as_str), .instance.as_ref().map_or("no VPC", VpcId::as_str))]
    OtherVpc {
        /// The balancer's VPC.
        balancer: Option<VpcId>,
        /// The instance's VPC.
        instance: Option<VpcId>,
    },
    /// The address may have moved to another instance.
    #[error("the address {0} does not belong to the instance")]
    AddressNotOwned(Address),
    /// No interface has the address for now. It may be on its way to another host, or back.
    #[error(
        "no interface has its address {0} at present: it stays held, and is registered when the instance has the address again"
    )]
    AddressAway(IpAddr),
    /// The instance does not have the interface that is named. Another one may be in its position.
    #[error(
        "the interface of {0} is not attached to the instance any more: attach it again, or delete the registration from the tag and \
         declare another one"
    )]
    InterfaceGone(Address),
    /// Another interface has the address by now.
    #[error("its address {address} belongs to another interface by now, {interface}")]
    AddressMoved {
        /// The address.
        address: IpAddr,
        /// The interface that has it.
        interface: InterfaceId,
    },
    /// The address is one of the group's own network, where the instance has no interface with it.
    #[error("{0} is an address of the target group's own VPC, and the instance has it in another one")]
    AddressOfGroupsVpc(IpAddr),
    /// The address is the instance's, but not of the family that the group takes.
    #[error("the target group takes {family} addresses, and {address} is none: write `=eth0` for the instance's own")]
    OtherFamily {
        /// The address.
        address: Address,
        /// The family that the group takes.
        family: Family,
    },
    /// The instance lacks an address that an operator may add.
    #[error("the instance has no {family} address at {address}, or several of which none is the primary one")]
    NoAddress {
        /// The address that was looked up.
        address: Address,
        /// The family that the group takes.
        family: Family,
    },
    /// The target is registered with another server id for QUIC than the one that is wanted. "You must deregister the
    /// target and then provide a new server ID when you register the target again"
    /// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html>), and no
    /// function deregisters an instance that runs.
    #[error(
        "the target is registered with the QUIC server id {found}, and not with {wanted}: deregister it and register it \
         anew, or delete what is wrong in the instance's tags"
    )]
    OtherQuicId {
        /// The id that is registered.
        found: String,
        /// The id that is held or declared.
        wanted: String,
    },
    /// Two networks may use the same addresses.
    #[error(
        "{0} is the address of another interface, too, and a target outside its group's VPC does not say whose it is"
    )]
    AddressNotUnique(IpAddr),
    /// Nothing proves that the address has no other holder.
    #[error(
        "EC2 may not show all network interfaces here (it does not know IncludeManagedResources), so nothing tells whether \
         {0} is the instance's alone"
    )]
    MayBeHidden(IpAddr),
    /// The group takes another type of target, such as `lambda`.
    #[error("the target group takes {0}, which is not what the registration is")]
    WrongTargetType(TargetType),
    /// What the operator declared does not fit the target group.
    #[error("the declaration does not fit: {0}")]
    DoesNotFit(DoesNotFit),
}

/// Why a registration is given up: no tag that a person writes or deletes, and no group and no controller, makes the
/// reason untrue again. Only such a reason lets a function forget what it holds. So a new reason says here that it lasts,
/// or what it concerns stays held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting(Reason);

impl Lasting {
    /// The balancer was deleted. A target group's id is never given again.
    pub const BALANCER_GONE: Self = Self(Reason::BalancerGone);

    /// Another balancer, created at this time, has the name of one that was deleted.
    pub fn balancer_replaced(created_at: Timestamp) -> Self {
        Self(Reason::BalancerReplaced(created_at))
    }

    /// The balancer is in another VPC than the instance. Neither can move.
    pub fn other_vpc(balancer: Option<VpcId>, instance: Option<VpcId>) -> Self {
        Self(Reason::OtherVpc { balancer, instance })
    }

    /// A target group keeps its type of target.
    pub fn wrong_target_type(takes: TargetType) -> Self {
        Self(Reason::WrongTargetType(takes))
    }

    /// A target group keeps its family of addresses, and an address its own.
    pub fn other_family(address: Address, family: Family) -> Self {
        Self(Reason::OtherFamily { address, family })
    }

    /// Another interface has the address, in the group's own VPC: every function takes it for the other host's, and the
    /// other host's registration takes its place.
    pub fn address_moved(address: IpAddr, interface: InterfaceId) -> Self {
        Self(Reason::AddressMoved { address, interface })
    }

    /// Returns the reason.
    pub fn into_reason(self) -> Reason {
        self.0
    }
}

impl Reason {
    /// Returns whether an operator, a controller or a group looks after the balancer, so that nothing is wrong.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Ignored | Self::Controller(_) | Self::ControllersHost(_) | Self::AttachedToGroup(_))
    }
}

impl From<Owner> for Reason {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Ignored => Self::Ignored,
            Owner::Controller(controller) => Self::Controller(controller),
        }
    }
}

/// Why a declaration could not be completed.
#[derive(Debug)]
pub enum Unresolved {
    /// A person has to change something first.
    Reason(Reason),
    /// A call has to succeed first.
    Unreadable(CallError),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Plain::of(&self.state).fmt(f)?;
        match &self.reason {
            Some(reason) => write!(f, " ({})", Plain::of(reason)),
            None => Ok(()),
        }
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

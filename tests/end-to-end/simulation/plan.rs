//! A plan: everything that a seed decides, as plain data that can be read, changed and run again.
//!
//! Nothing is drawn while a plan runs, except by the sandbox and the SDK, which draw from the seed. So a part can be left out,
//! and the rest stays the same: that is how a failing plan is shortened.

use std::fmt;

use sandbox::{SameAddressWhileDraining, throttle::Era};

/// A fleet, its changes, and the faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed that it was drawn from, and that every delay and order in the sandbox follows.
    pub seed: u64,
    /// How AWS behaves throughout.
    pub weather: Weather,
    /// The balancers that send traffic.
    pub balancers: Vec<Balancer>,
    /// The instances that get it.
    pub instances: Vec<Instance>,
    /// The Auto Scaling group.
    pub group: Group,
    /// The deeds of people and groups, in the order of time.
    pub steps: Vec<Step>,
    /// The fault of the n-th event, from 0. The others are delivered once.
    pub deliveries: Vec<(usize, EventFault)>,
    /// The same for the n-th order for a sweep.
    pub orders: Vec<(usize, EventFault)>,
    /// The faults of the functions' calls.
    pub strikes: Vec<Strike>,
}

/// How AWS behaves throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Whether instances start and stop within a second or two: then functions overtake each other.
    pub is_quick: bool,
    /// See the sandbox.
    pub same_address_while_draining: SameAddressWhileDraining,
    /// Elements on a page, if fewer than AWS's own.
    pub page_size: Option<usize>,
    /// The published limits on calls, with this percentage used up by others.
    pub throttle: Option<(Era, u8)>,
}

/// A balancer to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: BalancerKind,
    /// How long it drains, in seconds.
    pub drains: u64,
    /// The owner that looks after it, if it is not ours.
    pub guardian: Option<Guardian>,
    /// Whether hosts that are not instances of the fleet are registered there, too.
    pub has_strangers: bool,
}

/// The kind of a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerKind {
    /// A Classic load balancer.
    Classic,
    /// A target group for instances.
    Instances,
    /// The same with QUIC server ids.
    Quic,
    /// A target group for IPv4 addresses.
    Addresses,
    /// A target group for IPv6 addresses.
    Ipv6,
    /// A target group in another network, that reaches ours by zone `all`.
    Far,
    /// The same with cross-zone load balancing off, so that a target names its zone.
    FarInZone,
}

/// The owner of a balancer that the functions must leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guardian {
    /// An operator said `ignore`.
    Operator,
    /// A Kubernetes controller.
    Kubernetes,
    /// The Auto Scaling group, which it is attached to.
    AutoScaling,
}

/// An instance to be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Whether it gets other addresses at each start, as in EC2-Classic.
    pub is_renewed: bool,
    /// Whether it has a second address, which registrations name literally.
    pub has_floating: bool,
    /// Whether it has more interfaces, which no registration uses: a second one on its card, and one on another card with the
    /// same device index as the primary one.
    pub has_other_interfaces: bool,
    /// Whether it is a member of the Auto Scaling group.
    pub is_member: bool,
    /// Whether it bears the tag `ignore` from the beginning.
    pub is_ignored: bool,
    /// Its registrations at the beginning, such as `clb:shop`, `tg:web:80`, `tg:edge:443=eth0`, `tg:far:443=eth0@all`.
    pub places: Vec<String>,
    /// Its declarations.
    pub declares: Vec<String>,
}

/// The Auto Scaling group's hooks and declarations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Whether launches and terminations wait at hooks of ours.
    pub has_hooks: bool,
    /// The declarations of the instances that it launches.
    pub declares: Vec<String>,
}

/// One change of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Seconds from the beginning.
    pub at: u64,
    /// The change.
    pub deed: Deed,
}

/// A change. If AWS refuses it, or its object is not there (any more), nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// An operator stops an instance.
    Stop(String),
    /// An instance shuts itself down: EC2 tells no time of it.
    ShutDown(String),
    /// An operator starts an instance.
    Start(String),
    /// An operator terminates an instance.
    Terminate(String),
    /// The Auto Scaling group takes a member out and terminates it.
    ScaleIn(String),
    /// An operator wants so many members in the group.
    Wants(usize),
    /// An operator puts a member of the group in Standby.
    Standby(String),
    /// The group puts a member into its warm pool, stopped.
    Warm(String),
    /// A member is in service again; a warmed one is started.
    InService(String),
    /// A person registers an instance at a place.
    Add(String, String),
    /// A person deregisters an instance from a place.
    Remove(String, String),
    /// An operator declares one more place.
    Declare(String, String),
    /// An operator takes the declaration away.
    Undeclare(String),
    /// An operator wants an instance left alone.
    Ignore(String),
    /// An operator wants the functions to look after it again.
    Heed(String),
    /// An operator wants a balancer left alone.
    IgnoreBalancer(String),
    /// An operator deletes a balancer.
    Delete(String),
    /// A person moves the second address of one instance to another.
    MoveFloating(String, String),
    /// A person delegates a prefix of the subnet to the primary interface of an instance. A place there is `=prefix`.
    Delegate(String),
    /// A person attaches an interface in another network to an instance. A place there is `=eth1`.
    AttachFar(String),
    /// A controller registers what runs on an instance from now on; or it does, and an operator overrules it.
    Control(String, bool),
    /// A team writes so many tags of its own that an instance has room for this many more.
    LeaveRoom(String, usize),
    /// A person launches a copy of an instance, with all its tags but its name.
    Copy(String, String),
    /// An operator changes for how long hooks wait without a heartbeat.
    Heartbeat(u32),
    /// Another team registers an instance at its own target group, on so many ports.
    Crowd(String, u16),
    /// Another team writes names that nothing has into the held tags of an instance of its own.
    MakeUpTags,
    /// Another team sends events of made-up instances, and events of an instance that say and date what is not so.
    MakeUpEvents(String),
    /// The schedule comes.
    Sweep,
}

/// The fault of an event, or of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFault {
    /// It never comes.
    Lost,
    /// It comes twice.
    Twice,
    /// It comes this many seconds later.
    Late(u64),
}

/// The fault of some calls of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The n-th call of the functions, from 1.
    Call(usize, Harm),
    /// The n-th call of an action, from 1. The protocol turns on calls that are few among many, and that a number seldom meets.
    Of(&'static str, usize, Harm),
    /// Every n-th call of a sort, for a while.
    Spell {
        /// Seconds from the beginning.
        from: u64,
        /// Seconds from the beginning.
        until: u64,
        /// Which calls.
        sort: Sort,
        /// One of so many.
        one_in: usize,
        /// The fault of these calls.
        harm: Harm,
    },
    /// A policy forbids to tag the instance `web-` and this number, as long as the faults last.
    Untaggable(u64),
    /// A target group of this name takes no further target, as long as the faults last.
    Full(&'static str),
}

/// A sort of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Calls that describe.
    Reads,
    /// Calls that change something.
    Writes,
    /// Calls of one action.
    Action(&'static str),
    /// All.
    Any,
}

/// The fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It takes this many seconds. Above ten, the caller has given up, and nothing is done.
    Slow(u64),
    /// It is done, and the connection breaks.
    AnswerLost,
    /// It is done, and no answer comes.
    NoAnswer,
    /// The service fails.
    Unavailable,
    /// It comes too fast.
    Throttled,
    /// A permission is missing for now.
    Denied,
    /// It is answered with the truth of this many seconds ago. A writing call is not changed.
    Stale(u64),
    /// The function's process stands still for this many seconds after it, with whatever it has read.
    Frozen(u64),
    /// The function's process ends before it.
    KilledBefore,
    /// The function's process ends after it.
    KilledAfter,
}

impl Deed {
    /// Returns the instances and balancers that it is about.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Stop(a) | Self::ShutDown(a) | Self::Start(a) | Self::Terminate(a) | Self::ScaleIn(a) => vec![a],
            Self::Standby(a) | Self::Warm(a) | Self::InService(a) | Self::Undeclare(a) => vec![a],
            Self::Ignore(a) | Self::Heed(a) | Self::IgnoreBalancer(a) | Self::Delete(a) => vec![a],
            Self::Add(a, place) | Self::Remove(a, place) | Self::Declare(a, place) => vec![a, balancer_in(place)],
            Self::Delegate(a) | Self::AttachFar(a) | Self::Control(a, _) | Self::LeaveRoom(a, _) => vec![a],
            Self::MoveFloating(a, b) | Self::Copy(a, b) => vec![a, b],
            Self::Crowd(a, _) | Self::MakeUpEvents(a) => vec![a],
            Self::Sweep | Self::Wants(_) | Self::Heartbeat(_) | Self::MakeUpTags => Vec::new(),
        }
    }
}

impl Plan {
    /// Returns whether hooks wait so shortly without a heartbeat that one lost invocation lets them run out.
    pub fn has_short_hooks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.deed, Deed::Heartbeat(_)))
    }

    /// Returns whether an instance changes without an event: people register, tag and move addresses as they like.
    pub fn is_changed_silently(&self, instance: &str) -> bool {
        let is_silent = |deed: &Deed| {
            let is_silent = match deed {
                Deed::Add(..)
                | Deed::Crowd(..)
                | Deed::Ignore(_)
                | Deed::Heed(_)
                | Deed::MoveFloating(..)
                | Deed::Control(..) => true,
                // What finds no room waits until older tags are settled.
                Deed::LeaveRoom(..) => true,
                _ => false,
            };
            is_silent && deed.names().contains(&instance)
        };
        self.steps.iter().any(|step| is_silent(&step.deed))
    }
}

/// Returns the name of the balancer in a place.
pub fn balancer_in(place: &str) -> &str {
    place.split(':').nth(1).unwrap_or(place)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}", self.seed, self.weather)?;
        for balancer in &self.balancers {
            let Balancer { name, kind, drains, guardian, has_strangers } = balancer;
            write!(f, "  balancer {name}: {kind:?}, drains {drains} s")?;
            if let Some(guardian) = guardian {
                write!(f, ", guarded by {guardian:?}")?;
            }
            writeln!(f, "{}", if *has_strangers { ", with strangers" } else { "" })?;
        }
        for instance in &self.instances {
            write!(f, "  instance {}:", instance.name)?;
            let traits = [
                (instance.is_renewed, " renewed"),
                (instance.has_floating, " floating"),
                (instance.has_other_interfaces, " with more interfaces"),
                (instance.is_member, " member"),
                (instance.is_ignored, " ignored"),
            ];
            traits.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, word)| f.write_str(word))?;
            write!(f, " at {}", instance.places.join(" "))?;
            if !instance.declares.is_empty() {
                write!(f, "; declares {}", instance.declares.join(" "))?;
            }
            writeln!(f)?;
        }
        if self.group != Group::default() {
            writeln!(f, "  {:?}", self.group)?;
        }
        for Step { at, deed } in &self.steps {
            writeln!(f, "  at {at:>5} s: {deed:?}")?;
        }
        for (event, fault) in &self.deliveries {
            writeln!(f, "  event {event}: {fault:?}")?;
        }
        for (order, fault) in &self.orders {
            writeln!(f, "  order {order}: {fault:?}")?;
        }
        for strike in &self.strikes {
            writeln!(f, "  {strike:?}")?;
        }
        Ok(())
    }
}

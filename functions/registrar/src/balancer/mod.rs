//! What sends traffic, whatever its kind: a third kind is one more file that implements [`Kind`].
//!
//! A kind reads (*where is an instance registered*, *how does a registration stand*) and does (*register*, *deregister*);
//! what follows from what was read is decided in [`crate::decide`].

mod classic;
mod membership;
mod names;
mod target_group;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Serialize, Serializer};
use thiserror::Error;
use tokio::time::Instant as MonotonicTime;

use crate::{
    address::{Address, Family},
    declaration::{Declaration, DoesNotFit},
    error::CallError,
    id::{AutoScalingGroupName, InstanceId, VpcId},
    instance::Instance,
    registration::{BalancerId, Registration, TargetGroupId},
    tag::{self, Owner},
};

pub use classic::ClassicLoadBalancers;
pub use names::{Name, Sought, hint};
pub use target_group::TargetGroups;

/// Calls that read, under way at once. More only fills the account's buckets (40 to 200 calls at once, 10 to 50 a second)
/// and leaves nothing to other controllers; fewer makes a scan of hundreds of groups wait for round trips.
pub const CALLS_IN_FLIGHT_MAX: usize = 8;

/// Resources a DescribeTags call of Elastic Load Balancing takes, by both API references; used for other lists of names, too.
pub const NAMES_PER_CALL_MAX: usize = 20;

/// One kind of balancer. Lives for one reading: what it has described it describes only once.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Whether a balancer is of this kind.
    fn serves(&self, balancer: &BalancerId) -> bool;

    /// Completes a declaration, where it is of this kind.
    async fn resolve(&self, declaration: &Declaration) -> Option<Result<Registration, Unresolved>>;

    /// Reads every balancer there is for what the instances are registered with.
    async fn scan(&self, instances: &[&Instance]) -> Scan;

    /// Reads a part of the balancers there are, for a sweep: from where the last part ended, as far as the time suffices.
    ///
    /// A kind of which one listing is the whole scan is read with the first part.
    async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        match &part.after {
            None => ScannedPart { scan: self.scan(instances).await, ..ScannedPart::default() },
            Some(_) => ScannedPart::default(),
        }
    }

    /// Reads the names that an operator may have meant who declares one of this kind that is not there.
    ///
    /// # Errors
    /// If a listing cannot be read.
    async fn names(&self) -> Result<Vec<Name>, CallError>;

    /// Reads how registrations of this kind stand: one answer each, in their order.
    async fn look(&self, wanted: &[Wanted<'_>]) -> Vec<Standing>;

    /// Reads whether balancers of this kind still drain anything of an instance: one answer each, in their order.
    async fn drains(&self, asked: &[Parting<'_>]) -> Vec<Result<Drain, CallError>>;

    /// Reads anew who else looks after balancers of this kind.
    async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, Owner>, CallError>;

    /// Registers targets with one call, of which AWS does all or nothing. What is registered already stays so.
    async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError>;

    /// Reads whether registrations are there that were made just now: one answer each, in their order.
    async fn sees(&self, given: &[Wanted<'_>]) -> Vec<Result<bool, CallError>>;

    /// Waits until the account's limits let one more registration or deregistration through. Apart from the call, since whoever
    /// has waited has to see whether there is time left, and whether the instance may still be taken.
    async fn turn(&self);

    /// Deregisters targets with one call. What is not registered is no error.
    async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError>;
}

/// Asks for things by name, several with one call, and leaves out those that do not exist.
///
/// One that does not fails a whole call: then each of that call is asked for alone.
///
/// # Errors
/// Where a call fails for another reason.
pub(crate) async fn of_existing<'n, T>(
    names: &'n [String],
    call: impl Fn(&'n [String]) -> BoxFuture<'n, Result<Vec<T>, CallError>>,
) -> Result<Vec<T>, CallError> {
    let mut existing = Vec::new();
    for chunk in names.chunks(NAMES_PER_CALL_MAX) {
        match call(chunk).await {
            Err(error) if error.is_gone() => {
                for name in chunk.chunks(1).filter(|_| chunk.len() > 1) {
                    match call(name).await {
                        Err(error) if error.is_gone() => {}
                        answer => existing.extend(answer?),
                    }
                }
            }
            answer => existing.extend(answer?),
        }
    }
    Ok(existing)
}

/// What the tags of some balancers say.
struct Marks<K> {
    /// Who else looks after them.
    owners: BTreeMap<K, Owner>,
    /// Keys that nearly are one of ours.
    odd_tags: BTreeMap<K, String>,
}

/// Reads what the tags of some balancers say, each with the keys of its tags.
fn marks<'t, K: Ord + Clone>(tagged: impl IntoIterator<Item = (K, Vec<&'t str>)>) -> Marks<K> {
    let mut marks = Marks { owners: BTreeMap::new(), odd_tags: BTreeMap::new() };
    for (balancer, keys) in tagged {
        if let Some(key) = keys.iter().find(|key| tag::odd(key).is_some()) {
            marks.odd_tags.insert(balancer.clone(), (*key).to_owned());
        }
        if let Some(owner) = tag::owner(keys) {
            marks.owners.insert(balancer, owner);
        }
    }
    marks
}

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

/// What a scan saw. What it could not see is in `failures`, and must not be taken for "not registered".
#[derive(Debug, Default)]
pub struct Scan {
    /// Registrations of the instances asked for.
    pub found: Vec<Found>,
    /// Balancers of what was found, with a tag that nearly is one of ours.
    pub odd_tags: Vec<(BalancerId, String)>,
    /// Balancers that are still draining something of an instance. Of Classic load balancers that cannot be seen.
    pub draining: Vec<(InstanceId, BalancerId)>,
    /// Balancers, or whole listings, that could not be read.
    pub failures: Vec<CallError>,
}

/// Which part of the balancers a sweep shall read.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The last target group that is done with, in the order of their names; `None` at the beginning.
    pub after: Option<TargetGroupId>,
    /// When to stop reading; `None` where there is all the time in the world. Something is read in any case, so that parts
    /// come to an end.
    pub until: Option<MonotonicTime>,
}

/// What a sweep read of the balancers.
#[derive(Debug, Default)]
pub struct ScannedPart {
    /// As of every scan.
    pub scan: Scan,
    /// All addresses that target groups list as being in their VPC, whosever they are.
    pub addresses: Vec<AddressTarget>,
    /// The account that they are in.
    pub account: String,
    /// The last target group that was read, where there are more.
    pub stopped_after: Option<TargetGroupId>,
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
}

impl Health {
    /// Whether it gets traffic.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state.as_str(), "healthy" | "InService")
    }

    /// Whether waiting for its health is in vain: no load balancer uses the group, or uses it in the target's zone, or
    /// health checks are switched off.
    pub fn is_in_vain(&self) -> bool {
        let is_code = |code: &str| self.reason.as_deref().is_some_and(|reason| reason.starts_with(code));
        is_code("Target.NotInUse") || is_code("Target.HealthCheckDisabled")
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
        sought: Sought,
        /// Its name.
        name: String,
        /// What the operator may have meant; empty if nothing is near ([`hint`]).
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

/// A target group, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Which one.
    pub id: TargetGroupId,
    /// The port of targets that are registered without one.
    pub port: Option<u16>,
    /// Its network.
    pub vpc: Option<VpcId>,
    /// What it takes.
    pub target_type: TargetType,
    /// The load balancers that forward to it.
    pub load_balancer_arns: Vec<String>,
}

/// What a target group takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Instances by their id.
    Instance,
    /// Addresses of a family.
    Ip(Family),
    /// `lambda`, `alb`, and whatever AWS adds: left alone.
    Other(String),
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instances"),
            Self::Ip(family) => write!(f, "{family} addresses"),
            Self::Other(kind) => write!(f, "targets of type {kind}"),
        }
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_does_not_exist_spoils_only_itself() {
        for (names, existing) in [(vec!["a", "gone", "b"], vec!["a", "b"]), (vec!["gone"], vec![]), (vec![], vec![])] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let call = |names: &[String]| {
                let (code, message) = ("TargetGroupNotFound".to_owned(), String::new());
                let is_gone = names.iter().any(|name| name == "gone");
                let refusal = CallError::Refused { action: "X", code, message };
                std::future::ready(if is_gone { Err(refusal) } else { Ok(names.to_vec()) }).boxed()
            };
            assert_eq!(of_existing(&names, call).await.unwrap(), existing);
        }
    }

    /// A target group in `vpc-1` with port 80.
    pub(crate) fn target_group(name: &str, target_type: TargetType) -> TargetGroup {
        let id = TargetGroupId { name: name.into(), id: "00000000000000aa".into() };
        TargetGroup { id, port: Some(80), vpc: Some("vpc-1".into()), target_type, load_balancer_arns: Vec::new() }
    }
}

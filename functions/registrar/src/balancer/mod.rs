//! Balancers, which send traffic: those of an account, of all kinds.
//!
//! They are read (*where is an instance registered*, *how does a registration stand*) and changed (*register*,
//! *deregister*). What follows from what was read is decided in [`protocol::decide`].
//!
//! A kind is a folder here, with a struct that implements `Kind` and answers what [`Balancers`] asks. It is listed in
//! this file alone: as a field, as a line of `every_kind!`, and as an arm of `kind_of!`. Its balancers have ids of a
//! type of their own, so it cannot be asked for a balancer of another kind.

mod classic;
mod target_group;

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use protocol::{
    balancer::{BalancerId, Declared, TargetGroupId},
    call_error::CallError,
    declaration::Declaration,
    id::InstanceId,
    instance::Instance,
    names::Name,
    observed::{AddressTarget, Deregistration, Drain, Found, Standing, Target, Unresolved, Wanted},
    registration::Registration,
    tag::{self, Owner},
    turn::Turn,
};
use tokio::time::Instant as MonotonicTime;

use crate::aws::{clients::Clients, parts::in_parts};

pub use target_group::TargetGroups;

use classic::ClassicLoadBalancers;

/// Resources in one DescribeTags call of Elastic Load Balancing, by both API references. Other lists of names have the
/// same limit here.
const NAMES_PER_CALL_MAX: usize = 20;

/// The most names of one reading that are asked for one by one, or by [`by_name`]. If there are more, all things of
/// their kind are listed instead. Names that nothing has cost two calls each, and an operator of another team can write
/// hundreds of them into tags and hooks.
///
/// Too small: an account with thousands of groups is listed for one instance. Too large: made-up names use up the calls
/// that AWS allows.
const NAMES_ASKED_MAX: usize = 40;

/// All balancers of one account in one Region. They live for one reading, and describe each thing only once.
pub struct Balancers {
    classic: ClassicLoadBalancers,
    target_groups: TargetGroups,
}

/// A kind of balancers.
trait Kind {
    /// The id of a balancer of this kind.
    type Id: Ord + Clone;

    /// Returns the id of a balancer of this kind; `None` for one of another kind.
    fn id_of(balancer: &BalancerId) -> Option<&Self::Id>;

    /// Returns the balancer of an id.
    fn balancer(id: Self::Id) -> BalancerId;

    /// Picks out what is asked about balancers of this kind, each with the balancer's id.
    fn own<'q, Q>(&self, asked: impl IntoIterator<Item = (&'q BalancerId, Q)>) -> Vec<(&'q Self::Id, Q)> {
        asked.into_iter().filter_map(|(balancer, question)| Some((Self::id_of(balancer)?, question))).collect()
    }

    /// Picks out the ids of the balancers of this kind.
    fn own_ids(&self, balancers: &BTreeSet<BalancerId>) -> BTreeSet<Self::Id> {
        balancers.iter().filter_map(Self::id_of).cloned().collect()
    }
}

/// Asks all kinds the same, at once, and returns their answers.
macro_rules! every_kind {
    ($balancers:expr, $kind:ident => $answer:expr) => {
        join_all([
            every_kind!(@one $kind = &$balancers.classic => $answer),
            every_kind!(@one $kind = &$balancers.target_groups => $answer),
        ])
        .await
    };
    // Boxed, or the futures of callers are too deep for the compiler's default limits.
    (@one $kind:ident = $of:expr => $answer:expr) => {{
        let $kind = $of;
        $answer.boxed()
    }};
}

/// Asks the kind of a balancer, by the balancer's id.
macro_rules! kind_of {
    ($balancers:expr, $balancer:expr, |$kind:ident, $id:ident| $answer:expr) => {
        match $balancer {
            BalancerId::Classic($id) => kind_of!(@one $kind = &$balancers.classic => $answer),
            BalancerId::TargetGroup($id) => kind_of!(@one $kind = &$balancers.target_groups => $answer),
        }
    };
    (@one $kind:ident = $of:expr => $answer:expr) => {{
        let $kind = $of;
        $answer.await
    }};
}

impl Balancers {
    /// Creates the balancers that some clients see.
    pub fn new(clients: &Clients) -> Self {
        Self { classic: ClassicLoadBalancers::new(clients), target_groups: TargetGroups::new(clients) }
    }

    /// Returns the same balancers, whose members are read only once: see [`TargetGroups::remembering`].
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { target_groups: self.target_groups.remembering(), ..self }
    }

    /// Completes a declaration with what its balancer has.
    ///
    /// # Errors
    /// If the two do not fit, or the balancer does not exist or cannot be read.
    pub async fn resolve(&self, declaration: &Declaration) -> Result<Registration, Unresolved> {
        match &declaration.balancer {
            Declared::Classic(name) => Ok(Registration::classic(name.clone())),
            Declared::TargetGroup(group) => self.target_groups.resolve(group, &declaration.target).await,
        }
    }

    /// Reads the names of all balancers, one listing for each kind. An operator who declares a missing balancer may
    /// have meant one of them.
    pub async fn names(&self) -> Vec<Result<Vec<Name>, CallError>> {
        every_kind!(self, kind => kind.names())
    }

    /// Counts the balancers that a scan for some instances asks one by one. Classic load balancers come in pages with their instances.
    pub(crate) async fn count_to_scan(&self, instances: &[&Instance]) -> Result<usize, CallError> {
        self.target_groups.count(instances).await
    }

    /// Reads all balancers for what the instances are registered with.
    pub async fn scan(&self, instances: &[&Instance]) -> Scan {
        every_kind!(self, kind => kind.scan(instances)).into_iter().fold(Scan::default(), Scan::and)
    }

    /// Reads a part of all balancers for a sweep: from where the last part ended, as far as the time suffices.
    pub async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        let parts = every_kind!(self, kind => kind.scan_part(instances, part));
        parts.into_iter().fold(ScannedPart::default(), ScannedPart::and)
    }

    /// Reads the ports on which some target groups register targets that name none. Those that do not exist are left
    /// out, and so are other balancers.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn own_ports(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, u16>, CallError> {
        self.target_groups.own_ports(self.target_groups.own_ids(balancers)).await
    }

    /// Reads how registrations stand.
    pub async fn look<'w>(&self, wanted: impl IntoIterator<Item = Wanted<'w>>) -> Vec<(Wanted<'w>, Standing)> {
        let wanted = by_balancer(wanted);
        every_kind!(self, kind => kind.look(kind.own(wanted.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads whether registrations that were just made are in place.
    pub async fn sees<'w>(
        &self,
        given: impl IntoIterator<Item = Wanted<'w>>,
    ) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        let given = by_balancer(given);
        every_kind!(self, kind => kind.sees(kind.own(given.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads whether balancers still drain an instance.
    pub async fn drains<'p>(
        &self,
        asked: impl IntoIterator<Item = Deregistration<'p>>,
    ) -> Vec<(Deregistration<'p>, Result<Drain, CallError>)> {
        let asked: Vec<_> = asked.into_iter().map(|asked| (asked.balancer, asked)).collect();
        every_kind!(self, kind => kind.drains(kind.own(asked.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads again which balancers have another owner.
    pub(crate) async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Owners<BalancerId> {
        let answers = every_kind!(self, kind => kind.owners(kind.own_ids(balancers)).map(|own| owners_at(kind, own)));
        answers.into_iter().flatten().collect()
    }

    /// Waits until the account's limits allow one more registration or deregistration. It is apart from the call: after
    /// the wait, the caller has to see whether there is time left and whether its reading still entitles.
    pub async fn turn(&self, balancer: &BalancerId) {
        kind_of!(self, balancer, |kind, _id| kind.turn());
    }

    /// Registers targets with one call. AWS does all of it or nothing. What is registered already stays so.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the targets may be registered.
    pub async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        kind_of!(self, balancer, |kind, id| kind.register(id, targets))
    }

    /// Deregisters targets with one call. A target that is not registered is no error.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the targets may be deregistered.
    pub async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        kind_of!(self, balancer, |kind, id| kind.deregister(id, targets))
    }
}

fn by_balancer<'w>(wanted: impl IntoIterator<Item = Wanted<'w>>) -> Vec<(&'w BalancerId, Wanted<'w>)> {
    wanted.into_iter().map(|wanted| (&wanted.registration.balancer, wanted)).collect()
}

fn owners_at<K: Kind>(_kind: &K, owners: Owners<K::Id>) -> Vec<(BalancerId, Result<Owner, CallError>)> {
    owners.into_iter().map(|(id, owner)| (K::balancer(id), owner)).collect()
}

/// What was read of some things by their names.
#[derive(Debug)]
struct ByName<T> {
    /// Those that exist.
    existing: Vec<T>,
    /// The names of which it is not known whether they exist, each with why.
    unread: BTreeMap<String, CallError>,
}

/// Asks for things by name, several with one call, and leaves out those that do not exist.
///
/// One missing thing fails a whole call, and so does one that AWS refuses. Then it is asked for parts of them.
async fn by_name<'n, T>(
    names: &'n [String],
    call: impl Fn(Vec<String>) -> BoxFuture<'n, Result<Vec<T>, CallError>>,
) -> ByName<T> {
    let mut read = ByName { existing: Vec::new(), unread: BTreeMap::new() };
    let is_of_one = |error: &CallError| error.is_gone() || error.is_of_one();
    for (names, result) in in_parts(names.to_vec(), NAMES_PER_CALL_MAX, is_of_one, call).await {
        match result {
            Ok(found) => read.existing.extend(found),
            Err(error) if error.is_gone() => {}
            Err(error) => read.unread.extend(names.into_iter().map(|name| (name, error.clone()))),
        }
    }
    read
}

/// Asks for things by name, or lists all of their kind if the names are more than [`NAMES_ASKED_MAX`].
async fn by_name_or_listing<'n, T>(
    names: &'n [String],
    call: impl Fn(Vec<String>) -> BoxFuture<'n, Result<Vec<T>, CallError>>,
    list: impl Future<Output = Result<Vec<T>, CallError>>,
) -> ByName<T> {
    if names.len() <= NAMES_ASKED_MAX {
        return by_name(names, call).await;
    }
    match list.await {
        Ok(existing) => ByName { existing, unread: BTreeMap::new() },
        Err(error) => {
            let unread = names.iter().map(|name| (name.clone(), error.clone())).collect();
            ByName { existing: Vec::new(), unread }
        }
    }
}

/// The balancers that have another owner, and those of which that is not known.
pub(crate) type Owners<K> = BTreeMap<K, Result<Owner, CallError>>;

/// What the tags of some balancers say.
struct Marks<K> {
    owners: Owners<K>,
    /// Keys that are nearly one of ours.
    odd_tags: BTreeMap<K, String>,
}

/// Reads what the tags of some balancers say. `tagged` has the keys of each balancer's tags, or why they are not known.
fn marks<K: Ord + Clone>(tagged: impl IntoIterator<Item = (K, Result<Vec<String>, CallError>)>) -> Marks<K> {
    let mut marks = Marks { owners: BTreeMap::new(), odd_tags: BTreeMap::new() };
    for (balancer, keys) in tagged {
        let keys = match keys {
            Ok(keys) => keys,
            Err(error) => {
                marks.owners.insert(balancer, Err(error));
                continue;
            }
        };
        if let Some(key) = keys.iter().find(|key| tag::odd(key).is_some()) {
            marks.odd_tags.insert(balancer.clone(), key.clone());
        }
        if let Some(owner) = tag::owner(keys.iter().map(String::as_str)) {
            marks.owners.insert(balancer, Ok(owner));
        }
    }
    marks
}

/// What a scan saw. What it could not read is in `failures`, and must not be taken for "not registered".
#[derive(Debug, Default)]
pub struct Scan {
    /// Registrations of the instances that were asked for.
    pub found: Vec<Found>,
    /// Balancers of what was found, with a tag that is nearly one of ours.
    pub odd_tags: Vec<(BalancerId, String)>,
    /// Balancers that are still draining an instance. A Classic load balancer does not show that.
    pub draining: Vec<(InstanceId, BalancerId)>,
    /// Balancers, or whole listings, that could not be read.
    pub failures: Vec<CallError>,
    /// How many balancers were read.
    pub read: usize,
}

impl Scan {
    /// Notes a failure. Those that say the same are one: what a call said of a thousand groups.
    fn fail(&mut self, error: CallError) {
        let sentence = error.to_sentence();
        if self.failures.iter().all(|other| other.to_sentence() != sentence) {
            self.failures.push(error);
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.odd_tags.extend(other.odd_tags);
        self.draining.extend(other.draining);
        self.failures.extend(other.failures);
        self.read += other.read;
        self
    }
}

impl From<Scan> for ScannedPart {
    fn from(scan: Scan) -> Self {
        Self { scan, ..Self::default() }
    }
}

impl ScannedPart {
    /// Adds what was read of another kind. At most one kind is read in parts.
    fn and(mut self, other: Self) -> Self {
        self.addresses.extend(other.addresses);
        let stopped_after = self.stopped_after.or(other.stopped_after);
        let targets = self.targets + other.targets;
        Self { scan: self.scan.and(other.scan), addresses: self.addresses, targets, stopped_after }
    }
}

/// The part of the balancers that a sweep should read.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The order of the target groups.
    pub turn: Turn,
    /// The last target group that is done; `None` at the beginning.
    pub after: Option<TargetGroupId>,
    /// When to stop reading; `None` if there is no limit. At least one chunk is read in any case, so that the parts
    /// come to an end.
    pub until: Option<MonotonicTime>,
}

/// What a sweep read of the balancers.
#[derive(Debug, Default)]
pub struct ScannedPart {
    /// What every scan sees.
    pub scan: Scan,
    /// All addresses that target groups list as being in their VPC, of any host.
    pub addresses: Vec<AddressTarget>,
    /// How many targets were read.
    pub targets: usize,
    /// The last target group that was read, if there are more.
    pub stopped_after: Option<TargetGroupId>,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_spoils_only_itself() {
        for (names, existing, unread) in [
            (vec!["a", "gone", "b"], vec!["a", "b"], vec![]),
            (vec!["gone"], vec![], vec![]),
            (vec!["a", "b", "odd", "c", "gone"], vec!["a", "b", "c"], vec!["odd"]),
            (vec![], vec![], vec![]),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let call = |names: Vec<String>| {
                let has = |name: &str| names.iter().any(|other| other == name);
                let code = match (has("odd"), has("gone")) {
                    (true, _) => Some("ValidationError"),
                    (false, true) => Some("TargetGroupNotFound"),
                    (false, false) => None,
                };
                let refusal = |code: &str| CallError::Refused {
                    action: "elasticloadbalancing:DescribeTags",
                    code: code.to_owned(),
                    message: String::new(),
                };
                std::future::ready(code.map_or(Ok(names), |code| Err(refusal(code)))).boxed()
            };
            let mut read = by_name(&names, call).await;
            read.existing.sort();
            assert_eq!(
                (read.existing, read.unread.into_keys().collect()),
                (
                    existing.into_iter().map(str::to_owned).collect(),
                    unread.into_iter().map(str::to_owned).collect::<Vec<_>>()
                )
            );
        }
    }
}

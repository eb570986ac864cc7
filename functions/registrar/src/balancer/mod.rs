//! What sends traffic: the balancers of an account, of all kinds that there are.
//!
//! They are read (*where is an instance registered*, *how does a registration stand*) and changed (*register*, *deregister*);
//! what follows from what was read is decided in [`protocol::decide`].
//!
//! A kind is a folder here, with a struct that implements [`Kind`] and answers what [`Balancers`] asks. It is listed in this file alone: as a field,
//! as a line of `every_kind!`, and as an arm of `kind_of!`. Its balancers have ids of a type of their own, so it cannot be asked for another's.

mod classic;
mod target_group;

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    FutureExt, TryFutureExt,
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
};
use tokio::time::Instant as MonotonicTime;

use crate::aws::clients::Clients;

pub use target_group::TargetGroups;

use classic::ClassicLoadBalancers;

/// Resources a DescribeTags call of Elastic Load Balancing takes, by both API references; used for other lists of names, too.
const NAMES_PER_CALL_MAX: usize = 20;

/// All balancers of one account in one Region. They live for one reading: what they have described they describe only once.
pub struct Balancers {
    classic: ClassicLoadBalancers,
    target_groups: TargetGroups,
}

/// A kind of balancers.
trait Kind {
    /// What tells one balancer of the kind from another.
    type Id: Ord + Clone;

    /// Returns the id of a balancer of this kind; `None` for one of another kind.
    fn id_of(balancer: &BalancerId) -> Option<&Self::Id>;

    /// Returns the balancer of an id.
    fn balancer(id: Self::Id) -> BalancerId;

    /// Sorts out what is asked about balancers of this kind, each with the balancer's id.
    fn own<'q, Q>(&self, asked: impl IntoIterator<Item = (&'q BalancerId, Q)>) -> Vec<(&'q Self::Id, Q)> {
        asked.into_iter().filter_map(|(balancer, question)| Some((Self::id_of(balancer)?, question))).collect()
    }

    /// Sorts out the ids of the balancers of this kind.
    fn own_ids(&self, balancers: &BTreeSet<BalancerId>) -> BTreeSet<Self::Id> {
        balancers.iter().filter_map(Self::id_of).cloned().collect()
    }
}

/// Asks every kind the same, all at once, and returns their answers.
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

/// Asks the kind that a balancer is of, by the balancer's id.
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
    /// The balancers that some clients see.
    pub fn new(clients: &Clients) -> Self {
        Self { classic: ClassicLoadBalancers::new(clients), target_groups: TargetGroups::new(clients) }
    }

    /// The same, with what is registered read only once: see [`TargetGroups::remembering`].
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { target_groups: self.target_groups.remembering(), ..self }
    }

    /// Completes a declaration with what its balancer has.
    ///
    /// # Errors
    /// Where the two do not fit, or the balancer is not there or cannot be read.
    pub async fn resolve(&self, declaration: &Declaration) -> Result<Registration, Unresolved> {
        match &declaration.balancer {
            Declared::Classic(name) => Ok(Registration::classic(name.clone())),
            Declared::TargetGroup(group) => self.target_groups.resolve(group, &declaration.target).await,
        }
    }

    /// Reads the names that an operator may have meant who declares a balancer that is not there: a listing of each kind.
    pub async fn names(&self) -> Vec<Result<Vec<Name>, CallError>> {
        every_kind!(self, kind => kind.names())
    }

    /// Reads every balancer there is for what the instances are registered with.
    pub async fn scan(&self, instances: &[&Instance]) -> Scan {
        every_kind!(self, kind => kind.scan(instances)).into_iter().fold(Scan::default(), Scan::and)
    }

    /// Reads a part of the balancers there are, for a sweep: from where the last part ended, as far as the time suffices.
    pub async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        let parts = every_kind!(self, kind => kind.scan_part(instances, part));
        parts.into_iter().fold(ScannedPart::default(), ScannedPart::and)
    }

    /// Reads how registrations stand.
    pub async fn look<'w>(&self, wanted: impl IntoIterator<Item = Wanted<'w>>) -> Vec<(Wanted<'w>, Standing)> {
        let wanted = by_balancer(wanted);
        every_kind!(self, kind => kind.look(kind.own(wanted.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads whether registrations are there that were made just now.
    pub async fn sees<'w>(
        &self,
        given: impl IntoIterator<Item = Wanted<'w>>,
    ) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        let given = by_balancer(given);
        every_kind!(self, kind => kind.sees(kind.own(given.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads whether balancers still drain anything of an instance.
    pub async fn drains<'p>(
        &self,
        asked: impl IntoIterator<Item = Deregistration<'p>>,
    ) -> Vec<(Deregistration<'p>, Result<Drain, CallError>)> {
        let asked: Vec<_> = asked.into_iter().map(|asked| (asked.balancer, asked)).collect();
        every_kind!(self, kind => kind.drains(kind.own(asked.iter().copied()))).into_iter().flatten().collect()
    }

    /// Reads anew who else looks after balancers.
    ///
    /// # Errors
    /// Where a call fails: then nothing is known of any of them.
    pub async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, Owner>, CallError> {
        let answers =
            every_kind!(self, kind => kind.owners(kind.own_ids(balancers)).map_ok(|own| owners_at(kind, own)));
        answers.into_iter().try_fold(BTreeMap::new(), |mut owners, answer| {
            owners.extend(answer?);
            Ok(owners)
        })
    }

    /// Waits until the account's limits let one more registration or deregistration through. Apart from the call, since a caller
    /// that has waited has to see whether there is time left, and whether the instance may still be taken.
    pub async fn turn(&self, balancer: &BalancerId) {
        kind_of!(self, balancer, |kind, _id| kind.turn());
    }

    /// Registers targets with one call, of which AWS does all or nothing. What is registered already stays so.
    ///
    /// # Errors
    /// Where the call fails; not answered, they may be registered.
    pub async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        kind_of!(self, balancer, |kind, id| kind.register(id, targets))
    }

    /// Deregisters targets with one call. What is not registered is no error.
    ///
    /// # Errors
    /// Where the call fails; not answered, they may be deregistered.
    pub async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        kind_of!(self, balancer, |kind, id| kind.deregister(id, targets))
    }
}

fn by_balancer<'w>(wanted: impl IntoIterator<Item = Wanted<'w>>) -> Vec<(&'w BalancerId, Wanted<'w>)> {
    wanted.into_iter().map(|wanted| (&wanted.registration.balancer, wanted)).collect()
}

fn owners_at<K: Kind>(_kind: &K, owners: BTreeMap<K::Id, Owner>) -> Vec<(BalancerId, Owner)> {
    owners.into_iter().map(|(id, owner)| (K::balancer(id), owner)).collect()
}

/// Asks for things by name, several with one call, and leaves out those that do not exist.
///
/// One that does not fails a whole call: then each of that call is asked for alone.
///
/// # Errors
/// Where a call fails for another reason.
async fn of_existing<'n, T>(
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

impl Scan {
    fn and(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.odd_tags.extend(other.odd_tags);
        self.draining.extend(other.draining);
        self.failures.extend(other.failures);
        self
    }
}

impl From<Scan> for ScannedPart {
    fn from(scan: Scan) -> Self {
        Self { scan, ..Self::default() }
    }
}

impl ScannedPart {
    /// Adds what another kind was read for. One kind at the most is read in parts.
    fn and(mut self, other: Self) -> Self {
        self.addresses.extend(other.addresses);
        let stopped_after = self.stopped_after.or(other.stopped_after);
        Self { scan: self.scan.and(other.scan), addresses: self.addresses, stopped_after }
    }
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
    /// The last target group that was read, where there are more.
    pub stopped_after: Option<TargetGroupId>,
}

#[cfg(test)]
mod tests {
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
}

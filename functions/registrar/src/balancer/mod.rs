//! What sends traffic: the balancers of an account, of all kinds that there are.
//!
//! They are read (*where is an instance registered*, *how does a registration stand*) and changed (*register*, *deregister*);
//! what follows from what was read is decided in [`protocol::decide`]. A kind is a folder here, a variant of [`BalancerId`], and what
//! [`Balancers`] asks of it: the compiler names every place. None can be asked for a balancer of another kind, which has another id.

mod classic;
mod target_group;

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    FutureExt,
    future::{BoxFuture, join},
};
use protocol::{
    call_error::CallError,
    declaration::{Declaration, Declared},
    id::{InstanceId, LoadBalancerName},
    instance::Instance,
    names::Name,
    observed::{AddressTarget, Drain, Found, Parting, Standing, Target, Unresolved, Wanted},
    registration::{BalancerId, Registration, TargetGroupId},
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

/// Questions about balancers, each with the id of the balancer that it is about, by the balancers' kinds.
struct ByKind<'q, Q> {
    classic: Vec<(&'q LoadBalancerName, Q)>,
    target_groups: Vec<(&'q TargetGroupId, Q)>,
}

impl<'q, Q> ByKind<'q, Q> {
    fn of(questions: impl IntoIterator<Item = (&'q BalancerId, Q)>) -> Self {
        let mut sorted = Self { classic: Vec::new(), target_groups: Vec::new() };
        for (balancer, question) in questions {
            match balancer {
                BalancerId::Classic(name) => sorted.classic.push((name, question)),
                BalancerId::TargetGroup(group) => sorted.target_groups.push((group, question)),
            }
        }
        sorted
    }
}

impl Balancers {
    /// The balancers that some clients see.
    pub fn new(clients: &Clients) -> Self {
        let classic = ClassicLoadBalancers::new(clients.classic.clone(), clients.budget.clone());
        Self { classic, target_groups: TargetGroups::new(clients) }
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
    pub async fn names(&self) -> [Result<Vec<Name>, CallError>; 2] {
        let (classic, target_groups) = join(self.classic.names(), self.target_groups.names()).await;
        [classic, target_groups]
    }

    /// Reads every balancer there is for what the instances are registered with.
    pub async fn scan(&self, instances: &[&Instance]) -> Scan {
        let both = join(self.classic.scan(instances).boxed(), self.target_groups.scan(instances).boxed());
        let (mut scan, of_groups) = both.await;
        scan.add(of_groups);
        scan
    }

    /// Reads a part of the balancers there are, for a sweep: from where the last part ended, as far as the time suffices.
    ///
    /// Classic load balancers, of which one listing is the whole scan, are read with the first part.
    pub async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        let classic = async {
            match &part.after {
                None => self.classic.scan(instances).await,
                Some(_) => Scan::default(),
            }
        };
        let both = join(classic.boxed(), self.target_groups.scan_part(instances, part).boxed());
        let (mut scan, of_groups) = both.await;
        scan.add(of_groups.scan);
        ScannedPart { scan, ..of_groups }
    }

    /// Reads how registrations stand.
    pub async fn look<'w>(&self, wanted: impl IntoIterator<Item = Wanted<'w>>) -> Vec<(Wanted<'w>, Standing)> {
        let ByKind { classic, target_groups } = by_balancer(wanted);
        let both = join(self.classic.look(classic).boxed(), self.target_groups.look(target_groups).boxed());
        let (mut standings, of_groups) = both.await;
        standings.extend(of_groups);
        standings
    }

    /// Reads whether registrations are there that were made just now.
    pub async fn sees<'w>(
        &self,
        given: impl IntoIterator<Item = Wanted<'w>>,
    ) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        let ByKind { classic, target_groups } = by_balancer(given);
        let mut seen = self.classic.sees(classic).boxed().await;
        seen.extend(self.target_groups.sees(target_groups).boxed().await);
        seen
    }

    /// Reads whether balancers still drain anything of an instance.
    pub async fn drains<'p>(
        &self,
        asked: impl IntoIterator<Item = Parting<'p>>,
    ) -> Vec<(Parting<'p>, Result<Drain, CallError>)> {
        let asked = asked.into_iter().map(|asked| (asked.balancer, asked));
        let ByKind { classic, target_groups } = ByKind::of(asked);
        let mut drains = self.classic.drains(classic).boxed().await;
        drains.extend(self.target_groups.drains(target_groups).boxed().await);
        drains
    }

    /// Reads anew who else looks after balancers.
    ///
    /// # Errors
    /// Where a call fails: then nobody knows of any of them.
    pub async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, Owner>, CallError> {
        let ByKind { classic, target_groups } = ByKind::of(balancers.iter().map(|balancer| (balancer, ())));
        let names = classic.into_iter().map(|(name, ())| name.clone()).collect();
        let groups = target_groups.into_iter().map(|(group, ())| group.clone()).collect();
        let both = join(self.classic.owners(&names).boxed(), self.target_groups.owners(&groups).boxed());
        let (classic, target_groups) = both.await;
        let classic = classic?.into_iter().map(|(name, owner)| (BalancerId::Classic(name), owner));
        let target_groups = target_groups?.into_iter().map(|(group, owner)| (BalancerId::TargetGroup(group), owner));
        Ok(classic.chain(target_groups).collect())
    }

    /// Waits until the account's limits let one more registration or deregistration through. Apart from the call, since whoever
    /// has waited has to see whether there is time left, and whether the instance may still be taken.
    pub async fn turn(&self, balancer: &BalancerId) {
        match balancer {
            BalancerId::Classic(_) => self.classic.turn().await,
            BalancerId::TargetGroup(_) => self.target_groups.turn().await,
        }
    }

    /// Registers targets with one call, of which AWS does all or nothing. What is registered already stays so.
    ///
    /// # Errors
    /// Where the call fails; not answered, they may be registered.
    pub async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        match balancer {
            BalancerId::Classic(name) => self.classic.register(name, targets).await,
            BalancerId::TargetGroup(group) => self.target_groups.register(group, targets).await,
        }
    }

    /// Deregisters targets with one call. What is not registered is no error.
    ///
    /// # Errors
    /// Where the call fails; not answered, they may be deregistered.
    pub async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        match balancer {
            BalancerId::Classic(name) => self.classic.deregister(name, targets).await,
            BalancerId::TargetGroup(group) => self.target_groups.deregister(group, targets).await,
        }
    }
}

fn by_balancer<'w>(wanted: impl IntoIterator<Item = Wanted<'w>>) -> ByKind<'w, Wanted<'w>> {
    ByKind::of(wanted.into_iter().map(|wanted| (&wanted.registration.balancer, wanted)))
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
    fn add(&mut self, other: Self) {
        self.found.extend(other.found);
        self.odd_tags.extend(other.odd_tags);
        self.draining.extend(other.draining);
        self.failures.extend(other.failures);
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

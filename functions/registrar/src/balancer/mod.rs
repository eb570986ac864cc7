//! What sends traffic, whatever its kind: a third kind is one more file that implements [`Kind`].
//!
//! A kind reads (*where is an instance registered*, *how does a registration stand*) and does (*register*, *deregister*);
//! what follows from what was read is decided in [`protocol::decide`].

mod classic;
mod membership;
mod target_group;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::BoxFuture;
use protocol::{
    call_error::CallError,
    declaration::Declaration,
    id::InstanceId,
    instance::Instance,
    names::Name,
    observed::{AddressTarget, Drain, Found, Parting, Standing, Target, Unresolved, Wanted},
    registration::{BalancerId, Registration, TargetGroupId},
    tag::{self, Owner},
};
use tokio::time::Instant as MonotonicTime;

pub use classic::ClassicLoadBalancers;
pub use target_group::TargetGroups;

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

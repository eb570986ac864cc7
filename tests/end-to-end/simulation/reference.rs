//! The right state, by the plan alone: every place that an instance has, in place or held, whatever the functions did.
//!
//! It follows from what people and groups did and from what AWS does by itself, never from the functions' calls. If docs/limits.md
//! says that something is not promised, a place becomes *doubtful*: it may be there or not.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::{Timestamp, World};

use super::{
    ledger::{ACTS_LATE, Ledger},
    view::{self, Owned},
};

/// The places where instances should be.
#[derive(Debug, Default)]
pub struct Reference {
    /// In place if the instance runs, held if it does not.
    pub expected: BTreeSet<Owned>,
    /// In place, held, or neither.
    pub doubtful: BTreeSet<Owned>,
    /// The places that a person has added, and when.
    pub added: BTreeMap<Owned, Timestamp>,
    /// The places that a person has removed, and when.
    pub removed: BTreeMap<Owned, Timestamp>,
    /// The declared places: in place if the instance runs.
    pub declared: BTreeSet<Owned>,
    /// Balancers that an operator deleted or wanted left alone on the way: registrations held for them are dropped.
    pub given_up: BTreeSet<String>,
}

impl Reference {
    /// An instance is registered from the beginning.
    pub fn planted(&mut self, owned: Owned) {
        self.doubtful.remove(&owned);
        self.removed.remove(&owned);
        self.expected.insert(owned);
    }

    /// A person has registered an instance.
    pub fn added(&mut self, owned: Owned, now: Timestamp) {
        self.added.insert(owned.clone(), now);
        self.planted(owned);
    }

    /// Takes note that a person has deregistered an instance, which a look right before found in place.
    ///
    /// It stays removed if the instance has been running, and no function has been at work on the place, for so long that no
    /// function can know it otherwise. "A registration that a person removes in the first two minutes after a start is given back
    /// once" (docs/limits.md). A registration that is removed while a function takes it was perhaps held before. A declared
    /// one comes back.
    pub fn removed(&mut self, owned: &Owned, ledger: &Ledger, now: Timestamp) {
        // It was taken late, and then given back late.
        let was_out = ledger.out.get(&owned.instance).is_some_and(|out| now - *out <= ACTS_LATE * 2);
        let is_promised = ledger.was_promised(owned, now, ACTS_LATE * 2);
        if self.expected.remove(owned) && (was_out || is_promised) {
            self.doubtful.insert(owned.clone());
        } else {
            self.removed.insert(owned.clone(), now);
        }
    }

    /// Takes note that an address, and the registrations that name it, belong to another instance from now on. Functions of both
    /// may be at work, so the fate of these registrations is open.
    pub fn moved(&mut self, before: impl IntoIterator<Item = Owned>, after: impl IntoIterator<Item = Owned>) {
        for owned in before.into_iter().chain(after) {
            self.expected.remove(&owned);
            self.doubtful.insert(owned);
        }
    }

    /// Looks at the changes that happen by themselves.
    pub fn look(&mut self, world: &World, ledger: &Ledger) {
        // Dead instances get nothing back, and a balancer that is gone has no members.
        let is_alive = |owned: &Owned| {
            let instance = world.ec2.instance(&owned.instance);
            instance.is_some_and(|instance| !view::is_dying(instance.state))
                && view::is_there(world, view::balancer_of(&owned.place))
        };
        self.expected.retain(is_alive);
        // A place that is not declared any more stays if it is in place; no checker knows whether it was registered in time.
        let declared = view::declared(world);
        let before = std::mem::replace(&mut self.declared, declared);
        self.doubtful.extend(before.into_iter().filter(|o| !self.declared.contains(o) && !self.expected.contains(o)));
        self.declared.retain(is_alive);
        self.doubtful.retain(is_alive);
        // "In EC2-Classic style, an address is gone from the description once the instance is stopped. If `stopping` is not
        // delivered in time, an ip target with that address can be neither taken nor given back" (docs/limits.md).
        for (entry, known) in &ledger.entries {
            if let Some(owner) = &known.owner
                && entry.id.parse::<std::net::IpAddr>().is_ok()
                && !known.is_current
                && self.expected.remove(owner)
            {
                self.doubtful.insert(owner.clone());
            }
        }
        // "One that a person removes seconds before a stop may be given back": a description of the balancer that lags still
        // shows it to the function that takes the instance out (docs/limits.md).
        let stops = |id: &str| world.ec2.instance(id).is_some_and(|instance| view::is_out(instance.state));
        let lately = |at: Timestamp| world.now() - at <= ACTS_LATE;
        let removed = self.removed.iter().filter(|(owned, at)| lately(**at) && stops(&owned.instance));
        self.doubtful.extend(removed.map(|(owned, _)| owned.clone()));
        // "After termination the address returns to the subnet": the next instance with it has the registrations that were left
        // there.
        self.doubtful.extend(ledger.inherited.keys().filter(|owned| !self.expected.contains(owned)).cloned());
        let doubtful: Vec<Owned> =
            self.expected.iter().filter(|o| self.given_up.contains(view::balancer_of(&o.place))).cloned().collect();
        for owned in doubtful {
            self.expected.remove(&owned);
            self.doubtful.insert(owned);
        }
    }
}

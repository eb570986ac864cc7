//! The decision about an instance that is out: what to deregister, and what of that has to be held first.

use std::collections::BTreeSet;

use super::{Attached, controller_of};
use crate::{
    balancer::BalancerId,
    held::{HeldTag, room},
    instance::Instance,
    observed::{Found, Reason, Target},
    registration::Registration,
    time::Timestamp,
    timing::HELD_IS_FRESH_FOR,
};

/// What should be done about an instance that is out.
#[derive(Clone, Debug, Default)]
pub struct TakeOut {
    /// Registrations to deregister.
    pub take: Vec<(Registration, Target)>,
    /// What has to be written into tags before anything is deregistered: of `take`, and of what older tags hold.
    pub hold: BTreeSet<Registration>,
    /// Older tags all of whose registrations are in `hold`. They are deleted when `hold` is written.
    pub superseded: Vec<HeldTag>,
    /// How many more tags the instance can have.
    pub room: usize,
    /// How many registrations its fresh tags hold already.
    pub(super) held: usize,
    /// Those of its balancers that its tag declares.
    pub(super) declared: BTreeSet<BalancerId>,
    /// What this decision has written so far, and the descriptions may not show yet.
    pub(super) written: Vec<Written>,
    /// Registrations that stay, each with why.
    pub left_alone: Vec<(Registration, Reason)>,
}

/// Registrations that were written into tags a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) keys: Vec<String>,
    pub(super) taken_at: Timestamp,
    pub(super) registrations: BTreeSet<Registration>,
}

/// Decides about an instance that is out and was read at `now`, with all that a scan found of it.
pub fn take_out(instance: &Instance, now: Timestamp, found: &[Found], attached: &Attached) -> TakeOut {
    let mut decision = TakeOut::default();
    for found in found {
        let reason = found.owner.map(Reason::from).or_else(|| attached.reason(&found.registration));
        let reason = reason.or_else(|| controller_of(instance, &found.registration));
        match reason.or_else(|| found.doubt.clone()) {
            Some(reason) => decision.left_alone.push((found.registration.clone(), reason)),
            None => decision.take.push((found.registration.clone(), found.target.clone())),
        }
    }
    decision.decide_holding(instance, now);
    decision
}

/// Returns whether a tag written at `taken_at` can be relied on at `now`.
fn is_fresh(taken_at: Timestamp, now: Timestamp) -> bool {
    now - taken_at < HELD_IS_FRESH_FOR
}

impl TakeOut {
    /// Returns a decision to deregister some registrations, of which nothing is held yet.
    pub fn of(take: Vec<(Registration, Target)>) -> Self {
        Self { take, ..Self::default() }
    }

    /// Returns whether a registration has to be deregistered.
    pub fn takes(&self, registration: &Registration) -> bool {
        self.take.iter().any(|(other, _)| other == registration)
    }

    /// Decides what has to be held, by the tags that the instance had at `now`.
    ///
    /// That is the time of the reading that entitles to deregister. A tag that was fresh at an earlier reading need not
    /// be fresh any more.
    pub fn decide_holding(&mut self, instance: &Instance, now: Timestamp) {
        // EC2's description lags behind what it has answered.
        let is_shown = |key: &String| instance.tags.contains_key(key);
        self.written.retain(|written| !written.keys.iter().all(is_shown));
        let unseen = self.written.iter().flat_map(|written| &written.keys).filter(|key| !is_shown(key)).count();
        self.room = room(&instance.tags).saturating_sub(unseen);
        if instance.state.is_dying() {
            // The instance never runs again, so no registration has to be restored.
            (self.hold, self.superseded, self.held) = Default::default();
            return;
        }
        let held = instance.held();
        let is_fresh_tag = |tag: &HeldTag| tag.taken_at(now).is_some_and(|taken_at| is_fresh(taken_at, now));
        let (fresh, older): (Vec<_>, Vec<_>) = held.tags.into_iter().partition(is_fresh_tag);
        let written = self.written.iter().filter(|written| is_fresh(written.taken_at, now));
        let written = written.flat_map(|written| &written.registrations);
        let safe: BTreeSet<&Registration> = fresh.iter().flat_map(|tag| &tag.registrations).chain(written).collect();
        self.held = safe.len();
        let declarations = instance.declarations();
        let balancers = self.take.iter().map(|(registration, _)| &registration.balancer);
        let declared = balancers.filter(|taken| declarations.iter().any(|declared| declared.balancer.means(taken)));
        self.declared = declared.cloned().collect();
        let taken = self.take.iter().map(|(registration, _)| registration);
        self.hold = taken.filter(|registration| !safe.contains(registration)).cloned().collect();
        self.superseded = Vec::new();
        if !self.hold.is_empty() {
            // Otherwise an instance that is stopped again and again before it settles would collect a tag each time.
            // The time of a Classic load balancer's tag tells whether another one has got its name since. So that tag stays.
            let keeps_its_time = |tag: &HeldTag| {
                let is_out =
                    |held: &&Registration| matches!(held.balancer, BalancerId::Classic(_)) && !self.takes(held);
                tag.registrations.iter().any(|held| is_out(&held))
            };
            self.superseded =
                older.into_iter().filter(|tag| tag.malformed.is_empty() && !keeps_its_time(tag)).collect();
            for tag in &mut self.superseded {
                // A target has one id for QUIC at a time: the one that is taken now has replaced the older one.
                let is_replaced = |old: &Registration| self.take.iter().any(|(now, _)| now.has_other_quic_id_than(old));
                tag.registrations.retain(|registration| !is_replaced(registration));
            }
            self.hold.extend(self.superseded.iter().flat_map(|tag| tag.registrations.iter().cloned()));
        }
    }
}

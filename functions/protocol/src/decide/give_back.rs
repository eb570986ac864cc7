//! What an instance that runs is registered with, what of its tags is forgotten, and when to look again.

use std::{collections::BTreeSet, time::Duration};

use super::Attached;
use crate::{
    call_error::CallError,
    held::{Held, HeldTag},
    instance::Instance,
    observed::{Health, Reason, Standing, Target},
    registration::Registration,
    time::Timestamp,
    timing::{
        CHECK_AFTER, DESCRIPTION_RETRY, DRAINING_MAX, DRAINING_RETRY, FIRST_LOOK_WITHIN, SETTLE, YOUNGER_THAN_A_SWEEP,
    },
};

/// What shall be done about an instance that runs.
#[derive(Debug, Default)]
pub struct GiveBack {
    /// Registrations to make.
    pub register: Vec<(Registration, Target)>,
    /// Registrations that are there, and how healthy.
    pub in_place: Vec<(Registration, Health)>,
    /// Registrations that have to wait, and for how long.
    pub draining: Vec<(Registration, Duration)>,
    /// Registrations that are given up, and forgotten.
    pub let_go: Vec<(Registration, Reason)>,
    /// Registrations that are declared, but somebody else's affair.
    pub left_alone: Vec<(Registration, Reason)>,
    /// Registrations that cannot be made until a person does something.
    pub stuck: Vec<(Registration, Reason)>,
    /// Registrations of which nobody knows.
    pub unreadable: Vec<(Registration, CallError)>,
    /// Tags all of whose registrations are settled.
    pub forget: Vec<HeldTag>,
    /// Tags that can be forgotten at once when what they hold is registered, and the instance still runs then.
    pub forget_when_given: Vec<HeldTag>,
    /// When to look again; `None` where all is settled.
    pub look_again: Option<Duration>,
}

/// Decides over an instance that runs, read at `now`, with how everything stands that it should have, and what of that is declared.
pub fn give_back(
    instance: &Instance,
    now: Timestamp,
    standings: Vec<(Registration, Standing)>,
    declared: &BTreeSet<Registration>,
    attached: &Attached,
) -> GiveBack {
    let held = instance.held();
    let is_held = held.registrations();
    let mut decision = GiveBack::default();
    for (registration, standing) in standings {
        match (standing, attached.reason(&registration)) {
            (Standing::InPlace(health), _) => decision.in_place.push((registration, health)),
            (_, Some(reason)) | (Standing::Never(reason), None) => {
                let is_held = is_held.contains(&registration);
                // What is declared cannot be forgotten, whether it is held or not: it stands in the operator's own tag.
                if declared.contains(&registration) || !is_held {
                    match reason.is_foreign() {
                        true => decision.left_alone.push((registration.clone(), reason.clone())),
                        false => {
                            let reason =
                                if is_held { reason.clone() } else { as_of_declared(&registration, reason.clone()) };
                            decision.stuck.push((registration.clone(), reason));
                        }
                    }
                }
                if is_held {
                    decision.let_go.push((registration, reason));
                }
            }
            (Standing::Absent(target), None) => decision.register.push((registration, target)),
            (Standing::Draining { delay }, None) => {
                let left = draining_left(&held, &registration, delay, now);
                decision.draining.push((registration, left));
            }
            (Standing::Stuck(reason), None) => decision.stuck.push((registration, reason)),
            (Standing::Unreadable(error), None) => decision.unreadable.push((registration, error)),
        }
    }
    let settled_in = settled_in(&held, now);
    if settled_in.is_zero() {
        // A member may leave its group while it runs: then "it still runs" says nothing.
        let may_be_forgotten_at_once = attached.group.is_none();
        let forgettable = forgettable(held, &decision);
        decision.forget_when_given = forgettable.when_given.into_iter().filter(|_| may_be_forgotten_at_once).collect();
        decision.forget = forgettable.now;
    }
    decision.look_again = look_again(&decision, settled_in);
    decision
}

/// What is held did exist, so it was deleted. What is only declared may never have been there.
fn as_of_declared(registration: &Registration, reason: Reason) -> Reason {
    match reason {
        Reason::BalancerGone => {
            let (sought, name) = registration.balancer.kind_and_name();
            Reason::NoSuchBalancer { sought, name: name.to_owned(), hint: String::new() }
        }
        reason => reason,
    }
}

/// How long it takes until no function can rely on any of the tags any more.
///
/// The instance's start does not count. Who saw it out before that start and takes late has written a tag of its own, unless it
/// relied on one that was fresh: so what matters is how old the youngest tag is (checked by the model of the protocol).
fn settled_in(held: &Held, now: Timestamp) -> Duration {
    // A sweep counts from its first reading, and reads tags later that are younger. A time much later is a key that a person made up.
    let is_real = |taken_at: &Timestamp| *taken_at <= now + YOUNGER_THAN_A_SWEEP;
    let taken_at = held.tags.iter().filter_map(|tag| tag.taken_at).filter(is_real).max();
    taken_at.map_or(Duration::ZERO, |taken_at| (taken_at + SETTLE - now).to_std().unwrap_or_default())
}

/// Whether an instance that starts gets back what nobody can have given it, and no balancer can be draining any more: it may be
/// registered without a look at who is there, which is a call for each target group.
///
/// An instance id need not wait for draining; an address has to, "for the deregistration delay" (SEED elbv2-register-targets), which
/// is an hour at the most.
pub fn is_surely_absent(instance: &Instance, held: &Held, registration: &Registration, now: Timestamp) -> bool {
    let (Some(start), Some(taken_at)) = (instance.launch_time, held.taken_at(registration)) else { return false };
    let is_first_look = now - start < FIRST_LOOK_WITHIN;
    let has_address = registration.target.address.is_some();
    let wait = if has_address { DRAINING_MAX } else { SETTLE };
    is_first_look && taken_at + wait < start
}

/// Tags to be forgotten, of those that nobody relies on. A tag that a person broke is left as it is.
#[derive(Default)]
struct Forgettable {
    /// Every registration is in place or given up.
    now: Vec<HeldTag>,
    /// The others are about to be registered.
    when_given: Vec<HeldTag>,
}

fn forgettable(held: Held, decision: &GiveBack) -> Forgettable {
    let in_place = decision.in_place.iter().map(|(registration, _)| registration);
    let given_up = decision.let_go.iter().map(|(registration, _)| registration);
    let settled: BTreeSet<&Registration> = in_place.chain(given_up).collect();
    let given = decision.register.iter().map(|(registration, _)| registration);
    let settled_soon: BTreeSet<&Registration> = settled.iter().copied().chain(given).collect();
    let mut forgettable = Forgettable::default();
    for tag in held.tags.into_iter().filter(|tag| tag.malformed.is_empty()) {
        let are_all_in = |these: &BTreeSet<&Registration>| tag.registrations.iter().all(|r| these.contains(r));
        match (are_all_in(&settled), are_all_in(&settled_soon)) {
            (true, _) => forgettable.now.push(tag),
            (false, true) => forgettable.when_given.push(tag),
            (false, false) => {}
        }
    }
    forgettable
}

/// How long an address will still be drained: until its delay after it was taken, where both are known.
fn draining_left(held: &Held, registration: &Registration, delay: Option<Duration>, now: Timestamp) -> Duration {
    let end = held.taken_at(registration).zip(delay).map(|(taken, delay)| taken + delay);
    // The deregistration came a little after the holding, so an end in the past is near.
    end.and_then(|end| (end - now).to_std().ok()).map_or(DRAINING_RETRY, |left| left.max(DESCRIPTION_RETRY))
}

fn look_again(decision: &GiveBack, settled_in: Duration) -> Option<Duration> {
    let drained = decision.draining.iter().map(|(_, left)| *left).min();
    let forgotten: BTreeSet<&Registration> =
        decision.forget_when_given.iter().flat_map(|tag| &tag.registrations).collect();
    let is_checked = decision.register.iter().any(|(registration, _)| !forgotten.contains(registration));
    let checked = is_checked.then(|| settled_in.max(CHECK_AFTER));
    let settled = (!settled_in.is_zero() && !decision.in_place.is_empty()).then_some(settled_in);
    let given_up = (!settled_in.is_zero() && !decision.let_go.is_empty()).then_some(settled_in);
    [drained, checked, settled, given_up].into_iter().flatten().min()
}

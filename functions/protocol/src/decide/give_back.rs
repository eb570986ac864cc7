//! The decision about a running instance: what to register, which tags to delete, and when to look again.

use std::{collections::BTreeSet, time::Duration};

use super::{Attached, controller_of_wanted};
use crate::{
    address::Address,
    call_error::CallError,
    held::{Held, HeldTag},
    instance::Instance,
    observed::{Health, Lasting, Reason, Standing, Target},
    registration::Registration,
    time::Timestamp,
    timing::{CHECK_AFTER, DESCRIPTION_RETRY, DRAINING_LOOKS, DRAINING_MAX, DRAINING_RETRY, FIRST_LOOK_WITHIN, SETTLE},
};

/// What should be done about a running instance.
#[derive(Debug, Default)]
pub struct GiveBack {
    /// Registrations to make.
    pub register: Vec<(Registration, Target)>,
    /// Registrations that are in place, each with its health.
    pub in_place: Vec<(Registration, Health)>,
    /// Registrations that have to wait until the same address is drained no more.
    pub draining: Vec<(Registration, Drained)>,
    /// Registrations that are given up, with a warning, and that the tags need not hold any more.
    pub let_go: Vec<(Registration, Reason)>,
    /// Registrations that are declared or held, and that an operator, a controller or a group looks after. What is held
    /// of them stays held.
    pub left_alone: Vec<(Registration, Reason)>,
    /// Registrations that cannot be made until a person does something.
    pub stuck: Vec<(Registration, Reason)>,
    /// Registrations at addresses that no interface has for now. They stay held, and nothing waits for them.
    pub away: Vec<(Registration, Reason)>,
    /// Registrations whose standing could not be read.
    pub unreadable: Vec<(Registration, CallError)>,
    /// Tags whose registrations are all settled: they can be deleted now.
    pub forget: Vec<HeldTag>,
    /// Tags that can be deleted as soon as what they hold is registered, if the instance still runs then.
    pub forget_when_given: Vec<HeldTag>,
    /// Tags of which a part is settled, and the rest stays held for longer. The rest has to be held apart before they can
    /// be deleted. Otherwise they would give back for ever what a person deregisters.
    pub split: Vec<HeldTag>,
    /// What no other tag holds of the rest: it has to be written into tags of its own.
    pub hold_apart: BTreeSet<Registration>,
    /// When to look again; `None` if all is settled.
    pub look_again: Option<Duration>,
    /// Whether the registrations follow their addresses, from another instance that holds them.
    pub is_followed: bool,
}

impl GiveBack {
    /// Returns whether a registration stays held, though a tag that has it is deleted.
    pub fn keeps(&self, registration: &Registration) -> bool {
        let waiting = self.left_alone.iter().chain(&self.away).chain(&self.stuck);
        let is_let_go = self.let_go.iter().any(|(let_go, _)| let_go == registration);
        !is_let_go && waiting.map(|(waiting, _)| waiting).any(|waiting| waiting == registration)
    }
}

/// How long an address is still drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The time that is left, if it is known.
    pub left: Option<Duration>,
    /// When to look again.
    pub look_again: Duration,
}

/// Decides about a running instance that was read at `now`.
///
/// `standings` says how everything stands that the instance should have, and `declared` what of that its operator
/// declares.
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
        let of_group = match is_held.contains(&registration) {
            true => attached.reason(&registration),
            false => attached.reason_if_declared(&registration),
        };
        let standing = match standing {
            // A declaration means whatever has the name.
            Standing::Replaced { by_name, .. } if declared.contains(&registration) => *by_name,
            Standing::Replaced { created_at, .. } => Standing::Never(Lasting::balancer_replaced(created_at)),
            standing => standing,
        };
        let of_controller = controller_of_wanted(instance, &registration, declared);
        match (standing, of_group) {
            (Standing::InPlace(health), _) => decision.in_place.push((registration, health)),
            // What is held stays held: a person may say that it is not the controller's, take `ignore` away, or detach
            // the balancer from the group.
            (Standing::Absent(_) | Standing::Away(_) | Standing::Draining { .. } | Standing::Stuck(_), None)
                if of_controller.is_some() =>
            {
                decision.left_alone.extend(of_controller.map(|reason| (registration, reason)));
            }
            (Standing::Never(lasting), _) => {
                let (is_held, reason) = (is_held.contains(&registration), lasting.into_reason());
                // A declaration stands in the operator's own tag, so no function can delete it, whether it is held as
                // well or not.
                if declared.contains(&registration) || !is_held {
                    let reason = if is_held { reason.clone() } else { as_of_declared(&registration, reason.clone()) };
                    decision.stuck.push((registration.clone(), reason));
                }
                if is_held {
                    decision.let_go.push((registration, reason));
                }
            }
            (_, Some(reason)) | (Standing::Foreign(reason), None) => decision.left_alone.push((registration, reason)),
            (Standing::Absent(target), None) => decision.register.push((registration, target)),
            (Standing::Draining { delay }, None) => {
                let left = drained(&held, &registration, delay, now);
                decision.draining.push((registration, left));
            }
            (Standing::Stuck(reason), None) => decision.stuck.push((registration, reason)),
            (Standing::Away(target), None) => match (target.address(), registration.target.address.clone()) {
                // What is declared as well is waited for, like everything that a person can put right.
                (Some(address), _) if is_held.contains(&registration) && !declared.contains(&registration) => {
                    decision.away.push((registration, Reason::AddressAway(address)));
                }
                (_, Some(address)) => decision.stuck.push((registration, Reason::AddressNotOwned(address))),
                (_, None) => {}
            },
            (Standing::Unreadable(error), None) => decision.unreadable.push((registration, error)),
            // Told apart above.
            (Standing::Replaced { .. }, None) => {}
        }
    }
    drop_what_is_meant_by_another(instance, &mut decision, &is_held);
    let settled_in = settled_in(&held, now);
    if settled_in.is_zero() {
        // A member may leave its group while it runs. Then "it still runs" proves nothing.
        let may_be_forgotten_at_once = attached.group.is_none();
        let forgettable = forgettable(held, &decision);
        decision.forget_when_given = forgettable.when_given.into_iter().filter(|_| may_be_forgotten_at_once).collect();
        decision.forget = forgettable.now;
        (decision.split, decision.hold_apart) = (forgettable.split, forgettable.apart);
    }
    decision.look_again = look_again(&decision, settled_in);
    decision
}

/// Drops declarations of a position that does not tell which of several IPv6 addresses is meant, if a registration of one
/// of them is there already, or about to be made. It was in place before.
fn drop_what_is_meant_by_another(instance: &Instance, decision: &mut GiveBack, is_held: &BTreeSet<Registration>) {
    let in_place = decision.in_place.iter().map(|(registration, _)| registration);
    let soon = decision.register.iter().map(|(registration, _)| registration);
    let later = decision.draining.iter().map(|(registration, _)| registration);
    let all: Vec<Registration> = in_place.chain(soon).chain(later).cloned().collect();
    decision.stuck.retain(|(registration, reason)| {
        let Reason::NoAddress { address, .. } = reason else { return true };
        let is_meant = |other: &Registration| {
            let is_at_port = other.balancer == registration.balancer && other.target.port == registration.target.port;
            match other.target.address {
                Some(Address::Literal(literal)) => is_at_port && instance.can_mean(address, literal),
                _ => false,
            }
        };
        is_held.contains(registration) || !all.iter().any(is_meant)
    });
}

/// Returns the reason as it is for a registration that is only declared.
///
/// What is held did exist, so its balancer was deleted. What is only declared may never have existed.
fn as_of_declared(registration: &Registration, reason: Reason) -> Reason {
    match reason {
        Reason::BalancerGone => {
            let (sought, name) = registration.balancer.kind_and_name();
            Reason::NoSuchBalancer { sought, name: name.to_owned(), hint: String::new() }
        }
        reason => reason,
    }
}

/// Returns how long it takes until no invocation can rely on any of the tags any more.
///
/// The instance's start does not count. An invocation may have seen the instance out before that start, and deregister
/// it late. Then it has either written a tag of its own, or relied on a fresh one. So the age of the youngest tag
/// decides (the model of the protocol checks this).
fn settled_in(held: &Held, now: Timestamp) -> Duration {
    let taken_at = held.tags.iter().filter_map(|tag| tag.taken_at(now)).max();
    taken_at.map_or(Duration::ZERO, |taken_at| (taken_at + SETTLE - now).to_std().unwrap_or_default())
}

/// Returns whether a registration is certainly absent, and no balancer can be draining its target any more. Then it can
/// be made without asking its balancer first, which is a call for each target group.
///
/// This is so at the first look after a start: no invocation can have registered it yet. An instance id need not wait
/// for draining. An address has to, "for the deregistration delay" (SEED elbv2-register-targets), which is an hour at
/// most.
pub fn is_surely_absent(instance: &Instance, held: &Held, registration: &Registration, now: Timestamp) -> bool {
    let (Some(start), Some(taken_at)) = (instance.launch_time, held.taken_at(registration, now)) else { return false };
    let is_first_look = now - start < FIRST_LOOK_WITHIN;
    let has_address = registration.target.address.is_some();
    let wait = if has_address { DRAINING_MAX } else { SETTLE };
    is_first_look && taken_at + wait < start
}

/// Tags that can be deleted, among those on which no invocation relies. A tag that a person broke stays as it is.
#[derive(Default)]
struct Forgettable {
    /// Tags whose registrations are all in place or given up.
    now: Vec<HeldTag>,
    /// Tags of which some registrations are about to be made.
    when_given: Vec<HeldTag>,
    /// Tags of which some registrations are settled, and the others wait for a person or another owner.
    split: Vec<HeldTag>,
    /// What only those tags hold of the others.
    apart: BTreeSet<Registration>,
}

fn forgettable(held: Held, decision: &GiveBack) -> Forgettable {
    let in_place = decision.in_place.iter().map(|(registration, _)| registration);
    let given_up = decision.let_go.iter().map(|(registration, _)| registration);
    let settled: BTreeSet<&Registration> = in_place.chain(given_up).collect();
    let given = decision.register.iter().map(|(registration, _)| registration);
    let settled_soon: BTreeSet<&Registration> = settled.iter().copied().chain(given).collect();
    let waiting = decision.left_alone.iter().chain(&decision.away).chain(&decision.stuck);
    let waiting: BTreeSet<&Registration> = waiting.map(|(registration, _)| registration).collect();
    let mut forgettable = Forgettable::default();
    let mut kept: BTreeSet<Registration> = BTreeSet::new();
    for tag in held.tags {
        let are_all_in = |these: &BTreeSet<&Registration>| tag.registrations.iter().all(|r| these.contains(r));
        let is_any_in = |these: &BTreeSet<&Registration>| tag.registrations.iter().any(|r| these.contains(r));
        let is_split = tag.registrations.iter().all(|r| settled.contains(r) || waiting.contains(r));
        match (are_all_in(&settled), are_all_in(&settled_soon)) {
            _ if !tag.malformed.is_empty() => kept.extend(tag.registrations),
            (true, _) => forgettable.now.push(tag),
            (false, true) => forgettable.when_given.push(tag),
            (false, false) if is_split && is_any_in(&settled) => forgettable.split.push(tag),
            (false, false) => kept.extend(tag.registrations),
        }
    }
    let rest = forgettable.split.iter().flat_map(|tag| &tag.registrations).filter(|r| waiting.contains(r));
    forgettable.apart = rest.filter(|registration| !kept.contains(*registration)).cloned().collect();
    forgettable
}

/// Returns how long an address will still be drained: until its delay after it was held has passed, if both are known.
/// If only the delay is known, the next look comes after a part of it.
pub fn drained(held: &Held, registration: &Registration, delay: Option<Duration>, now: Timestamp) -> Drained {
    let taken_at = held.taken_at(registration, now);
    let end = taken_at.zip(delay).map(|(taken, delay)| taken + delay);
    // The deregistration came shortly after the holding. So if the end seems to be in the past, it is near.
    let left = end.and_then(|end| (end - now).to_std().ok()).map(|left| left.max(DESCRIPTION_RETRY));
    let part = delay.filter(|_| taken_at.is_none()).unwrap_or_default() / DRAINING_LOOKS;
    Drained { left, look_again: left.unwrap_or_else(|| part.max(DRAINING_RETRY)) }
}

fn look_again(decision: &GiveBack, settled_in: Duration) -> Option<Duration> {
    let drained = decision.draining.iter().map(|(_, left)| left.look_again).min();
    let forgotten: BTreeSet<&Registration> =
        decision.forget_when_given.iter().flat_map(|tag| &tag.registrations).collect();
    let is_checked = decision.register.iter().any(|(registration, _)| !forgotten.contains(registration));
    let checked = is_checked.then(|| settled_in.max(CHECK_AFTER));
    let settled = (!settled_in.is_zero() && !decision.in_place.is_empty()).then_some(settled_in);
    let given_up = (!settled_in.is_zero() && !decision.let_go.is_empty()).then_some(settled_in);
    [drained, checked, settled, given_up].into_iter().flatten().min()
}

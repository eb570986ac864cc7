//! The acts for running instances: what was decided is registered, and looked at again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::FutureExt;
use protocol::{
    balancer::BalancerId,
    because::Because,
    call_error::CallError,
    decide::{GiveBack, TakeOut},
    held::HeldTag,
    id::InstanceId,
    instance::{Instance, Side, State},
    observed::{Target, Wanted},
    presence::Facts,
    registration::Registration,
    tag,
    time::Timestamp,
    timing::{AT_ONCE, CHECK_AFTER},
};

use super::{Item, Look, last_seen::with_what_it_had, parts::in_chunks, reading::Age};
use crate::{aws::budget::Budget, balancer::Balancers, report::Action};

/// Why a registration is made.
pub(super) const REGISTER_WHY: &str = "the instance runs";

/// Why a registration is made that an instance holds and another instance gets.
const FOLLOW_WHY: &str = "another instance, which runs, has its address by now";

/// Balancers that are read between two looks at the clock, after registrations were made there: a few seconds' worth.
///
/// Too small: more round trips are waited for. Too large: an invocation may end in the middle of them.
const BALANCERS_A_LOOK: usize = 100;

/// What came of registering.
#[derive(Default)]
pub(super) struct Given {
    /// What is registered now.
    pub(super) registered: BTreeSet<(InstanceId, Registration)>,
    /// What was registered, or may have been by a call without an answer. The instances have to be read again.
    pub(super) items: Vec<Item>,
}

impl Given {
    /// Returns the instances for which a registration was made, or may have been.
    pub(super) fn due(&self) -> BTreeSet<InstanceId> {
        self.items.iter().map(|(id, _, _)| id.clone()).collect()
    }
}

impl Look<'_> {
    /// Registers what was decided.
    ///
    /// If the reading grows old meanwhile, the remaining instances are read again: an instance may be stopped at any
    /// moment, and AWS allows 4 calls a second.
    ///
    /// If the process dies here, a part is registered and all of it is still held. The redelivery registers the rest.
    pub(super) async fn register(&mut self, balancers: &Balancers, decisions: &mut [(&Instance, GiveBack)]) -> Given {
        let instances: BTreeMap<&InstanceId, &Instance> =
            decisions.iter().map(|(instance, _)| (&instance.id, *instance)).collect();
        let followed = decisions.iter().filter(|(_, decision)| decision.is_followed);
        let followed: BTreeSet<InstanceId> = followed.map(|(instance, _)| instance.id.clone()).collect();
        let items = decisions.iter_mut().flat_map(|(instance, decision)| {
            let id = &instance.id;
            decision.register.drain(..).map(|(registration, target)| (id.clone(), registration, target))
        });
        let mut left: Vec<Item> = items.collect();
        let mut given = Given::default();
        // The balancers were read after the instances.
        let (mut age, mut balancers_read) = (self.reading.age, self.reading.age);
        while !left.is_empty() {
            if age.is_to_be_renewed() {
                if balancers_read.is_over() {
                    balancers_read = Age::new();
                    left = self.without_guarded(balancers, left, &instances).await;
                }
                age = Age::new();
                left = self.still_wanted(left, &instances).await;
            }
            let (before, items) = (given.registered.len(), std::mem::take(&mut left));
            for (item, result) in register(balancers, items, &self.engine.clients.budget, age).await {
                let (id, registration, _) = &item;
                match result {
                    Ok(false) => left.push(item),
                    Ok(true) => {
                        let why = if followed.contains(id) { FOLLOW_WHY } else { REGISTER_WHY };
                        self.notes.journal.deed(id, Action::Register, registration, why);
                        if !followed.contains(id) {
                            let started_at = instances[id].launch_time;
                            self.notes.journal.seconds_to_back(id, self.reading.seconds_since(started_at));
                        }
                        given.registered.insert((item.0.clone(), item.1.clone()));
                        given.items.push(item);
                    }
                    Err(error) if error.is_gone() => {
                        self.notes.waiting(id, Because::of(registration, "its balancer was deleted just now"));
                    }
                    // The refusal may last for ever, and a launch does not wait long enough for the alarm on failures.
                    // So a person is told at once.
                    Err(error) if self.asked.entering.contains_key(id) && error.is_refused() => {
                        self.notes.journal.needs_a_person(id, Because::of(registration, error.to_sentence()));
                    }
                    Err(error) => {
                        self.notes.call_failed(id, Some(registration), &error);
                        if error.is_unanswered() {
                            given.items.push(item);
                        }
                    }
                }
            }
            if given.registered.len() == before || !self.engine.clients.budget.has_time() {
                break;
            }
        }
        for (id, registration, _) in left {
            self.notes.waiting(&id, Because::of(&registration, "the time of this invocation is up"));
            self.notes.look_again(&id, AT_ONCE);
        }
        // What was remembered of a stop was true before this.
        let due = given.due();
        due.iter().for_each(|id| self.engine.served.forget_one(id));
        self.engine.last_seen.remember(due.iter().map(|id| instances[id]));
        given
    }

    /// Reads the instances again, and leaves out items that should not be registered any more. Another look decides
    /// about these.
    ///
    /// An item is left out if its instance was stopped, started anew or put out of service, or has lost the address. It
    /// is also left out if its registration is neither held nor declared any more.
    async fn still_wanted(&mut self, items: Vec<Item>, instances: &BTreeMap<&InstanceId, &Instance>) -> Vec<Item> {
        let ids: BTreeSet<InstanceId> = items.iter().map(|(id, _, _)| id.clone()).collect();
        let Some(reading) = self.read_again(&ids).await else { return Vec::new() };
        let same = reading.instances.values().filter(|now| is_same_run(instances[&now.id], now) && !now.is_ignored());
        self.reading.forget_members(&ids);
        let mut same = self.in_service(same.collect()).await;
        // What a hook declares is in no tag.
        let declares = |instance: &Instance| instance.tags.get(tag::REGISTER).cloned();
        same.retain(|now| self.asked.entering.contains_key(&now.id) || declares(now) == declares(instances[&now.id]));
        let held = |instance: &Instance| instance.held().registrations();
        let by_id: BTreeMap<&InstanceId, (&Instance, BTreeSet<Registration>)> = same
            .into_iter()
            .map(|now| (&now.id, (now, held(instances[&now.id]).difference(&held(now)).cloned().collect())))
            .collect();
        let (still, changed): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|(id, registration, target)| {
            by_id.get(id).is_some_and(|(now, forgotten)| has_target(now, target) && !forgotten.contains(registration))
        });
        for (id, registration, _) in changed {
            let why = "the instance was changed while its balancers were read";
            self.notes.waiting(&id, Because::of(&registration, why));
            self.notes.look_again(&id, AT_ONCE);
        }
        still
    }

    /// Looks again after registering, for two reasons.
    ///
    /// First, an instance for which registrations were due may have been stopped or terminated meanwhile, and the
    /// event of that may have found nothing a moment ago. What it was given in vain is taken back. Second, tags may be
    /// deleted at once if all that they hold is seen in place and the instance still runs.
    ///
    /// If the process dies here, all is in place and held. The redelivery deletes the tags.
    pub(super) async fn look_after_giving(
        &mut self,
        balancers: &Balancers,
        given: &Given,
        decisions: &mut [(&Instance, GiveBack)],
    ) {
        let mut due = given.due();
        let seen = self.seen_back(balancers, &given.registered, decisions).await;
        for (instance, decision) in decisions.iter_mut() {
            let is_back = |registration: &Registration| {
                let in_place = decision.in_place.iter().map(|(other, _)| other);
                let settled = in_place.chain(decision.let_go.iter().map(|(other, _)| other));
                settled.into_iter().any(|other| other == registration)
                    || seen.contains(&(instance.id.clone(), registration.clone()))
            };
            let (back, other): (Vec<HeldTag>, Vec<HeldTag>) = std::mem::take(&mut decision.forget_when_given)
                .into_iter()
                .partition(|tag| tag.registrations.iter().all(is_back));
            if !other.is_empty() {
                self.notes.look_again(&instance.id, CHECK_AFTER);
            }
            if !back.is_empty() {
                decision.forget_when_given = back;
                due.insert(instance.id.clone());
            }
        }
        if due.is_empty() {
            return;
        }
        let still_running = self.read_still_running(balancers, due, &given.items, decisions).await;
        for (instance, decision) in decisions.iter_mut().filter(|(_, decision)| !decision.forget_when_given.is_empty())
        {
            let tags = std::mem::take(&mut decision.forget_when_given);
            if still_running.contains(&instance.id) {
                decision.forget.extend(tags);
            }
        }
    }

    /// Returns the new registrations that the balancers show, among those whose tags could be deleted.
    async fn seen_back(
        &mut self,
        balancers: &Balancers,
        given: &BTreeSet<(InstanceId, Registration)>,
        decisions: &[(&Instance, GiveBack)],
    ) -> BTreeSet<(InstanceId, Registration)> {
        let mut looked_for = Vec::new();
        for (instance, decision) in decisions {
            let held: BTreeSet<&Registration> =
                decision.forget_when_given.iter().flat_map(|tag| &tag.registrations).collect();
            let held = held.into_iter().filter(|r| given.contains(&(instance.id.clone(), (*r).clone())));
            looked_for.extend(held.map(|registration| Wanted { instance, registration, is_surely_absent: false }));
        }
        let mut by_balancer: BTreeMap<&BalancerId, Vec<Wanted<'_>>> = BTreeMap::new();
        for wanted in looked_for {
            by_balancer.entry(&wanted.registration.balancer).or_default().push(wanted);
        }
        let by_balancer: Vec<Vec<Wanted<'_>>> = by_balancer.into_values().collect();
        let mut seen = BTreeSet::new();
        for part in by_balancer.chunks(BALANCERS_A_LOOK) {
            if !self.engine.clients.budget.has_time() {
                break;
            }
            let asked: Vec<Wanted<'_>> = part.iter().flatten().copied().collect();
            for (Wanted { instance, registration, .. }, answer) in balancers.sees(asked).await {
                match answer {
                    Ok(true) => drop(seen.insert((instance.id.clone(), registration.clone()))),
                    Ok(false) => {}
                    Err(error) => self.notes.call_failed(&instance.id, Some(registration), &error),
                }
            }
        }
        seen
    }

    /// Returns those of some instances that still run after registrations were made for them. From those that are out
    /// by now, the items that were given are taken back.
    async fn read_still_running(
        &mut self,
        balancers: &Balancers,
        ids: BTreeSet<InstanceId>,
        given: &[Item],
        decisions: &[(&Instance, GiveBack)],
    ) -> BTreeSet<InstanceId> {
        let age = Age::new();
        let Some(reading) = self.read_again(&ids).await else { return BTreeSet::new() };
        let mut still_running = BTreeSet::new();
        let mut out: Vec<(&Instance, &Instance)> = Vec::new();
        for (instance, _) in decisions.iter().filter(|(instance, _)| ids.contains(&instance.id)) {
            let now = reading.instances.get(&instance.id);
            if now.is_some_and(|now| is_same_run(instance, now)) {
                still_running.insert(instance.id.clone());
                continue;
            }
            if let Some(now) = now.filter(|now| Facts::of(now).presence().is_out()) {
                out.push((*instance, now));
            }
            let why = "it was stopped while it was given back";
            self.notes.waiting(&instance.id, Because::all(why));
            self.notes.look_again(&instance.id, AT_ONCE);
        }
        if !out.is_empty() {
            self.take_back(balancers, (age, reading.at), given, &out).await;
        }
        still_running
    }

    /// Takes back what was given to instances that are out by now: each as it was then, and as it is described now.
    ///
    /// The events of the stop, or of the end, may have found nothing a moment before. After an end, no description
    /// tells the addresses any more. So what is taken back is what was given, by the targets that were registered.
    /// What is not held yet is held first, as for any other instance that is out.
    pub(crate) async fn take_back(
        &mut self,
        balancers: &Balancers,
        (age, at): (Age, Timestamp),
        given: &[Item],
        out: &[(&Instance, &Instance)],
    ) {
        let before = self.reading.times();
        self.reading.renew(age, at);
        let had: Vec<Instance> = out.iter().map(|(then, now)| with_what_it_had(then, now)).collect();
        let mut decisions = Vec::new();
        for instance in &had {
            let own = given.iter().filter(|(id, _, _)| *id == instance.id);
            let take = own.map(|(_, registration, target)| (registration.clone(), target.clone())).collect();
            let mut decision = TakeOut::of(take);
            decision.decide_holding(instance, at);
            decisions.push((instance, decision));
        }
        let by_id: BTreeMap<&InstanceId, &Instance> = out.iter().map(|(_, now)| (&now.id, *now)).collect();
        let is_lost = |instance: &Instance, address| !by_id[&instance.id].owns(address);
        let decisions = self.without_addresses_of_others(decisions, is_lost).await;
        // Boxed, or the future is too deep for the compiler's default limits in the callers that await it.
        self.take_by_waves(balancers, decisions).boxed().await;
        self.reading.set_times(before);
    }
}

/// Registers items, as long as the reading entitles to it and there is time. The answer is `false` for an item that had
/// no turn.
async fn register(
    balancers: &Balancers,
    items: Vec<Item>,
    budget: &Arc<Budget>,
    age: Age,
) -> Vec<(Item, Result<bool, CallError>)> {
    // Later, the instance may have been stopped, and its event may have deregistered it.
    let is_entitled = move |budget: &Budget| budget.has_time() && age.entitles();
    in_chunks(balancers, items, move |balancers, balancer, targets| {
        let budget = budget.clone();
        Box::pin(async move {
            // The first check comes before the wait: a turn is a token for which another call may wait.
            while is_entitled(&budget) {
                balancers.turn(balancer).await;
                if !is_entitled(&budget) {
                    break;
                }
                match balancers.register(balancer, &targets).await {
                    Err(error) if error.is_throttled() && budget.is_patient() => {}
                    result => return result.map(|()| true),
                }
            }
            Ok(false)
        })
    })
    .await
}

/// Returns whether an instance has the address of a target, on the side of the group's VPC that the target is on.
fn has_target(instance: &Instance, target: &Target) -> bool {
    let side = if target.is_far() { Side::Far } else { Side::Near };
    target.address().is_none_or(|address| instance.side(address, target.vpc.as_ref()) == Some(side))
}

/// Returns whether an instance that ran still runs, without having been started anew.
pub(super) fn is_same_run(then: &Instance, now: &Instance) -> bool {
    now.state == State::Running && now.launch_time == then.launch_time
}

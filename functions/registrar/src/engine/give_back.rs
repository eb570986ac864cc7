//! Giving back: what an instance shall have that runs is registered, and what is settled is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{
    because::Because,
    call_error::CallError,
    decide::{self, GiveBack},
    declaration::Declaration,
    finding,
    held::HeldTag,
    id::InstanceId,
    instance::{Instance, State},
    observed::{Reason, Standing, Unresolved, Wanted},
    registration::{BalancerId, Registration},
    tag,
    time::Timestamp,
    timing::{AT_ONCE, CHECK_AFTER},
};
use tokio::time::{Instant as MonotonicTime, timeout_at};

use super::{
    Item, Look,
    hints::Hints,
    parts::{in_chunks, in_parts},
    reading::Age,
};
use crate::{
    aws::{budget::Budget, ec2::RESOURCES_PER_CALL_MAX},
    balancer::Balancers,
    config::Mode,
    report::Action,
};

const REGISTER_WHY: &str = "the instance runs";

/// Balancers that are looked at between two looks at the clock, after something was registered with them: a few seconds' worth. More, and an
/// invocation may end among them; fewer, and more round trips are waited for.
const BALANCERS_A_LOOK: usize = 100;

/// How far an instance has come that is given back what it should have. What failed stands in the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    /// What is not registered or not healthy yet, and why. It includes what only a person can put right: a launch that is
    /// continued without it would put an instance into service that gets no traffic.
    pub(crate) unready: Vec<Because>,
    /// What was registered by this look. A look that changed something never ends an action.
    pub(crate) registered: Vec<Because>,
    /// What is not as it should be, and is not waited for: it cannot become healthy, is given up, or is another owner's.
    pub(crate) unwaited: Vec<Because>,
    /// Whether anything was in place before.
    pub(crate) is_in_place: bool,
}

/// What giving back came to.
#[derive(Debug, Default)]
pub(crate) struct GivenBack {
    /// How far those have come that should have anything.
    pub(crate) arrivals: BTreeMap<InstanceId, Arrival>,
    /// Instances that were due something, and when: they may be out by now, or may have been all the time.
    pub(crate) due: BTreeMap<InstanceId, MonotonicTime>,
}

impl GivenBack {
    /// The instances of which anything was in place.
    pub(crate) fn in_place(&self) -> BTreeSet<InstanceId> {
        let in_place = self.arrivals.iter().filter(|(_, arrival)| arrival.is_in_place);
        in_place.map(|(id, _)| id.clone()).collect()
    }

    /// Adds what another step came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.arrivals.extend(other.arrivals);
        self.due.extend(other.due);
    }
}

impl Arrival {
    /// Sums up a decision, with what could not even be decided on because its text does not name a registration. Of what was `absent`,
    /// some is `given` by now.
    fn of(
        decision: &GiveBack,
        unnamed: Vec<Because>,
        absent: &[Registration],
        is_given: impl Fn(&Registration) -> bool,
    ) -> Self {
        let because = |(registration, reason): &(Registration, Reason)| Because::of(registration, reason);
        let is_in_place = !decision.in_place.is_empty();
        let mut arrival = Self { unready: unnamed, is_in_place, ..Self::default() };
        for (registration, health) in decision.in_place.iter().filter(|(_, health)| !health.is_healthy()) {
            let list = if health.is_in_vain { &mut arrival.unwaited } else { &mut arrival.unready };
            list.push(Because::of(registration, health));
        }
        let (given, absent): (Vec<&Registration>, Vec<&Registration>) =
            absent.iter().partition(|registration| is_given(registration));
        arrival.registered.extend(given.into_iter().map(|registration| Because::of(registration, "just registered")));
        let absent = absent.into_iter();
        arrival.unready.extend(absent.map(|registration| Because::of(registration, "it is not registered yet")));
        let draining = decision.draining.iter();
        let drained = draining.map(|(registration, _)| Because::of(registration, "the same address is being drained"));
        arrival.unready.extend(drained);
        arrival.unready.extend(decision.stuck.iter().map(because));
        let is_stuck = |registration: &Registration| decision.stuck.iter().any(|(stuck, _)| stuck == registration);
        let given_up = decision.let_go.iter().chain(&decision.left_alone);
        arrival.unwaited.extend(given_up.filter(|(registration, _)| !is_stuck(registration)).map(because));
        arrival
    }
}

impl Look<'_> {
    /// Registers what instances that run should have, and forgets what is settled.
    pub(crate) async fn give_back(&mut self, instances: &[&Instance]) -> GivenBack {
        let (wanting, others): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().copied().partition(|i| is_wanting(i) || self.hooks_declare(i));
        for instance in others {
            self.notes.journal.nothing_to_do(&instance.id, "it holds and declares nothing");
        }
        let Some(first) = wanting.first() else { return GivenBack::default() };
        let balancers = self.balancers(&first.account);
        let mut receivers = Vec::new();
        let mut wanted: Vec<(&Instance, BTreeSet<Registration>)> = Vec::new();
        let mut hints = Hints::new(&balancers);
        let in_service = self.in_service(wanting).await;
        for (instance, attached) in self.attached(&in_service).await {
            let Desired { declared, unnamed } = self.desired(instance, &balancers, &mut hints).await;
            wanted.push((instance, instance.held().registrations().union(&declared).cloned().collect()));
            receivers.push((instance, attached, declared, unnamed));
        }
        // A sweep looks for what is wrong, and who only observes has to see it.
        let may_be_blind = self.engine.mode == Mode::Enforce && !self.asked.is_sweep;
        let blind_at = may_be_blind.then_some(self.reading.at);
        let mut standings = look(&balancers, &wanted, blind_at).await;
        let (mut decisions, mut given_back) = (Vec::new(), GivenBack::default());
        let mut before: BTreeMap<&InstanceId, (Vec<Because>, Vec<Registration>)> = BTreeMap::new();
        for (instance, attached, declared, unnamed) in receivers {
            let own = standings.remove(&instance.id).unwrap_or_default();
            let mut decision = decide::give_back(instance, self.reading.at, own, &declared, &attached);
            for (_, reason) in &mut decision.stuck {
                *reason = hints.complete(reason.clone()).await;
            }
            self.note(instance, &decision);
            self.note_findings(instance, &decision);
            let absent: Vec<Registration> =
                decision.register.iter().map(|(registration, _)| registration.clone()).collect();
            before.insert(&instance.id, (unnamed, absent));
            decisions.push((instance, decision));
        }
        let mut given = BTreeSet::new();
        if self.engine.mode == Mode::Enforce {
            let due = decisions.iter().filter(|(_, decision)| !decision.register.is_empty());
            let due: BTreeSet<InstanceId> = due.map(|(instance, _)| instance.id.clone()).collect();
            given = self.register(&balancers, &mut decisions).await;
            let given_at = MonotonicTime::now();
            given_back.due = due.iter().map(|id| (id.clone(), given_at)).collect();
            self.look_after_giving(&balancers, due, &given, &mut decisions).await;
            self.forget(&mut decisions).await;
        } else {
            self.rehearse_giving_back(&decisions);
        }
        for (instance, decision) in &decisions {
            let (unnamed, absent) = before.remove(&instance.id).unwrap_or_default();
            let is_given = |registration: &Registration| given.contains(&(instance.id.clone(), registration.clone()));
            let arrival = Arrival::of(decision, unnamed, &absent, is_given);
            given_back.arrivals.insert(instance.id.clone(), arrival);
        }
        given_back
    }

    /// Returns whether a launch hook declares anything for an instance.
    fn hooks_declare(&self, instance: &Instance) -> bool {
        self.asked.let_in.get(&instance.id).is_some_and(|declared| !declared.is_empty())
    }

    /// Reads what an instance should have beside what it holds: all that its tag and its launch hooks declare and that can be completed.
    async fn desired(&mut self, instance: &Instance, balancers: &Balancers, hints: &mut Hints<'_>) -> Desired {
        let mut desired = Desired { declared: BTreeSet::new(), unnamed: broken_tags(instance) };
        desired.unnamed.extend(misspelt_declarations(instance));
        let declared = instance.tags.get(tag::REGISTER).map(String::as_str).unwrap_or_default();
        let (declarations, malformed) = Declaration::all_in(declared);
        let mut misdeclared = Vec::new();
        for (text, why) in malformed {
            let why = format!("`{text}` is not a registration: {why}");
            misdeclared.push(Because::of(&format!("tag {}", tag::REGISTER), why));
        }
        let of_hooks = self.asked.let_in.get(&instance.id).cloned().unwrap_or_default();
        for declaration in declarations.into_iter().chain(of_hooks) {
            match balancers.resolve(&declaration).await {
                Ok(registration) => {
                    desired.declared.insert(registration);
                }
                Err(Unresolved::Reason(reason)) => {
                    misdeclared.push(Because::of(&declaration, hints.complete(reason).await));
                }
                Err(Unresolved::Unreadable(error)) => {
                    self.notes.call_failed(&instance.id, Some(&declaration), &error);
                }
            }
        }
        for because in &misdeclared {
            self.notes.journal.needs_a_person(&instance.id, because.clone());
        }
        desired.unnamed.extend(misdeclared);
        desired
    }

    /// Writes down what needs no deed.
    fn note(&mut self, instance: &Instance, decision: &GiveBack) {
        let id = &instance.id;
        for (registration, health) in &decision.in_place {
            tracing::info!(instance = %id, %registration, %health, "in place");
            self.notes.journal.registered(id, registration);
            self.notes.journal.health(id, registration, health.clone());
        }
        for (registration, left) in &decision.draining {
            let why = format!("the same address is still being drained, for about {} s", left.as_secs());
            self.notes.waiting(id, Because::of(registration, why));
        }
        for (registration, reason) in &decision.let_go {
            self.notes.journal.let_go(id, Because::of(registration, reason));
        }
        for (registration, reason) in &decision.stuck {
            self.notes.journal.needs_a_person(id, Because::of(registration, reason));
        }
        for (registration, error) in &decision.unreadable {
            self.notes.call_failed(id, Some(registration), error);
        }
        for (registration, reason) in &decision.left_alone {
            self.notes.journal.left_alone(id, Because::of(registration, reason));
        }
        // Who only observes changes nothing that would be worth another look.
        if let (Some(wait), Mode::Enforce) = (decision.look_again, self.engine.mode) {
            self.notes.look_again(id, wait);
        }
    }

    /// Writes down what a sweep finds, before anything is done about it: events have no findings, they are why one looks.
    fn note_findings(&mut self, instance: &Instance, decision: &GiveBack) {
        if !self.asked.is_sweep {
            return;
        }
        let (id, now) = (&instance.id, self.reading.at);
        for (registration, _) in &decision.register {
            let why = finding::missing_though_running(instance, registration, now);
            self.notes.journal.wrong(id, Because::of(registration, why));
        }
        for registration in decision.forget.iter().flat_map(|tag| &tag.registrations) {
            let why = finding::held_though_settled(instance, registration, now);
            self.notes.journal.wrong(id, Because::of(registration, why));
        }
    }

    fn rehearse_giving_back(&mut self, decisions: &[(&Instance, GiveBack)]) {
        for (instance, decision) in decisions {
            for (registration, _) in &decision.register {
                self.notes.journal.deed(&instance.id, Action::Register, registration, REGISTER_WHY);
            }
            for registration in decision.forget.iter().flat_map(|tag| &tag.registrations) {
                self.notes.journal.deed(&instance.id, Action::Forget, registration, forget_why(decision, registration));
            }
        }
    }

    /// Registers what was decided. Where the reading grows old meanwhile, whoever is left is read again: a start is as short-lived as
    /// a stop, and AWS allows 4 calls a second.
    ///
    /// If the process dies here, a part is registered and all of it still held: the redelivery registers the rest.
    ///
    /// Answers what is registered now.
    async fn register(
        &mut self,
        balancers: &Balancers,
        decisions: &mut [(&Instance, GiveBack)],
    ) -> BTreeSet<(InstanceId, Registration)> {
        let instances: BTreeMap<&InstanceId, &Instance> =
            decisions.iter().map(|(instance, _)| (&instance.id, *instance)).collect();
        let items = decisions.iter_mut().flat_map(|(instance, decision)| {
            let id = &instance.id;
            decision.register.drain(..).map(|(registration, target)| (id.clone(), registration, target))
        });
        let mut left: Vec<Item> = items.collect();
        let mut given = BTreeSet::new();
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
            let (before, items) = (given.len(), std::mem::take(&mut left));
            for (item, result) in register(balancers, items, &self.engine.clients.budget, age).await {
                let (id, registration, _) = &item;
                match result {
                    Ok(false) => left.push(item),
                    Ok(true) => {
                        self.notes.journal.deed(id, Action::Register, registration, REGISTER_WHY);
                        let started_at = instances[id].launch_time;
                        self.notes.journal.seconds_to_back(id, self.reading.seconds_since(started_at));
                        given.insert((item.0, item.1));
                    }
                    Err(error) if error.is_gone() => {
                        self.notes.waiting(id, Because::of(registration, "its balancer was deleted just now"));
                    }
                    // It may be for ever, and a launch does not wait so long that a failure rings by itself.
                    Err(error) if self.asked.let_in.contains_key(id) && error.is_refused() => {
                        self.notes.journal.needs_a_person(id, Because::of(registration, error.to_sentence()));
                    }
                    Err(error) => self.notes.call_failed(id, Some(registration), &error),
                }
            }
            if given.len() == before || !self.engine.clients.budget.has_time() {
                break;
            }
        }
        for (id, registration, _) in left {
            self.notes.waiting(&id, Because::of(&registration, "the time of this invocation is up"));
            self.notes.look_again(&id, AT_ONCE);
        }
        given
    }

    /// Reads again, and leaves out who was stopped since, or started anew, or put out of service; and what is neither held nor declared
    /// any more, or at an address that the instance has lost. Another look decides what holds of such an instance now.
    async fn still_wanted(&mut self, items: Vec<Item>, instances: &BTreeMap<&InstanceId, &Instance>) -> Vec<Item> {
        let ids: BTreeSet<InstanceId> = items.iter().map(|(id, _, _)| id.clone()).collect();
        let Some(reading) = self.read_again(&ids).await else { return Vec::new() };
        let same = reading.instances.values().filter(|now| is_same_run(instances[&now.id], now) && !now.is_ignored());
        self.reading.members = None;
        let mut same = self.in_service(same.collect()).await;
        // What a hook declares is in no tag.
        let declares = |instance: &Instance| instance.tags.get(tag::REGISTER).cloned();
        same.retain(|now| self.asked.let_in.contains_key(&now.id) || declares(now) == declares(instances[&now.id]));
        let held = |instance: &Instance| instance.held().registrations();
        let by_id: BTreeMap<&InstanceId, (&Instance, BTreeSet<Registration>)> = same
            .into_iter()
            .map(|now| (&now.id, (now, held(instances[&now.id]).difference(&held(now)).cloned().collect())))
            .collect();
        let (still, changed): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|(id, registration, target)| {
            by_id.get(id).is_some_and(|(now, forgotten)| {
                target.address().is_none_or(|address| now.owns(address)) && !forgotten.contains(registration)
            })
        });
        for (id, registration, _) in changed {
            let why = "the instance was changed while its balancers were read";
            self.notes.waiting(&id, Because::of(&registration, why));
            self.notes.look_again(&id, AT_ONCE);
        }
        still
    }

    /// Looks for who was stopped meanwhile of those that were due: the stop's events may have found nothing a moment ago. And decides of
    /// what was given just now whether it may be forgotten at once: all that a tag holds is seen in place, and the instance still runs.
    ///
    /// If the process dies here, all is in place and held: the redelivery forgets it.
    async fn look_after_giving(
        &mut self,
        balancers: &Balancers,
        mut due: BTreeSet<InstanceId>,
        given: &BTreeSet<(InstanceId, Registration)>,
        decisions: &mut [(&Instance, GiveBack)],
    ) {
        let seen = self.seen_back(balancers, given, decisions).await;
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
        let still_running = self.still_running_after_giving(due, decisions).await;
        for (instance, decision) in decisions.iter_mut().filter(|(_, decision)| !decision.forget_when_given.is_empty())
        {
            let tags = std::mem::take(&mut decision.forget_when_given);
            if still_running.contains(&instance.id) {
                decision.forget.extend(tags);
            }
        }
    }

    /// What of the registrations given just now the balancers show, of those whose tags could be forgotten.
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

    /// Who still runs of some instances to which something was given just now.
    async fn still_running_after_giving(
        &mut self,
        ids: BTreeSet<InstanceId>,
        decisions: &[(&Instance, GiveBack)],
    ) -> BTreeSet<InstanceId> {
        if self.reading.age.is_younger_than_any_event() {
            return ids;
        }
        let Some(reading) = self.read_again(&ids).await else { return BTreeSet::new() };
        let mut still_running = BTreeSet::new();
        for (instance, _) in decisions.iter().filter(|(instance, _)| ids.contains(&instance.id)) {
            if reading.instances.get(&instance.id).is_some_and(|now| is_same_run(instance, now)) {
                still_running.insert(instance.id.clone());
                continue;
            }
            let why = "it was stopped while it was given back";
            self.notes.waiting(&instance.id, Because::all(why));
            self.notes.look_again(&instance.id, AT_ONCE);
        }
        still_running
    }

    /// Deletes tags whose registrations are settled, where they still have the value that was read. As for every deed, a reading entitles
    /// to it for a short time only: who is out by then may soon have no address any more by which its registrations are known.
    async fn forget(&mut self, decisions: &mut [(&Instance, GiveBack)]) {
        let has_time = self.engine.clients.budget.has_time();
        if has_time && self.reading.running.is_to_be_renewed() {
            self.forget_nothing_of_who_is_out(decisions).await;
        }
        let tags =
            decisions.iter().map(|(instance, decision)| (instance.id.clone(), decision.forget.clone())).collect();
        let decisions: BTreeMap<&InstanceId, &GiveBack> =
            decisions.iter().map(|(i, decision)| (&i.id, decision)).collect();
        let results = match has_time {
            true => timeout_at(self.reading.running.ends_at(), self.untag(tags)).await.ok(),
            false => None,
        };
        let Some(results) = results else {
            for (id, _) in decisions.iter().filter(|(_, decision)| !decision.forget.is_empty()) {
                self.notes.look_again(id, AT_ONCE);
            }
            return;
        };
        for (id, registrations, result) in results {
            match result {
                Ok(()) => {
                    for registration in registrations {
                        let why = forget_why(decisions[&id], &registration);
                        self.notes.journal.deed(&id, Action::Forget, &registration, why);
                    }
                }
                Err(error) => self.notes.call_failed(&id, None, &error),
            }
        }
    }

    /// Reads again the instances of which something is to be forgotten, and forgets nothing of those that do not run as they did.
    async fn forget_nothing_of_who_is_out(&mut self, decisions: &mut [(&Instance, GiveBack)]) {
        let is_due = |decision: &GiveBack| !decision.forget.is_empty();
        let due = decisions.iter().filter(|(_, decision)| is_due(decision));
        let ids: BTreeSet<InstanceId> = due.map(|(instance, _)| instance.id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let running = Age::new();
        let reading = self.read_again(&ids).await;
        for (instance, decision) in decisions.iter_mut().filter(|(_, decision)| is_due(decision)) {
            match &reading {
                Some(reading) if reading.instances.get(&instance.id).is_some_and(|now| is_same_run(instance, now)) => {
                    continue;
                }
                Some(_) => self.notes.look_again(&instance.id, AT_ONCE),
                None => {}
            }
            decision.forget.clear();
        }
        self.reading.running = running;
    }

    /// Deletes held tags: one call for all instances that have the same.
    pub(crate) async fn untag(
        &self,
        tags: BTreeMap<InstanceId, Vec<HeldTag>>,
    ) -> Vec<(InstanceId, Vec<Registration>, Result<(), CallError>)> {
        let mut by_content: BTreeMap<Vec<(String, String)>, Vec<InstanceId>> = BTreeMap::new();
        for (id, tags) in tags.iter().filter(|(_, tags)| !tags.is_empty()) {
            let content = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
            by_content.entry(content).or_default().push(id.clone());
        }
        let mut results = Vec::new();
        for (content, ids) in by_content {
            let ec2 = &self.engine.clients.ec2;
            let call = async |ids: Vec<InstanceId>| ec2.untag(&ids, &content).await;
            for (id, outcome) in in_parts(ids, RESOURCES_PER_CALL_MAX, call).await {
                let registrations = tags[&id].iter().flat_map(|tag| tag.registrations.iter().cloned()).collect();
                results.push((id, registrations, outcome));
            }
        }
        results
    }
}

/// Registers, as long as the reading entitles to it and there is time. Answers `false` for what had no turn.
async fn register(
    balancers: &Balancers,
    items: Vec<Item>,
    budget: &Arc<Budget>,
    age: Age,
) -> Vec<(Item, Result<bool, CallError>)> {
    // Later, the instance may have been stopped and taken out by its event.
    let is_entitled = move |budget: &Budget| budget.has_time() && age.entitles();
    in_chunks(balancers, items, move |balancers, balancer, targets| {
        let budget = budget.clone();
        Box::pin(async move {
            // Before, too: a turn is a token that somebody else waits for.
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

/// What an instance should have beside what it holds.
struct Desired {
    declared: BTreeSet<Registration>,
    /// Texts in its tags that do not name a registration which could be made, and why not.
    unnamed: Vec<Because>,
}

/// Texts in the held tags of an instance that are no registrations, and what to do about each.
pub(crate) fn broken_tags(instance: &Instance) -> Vec<Because> {
    let broken = |held: HeldTag| {
        held.malformed.into_iter().map(move |(text, why)| {
            let why = format!("`{text}` is not a registration: {why}. Correct or delete it; the tag is left as it is");
            Because::of(&format!("tag {}", held.key), why)
        })
    };
    instance.held().tags.into_iter().flat_map(broken).collect()
}

/// Tags of an instance that declare something under a key which nearly is one of ours. The value tells: a tag of another tool has none.
fn misspelt_declarations(instance: &Instance) -> impl Iterator<Item = Because> {
    let odd = instance.tags.iter().filter_map(|(key, value)| Some((key, value, tag::odd(key)?)));
    let declaring = odd.filter(|(_, value, _)| !Declaration::all_in(value).0.is_empty());
    declaring.map(|(key, _, odd)| Because::of(&format!("tag {key}"), odd))
}

/// Whether an instance runs that ran before, without having been started anew.
fn is_same_run(then: &Instance, now: &Instance) -> bool {
    now.state == State::Running && now.launch_time == then.launch_time
}

/// Whether an instance shall have anything, by its tags.
pub(crate) fn is_wanting(instance: &Instance) -> bool {
    !instance.held().is_empty()
        || instance.tags.contains_key(tag::REGISTER)
        || misspelt_declarations(instance).next().is_some()
}

/// Reads how all that instances should have stands: for each its own. Where the time is given at which they were read, what is surely
/// absent then is not looked for.
pub(crate) async fn look(
    balancers: &Balancers,
    wanted: &[(&Instance, BTreeSet<Registration>)],
    blind_at: Option<Timestamp>,
) -> BTreeMap<InstanceId, Vec<(Registration, Standing)>> {
    let asked = wanted.iter().flat_map(|(instance, registrations)| {
        // Parsed once, and not again for each registration.
        let held = instance.held();
        registrations.iter().map(move |registration| {
            let is_surely_absent =
                blind_at.is_some_and(|now| decide::is_surely_absent(instance, &held, registration, now));
            Wanted { instance, registration, is_surely_absent }
        })
    });
    let mut standings: BTreeMap<InstanceId, Vec<(Registration, Standing)>> = BTreeMap::new();
    for (Wanted { instance, registration, .. }, standing) in balancers.look(asked.collect::<Vec<_>>()).await {
        standings.entry(instance.id.clone()).or_default().push((registration.clone(), standing));
    }
    standings
}

fn forget_why(decision: &GiveBack, registration: &Registration) -> &'static str {
    match decision.let_go.iter().any(|(let_go, _)| let_go == registration) {
        true => "it is let go",
        false => "it is back in place",
    }
}

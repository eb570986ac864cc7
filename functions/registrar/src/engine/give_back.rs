//! Running instances: what they should have is registered, and tags whose registrations are settled are deleted.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    because::Because,
    decide::{self, GiveBack, Share, explain},
    held::REGISTRATIONS_MAX,
    id::InstanceId,
    instance::Instance,
    observed::{Standing, Wanted},
    registration::Registration,
    time::Timestamp,
    timing::{EVENT_UNDER_WAY, SETTLE},
};
use tokio::time::Instant as MonotonicTime;

use super::{
    Look,
    arrival::{Arrival, GivenBack, drained_for},
    desired::{Desired, copied_tags, is_wanting},
    forget::forget_why,
    giving::REGISTER_WHY,
    hints::Hints,
};
use crate::{balancer::Balancers, config::Mode, report::Action};

/// Registrations of an instance that are many: their calls take several seconds.
///
/// Too small: instances of one service share fewer calls. Too large: an instance waits longer for another team's.
pub(super) const MANY_REGISTRATIONS: usize = 50;

impl Look<'_> {
    /// Registers what running instances should have, and deletes tags whose registrations are settled.
    pub(crate) async fn give_back(&mut self, instances: &[&Instance]) -> GivenBack {
        let (many, few) = self.split_by_count(instances);
        let mut given_back = self.give_back_together(&few).await;
        given_back.add(self.give_back_many(&many).await);
        given_back
    }

    /// Splits instances into those that are named at many balancers or ports, so that giving back takes several seconds, and the
    /// others.
    pub(crate) fn split_by_count<'i>(&self, instances: &[&'i Instance]) -> (Vec<&'i Instance>, Vec<&'i Instance>) {
        instances.iter().copied().partition(|instance| self.count_named(instance) > MANY_REGISTRATIONS)
    }

    /// Does the same for instances with many registrations. They come last or are left to a sweep of their own, so that they hold
    /// up no other.
    pub(crate) async fn give_back_many(&mut self, many: &[&Instance]) -> GivenBack {
        if self.asked.leaves_many {
            many.iter().for_each(|instance| self.notes.leave_many(&instance.id, self.count_named(instance)));
            return GivenBack::default();
        }
        match many.is_empty() {
            true => GivenBack::default(),
            false => self.give_back_together(many).await,
        }
    }

    /// Does the same for instances that share their calls.
    pub(crate) async fn give_back_together(&mut self, instances: &[&Instance]) -> GivenBack {
        let (wanting, others): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().copied().partition(|i| is_wanting(i) || self.hooks_declare(i));
        for instance in others {
            self.notes.journal.nothing_to_do(&instance.id, "it holds and declares nothing");
        }
        if wanting.is_empty() {
            return GivenBack::default();
        }
        let balancers = self.balancers();
        let mut receivers = Vec::new();
        let mut wanted: Vec<(&Instance, BTreeSet<Registration>)> = Vec::new();
        let mut hints = Hints::new(&balancers);
        let mut given_back = GivenBack::default();
        let in_service = self.in_service(wanting).await;
        let mut desired = BTreeMap::new();
        let mut with_more: BTreeSet<InstanceId> = BTreeSet::new();
        for instance in &in_service {
            let Desired { declared, mut unnamed } = self.desired(instance, &balancers, &mut hints).await;
            let none = BTreeSet::new();
            let more = if self.asked.only_held { &none } else { &declared };
            let Share { registrations, left } = decide::share(&instance.held(), more, self.reading.at);
            if left > 0 {
                let because = Because::all(format!(
                    "its tags and launch hooks name {} registrations, and {REGISTRATIONS_MAX} are given back at a time: \
                     {left} stay held for the next looks. Delete what is not meant",
                    registrations.len() + left
                ));
                self.notes.journal.needs_a_person(&instance.id, because.clone());
                unnamed.push(because);
                with_more.insert(instance.id.clone());
            }
            desired.insert(&instance.id, (registrations, declared, unnamed));
        }
        let all = desired.values().flat_map(|(all, ..)| all);
        let concerned = all.map(|registration| registration.balancer.clone()).collect();
        for (instance, attached) in self.attached(&balancers, &in_service, &concerned).await {
            let (all, declared, unnamed) = desired.remove(&instance.id).unwrap_or_default();
            wanted.push((instance, all));
            receivers.push((instance, attached, declared, unnamed));
        }
        // A sweep looks for what is wrong, and `observe` has to report it. So both always ask the balancers.
        let may_be_blind = self.engine.mode == Mode::Enforce && !self.asked.is_sweep;
        let blind_at = may_be_blind.then_some(self.reading.at);
        let mut standings = look(&balancers, &wanted, blind_at).await;
        let by_id = wanted.iter().map(|(instance, _)| (&instance.id, *instance)).collect();
        self.question(&mut standings, &by_id).await;
        let mut decisions = Vec::new();
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
            let now_given = self.register(&balancers, &mut decisions).await;
            let given_at = MonotonicTime::now();
            given_back.due = now_given.due().into_iter().map(|id| (id, given_at)).collect();
            self.look_after_giving(&balancers, &now_given, &mut decisions).await;
            self.forget(&mut decisions).await;
            given = now_given.registered;
            given_back.items = now_given.items;
        } else {
            self.rehearse_give_back(&decisions);
        }
        for (instance, decision) in &decisions {
            let (unnamed, absent) = before.remove(&instance.id).unwrap_or_default();
            let is_given = |registration: &Registration| given.contains(&(instance.id.clone(), registration.clone()));
            let mut arrival = Arrival::of(decision, unnamed, &absent, is_given);
            arrival.unwaited.extend(copied_tags(instance));
            self.note_held_while_running(instance, decision, is_given);
            let has_gone_on = !decision.forget.is_empty() || decision.register.iter().any(|(r, _)| is_given(r));
            if with_more.contains(&instance.id) && has_gone_on {
                self.notes.look_again(&instance.id, SETTLE.to_std().unwrap_or_default());
            }
            given_back.arrivals.insert(instance.id.clone(), arrival);
        }
        given_back
    }

    /// Notes what needs no act.
    pub(super) fn note(&mut self, instance: &Instance, decision: &GiveBack) {
        let id = &instance.id;
        for (registration, health) in &decision.in_place {
            tracing::info!(instance = %id, %registration, %health, "in place");
            self.notes.journal.registered(id, registration);
            self.notes.journal.health(id, registration, health.clone());
        }
        for (registration, left) in &decision.draining {
            self.notes.waiting(id, Because::of(registration, drained_for(left.left)));
        }
        for (registration, reason) in &decision.let_go {
            self.notes.journal.let_go(id, Because::of(registration, reason));
        }
        for (registration, reason) in &decision.stuck {
            self.notes.journal.needs_a_person(id, Because::of(registration, reason));
        }
        for (registration, reason) in &decision.away {
            self.notes.journal.needs_a_person(id, Because::of(registration, reason));
        }
        for (registration, error) in &decision.unreadable {
            self.notes.call_failed(id, Some(registration), error);
        }
        let held = if decision.left_alone.is_empty() { BTreeSet::new() } else { instance.held().registrations() };
        for (registration, reason) in &decision.left_alone {
            let until = if held.contains(registration) { "; it stays held until that is over" } else { "" };
            self.notes.journal.left_alone(id, Because::of(registration, format!("{reason}{until}")));
        }
        // The mode `observe` changes nothing that would be worth another look.
        if let (Some(wait), Mode::Enforce) = (decision.look_again, self.engine.mode) {
            self.notes.look_again(id, wait);
        }
    }

    /// Notes what a sweep finds, before anything is done about it. For an event it notes nothing: a missing
    /// registration is what events are for.
    fn note_findings(&mut self, instance: &Instance, decision: &GiveBack) {
        if !self.asked.is_sweep {
            return;
        }
        let (id, now, is_observed) = (&instance.id, self.reading.at, self.engine.functions_mode == Mode::Observe);
        for (registration, _) in &decision.register {
            let why = explain::missing_though_running(instance, registration, now, is_observed);
            self.notes.journal.wrong(id, Because::of(registration, why));
        }
        for registration in decision.forget.iter().flat_map(|tag| &tag.registrations) {
            let why = explain::held_though_settled(instance, registration, now, is_observed);
            self.notes.journal.wrong(id, Because::of(registration, why));
        }
    }

    /// Notes, for a sweep, what a running instance holds, is not about to get, and should have had for long.
    fn note_held_while_running(
        &mut self,
        instance: &Instance,
        decision: &GiveBack,
        is_given: impl Fn(&Registration) -> bool,
    ) {
        let now = self.reading.at;
        let has_just_started = instance.launch_time.is_some_and(|start| now - start < EVENT_UNDER_WAY);
        if !self.asked.is_sweep || has_just_started {
            return;
        }
        let open = decision.register.iter().map(|(registration, _)| registration);
        let open = open.chain(decision.stuck.iter().map(|(registration, _)| registration));
        let open = open.chain(decision.unreadable.iter().map(|(registration, _)| registration));
        let held = instance.held().registrations();
        let open = open.filter(|registration| held.contains(registration) && !is_given(registration));
        self.notes.journal.held_while_running(&instance.id, open.count());
    }

    pub(super) fn rehearse_give_back(&mut self, decisions: &[(&Instance, GiveBack)]) {
        for (instance, decision) in decisions {
            for (registration, _) in &decision.register {
                self.notes.journal.deed(&instance.id, Action::Register, registration, REGISTER_WHY);
            }
            for registration in decision.forget.iter().flat_map(|tag| &tag.registrations) {
                self.notes.journal.deed(&instance.id, Action::Forget, registration, forget_why(decision, registration));
            }
        }
    }
}

/// Reads how all that instances should have stands, for each instance its own.
///
/// `blind_at` is when the instances were read. With it, what is certainly absent at that time is not looked up.
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

//! Instances that leave their Auto Scaling groups: they are deregistered from everything, and what drains is waited
//! for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;
use protocol::{
    balancer::BalancerId,
    because::Because,
    decide::hook::{Open, WaitsFor},
    event::{ActionKey, LifecycleAction},
    id::InstanceId,
    instance::Instance,
    observed::{Deregistration, Drain},
    time::Timestamp,
    timing::SHOWS_WITHIN,
};

use crate::{
    config::Mode,
    engine::{Look, take_out::TakenOut},
};

/// What converging came to for the instances of some actions.
#[derive(Default)]
pub(super) struct Progress<'a> {
    /// What is still open for all actions of an instance.
    pub(super) of_instance: BTreeMap<InstanceId, Vec<Open>>,
    /// What is still open for one action alone: each has a beginning of its own.
    pub(super) of_action: BTreeMap<ActionKey<'a>, Vec<Open>>,
    /// Instances for which anything that they should have was in place.
    pub(super) in_place: BTreeSet<InstanceId>,
}

impl Progress<'_> {
    /// Returns what is still open for an action.
    pub(super) fn open<'p>(&'p self, action: &'p LifecycleAction) -> impl Iterator<Item = &'p Open> {
        let of_instance = self.of_instance.get(&action.instance).into_iter();
        of_instance.chain(self.of_action.get(&action.key())).flatten()
    }
}

/// An action in which an instance leaves its group.
pub(super) struct Leaving<'i, 'a> {
    pub(super) instance: &'i Instance,
    pub(super) action: &'a LifecycleAction,
    pub(super) network_drain: Duration,
}

impl Leaving<'_, '_> {
    /// Returns when the instance's tags last held something in the same action, by one of its descriptions.
    fn taken_at(&self, described: &Instance, now: Timestamp) -> Option<Timestamp> {
        let tags = described.held().tags;
        tags.iter().filter_map(|tag| tag.taken_at(now)).filter(|taken_at| *taken_at >= self.action.started_at).max()
    }
}

impl Look<'_> {
    /// Deregisters instances that leave their groups, and reads what is still draining.
    ///
    /// While something drains that was deregistered earlier in the same action, nothing else is looked at. So only the
    /// first look and the last one scan all balancers.
    ///
    /// A Classic load balancer does not show what it drains: only the tag tells. So if a look finds nothing, it reads
    /// the tags again, because another copy of the event may have held something meanwhile. No further look comes
    /// before EC2 must show that tag.
    pub(super) async fn deregister_leaving<'a>(&mut self, leaving: &[Leaving<'_, 'a>]) -> Progress<'a> {
        let now = self.reading.at;
        let (known, unknown): (Vec<&Leaving<'_, 'a>>, Vec<&Leaving<'_, 'a>>) =
            leaving.iter().partition(|leaving| leaving.taken_at(leaving.instance, now).is_some());
        let mut open = self.drained(&known, &TakenOut::default()).await;
        let is_drained = |leaving: &&Leaving<'_, 'a>| open.get(&leaving.action.key()).is_none_or(Vec::is_empty);
        let last: Vec<&Leaving<'_, 'a>> = known.iter().copied().filter(is_drained).chain(unknown).collect();
        let instances: BTreeMap<&InstanceId, &Instance> =
            last.iter().map(|leaving| (&leaving.instance.id, leaving.instance)).collect();
        let instances: Vec<&Instance> = instances.into_values().collect();
        let taken_out = self.take_out(&instances).await;
        let mut in_place = BTreeSet::new();
        if taken_out.is_any {
            in_place = self.look_after_taking(&instances).await.given_back.in_place();
        }
        open.extend(self.drained(&last, &taken_out).await);
        let mut empty_handed = Vec::new();
        for leaving in &last {
            let id = &leaving.instance.id;
            let waiting = self.notes.again().of(id).waiting;
            let open = open.entry(leaving.action.key()).or_default();
            if taken_out.taken.contains_key(id) {
                open.push(just_taken("just deregistered", SHOWS_WITHIN));
            }
            open.extend(waiting.into_iter().map(anything));
            if open.is_empty() && leaving.taken_at(leaving.instance, now).is_none() {
                empty_handed.push(*leaving);
            }
        }
        for leaving in leaving {
            let open = open.entry(leaving.action.key()).or_default();
            let age = leaving.taken_at(leaving.instance, now).map(|taken_at| self.reading.at - taken_at);
            let left = age.and_then(|age| SHOWS_WITHIN.checked_sub(age.to_std().unwrap_or_default()));
            if let Some(left) = left.filter(|_| !open.is_empty()) {
                open.push(just_taken("deregistered a moment ago", left));
            }
        }
        for leaving in self.deregistered_by_others(&empty_handed).await {
            let open = open.entry(leaving.action.key()).or_default();
            open.push(just_taken("another copy of its event takes it out", SHOWS_WITHIN));
        }
        Progress { of_action: open, in_place, ..Progress::default() }
    }

    /// Returns those of some instances whose tags by now say that another invocation has deregistered them.
    async fn deregistered_by_others<'l, 'i, 'a>(
        &mut self,
        leaving: &[&'l Leaving<'i, 'a>],
    ) -> Vec<&'l Leaving<'i, 'a>> {
        if leaving.is_empty() || self.engine.mode == Mode::Observe {
            return Vec::new();
        }
        let ids = leaving.iter().map(|leaving| leaving.instance.id.clone()).collect();
        let Some(reading) = self.read_again(&ids).await else { return Vec::new() };
        let taken_at =
            |leaving: &Leaving<'_, '_>| leaving.taken_at(reading.instances.get(&leaving.instance.id)?, reading.at);
        leaving.iter().copied().filter(|leaving| taken_at(leaving).is_some()).collect()
    }

    /// Reads what balancers still drain. It asks those from which something was deregistered, those of the group, which
    /// deregisters its instances by itself, and those that a scan saw draining.
    async fn drained<'a>(
        &mut self,
        leaving: &[&Leaving<'_, 'a>],
        taken_out: &TakenOut,
    ) -> BTreeMap<ActionKey<'a>, Vec<Open>> {
        let mut by_instance: BTreeMap<&InstanceId, Vec<&Leaving<'_, 'a>>> = BTreeMap::new();
        for leaving in leaving {
            by_instance.entry(&leaving.instance.id).or_default().push(leaving);
        }
        let instances: Vec<&Instance> = by_instance.values().map(|actions| actions[0].instance).collect();
        if instances.is_empty() {
            return BTreeMap::new();
        }
        let balancers = self.engine.balancers();
        let attached: BTreeMap<InstanceId, BTreeSet<BalancerId>> = self
            .attached_balancers(&instances)
            .await
            .into_iter()
            .map(|(instance, _, balancers)| (instance.id.clone(), balancers))
            .collect();
        let mut asked: Vec<(&Instance, BalancerId)> = Vec::new();
        for instance in instances {
            let id = &instance.id;
            let held = instance.held().registrations();
            let ours = held.iter().map(|registration| registration.balancer.clone());
            let seen = [attached.get(id), taken_out.taken.get(id), taken_out.draining.get(id)];
            let seen = seen.into_iter().flatten().flatten().cloned();
            asked.extend(ours.chain(seen).collect::<BTreeSet<_>>().into_iter().map(|balancer| (instance, balancer)));
        }
        let mut open: BTreeMap<ActionKey<'a>, Vec<Open>> =
            leaving.iter().map(|leaving| (leaving.action.key(), Vec::new())).collect();
        let deregistrations = asked.iter().map(|(instance, balancer)| Deregistration { instance, balancer });
        for (Deregistration { instance, balancer }, drain) in
            balancers.drains(deregistrations.collect::<Vec<_>>()).await
        {
            let drain = match drain {
                Ok(drain) => drain,
                Err(error) => {
                    self.notes.call_failed(&instance.id, Some(balancer), &error);
                    continue;
                }
            };
            for leaving in &by_instance[&instance.id] {
                let found = self.still_open(leaving, balancer, drain);
                open.entry(leaving.action.key()).or_default().extend(found);
            }
        }
        open
    }

    /// Returns what a balancer's drain means for the action: how long it lasts, counted from the holding, if that is
    /// known.
    fn still_open(&self, leaving: &Leaving<'_, '_>, balancer: &BalancerId, drain: Drain) -> Option<Open> {
        let held = leaving.instance.held();
        let registrations = held.registrations();
        let of_balancer = registrations.iter().filter(|registration| registration.balancer == *balancer);
        let taken_at = of_balancer.filter_map(|registration| held.taken_at(registration, self.reading.at)).max();
        // What the group deregisters itself, it deregisters before the action begins.
        let told_at = leaving.action.told_at;
        let since = taken_at.map_or(told_at, |taken_at| taken_at.max(told_at));
        // Not `since + whole`: an event may bear any time, and a sum after the last possible time would overflow.
        let waited = self.reading.at - since;
        let left_of = |whole: Duration| {
            let left = TimeDelta::from_std(whole).ok().and_then(|whole| whole.checked_sub(&waited));
            left.and_then(|left| left.to_std().ok()).unwrap_or_default()
        };
        // The connections that such a balancer opens last get as much time to end as all others.
        let last_opened = if drain.is_network { leaving.network_drain } else { Duration::ZERO };
        let left = |delay: Duration| Some(left_of(last_opened.saturating_add(delay))).filter(|left| !left.is_zero());
        let (left, why) = match drain {
            Drain { is_under_way: true, delay, is_exact, .. } => {
                (delay.filter(|_| is_exact).and_then(left), "connections are still being drained")
            }
            Drain { is_network: true, delay, .. } => {
                let why = "a Network Load Balancer goes on opening new connections for a while, which then have to end";
                (Some(left(delay.unwrap_or_default())?), why)
            }
            Drain { .. } => return None,
        };
        Some(Open { because: Because::of(balancer, why), waits_for: WaitsFor::Draining(left) })
    }
}

fn just_taken(why: &str, shows_within: Duration) -> Open {
    Open { because: Because::all(why), waits_for: WaitsFor::Tag(shows_within) }
}

pub(super) fn anything(because: Because) -> Open {
    Open { because, waits_for: WaitsFor::Anything }
}

//! Instances that are out: their registrations are looked up, held, and then deregistered ([`super::waves`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use protocol::{
    balancer::BalancerId,
    because::Because,
    decide::{self, TakeOut, explain},
    id::InstanceId,
    instance::Instance,
    observed::{Found, Target},
    presence::{Facts, Presence},
    registration::Registration,
};

use super::{Item, Look, arrival::GivenBack, give_back::MANY_REGISTRATIONS, ownership::can_move};
use crate::{
    balancer::{Balancers, Scan},
    config::Mode,
    report::Action,
};

/// What deregistering came to for some instances.
#[derive(Debug, Default)]
pub(crate) struct TakenOut {
    /// Whether anything was deregistered, or may have been. Then the instances have to be read again.
    pub(crate) is_any: bool,
    /// The balancers from which something was deregistered, by instance.
    pub(crate) taken: BTreeMap<InstanceId, BTreeSet<BalancerId>>,
    /// The balancers that the scan saw draining a target of an instance.
    pub(crate) draining: BTreeMap<InstanceId, BTreeSet<BalancerId>>,
}

/// What a look after deregistering came to.
#[derive(Debug, Default)]
pub(crate) struct LookedAfter {
    /// Instances that are still out.
    pub(crate) still_out: BTreeSet<InstanceId>,
    /// Those of them that hold something at an address which can move to another host.
    pub(crate) may_move: BTreeSet<InstanceId>,
    /// What was registered again for the instances that run by now.
    pub(crate) given_back: GivenBack,
}

impl Look<'_> {
    /// Holds and deregisters what instances have that are out.
    pub(crate) async fn take_out(&mut self, instances: &[&Instance]) -> TakenOut {
        if instances.is_empty() {
            return TakenOut::default();
        }
        let balancers = self.balancers();
        let mut scan = balancers.scan(instances).await;
        let mut draining: BTreeMap<InstanceId, BTreeSet<BalancerId>> = BTreeMap::new();
        for (instance, balancer) in std::mem::take(&mut scan.draining) {
            draining.entry(instance).or_default().insert(balancer);
        }
        let found = self.found_by(scan, instances).await;
        TakenOut { draining, ..self.take(&balancers, &found, instances).await }
    }

    /// Holds and deregisters what a scan found of instances that are out. If there is nothing to deregister any more,
    /// what they hold follows its address to another host.
    pub(crate) async fn take(&mut self, balancers: &Balancers, found: &[Found], instances: &[&Instance]) -> TakenOut {
        let taken_out = self.take_found(balancers, found, instances).await;
        if !taken_out.is_any {
            self.follow_moved(balancers, instances).await;
        }
        taken_out
    }

    async fn take_found(&mut self, balancers: &Balancers, found: &[Found], instances: &[&Instance]) -> TakenOut {
        let mut by_instance: BTreeMap<InstanceId, Vec<Found>> =
            instances.iter().map(|instance| (instance.id.clone(), Vec::new())).collect();
        for found in found {
            // A sweep that reports all instances also finds what running ones have.
            if let Some(own) = by_instance.get_mut(&found.instance) {
                own.push(found.clone());
            }
        }
        let (with_any, without): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().partition(|instance| !by_instance[&instance.id].is_empty());
        for instance in without {
            self.notes.journal.nothing_to_do(&instance.id, "it is registered nowhere");
        }
        let is_observed = self.engine.mode == Mode::Observe;
        let mut decisions = Vec::new();
        let concerned = by_instance.values().flatten().map(|found| found.registration.balancer.clone()).collect();
        for (instance, attached) in self.attached(balancers, &with_any, &concerned).await {
            let own = &by_instance[&instance.id];
            let decision = decide::take_out(instance, self.reading.at, own, &attached);
            for (registration, reason) in &decision.left_alone {
                self.notes.journal.left_alone(&instance.id, Because::of(registration, reason));
            }
            if let (true, Presence::Out(why_out)) = (self.asked.is_sweep, self.presence(instance)) {
                for (registration, _) in &decision.take {
                    let is_cause = self.engine.functions_mode == Mode::Observe;
                    let why = explain::registered_though_out(instance, &why_out, self.reading.at, is_cause);
                    self.notes.journal.wrong(&instance.id, Because::of(registration, why));
                }
            }
            decisions.push((instance, decision));
        }
        let ids = decisions.iter().map(|(instance, _)| &instance.id);
        let remembered: BTreeSet<InstanceId> = ids.filter(|id| self.reading.is_remembered(id)).cloned().collect();
        let is_lost = |instance: &Instance, _| remembered.contains(&instance.id);
        let decisions = self.without_addresses_of_others(decisions, is_lost).await;
        if is_observed {
            self.rehearse(&decisions);
            return TakenOut::default();
        }
        let (many, few): (Vec<_>, Vec<_>) = decisions.into_iter().partition(|(instance, decision)| {
            // What is dying loses its addresses, which another process may not know.
            self.asked.leaves_many && decision.take.len() > MANY_REGISTRATIONS && !instance.state.is_dying()
        });
        many.iter().for_each(|(instance, decision)| self.notes.leave_many(&instance.id, decision.take.len()));
        self.take_by_waves(balancers, few).await
    }

    /// Leaves out registrations at addresses that their instances have lost, if another interface has the address by
    /// now. An address is free as soon as its instance is terminated.
    pub(super) async fn without_addresses_of_others<'i>(
        &mut self,
        mut decisions: Vec<(&'i Instance, TakeOut)>,
        is_lost: impl Fn(&Instance, IpAddr) -> bool,
    ) -> Vec<(&'i Instance, TakeOut)> {
        let lost = decisions.iter().flat_map(|(instance, decision)| {
            let is_its = |target: &Target| target.address().is_some_and(|address| is_lost(instance, address));
            let lost = decision.take.iter().filter(move |(_, target)| is_its(target));
            lost.map(|(registration, target)| (instance.id.clone(), registration.clone(), target.clone()))
        });
        let lost: Vec<Item> = lost.collect();
        if lost.is_empty() {
            return decisions;
        }
        let instances: BTreeMap<InstanceId, &Instance> =
            decisions.iter().map(|(instance, _)| (instance.id.clone(), *instance)).collect();
        let others: BTreeSet<(InstanceId, Registration)> = self.not_owned(lost, &instances).await.into_iter().collect();
        for (instance, decision) in &mut decisions {
            decision.take.retain(|(registration, _)| !others.contains(&(instance.id.clone(), registration.clone())));
            decision.decide_holding(instance, self.reading.at);
        }
        decisions
    }

    /// Collects what a scan found, asks whose it is, and notes it.
    pub(crate) async fn found_by(&mut self, scan: Scan, instances: &[&Instance]) -> Vec<Found> {
        let Scan { mut found, odd_tags, failures, .. } = scan;
        let odd_tags: BTreeMap<BalancerId, String> = odd_tags.into_iter().collect();
        // A balancer that could not be read may have any of the instances, so all of them have to be looked at again.
        // After a sweep, the next sweep does that anyway.
        for error in &failures {
            if self.asked.is_sweep {
                self.notes.sweep_call_failed(None, error);
                continue;
            }
            for instance in instances {
                self.notes.call_failed(&instance.id, None, error);
            }
        }
        found.sort_by(|a, b| (&a.instance, &a.registration).cmp(&(&b.instance, &b.registration)));
        let found = self.without_other_hosts(found, instances).await;
        for found in &found {
            self.notes.journal.registered(&found.instance, &found.registration);
            if let Some(key) = odd_tags.get(&found.registration.balancer) {
                self.name_odd_tag(&found.instance, &format!("{key} of {}", found.registration.balancer), key);
            }
        }
        found
    }

    fn rehearse(&mut self, decisions: &[(&Instance, TakeOut)]) {
        for (instance, decision) in decisions {
            let why = self.why_out(instance);
            for registration in &decision.hold {
                self.notes.journal.deed(&instance.id, Action::Hold, registration, &why);
            }
            for (registration, _) in &decision.take {
                self.notes.journal.deed(&instance.id, Action::Deregister, registration, &why);
            }
        }
    }

    /// Reads the instances again after deregistering. If an instance runs by now, what was just deregistered is
    /// registered again.
    pub(crate) async fn look_after_taking(&mut self, instances: &[&Instance]) -> LookedAfter {
        let ids: BTreeSet<InstanceId> = instances.iter().map(|instance| instance.id.clone()).collect();
        let Some(reading) = self.begin_anew(&ids).await else { return LookedAfter::default() };
        let before: BTreeMap<&InstanceId, &Instance> = instances.iter().map(|before| (&before.id, *before)).collect();
        let (out, others): (Vec<&Instance>, Vec<&Instance>) =
            reading.instances.values().partition(|now| Facts::of(now).presence().is_out());
        let mut running: Vec<&Instance> = others.into_iter().filter(|now| Facts::of(now).presence().is_in()).collect();
        running.retain(|now| {
            let wait = decide::look_again_at_older(before[&now.id], now);
            if let Some(wait) = wait {
                self.notes.waiting(&now.id, Because::all("EC2 describes it as it was before it was out"));
                self.notes.look_again(&now.id, wait);
            }
            // The operator may want the instance left alone by now.
            wait.is_none() && self.is_ours(now)
        });
        let held_by = |now: &&Instance| (now.id.clone(), now.held().registrations());
        let may_move = out.iter().map(held_by).filter(|(_, held)| can_move(held)).map(|(id, _)| id).collect();
        // What was deregistered a moment ago may have moved just before the call.
        self.follow_moved(&self.engine.balancers(), &out).await;
        let still_out = out.into_iter().map(|now| now.id.clone()).collect();
        LookedAfter { still_out, may_move, given_back: self.give_back(&running).await }
    }
}

//! Taking out: what an instance has that does not run is looked for, held, and then deregistered ([`super::waves`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use protocol::{
    because::Because,
    decide::{self, TakeOut},
    finding,
    id::InstanceId,
    instance::{Instance, State},
    observed::{Found, Target},
    registration::BalancerId,
};

use super::Run;
use crate::{
    balancer::{Balancers, Scan},
    config::Mode,
    report::Action,
};

impl Run<'_> {
    /// Holds and takes what instances have that are out. Says whether anything was taken.
    pub(crate) async fn take_out(&mut self, instances: &[&Instance]) -> bool {
        let Some(first) = instances.first() else { return false };
        let balancers = self.balancers(&first.account);
        let scan = balancers.scan(instances).await;
        let found = self.found_by(scan, instances);
        self.take(&balancers, &found, instances).await
    }

    /// Holds and takes what was found of instances that are out. Says whether anything was taken.
    pub(crate) async fn take(&mut self, balancers: &Balancers, found: &[Found], instances: &[&Instance]) -> bool {
        let mut by_instance: BTreeMap<InstanceId, Vec<Found>> =
            instances.iter().map(|instance| (instance.id.clone(), Vec::new())).collect();
        for found in found {
            // A sweep that reports all also finds what runs.
            if let Some(own) = by_instance.get_mut(&found.instance) {
                own.push(found.clone());
            }
        }
        let shared = self.addresses_of_several(by_instance.values().flatten()).await;
        let (with_any, without): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().partition(|instance| !by_instance[&instance.id].is_empty());
        for instance in without {
            self.recorder.nothing_to_do(&instance.id, "it is registered nowhere");
        }
        let mut decisions = Vec::new();
        for (instance, attached) in self.attached(&with_any).await {
            let own = &by_instance[&instance.id];
            let ambiguous = |target: &Target| target.address().is_some_and(|address| shared.contains(&address));
            let decision = decide::take_out(instance, self.read_at_ec2, own, &attached, ambiguous);
            for (registration, reason) in &decision.left_alone {
                self.recorder.left_alone(&instance.id, Because::of(registration, reason));
            }
            if self.recorder.is_of_sweep() {
                for (registration, _) in &decision.take {
                    let why = finding::registered_though_out(instance, self.read_at_ec2);
                    self.recorder.wrong(&instance.id, Because::of(registration, why));
                }
            }
            decisions.push((instance, decision));
        }
        if self.registrar.mode == Mode::Observe {
            self.rehearse(&decisions);
            return false;
        }
        self.take_by_waves(balancers, decisions).await
    }

    /// Gathers what a scan found, and writes it down.
    pub(crate) fn found_by(&mut self, scan: Scan, instances: &[&Instance]) -> Vec<Found> {
        let Scan { mut found, odd_tags, draining, failures } = scan;
        let odd_tags: BTreeMap<BalancerId, String> = odd_tags.into_iter().collect();
        for (instance, balancer) in draining {
            self.draining.entry(instance).or_default().insert(balancer);
        }
        // What could not be read may have any of them: all are to be looked at again. The next sweep looks at all anyway.
        for error in &failures {
            if self.recorder.is_of_sweep() {
                self.recorder.sweep_call_failed(None, error);
                continue;
            }
            for instance in instances {
                self.recorder.call_failed(&instance.id, None, error);
            }
        }
        found.sort_by(|a, b| (&a.instance, &a.registration).cmp(&(&b.instance, &b.registration)));
        for found in &found {
            self.recorder.instance(&found.instance).registered.insert(found.registration.clone());
            if let Some(key) = odd_tags.get(&found.registration.balancer) {
                self.name_odd_tag(&found.instance, &format!("{key} of {}", found.registration.balancer), key);
            }
        }
        found
    }

    /// Addresses outside their group's VPC that more than one interface has: networks may overlap, and such a target may
    /// just as well be another host's.
    async fn addresses_of_several<'f>(&mut self, found: impl Iterator<Item = &'f Found>) -> BTreeSet<IpAddr> {
        let far: Vec<&Found> = found.filter(|found| found.is_far).collect();
        let addresses: BTreeSet<IpAddr> = far.iter().filter_map(|found| found.target.address()).collect();
        if addresses.is_empty() {
            return addresses;
        }
        match self.registrar.clients.ec2.count_interfaces(&addresses).await {
            Ok(counts) => addresses.into_iter().filter(|a| counts.get(a).is_some_and(|count| *count > 1)).collect(),
            Err(error) => {
                // Nobody knows, so they are treated as another's, and looked at again.
                for found in far {
                    self.recorder.call_failed(&found.instance, Some(&found.registration), &error);
                }
                addresses
            }
        }
    }

    fn rehearse(&mut self, decisions: &[(&Instance, TakeOut)]) {
        for (instance, decision) in decisions {
            let why = self.why_out(instance);
            for registration in &decision.hold {
                self.recorder.deed(&instance.id, Action::Hold, registration, &why);
            }
            for (registration, _) in &decision.take {
                self.recorder.deed(&instance.id, Action::Deregister, registration, &why);
            }
        }
    }

    /// Reads again after having taken: an instance that runs by now gets back what was taken a moment ago.
    pub(crate) async fn look_after_taking(&mut self, instances: &[&Instance]) {
        let ids: BTreeSet<InstanceId> = instances.iter().map(|instance| instance.id.clone()).collect();
        let Some(reading) = self.begin_anew(&ids).await else { return };
        let before: BTreeMap<&InstanceId, &Instance> = instances.iter().map(|before| (&before.id, *before)).collect();
        let mut running: Vec<&Instance> =
            reading.instances.values().filter(|instance| instance.state == State::Running).collect();
        running.retain(|now| {
            let wait = decide::look_again_at_older(before[&now.id], now);
            if let Some(wait) = wait {
                self.recorder.waiting(&now.id, Because::all("EC2 describes it as it was before it was out"));
                self.recorder.look_again(&now.id, wait);
            }
            // Its operator may want it left alone by now.
            wait.is_none() && self.is_ours(now)
        });
        self.give_back(&running).await;
    }
}

//! Taking out: what an instance has that does not run is held, and then deregistered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant as MonotonicTime;

use super::{
    Item, Run,
    parts::{in_chunks, in_parts},
};
use crate::{
    balancer::{Found, Kind, Scan, Target},
    config::Mode,
    decide::{self, READING_GOOD_FOR, TakeOut},
    ec2::RESOURCES_PER_CALL_MAX,
    finding,
    held::{Stamp, has_room_for, tags_to_hold},
    id::InstanceId,
    instance::{Instance, State},
    registration::Registration,
    report::{Action, Because, FailureReason},
};

/// As soon as the queue can: what was read is already known to be old.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Holds and takes what instances have that are out. Says whether anything was taken.
    pub(super) async fn take_out(&mut self, instances: &[&Instance]) -> bool {
        let Some(first) = instances.first() else { return false };
        let kinds = self.kinds(&first.account);
        let scans = join_all(kinds.iter().map(|kind| kind.scan(instances))).await;
        let found = self.found_by(scans, instances);
        self.take(&kinds, &found, instances).await
    }

    /// Holds and takes what was found of instances that are out. Says whether anything was taken.
    pub(super) async fn take(&mut self, kinds: &[Box<dyn Kind>], found: &[Found], instances: &[&Instance]) -> bool {
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
            let ambiguous = |target: &Target| target.id.parse().is_ok_and(|address: IpAddr| shared.contains(&address));
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
        let entitled = self.renew(decisions).await;
        let held = self.hold(entitled).await;
        self.deregister(kinds, held).await
    }

    /// Gathers what scans found, and writes it down.
    pub(super) fn found_by(&mut self, scans: Vec<Scan>, instances: &[&Instance]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for scan in scans {
            found.extend(scan.found);
            for (instance, balancer) in scan.draining {
                self.draining.entry(instance).or_default().insert(balancer);
            }
            // What could not be read may have any of them: all are to be looked at again. The next sweep looks at all anyway.
            for error in &scan.failures {
                if self.recorder.is_of_sweep() {
                    self.recorder.sweep_call_failed(None, error);
                    continue;
                }
                for instance in instances {
                    self.recorder.call_failed(&instance.id, None, error);
                }
            }
        }
        found.sort_by(|a, b| (&a.instance, &a.registration).cmp(&(&b.instance, &b.registration)));
        for found in &found {
            self.recorder.instance(&found.instance).registered.insert(found.registration.clone());
        }
        found
    }

    /// Addresses outside their group's VPC that more than one interface has: networks may overlap, and such a target may
    /// just as well be another host's.
    async fn addresses_of_several<'f>(&mut self, found: impl Iterator<Item = &'f Found>) -> BTreeSet<IpAddr> {
        let far: Vec<&Found> = found.filter(|found| found.is_far).collect();
        let addresses: BTreeSet<IpAddr> = far.iter().filter_map(|found| found.target.id.parse().ok()).collect();
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

    /// Writes what is to be taken into the instances' tags: one call for all that hold the same. Gives back what is safe
    /// to take now.
    ///
    /// If the process dies here, tags hold what is still in place: the redelivery takes it, or the restart finds it there.
    async fn hold<'i>(&mut self, decisions: Vec<(&'i Instance, TakeOut)>) -> Vec<(&'i Instance, TakeOut)> {
        let stamp = Stamp { taken_at: self.read_at_ec2, nonce: fastrand::u32(..) };
        let mut safe = Vec::new();
        let mut by_content: BTreeMap<BTreeSet<Registration>, Vec<(&Instance, TakeOut)>> = BTreeMap::new();
        for (instance, decision) in decisions {
            match decision.hold.is_empty() {
                true => safe.push((instance, decision)),
                false => by_content.entry(decision.hold.clone()).or_default().push((instance, decision)),
            }
        }
        for (registrations, members) in by_content {
            let tags = tags_to_hold(&registrations, stamp);
            let (fitting, full): (Vec<_>, Vec<_>) =
                members.into_iter().partition(|(instance, _)| has_room_for(&instance.tags, tags.len()));
            for (instance, _) in full {
                let why = format!(
                    "{} more tag(s) are needed to hold {} registration(s), and an instance can have 50: nothing was deregistered. \
                     Remove tags, then send the event again",
                    tags.len(),
                    registrations.len()
                );
                self.recorder.failed(&instance.id, FailureReason::NoRoom, Because::all(why));
            }
            let ids: Vec<InstanceId> = fitting.iter().map(|(instance, _)| instance.id.clone()).collect();
            let ec2 = &self.registrar.clients.ec2;
            let results = in_parts(ids.len(), RESOURCES_PER_CALL_MAX, |part| ec2.tag(&ids[part], &tags)).await;
            for ((instance, decision), result) in fitting.into_iter().zip(results) {
                match result {
                    Ok(()) => {
                        let why = self.why_out(instance);
                        for registration in &registrations {
                            self.recorder.deed(&instance.id, Action::Hold, registration, &why);
                        }
                        safe.push((instance, decision));
                    }
                    Err(error) => {
                        let why = format!("cannot hold, so nothing was deregistered: {}", error.to_sentence());
                        self.recorder.failed(&instance.id, error.reason(), Because::all(why));
                    }
                }
            }
        }
        self.drop_superseded(&safe).await;
        safe
    }

    /// Deletes older tags of which the new ones have everything. Dying before it leaves tags that say the same twice.
    async fn drop_superseded(&mut self, safe: &[(&Instance, TakeOut)]) {
        let tags = safe.iter().map(|(instance, decision)| (instance.id.clone(), decision.superseded.clone())).collect();
        for (id, _, result) in self.untag(tags).await {
            if let Err(error) = result {
                self.recorder.call_failed(&id, None, &error);
            }
        }
    }

    /// Reads again where the scan took so long that the reading is about to expire, and drops who is not out any more, or is
    /// out again after having run meanwhile: what was decided for the stop before does not hold for this one.
    async fn renew<'i>(&mut self, decisions: Vec<(&'i Instance, TakeOut)>) -> Vec<(&'i Instance, TakeOut)> {
        if decisions.is_empty() || self.read_at.elapsed() < READING_GOOD_FOR / 3 {
            return decisions;
        }
        let read_at = MonotonicTime::now();
        let ids = decisions.iter().map(|(instance, _)| instance.id.clone()).collect();
        let reading = match self.registrar.clients.ec2.read(&ids).await {
            Ok(reading) => reading,
            Err(error) => {
                ids.iter().for_each(|id| self.recorder.call_failed(id, None, &error));
                return Vec::new();
            }
        };
        (self.read_at, self.read_at_ec2) = (read_at, reading.at);
        if let Err(error) = self.renew_leaving().await {
            ids.iter().for_each(|id| self.recorder.call_failed(id, None, &error));
            return Vec::new();
        }
        let is_same_stop = |then: &Instance| {
            let now = reading.instances.get(&then.id);
            let is_out = |now: &Instance| now.state.is_out() || self.leaving.contains_key(&now.id);
            now.is_some_and(|now| is_out(now) && now.launch_time == then.launch_time)
        };
        let (mut same, other): (Vec<_>, Vec<_>) =
            decisions.into_iter().partition(|(instance, _)| is_same_stop(instance));
        for (instance, decision) in &mut same {
            decision.decide_holding(&reading.instances[&instance.id], reading.at);
        }
        for (instance, _) in other {
            self.recorder.waiting(&instance.id, Because::all("it came back while the balancers were read"));
            self.recorder.look_again(&instance.id, AT_ONCE);
        }
        same
    }

    /// Takes what is held. Says whether anything was taken, or may have been.
    ///
    /// If the process dies here, a part is taken and all of it is held: the redelivery takes the rest.
    async fn deregister(&mut self, kinds: &[Box<dyn Kind>], decisions: Vec<(&Instance, TakeOut)>) -> bool {
        let instances: BTreeMap<InstanceId, &Instance> =
            decisions.iter().map(|(instance, _)| (instance.id.clone(), *instance)).collect();
        let items = decisions.into_iter().flat_map(|(instance, decision)| {
            let id = &instance.id;
            decision.take.into_iter().map(move |(registration, target)| (id.clone(), registration, target))
        });
        let items: Vec<Item> = items.collect();
        let is_any = !items.is_empty();
        let read_at = self.read_at;
        let results = in_chunks(kinds, items, |kind, balancer, targets| {
            Box::pin(async move {
                // Later, the instance may have been started and given everything back: the reading does not tell.
                if read_at.elapsed() > READING_GOOD_FOR {
                    return Ok(false);
                }
                kind.deregister(balancer, targets).await.map(|()| true)
            })
        })
        .await;
        for ((id, registration, _), result) in results {
            match result {
                Ok(true) => {
                    let instance = instances[&id];
                    let why = self.why_out(instance);
                    self.recorder.deed(&id, Action::Deregister, &registration, &why);
                    // Of an instance that runs, the time may be that of an earlier stop.
                    let stop_time = instance.stop_time.filter(|_| instance.state.is_out());
                    self.recorder.instance(&id).seconds_to_out = self.seconds_since(stop_time);
                }
                Ok(false) => {
                    let why = "there was no time left to deregister it before the instance has to be looked at again";
                    self.recorder.waiting(&id, Because::of(&registration, why));
                    self.recorder.look_again(&id, AT_ONCE);
                }
                // Gone with its balancer.
                Err(error) if error.is_gone() => {}
                Err(error) => self.recorder.call_failed(&id, Some(&registration), &error),
            }
        }
        is_any
    }

    /// Reads again after having taken: an instance that runs by now gets back what was taken a moment ago.
    pub(super) async fn look_after_taking(&mut self, instances: &[&Instance]) {
        // What a sweep remembers still has what was taken.
        self.kinds = None;
        let ids: BTreeSet<InstanceId> = instances.iter().map(|instance| instance.id.clone()).collect();
        match self.registrar.clients.ec2.read(&ids).await {
            Ok(reading) => {
                self.read_at_ec2 = reading.at;
                // They are as old as the reading that entitled to take.
                self.members = None;
                for (id, instance) in &reading.instances {
                    self.recorder.instance(id).state = Some(instance.state);
                }
                let running = reading.instances.values().filter(|instance| instance.state == State::Running);
                self.give_back(&running.collect::<Vec<_>>()).await;
            }
            Err(error) => {
                for id in &ids {
                    self.recorder.call_failed(id, None, &error);
                }
            }
        }
    }
}

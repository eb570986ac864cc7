//! The acts for instances that are out: what they have is held, and then deregistered, wave by wave.
//!
//! AWS allows 4 deregistering calls a second, its tightest limit here, and a reading entitles to them for a short time
//! only ([`Age`]). So the work goes through the balancers in waves of a few seconds. While one wave is deregistered,
//! tags are written for the next one. If the reading grows old, the remaining instances are read again. So a storm over
//! hundreds of balancers needs one scan. An invocation that is about to end stops between two waves, and notes what is
//! left.
//!
//! A storm's second events, `stopped` after `stopping`, often reach another process while the first is at work. So each
//! process takes the waves in a random order, and looks again before each but the first. It leaves out what another
//! process has deregistered, so that two share the work instead of doing it twice. A look costs little: AWS allows ten
//! times as many of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures::{FutureExt, StreamExt, future::join, stream};
use protocol::{
    balancer::BalancerId,
    because::Because,
    decide::{self, TakeOut},
    held::{HeldTag, REGISTRATIONS_MAX, Stamp, tags_to_hold},
    id::InstanceId,
    instance::Instance,
    observed::{Target, Wanted},
    presence::{Presence, WhyOut},
    registration::Registration,
    timing::AT_ONCE,
};

use super::{
    Item, Look,
    give_back::MANY_REGISTRATIONS,
    parts::{Results, TARGETS_PER_CALL_MAX, WRITES_IN_FLIGHT_MAX, in_chunks},
    reading::Age,
    take_out::TakenOut,
};
use crate::{
    aws::ec2::Ec2,
    balancer::Balancers,
    report::{Action, FailureReason},
};

/// Deregistering calls of a wave: about four seconds' worth.
///
/// Too small: the tags of the next wave are not written meanwhile. Too large: the first calls wait for all the tags of
/// the wave.
const CALLS_A_WAVE: usize = 16;

/// Balancers that a message names at most.
const BALANCERS_NAMED_MAX: usize = 5;

/// Instances with something left to deregister, and what was decided for each.
type Open<'i> = BTreeMap<InstanceId, (&'i Instance, TakeOut)>;

/// Instances that get the same tags.
struct Holding {
    registrations: BTreeSet<Registration>,
    tags: Vec<(String, String)>,
    ids: Vec<InstanceId>,
}

/// The result of holding, for each set of registrations, with the keys of its tags.
type Held = Vec<(BTreeSet<Registration>, Vec<String>, Results<InstanceId, ()>)>;

/// The result of deregistering: `false` if there was no time left for it.
type Deregistered = Results<Item, bool>;

impl Look<'_> {
    /// Holds and deregisters what was decided.
    pub(crate) async fn take_by_waves<'i>(
        &mut self,
        balancers: &Balancers,
        decisions: Vec<(&'i Instance, TakeOut)>,
    ) -> TakenOut {
        let decisions = decisions.into_iter().filter(|(_, decision)| !decision.take.is_empty());
        let mut open: Open<'i> = decisions.map(|(i, decision)| (i.id.clone(), (i, decision))).collect();
        let mut waves = waves(&open);
        // Items that are held, and may be deregistered.
        let mut ready: Vec<Item> = Vec::new();
        let mut taken_out = TakenOut::default();
        let mut is_first = true;
        // The balancers were read after the instances.
        let mut balancers_read = self.reading.age;
        while !(waves.is_empty() && ready.is_empty()) {
            if !self.engine.clients.budget.has_time() {
                self.leave(open);
                break;
            }
            if balancers_read.is_over() {
                balancers_read = Age::new();
                self.drop_guarded(balancers, &mut open, &mut ready).await;
            }
            let expired = self.renew(&mut open, &mut ready).await;
            waves.extend(Some(expired).filter(|wave| !wave.is_empty()));
            let wave = waves.pop_front().unwrap_or_default();
            if !is_first {
                self.look_before_taking(balancers, &wave, &mut open).await;
            }
            is_first = false;
            // An instance may be dropped while its own items are deregistered: its next tags could not be written.
            ready.retain(|item| is_open(&open, item));
            let described: BTreeMap<InstanceId, &Instance> =
                open.iter().map(|(id, (instance, _))| (id.clone(), *instance)).collect();
            self.drop_moved(&mut open, ready.clone(), |id| described[id]).await;
            ready.retain(|item| is_open(&open, item));
            self.make_room(&mut open, &wave).await;
            let holdings = self.holdings(&mut open, &wave, &waves);
            let ec2 = self.engine.clients.ec2.clone();
            taken_out.is_any |= !ready.is_empty();
            let (deregistered, held) = join(deregister(balancers, ready, self.reading.age), hold(ec2, holdings)).await;
            ready = self.note_deregistered(deregistered, &mut open, &mut taken_out);
            self.note_held(held, &mut open).await;
            let held = items_of(&open, &wave).into_iter().filter(|item| !ready.contains(item)).collect::<Vec<_>>();
            ready.extend(held);
            // An instance with little room for tags holds a wave in several steps.
            waves.extend(
                Some(wave).filter(|wave| open.values().any(|(_, decision)| !decision.unheld_of(wave).is_empty())),
            );
        }
        taken_out
    }

    /// Notes what is left to another invocation.
    fn leave(&mut self, open: Open<'_>) {
        for (id, (_, decision)) in open {
            for (registration, _) in decision.take {
                self.notes.waiting(&id, Because::of(&registration, "the time of this invocation is up"));
            }
            self.notes.look_again(&id, AT_ONCE);
        }
    }

    /// Reads the instances again if the reading is about to expire. Drops those that are not out any more, or have run
    /// meanwhile and are out again: what was decided for the earlier stop does not hold for this one.
    ///
    /// Returns the balancers whose wave has to come again, because its tags are too old by now to be relied on.
    async fn renew(&mut self, open: &mut Open<'_>, ready: &mut Vec<Item>) -> BTreeSet<BalancerId> {
        // A member that runs may be back in service at any moment, whatever its reading's age.
        let is_kept_out =
            |instance: &Instance| matches!(self.presence(instance), Presence::Out(WhyOut::KeptOutOfService(_)));
        let may_be_back = open.values().any(|(instance, _)| is_kept_out(instance));
        if open.is_empty() || !(may_be_back || self.reading.age.is_to_be_renewed()) {
            return BTreeSet::new();
        }
        let age = Age::new();
        let ids = open.keys().cloned().collect();
        let read = self.engine.clients.ec2.read(&ids).await;
        let leaving = if read.is_ok() { self.renew_leaving().await } else { Ok(()) };
        let reading = match (read, leaving) {
            (Ok(reading), Ok(())) => reading,
            (Err(error), _) | (_, Err(error)) => {
                ids.iter().for_each(|id| self.notes.call_failed(id, None, &error));
                open.clear();
                ready.clear();
                return BTreeSet::new();
            }
        };
        (self.reading.age, self.reading.at) = (age, reading.at);
        let is_same_stop = |then: &Instance| {
            let now = reading.instances.get(&then.id);
            now.is_some_and(|now| self.presence(now).is_out() && now.launch_time == then.launch_time)
        };
        let back: Vec<InstanceId> =
            open.values().filter(|(then, _)| !is_same_stop(then)).map(|(then, _)| then.id.clone()).collect();
        for id in back {
            open.remove(&id);
            self.notes.waiting(&id, Because::all("it came back while the balancers were read"));
            self.notes.look_again(&id, AT_ONCE);
        }
        // The operator may want the instance left alone by now.
        open.retain(|id, _| self.is_ours(&reading.instances[id]));
        let items = open.iter().flat_map(|(id, (_, decision))| decision.take.iter().map(|taken| item(id, taken)));
        let items = items.collect();
        self.drop_moved(open, items, |id| &reading.instances[id]).await;
        for (id, (_, decision)) in open.iter_mut() {
            decision.decide_holding(&reading.instances[id], reading.at);
        }
        ready.retain(|item| is_open(open, item));
        let (held, expired): (Vec<Item>, Vec<Item>) = std::mem::take(ready)
            .into_iter()
            .partition(|(id, registration, _)| !open[id].1.hold.contains(registration));
        *ready = held;
        expired.into_iter().map(|(_, registration, _)| registration.balancer.clone()).collect()
    }

    /// Drops registrations whose balancer has another owner by now.
    async fn drop_guarded(&mut self, balancers: &Balancers, open: &mut Open<'_>, ready: &mut Vec<Item>) {
        let instances: BTreeMap<&InstanceId, &Instance> = open.values().map(|(i, _)| (&i.id, *i)).collect();
        let items: Vec<Item> =
            open.iter().flat_map(|(id, (_, decision))| decision.take.iter().map(|taken| item(id, taken))).collect();
        let left: BTreeSet<Item> =
            self.without_guarded(balancers, items.clone(), &instances).await.into_iter().collect();
        for (id, registration, _) in items.iter().filter(|item| !left.contains(item)) {
            drop_from(open, id, registration);
        }
        ready.retain(|item| left.contains(item));
    }

    /// Drops registrations whose target is not the instance's any more, or may not be. It is asked about those that the
    /// description of their instance, as it was read last, does not settle.
    ///
    /// An address is free as soon as its instance is terminated, and a secondary one can move at any time.
    async fn drop_moved<'n>(
        &mut self,
        open: &mut Open<'_>,
        items: Vec<Item>,
        now: impl Fn(&InstanceId) -> &'n Instance,
    ) {
        let is_doubtful = |(id, registration, target): &Item| decide::is_doubtful(now(id), registration, target);
        let instances = open.iter().map(|(id, (instance, _))| (id.clone(), *instance)).collect();
        for (id, registration) in self.not_owned(items.into_iter().filter(is_doubtful).collect(), &instances).await {
            drop_from(open, &id, &registration);
        }
    }

    /// Reads whether a wave's registrations are still in place, and drops those that are not: another invocation has
    /// held and deregistered them.
    async fn look_before_taking(&mut self, balancers: &Balancers, wave: &BTreeSet<BalancerId>, open: &mut Open<'_>) {
        let mut gone: Vec<(InstanceId, Registration)> = Vec::new();
        let of_wave = open.values().flat_map(|(instance, decision)| {
            let taken = decision.take.iter().map(|(registration, _)| registration);
            let own = taken.filter(|registration| wave.contains(&registration.balancer));
            own.map(|registration| Wanted { instance, registration, is_surely_absent: false })
        });
        for (wanted, seen) in balancers.sees(of_wave.collect::<Vec<_>>()).await {
            // If a balancer cannot be read, its registrations stay in the wave: to deregister what is not there is no
            // error.
            if matches!(seen, Ok(false)) {
                gone.push((wanted.instance.id.clone(), wanted.registration.clone()));
            }
        }
        for (id, registration) in gone {
            drop_from(open, &id, &registration);
        }
    }

    /// Deletes tags that have to make way before a wave's tags can be written.
    async fn make_room(&mut self, open: &mut Open<'_>, wave: &BTreeSet<BalancerId>) {
        let now = self.reading.at;
        let in_the_way = open.iter().map(|(id, (_, decision))| (id.clone(), decision.in_the_way(wave, now)));
        let in_the_way: BTreeMap<InstanceId, Vec<HeldTag>> = in_the_way.filter(|(_, tags)| !tags.is_empty()).collect();
        for (id, registrations, result) in self.untag(in_the_way.clone()).await {
            match (result, open.get_mut(&id)) {
                (Ok(()), Some((_, decision))) => {
                    let why = "it is still in place, and its tag makes way for a new one";
                    let forgotten = registrations.iter();
                    forgotten.for_each(|forgotten| self.notes.journal.deed(&id, Action::Forget, forgotten, why));
                    decision.note_deleted(&in_the_way[&id]);
                }
                (Ok(()), None) => {}
                (Err(error), _) => self.notes.call_failed(&id, None, &error),
            }
        }
    }

    /// Returns what has to be written into tags before a wave is deregistered, with one call for all instances that get
    /// the same. Drops what does not fit.
    fn holdings(
        &mut self,
        open: &mut Open<'_>,
        wave: &BTreeSet<BalancerId>,
        following: &VecDeque<BTreeSet<BalancerId>>,
    ) -> Vec<Holding> {
        let stamp = Stamp { taken_at: self.reading.at, nonce: fastrand::u32(..) };
        let mut by_content: BTreeMap<BTreeSet<Registration>, Vec<InstanceId>> = BTreeMap::new();
        let mut full: Vec<(InstanceId, BTreeSet<Registration>)> = Vec::new();
        for (id, (_, decision)) in open.iter() {
            let (unheld, next) = (decision.unheld_of(wave), decision.next_to_hold(wave, following));
            match (unheld.is_empty(), next.is_empty()) {
                (true, _) => {}
                (false, true) => full.push((id.clone(), unheld)),
                (false, false) => by_content.entry(next).or_default().push(id.clone()),
            }
        }
        for (id, unheld) in full {
            let why = format!(
                "there is no room for tags that hold {} more registration(s), since an instance can have 50 tags, and \
                 hold {REGISTRATIONS_MAX} registrations: they stay at {}. Remove tags or registrations, then send the \
                 event again",
                unheld.len(),
                named(&unheld)
            );
            self.notes.failed(&id, FailureReason::NoRoom, Because::all(why));
            unheld.iter().for_each(|registration| drop_from(open, &id, registration));
        }
        let holding = |(registrations, ids)| Holding { tags: tags_to_hold(&registrations, stamp), registrations, ids };
        by_content.into_iter().map(holding).collect()
    }

    /// Notes what is held by now, and drops the instances whose tags could not be written.
    async fn note_held(&mut self, held: Held, open: &mut Open<'_>) {
        let mut superseded = BTreeMap::new();
        for (registrations, keys, results) in &held {
            for (id, result) in results {
                let Some((instance, decision)) = open.get_mut(id) else { continue };
                match result {
                    Ok(()) => {
                        let why = self.why_out(instance);
                        for registration in registrations {
                            self.notes.journal.deed(id, Action::Hold, registration, &why);
                        }
                        superseded.insert(id.clone(), decision.note_held(registrations, keys.clone(), self.reading.at));
                    }
                    Err(error) => {
                        let why = format!("cannot hold, so nothing was deregistered: {}", error.to_sentence());
                        self.notes.failed(id, error.into(), Because::all(why));
                        open.remove(id);
                    }
                }
            }
        }
        // The new tags have everything that these older ones have. If the process dies before this, two tags say the
        // same.
        for (id, _, result) in self.untag(superseded.clone()).await {
            match (result, open.get_mut(&id)) {
                (Ok(()), Some((_, decision))) => decision.note_deleted(&superseded[&id]),
                (Ok(()), None) => {}
                (Err(error), _) => self.notes.call_failed(&id, None, &error),
            }
        }
    }

    /// Notes what was deregistered, and drops it. Returns the items whose call came too fast, and which have to be
    /// tried again.
    fn note_deregistered(
        &mut self,
        deregistered: Deregistered,
        open: &mut Open<'_>,
        taken_out: &mut TakenOut,
    ) -> Vec<Item> {
        let mut again = Vec::new();
        for (item, result) in deregistered {
            let (id, registration, _) = &item;
            let Some((instance, _)) = open.get(id) else { continue };
            let instance: &Instance = instance;
            match result {
                Err(error) if error.is_throttled() && self.engine.clients.budget.is_patient() => {
                    again.push(item);
                    continue;
                }
                Ok(true) => {
                    let why = self.why_out(instance);
                    self.notes.journal.deed(id, Action::Deregister, registration, &why);
                    // A running instance may show the time of an earlier stop.
                    let is_stopped = matches!(self.presence(instance), Presence::Out(WhyOut::State(_)));
                    let stop_time = instance.stop_time.filter(|_| is_stopped);
                    self.notes.journal.seconds_to_out(id, self.reading.seconds_since(stop_time));
                    taken_out.taken.entry(id.clone()).or_default().insert(registration.balancer.clone());
                }
                Ok(false) => {
                    let why = "there was no time left to deregister it before the instance has to be looked at again";
                    self.notes.waiting(id, Because::of(registration, why));
                    self.notes.look_again(id, AT_ONCE);
                }
                // The registration is gone with its balancer.
                Err(error) if error.is_gone() => {}
                Err(error) => self.notes.call_failed(id, Some(registration), &error),
            }
            drop_from(open, id, registration);
        }
        again
    }
}

/// Drops a registration that is not to be deregistered any more, and with its last one the instance.
///
/// What is to be held stays. It may be what older tags hold, which are deleted when it is written.
fn drop_from(open: &mut Open<'_>, id: &InstanceId, registration: &Registration) {
    let Some((_, decision)) = open.get_mut(id) else { return };
    decision.take.retain(|(other, _)| other != registration);
    if decision.take.is_empty() {
        open.remove(id);
    }
}

/// Writes tags. Returns for each holding the result at each of its instances.
///
/// If the process dies here, tags hold what is still in place. The redelivery deregisters it, or the restart finds it
/// in place.
async fn hold(ec2: Ec2, holdings: Vec<Holding>) -> Held {
    let calls = holdings.into_iter().map(|holding| {
        let ec2 = ec2.clone();
        // Owned, and boxed: the compiler cannot see that a future with these borrows is `Send`.
        async move {
            let Holding { registrations, tags, ids } = holding;
            let results = ec2.tag_each(ids, &tags).await;
            (registrations, tags.into_iter().map(|(key, _)| key).collect(), results)
        }
        .boxed()
    });
    stream::iter(calls).buffer_unordered(WRITES_IN_FLIGHT_MAX).collect().await
}

/// Deregisters what is held.
///
/// If the process dies here, a part is deregistered and all of it is held. The redelivery deregisters the rest.
async fn deregister(balancers: &Balancers, items: Vec<Item>, age: Age) -> Deregistered {
    in_chunks(balancers, items, move |balancers, balancer, targets| {
        Box::pin(async move {
            balancers.turn(balancer).await;
            // Later, the instance may have been started and may have everything back: the reading does not show that.
            if !age.entitles() {
                return Ok(false);
            }
            balancers.deregister(balancer, &targets).await.map(|()| true)
        })
    })
    .await
}

/// What is deregistered from one balancer.
#[derive(Default)]
struct Load {
    targets: usize,
    /// Whether all of its instances have many registrations.
    is_of_many: bool,
    /// The largest rank that it has for an instance without room for all.
    rank: usize,
}

/// Cuts the balancers from which something is deregistered into waves, in a random order. Those come last at which only
/// instances with many registrations are, so that they hold up no other. If an instance has no room for all that is to be
/// held, its balancers come in the order of their ranks.
fn waves(open: &Open<'_>) -> VecDeque<BTreeSet<BalancerId>> {
    let mut loads: BTreeMap<&BalancerId, Load> = BTreeMap::new();
    for (_, decision) in open.values() {
        let ranks = if decision.has_room() { BTreeMap::new() } else { decision.ranks() };
        for (registration, _) in &decision.take {
            let load = loads.entry(&registration.balancer).or_default();
            let is_alone = load.targets == 0;
            load.targets += 1;
            load.is_of_many = (is_alone || load.is_of_many) && decision.take.len() > MANY_REGISTRATIONS;
            load.rank = load.rank.max(ranks.get(&registration.balancer).copied().unwrap_or_default());
        }
    }
    let mut by_rank: BTreeMap<(bool, usize), Vec<(&BalancerId, usize)>> = BTreeMap::new();
    for (balancer, Load { targets, is_of_many, rank }) in loads {
        by_rank.entry((is_of_many, rank)).or_default().push((balancer, targets));
    }
    by_rank.into_values().flat_map(waves_of_a_rank).collect()
}

fn waves_of_a_rank(balancers: Vec<(&BalancerId, usize)>) -> Vec<BTreeSet<BalancerId>> {
    let mut waves = Vec::new();
    let (mut wave, mut calls) = (BTreeSet::new(), 0);
    for (balancer, count) in balancers {
        wave.insert(balancer.clone());
        calls += count.div_ceil(TARGETS_PER_CALL_MAX);
        if calls >= CALLS_A_WAVE {
            waves.push(std::mem::take(&mut wave));
            calls = 0;
        }
    }
    waves.extend(Some(wave).filter(|wave| !wave.is_empty()));
    fastrand::shuffle(&mut waves);
    waves
}

/// Names the balancers of some registrations, each with how many of them it has.
fn named(registrations: &BTreeSet<Registration>) -> String {
    let mut counts: BTreeMap<&BalancerId, usize> = BTreeMap::new();
    for registration in registrations {
        *counts.entry(&registration.balancer).or_default() += 1;
    }
    let first: Vec<String> =
        counts.iter().take(BALANCERS_NAMED_MAX).map(|(balancer, count)| format!("{balancer} ({count})")).collect();
    let more = counts.len().saturating_sub(first.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

fn is_open(open: &Open<'_>, (id, registration, _): &Item) -> bool {
    open.get(id).is_some_and(|(_, decision)| decision.takes(registration))
}

/// Returns the items of a wave that are held already.
fn items_of(open: &Open<'_>, wave: &BTreeSet<BalancerId>) -> Vec<Item> {
    let items = open.iter().flat_map(|(id, (_, decision))| {
        let of_wave = decision.take.iter().filter(|(registration, _)| wave.contains(&registration.balancer));
        of_wave.filter(|(registration, _)| !decision.hold.contains(registration)).map(|taken| item(id, taken))
    });
    items.collect()
}

fn item(id: &InstanceId, (registration, target): &(Registration, Target)) -> Item {
    (id.clone(), registration.clone(), target.clone())
}

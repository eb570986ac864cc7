//! Storms: one sweep works on many instances that stop, end or start together, with one scan and one call for each balancer.
//!
//! A function that serves events sees ten of them at a time. If other instances do the same, it passes its events on to the queue of orders. That
//! queue is FIFO and each storm is a message group of it, so one invocation at a time serves a storm. The invocation asks EC2 which other instances do
//! the same, waits while more of them come, and works on all. Later orders for the same instances find nothing left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{FutureExt, future::select};
use protocol::{
    balancer::BalancerId,
    call_error::CallError,
    decide::{
        Weight,
        storm::{
            MANY_BALANCERS, MANY_STARTING, MANY_TO_SCAN, Storm, Sweep, does_the_same, is_first_of_a_stop, is_growing,
            is_of_storm,
        },
    },
    event::{LOOKS_AN_ORDER_MAX, Notice},
    id::InstanceId,
    instance::{Instance, State},
    presence::Facts,
    time::Timestamp,
    timing::{EVENT_IS_FRESH_FOR, ORDERS_GATHERED_FOR, STORM_GATHERED_AT_MOST, STORM_GROWS_WITHIN},
};
use tokio::time::Instant as MonotonicTime;

use super::{Converged, Outcome};
use crate::{
    aws::ec2::Described,
    engine::{Asked, Engine, Look, desired::is_wanting, reading::Age},
};

/// How often a sweep asks EC2 whether a storm still grows.
const LOOKS_EVERY: Duration = Duration::from_secs(STORM_GROWS_WITHIN.num_seconds().unsigned_abs());

/// How often a sweep of a storm reads which instances are on their way out by now, while it works on others.
///
/// Too small: a sweep makes more calls. Too large: an instance that is terminated within seconds has lost its addresses
/// before they were read.
const LEAVING_READ_EVERY: Duration = Duration::from_secs(5);

/// Where the storm of a batch of events is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// In one sweep, which the batch orders.
    Ordered,
    /// In the batch itself: there is no queue for orders, or it cannot be reached.
    Here,
}

impl Look<'_> {
    /// Returns the sweeps that should be ordered for the instances of a batch that have to be converged, by the storm that each would belong to.
    ///
    /// The scan that follows takes the list of target groups that was read here.
    pub(super) async fn sweeps(
        &mut self,
        weights: &[(&Notice, Weight)],
        described: &Described,
    ) -> BTreeMap<Storm, Sweep> {
        let mut own: BTreeMap<Storm, BTreeMap<&InstanceId, &Notice>> = BTreeMap::new();
        for (notice, _) in weights.iter().filter(|(_, weight)| *weight == Weight::Converge) {
            let instance = described.instances.get(&notice.instance).filter(|instance| self.may_be_part(instance));
            if let Some(storm) = instance.and_then(|instance| Storm::of(instance.state)) {
                own.entry(storm).or_default().insert(&notice.instance, notice);
            }
        }
        let mut sweeps = BTreeMap::new();
        for (storm, notices) in own {
            // EC2 is not asked which other instances start: a start costs seven calls, and a stop hundreds.
            let count = match storm {
                Storm::Start => self.engine.storms.count_starts(notices.keys().copied()),
                Storm::Stop | Storm::Termination => notices.len(),
            };
            let sweep = match notices.values().next() {
                _ if count > 1 => Sweep::Storm(storm),
                Some(notice) if self.do_others_the_same(notice).await => Sweep::Storm(storm),
                // What is dying loses its addresses, which this process may have read, and an order does not tell them.
                Some(notice)
                    if storm == Storm::Stop && notice.tells_of_a_stop() && self.takes_long(notice, described).await =>
                {
                    Sweep::Named
                }
                _ => continue,
            };
            sweeps.insert(storm, sweep);
        }
        sweeps
    }

    /// Returns whether an instance may need work, by its own description.
    fn may_be_part(&self, instance: &Instance) -> bool {
        let is_back_for_nothing = instance.state == State::Running && !is_wanting(instance);
        !instance.is_ignored() && !is_back_for_nothing && self.is_in_scope(instance)
    }

    /// Returns whether a scan for the instance of an event takes so long that other instances may stop meanwhile.
    async fn takes_long(&mut self, notice: &Notice, described: &Described) -> bool {
        let balancers = self.balancers();
        self.reading.keep_balancers(balancers.clone());
        let instance: Vec<&Instance> = described.instances.get(&notice.instance).into_iter().collect();
        // If groups cannot be listed, the scan says so.
        balancers.count_to_scan(&instance).await.unwrap_or_default() >= MANY_TO_SCAN
    }

    /// Returns whether another instance began to stop at the same time as the instance of a fresh event. The call for it is cheap: a scan for each
    /// instance costs hundreds.
    async fn do_others_the_same(&self, notice: &Notice) -> bool {
        let is_fresh = |time: Timestamp| (self.reading.at - time).abs() <= EVENT_IS_FRESH_FOR;
        if !notice.announced.is_some_and(|(state, time)| is_first_of_a_stop(state) && is_fresh(time)) {
            return false;
        }
        match self.engine.clients.ec2.read_on_their_way_out().await {
            Ok(others) => others.instances.values().any(|other| does_the_same(notice, other)),
            Err(error) => {
                tracing::info!(why = error.to_sentence(), "it is not known whether other instances stop, too");
                false
            }
        }
    }
}

impl Engine {
    /// Returns whether this process has already worked on the stop or start that an event tells of. Makes no call.
    pub fn has_served(&self, notice: &Notice) -> bool {
        self.served.has(notice)
    }

    /// Converges the instances that the orders of a sweep name. If it is a storm's, converges all other instances of the storm, too.
    ///
    /// # Errors
    /// Fails if the instances cannot be described: nothing was done. Every other failure is in the outcomes.
    pub async fn converge_together(&self, notices: &[Notice], sweep: Sweep) -> Result<Converged, CallError> {
        let named: BTreeSet<InstanceId> = notices.iter().map(|notice| notice.instance.clone()).collect();
        let asked = || Asked { scope: self.scope, leaves_many: sweep != Sweep::Many, ..Asked::default() };
        // What is dying does not wait: it keeps its addresses only while it is shutting down.
        let is_dying = |notice: &Notice| notice.announced.is_some_and(|(state, _)| state.is_dying());
        if notices.len() < LOOKS_AN_ORDER_MAX && !notices.iter().any(is_dying) {
            // More orders are about to come. A full one gathered while another sweep was at work.
            tokio::time::sleep(ORDERS_GATHERED_FOR).await;
        }
        let begun = MonotonicTime::now();
        let (age, mut described) = (Age::new(), self.clients.ec2.read(&named).await?);
        let mut look = self.look(self.reading_of(age, &mut described), asked());
        let mut weights = look.weigh(notices, &described);
        let mut others: BTreeMap<InstanceId, Instance> = BTreeMap::new();
        for storm in Storm::ALL.into_iter().filter(|_| sweep.is_of_storm()) {
            let own = convergent(&weights, &described, storm);
            if own.is_empty() {
                continue;
            }
            let since = notices.iter().filter(|notice| own.contains_key(&notice.instance));
            let since = since.filter_map(|notice| Some(notice.announced?.1)).min();
            let (joined, remembered) = self.gather(storm, own.values().copied().collect(), since).await?;
            look.reading.add_remembered(remembered);
            others.extend(joined.into_iter().map(|other| (other.id.clone(), other)));
        }
        if begun.elapsed() >= LOOKS_EVERY {
            // The instances may have changed while the storm was gathered.
            let age = Age::new();
            described = self.clients.ec2.read(&others.keys().chain(&named).cloned().collect()).await?;
            look = self.look(self.reading_of(age, &mut described), asked());
            others.retain(|id, _| described.instances.contains_key(id));
            others.iter_mut().for_each(|(id, other)| *other = described.instances[id].clone());
            weights = look.weigh(notices, &described);
        }
        let named_to_converge = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let own = named_to_converge.filter_map(|(notice, _)| described.instances.get_key_value(&notice.instance));
        let own: BTreeMap<&InstanceId, &Instance> = own.collect();
        others.retain(|id, _| !named.contains(id));
        let all: Vec<&Instance> = own.into_values().chain(others.values()).collect();
        look.read_scope(all.iter().copied()).await;
        let is_any_out = all.iter().any(|instance| Facts::of(instance).presence().is_out());
        // Boxed, or the future is too deep for the compiler's default limits in the caller.
        let work = look.converge(&all).boxed();
        match is_any_out {
            true => drop(select(work, self.watch_those_on_their_way_out().boxed()).await),
            false => work.await,
        }
        let outcomes: Vec<Outcome> = weights.iter().map(|(notice, weight)| look.outcome(notice, weight)).collect();
        let (report, has_failed) = look.notes.into_report();
        Ok(Converged { report, outcomes, has_failed })
    }

    /// Reads every few seconds which instances are on their way out by now, and remembers their addresses. They wait
    /// for the next sweep, and some of them lose their addresses before it begins. Never ends by itself.
    async fn watch_those_on_their_way_out(&self) {
        loop {
            tokio::time::sleep(LEAVING_READ_EVERY).await;
            match self.clients.ec2.read_on_their_way_out().await {
                Ok(reading) => self.last_seen.note(&reading),
                Err(error) => tracing::info!(why = error.to_sentence(), "it is not known which instances stop now"),
            }
        }
    }

    /// Waits while more instances join a storm that takes long, and returns the other instances of it. Some of them
    /// have the addresses of their last description.
    async fn gather(
        &self,
        storm: Storm,
        own: Vec<&Instance>,
        since: Option<Timestamp>,
    ) -> Result<(Vec<Instance>, BTreeSet<InstanceId>), CallError> {
        // If groups cannot be listed, the scan says so.
        let groups = match storm {
            Storm::Start | Storm::Termination => 0,
            Storm::Stop => self.balancers().count_to_scan(&own).await.unwrap_or_default(),
        };
        let begun = MonotonicTime::now();
        loop {
            let mut reading = match storm {
                Storm::Start => self.clients.ec2.read_holders_up().await?,
                Storm::Stop | Storm::Termination => self.clients.ec2.read_out().await?,
            };
            let remembered = self.last_seen.complete(&mut reading);
            let now = reading.at;
            // The last instances are waited for if it takes long to go through the balancers. For a start, the tags name them.
            let is_long = match storm {
                Storm::Start => count_held_at(reading.instances.values()) >= MANY_BALANCERS / 4,
                Storm::Stop => groups >= MANY_BALANCERS,
                // What is dying does not wait for others.
                Storm::Termination => false,
            };
            let is_alike = |other: &Instance| Storm::of(other.state) == Some(storm);
            let (alike, others): (Vec<Instance>, Vec<Instance>) = reading.instances.into_values().partition(is_alike);
            let grows = match storm {
                Storm::Start => others.iter().filter(|other| other.state == State::Pending).count() >= MANY_STARTING,
                Storm::Stop | Storm::Termination => is_growing(alike.iter().filter_map(|other| other.stop_time), now),
            };
            // A person made up a time that lies ahead.
            let has_waited = since.is_some_and(|since| now - since >= STORM_GATHERED_AT_MOST)
                || begun.elapsed().as_secs() >= STORM_GATHERED_AT_MOST.num_seconds().unsigned_abs();
            if grows && is_long && !has_waited {
                tokio::time::sleep(LOOKS_EVERY).await;
                continue;
            }
            let is_part = |other: &Instance| storm.time_of(other).is_some_and(|time| is_of_storm(time, since, now));
            let is_open = |other: &Instance| !(Facts::of(other).presence().is_out() && self.served.has_stop_of(other));
            let joined = alike.into_iter().filter(|other| is_part(other) && is_open(other)).collect();
            return Ok((joined, remembered));
        }
    }
}

/// Returns the instances of a storm that have to be converged, by their descriptions.
fn convergent<'r>(
    weights: &[(&Notice, Weight)],
    described: &'r Described,
    storm: Storm,
) -> BTreeMap<&'r InstanceId, &'r Instance> {
    let named = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
    let instances = named.filter_map(|(notice, _)| described.instances.get_key_value(&notice.instance));
    let is_open = |instance: &Instance| storm != Storm::Start || is_wanting(instance);
    instances.filter(|(_, instance)| Storm::of(instance.state) == Some(storm) && is_open(instance)).collect()
}

/// Counts the balancers whose registrations some instances hold.
fn count_held_at<'i>(instances: impl Iterator<Item = &'i Instance>) -> usize {
    let held = instances.flat_map(|instance| instance.held().registrations());
    held.map(|registration| registration.balancer).collect::<BTreeSet<BalancerId>>().len()
}

//! Converging a batch of instances: read, decide, act, read again. Every function ends here.
//!
//! *Actual* is what the balancers list; *wanted* is nothing for an instance that is out, and what its tags hold and declare
//! for one that runs. An event, its redelivery and a sweep all come this way, so that the rare path is walked every day; an
//! event that never came is replaced by the next one of the instance, or by the sweep.
//!
//! # Why nothing is lost
//!
//! A registration is written into the instance's tags before it is taken, and its tag is deleted only after it was seen in
//! place at a time when nobody can take it any more. What is true if the process dies:
//!
//! | after | state | repaired by |
//! |---|---|---|
//! | reading | nothing has changed | the event's redelivery |
//! | holding | in the tag, and in place | the redelivery, which takes it; or the restart, which finds it in place |
//! | deregistering | in the tag | the restart |
//! | registering | in place, and in the tag | the redelivery, which forgets it |
//! | forgetting | in place | nothing to repair |
//!
//! Two functions may work on one instance at once. *Both hold*: each writes keys of its own (see [`protocol::held`]). *One
//! takes while another gives back*, because a function that saw the instance stopped acts after it has been started: it
//! acts only while its reading is fresh, looks again when it has acted, and gives back what it took if the instance runs by
//! now; should it die before that, its redelivery finds the registration missing, and still has the tag. *One gives back
//! while another takes*, because the instance is stopped meanwhile: who has given back looks again, too, before it forgets.
//! *One takes while another forgets*: forgetting deletes only tags that it has read and that nobody can rely on any more
//! ([`protocol::timing::SETTLE`]), and who takes has written a younger one.

mod give_back;
mod guards;
mod lifecycle;
mod orphans;
mod parts;
mod see_out;
mod stops;
mod storm;
mod sweep;
mod take_out;
mod waves;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant as MonotonicTime;

pub use lifecycle::LifecycleSettings;

use protocol::{
    because::Because,
    call_error::CallError,
    decide::{self, Attached, Weight},
    event::{NotUnderstood, Notice},
    id::{AutoScalingGroupName, InstanceId},
    instance::{Instance, State},
    member::{AttachedBalancers, LifecycleState, Member},
    observed::Target,
    registration::{BalancerId, Registration},
    tag,
    time::Timestamp,
};
use stops::Stops;
use storm::Storms;

use crate::{
    auto_scaling::{self},
    balancer::{ClassicLoadBalancers, Kind, TargetGroups},
    clients::Clients,
    config::{Mode, Orphans, Scope},
    ec2::Reading,
    report::{Recorder, Report},
};

pub use sweep::{Detail, Order, Resume};

/// Converges instances of one account and Region.
pub struct Registrar {
    clients: Arc<Clients>,
    mode: Mode,
    scope: Scope,
    orphans: Orphans,
    stops: Stops,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Converged {
    /// For a person.
    pub report: Report,
    /// For the queue: one for each notice, in their order.
    pub outcomes: Vec<Outcome>,
}

/// What shall become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has served its purpose.
    Done,
    /// It shall come back so much later.
    Later(Duration),
    /// Something failed: it shall come back when its queue sees fit, and in the end go to the dead letters.
    Failed,
    /// What it is about says nothing to this function: it goes to the dead letters at once.
    NotUnderstood(NotUnderstood),
}

/// Why the second event of a stop has nothing to do.
const SEEN_THROUGH: &str = "another event of the same stop was seen through a moment ago";

/// A registration that was, or is to be, taken or given.
type Item = (InstanceId, Registration, Target);

impl Registrar {
    /// A registrar that calls AWS through some clients.
    pub fn new(clients: Arc<Clients>, mode: Mode, scope: Scope) -> Self {
        Self { clients, mode, scope, orphans: Orphans::Report, stops: Stops::default() }
    }

    /// The same, with something to be done about orphans.
    #[must_use]
    pub fn with_orphans(self, orphans: Orphans) -> Self {
        Self { orphans, ..self }
    }

    /// Forgets which stops were seen through: the next event of each is worked on again.
    pub fn forget_stops(&self) {
        self.stops.forget();
    }

    /// Converges the instances that some events named.
    ///
    /// # Errors
    /// Where the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice]) -> Result<Converged, CallError> {
        let read_at = MonotonicTime::now();
        let named = notices.iter().map(|notice| notice.instance.clone()).collect();
        let reading = self.clients.ec2.read(&named).await?;
        let mut run = self.run(read_at, &reading);
        let storms = run.storms(notices, &reading).await;
        let weights = run.weigh(notices, &reading, &storms);
        let convergent = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let named: BTreeSet<&InstanceId> = convergent.map(|(notice, _)| &notice.instance).collect();
        let mut instances: Vec<&Instance> = named.iter().filter_map(|id| reading.instances.get(*id)).collect();
        instances.extend(storms.joined.iter().filter(|joined| !named.contains(&joined.id)));
        // Boxed, or the future is too deep for the compiler's default limits in whoever awaits it.
        run.converge(&instances).boxed().await;
        let outcomes = weights.iter().map(|(notice, weight)| run.outcome(notice, weight)).collect();
        Ok(Converged { report: run.recorder.into_report(), outcomes })
    }

    fn run(&self, read_at: MonotonicTime, reading: &Reading) -> Run<'_> {
        Run {
            registrar: self,
            scope: self.scope,
            recorder: Recorder::new(self.mode),
            kinds: None,
            read_at,
            read_at_ec2: reading.at,
            groups: BTreeMap::new(),
            members: None,
            leaving: BTreeMap::new(),
            let_in: BTreeSet::new(),
            draining: BTreeMap::new(),
            still_drained: BTreeSet::new(),
            given: BTreeMap::new(),
            running_at: read_at,
        }
    }

    /// The kinds of balancers there are. One reading's worth: they remember what they described.
    fn kinds(&self, account: &str) -> Vec<Box<dyn Kind>> {
        self.kinds_with(self.target_groups(account))
    }

    /// The same for a sweep: they remember members, too.
    fn kinds_that_remember(&self, account: &str) -> Vec<Box<dyn Kind>> {
        self.kinds_with(self.target_groups(account).remembering())
    }

    fn kinds_with(&self, target_groups: TargetGroups) -> Vec<Box<dyn Kind>> {
        let classic = ClassicLoadBalancers::new(self.clients.classic.clone(), self.clients.budget.clone());
        vec![Box::new(classic), Box::new(target_groups)]
    }

    fn target_groups(&self, account: &str) -> TargetGroups {
        let Clients { target_groups, budget, region, .. } = &*self.clients;
        TargetGroups::new(target_groups.clone(), budget.clone(), region, account)
    }
}

/// One batch under way.
struct Run<'r> {
    registrar: &'r Registrar,
    /// Which instances are converged.
    scope: Scope,
    recorder: Recorder,
    /// A sweep's: what was read once serves all of it, until something is taken.
    kinds: Option<Arc<[Box<dyn Kind>]>>,
    /// When the reading was asked for that entitles to take, by our own clock.
    read_at: MonotonicTime,
    /// The same by EC2's clock, when it answered.
    read_at_ec2: Timestamp,
    /// What is attached to the groups that were read in this run.
    groups: BTreeMap<AutoScalingGroupName, AttachedBalancers>,
    /// The run's instances as members of groups, where they were read together with the instances.
    members: Option<BTreeMap<InstanceId, Member>>,
    /// Instances that run, and are out for all that: on their way out of their group.
    leaving: BTreeMap<InstanceId, LifecycleState>,
    /// Instances that their launch hook lets in, whatever their group's state of them is.
    let_in: BTreeSet<InstanceId>,
    /// Balancers that a scan saw draining something of an instance.
    draining: BTreeMap<InstanceId, BTreeSet<BalancerId>>,
    /// Instances that run, and are given something back only when the same address is no longer drained.
    still_drained: BTreeSet<InstanceId>,
    /// Instances that were due something, and when: they may be out by now, or may have been all the time.
    given: BTreeMap<InstanceId, MonotonicTime>,
    /// When the instances were last read that are given something back.
    running_at: MonotonicTime,
}

impl Run<'_> {
    fn weigh<'n>(&mut self, notices: &'n [Notice], reading: &Reading, storms: &Storms) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = reading.instances.get(&notice.instance);
            self.recorder.instance(&notice.instance).state = instance.map(|instance| instance.state);
            let weight = self.weigh_one(notice, instance, storms);
            match &weight {
                Weight::Converge => {}
                Weight::TooEarly(wait) => {
                    let why = "what EC2 says of the instance may be older than the event";
                    self.recorder.waiting(&notice.instance, Because::all(why));
                    self.recorder.look_again(&notice.instance, *wait);
                }
                Weight::Gather(wait) => {
                    let why = "many instances do the same: all of them are worked on together";
                    self.recorder.waiting(&notice.instance, Because::all(why));
                    self.recorder.look_again(&notice.instance, *wait);
                }
                Weight::Nothing(why) => self.recorder.nothing_to_do(&notice.instance, why),
            }
            weights.push((notice, weight));
        }
        weights
    }

    /// Weighs an event by itself, and as one of a storm.
    fn weigh_one(&self, notice: &Notice, instance: Option<&Instance>, storms: &Storms) -> Weight {
        let weight = decide::weigh(notice, instance, self.read_at_ec2);
        if weight != Weight::Converge {
            return weight;
        }
        if self.is_seen_through(notice, instance) {
            return Weight::Nothing(SEEN_THROUGH);
        }
        storms.wait_of(notice, instance, self.read_at_ec2).map_or(Weight::Converge, Weight::Gather)
    }

    /// Whether an event tells once more what another one told of the same stop.
    fn is_seen_through(&self, notice: &Notice, instance: Option<&Instance>) -> bool {
        let tells_of_a_stop = notice.announced.is_some_and(|(state, _)| state.is_out());
        let is_known = |instance: &Instance| instance.state.is_out() && self.registrar.stops.knows(instance);
        tells_of_a_stop && instance.is_some_and(is_known)
    }

    /// Remembers the stops of which nothing is left to do.
    fn remember_stops(&self, out: &[&Instance]) {
        let parts = &self.recorder.report().instances;
        for instance in out {
            let is_over = parts.get(&instance.id).is_some_and(|part| {
                let is_open = part.look_again_in_seconds.is_some() || !part.waiting.is_empty();
                part.state.is_some_and(|state| state.is_out()) && part.failed.is_empty() && !is_open
            });
            if is_over {
                self.registrar.stops.remember(instance);
            }
        }
    }

    fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
        if let Weight::TooEarly(wait) | Weight::Gather(wait) = weight {
            return Outcome::Later(*wait);
        }
        match self.recorder.report().instances.get(&notice.instance) {
            Some(part) if !part.failed.is_empty() => Outcome::Failed,
            Some(part) if *weight == Weight::Converge => {
                part.look_again_in_seconds.map_or(Outcome::Done, |seconds| Outcome::Later(Duration::from_secs(seconds)))
            }
            _ => Outcome::Done,
        }
    }

    /// Reads instances again. That this fails is written down for each of them.
    async fn read_again(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Reading> {
        match self.registrar.clients.ec2.read(ids).await {
            Ok(reading) => Some(reading),
            Err(error) => {
                ids.iter().for_each(|id| self.recorder.call_failed(id, None, &error));
                None
            }
        }
    }

    /// Reads instances again, and begins anew with what is read: all that is known of balancers and members is as old as the reading before.
    async fn begin_anew(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Reading> {
        self.kinds = None;
        let read_at = MonotonicTime::now();
        let reading = self.read_again(ids).await?;
        self.members = None;
        (self.read_at, self.read_at_ec2, self.running_at) = (read_at, reading.at, read_at);
        for (id, instance) in &reading.instances {
            self.recorder.instance(id).state = Some(instance.state);
        }
        Some(reading)
    }

    /// Seconds from a time that EC2 told until the present reading; `None` where it told none.
    fn seconds_since(&self, time: Option<Timestamp>) -> Option<u64> {
        time.map(|time| (self.read_at_ec2 - time).num_seconds().unsigned_abs())
    }

    /// The sweep's kinds of balancers; without one, new ones, which have read nothing yet.
    fn kinds(&self, account: &str) -> Arc<[Box<dyn Kind>]> {
        self.kinds.clone().unwrap_or_else(|| self.registrar.kinds(account).into())
    }

    /// Sorts instances: those that are out, and those that run.
    fn sort_by_state<'i>(&mut self, instances: &[&'i Instance]) -> (Vec<&'i Instance>, Vec<&'i Instance>) {
        for instance in instances {
            self.recorder.instance(&instance.id).held = instance.held().registrations();
            self.name_broken_tags(instance);
        }
        let (out, running): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().filter(|instance| self.is_ours(instance)).partition(|instance| instance.state.is_out());
        // A sweep also comes upon instances that are starting, or in a state that this version does not know.
        (out, running.into_iter().filter(|instance| instance.state == State::Running).collect())
    }

    async fn converge(&mut self, instances: &[&Instance]) {
        let (out, running) = self.sort_by_state(instances);
        self.give_back(&running).await;
        if self.take_out(&out).await {
            self.look_after_taking(&out).await;
        }
        self.remember_stops(&out);
    }

    /// Whether an instance is ours to converge, by its own tags.
    fn is_ours(&mut self, instance: &Instance) -> bool {
        if instance.is_ignored() {
            let held = instance.held().registrations().len();
            let why = match held {
                0 => format!("it bears the tag {}", tag::IGNORE),
                _ => {
                    format!("it bears the tag {}; its tags hold {held} registration(s), which stay there", tag::IGNORE)
                }
            };
            self.recorder.left_alone(&instance.id, Because::all(why));
            return false;
        }
        // What is held was ours when it was taken, whatever the scope is by now.
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Tagged => instance.tags.contains_key(tag::REGISTER) || !instance.held().is_empty(),
        };
        if !in_scope {
            let why = format!("the scope is `tagged`, and it does not bear the tag {}", tag::REGISTER);
            self.recorder.nothing_to_do(&instance.id, &why);
        }
        in_scope
    }

    fn name_broken_tags(&mut self, instance: &Instance) {
        for held in instance.held().tags {
            for (text, why) in &held.malformed {
                let why =
                    format!("`{text}` is not a registration: {why}. Correct or delete it; the tag is left as it is");
                self.recorder.needs_a_person(&instance.id, Because::of(&format!("tag {}", held.key), why));
            }
        }
    }

    /// Reads which balancers Auto Scaling looks after, for the instances that are in a group.
    ///
    /// An instance whose group could not be read is left out and marked as failed: nobody knows what is foreign there.
    async fn attached<'i>(&mut self, instances: &[&'i Instance]) -> Vec<(&'i Instance, Attached)> {
        let names = instances.iter().filter_map(|instance| instance.auto_scaling_group());
        let unknown: BTreeSet<AutoScalingGroupName> = names.filter(|name| !self.groups.contains_key(name)).collect();
        let mut failure = None;
        if !unknown.is_empty() {
            match auto_scaling::attached_balancers(&self.registrar.clients.auto_scaling, &unknown).await {
                // To a group that is gone nothing is attached.
                Ok(mut found) => self.groups.extend(unknown.into_iter().map(|name| {
                    let attached = found.remove(&name).unwrap_or_default();
                    (name, attached)
                })),
                Err(error) => failure = Some(error),
            }
        }
        let mut known = Vec::new();
        for instance in instances {
            match (instance.auto_scaling_group(), &failure) {
                (None, _) => known.push((*instance, Attached::default())),
                (Some(name), failure) => match (self.groups.get(&name), failure) {
                    (Some(balancers), _) => {
                        let balancers = balancers.clone();
                        known.push((*instance, Attached { group: Some(name), balancers }));
                    }
                    (None, Some(error)) => self.recorder.call_failed(&instance.id, Some(&name), error),
                    (None, None) => {}
                },
            }
        }
        known
    }

    /// Leaves out instances that their groups keep out of service: they wait for another event, or for the sweep. So do those
    /// of which nobody could tell.
    async fn in_service<'i>(&mut self, instances: Vec<&'i Instance>) -> Vec<&'i Instance> {
        let of_groups: BTreeSet<InstanceId> =
            instances.iter().filter(|i| i.auto_scaling_group().is_some()).map(|i| i.id.clone()).collect();
        let members = match &self.members {
            Some(members) => Ok(members.clone()),
            None if of_groups.is_empty() => Ok(BTreeMap::new()),
            None => auto_scaling::members(&self.registrar.clients.auto_scaling, &of_groups).await,
        };
        let mut in_service = Vec::new();
        for instance in instances {
            match &members {
                Err(error) if of_groups.contains(&instance.id) => {
                    self.recorder.call_failed(
                        &instance.id,
                        instance.auto_scaling_group().as_ref().map(|n| n as _),
                        error,
                    );
                }
                Ok(members) => match members.get(&instance.id).map(|member| &member.lifecycle_state) {
                    // Its group may have changed its mind since the launch hook let it in.
                    Some(state) if !state.is_ending() && self.let_in.contains(&instance.id) => {
                        in_service.push(instance)
                    }
                    // It is being seen out in this very run.
                    Some(state) if state.is_leaving() && self.leaving.contains_key(&instance.id) => {}
                    Some(state) if state.is_out_of_service() => {
                        let why = format!("its Auto Scaling group keeps it out of service ({state})");
                        self.recorder.waiting(&instance.id, Because::all(why));
                    }
                    _ => in_service.push(instance),
                },
                Err(_) => in_service.push(instance),
            }
        }
        in_service
    }

    /// Why an instance shall be registered nowhere.
    fn why_out(&self, instance: &Instance) -> String {
        match self.leaving.get(&instance.id) {
            Some(state) => format!("its Auto Scaling group takes it out of service ({state})"),
            None => format!("the instance is {}", instance.state.name()),
        }
    }
}

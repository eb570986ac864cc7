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

pub(crate) mod give_back;
mod guards;
mod hints;
pub(crate) mod parts;
mod stops;
mod storms;
mod take_out;
mod waves;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{
    because::Because,
    decide::Attached,
    declaration::Declaration,
    id::{AutoScalingGroupName, InstanceId},
    instance::{Instance, State},
    member::{AttachedBalancers, LifecycleState, Member},
    observed::Target,
    registration::{BalancerId, Registration},
    tag,
    time::Timestamp,
};
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::{clients::Clients, ec2::Reading},
    balancer::{Balancers, TargetGroups},
    config::{Mode, Orphans, Scope},
    report::Recorder,
};

use give_back::broken_tags;
use stops::Stops;
use storms::Storms;

/// Converges instances of one account and Region.
pub struct Registrar {
    pub(crate) clients: Arc<Clients>,
    pub(crate) mode: Mode,
    pub(crate) scope: Scope,
    pub(crate) orphans: Orphans,
    pub(crate) stops: Stops,
    pub(crate) storms: Storms,
}

/// A registration that was, or is to be, taken or given.
pub(crate) type Item = (InstanceId, Registration, Target);

impl Registrar {
    /// A registrar that calls AWS through some clients.
    pub fn new(clients: Arc<Clients>, mode: Mode, scope: Scope) -> Self {
        Self { clients, mode, scope, orphans: Orphans::Report, stops: Stops::default(), storms: Storms::default() }
    }

    /// The same, with something to be done about orphans.
    #[must_use]
    pub fn with_orphans(self, orphans: Orphans) -> Self {
        Self { orphans, ..self }
    }

    /// Forgets which stops were seen through, and which storms: the next event of each is worked on again.
    pub fn forget_stops(&self) {
        self.stops.forget();
        self.storms.forget();
    }

    pub(crate) fn run(&self, read_at: MonotonicTime, reading: &Reading) -> Run<'_> {
        Run {
            registrar: self,
            scope: self.scope,
            recorder: Recorder::new(self.mode),
            balancers: None,
            read_at,
            read_at_ec2: reading.at,
            groups: BTreeMap::new(),
            members: None,
            leaving: BTreeMap::new(),
            let_in: BTreeMap::new(),
            draining: BTreeMap::new(),
            given: BTreeMap::new(),
            running_at: read_at,
        }
    }

    /// The balancers that there are. One reading's worth: they remember what they described.
    pub(crate) fn balancers(&self, account: &str) -> Balancers {
        Balancers::new(&self.clients, account)
    }

    pub(crate) fn target_groups(&self, account: &str) -> TargetGroups {
        TargetGroups::new(&self.clients, account)
    }
}

/// One batch under way.
pub(crate) struct Run<'r> {
    pub(crate) registrar: &'r Registrar,
    /// Which instances are converged.
    pub(crate) scope: Scope,
    pub(crate) recorder: Recorder,
    /// A sweep's: what was read once serves all of it, until something is taken.
    pub(crate) balancers: Option<Arc<Balancers>>,
    /// When the reading was asked for that entitles to take, by our own clock.
    pub(crate) read_at: MonotonicTime,
    /// The same by EC2's clock, when it answered.
    pub(crate) read_at_ec2: Timestamp,
    /// What is attached to the groups that were read in this run.
    pub(crate) groups: BTreeMap<AutoScalingGroupName, AttachedBalancers>,
    /// The run's instances as members of groups, where they were read together with the instances.
    pub(crate) members: Option<BTreeMap<InstanceId, Member>>,
    /// Instances that run, and are out for all that: on their way out of their group.
    pub(crate) leaving: BTreeMap<InstanceId, LifecycleState>,
    /// Instances that their launch hook lets in, whatever their group's state of them is, with what the hook declares for them.
    pub(crate) let_in: BTreeMap<InstanceId, Vec<Declaration>>,
    /// Balancers that a scan saw draining something of an instance.
    pub(crate) draining: BTreeMap<InstanceId, BTreeSet<BalancerId>>,
    /// Instances that were due something, and when: they may be out by now, or may have been all the time.
    pub(crate) given: BTreeMap<InstanceId, MonotonicTime>,
    /// When the instances were last read that are given something back.
    pub(crate) running_at: MonotonicTime,
}

impl Run<'_> {
    /// Reads instances again. That this fails is written down for each of them.
    pub(crate) async fn read_again(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Reading> {
        match self.registrar.clients.ec2.read(ids).await {
            Ok(reading) => Some(reading),
            Err(error) => {
                ids.iter().for_each(|id| self.recorder.call_failed(id, None, &error));
                None
            }
        }
    }

    /// Reads instances again, and begins anew with what is read: all that is known of balancers and members is as old as the reading before.
    pub(crate) async fn begin_anew(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Reading> {
        self.balancers = None;
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
    pub(crate) fn seconds_since(&self, time: Option<Timestamp>) -> Option<u64> {
        time.map(|time| (self.read_at_ec2 - time).num_seconds().unsigned_abs())
    }

    /// The sweep's balancers; without one, new ones, of which nothing was read yet.
    pub(crate) fn balancers(&self, account: &str) -> Arc<Balancers> {
        self.balancers.clone().unwrap_or_else(|| self.registrar.balancers(account).into())
    }

    /// Sorts instances: those that are out, and those that run.
    pub(crate) fn sort_by_state<'i>(&mut self, instances: &[&'i Instance]) -> (Vec<&'i Instance>, Vec<&'i Instance>) {
        for instance in instances {
            self.recorder.instance(&instance.id).held = instance.held().registrations();
            self.name_wrong_tags(instance);
        }
        let (out, running): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().filter(|instance| self.is_ours(instance)).partition(|instance| instance.state.is_out());
        // A sweep also comes upon instances that are starting, or in a state that this version does not know.
        (out, running.into_iter().filter(|instance| instance.state == State::Running).collect())
    }

    /// Whether an instance is ours to converge, by its own tags.
    pub(crate) fn is_ours(&mut self, instance: &Instance) -> bool {
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
        let in_scope = self.is_in_scope(instance);
        if !in_scope {
            let why = format!("the scope is `tagged`, and it does not bear the tag {}", tag::REGISTER);
            self.recorder.nothing_to_do(&instance.id, &why);
        }
        in_scope
    }

    /// Whether an instance is one of those that the operator has chosen. What is held was ours when it was taken, whatever the scope is by now.
    pub(crate) fn is_in_scope(&self, instance: &Instance) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Tagged => instance.tags.contains_key(tag::REGISTER) || !instance.held().is_empty(),
        }
    }

    /// Names what a person should correct in an instance's tags: texts that are no registrations, and keys that nearly are one of ours.
    pub(crate) fn name_wrong_tags(&mut self, instance: &Instance) {
        for because in broken_tags(instance) {
            self.recorder.needs_a_person(&instance.id, because);
        }
        for key in instance.tags.keys() {
            self.name_odd_tag(&instance.id, key, key);
        }
    }

    fn name_odd_tag(&mut self, id: &InstanceId, what: &str, key: &str) {
        if let Some(odd) = tag::odd(key) {
            self.recorder.needs_a_person(id, Because::of(&format!("tag {what}"), odd));
        }
    }

    /// Reads which balancers Auto Scaling looks after, for the instances that are in a group.
    ///
    /// An instance whose group could not be read is left out and marked as failed: nobody knows what is foreign there.
    pub(crate) async fn attached<'i>(&mut self, instances: &[&'i Instance]) -> Vec<(&'i Instance, Attached)> {
        let names = instances.iter().filter_map(|instance| instance.auto_scaling_group());
        let unknown: BTreeSet<AutoScalingGroupName> = names.filter(|name| !self.groups.contains_key(name)).collect();
        let mut failure = None;
        if !unknown.is_empty() {
            match self.registrar.clients.auto_scaling.attached_balancers(&unknown).await {
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
    pub(crate) async fn in_service<'i>(&mut self, instances: Vec<&'i Instance>) -> Vec<&'i Instance> {
        let of_groups: BTreeSet<InstanceId> =
            instances.iter().filter(|i| i.auto_scaling_group().is_some()).map(|i| i.id.clone()).collect();
        let members = match &self.members {
            Some(members) => Ok(members.clone()),
            None if of_groups.is_empty() => Ok(BTreeMap::new()),
            None => self.registrar.clients.auto_scaling.members(&of_groups).await,
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
                    Some(state) if !state.is_ending() && self.let_in.contains_key(&instance.id) => {
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
    pub(crate) fn why_out(&self, instance: &Instance) -> String {
        match self.leaving.get(&instance.id) {
            Some(state) => format!("its Auto Scaling group takes it out of service ({state})"),
            None => format!("the instance is {}", instance.state.name()),
        }
    }
}

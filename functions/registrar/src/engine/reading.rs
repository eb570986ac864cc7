//! What was read for a look, and how old it is. A reading entitles to act only while it is young. That is asked here,
//! and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{
    id::{AutoScalingGroupName, InstanceId},
    member::{AttachedBalancers, Member},
    presence::Membership,
    time::Timestamp,
    timing::{READING_GOOD_FOR, RENEWED_AFTER, STOPS_NOT_WITHIN},
};
use tokio::time::Instant as MonotonicTime;

use crate::{aws::ec2::Described, balancer::Balancers};

/// The age of a reading by our own clock, from the moment in which the call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(MonotonicTime);

impl Age {
    /// Returns the age of a reading that begins now.
    pub(crate) fn new() -> Self {
        Self(MonotonicTime::now())
    }

    /// Returns whether the reading should be renewed before something begins that it has to entitle to.
    pub(crate) fn is_to_be_renewed(self) -> bool {
        self.0.elapsed() >= RENEWED_AFTER
    }

    /// Returns whether an instance that ran may have stopped since the reading, and lost an address.
    pub(crate) fn may_be_of_before_a_stop(self) -> bool {
        self.0.elapsed() > STOPS_NOT_WITHIN
    }

    /// Returns whether the reading still entitles to deregister and to register.
    pub(crate) fn entitles(self) -> bool {
        self.0.elapsed() <= READING_GOOD_FOR
    }

    /// Returns whether the reading entitles to nothing that begins now.
    pub(crate) fn is_over(self) -> bool {
        self.0.elapsed() >= READING_GOOD_FOR
    }

    /// Returns when the reading ceases to entitle.
    pub(crate) fn ends_at(self) -> MonotonicTime {
        self.0 + READING_GOOD_FOR
    }
}

/// What was read for a look.
pub(crate) struct Reading {
    /// The age of the instances' reading, which entitles to deregister.
    pub(crate) age: Age,
    /// When EC2 answered that reading, by EC2's own clock.
    pub(crate) at: Timestamp,
    /// The age of the last reading of the running instances, which entitles to delete tags.
    pub(crate) running: Age,
    /// The balancers of a sweep, or those that an event's look has counted. What was read once serves all of it, until something is
    /// deregistered.
    pub(super) balancers: Option<Arc<Balancers>>,
    /// The balancers that are attached to the Auto Scaling groups that were read.
    pub(super) groups: BTreeMap<AutoScalingGroupName, AttachedBalancers>,
    /// Instances that were read as members of groups; `None` for an instance that is in no group.
    members: BTreeMap<InstanceId, Option<Member>>,
    /// Instances that were members of a group when they were read, even if that is too old by now.
    were_members: BTreeSet<InstanceId>,
    /// Whether the Auto Scaling groups that were read have a hook of ours.
    pub(super) hooked: BTreeMap<AutoScalingGroupName, bool>,
    /// Instances that were in scope in this look. The tags of an instance that ends fade away.
    pub(super) in_scope: BTreeSet<InstanceId>,
    /// Instances whose addresses are those of an earlier description, because they have lost them since.
    remembered: BTreeSet<InstanceId>,
}

/// How old a reading is, and when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    age: Age,
    at: Timestamp,
    running: Age,
}

impl Reading {
    /// Creates a reading of described instances, with nothing known of balancers and groups yet.
    pub(crate) fn new(age: Age, described: &Described) -> Self {
        let (balancers, groups, members) = (None, BTreeMap::new(), BTreeMap::new());
        let (were_members, remembered, in_scope, hooked) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let (at, running) = (described.at, age);
        Self { age, at, running, balancers, groups, members, were_members, hooked, in_scope, remembered }
    }

    /// Returns the same reading, with the instances whose addresses are those of an earlier description.
    #[must_use]
    pub(crate) fn with_remembered(self, remembered: BTreeSet<InstanceId>) -> Self {
        Self { remembered, ..self }
    }

    /// Adds instances whose addresses are those of an earlier description.
    pub(crate) fn add_remembered(&mut self, remembered: BTreeSet<InstanceId>) {
        self.remembered.extend(remembered);
    }

    /// Returns whether the addresses of an instance are those of an earlier description.
    pub(super) fn is_remembered(&self, id: &InstanceId) -> bool {
        self.remembered.contains(id)
    }

    /// Returns how old the reading is.
    pub(crate) fn times(&self) -> Times {
        Times { age: self.age, at: self.at, running: self.running }
    }

    /// Makes the reading as old again as it was: what was read again served one step only.
    pub(crate) fn set_times(&mut self, Times { age, at, running }: Times) {
        (self.age, self.at, self.running) = (age, at, running);
    }

    /// Keeps balancers, which remember what was read of them: the look goes on with these.
    pub(crate) fn keep_balancers(&mut self, balancers: Arc<Balancers>) {
        self.balancers = Some(balancers);
    }

    /// Forgets what is known of balancers and members: it is as old as the instances' description before.
    pub(super) fn forget_what_followed(&mut self) {
        self.balancers = None;
        self.members.clear();
    }

    /// Notes that the instances were described again.
    pub(super) fn renew(&mut self, age: Age, at: Timestamp) {
        (self.age, self.at, self.running) = (age, at, age);
    }

    /// Notes that some instances were read as members of groups.
    pub(crate) fn set_members(&mut self, ids: &BTreeSet<InstanceId>, mut read: BTreeMap<InstanceId, Member>) {
        self.were_members.extend(ids.iter().filter(|id| read.contains_key(*id)).cloned());
        self.members.extend(ids.iter().map(|id| (id.clone(), read.remove(id))));
    }

    /// Forgets what was read of some instances as members of groups, because it is too old by now.
    pub(super) fn forget_members(&mut self, ids: &BTreeSet<InstanceId>) {
        self.members.retain(|id, _| !ids.contains(id));
    }

    /// Returns whether an instance was a member of a group when that was last read.
    pub(super) fn was_member(&self, id: &InstanceId) -> bool {
        self.were_members.contains(id)
    }

    /// Returns the instances that were read as members of groups.
    pub(super) fn members(&self) -> impl Iterator<Item = &InstanceId> {
        self.members.keys()
    }

    /// Returns the group that an instance is a member of, if that was read.
    pub(super) fn group(&self, id: &InstanceId) -> Option<&AutoScalingGroupName> {
        self.members.get(id)?.as_ref().map(|member| &member.group)
    }

    /// Returns what is known of an instance as a member of a group.
    pub(super) fn membership(&self, id: &InstanceId) -> Membership<'_> {
        self.members.get(id).map_or(Membership::NotRead, |member| Membership::of(member.as_ref()))
    }

    /// Returns the seconds from a time that EC2 told until this reading; `None` if EC2 told none.
    pub(crate) fn seconds_since(&self, time: Option<Timestamp>) -> Option<u64> {
        time.map(|time| (self.at - time).num_seconds().unsigned_abs())
    }
}

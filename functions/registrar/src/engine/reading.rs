//! What was read for a look, and how old it is. What a reading entitles to ends with its age; that is asked here, and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{
    id::{AutoScalingGroupName, InstanceId},
    member::{AttachedBalancers, Member},
    presence::Membership,
    time::Timestamp,
    timing::{EVENT_TAKES_AT_LEAST, READING_GOOD_FOR, RENEWED_AFTER},
};
use tokio::time::Instant as MonotonicTime;

use crate::{aws::ec2::Described, balancer::Balancers};

/// How old something is that was read, by our own clock: from the moment in which it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(MonotonicTime);

impl Age {
    /// Of what is asked for next.
    pub(crate) fn new() -> Self {
        Self(MonotonicTime::now())
    }

    /// Whether it should be renewed before something begins that it has to entitle to.
    pub(crate) fn is_to_be_renewed(self) -> bool {
        self.0.elapsed() >= RENEWED_AFTER
    }

    /// Whether it still entitles to deregister, and to register.
    pub(crate) fn entitles(self) -> bool {
        self.0.elapsed() <= READING_GOOD_FOR
    }

    /// Whether it entitles to nothing that begins now.
    pub(crate) fn is_over(self) -> bool {
        self.0.elapsed() >= READING_GOOD_FOR
    }

    /// When it ceases to entitle.
    pub(crate) fn ends_at(self) -> MonotonicTime {
        self.0 + READING_GOOD_FOR
    }

    /// Whether the event of a stop that came after it cannot have been served yet.
    pub(crate) fn is_younger_than_any_event(self) -> bool {
        self.0.elapsed() < EVENT_TAKES_AT_LEAST
    }
}

/// What was read for a look.
pub(crate) struct Reading {
    /// Of the reading of the instances: it entitles to take out.
    pub(crate) age: Age,
    /// When EC2 gave that reading, by its own clock.
    pub(crate) at: Timestamp,
    /// Of the last reading of those that run: it entitles to forget.
    pub(crate) running: Age,
    /// A sweep's: what was read once serves all of it, until something is taken.
    pub(super) balancers: Option<Arc<Balancers>>,
    /// What is attached to the Auto Scaling groups that were read.
    pub(super) groups: BTreeMap<AutoScalingGroupName, AttachedBalancers>,
    /// Instances that were read as members of groups; `None` for one that is in no group.
    members: BTreeMap<InstanceId, Option<Member>>,
}

impl Reading {
    /// Instances were described; of balancers and groups nothing is known yet.
    pub(crate) fn new(age: Age, described: &Described) -> Self {
        let (balancers, groups, members) = (None, BTreeMap::new(), BTreeMap::new());
        Self { age, at: described.at, running: age, balancers, groups, members }
    }

    /// The same, with balancers that remember what was read of them.
    #[must_use]
    pub(crate) fn with_balancers(self, balancers: Arc<Balancers>) -> Self {
        Self { balancers: Some(balancers), ..self }
    }

    /// Forgets what is known of balancers and members: it is as old as the description of the instances.
    pub(super) fn forget_what_followed(&mut self) {
        self.balancers = None;
        self.members.clear();
    }

    /// Notes that the instances were described again.
    pub(super) fn renew(&mut self, age: Age, at: Timestamp) {
        (self.age, self.at, self.running) = (age, at, age);
    }

    /// Some instances were read as members of groups.
    pub(crate) fn set_members(&mut self, ids: &BTreeSet<InstanceId>, mut read: BTreeMap<InstanceId, Member>) {
        self.members.extend(ids.iter().map(|id| (id.clone(), read.remove(id))));
    }

    /// What is known of some instances as members of groups is too old by now.
    pub(super) fn forget_members(&mut self, ids: &BTreeSet<InstanceId>) {
        self.members.retain(|id, _| !ids.contains(id));
    }

    /// What is known of an instance as a member of a group.
    pub(super) fn membership(&self, id: &InstanceId) -> Membership<'_> {
        self.members.get(id).map_or(Membership::NotRead, |member| Membership::of(member.as_ref()))
    }

    /// Seconds from a time that EC2 told until this reading; `None` where it told none.
    pub(crate) fn seconds_since(&self, time: Option<Timestamp>) -> Option<u64> {
        time.map(|time| (self.at - time).num_seconds().unsigned_abs())
    }
}

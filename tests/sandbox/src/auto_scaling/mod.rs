//! Amazon EC2 Auto Scaling: groups, their members, and the traffic sources of the members.
//!
//! A group launches, replaces and terminates its members by itself ([`set_desired`], [`put_warm_pool`]). Hooks let them wait
//! ([`put_hook`], [`State::actions`]). AttachInstances and [`add_member`] bring instances that others have launched.

mod action;
mod balancing;
mod capacity;
mod course;
mod event;
mod group;
mod health;
mod hook;
mod journey;
mod lifecycle_state;
mod membership;
pub mod process;
mod refresh;
#[cfg(test)]
mod tests;
mod warm_pool;
mod wire;

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::{clock::Timestamp, ec2::InstanceState, world::World};

pub use action::{Action, ActionKey, EndedAction, Ending, complete, record_heartbeat};
pub use balancing::{AttachedBy, TrafficSource, TrafficSourceKind};
pub use capacity::{set_desired, terminate_member};
pub use course::{Course, Place, Transition};
pub use group::{GroupSpec, create_group, delete_group};
pub use hook::{ActionResult, Hook, HookSpec, delete_hook, put_hook};
pub use lifecycle_state::LifecycleState;
pub use membership::{Leaving, add_member, detach, enter_standby, exit_standby, set_lifecycle_state};
pub use process::Process;
pub use refresh::{Preferences, Refresh, RefreshStatus, Strategy, cancel_refresh, start_refresh};
pub use warm_pool::{Deletion, PoolState, WarmPool, delete_warm_pool, put_warm_pool};
pub use wire::answer;

/// Everything in Auto Scaling.
#[derive(Debug, Default)]
pub struct State {
    /// By name.
    pub groups: BTreeMap<String, Group>,
    /// Lifecycle actions that are open, oldest first.
    pub actions: Vec<Action>,
    /// Lifecycle actions that are over, in the order of their end.
    pub ended_actions: Vec<EndedAction>,
    /// How many members have joined a group so far.
    joined: u64,
    /// The dice for durations. They are seeded at their first use, since `Default` has no seed.
    dice: Option<Rng>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Unique in the account and Region.
    pub name: String,
    /// It contains a UUID, so that a group of the same name created later is another one.
    pub arn: String,
    /// The source of its launches. Only shown.
    pub source: LaunchSource,
    /// The fewest members.
    pub min_size: usize,
    /// The most members.
    pub max_size: usize,
    /// How many members it wants in service.
    pub desired_capacity: usize,
    /// Subnets that it launches in.
    pub subnet_ids: Vec<String>,
    /// Zones that it launches in.
    pub zones: Vec<String>,
    /// `EC2`, `ELB`...
    pub health_check_type: String,
    /// Seconds.
    pub health_check_grace_period: u32,
    /// The traffic sources of its members, in the order of attachment. Only the group may change the members' registrations
    /// there.
    pub traffic_sources: Vec<TrafficSource>,
    /// The group's own tags.
    pub tags: Vec<GroupTag>,
    /// By instance id.
    pub members: BTreeMap<String, Member>,
    /// When it was created.
    pub created: Timestamp,
    /// Its lifecycle hooks, by name.
    pub hooks: BTreeMap<String, Hook>,
    /// The suspended processes, each with the time since when.
    pub suspended: BTreeMap<Process, Timestamp>,
    /// Its warm pool.
    pub warm_pool: Option<WarmPool>,
    /// Its instance refreshes, oldest first.
    pub refreshes: Vec<Refresh>,
    /// Whether members that it launches are spared by scaling in.
    pub protects_new_members: bool,
    /// Whether an instance stays whose terminate hook was abandoned: the trigger `TerminateHookAbandon` of its instance lifecycle policy
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/configure-instance-retention.html>).
    pub retains: bool,
    /// How many reviews are due in the next moments.
    reviews_due: usize,
}

/// The source of a group's launches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchSource {
    /// Id or name, and version.
    Template {
        /// `lt-...`
        id: Option<String>,
        /// Its name.
        name: Option<String>,
        /// Such as `$Latest`.
        version: Option<String>,
    },
    /// A launch configuration, by name.
    Configuration(String),
    /// An instance, by id, that it was made from.
    Instance(String),
}

/// An instance of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The instance.
    pub instance_id: String,
    /// Its zone, which is shown even when EC2 has forgotten the instance.
    pub zone: String,
    /// Its lifecycle state.
    pub lifecycle_state: LifecycleState,
    /// The result of the last health check.
    pub is_healthy: bool,
    /// Whether scaling in spares it.
    pub protected_from_scale_in: bool,
    /// Its course, unless it rests.
    pub course: Option<Course>,
    /// When it was last put in service.
    pub in_service_since: Option<Timestamp>,
    /// Its place in the order of joining.
    joined: u64,
    /// Counts its changes of state, so that a deed can see whether it comes too late.
    moves: u64,
    /// Health checks that lie ahead.
    checks_due: usize,
}

/// A tag of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether instances that the group launches get it, too.
    pub propagate_at_launch: bool,
}

impl Member {
    fn new(world: &mut World, instance_id: &str, lifecycle_state: LifecycleState) -> Self {
        world.auto_scaling.joined += 1;
        Self {
            instance_id: instance_id.to_owned(),
            zone: world.ec2.instance(instance_id).map(|instance| instance.zone.clone()).unwrap_or_default(),
            lifecycle_state,
            is_healthy: true,
            protected_from_scale_in: false,
            course: None,
            in_service_since: None,
            joined: world.auto_scaling.joined,
            moves: 0,
            checks_due: 0,
        }
    }
}

impl State {
    /// Returns the group that an instance is a member of.
    pub fn group_of(&self, instance_id: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.members.contains_key(instance_id))
    }

    /// Returns an instance as a member of its group.
    pub fn member(&self, instance_id: &str) -> Option<&Member> {
        self.group_of(instance_id)?.members.get(instance_id)
    }

    fn member_mut(&mut self, instance_id: &str) -> Option<&mut Member> {
        self.groups.values_mut().find_map(|group| group.members.get_mut(instance_id))
    }
}

/// Returns whether anything in Auto Scaling will still happen by itself: a member is under way, waits at a hook or leaves the group, or
/// a review, a health check or a refresh is due. An open action counts, since it times out if no caller completes it.
pub fn is_moving(world: &World) -> bool {
    let is_leaving =
        |member: &Member| matches!(member.lifecycle_state, LifecycleState::Detaching | LifecycleState::Detached);
    let is_moving = |member: &Member| member.course.is_some() || member.checks_due > 0 || is_leaving(member);
    let mut groups = world.auto_scaling.groups.values();
    groups
        .any(|group| group.reviews_due > 0 || group.active_refresh().is_some() || group.members.values().any(is_moving))
}

/// Does the service's work when an instance has reached a state.
pub(crate) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    health::instance_changed(world, instance_id, state);
}

/// Returns the dice for durations.
fn dice(world: &mut World) -> &mut Rng {
    let seed = world.options.seed;
    world.auto_scaling.dice.get_or_insert_with(|| World::dice(seed, "auto_scaling"))
}

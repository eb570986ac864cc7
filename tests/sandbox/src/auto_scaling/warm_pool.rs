//! Warm pools: members that are prepared and kept aside until the group needs them.
//!
//! The review of the group moves them ([`super::capacity`]).

use super::{
    LifecycleState,
    action::{self, Ending},
    capacity,
    membership::{existing, existing_mut, invalid},
};
use crate::{ec2, wire::ApiError, world::World};

/// The state in EC2 in which a pool keeps its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolState {
    /// `Stopped`
    #[default]
    Stopped,
    /// `Running`
    Running,
    /// `Hibernated`
    Hibernated,
}

/// A warm pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmPool {
    /// The state in which members that come are kept. Members that are there stay as they are: AWS's own way is *not verified*.
    pub state: PoolState,
    /// The fewest members of the pool.
    pub min_size: usize,
    /// The most members of group and pool together, if that is not the group's own maximum.
    pub max_group_prepared_capacity: Option<usize>,
    /// Whether scaling in returns members to the pool.
    pub reuse_on_scale_in: bool,
    /// Whether it is gone as soon as it is empty.
    pub is_being_deleted: bool,
}

impl PoolState {
    /// All of them.
    const ALL: [Self; 3] = [Self::Stopped, Self::Running, Self::Hibernated];

    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Running => "Running",
            Self::Hibernated => "Hibernated",
        }
    }

    /// Returns the state of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Returns the state of a member that rests in the pool.
    pub fn member_state(self) -> LifecycleState {
        match self {
            Self::Stopped => LifecycleState::WarmedStopped,
            Self::Running => LifecycleState::WarmedRunning,
            Self::Hibernated => LifecycleState::WarmedHibernated,
        }
    }
}

impl WarmPool {
    /// Returns how many members it should have: the gap between the desired capacity and the group's maximum or the prepared
    /// capacity, and never fewer than its least (Auto Scaling guide, "Warm pool size").
    pub(super) fn wanted(&self, max_size: usize, desired: usize) -> usize {
        let most = self.max_group_prepared_capacity.unwrap_or(max_size);
        most.saturating_sub(desired).max(self.min_size)
    }
}

/// Gives a group a warm pool, or changes the one that it has.
///
/// # Errors
/// Returns the errors of PutWarmPool.
pub fn put_warm_pool(world: &mut World, group_name: &str, pool: WarmPool) -> Result<(), ApiError> {
    let group = existing(world, group_name)?;
    capacity::check_launches(group, pool.wanted(group.max_size, group.desired_capacity))?;
    if group.warm_pool.as_ref().is_some_and(|old| old.is_being_deleted) {
        return Err(invalid(format!("The warm pool of AutoScalingGroup {group_name} is being deleted")));
    }
    existing_mut(world, group_name)?.warm_pool = Some(pool);
    capacity::review_soon(world, group_name);
    Ok(())
}

/// Whether the deletion of a pool waits until its members went through their hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It does.
    Orderly,
    /// "Without waiting for all instances to be terminated. This parameter also deletes any outstanding lifecycle actions
    /// associated with the warm pool instances" (botocore, DeleteWarmPool).
    Forced,
}

/// Deletes a group's warm pool with its members.
///
/// # Errors
/// If there is no such group or pool.
pub fn delete_warm_pool(world: &mut World, group_name: &str, deletion: Deletion) -> Result<(), ApiError> {
    let group = existing_mut(world, group_name)?;
    let pool = group.warm_pool.as_mut();
    pool.ok_or_else(|| invalid(format!("No warm pool found for AutoScalingGroup {group_name}")))?.is_being_deleted =
        true;
    if deletion == Deletion::Forced {
        group.warm_pool = None;
        let warmed = group.members.values().filter(|member| member.lifecycle_state.is_warmed());
        let warmed: Vec<_> = warmed.map(|member| member.instance_id.clone()).collect();
        for id in &warmed {
            group.members.remove(id);
        }
        for id in &warmed {
            action::close_all_of(world, id, Ending::Overtaken);
            ec2::terminate(world, id)?;
        }
    }
    capacity::review_soon(world, group_name);
    Ok(())
}

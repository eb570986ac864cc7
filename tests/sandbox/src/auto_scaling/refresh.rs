//! Instance refreshes: the members that were there at the start are replaced, or get another root volume, batch by batch (Auto
//! Scaling guide, "How an instance refresh works").
//!
//! Actual are the outdated members that are still there; wanted are none. A step every few seconds takes out as many as the
//! minimum healthy percentage allows, and lets the group be larger for a while as the maximum allows. The review of the group
//! ([`super::capacity`]) launches the others. Members of the warm pool come last.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Group, LifecycleState, Member, Process, capacity,
    course::Course,
    event, journey,
    membership::{existing, existing_mut},
};
use crate::{
    clock::{Timestamp, delta},
    options::Span,
    wire::ApiError,
    world::World,
};

/// How often a refresh looks whether it can go on. AWS does not document its own interval.
const STEP: Span = Span::milliseconds(2_000, 6_000);

/// How a refresh brings a member up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// By another instance.
    #[default]
    Rolling,
    /// By another root volume.
    ReplaceRootVolume,
}

/// The status of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshStatus {
    /// It goes on.
    InProgress,
    /// It takes out no more members, and waits for those under way.
    Cancelling,
    /// It was cancelled.
    Cancelled,
    /// No member is outdated.
    Successful,
}

/// The preferences of a refresh (botocore, RefreshPreferences). Checkpoints, rollback and the rest are not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// Percentage of the desired capacity that stays in service.
    pub min_healthy_percentage: usize,
    /// Percentage of the desired capacity that the group may have.
    pub max_healthy_percentage: usize,
    /// Seconds in service after which a new member counts as healthy; the grace period, if the caller says nothing.
    pub instance_warmup: Option<u32>,
}

/// A refresh, in progress or over.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// In the form of a UUID.
    pub id: String,
    /// How it brings members up to date.
    pub strategy: Strategy,
    /// Its preferences.
    pub preferences: Preferences,
    /// Its status.
    pub status: RefreshStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// How many members there were to update.
    pub total: usize,
    /// The outdated members that are still in place, in service or in the pool.
    pub outdated: BTreeSet<String>,
}

impl Default for Preferences {
    /// Returns botocore's defaults: 90 percent at least, and no more than are desired.
    fn default() -> Self {
        Self { min_healthy_percentage: 90, max_healthy_percentage: 100, instance_warmup: None }
    }
}

impl Strategy {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rolling => "Rolling",
            Self::ReplaceRootVolume => "ReplaceRootVolume",
        }
    }
}

impl RefreshStatus {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Successful => "Successful",
        }
    }

    /// Returns whether it is not over.
    pub fn is_active(self) -> bool {
        matches!(self, Self::InProgress | Self::Cancelling)
    }
}

impl Refresh {
    /// Returns the progress in whole percents.
    pub fn percentage_complete(&self) -> usize {
        (self.total - self.outdated.len()) * 100 / self.total.max(1)
    }
}

impl Group {
    /// Returns the refresh that is not over.
    pub fn active_refresh(&self) -> Option<&Refresh> {
        self.refreshes.last().filter(|refresh| refresh.status.is_active())
    }

    /// Returns how many members more than desired a refresh lets the group have.
    pub(super) fn surge(&self) -> usize {
        let refresh = self.active_refresh().filter(|refresh| refresh.strategy == Strategy::Rolling);
        refresh.map_or(0, |refresh| {
            let most = self.desired_capacity * refresh.preferences.max_healthy_percentage / 100;
            most.saturating_sub(self.desired_capacity)
        })
    }

    /// Returns how many of these it should launch just now: at most one for each outdated member that it will replace.
    pub(super) fn surge_to_launch(&self) -> usize {
        let refresh = self.active_refresh().filter(|refresh| refresh.status == RefreshStatus::InProgress);
        let in_service = |id: &&String| self.members.get(*id).is_some_and(is_live);
        refresh.map_or(0, |refresh| self.surge().min(refresh.outdated.iter().filter(in_service).count()))
    }

    /// Returns how many members carry the load: they are in service and, if they are new, past their warmup.
    fn healthy(&self, refresh: &Refresh, now: Timestamp) -> usize {
        let warmup = refresh.preferences.instance_warmup.unwrap_or(self.health_check_grace_period);
        let warmup = delta(Duration::from_secs(u64::from(warmup)));
        let is_warm = |member: &&Member| {
            refresh.outdated.contains(&member.instance_id)
                || member.in_service_since.is_some_and(|since| since + warmup <= now)
        };
        self.members.values().filter(|member| is_live(member)).filter(is_warm).count()
    }

    /// Returns the end of a refresh that has these members left, and the word for it in its event.
    fn end_of(
        &self,
        refresh: &Refresh,
        left: &BTreeSet<String>,
        now: Timestamp,
    ) -> Option<(RefreshStatus, &'static str)> {
        let is_settled = !self.members.values().any(|member| member.course.is_some());
        let is_complete = left.is_empty() && self.healthy(refresh, now) >= self.desired_capacity;
        match refresh.status {
            RefreshStatus::Cancelling if is_settled => Some((RefreshStatus::Cancelled, "Cancelled")),
            RefreshStatus::InProgress if is_settled && is_complete => Some((RefreshStatus::Successful, "Succeeded")),
            _ => None,
        }
    }

    /// Returns the members that can be taken out now, the oldest first.
    fn next_in_service(&self, refresh: &Refresh, now: Timestamp) -> Vec<String> {
        let needed = (self.desired_capacity * refresh.preferences.min_healthy_percentage).div_ceil(100);
        let is_quiet =
            !self.members.values().any(|member| member.course.is_some() && member.lifecycle_state.is_wanted());
        let spare = match self.healthy(refresh, now).saturating_sub(needed) {
            // If the percentage allows none out, it would never end: one at a time, when the group is complete.
            0 if is_quiet && self.surge() == 0 && self.healthy(refresh, now) >= self.desired_capacity => 1,
            spare => spare,
        };
        let mut outdated: Vec<_> = refresh.outdated.iter().filter_map(|id| self.members.get(id)).collect();
        outdated.retain(|member| is_live(member));
        outdated.sort_by_key(|member| member.joined);
        outdated.iter().take(spare).map(|member| member.instance_id.clone()).collect()
    }

    /// Returns the next members in service. When none of these is outdated, "then it replaces instances in the warm pool".
    fn next(&self, refresh: &Refresh, now: Timestamp) -> Vec<String> {
        let outdated = || refresh.outdated.iter().filter_map(|id| self.members.get(id));
        if outdated().any(|member| !member.lifecycle_state.is_warmed()) {
            return self.next_in_service(refresh, now);
        }
        let resting = outdated().filter(|member| member.lifecycle_state.is_resting());
        resting.map(|member| member.instance_id.clone()).collect()
    }
}

fn is_live(member: &Member) -> bool {
    member.lifecycle_state == LifecycleState::InService
}

/// Starts a refresh of all members.
///
/// # Errors
/// Returns the errors of StartInstanceRefresh. Members that are protected or in standby are an error, too, since a caller's
/// choices about these are not modelled.
pub fn start_refresh(
    world: &mut World,
    group_name: &str,
    strategy: Strategy,
    preferences: Preferences,
) -> Result<String, ApiError> {
    let group = existing(world, group_name)?;
    if let Some(refresh) = group.active_refresh() {
        let message = format!(
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh: {}",
            refresh.id
        );
        return Err(ApiError::sender("InstanceRefreshInProgress", message));
    }
    let is_odd = |m: &Member| m.protected_from_scale_in || m.lifecycle_state == LifecycleState::Standby;
    if group.members.values().any(is_odd) {
        return Err(ApiError::not_modelled("a refresh with members that are protected from scale-in or in standby"));
    }
    if strategy == Strategy::ReplaceRootVolume && group.warm_pool.is_some() {
        return Err(ApiError::not_modelled("root volumes replaced in a warm pool"));
    }
    let outdated: BTreeSet<_> = group.members.keys().cloned().collect();
    let refresh = Refresh {
        id: world.invent_uuid(),
        strategy,
        preferences,
        status: RefreshStatus::InProgress,
        started: world.now(),
        ended: None,
        total: outdated.len(),
        outdated,
    };
    let id = refresh.id.clone();
    existing_mut(world, group_name)?.refreshes.push(refresh);
    event::refresh(world, group_name, &id, "Started");
    capacity::review_soon(world, group_name);
    step_later(world, group_name, &id);
    Ok(id)
}

/// Cancels the refresh in progress. The members that it has replaced stay.
///
/// # Errors
/// Returns the errors of CancelInstanceRefresh.
pub fn cancel_refresh(world: &mut World, group_name: &str) -> Result<String, ApiError> {
    let group = existing_mut(world, group_name)?;
    match group.refreshes.last_mut().filter(|refresh| refresh.status == RefreshStatus::InProgress) {
        Some(refresh) => {
            refresh.status = RefreshStatus::Cancelling;
            Ok(refresh.id.clone())
        }
        None => {
            let message = "No in progress or pending Instance Refresh found for Auto Scaling group";
            Err(ApiError::sender("ActiveInstanceRefreshNotFound", format!("{message} {group_name}")))
        }
    }
}

fn step_later(world: &mut World, group_name: &str, id: &str) {
    let wait = STEP.draw(super::dice(world));
    let (name, id) = (group_name.to_owned(), id.to_owned());
    world.after(wait, move |world| {
        let group = world.auto_scaling.groups.get(&name);
        if group.and_then(Group::active_refresh).is_some_and(|refresh| refresh.id == id) {
            step(world, &name, &id);
        }
    });
}

/// Takes the next members out, or ends the refresh.
fn step(world: &mut World, group_name: &str, id: &str) {
    let now = world.now();
    let Some(group) = world.auto_scaling.groups.get(group_name) else { return };
    let Some(refresh) = group.active_refresh() else { return };
    let strategy = refresh.strategy;
    let may_go_on =
        refresh.status == RefreshStatus::InProgress && !group.suspended.contains_key(&Process::InstanceRefresh);
    let batch = if may_go_on { group.next(refresh, now) } else { Vec::new() };
    // A member that left in another way is up to date as well.
    let is_left = |id: &&String| group.members.contains_key(*id) && !batch.contains(*id);
    let left: BTreeSet<_> = refresh.outdated.iter().filter(is_left).cloned().collect();
    let end = if batch.is_empty() { group.end_of(refresh, &left, now) } else { None };
    if let Some(refresh) = world.auto_scaling.groups.get_mut(group_name).and_then(|group| group.refreshes.last_mut()) {
        refresh.outdated = left;
        refresh.status = end.map_or(refresh.status, |(status, _)| status);
        refresh.ended = end.map(|_| now);
    }
    batch.iter().for_each(|id| take_out(world, id, strategy));
    capacity::review_soon(world, group_name);
    match end {
        Some((_, word)) => event::refresh(world, group_name, id, word),
        None => step_later(world, group_name, id),
    }
}

fn take_out(world: &mut World, id: &str, strategy: Strategy) {
    let is_warmed = world.auto_scaling.member(id).is_some_and(|member| member.lifecycle_state.is_warmed());
    let course = match strategy {
        _ if is_warmed => Course::TerminateWarmed,
        Strategy::Rolling => Course::Terminate,
        Strategy::ReplaceRootVolume => Course::ReplaceRootVolume,
    };
    journey::begin(world, id, course);
}

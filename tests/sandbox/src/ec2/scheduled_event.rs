//! Scheduled events: what AWS will do to an instance at a time that DescribeInstanceStatus tells (EC2 guide, "Scheduled events for
//! Amazon EC2 instances",
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instances-status-check_sched.html>).
//!
//! Only AWS schedules them, so there is no call for it: [`schedule_event`], [`cancel_event`] and [`complete_event`] are deeds. An event
//! that is over "can still be described for up to a week", and its description begins with `[Completed]` (botocore,
//! InstanceStatusEvent) or `[Canceled]`
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html>, which has it of the instance's own metadata).

use std::time::Duration;

use super::{InstanceState, lifecycle, reboot};
use crate::{
    clock::{Timestamp, delta},
    history::History,
    wire::ApiError,
    world::World,
};

/// How long an event is described after its end.
const SHOWN_AFTER_ITS_END: Duration = Duration::from_secs(7 * 24 * 3_600);

/// From the start of an event with a window to the end of the window. AWS's own sample has 26 hours, others two.
const WINDOW: Duration = Duration::from_secs(2 * 3_600);

/// The code of a scheduled event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventCode {
    /// `instance-stop`: the instance is stopped.
    InstanceStop,
    /// `instance-retirement`: it is stopped, or terminated if its root device is an instance store.
    InstanceRetirement,
    /// `instance-reboot`: it is rebooted.
    InstanceReboot,
    /// `system-reboot`: its host is rebooted, and the instance with it.
    SystemReboot,
    /// `system-maintenance`: its network or its power goes away for a while.
    SystemMaintenance,
}

/// A scheduled event.
#[derive(Clone, Debug)]
pub struct ScheduledEvent {
    /// `instance-event-...`
    pub id: String,
    /// The instance that it is about.
    pub instance_id: String,
    /// What will happen.
    pub code: EventCode,
    /// The earliest start.
    pub not_before: Timestamp,
    /// The latest end. A stop has none in AWS's samples.
    pub not_after: Option<Timestamp>,
    /// Whether it lies ahead.
    pub phase: Phase,
}

/// Whether a scheduled event lies ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It will happen, or happens.
    Ahead,
    /// It has happened, or its reason is gone.
    Completed,
    /// AWS has called it off.
    Canceled,
}

impl EventCode {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InstanceStop => "instance-stop",
            Self::InstanceRetirement => "instance-retirement",
            Self::InstanceReboot => "instance-reboot",
            Self::SystemReboot => "system-reboot",
            Self::SystemMaintenance => "system-maintenance",
        }
    }

    /// Returns the reason in words, as AWS's samples have it for stops and reboots.
    fn reason(self) -> &'static str {
        match self {
            Self::InstanceStop | Self::InstanceRetirement => "The instance is running on degraded hardware",
            Self::InstanceReboot | Self::SystemReboot => "The instance is scheduled for a reboot",
            Self::SystemMaintenance => "The instance is scheduled for maintenance",
        }
    }

    fn has_window(self) -> bool {
        !matches!(self, Self::InstanceStop | Self::InstanceRetirement)
    }
}

impl ScheduledEvent {
    /// Returns the description, which says whether the event is over.
    pub fn description(&self) -> String {
        let prefix = match self.phase {
            Phase::Ahead => "",
            Phase::Completed => "[Completed] ",
            Phase::Canceled => "[Canceled] ",
        };
        format!("{prefix}{}", self.code.reason())
    }
}

/// Schedules an event for an instance, and returns its id.
///
/// # Errors
/// If the instance does not exist.
pub fn schedule_event(
    world: &mut World,
    instance_id: &str,
    code: EventCode,
    ahead: Duration,
) -> Result<String, ApiError> {
    lifecycle::existing(world, instance_id)?;
    let (now, id) = (world.now(), world.invent_id("instance-event"));
    let not_before = now + delta(ahead);
    let event = ScheduledEvent {
        id: id.clone(),
        instance_id: instance_id.to_owned(),
        code,
        not_before,
        not_after: code.has_window().then(|| not_before + delta(WINDOW)),
        phase: Phase::Ahead,
    };
    world.ec2.scheduled_events.insert(id.clone(), History::new(now, event));
    let begun = id.clone();
    world.after(ahead, move |world| begin(world, &begun));
    Ok(id)
}

/// Calls an event off.
///
/// # Errors
/// If there is none of this id, or it is over.
pub fn cancel_event(world: &mut World, id: &str) -> Result<(), ApiError> {
    end(world, id, Phase::Canceled)
}

/// Completes an event, whether it has happened or not.
///
/// # Errors
/// If there is none of this id, or it is over.
pub fn complete_event(world: &mut World, id: &str) -> Result<(), ApiError> {
    end(world, id, Phase::Completed)
}

/// Does what an event is about, when its time comes. When AWS shows it as completed is *not verified*: here once it is done.
fn begin(world: &mut World, id: &str) {
    let event = world.ec2.scheduled_events.get(id).map(History::current);
    let Some(event) = event.filter(|event| event.phase == Phase::Ahead).cloned() else { return };
    let instance = event.instance_id.as_str();
    let is_up = world.ec2.instance(instance).is_some_and(|instance| instance.state == InstanceState::Running);
    if !is_up {
        complete(world, id);
        return;
    }
    match event.code {
        EventCode::InstanceRetirement if lifecycle::is_on_instance_store(world, instance) => {
            lifecycle::terminate_for_aws(world, instance);
            complete(world, id);
        }
        EventCode::InstanceStop | EventCode::InstanceRetirement => {
            lifecycle::stop_for_aws(world, instance);
            complete(world, id);
        }
        EventCode::InstanceReboot | EventCode::SystemReboot | EventCode::SystemMaintenance => {
            let away = reboot::go_down(world, instance);
            let id = id.to_owned();
            world.after(away, move |world| complete(world, &id));
        }
    }
}

/// Completes what a user has made needless. "You can reboot the instance yourself" before an instance reboot; a system reboot stays
/// scheduled after a reboot in place
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMaintenanceOptions.html>), which this one is.
pub(super) fn rebooted_by_user(world: &mut World, instance_id: &str) {
    complete_all(world, instance_id, |code| code == EventCode::InstanceReboot);
}

/// A start moves an instance to another host ("When you start it again, it's migrated to a new host": EC2 guide, "Scheduled
/// events"), where nothing is planned for it.
pub(super) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    if state == InstanceState::Pending {
        complete_all(world, instance_id, |_| true);
    }
}

fn complete_all(world: &mut World, instance_id: &str, is_meant: impl Fn(EventCode) -> bool) {
    let events = world.ec2.scheduled_events.values().map(History::current);
    let ahead = events.filter(|event| event.instance_id == instance_id && event.phase == Phase::Ahead);
    let ids: Vec<_> = ahead.filter(|event| is_meant(event.code)).map(|event| event.id.clone()).collect();
    ids.iter().for_each(|id| complete(world, id));
}

fn complete(world: &mut World, id: &str) {
    // It may have been called off meanwhile.
    let _is_over_already = end(world, id, Phase::Completed);
}

fn end(world: &mut World, id: &str, phase: Phase) -> Result<(), ApiError> {
    let now = world.now();
    let event = world.ec2.scheduled_events.get_mut(id).filter(|event| event.current().phase == Phase::Ahead);
    let event = event.ok_or_else(|| {
        ApiError::sender("InvalidInstanceEventIDNotFound", format!("The instance event ID '{id}' does not exist"))
    })?;
    event.change(now, |event| event.phase = phase);
    let id = id.to_owned();
    world.after(SHOWN_AFTER_ITS_END, move |world| {
        world.ec2.scheduled_events.remove(&id);
    });
    Ok(())
}

//! Reboots: an instance stays `running` with its addresses, no event tells of it, and for a while it answers no request (EC2
//! guide, "Reboot your Amazon EC2 instance", <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-reboot.html>).
//!
//! A reboot is a state that two deeds begin and end: between them the clock alone changes nothing, as the clients need it.

use std::time::Duration;

use super::{InstanceState, dice, lifecycle, scheduled_event};
use crate::{
    clock::{Timestamp, delta},
    wire::ApiError,
    world::World,
};

/// The last reboot of an instance since its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reboot {
    since: Timestamp,
    /// `None` while it is under way.
    until: Option<Timestamp>,
}

/// The view that health checks have of a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The instance does not answer.
    Down {
        /// Since when.
        since: Timestamp,
    },
    /// It answers again, and was away long enough for enough checks to fail.
    Over {
        /// Since when.
        since: Timestamp,
    },
}

/// RebootInstances for one instance: "Requests to reboot terminated instances are ignored" (botocore).
///
/// # Errors
/// If the instance does not exist, or is in a state without anything to reboot.
pub fn reboot(world: &mut World, id: &str) -> Result<(), ApiError> {
    check(world, id)?;
    if lifecycle::existing(world, id)?.state == InstanceState::Running {
        go_down(world, id);
        scheduled_event::rebooted_by_user(world, id);
    }
    Ok(())
}

pub(super) fn check(world: &World, id: &str) -> Result<(), ApiError> {
    match lifecycle::existing(world, id)?.state {
        InstanceState::Running | InstanceState::Terminated => Ok(()),
        _ => Err(lifecycle::incorrect_state(format!(
            "The instance '{id}' is not in a state from which it can be rebooted."
        ))),
    }
}

/// Lets an instance answer no request for a while. If it is away already, nothing changes. Returns for how long it is away.
pub(super) fn go_down(world: &mut World, id: &str) -> Duration {
    if is_rebooting(world, id) {
        return Duration::ZERO;
    }
    let (since, span) = (world.now(), world.options.rebooting);
    let away = span.draw(dice(world));
    world.ec2.reboots.insert(id.to_owned(), Reboot { since, until: None });
    let id = id.to_owned();
    world.after(away, move |world| {
        let now = world.now();
        if let Some(reboot) = world.ec2.reboots.get_mut(&id).filter(|reboot| reboot.since == since) {
            reboot.until = Some(now);
        }
    });
    away
}

/// Forgets the reboots of an instance that does not run any more.
pub(super) fn instance_changed(world: &mut World, id: &str, state: InstanceState) {
    if state != InstanceState::Running {
        world.ec2.reboots.remove(id);
    }
}

/// Returns whether an instance is down for a reboot now.
pub(crate) fn is_rebooting(world: &World, id: &str) -> bool {
    world.ec2.reboots.get(id).is_some_and(|reboot| reboot.until.is_none())
}

/// Returns the time in which so many checks in a row fail, at the least. `interval` and `timeout` are in seconds.
pub(crate) fn noticed_after(interval: u32, timeout: u32, unhealthy_threshold: u32) -> Duration {
    Duration::from_secs((interval * unhealthy_threshold.saturating_sub(1) + timeout).into())
}

/// Returns the outage by a reboot at a time. One of less than `noticed_after` leaves no trace once it is over.
pub(crate) fn outage(world: &World, id: &str, at: Timestamp, noticed_after: Duration) -> Option<Outage> {
    let Reboot { since, until } = *world.ec2.reboots.get(id).filter(|reboot| reboot.since <= at)?;
    match until.filter(|until| *until <= at) {
        None => Some(Outage::Down { since }),
        Some(until) => (until - since >= delta(noticed_after)).then_some(Outage::Over { since: until }),
    }
}

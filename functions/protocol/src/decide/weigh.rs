//! What an event is worth, compared with what EC2 says now.

use std::time::Duration;

use crate::{
    event::Notice,
    instance::{Instance, State},
    presence::{Facts, Presence},
    time::Timestamp,
    timing::{DESCRIPTION_LAG_MAX, DESCRIPTION_RETRY},
};

/// What an event is worth, compared with what EC2 says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The description is not older than the event: converge the instance.
    Converge,
    /// The description may be older than the event: look again after this wait.
    TooEarly(Duration),
    /// There is nothing to do, and nothing more follows from this event.
    Nothing(String),
}

/// Weighs an event against the description of its instance, which was read at `now`.
pub fn weigh(notice: &Notice, instance: Option<&Instance>, now: Timestamp) -> Weight {
    // A person made up a time that lies ahead: an event that waits for it would come back for years.
    let young = |time: Timestamp| (now - time).abs() < DESCRIPTION_LAG_MAX;
    let Some(instance) = instance else {
        return match notice.announced {
            Some((state, time)) if !state.is_dying() && young(time) => Weight::TooEarly(DESCRIPTION_RETRY),
            _ => Weight::Nothing("EC2 does not know the instance (any more)".to_owned()),
        };
    };
    if let Some((announced, time)) = notice.announced
        && young(time)
        && may_be_older(instance, announced, time)
    {
        return Weight::TooEarly(DESCRIPTION_RETRY);
    }
    match Facts::of(instance).presence() {
        Presence::Undecided(why) => Weight::Nothing(why.to_string()),
        Presence::In | Presence::Out(_) => Weight::Converge,
    }
}

/// Returns how soon to look again, if the newer description of an instance that was out is older than the first one.
///
/// This is so if it shows the instance running without a new start, because every start renews `LaunchTime`.
pub fn look_again_at_older(before: &Instance, now: &Instance) -> Option<Duration> {
    let is_older = before.state.is_out() && !now.state.is_out();
    let is_same_run = now.launch_time.is_some() && now.launch_time == before.launch_time;
    (is_older && is_same_run).then_some(DESCRIPTION_RETRY)
}

/// Returns whether a description contradicts an event and does not prove to be younger.
fn may_be_older(instance: &Instance, announced: State, event_time: Timestamp) -> bool {
    let state = instance.state;
    if announced.is_dying() {
        // A dying instance never comes back.
        return !state.is_dying();
    }
    if announced.is_out() {
        // A start after the event proves that the event is older than the description.
        return !state.is_out() && instance.launch_time.is_none_or(|start| start <= event_time);
    }
    if announced == State::Running {
        // So does a stop after the event, but EC2 does not always tell the time of a stop.
        return match state {
            State::Running => false,
            State::Pending => instance.launch_time.is_none_or(|start| start <= event_time),
            _ => !state.is_dying() && instance.stop_time.is_none_or(|stop| stop <= event_time),
        };
    }
    false
}

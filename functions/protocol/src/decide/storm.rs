//! Storms: many instances that stop, end or start together, on which one sweep works.
//!
//! Each storm is a message group of the queue of orders. One invocation at a time serves it: it scans once for all, and calls each balancer once.
//! Single stops of a large account are one more group, and so are instances with many registrations.

use crate::{
    event::Notice,
    instance::{Instance, State},
    time::Timestamp,
    timing::{RUNS_WITHIN, STOPPED_WITHIN, STORM_GATHERED_AT_MOST, STORM_GROWS_WITHIN, TOGETHER_WITHIN},
};

/// How many instances have to stop within [`STORM_GROWS_WITHIN`] before a sweep waits for more of them: four a second. Too small: a fleet that is
/// replaced one by one waits. Too large: a schedule that stops a fleet within a minute is worked on twice.
const GROWING: usize = 12;

/// How many instances that hold something have to be starting before a sweep waits for more of them.
pub const MANY_STARTING: usize = 20;

/// From how many balancers on a sweep waits while a storm grows: deregistering there takes twenty seconds, with 4 calls a second. With fewer balancers,
/// the work is done before the next instance comes.
pub const MANY_BALANCERS: usize = 80;

/// From how many balancers on a sweep works on a single instance that stops, too. A scan of them takes about twenty seconds, and the stop's second
/// event comes thirty seconds after the first. All scans share the account's limits, so one after the other serves several instances sooner.
///
/// Too small: a lone stop waits for the sweep that works on the stop before it. Too large: each of ten stops within a minute begins a scan.
pub const MANY_TO_SCAN: usize = 1_000;

/// A change that many instances make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storm {
    /// They stop, and may run again.
    Stop,
    /// They end for ever. Build machines that are terminated all the time must not delay a fleet that stops.
    Termination,
    /// They run again.
    Start,
}

impl Storm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stop, Self::Termination, Self::Start];

    /// Returns the storm that an instance in a state belongs to, if others do the same.
    pub fn of(state: State) -> Option<Self> {
        match state {
            State::Stopping | State::Stopped => Some(Self::Stop),
            State::ShuttingDown | State::Terminated => Some(Self::Termination),
            State::Running => Some(Self::Start),
            State::Pending | State::Unknown => None,
        }
    }

    /// Returns when an instance made the change, if EC2 tells.
    pub fn time_of(self, instance: &Instance) -> Option<Timestamp> {
        match self {
            Self::Start => instance.launch_time,
            Self::Stop | Self::Termination => instance.stop_time,
        }
    }
}

/// What a sweep is ordered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sweep {
    /// Instances of a storm. The sweep looks for more of them.
    Storm(Storm),
    /// Instances that stop one by one, where each scan takes long. The sweep works on those that its orders name. No storm holds them up.
    Named,
    /// Instances with so many registrations that the work on one takes long. The sweep works on those that its orders name, and holds up no other.
    Many,
}

impl Sweep {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Storm(Storm::Stop), Self::Storm(Storm::Termination), Self::Storm(Storm::Start), Self::Named, Self::Many];

    /// Returns its message group in the queue of orders. One invocation at a time serves a message group.
    pub fn message_group(self) -> &'static str {
        match self {
            Self::Storm(Storm::Stop) => "stop",
            Self::Storm(Storm::Termination) => "termination",
            Self::Storm(Storm::Start) => "start",
            Self::Named => "named",
            Self::Many => "many",
        }
    }

    /// Returns the sweep whose orders are in a message group.
    pub fn of_message_group(group: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sweep| sweep.message_group() == group)
    }

    /// Returns whether it looks for more instances than its orders name.
    pub fn is_of_storm(self) -> bool {
        matches!(self, Self::Storm(_))
    }
}

/// Returns whether a state is the first of the two events of a stop or a termination.
pub fn is_first_of_a_stop(state: State) -> bool {
    matches!(state, State::Stopping | State::ShuttingDown)
}

/// Returns whether an event tells of a stop or start that happened at a time, as EC2 says. The first event of a stop comes at once, the others within
/// [`STOPPED_WITHIN`] and [`RUNS_WITHIN`].
pub fn tells_of((state, time): (State, Timestamp), storm: Storm, happened_at: Timestamp) -> bool {
    let within = match state {
        State::Running => RUNS_WITHIN,
        _ if is_first_of_a_stop(state) => TOGETHER_WITHIN,
        _ => STOPPED_WITHIN,
    };
    Storm::of(state) == Some(storm) && (-TOGETHER_WITHIN..=within).contains(&(time - happened_at))
}

/// Returns whether another instance does the same as the instance of an event, by the description of the other.
pub fn does_the_same(notice: &Notice, other: &Instance) -> bool {
    let Some((state, time)) = notice.announced else { return false };
    let is_alike = other.id != notice.instance && Storm::of(other.state) == Storm::of(state);
    is_alike && other.stop_time.is_some_and(|stop| (stop - time).abs() <= TOGETHER_WITHIN)
}

/// Returns whether a storm grows in which instances stopped at some times: then others are about to stop.
pub fn is_growing(times: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> bool {
    // Clocks differ by a moment. A time that lies further ahead is made up.
    times.into_iter().filter(|time| (now - time).abs() < STORM_GROWS_WITHIN).count() >= GROWING
}

/// Returns whether a stop or start belongs to a storm: it is recent, or it did not come before the first event of the storm, at `since`.
///
/// A sweep may end before its storm does. What it leaves comes back minutes later in many small orders, and the next sweep has to work on all of it
/// together, too.
pub fn is_of_storm(time: Timestamp, since: Option<Timestamp>, now: Timestamp) -> bool {
    let recent = STORM_GATHERED_AT_MOST + TOGETHER_WITHIN;
    let first = since.map_or(now, |since| since.min(now));
    // An event may bear any time, and before the first of all times there is none.
    let is_after_first = time - first >= -TOGETHER_WITHIN;
    (is_after_first || now - time <= recent) && time - now <= recent
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::instance::tests::{at, instance};

    #[test]
    fn each_state_belongs_to_one_storm() {
        let states = [State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated, State::Running];
        let [stop, termination] = [Storm::Stop, Storm::Termination].map(Some);
        assert_eq!(states.map(Storm::of), [stop, stop, termination, termination, Some(Storm::Start)]);
        assert_eq!([State::Pending, State::Unknown].map(Storm::of), [None, None]);
    }

    #[test]
    fn each_storm_has_a_message_group_and_so_have_single_instances() {
        let groups = BTreeSet::from(Sweep::ALL.map(Sweep::message_group));
        assert_eq!(groups.len(), Sweep::ALL.len());
        assert!(Storm::ALL.iter().all(|storm| Sweep::ALL.contains(&Sweep::Storm(*storm))));
    }

    #[test]
    fn another_does_the_same_within_five_seconds_and_in_the_same_way() {
        let notice = Notice { instance: "i-1".into(), announced: Some((State::Stopping, at(100))), failures: 0 };
        let other = |id: &str, state, stop: Option<i64>| Instance { state, stop_time: stop.map(at), ..instance(id) };
        for (other, expected) in [
            (other("i-2", State::Stopping, Some(95)), true),
            (other("i-2", State::Stopped, Some(105)), true),
            (other("i-2", State::Stopping, Some(94)), false),
            (other("i-2", State::ShuttingDown, Some(100)), false),
            (other("i-2", State::Stopping, None), false),
            (other("i-1", State::Stopping, Some(100)), false),
        ] {
            assert_eq!(does_the_same(&notice, &other), expected, "{other:?}");
        }
        let plain = Notice { announced: None, ..notice };
        assert!(!does_the_same(&plain, &other("i-2", State::Stopping, Some(100))));
    }

    #[test]
    fn a_storm_grows_while_many_stop_within_three_seconds() {
        let stops = |young: usize| (0..young).map(|_| at(98)).chain((0..50).map(|_| at(97))).collect::<Vec<_>>();
        assert!(is_growing(stops(12), at(100)));
        assert!(!is_growing(stops(11), at(100)));
        assert!(!is_growing(stops(12), at(101)));
        assert!(!is_growing([at(9_000); 20], at(100)), "made-up times");
    }

    #[test]
    fn a_storm_has_recent_changes_and_those_after_its_first_event() {
        for (time, since, expected) in [
            (9_905, None, true),
            (9_904, None, false),
            (9_904, Some(9_990), false),
            (1_000, Some(1_005), true),
            (1_000, Some(1_006), false),
            (10_095, Some(1_000), true),
            (10_096, Some(1_000), false),
            (9_905, Some(20_000), true),
        ] {
            assert_eq!(is_of_storm(at(time), since.map(at), at(10_000)), expected, "{time} {since:?}");
        }
        assert!(is_of_storm(at(0), Some(Timestamp::MIN_UTC), at(10_000)));
    }

    #[test]
    fn an_event_tells_of_the_stop_or_start_that_came_just_before() {
        for (state, seconds, storm, expected) in [
            (State::Stopping, 5, Storm::Stop, true),
            (State::Stopping, 6, Storm::Stop, false),
            (State::Stopping, -6, Storm::Stop, false),
            (State::Stopped, 180, Storm::Stop, true),
            (State::Stopped, 181, Storm::Stop, false),
            (State::Terminated, 60, Storm::Termination, true),
            (State::Terminated, 60, Storm::Stop, false),
            (State::Running, 20, Storm::Start, true),
            (State::Running, 21, Storm::Start, false),
            (State::Running, 1, Storm::Stop, false),
            (State::Pending, 1, Storm::Start, false),
        ] {
            assert_eq!(tells_of((state, at(100 + seconds)), storm, at(100)), expected, "{state:?} {seconds} {storm:?}");
        }
    }
}

//! A process's memory of storms: it passes on the further events of a recent storm without a call to EC2.
//!
//! Only the number of calls depends on it. The sweep looks at every event that is passed on, and a process without the memory looks itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use protocol::{
    decide::storm::{Storm, is_first_of_a_stop},
    event::Notice,
    id::InstanceId,
    instance::State,
    timing::{STORM_IS_KNOWN_FOR, STORM_IS_ON_FOR, TOGETHER_WITHIN},
};
use tokio::time::Instant as MonotonicTime;

/// Storms, each with when the process saw it last.
#[derive(Debug, Default)]
pub(crate) struct Storms {
    seen: Mutex<BTreeMap<Storm, MonotonicTime>>,
    /// Instances that hold or declare something and have started recently, each with when its event came.
    starts: Mutex<BTreeMap<InstanceId, MonotonicTime>>,
}

impl Storms {
    /// Remembers a storm.
    pub(crate) fn remember(&self, storm: Storm) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(storm, MonotonicTime::now());
    }

    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes instances that have started, and returns how many did within seconds. An instance that is looked at twice counts once.
    pub(crate) fn count_starts<'i>(&self, instances: impl Iterator<Item = &'i InstanceId>) -> usize {
        let (now, within) = (MonotonicTime::now(), TOGETHER_WITHIN.to_std().unwrap_or_default());
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.retain(|_, at| now - *at < within);
        starts.extend(instances.map(|id| (id.clone(), now)));
        starts.len()
    }

    /// Returns the storm that an event belongs to, by its time.
    pub(crate) fn of(&self, notice: &Notice) -> Option<Storm> {
        let (state, _) = notice.announced?;
        let storm = Storm::of(state)?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = is_first_of_a_stop(state) || state == State::Running;
        let known_for = if is_first { STORM_IS_ON_FOR } else { STORM_IS_KNOWN_FOR };
        seen.get(&storm).filter(|at| at.elapsed() < known_for).map(|_| storm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[tokio::test(start_paused = true)]
    async fn starts_are_counted_for_some_seconds() {
        let storms = Storms::default();
        let count =
            |ids: &[&str]| storms.count_starts(ids.iter().map(|id| InstanceId::from(*id)).collect::<Vec<_>>().iter());
        assert_eq!(count(&["i-1", "i-2"]), 2);
        tokio::time::advance(std::time::Duration::from_secs(4)).await;
        assert_eq!(count(&["i-3"]), 3);
        assert_eq!(count(&["i-3"]), 3, "a second look at the same start");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(count(&["i-4"]), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_lasts_seconds_and_its_second_events_are_known_for_minutes() {
        let storms = Storms::default();
        let notice = |state| Notice { instance: "i-1".into(), announced: Some((state, at(0))), failures: 0 };
        let states = [State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated, State::Running];
        let known = |storms: &Storms| states.map(|state| storms.of(&notice(state)).is_some());
        assert_eq!(known(&storms), [false; 5]);
        storms.remember(Storm::Stop);
        assert_eq!(known(&storms), [true, true, false, false, false]);
        tokio::time::advance(STORM_IS_ON_FOR).await;
        assert_eq!(known(&storms), [false, true, false, false, false]);
        tokio::time::advance(STORM_IS_KNOWN_FOR).await;
        assert_eq!(known(&storms), [false; 5]);
        storms.remember(Storm::Start);
        assert_eq!(known(&storms), [false, false, false, false, true]);
        assert_eq!(storms.of(&Notice { announced: None, ..notice(State::Running) }), None);
        storms.forget();
        assert_eq!(known(&storms), [false; 5]);
    }
}

//! Stops and starts that this process has worked on already, so that a further event of one costs nothing.
//!
//! EC2 tells every stop twice, `stopping` and `stopped` (and every termination, too), and either event may be lost. The
//! second event finds nothing, and asks every target group of the account for that. A sweep of a storm works on all
//! instances that EC2 names, and the events of most of them come after it. So if a stop or start was worked on without
//! a failure, its further events have nothing to do. If an operator registers a stopped instance in between, the
//! scheduled sweep deregisters it.
//!
//! Nothing depends on this memory: a process that remembers nothing looks once more.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use protocol::{
    decide::storm::{Storm, tells_of},
    event::Notice,
    id::InstanceId,
    instance::Instance,
    time::Timestamp,
    timing::SERVED_REMEMBERED_FOR,
};
use tokio::time::Instant as MonotonicTime;

/// Stops and starts that were worked on a while ago.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<BTreeMap<InstanceId, Change>>);

/// The last stop or start of an instance.
#[derive(Debug)]
struct Change {
    storm: Storm,
    /// The start of the run that has ended, or begun.
    launch_time: Option<Timestamp>,
    /// When it happened, if EC2 tells.
    time: Option<Timestamp>,
    seen_at: MonotonicTime,
}

impl Served {
    /// Remembers that nothing is left to do about an instance, by its description.
    pub(crate) fn remember(&self, instance: &Instance) {
        let Some(storm) = Storm::of(instance.state) else { return };
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        served.retain(|_, change| change.is_recent());
        let (launch_time, time) = (instance.launch_time, storm.time_of(instance));
        served.insert(instance.id.clone(), Change { storm, launch_time, time, seen_at: MonotonicTime::now() });
    }

    /// Forgets the last stop or start of an instance.
    pub(crate) fn forget_one(&self, id: &InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns whether the stop of an instance that is out was worked on, or its termination. A stop says nothing of a later termination.
    pub(crate) fn has_stop_of(&self, instance: &Instance) -> bool {
        let storm = Storm::of(instance.state).filter(|storm| *storm != Storm::Start);
        self.is_any(&instance.id, |stop| Some(stop.storm) == storm && stop.launch_time == instance.launch_time)
    }

    /// Returns whether an event tells again of the stop or the termination of an instance that was worked on.
    ///
    /// The event decides which of the two is meant. A description may lag, and show the stop before the termination.
    pub(crate) fn has_seen(&self, notice: &Notice, instance: &Instance) -> bool {
        let announced = notice.announced.and_then(|(state, _)| Storm::of(state));
        announced == Storm::of(instance.state) && self.has_stop_of(instance)
    }

    /// Returns whether an event tells of a stop or start that was worked on, by its time alone.
    pub(crate) fn has(&self, notice: &Notice) -> bool {
        let is_told = |change: &Change| {
            let told = notice.announced.zip(change.time);
            told.is_some_and(|(announced, time)| tells_of(announced, change.storm, time))
        };
        self.is_any(&notice.instance, is_told)
    }

    fn is_any(&self, id: &InstanceId, is_meant: impl Fn(&Change) -> bool) -> bool {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        served.get(id).is_some_and(|change| change.is_recent() && is_meant(change))
    }
}

impl Change {
    fn is_recent(&self) -> bool {
        self.seen_at.elapsed() < SERVED_REMEMBERED_FOR
    }
}

#[cfg(test)]
mod tests {
    use protocol::instance::State;

    use super::*;
    use crate::testing::{at, instance};

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_remembered_for_a_while_and_another_run_is_not() {
        let served = Served::default();
        let stopped = Instance { state: State::Stopped, launch_time: Some(at(0)), ..instance("i-1") };
        assert!(!served.has_stop_of(&stopped));
        served.remember(&stopped);
        assert!(served.has_stop_of(&stopped));
        assert!(!served.has_stop_of(&Instance { launch_time: Some(at(60)), ..stopped.clone() }), "another run");
        assert!(!served.has_stop_of(&Instance { state: State::Terminated, ..stopped.clone() }), "it has ended since");
        let notice = |state| Notice { instance: "i-1".into(), announced: Some((state, at(1))), failures: 0 };
        assert!(served.has_seen(&notice(State::Stopped), &stopped));
        assert!(!served.has_seen(&notice(State::ShuttingDown), &stopped), "the description lags");
        served.forget();
        assert!(!served.has_stop_of(&stopped));
        served.remember(&stopped);
        tokio::time::advance(SERVED_REMEMBERED_FOR).await;
        assert!(!served.has_stop_of(&stopped), "too long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_was_served_is_no_stop_of_the_run() {
        let served = Served::default();
        let running = Instance { state: State::Running, launch_time: Some(at(0)), ..instance("i-1") };
        served.remember(&running);
        assert!(!served.has_stop_of(&Instance { state: State::Stopping, stop_time: Some(at(30)), ..running.clone() }));
        let notice = |state, time| Notice { instance: "i-1".into(), announced: Some((state, time)), failures: 0 };
        assert!(served.has(&notice(State::Running, at(12))));
        assert!(!served.has(&notice(State::Stopping, at(12))));
        assert!(!served.has(&Notice { announced: None, ..notice(State::Running, at(12)) }));
        assert!(!served.has(&Notice { instance: "i-2".into(), ..notice(State::Running, at(12)) }));
        tokio::time::advance(SERVED_REMEMBERED_FOR).await;
        assert!(!served.has(&notice(State::Running, at(12))), "too long ago");
    }
}

//! What a process remembers of stops: which it has seen through, so that the second event of one costs no second scan.
//!
//! EC2 tells every stop twice, `stopping` and `stopped` (so does it a termination), and either event may be lost. Who comes second
//! finds nothing, for the price of asking every target group of the account. So where the first was seen through without a
//! failure, the second of the same run of the instance has nothing to do. What is registered in between is what somebody registers
//! that does not run: the sweep takes it.
//!
//! Nothing depends on it: a process that remembers nothing scans once more.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use protocol::{id::InstanceId, instance::Instance, time::Timestamp, timing::STOP_REMEMBERED_FOR};
use tokio::time::Instant as MonotonicTime;

/// Stops that were seen through a while ago.
#[derive(Debug, Default)]
pub(crate) struct Stops(Mutex<BTreeMap<InstanceId, Seen>>);

#[derive(Debug)]
struct Seen {
    /// Which run has ended.
    launch_time: Option<Timestamp>,
    at: MonotonicTime,
}

impl Stops {
    /// An instance that is out was looked for everywhere, and nothing is left to do.
    pub(crate) fn remember(&self, instance: &Instance) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.is_recent());
        seen.insert(instance.id.clone(), Seen { launch_time: instance.launch_time, at: MonotonicTime::now() });
    }

    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether an instance that is out was seen through since it ran last.
    pub(crate) fn knows(&self, instance: &Instance) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&instance.id).is_some_and(|seen| seen.is_recent() && seen.launch_time == instance.launch_time)
    }
}

impl Seen {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < STOP_REMEMBERED_FOR
    }
}

#[cfg(test)]
mod tests {
    use protocol::instance::State;

    use super::*;
    use crate::testing::{at, instance};

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_remembered_for_a_while_and_another_run_is_not() {
        let stops = Stops::default();
        let stopped = Instance { state: State::Stopped, launch_time: Some(at(0)), ..instance("i-1") };
        assert!(!stops.knows(&stopped));
        stops.remember(&stopped);
        assert!(stops.knows(&stopped));
        assert!(!stops.knows(&Instance { launch_time: Some(at(60)), ..stopped.clone() }), "another run");
        stops.forget();
        assert!(!stops.knows(&stopped));
        stops.remember(&stopped);
        tokio::time::advance(STOP_REMEMBERED_FOR).await;
        assert!(!stops.knows(&stopped), "too long ago");
    }
}

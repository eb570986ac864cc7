//! Stops that this process has worked on already, so that the second event of a stop costs no second scan.
//!
//! EC2 tells every stop twice, `stopping` and `stopped` (and every termination, too), and either event may be lost. The
//! second event finds nothing, and asks every target group of the account for that. So if the first one was worked on
//! without a failure, the second one of the same run of the instance has nothing to do. In between, only a registration
//! by hand can add something to an instance that does not run: the sweep finds it.
//!
//! Nothing depends on this memory: a process that remembers nothing scans once more.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use protocol::{id::InstanceId, instance::Instance, time::Timestamp, timing::STOP_REMEMBERED_FOR};
use tokio::time::Instant as MonotonicTime;

/// Stops that were worked on a while ago.
#[derive(Debug, Default)]
pub(crate) struct Stops(Mutex<BTreeMap<InstanceId, Seen>>);

#[derive(Debug)]
struct Seen {
    /// The start of the run that has ended.
    launch_time: Option<Timestamp>,
    at: MonotonicTime,
}

impl Stops {
    /// Remembers an instance that is out, for which all balancers were asked and nothing is left to do.
    pub(crate) fn remember(&self, instance: &Instance) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.is_recent());
        seen.insert(instance.id.clone(), Seen { launch_time: instance.launch_time, at: MonotonicTime::now() });
    }

    /// Forgets all stops.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns whether an instance that is out was worked on since it last ran.
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

//! The clock of the simulated AWS: virtual in-process, scaled when real binaries run against it.
//!
//! It is tokio's clock with a start and a speed. In a test whose runtime has `start_paused`, tokio moves its clock to the
//! next timer whenever every task is idle: an hour of draining takes no time, and two runs see the same instants.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// A point of the simulation's time.
pub type Timestamp = DateTime<Utc>;

/// When every virtual run begins, in seconds since 1970: 2026-01-05T08:00:00Z, a Monday morning.
const VIRTUAL_START_SECONDS: i64 = 1_767_600_000;

/// The simulation's time, as a function of tokio's.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Timestamp,
    origin: Instant,
    /// Simulated seconds in a second of tokio's clock.
    speed: f64,
}

impl Clock {
    /// Returns a clock with a fixed start that runs as tokio's does: it stands still if the runtime's time is paused and a task
    /// is busy.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn virtual_time() -> Self {
        let start = DateTime::from_timestamp(VIRTUAL_START_SECONDS, 0).expect("a constant in range");
        Self { start, origin: Instant::now(), speed: 1.0 }
    }

    /// Returns a clock that starts now and runs `speed` times as fast as the wall's.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place where the simulation takes the wall's time")]
    pub fn scaled(speed: f64) -> Self {
        Self { start: Utc::now(), origin: Instant::now(), speed }
    }

    /// Returns the simulated time.
    pub fn now(&self) -> Timestamp {
        self.start + delta(self.origin.elapsed().mul_f64(self.speed))
    }

    /// Waits for a simulated duration. A duration of 0 does not wait: tokio's timer would make a millisecond or two of it.
    pub async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            return;
        }
        tokio::time::sleep(duration.div_f64(self.speed)).await;
    }

    /// Waits until a simulated time, which may have passed already.
    pub async fn sleep_until(&self, at: Timestamp) {
        if let Ok(left) = (at - self.now()).to_std() {
            // A little late rather than early: tokio rounds to milliseconds, and a task that wakes early would spin.
            self.sleep(left + Duration::from_millis(1)).await;
        }
    }
}

/// Returns a `Duration` as chrono's type.
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

//! Values with a past, so that a read can be stale: AWS's descriptions are eventually consistent.

use std::time::Duration;

use crate::clock::{Timestamp, delta};

/// How much past is kept: longer than any lag that a test draws. More only costs memory.
const KEPT: Duration = Duration::from_secs(600);

/// A value, and its past.
#[derive(Clone, Debug)]
pub struct History<T> {
    /// Oldest first; each with the time since which it holds. Never empty.
    versions: Vec<(Timestamp, T)>,
}

impl<T: Clone> History<T> {
    /// Returns a value that begins to exist now.
    pub fn new(now: Timestamp, value: T) -> Self {
        Self { versions: vec![(now, value)] }
    }

    /// Returns the present value.
    pub fn current(&self) -> &T {
        &self.versions.last().expect("never empty").1
    }

    /// Returns the value at a time, as a stale reader sees it: `None` if it did not exist yet.
    pub fn seen_at(&self, at: Timestamp) -> Option<&T> {
        self.versions.iter().rev().find(|(since, _)| *since <= at).map(|(_, value)| value)
    }

    /// Changes the value.
    pub fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut T)) {
        let mut value = self.current().clone();
        change(&mut value);
        if self.versions.last().is_some_and(|(since, _)| *since == now) {
            self.versions.pop();
        }
        self.versions.push((now, value));
        let horizon = now - delta(KEPT);
        // The version that holds at the horizon stays, as do all after it.
        let stale = self.versions.iter().rposition(|(since, _)| *since <= horizon).unwrap_or(0);
        self.versions.drain(..stale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_read_sees_the_value_before_the_change() {
        let start = Timestamp::from_timestamp(1_000, 0).unwrap();
        let at = |seconds| start + delta(Duration::from_secs(seconds));
        let mut value = History::new(start, 'a');
        value.change(at(10), |v| *v = 'b');
        assert_eq!((value.seen_at(at(9)), value.seen_at(at(10)), value.current()), (Some(&'a'), Some(&'b'), &'b'));
        value.change(at(2_000), |v| *v = 'c');
        assert_eq!((value.seen_at(at(1_999)), value.seen_at(at(9))), (Some(&'b'), None));
    }
}

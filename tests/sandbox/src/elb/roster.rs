//! The registered members, with a past and with draining: the part that Classic Load Balancers and target groups share.
//!
//! Draining ends by the clock alone, so the agenda has no entry for it: a member whose time is over is not seen.

use std::{collections::BTreeMap, ops::RangeBounds, time::Duration};

use crate::{
    clock::{Timestamp, delta},
    history::History,
};

/// How long a member that has left is kept for stale reads. As long as [`History`] keeps a past; longer only costs memory.
const KEPT: Duration = Duration::from_secs(600);

/// The standing of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// In service, or on the way to it.
    Registered,
    /// Deregistered. Its connections may end by themselves until that time.
    Draining {
        /// From this time on it is gone.
        until: Timestamp,
    },
}

/// The members of one balancer. `R` is the memory of a registration.
#[derive(Debug)]
pub(crate) struct Roster<K, R> {
    /// Each member has a history of its own: a change among thousands of members stays cheap.
    entries: BTreeMap<K, Entry<R>>,
    /// The number of entries at which to look for those that no stale read can see any more.
    crowd: usize,
}

#[derive(Debug)]
struct Entry<R> {
    history: History<Option<(R, Standing)>>,
    changed: Timestamp,
}

impl<K: Ord, R: Clone> Roster<K, R> {
    /// Registers a member, unless it is registered. A draining one is back at once.
    pub(crate) fn enrol(&mut self, now: Timestamp, key: K, record: R) {
        if !matches!(self.standing(&key, now), Some((_, Standing::Registered))) {
            self.set(now, key, Some((record, Standing::Registered)));
        }
    }

    /// Deregisters a member, if it is registered.
    pub(crate) fn dismiss(&mut self, now: Timestamp, key: K, drain: Duration) {
        let Some((record, Standing::Registered)) = self.standing(&key, now) else { return };
        let draining = Standing::Draining { until: now + delta(drain) };
        let value = (!drain.is_zero()).then(|| (record.clone(), draining));
        self.set(now, key, value);
    }

    /// Takes a member out without draining.
    pub(crate) fn remove(&mut self, now: Timestamp, key: K) {
        if self.standing(&key, now).is_some() {
            self.set(now, key, None);
        }
    }

    /// Returns the standing of a member at a time.
    pub(crate) fn standing(&self, key: &K, at: Timestamp) -> Option<(&R, Standing)> {
        self.entries.get(key).and_then(|entry| entry.seen_at(at))
    }

    /// Returns all members that were registered or draining at a time, in order.
    pub(crate) fn all(&self, at: Timestamp) -> impl Iterator<Item = (&K, &R, Standing)> {
        seen(self.entries.iter(), at)
    }

    /// Returns those of [`Roster::all`] within a range of keys.
    pub(crate) fn within(&self, range: impl RangeBounds<K>, at: Timestamp) -> impl Iterator<Item = (&K, &R, Standing)> {
        seen(self.entries.range(range), at)
    }

    /// Returns those of [`Roster::all`] that are registered.
    pub(crate) fn registered(&self, at: Timestamp) -> impl Iterator<Item = (&K, &R)> {
        self.all(at).filter(|(_, _, standing)| *standing == Standing::Registered).map(|(key, record, _)| (key, record))
    }

    /// Returns a number that is at least that of the registered members, and cheap to know.
    pub(crate) fn at_most(&self) -> usize {
        self.entries.len()
    }

    fn set(&mut self, now: Timestamp, key: K, value: Option<(R, Standing)>) {
        if self.entries.len() >= self.crowd {
            self.entries.retain(|_, entry| entry.can_be_seen(now - delta(KEPT)));
            self.crowd = 2 * self.entries.len() + 64;
        }
        match self.entries.get_mut(&key) {
            Some(entry) => {
                entry.history.change(now, |v| *v = value);
                entry.changed = now;
            }
            None => {
                self.entries.insert(key, Entry { history: History::new(now, value), changed: now });
            }
        }
    }
}

impl<K, R> Default for Roster<K, R> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), crowd: 64 }
    }
}

impl<R: Clone> Entry<R> {
    fn seen_at(&self, at: Timestamp) -> Option<(&R, Standing)> {
        let (record, standing) = self.history.seen_at(at)?.as_ref()?;
        match standing {
            Standing::Draining { until } if *until <= at => None,
            standing => Some((record, *standing)),
        }
    }

    /// Returns whether any read that is not older than a time sees it.
    fn can_be_seen(&self, oldest: Timestamp) -> bool {
        match self.history.current() {
            Some((_, Standing::Registered)) => true,
            Some((_, Standing::Draining { until })) => *until > oldest,
            None => self.changed > oldest,
        }
    }
}

fn seen<'a, K: 'a, R: Clone + 'a>(
    entries: impl Iterator<Item = (&'a K, &'a Entry<R>)>,
    at: Timestamp,
) -> impl Iterator<Item = (&'a K, &'a R, Standing)> {
    entries.filter_map(move |(key, entry)| entry.seen_at(at).map(|(record, standing)| (key, record, standing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_draining_member_is_gone_when_the_time_is_over() {
        let mut roster = Roster::default();
        roster.enrol(at(0), "a", ());
        roster.dismiss(at(10), "a", Duration::from_secs(5));
        let standing = |t| roster.standing(&"a", at(t)).map(|(_, s)| s);
        assert_eq!(standing(9), Some(Standing::Registered));
        assert_eq!(standing(14), Some(Standing::Draining { until: at(15) }));
        assert_eq!(standing(15), None);
    }

    #[test]
    fn members_that_left_long_ago_take_no_memory() {
        let mut roster = Roster::default();
        for n in 0..10_000_i64 {
            roster.enrol(at(n * 10), n, ());
            roster.remove(at(n * 10 + 5), n);
        }
        assert!(roster.at_most() < 300, "{}", roster.at_most());
        assert!(roster.standing(&9_990, at(99_902)).is_some(), "a stale read still sees a recent one");
    }
}

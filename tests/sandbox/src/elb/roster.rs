//! Who is registered where, with a past and with draining: the part that Classic Load Balancers and target groups share.
//!
//! Draining ends by the clock alone, so nothing has to be entered in the agenda: a member whose time is over is not seen.

use std::{collections::BTreeMap, ops::RangeBounds, time::Duration};

use crate::{
    clock::{Timestamp, delta},
    history::History,
};

/// How long one who has left is kept for stale reads. As long as [`History`] keeps a past; longer only costs memory.
const KEPT: Duration = Duration::from_secs(600);

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// In service, or on the way to it.
    Registered,
    /// Deregistered, with connections that may end by themselves until then.
    Draining {
        /// From this time on it is gone.
        until: Timestamp,
    },
}

/// The members of one balancer. `R` is what is remembered of a registration.
#[derive(Debug)]
pub(crate) struct Roster<K, R> {
    /// One history a member, not one of the whole: a change among thousands of members stays cheap.
    entries: BTreeMap<K, Entry<R>>,
    /// The number of entries at which to look for those whom no stale read can see any more.
    crowd: usize,
}

#[derive(Debug)]
struct Entry<R> {
    history: History<Option<(R, Standing)>>,
    changed: Timestamp,
}

impl<K: Ord, R: Clone> Roster<K, R> {
    /// Registers, unless that is so already. One that drains is back at once.
    pub(crate) fn enrol(&mut self, now: Timestamp, key: K, record: R) {
        if !matches!(self.standing(&key, now), Some((_, Standing::Registered))) {
            self.set(now, key, Some((record, Standing::Registered)));
        }
    }

    /// Deregisters, if registered.
    pub(crate) fn dismiss(&mut self, now: Timestamp, key: K, drain: Duration) {
        let Some((record, Standing::Registered)) = self.standing(&key, now) else { return };
        let draining = Standing::Draining { until: now + delta(drain) };
        let value = (!drain.is_zero()).then(|| (record.clone(), draining));
        self.set(now, key, value);
    }

    /// Takes out without draining.
    pub(crate) fn remove(&mut self, now: Timestamp, key: K) {
        if self.standing(&key, now).is_some() {
            self.set(now, key, None);
        }
    }

    /// How one stood at a time.
    pub(crate) fn standing(&self, key: &K, at: Timestamp) -> Option<(&R, Standing)> {
        self.entries.get(key).and_then(|entry| entry.seen_at(at))
    }

    /// All who were registered or draining at a time, in order.
    pub(crate) fn all(&self, at: Timestamp) -> impl Iterator<Item = (&K, &R, Standing)> {
        seen(self.entries.iter(), at)
    }

    /// Those of [`Roster::all`] within a range of keys.
    pub(crate) fn within(&self, range: impl RangeBounds<K>, at: Timestamp) -> impl Iterator<Item = (&K, &R, Standing)> {
        seen(self.entries.range(range), at)
    }

    /// Those of [`Roster::all`] who are registered.
    pub(crate) fn registered(&self, at: Timestamp) -> impl Iterator<Item = (&K, &R)> {
        self.all(at).filter(|(_, _, standing)| *standing == Standing::Registered).map(|(key, record, _)| (key, record))
    }

    /// At least as many as are registered: what is cheap to know.
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

    /// Whether any read that is not older than a time sees it.
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
    fn one_who_drains_is_gone_when_the_time_is_over() {
        let mut roster = Roster::default();
        roster.enrol(at(0), "a", ());
        roster.dismiss(at(10), "a", Duration::from_secs(5));
        let standing = |t| roster.standing(&"a", at(t)).map(|(_, s)| s);
        assert_eq!(standing(9), Some(Standing::Registered));
        assert_eq!(standing(14), Some(Standing::Draining { until: at(15) }));
        assert_eq!(standing(15), None);
    }

    #[test]
    fn those_who_left_long_ago_take_no_memory() {
        let mut roster = Roster::default();
        for n in 0..10_000_i64 {
            roster.enrol(at(n * 10), n, ());
            roster.remove(at(n * 10 + 5), n);
        }
        assert!(roster.at_most() < 300, "{}", roster.at_most());
        assert!(roster.standing(&9_990, at(99_902)).is_some(), "a stale read still sees a recent one");
    }
}

//! An order in which nothing comes last for ever.
//!
//! Some work may not come to its end: a sweep of a very large account, or a look at more than is given back at a time. A
//! stranger can make it so long. If it always began at the same place, what comes last would never be reached.

use std::{
    cmp::Ordering,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    num::ParseIntError,
    str::FromStr,
};

use crate::time::Timestamp;

/// A number from which one order of all things follows, and no stranger can tell which.
///
/// Every process of one version makes the same order of it. Another version's may differ, since the standard library may change its
/// hash. Then a sweep that goes on in it leaves something out, which the next sweep finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn(u32);

impl Turn {
    /// Returns the order that follows from a number.
    pub fn of(number: u32) -> Self {
        Self(number)
    }

    /// Returns the order of a moment: another one each second.
    pub fn at(now: Timestamp) -> Self {
        Self(now.timestamp().rem_euclid(u32::MAX.into()).try_into().unwrap_or_default())
    }

    /// Compares two things in this order.
    pub fn cmp<T: Hash + Ord + ?Sized>(self, one: &T, other: &T) -> Ordering {
        (self.place(one), one).cmp(&(self.place(other), other))
    }

    fn place<T: Hash + ?Sized>(self, thing: &T) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        thing.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Turn {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_thing_comes_first_in_some_turn_and_stays_there() {
        let mut things: Vec<String> = (0..20).map(|number| format!("thing-{number}")).collect();
        let mut first = BTreeSet::new();
        for number in 0..1_000 {
            let turn: Turn = Turn::of(number).to_string().parse().unwrap();
            things.sort_by(|a, b| turn.cmp(a, b));
            assert!(things.windows(2).all(|pair| turn.cmp(&pair[0], &pair[1]).is_lt()));
            first.insert(things[0].clone());
        }
        assert_eq!(first.len(), 20);
    }
}

//! A set of registrations. There are so few that each is a bit.

use std::fmt;

/// A set of registrations, named `a`, `b`, ....
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registrations(u8);

impl Registrations {
    /// None.
    pub const NONE: Self = Self(0);

    /// One.
    pub const A: Self = Self(1);

    /// Two.
    pub const AB: Self = Self(3);

    /// As many as there can be.
    pub const ALL: Self = Self(u8::MAX);

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether all of some others are among them.
    pub fn has(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Returns these and others.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns these, as far as they are among others, too.
    pub fn within(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Returns these without others.
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Returns all subsets, from none to all of these.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self).filter(move |some| self.has(*some))
    }

    /// Returns each alone.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..u8::BITS).map(|bit| Self(1 << bit)).filter(move |one| self.has(*one))
    }
}

impl FromIterator<Registrations> for Registrations {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::NONE, Self::and)
    }
}

impl fmt::Display for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        (0..8).filter(|bit| self.0 & (1 << bit) != 0).try_for_each(|bit| write!(f, "{}", char::from(b'a' + bit)))
    }
}

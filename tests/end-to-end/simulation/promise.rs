//! The promises of docs/design.md, looked at from outside.

mod cost;
mod foreign;
mod hook;
mod lost;
mod rest;
mod told;

use std::fmt;

use sandbox::{Timestamp, World};

pub use cost::{Cost, registered_in_vain};
pub use foreign::{foreign_tags_touched, given_without_right, taken_without_right};
pub use hook::{completed_too_early, ran_out};
pub use lost::{lost, taken_and_not_held};
pub use rest::{at_rest, is_out_of_service};
pub use told::{Told, left_to_a_sweep};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// The time.
    pub at: Timestamp,
    /// A sentence.
    pub what: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No stopped or terminated instance is registered when all is quiet.
    NothingDeadIsServed,
    /// A registration that was taken is in place or held, after every call; and in place, when all is quiet.
    NothingIsLost,
    /// Whatever belongs to others stays as it is, after every call.
    NothingForeignIsTouched,
    /// A hook is completed when the work is done, and does not run out.
    AHookIsHeld,
    /// A change costs a bounded number of calls.
    CostFollowsTheChange,
    /// All becomes quiet, and nothing fails for good.
    ItComesToRest,
}

impl Violation {
    /// Returns the violation of a promise at this time.
    pub fn of(promise: Promise, world: &World, what: impl Into<String>) -> Self {
        Self { promise, at: world.now(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken at {}: {}", self.promise, self.at.format("%H:%M:%S%.3f"), self.what)
    }
}

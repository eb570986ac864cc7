//! What can be varied: the precautions of the protocol, and what the environment may do.

use crate::{Registrations, Tick};

/// The protocol's precautions. [`Rules::of_the_functions`] is what they do; each test of a precaution takes one away.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which keys held tags have.
    pub keys: Keys,
    /// Whether a registration is held before it is taken.
    pub holds_first: bool,
    /// Which tag is believed to hold what is about to be taken.
    pub trust: Trust,
    /// How long a reading entitles to deregister (`READING_GOOD_FOR`).
    pub reading_good_for: Tick,
    /// How long after the youngest tag was decided nothing is forgotten (`SETTLE`).
    pub settle: Tick,
    /// Whether a tag has to be so old that it is forgotten, or only the start so long ago: what the functions believed before.
    pub keeps_young_tags: bool,
    /// Whether a function that has taken reads the instance again.
    pub looks_after_taking: bool,
    /// Whether what was given back just now is forgotten without another look at the balancer.
    pub forgets_what_it_gave: bool,
    /// Whether a function that has given back reads the instance again, before it forgets.
    pub looks_after_giving: bool,
}

impl Rules {
    /// The protocol as the functions have it, with times that are as small as their relation allows.
    pub fn of_the_functions(bounds: &Bounds) -> Self {
        // Within the tick in which it was read; the operation may then take one more.
        let reading_good_for = 0;
        let fresh_for = 1;
        Self {
            keys: Keys::OfEachAct,
            holds_first: true,
            trust: Trust::Fresh(fresh_for),
            reading_good_for,
            // Longer than their sum: within one tick, anything can come before anything.
            settle: fresh_for + reading_good_for + bounds.operation + 1,
            keeps_young_tags: true,
            looks_after_taking: true,
            // A member of a group may leave it while it runs, and then looking again tells nothing.
            forgets_what_it_gave: !bounds.returns,
            looks_after_giving: true,
        }
    }
}

/// Which keys held tags have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Each act of holding writes its own.
    OfEachAct,
    /// All write the same: what was read, and what is to be taken.
    Common,
    /// All write the same, and EC2 would add to what is there. It cannot, but even that would not be enough.
    CommonAndAdded,
}

/// Which tag is believed to hold what is about to be taken, so that it is not written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One that was decided no longer ago, when the instance was read, than this (`HELD_IS_FRESH_FOR`).
    Fresh(Tick),
    /// One that was decided after the start of the last run: what the functions believed before.
    AfterTheStart,
    /// Any.
    Any,
}

/// What the environment may do. Everything that is counted here makes the state space larger by a factor.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What the instance has.
    pub registrations: Registrations,
    /// Times that the instance is stopped.
    pub stops: u8,
    /// Times that it is started.
    pub starts: u8,
    /// Whether it can also come back without a start: a member of an Auto Scaling group is taken out while it runs.
    pub returns: bool,
    /// Events of one stop: `stopping` and `stopped` are two.
    pub events_of_a_stop: u8,
    /// Functions at work at once for events.
    pub functions: u8,
    /// Whether a sweep may be at work beside them.
    pub sweep: bool,
    /// Times that a function dies.
    pub crashes: u8,
    /// Times that a person removes a registration or adds one.
    pub by_a_person: u8,
    /// Descriptions that stay to be seen when they have become old.
    pub stale: u8,
    /// What may be old about a description.
    pub what_is_stale: Stale,
    /// How old a description can be (`DESCRIPTION_LAG_MAX`).
    pub lag: Tick,
    /// How long one operation of the SDK takes at most (`OPERATION_TIMEOUT`).
    pub operation: Tick,
    /// Whether every event arrives, so that things come to rest without a sweep.
    pub events_suffice: bool,
}

/// What may be old about a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// All of it together.
    Whole,
    /// State and tags each for itself.
    EachForItself,
}

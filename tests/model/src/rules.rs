//! The variable parts: the precautions of the protocol, and the limits of the environment.

use crate::{Registrations, Tick};

/// The protocol's precautions. [`Rules::of_the_functions`] has those of the functions; each test of a precaution takes one away.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which keys held tags have.
    pub keys: Keys,
    /// Whether a registration is held before it is taken.
    pub holds_first: bool,
    /// The tags that are trusted to hold a registration that is about to be taken.
    pub trust: Trust,
    /// How long a reading entitles to deregister (`READING_GOOD_FOR`).
    pub reading_good_for: Tick,
    /// How long after the youngest tag was decided no tag is forgotten (`SETTLE`).
    pub settle: Tick,
    /// Whether a tag has to have an age before it is forgotten, or only the start. The functions once looked only at the start.
    pub keeps_young_tags: bool,
    /// Whether a function that has deregistered reads the instance again.
    pub looks_after_taking: bool,
    /// Whether a tag is forgotten without another look at the balancer, right after its registrations were given back.
    pub forgets_what_it_gave: bool,
    /// Whether a function that has registered reads the instance again, before it forgets.
    pub looks_after_giving: bool,
}

impl Rules {
    /// Returns the functions' protocol, with times that are as small as their relation allows.
    pub fn of_the_functions(bounds: &Bounds) -> Self {
        // Within the tick of the reading; the operation may then take one more.
        let reading_good_for = 0;
        let fresh_for = 1;
        Self {
            keys: Keys::OfEachAct,
            holds_first: true,
            trust: Trust::Fresh(fresh_for),
            reading_good_for,
            // Longer than their sum: within one tick, events can come in any order.
            settle: fresh_for + reading_good_for + bounds.operation + 1,
            keeps_young_tags: true,
            looks_after_taking: true,
            // A member of a group may leave it while it runs, and then another look tells nothing.
            forgets_what_it_gave: !bounds.returns,
            looks_after_giving: true,
        }
    }
}

/// The keys of held tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Each act of holding writes a key of its own.
    OfEachAct,
    /// All write the same key: with the registrations that were read, and those that will be taken.
    Common,
    /// All write the same key, and EC2 would add to its value. EC2 cannot do that, but even that would not be enough.
    CommonAndAdded,
}

/// The tags that are trusted to hold a registration that is about to be taken, so that it is not written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Tags that were decided no longer ago, when the instance was read, than this (`HELD_IS_FRESH_FOR`).
    Fresh(Tick),
    /// Tags that were decided after the start of the last run. The functions once trusted these.
    AfterTheStart,
    /// All tags.
    Any,
}

/// The limits of the environment. Everything that is counted here makes the state space larger by a factor.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The registrations of the instance.
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
    /// Descriptions that can still be seen when they have become old.
    pub stale: u8,
    /// The parts of a description that may be old.
    pub what_is_stale: Stale,
    /// How old a description can be (`DESCRIPTION_LAG_MAX`).
    pub lag: Tick,
    /// How long one operation of the SDK takes at most (`OPERATION_TIMEOUT`).
    pub operation: Tick,
    /// Whether every event arrives, so that things come to rest without a sweep.
    pub events_suffice: bool,
}

/// The parts of a description that may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// All of it together.
    Whole,
    /// State and tags each for itself.
    EachForItself,
}

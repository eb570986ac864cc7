//! The protocol of `docs/design.md`, small enough that every interleaving of it can be looked at.
//!
//! One instance, a few registrations, the tags, a clock of few ticks, and functions that do one call at a time and may die
//! between any two. [`Converging`] lets them, EC2 and a person do whatever they can, in every order, and its properties are
//! the promises. The tests show that the protocol keeps them, and that each of its precautions is needed: without one,
//! the checker finds the shortest way to a loss.
//!
//! It is a model and shares no code with the functions. What it decides is held against the functions' own decisions in every world
//! ([`AS_DECIDED`]). The order of calls is not: a change of `engine/` that changes it is made here as well.

mod converging;
mod decided;
mod function;
mod registrations;
mod rules;
mod story;
mod world;

pub use converging::{AS_DECIDED, Action, Converging, NOTHING_DEAD, NOTHING_FOREIGN, NOTHING_LOST, SWEEP_REPAIRS};
pub use function::{Call, Cause, Function, View};
pub use registrations::Registrations;
pub use rules::{Bounds, Keys, Rules, Stale, Trust};
pub use story::{Story, Verdict, check};
pub use world::{Description, State, Tag, Tick, World};

//! The protocol of `docs/design.md`, small enough to look at every interleaving of it.
//!
//! There are one instance, a few registrations, the tags, a clock of few ticks, and functions that make one call at a time and
//! may die between any two. [`Converging`] lets them, EC2 and a person do whatever they can, in every order, and its properties
//! are the promises. The tests show that the protocol keeps them, and that each of its precautions is needed: without one, the
//! checker finds the shortest way to a loss.
//!
//! It is a model and shares no code with the functions. Its decisions are compared with the functions' own decisions in every
//! world ([`AS_DECIDED`]). The order of calls is not compared: a change of it in `engine/` must be made here as well.

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

//! The stage on which scenarios play: a simulated AWS with the project deployed in it, and short words to set it up, to let time
//! pass and to look at the result.
//!
//! Scenarios look at the sandbox's own state, never at a value that the library under test has computed.

pub mod simulation;

mod stage;

pub use stage::{Findings, Setting, Stage, delivered, is_by, places, same_moment, state_change};

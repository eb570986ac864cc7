//! The stage on which scenarios play: a simulated AWS with the project deployed in it, and short words to set it up, to let
//! things happen and to look at what is true.
//!
//! What is looked at is the sandbox's own state, and nothing that the library under test has computed.

pub mod simulation;

mod stage;

pub use stage::{Findings, Setting, Stage, delivered, is_by, places, state_change};

//! The property-based simulation: from a seed, a fleet, a schedule of what people and groups do to it, and faults; played in
//! the sandbox with the real functions, and judged by what was promised.
//!
//! A seed becomes a [`plan::Plan`] ([`draw`]), which is plain data; [`run::run`] plays it; the checkers in [`promise`] look at the
//! sandbox's own state after every call and when all is quiet, and share no code with the library under test; and a plan that
//! breaks a promise is made short by leaving parts out ([`shrink`]). Nothing but the seed decides what happens: the same seed
//! gives the same log, byte for byte.
//!
//! Beside what seeds draw, [`exhaustive`] takes a few basic plans and lets every single call of each fail in every way.
//!
//! The bounds that it keeps are those that docs/design.md assumes: what is described lags by at most 15 s, and a call takes no
//! effect after its caller has given up. Without such bounds no promise could hold.

pub mod deed;
pub mod draw;
pub mod exhaustive;
pub mod fleet;
pub mod harm;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod promise;
pub mod reference;
pub mod run;
pub mod shrink;
pub mod view;

pub use plan::Plan;
pub use promise::Violation;
pub use run::{Failure, Outcome, run};

//! The property-based simulation. A seed draws a fleet, a schedule of what people and groups do to it, and faults. The sandbox
//! plays them with the real functions, and checkers judge the result by the promises.
//!
//! A seed becomes a [`plan::Plan`] ([`draw`]), which is plain data. [`run::run`] plays it. The checkers in [`promise`] look at
//! the sandbox's own state after every call and when all is quiet, and share no code with the library under test. A plan that
//! breaks a promise is shortened by leaving parts out ([`shrink`]). Only the seed decides what happens: the same seed gives the
//! same log, byte for byte.
//!
//! Besides, [`exhaustive`] takes a few basic plans and lets every single call of each fail in every way.
//!
//! The simulation keeps the bounds that docs/design.md assumes: a description lags by at most 15 s, and a call takes no effect
//! after its caller has given up. Without such bounds no promise could hold.

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

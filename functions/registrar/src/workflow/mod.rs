//! What each function does, from what it was told to what becomes of it: events of instances, lifecycle actions, sweeps.

mod hooks;
mod orphans;
mod see_out;
mod state_changes;
mod storm;
mod sweep;

use std::time::Duration;

use protocol::{decide::storm::Storm, event::NotUnderstood};

use crate::report::Report;

pub use hooks::LifecycleSettings;
pub use storm::Together;
pub use sweep::{Detail, Order, Resume, Swept};

/// What became of a batch.
#[derive(Debug)]
pub struct Converged {
    /// For a person.
    pub report: Report,
    /// For the queue: one for each notice, in their order.
    pub outcomes: Vec<Outcome>,
    /// Whether anything failed that is tried again.
    pub has_failed: bool,
}

/// What shall become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has served its purpose.
    Done,
    /// It shall come back so much later.
    Later(Duration),
    /// It is one of a storm, on which one sweep works: that is to be ordered.
    Together(Storm),
    /// Something failed: it shall come back when its queue sees fit, and in the end go to the dead letters.
    Failed,
    /// What it is about says nothing to this function: it goes to the dead letters at once.
    NotUnderstood(NotUnderstood),
}

//! What each function does with its input: events of instances, lifecycle actions, sweeps.

mod heartbeats;
mod hooks;
mod leaving;
mod orphans;
mod restore;
mod state_changes;
mod storm;
mod sweep;

use std::time::Duration;

use protocol::{decide::storm::Sweep, event::NotUnderstood};

use crate::report::Report;

pub use hooks::LifecycleSettings;
pub use restore::{Given, Restored};
pub use storm::Together;
pub use sweep::{Detail, Order, Place, Resume, Swept};

/// What became of a batch.
#[derive(Debug)]
pub struct Converged {
    /// The report, for people.
    pub report: Report,
    /// The outcomes, for the queue: one for each notice, in the order of the notices.
    pub outcomes: Vec<Outcome>,
    /// Whether anything failed that has to be tried again.
    pub has_failed: bool,
}

/// What should become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The event has served its purpose.
    Done,
    /// The event should come back after this wait.
    Later(Duration),
    /// A sweep should be ordered, which works on the instance together with others.
    Together(Sweep),
    /// Something failed. The event should come back when its queue sees fit, and go to the dead letters in the end.
    Failed,
    /// The event says nothing to this function. It goes to the dead letters at once.
    NotUnderstood(NotUnderstood),
}

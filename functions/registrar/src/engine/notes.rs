//! Notes of a step's work: for people, in the journal; and for later steps, what is left to do.

use std::{collections::BTreeMap, fmt, time::Duration};

use protocol::{because::Because, call_error::CallError, id::InstanceId};

use crate::report::{FailureReason, Journal, Report};

/// The notes of one invocation.
#[derive(Debug)]
pub(crate) struct Notes {
    /// What people are told. Nothing follows from it.
    pub(crate) journal: Journal,
    again: Again,
}

/// What is left to do after some steps. What becomes of an event or an action is computed from it.
#[derive(Debug, Default)]
pub(crate) struct Again {
    instances: BTreeMap<InstanceId, Left>,
    has_sweep_failed: bool,
}

/// What is left to do about one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    /// How soon to look at the instance again, in whole seconds.
    pub(crate) wait: Option<Duration>,
    /// What is not done yet.
    pub(crate) waiting: Vec<Because>,
    /// What failed.
    pub(crate) failed: Vec<Because>,
    /// Whether the instance has so many registrations that a sweep of its own has to work on it.
    pub(crate) is_of_many: bool,
}

impl Left {
    /// Returns whether nothing is left to do.
    pub(crate) fn is_nothing(&self) -> bool {
        self.wait.is_none() && self.waiting.is_empty() && self.failed.is_empty() && !self.is_of_many
    }
}

impl Again {
    /// Returns what is left to do about an instance.
    pub(crate) fn of(&self, id: &InstanceId) -> Left {
        self.instances.get(id).cloned().unwrap_or_default()
    }

    /// Returns the instances that have to be looked at again, each with how soon.
    pub(crate) fn waits(&self) -> impl Iterator<Item = (&InstanceId, Duration)> {
        self.instances.iter().filter_map(|(id, left)| Some((id, left.wait?)))
    }

    /// Returns whether anything failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_sweep_failed || self.instances.values().any(|left| !left.failed.is_empty())
    }
}

impl Notes {
    /// Creates notes with nothing in them yet.
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, again: Again::default() }
    }

    /// Returns what is left to do.
    pub(crate) fn again(&self) -> &Again {
        &self.again
    }

    /// Returns the report, and whether anything failed.
    pub(crate) fn into_report(self) -> (Report, bool) {
        (self.journal.into_report(), self.again.has_failed())
    }

    /// Notes that something has to wait.
    pub(crate) fn waiting(&mut self, id: &InstanceId, because: Because) {
        self.left(id).waiting.push(because.clone());
        self.journal.waiting(id, because);
    }

    /// Notes that a sweep of its own has to work on an instance, because it has so many registrations.
    pub(crate) fn leave_many(&mut self, id: &InstanceId, count: usize) {
        self.left(id).is_of_many = true;
        let why = format!("it has {count} registrations: a sweep works on it that holds up no other instance");
        self.journal.waiting(id, Because::all(why));
    }

    /// Notes that the instance has to be looked at again.
    pub(crate) fn look_again(&mut self, id: &InstanceId, wait: Duration) {
        // Rounded up: a look that comes too early has to be repeated.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let (left, wait) = (self.left(id), Duration::from_secs(seconds));
        left.wait = Some(left.wait.map_or(wait, |sooner| sooner.min(wait)));
        self.journal.look_again(id, seconds);
    }

    /// Notes that the instance need not be looked at again, whatever an earlier step has said.
    pub(crate) fn look_no_more(&mut self, id: &InstanceId) {
        self.left(id).wait = None;
        self.journal.look_no_more(id);
    }

    /// Notes that something failed.
    pub(crate) fn failed(&mut self, id: &InstanceId, reason: FailureReason, because: Because) {
        self.left(id).failed.push(because.clone());
        self.journal.failed(id, reason, because);
    }

    /// Notes that a call failed, about one thing of the instance or about all of it.
    pub(crate) fn call_failed(&mut self, id: &InstanceId, what: Option<&dyn fmt::Display>, error: &CallError) {
        let because = Because::about(what, error.to_sentence());
        self.failed(id, error.into(), because);
    }

    /// Notes that a call of a sweep failed that was for no instance in particular.
    pub(crate) fn sweep_call_failed(&mut self, what: Option<&dyn fmt::Display>, error: &CallError) {
        self.again.has_sweep_failed = true;
        self.journal.sweep_call_failed(what, error);
    }

    fn left(&mut self, id: &InstanceId) -> &mut Left {
        self.again.instances.entry(id.clone()).or_default()
    }
}

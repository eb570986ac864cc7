//! What an invocation saw, did and left for later, in a form for people; and the log lines, one for each thing done.

mod cut;
pub mod html;
mod journal;
pub mod metrics;
pub mod page;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use protocol::{
    because::Because,
    call_error::CallError,
    decide::orphan::Orphan,
    event::LifecycleAction,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    instance::State,
    member::ActionResult,
    observed::Health,
    plain::Plain,
    registration::Registration,
};
use serde::Serialize;

use crate::config::Mode;

pub use cut::{ANSWER_MAX, LINE_MAX, fit, lines};
pub use journal::Journal;

/// What became of the instances of one invocation.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether anything was changed.
    pub mode: Mode,
    /// The reports of instances.
    pub instances: BTreeMap<InstanceId, InstanceReport>,
    /// The orphans that a sweep found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
    /// What failed of a sweep as a whole. The next sweep tries it again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// Where a sweep goes on that ended for lack of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Because>,
    /// What a sweep has looked at, in words, for the log.
    #[serde(skip)]
    pub looked_at: Option<String>,
}

impl Report {
    /// Adds something that failed of a sweep as a whole.
    pub fn fail(&mut self, reason: FailureReason, because: Because) {
        tracing::error!(what = because.what(), why = because.why.as_str(), reason = reason.word(), "failed");
        self.failed.push(Failed { reason, because });
    }

    /// Returns everything that failed, with the instance if it belongs to one.
    pub fn failures(&self) -> impl Iterator<Item = (Option<&InstanceId>, &Failed)> {
        let own = self.instances.iter().flat_map(|(id, part)| part.failed.iter().map(move |failed| (Some(id), failed)));
        own.chain(self.failed.iter().map(|failed| (None, failed)))
    }
}

/// What became of one instance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InstanceReport {
    /// The value of the instance's tag `Name`, in a sweep's report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Plain>,
    /// The last state that EC2 told; `None` if EC2 does not know the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Where the instance was registered. For a running instance, only what it should have is looked at, unless a sweep
    /// reports all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub registered: BTreeSet<Registration>,
    /// What its tags held at the first look.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<Registration>,
    /// What would be deregistered if it stopped now, in a report of all instances, if the instance runs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub at_a_stop: BTreeSet<Registration>,
    /// Whether its tags have no room for all of that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_no_room: bool,
    /// The lifecycle hook at which it waits, in a report for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hook: Option<Plain>,
    /// What its operator declares, as it is written in its tag, in a sweep's report.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub declared: BTreeSet<Plain>,
    /// What a sweep found that should not be so, with what can have caused it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Because>,
    /// How many registrations its tags hold although it has been running for minutes, as a sweep leaves it.
    #[serde(skip_serializing_if = "is_none")]
    pub held_while_running: usize,
    /// What was done, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Deed>,
    /// What would have been done in the mode `enforce`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_do: Vec<Deed>,
    /// Why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing_to_do: Option<Plain>,
    /// How healthy each registration in place is, as its balancer says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<Registration, Health>,
    /// What is not done yet, with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Because>,
    /// What was not touched, with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<Because>,
    /// What was given up and will not be registered again, with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub let_go: Vec<Because>,
    /// What a person has to put right: it will not get better by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_a_person: Vec<Because>,
    /// What failed and is tried again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// Seconds from the instance's stop until its first deregistration, if EC2 tells when it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_out: Option<u64>,
    /// Seconds from the instance's start until its first registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_back: Option<u64>,
    /// What became of the lifecycle actions in which the instance waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycle_actions: Vec<ActionReport>,
    /// Seconds from the beginning of its launch action until all that it should have was healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_healthy: Option<u64>,
    /// Seconds from the beginning of its terminate action until nothing was draining any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_drained: Option<u64>,
    /// How soon it should be looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_again_in_seconds: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl InstanceReport {
    /// Returns whether there is anything to say of the instance.
    fn is_worth_a_word(&self) -> bool {
        let deeds = !self.done.is_empty() || !self.would_do.is_empty();
        let reasons = [&self.waiting, &self.left_alone, &self.let_go, &self.needs_a_person];
        let lists =
            [self.registered.is_empty(), self.held.is_empty(), self.declared.is_empty(), self.failed.is_empty()];
        let has_any = lists.contains(&false);
        deeds || has_any || self.at_hook.is_some() || reasons.iter().any(|reasons| !reasons.is_empty())
    }
}

/// What became of a lifecycle action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionReport {
    /// The group.
    pub auto_scaling_group: AutoScalingGroupName,
    /// The hook.
    pub hook: LifecycleHookName,
    /// How it was completed; `None` if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
    /// Whether it was completed although not all was as it should be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_given_up: bool,
    /// Why it was completed, is held, or needed nothing.
    pub why: Plain,
}

impl ActionReport {
    /// Creates a report on an action that was not given up.
    pub fn of(action: &LifecycleAction, result: Option<ActionResult>, why: impl fmt::Display) -> Self {
        let (auto_scaling_group, hook) = (action.group.clone(), action.hook.clone());
        Self { auto_scaling_group, hook, result, is_given_up: false, why: Plain::of(why) }
    }
}

/// An act on a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// What was done.
    pub action: Action,
    /// To which registration.
    pub registration: Registration,
    /// Why it was done.
    pub why: Plain,
}

/// What can be done to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is written into the instance's tags.
    Hold,
    /// It is deregistered from its balancer.
    Deregister,
    /// It is registered with its balancer.
    Register,
    /// It is deleted from the instance's tags.
    Forget,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The kind of the failure, by which metrics count.
    pub reason: FailureReason,
    /// The failure, for people.
    #[serde(flatten)]
    pub because: Because,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FailureReason {
    /// A permission is missing.
    Denied,
    /// Calls came too fast.
    Throttled,
    /// AWS refused a call for another reason.
    Refused,
    /// AWS did not answer.
    Unanswered,
    /// The instance's tags are full.
    NoRoom,
    /// A sweep, or another invocation, did not come to its end.
    Unfinished,
}

impl FailureReason {
    /// Returns the word for the kind, in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Denied => "Denied",
            Self::Throttled => "Throttled",
            Self::Refused => "Refused",
            Self::Unanswered => "Unanswered",
            Self::NoRoom => "NoRoom",
            Self::Unfinished => "Unfinished",
        }
    }
}

impl From<&CallError> for FailureReason {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Unanswered { .. } => Self::Unanswered,
            _ if error.is_denied() => Self::Denied,
            _ if error.is_throttled() => Self::Throttled,
            CallError::Refused { .. } => Self::Refused,
            CallError::NoTime { .. } => Self::Unfinished,
        }
    }
}

impl Action {
    /// Returns the word for the kind, in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Deregister => "deregister",
            Self::Register => "register",
            Self::Forget => "forget",
        }
    }

    fn past(self) -> &'static str {
        match self {
            Self::Hold => "held",
            Self::Deregister => "deregistered",
            Self::Register => "registered",
            Self::Forget => "forgotten",
        }
    }
}

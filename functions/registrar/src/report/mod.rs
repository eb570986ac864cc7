//! What a run saw, did and left for later, in a form that a person can read; and the log lines, one for each thing done.

mod journal;
pub mod metrics;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    because::Because,
    call_error::CallError,
    decide::orphan::Orphan,
    event::LifecycleAction,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    instance::State,
    member::ActionResult,
    observed::Health,
    registration::Registration,
};
use serde::Serialize;

use crate::config::Mode;

pub use journal::Journal;

/// What became of the instances of one invocation.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether anything was changed.
    pub mode: Mode,
    /// By instance.
    pub instances: BTreeMap<InstanceId, InstanceReport>,
    /// Addresses that nobody has; a sweep's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
    /// What failed of a sweep that is no instance's own, and is tried again by the next one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// Where the sweep goes on, that ended for lack of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Because>,
}

impl Report {
    /// Adds something that failed of the sweep as a whole.
    pub fn fail(&mut self, reason: FailureReason, because: Because) {
        tracing::error!(what = because.what(), why = because.why, ?reason, "failed");
        self.failed.push(Failed { reason, because });
    }

    /// Everything that failed, with the instance where it is one's own.
    pub fn failures(&self) -> impl Iterator<Item = (Option<&InstanceId>, &Failed)> {
        let own = self.instances.iter().flat_map(|(id, part)| part.failed.iter().map(move |failed| (Some(id), failed)));
        own.chain(self.failed.iter().map(|failed| (None, failed)))
    }
}

/// What became of one instance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InstanceReport {
    /// The value of its tag `Name`; a sweep's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What EC2 said that it was doing, last; `None` where EC2 does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Where it was registered. Of a running instance only what it shall have is looked at, but for a sweep that reports all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub registered: BTreeSet<Registration>,
    /// What its tags held at the first look.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<Registration>,
    /// What its operator declares, as it is written in its tag; a sweep's.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub declared: BTreeSet<String>,
    /// What a sweep found that should not be so, and what that can have come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Because>,
    /// What was done, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Deed>,
    /// What would have been done, had the mode been `enforce`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_do: Vec<Deed>,
    /// Why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing_to_do: Option<String>,
    /// How healthy what is in place is, as its balancer says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<Registration, Health>,
    /// What is not done yet, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Because>,
    /// What was not touched, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<Because>,
    /// What will not be given back, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub let_go: Vec<Because>,
    /// What needs a person: it will not get better by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_a_person: Vec<Because>,
    /// What failed and is tried again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// Seconds from its stop until the first registration was taken, where EC2 tells when it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_out: Option<u64>,
    /// Seconds from its start until the first registration was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_back: Option<u64>,
    /// What became of the lifecycle actions in which it waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycle_actions: Vec<ActionReport>,
    /// Seconds from the beginning of its launch action until all that it shall have was healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_healthy: Option<u64>,
    /// Seconds from the beginning of its terminate action until nothing was drained any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_drained: Option<u64>,
    /// How soon it shall be looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_again_in_seconds: Option<u64>,
}

impl InstanceReport {
    /// Whether it has, had or did anything.
    fn is_worth_a_word(&self) -> bool {
        let deeds = !self.done.is_empty() || !self.would_do.is_empty();
        let reasons = [&self.waiting, &self.left_alone, &self.let_go, &self.needs_a_person];
        let lists =
            [self.registered.is_empty(), self.held.is_empty(), self.declared.is_empty(), self.failed.is_empty()];
        let has_any = lists.contains(&false);
        deeds || has_any || reasons.iter().any(|reasons| !reasons.is_empty())
    }
}

/// What became of a lifecycle action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionReport {
    /// The group.
    pub auto_scaling_group: AutoScalingGroupName,
    /// The hook.
    pub hook: LifecycleHookName,
    /// How it was completed; `None` where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
    /// Whether it was completed although not all was as it should be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_given_up: bool,
    /// Why it was completed, is held, or needed nothing.
    pub why: String,
}

impl ActionReport {
    /// A report on an action that was not given up.
    pub fn of(action: &LifecycleAction, result: Option<ActionResult>, why: String) -> Self {
        let (auto_scaling_group, hook) = (action.group.clone(), action.hook.clone());
        Self { auto_scaling_group, hook, result, is_given_up: false, why }
    }
}

/// Something done to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// What.
    pub action: Action,
    /// To which registration.
    pub registration: Registration,
    /// Why.
    pub why: String,
}

/// What can be done to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Written into the instance's tags.
    Hold,
    /// Taken from its balancer.
    Deregister,
    /// Given back to its balancer.
    Register,
    /// Removed from the instance's tags.
    Forget,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// For machines: metrics count by it.
    pub reason: FailureReason,
    /// For people.
    #[serde(flatten)]
    pub because: Because,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FailureReason {
    /// A permission is missing.
    Denied,
    /// Calls came too fast.
    Throttled,
    /// AWS said no for another reason.
    Refused,
    /// AWS did not answer.
    Unanswered,
    /// The instance's tags are full.
    NoRoom,
    /// A sweep did not come to its end.
    Unfinished,
}

impl From<&CallError> for FailureReason {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Unanswered { .. } => Self::Unanswered,
            _ if error.is_denied() => Self::Denied,
            _ if error.is_throttled() => Self::Throttled,
            CallError::Refused { .. } => Self::Refused,
        }
    }
}

impl Action {
    /// The word for it.
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

//! What a run saw, did and left for later, in a form that a person can read; and the log lines, one for each thing done.

pub mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use protocol::{
    because::Because,
    call_error::CallError,
    event::LifecycleAction,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    instance::{Instance, State},
    member::ActionResult,
    observed::Health,
    orphan::{Fate, Orphan},
    registration::Registration,
    tag,
};
use serde::Serialize;

use crate::config::Mode;

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
    /// Whether anything failed that is tried again.
    pub fn has_failed(&self) -> bool {
        self.failures().next().is_some()
    }

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
    /// Whether anything was taken from it.
    pub fn was_taken_out(&self) -> bool {
        self.done.iter().any(|deed| deed.action == Action::Deregister)
    }

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

/// Writes a run down as it goes: into the report, and into the log.
#[derive(Debug)]
pub struct Recorder {
    report: Report,
    /// A sweep comes upon every stopped instance of the account, every time: of those it has nothing to say.
    is_sweep: bool,
}

impl Recorder {
    /// An empty report.
    pub fn new(mode: Mode) -> Self {
        let (instances, orphans, failed) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { report: Report { mode, instances, orphans, failed, left: None }, is_sweep: false }
    }

    /// An empty report of a sweep, which leaves out instances of which there is nothing to say.
    pub fn of_sweep(mode: Mode) -> Self {
        Self { is_sweep: true, ..Self::new(mode) }
    }

    /// Whether it is a sweep that is written down.
    pub fn is_of_sweep(&self) -> bool {
        self.is_sweep
    }

    /// What was written down so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The report.
    pub fn into_report(mut self) -> Report {
        if self.is_sweep {
            self.report.instances.retain(|_, instance| instance.is_worth_a_word());
            self.report.orphans.sort_by(|a, b| a.registration.cmp(&b.registration));
        }
        self.report
    }

    /// An instance's part of the report, to be added to.
    pub fn instance(&mut self, id: &InstanceId) -> &mut InstanceReport {
        self.report.instances.entry(id.clone()).or_default()
    }

    /// A sweep came upon an instance.
    pub fn seen(&mut self, instance: &Instance) {
        let declared = instance.tags.get(tag::REGISTER).map(String::as_str).unwrap_or_default();
        let part = self.instance(&instance.id);
        part.state = Some(instance.state);
        part.name = instance.tags.get(tag::NAME).cloned();
        part.declared = declared.split_ascii_whitespace().map(str::to_owned).collect();
    }

    /// A sweep found something that should not be so.
    pub fn wrong(&mut self, id: &InstanceId, because: Because) {
        tracing::warn!(instance = %id, what = because.what(), why = because.why, "wrong");
        self.instance(id).wrong.push(because);
    }

    /// A sweep found an address that nobody has, and something became of it.
    pub fn orphan(&mut self, orphan: Orphan) {
        let (registration, fate, why) = (&orphan.registration, orphan.fate.word(), &orphan.why);
        match orphan.fate {
            Fate::LeftAlone | Fate::CannotTell | Fate::Gone => tracing::info!(%registration, fate, why, "orphan"),
            _ => tracing::warn!(%registration, fate, why, "orphan"),
        }
        self.report.orphans.push(orphan);
    }

    /// A call of a sweep failed that was for no instance in particular.
    pub fn sweep_call_failed(&mut self, what: Option<&dyn fmt::Display>, error: &CallError) {
        let because = Because { what: what.map(ToString::to_string), why: error.to_sentence() };
        self.report.fail(error.into(), because);
    }

    /// A sweep ended for lack of time, and goes on elsewhere.
    pub fn left(&mut self, because: Because) {
        tracing::warn!(after = because.what(), why = because.why, "not all was swept");
        self.report.left = Some(because);
    }

    /// Something was done, or would have been.
    pub fn deed(&mut self, id: &InstanceId, action: Action, registration: &Registration, why: &str) {
        let deed = Deed { action, registration: registration.clone(), why: why.to_owned() };
        if self.report.mode == Mode::Observe {
            tracing::info!(instance = %id, %registration, why, "would be {}", action.past());
            self.instance(id).would_do.push(deed);
        } else {
            tracing::info!(instance = %id, %registration, why, "{}", action.past());
            self.instance(id).done.push(deed);
        }
    }

    /// There was nothing to do.
    pub fn nothing_to_do(&mut self, id: &InstanceId, why: &str) {
        if self.is_sweep {
            return;
        }
        tracing::info!(instance = %id, why, "nothing to do");
        self.instance(id).nothing_to_do = Some(why.to_owned());
    }

    /// Something has to wait.
    pub fn waiting(&mut self, id: &InstanceId, because: Because) {
        tracing::info!(instance = %id, what = because.what(), why = because.why, "waiting");
        self.instance(id).waiting.push(because);
    }

    /// Something is not ours to touch.
    pub fn left_alone(&mut self, id: &InstanceId, because: Because) {
        tracing::info!(instance = %id, what = because.what(), why = because.why, "left alone");
        self.instance(id).left_alone.push(because);
    }

    /// Something is given up.
    pub fn let_go(&mut self, id: &InstanceId, because: Because) {
        tracing::warn!(instance = %id, what = because.what(), why = because.why, "let go");
        self.instance(id).let_go.push(because);
    }

    /// Something is wrong that only a person can put right.
    pub fn needs_a_person(&mut self, id: &InstanceId, because: Because) {
        tracing::error!(instance = %id, what = because.what(), why = because.why, "needs a person");
        self.instance(id).needs_a_person.push(because);
    }

    /// A call failed, over one thing of the instance or over all of it.
    pub fn call_failed(&mut self, id: &InstanceId, what: Option<&dyn fmt::Display>, error: &CallError) {
        let because = Because { what: what.map(ToString::to_string), why: error.to_sentence() };
        self.failed(id, error.into(), because);
    }

    /// Something failed.
    pub fn failed(&mut self, id: &InstanceId, reason: FailureReason, because: Because) {
        tracing::error!(instance = %id, what = because.what(), why = because.why, ?reason, "failed");
        self.instance(id).failed.push(Failed { reason, because });
    }

    /// A lifecycle action was completed, is held, or needed nothing.
    pub fn lifecycle_action(&mut self, id: &InstanceId, report: ActionReport) {
        let (group, hook, why) = (&report.auto_scaling_group, &report.hook, &report.why);
        let result = report.result.map_or("none", ActionResult::word);
        match report.is_given_up {
            true => tracing::warn!(instance = %id, %group, %hook, result, why, "lifecycle action"),
            false => tracing::info!(instance = %id, %group, %hook, result, why, "lifecycle action"),
        }
        self.instance(id).lifecycle_actions.push(report);
    }

    /// The instance has to be looked at again.
    pub fn look_again(&mut self, id: &InstanceId, wait: Duration) {
        // Rounded up: who looks too early looks twice.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let part = self.instance(id);
        part.look_again_in_seconds = Some(part.look_again_in_seconds.map_or(seconds, |sooner| sooner.min(seconds)));
    }
}

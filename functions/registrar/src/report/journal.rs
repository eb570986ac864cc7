//! The journal of an invocation: a line in the log for each thing that was done or not done, and the report of them
//! all.

use std::{collections::BTreeMap, fmt};

use protocol::{
    because::Because,
    call_error::CallError,
    decide::{
        TakeOut,
        orphan::{Fate, Orphan},
    },
    id::InstanceId,
    instance::{Instance, State},
    member::ActionResult,
    observed::Health,
    plain::Plain,
    registration::Registration,
    tag,
};

use super::{Action, ActionReport, Deed, Failed, FailureReason, InstanceReport, Report};
use crate::config::Mode;

/// What an invocation tells people, in the report and in the log. It is only written: nothing follows from what stands
/// there.
#[derive(Debug)]
pub struct Journal {
    report: Report,
    /// Whether it is a sweep's. A sweep reads every stopped instance of the account each time, and says nothing of
    /// most.
    is_sweep: bool,
}

impl Journal {
    /// Creates an empty report.
    pub fn new(mode: Mode) -> Self {
        let (instances, orphans, failed) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (left, looked_at) = (None, None);
        Self { report: Report { mode, instances, orphans, failed, left, looked_at }, is_sweep: false }
    }

    /// Creates an empty report of a sweep, which leaves out instances of which there is nothing to say.
    pub fn of_sweep(mode: Mode) -> Self {
        Self { is_sweep: true, ..Self::new(mode) }
    }

    /// Returns the report.
    pub fn into_report(mut self) -> Report {
        if self.is_sweep {
            self.report.instances.retain(|_, instance| instance.is_worth_a_word());
            self.report.orphans.sort_by(|a, b| a.registration.cmp(&b.registration));
        }
        self.report
    }

    fn instance(&mut self, id: &InstanceId) -> &mut InstanceReport {
        self.report.instances.entry(id.clone()).or_default()
    }

    /// Notes an instance that a sweep has read.
    pub fn seen(&mut self, instance: &Instance) {
        let declared = instance.tags.get(tag::REGISTER).map(String::as_str).unwrap_or_default();
        let part = self.instance(&instance.id);
        part.state = Some(instance.state);
        part.name = instance.tags.get(tag::NAME).map(Plain::of);
        part.declared = declared.split_ascii_whitespace().map(Plain::of).collect();
    }

    /// Notes the instance's state, as EC2 says it.
    pub fn state(&mut self, id: &InstanceId, state: Option<State>) {
        self.instance(id).state = state;
    }

    /// Notes what the instance's tags hold.
    pub fn held(&mut self, instance: &Instance) {
        self.instance(&instance.id).held = instance.held().registrations();
    }

    /// Notes that the instance waits at a lifecycle hook.
    pub fn at_hook(&mut self, id: &InstanceId, why: &str) {
        self.instance(id).at_hook = Some(Plain::of(why));
    }

    /// Notes what would be deregistered from a running instance if it stopped now, and whether its tags have room for that.
    pub fn at_a_stop(&mut self, id: &InstanceId, decision: &TakeOut) {
        let part = self.instance(id);
        part.at_a_stop = decision.take.iter().map(|(registration, _)| registration.clone()).collect();
        part.has_no_room = !decision.has_room();
        let is_known = |registration: &Registration| {
            let text = registration.to_string();
            part.left_alone.iter().any(|because| because.what() == text)
        };
        let others: Vec<Because> = decision
            .left_alone
            .iter()
            .filter(|(registration, _)| !is_known(registration))
            .map(|(registration, reason)| Because::of(registration, reason))
            .collect();
        part.left_alone.extend(others);
    }

    /// Notes that the instance is registered somewhere.
    pub fn registered(&mut self, id: &InstanceId, registration: &Registration) {
        self.instance(id).registered.insert(registration.clone());
    }

    /// Notes how healthy a registration is.
    pub fn health(&mut self, id: &InstanceId, registration: &Registration, health: Health) {
        self.instance(id).health.insert(registration.clone(), health);
    }

    /// Notes how long it took until the instance was deregistered; `None` if EC2 does not tell when it was stopped.
    pub fn seconds_to_out(&mut self, id: &InstanceId, seconds: Option<u64>) {
        self.instance(id).seconds_to_out = seconds;
    }

    /// Notes how long it took until the instance was registered.
    pub fn seconds_to_back(&mut self, id: &InstanceId, seconds: Option<u64>) {
        self.instance(id).seconds_to_back = seconds;
    }

    /// Notes how long it took until all that the instance should have was healthy.
    pub fn seconds_to_healthy(&mut self, id: &InstanceId, seconds: Option<u64>) {
        self.instance(id).seconds_to_healthy = seconds;
    }

    /// Notes how long it took until no target of the instance was draining any more.
    pub fn seconds_to_drained(&mut self, id: &InstanceId, seconds: Option<u64>) {
        self.instance(id).seconds_to_drained = seconds;
    }

    /// Notes that the instance need not be looked at again, whatever an earlier step has said.
    pub fn look_no_more(&mut self, id: &InstanceId) {
        self.instance(id).look_again_in_seconds = None;
    }

    /// Notes something that a sweep found and that should not be so.
    pub fn wrong(&mut self, id: &InstanceId, because: Because) {
        tracing::warn!(instance = %id, what = because.what(), why = because.why.as_str(), "wrong");
        self.instance(id).wrong.push(because);
    }

    /// Notes how much of what an instance holds it should have had for long.
    pub fn held_while_running(&mut self, id: &InstanceId, registrations: usize) {
        self.instance(id).held_while_running = registrations;
    }

    /// Notes what a sweep has looked at, also if there is nothing to say about it.
    pub fn looked_at(&mut self, what: String) {
        self.report.looked_at = Some(what);
    }

    /// Notes an orphan that a sweep found, and what became of it.
    pub fn orphan(&mut self, orphan: Orphan) {
        let (registration, fate, why) = (&orphan.registration, orphan.fate.word(), orphan.why.as_str());
        match orphan.fate {
            Fate::LeftAlone | Fate::CannotTell | Fate::Gone | Fate::Unattached => {
                tracing::info!(%registration, fate, why, "orphan")
            }
            _ => tracing::warn!(%registration, fate, why, "orphan"),
        }
        self.report.orphans.push(orphan);
    }

    /// Notes that a call of a sweep failed that was for no instance in particular.
    pub fn sweep_call_failed(&mut self, what: Option<&dyn fmt::Display>, error: &CallError) {
        let because = Because::about(what, error.to_sentence());
        self.report.fail(error.into(), because);
    }

    /// Notes that a sweep ended for lack of time, and where it goes on.
    pub fn left(&mut self, because: Because) {
        tracing::warn!(after = because.what(), why = because.why.as_str(), "not all was swept");
        self.report.left = Some(because);
    }

    /// Notes that something was done, or would have been done.
    pub fn deed(&mut self, id: &InstanceId, action: Action, registration: &Registration, why: &str) {
        let deed = Deed { action, registration: registration.clone(), why: Plain::of(why) };
        if self.report.mode == Mode::Observe {
            tracing::info!(instance = %id, %registration, why, "would be {}", action.past());
            self.instance(id).would_do.push(deed);
        } else {
            tracing::info!(instance = %id, %registration, why, "{}", action.past());
            self.instance(id).done.push(deed);
        }
    }

    /// Notes that there was nothing to do.
    pub fn nothing_to_do(&mut self, id: &InstanceId, why: &str) {
        if self.is_sweep {
            return;
        }
        let why = Plain::of(why);
        tracing::info!(instance = %id, why = why.as_str(), "nothing to do");
        self.instance(id).nothing_to_do = Some(why);
    }

    /// Notes that something has to wait.
    pub fn waiting(&mut self, id: &InstanceId, because: Because) {
        tracing::info!(instance = %id, what = because.what(), why = because.why.as_str(), "waiting");
        self.instance(id).waiting.push(because);
    }

    /// Notes that something is not ours to touch.
    pub fn left_alone(&mut self, id: &InstanceId, because: Because) {
        tracing::info!(instance = %id, what = because.what(), why = because.why.as_str(), "left alone");
        self.instance(id).left_alone.push(because);
    }

    /// Notes that something is given up.
    pub fn let_go(&mut self, id: &InstanceId, because: Because) {
        tracing::warn!(instance = %id, what = because.what(), why = because.why.as_str(), "let go");
        self.instance(id).let_go.push(because);
    }

    /// Notes that something is wrong that only a person can put right.
    pub fn needs_a_person(&mut self, id: &InstanceId, because: Because) {
        tracing::error!(instance = %id, what = because.what(), why = because.why.as_str(), "needs a person");
        self.instance(id).needs_a_person.push(because);
    }

    /// Notes that a call failed, about one thing of the instance or about all of it.
    pub fn call_failed(&mut self, id: &InstanceId, what: Option<&dyn fmt::Display>, error: &CallError) {
        let because = Because::about(what, error.to_sentence());
        self.failed(id, error.into(), because);
    }

    /// Notes that something failed.
    pub fn failed(&mut self, id: &InstanceId, reason: FailureReason, because: Because) {
        tracing::error!(instance = %id, what = because.what(), why = because.why.as_str(), reason = reason.word(), "failed");
        self.instance(id).failed.push(Failed { reason, because });
    }

    /// Notes that a lifecycle action was completed, is held, or needed nothing.
    pub fn lifecycle_action(&mut self, id: &InstanceId, report: ActionReport) {
        let (group, hook, why) = (&report.auto_scaling_group, &report.hook, report.why.as_str());
        let result = report.result.map_or("none", ActionResult::word);
        match report.is_given_up {
            true => tracing::warn!(instance = %id, %group, %hook, result, why, "lifecycle action"),
            false => tracing::info!(instance = %id, %group, %hook, result, why, "lifecycle action"),
        }
        self.instance(id).lifecycle_actions.push(report);
    }

    /// Notes that the instance has to be looked at again in so many seconds.
    pub fn look_again(&mut self, id: &InstanceId, seconds: u64) {
        let part = self.instance(id);
        part.look_again_in_seconds = Some(part.look_again_in_seconds.map_or(seconds, |sooner| sooner.min(seconds)));
    }
}

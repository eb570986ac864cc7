//! Lifecycle actions: an instance is converged while it waits at a hook, on its way into its Auto Scaling group or out
//! of it. The action is completed when the work is done.
//!
//! Each look starts anew from what AWS says: whether the action is still going on, and whether the instance is
//! registered, drained, healthy. Between two looks the message is parked, and a heartbeat keeps the action alive. Only
//! a look that changed nothing and found nothing left to do completes the action.
//!
//! An invocation may die after any call, and an event may come twice. That costs another look at most: Auto Scaling
//! answers that an action is over already. Whether the instance enters or leaves follows from what its group says now,
//! and not from the event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{FutureExt, future::join_all, try_join};
use protocol::{
    because::Because,
    call_error::CallError,
    decide::hook::{
        Course, Open, Verdict, WaitsFor, course, is_young, longest_wait, look_again_after_the_end, until_tags_show,
        verdict,
    },
    declaration::Declaration,
    event::{ActionKey, LifecycleAction, Transition},
    hook::Hook,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    instance::Instance,
    member::{ActionResult, Member},
    presence::{Facts, Membership},
    timing::{ACTION_FAILED_RETRY, DESCRIPTION_RETRY, HEARTBEAT_TIMEOUT_DEFAULT, LOOK_MIN},
};

use super::{
    Converged, Outcome,
    heartbeats::Heartbeats,
    leaving::{Leaving, Progress, anything},
};
use crate::{
    config::{Mode, Scope},
    engine::{Asked, Engine, Look, arrival::Arrival, reading::Age},
    report::ActionReport,
};

/// What an operator has set for lifecycle actions. A hook's own metadata has precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleSettings {
    /// How long a launch may take to become healthy. `None`: as long as its hook waits without a heartbeat.
    pub health_timeout: Option<Duration>,
    /// How long a Network Load Balancer may still open new connections to a deregistered target.
    pub network_drain: Duration,
}

/// The hooks of some actions; `None` for a hook that does not exist any more.
type Hooks = BTreeMap<(AutoScalingGroupName, LifecycleHookName), Result<Option<Hook>, CallError>>;

/// An action under way.
struct UnderWay<'a> {
    action: &'a LifecycleAction,
    hook: Option<&'a Hook>,
    course: Course,
}

impl Engine {
    /// Converges the instances of some lifecycle actions, and completes the actions whose work is done.
    ///
    /// # Errors
    /// If the instances, or their states in their groups, cannot be described: nothing was done.
    pub async fn converge_actions(
        &self,
        actions: &[LifecycleAction],
        settings: &LifecycleSettings,
    ) -> Result<Converged, CallError> {
        let age = Age::new();
        let named: BTreeSet<InstanceId> = actions.iter().map(|action| action.instance.clone()).collect();
        let read = try_join!(
            self.clients.ec2.read(&named),
            self.clients.auto_scaling.members(&named),
            self.hooks(actions).map(Ok),
        );
        let (mut described, members, hooks) = match read {
            Ok(read) => read,
            Err(error) => {
                self.keep_alive_unread(actions).await;
                return Err(error);
            }
        };
        // An operator who puts a hook of ours on a group wants all its members converged, with a tag or without.
        let asked = Asked { scope: Scope::All, ..Asked::default() };
        let mut look = self.look(self.reading_of(age, &mut described), asked);
        let mut outcomes: BTreeMap<ActionKey<'_>, Outcome> = BTreeMap::new();
        let mut under_way = Vec::new();
        for (key, action) in one_of_each(actions) {
            let instance = described.instances.get(&action.instance);
            look.notes.journal.state(&action.instance, instance.map(|instance| instance.state));
            match &hooks[&(action.group.clone(), action.hook.clone())] {
                Err(error) => {
                    look.notes.call_failed(&action.instance, Some(&action.hook), error);
                    self.keep_alive_unread(std::slice::from_ref(action)).await;
                    outcomes.insert(key, Outcome::Later(ACTION_FAILED_RETRY));
                }
                Ok(hook) => {
                    let hook = hook.as_ref();
                    let course = course(action, instance, members.get(&action.instance), hook, look.reading.at);
                    match hook.and_then(|hook| hook.unread.clone()) {
                        // What a hook says counts only if anything is done with its instance.
                        Some(why) if course.is_moving() && self.may_act_on(instance) => {
                            outcomes.insert(key, Outcome::NotUnderstood(why));
                        }
                        _ => under_way.push(UnderWay { action, hook, course }),
                    }
                }
            }
        }
        let is_kept_alive = |under_way: &&UnderWay<'_>| {
            let is_held = under_way.course.is_moving() || matches!(under_way.course, Course::TooEarly(_));
            is_held && self.may_act_on(described.instances.get(&under_way.action.instance))
        };
        let kept_alive = under_way.iter().filter(is_kept_alive);
        let kept_alive = kept_alive.filter_map(|action| Some((action.action, action.hook?.heartbeat_timeout)));
        let kept_alive: Vec<_> = kept_alive.collect();
        let auto_scaling = self.clients.auto_scaling.clone();
        let heartbeats = Heartbeats::begin(auto_scaling, look.reading.at, kept_alive.into_iter()).await;
        for UnderWay { action, course, .. } in &mut under_way {
            // In these states the event alone says that the instance enters. So Auto Scaling has to know the action.
            if *course == Course::In && action.is_for_root_volume && heartbeats.is_unknown(action) {
                let is_young = is_young(action, look.reading.at);
                *course = if is_young { Course::TooEarly(DESCRIPTION_RETRY) } else { Course::Over(OVER) };
            }
        }
        let seen = heartbeats.during(look.steer(&mut under_way, &described.instances, members, settings)).await;
        // A tag has to show before the next look, which a short hook does not wait for.
        let stays = under_way.iter().filter_map(|UnderWay { action, hook, .. }| {
            let until_shown = until_tags_show(seen.open(action));
            Some(until_shown.saturating_sub(longest_wait((*hook)?)))
        });
        let stay = stays.max().filter(|stay| !stay.is_zero() && self.mode == Mode::Enforce);
        if let Some(stay) = stay {
            heartbeats.during(tokio::time::sleep(stay)).await;
        }
        for UnderWay { action, hook, course } in &under_way {
            let open: Vec<Open> = seen.open(action).cloned().collect();
            let verdict = match look.weigh_action(action, *hook, course, &open, settings) {
                Step::Hold(wait, open) => Step::Hold(wait.saturating_sub(stay.unwrap_or_default()).max(LOOK_MIN), open),
                step => step,
            };
            let is_in_place = seen.in_place.contains(&action.instance);
            let is_out = |instance: &Instance| Facts::of(instance).presence().is_out();
            let has_failed = described.instances.get(&action.instance).is_some_and(is_out)
                && !look.notes.again().of(&action.instance).failed.is_empty();
            let outcome = match look.act_on(action, *hook, verdict, is_in_place, &heartbeats).boxed().await {
                // The action is over, and what its instance was given in vain may still be registered.
                Outcome::Done if has_failed && action.transition == Transition::Launching => {
                    Outcome::Later(look_again_after_the_end(action, look.reading.at))
                }
                outcome => outcome,
            };
            outcomes.insert(action.key(), outcome);
        }
        let outcomes = actions.iter().map(|action| outcomes[&action.key()].clone()).collect();
        let (report, has_failed) = look.notes.into_report();
        Ok(Converged { report, outcomes, has_failed })
    }

    /// Records a heartbeat of actions of which too little could be read. Their hooks' clocks go on until the next look.
    async fn keep_alive_unread(&self, actions: &[LifecycleAction]) {
        if self.mode == Mode::Observe {
            return;
        }
        let beats = one_of_each(actions).into_values().map(|action| self.clients.auto_scaling.record_heartbeat(action));
        for error in join_all(beats).await.into_iter().filter_map(Result::err) {
            tracing::warn!(why = error.to_sentence(), "no heartbeat, and nothing could be read");
        }
    }

    /// Returns whether anything may be done with an instance at all.
    fn may_act_on(&self, instance: Option<&Instance>) -> bool {
        self.mode == Mode::Enforce && instance.is_some_and(|instance| !instance.is_ignored())
    }

    /// Reads each hook once.
    async fn hooks(&self, actions: &[LifecycleAction]) -> Hooks {
        let named: BTreeSet<_> = actions.iter().map(|action| (action.group.clone(), action.hook.clone())).collect();
        let auto_scaling = &self.clients.auto_scaling;
        let asked = named.into_iter().map(|(group, name)| async move {
            let hook = auto_scaling.hook(&group, &name).await;
            ((group, name), hook)
        });
        join_all(asked).await.into_iter().collect()
    }
}

impl Look<'_> {
    /// Registers or deregisters every instance as its action needs. Returns what is still open, by instance.
    async fn steer<'a>(
        &mut self,
        under_way: &mut [UnderWay<'a>],
        instances: &BTreeMap<InstanceId, Instance>,
        members: BTreeMap<InstanceId, Member>,
        settings: &LifecycleSettings,
    ) -> Progress<'a> {
        let mut leaving: Vec<Leaving<'_, 'a>> = Vec::new();
        let mut arriving: BTreeMap<&InstanceId, &Instance> = BTreeMap::new();
        let mut given_in_vain: BTreeMap<&InstanceId, &Instance> = BTreeMap::new();
        let declares = |instance: &Instance| (instance.id.clone(), declared_by_hooks(instance, under_way, &members));
        let mut declared: BTreeMap<InstanceId, Vec<Declaration>> = instances.values().map(declares).collect();
        for UnderWay { action, hook, course } in under_way.iter_mut() {
            let Some(instance) = instances.get(&action.instance) else { continue };
            if course.is_moving() && !self.is_ours(instance) {
                *course = Course::Complete(ActionResult::Continue, "its instance is left alone".to_owned());
            }
            // Its launch may have been registered a moment ago, and the events of its stop may have found nothing.
            let is_launch = action.transition == Transition::Launching;
            if is_launch && Facts::of(instance).presence().is_out() && self.is_ours(instance) {
                given_in_vain.insert(&instance.id, instance);
            }
            let membership = Membership::of(members.get(&action.instance));
            let is_in = Facts::of(instance).with_membership(membership).presence().is_in();
            match course {
                Course::Out => {
                    let of_hook = hook.and_then(|hook| hook.metadata.network_drain);
                    let network_drain = of_hook.unwrap_or(settings.network_drain);
                    leaving.push(Leaving { instance, action, network_drain });
                }
                Course::In => {
                    let declared = declared.remove(&instance.id).unwrap_or_default();
                    self.asked.entering.entry(instance.id.clone()).or_default().extend(declared);
                    arriving.insert(&instance.id, instance);
                }
                // An invocation that came too late may have deregistered something. The event's other copy registers it
                // again.
                Course::Over(_) if is_in && self.is_ours(instance) => {
                    arriving.insert(&instance.id, instance);
                }
                _ => {}
            }
        }
        self.asked.leaving = leaving.iter().map(|leaving| leaving.instance.id.clone()).collect();
        let leaving_instances: BTreeMap<&InstanceId, &Instance> =
            leaving.iter().map(|leaving| (&leaving.instance.id, leaving.instance)).collect();
        let is_in_turn = |id: &&InstanceId| !leaving_instances.contains_key(id);
        let given_in_vain: Vec<&Instance> =
            given_in_vain.into_iter().filter(|(id, _)| is_in_turn(id)).map(|(_, instance)| instance).collect();
        let moving = leaving_instances.into_values().chain(arriving.values().copied());
        for instance in moving.chain(given_in_vain.iter().copied()) {
            self.notes.journal.held(instance);
            self.name_wrong_tags(instance);
        }
        // What is dying does not wait: it soon loses its addresses.
        let out = given_in_vain.iter().copied().filter(|instance| !self.engine.served.has_stop_of(instance));
        // The others were not read again meanwhile.
        let before = self.reading.times();
        self.converge_out(&out.collect::<Vec<_>>()).await;
        self.reading.set_times(before);
        self.reading.set_members(&instances.keys().cloned().collect(), members);
        let mut seen = self.register_entering(&arriving.into_values().collect::<Vec<_>>()).await;
        let deregistered = self.deregister_leaving(&leaving).await;
        for id in self.asked.leaving.iter().chain(given_in_vain.iter().map(|instance| &instance.id)) {
            seen.of_instance.entry(id.clone()).or_default();
        }
        seen.of_action = deregistered.of_action;
        seen.in_place.extend(deregistered.in_place);
        for (id, open) in &mut seen.of_instance {
            open.extend(self.notes.again().of(id).failed.into_iter().map(anything));
        }
        seen
    }

    /// Registers what instances should have that are entering their groups.
    async fn register_entering<'a>(&mut self, arriving: &[&Instance]) -> Progress<'a> {
        let mut given_back = self.give_back(arriving).await;
        let in_place = given_back.in_place();
        let open = arriving.iter().map(|instance| {
            let Arrival { unready, draining, being_checked, registered, unwaited, .. } =
                given_back.arrivals.remove(&instance.id).unwrap_or_default();
            let draining =
                draining.into_iter().map(|(because, left)| Open { because, waits_for: WaitsFor::Draining(left) });
            let checked = being_checked.into_iter().map(|because| Open { because, waits_for: WaitsFor::FirstChecks });
            for because in &unwaited {
                tracing::warn!(instance = %instance.id, what = because.what(), why = because.why.as_str(), "not waited for");
            }
            let registered = registered.into_iter().map(|because| Open { because, waits_for: WaitsFor::Registered });
            let unwaited = unwaited.into_iter().map(|because| Open { because, waits_for: WaitsFor::Nothing });
            (
                instance.id.clone(),
                unready
                    .into_iter()
                    .map(anything)
                    .chain(draining)
                    .chain(checked)
                    .chain(registered)
                    .chain(unwaited)
                    .collect(),
            )
        });
        Progress { of_instance: open.collect(), in_place, ..Progress::default() }
    }

    /// Decides what becomes of an action after its instance was converged.
    fn weigh_action(
        &self,
        action: &LifecycleAction,
        hook: Option<&Hook>,
        course: &Course,
        open: &[Open],
        settings: &LifecycleSettings,
    ) -> Step {
        let complete = |result, why: &str| Step::Complete { result, why: why.to_owned(), is_given_up: false };
        match course {
            Course::Over(why) => Step::Nothing((*why).to_owned()),
            // A mode that only reports must never hold up a group.
            _ if self.engine.mode == Mode::Observe => complete(ActionResult::Continue, "the mode is `observe`"),
            Course::Complete(result, why) => complete(*result, why),
            Course::TooEarly(wait) => {
                Step::Hold(*wait, vec![Because::all("what AWS says of the instance may be older than the event")])
            }
            Course::In | Course::Out | Course::NotRunning(_) => {
                // Without a hook the course would be `Over`.
                let Some(hook) = hook else { return Step::Nothing("its hook is gone".to_owned()) };
                let not_running = match course {
                    Course::NotRunning(state) => vec![anything(Because::all(format!("it is {}", state.name())))],
                    _ => Vec::new(),
                };
                let open: Vec<Open> = open.iter().cloned().chain(not_running).collect();
                let timeout = hook.metadata.timeout.or(match action.transition {
                    Transition::Launching => settings.health_timeout,
                    Transition::Terminating => None,
                });
                match verdict(action, hook, &open, timeout, self.reading.at) {
                    Verdict::Hold(wait) => Step::Hold(wait, open.into_iter().map(|open| open.because).collect()),
                    Verdict::Complete { result, why, is_given_up } => Step::Complete { result, why, is_given_up },
                }
            }
        }
    }

    /// Completes an action, or keeps it alive until the next look.
    async fn act_on(
        &mut self,
        action: &LifecycleAction,
        hook: Option<&Hook>,
        step: Step,
        is_in_place: bool,
        heartbeats: &Heartbeats<'_>,
    ) -> Outcome {
        let auto_scaling = &self.engine.clients.auto_scaling;
        let heartbeat_timeout = hook.map_or(HEARTBEAT_TIMEOUT_DEFAULT, |hook| hook.heartbeat_timeout);
        let id = &action.instance;
        // A step may have asked for another look. When that comes, only the action decides.
        self.notes.look_no_more(id);
        match step {
            Step::Nothing(why) => {
                self.notes.journal.lifecycle_action(id, ActionReport::of(action, None, why));
                Outcome::Done
            }
            Step::Hold(wait, open) => match heartbeats.leave_alone(action, wait, heartbeat_timeout).await {
                Ok(true) => {
                    let why = open.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    self.notes.journal.lifecycle_action(id, ActionReport::of(action, None, format!("held: {why}")));
                    self.notes.look_again(id, wait);
                    Outcome::Later(wait)
                }
                Ok(false) => self.unknown(action),
                Err(error) => {
                    self.notes.call_failed(id, Some(&action.hook), &error);
                    self.notes.look_again(id, wait.min(ACTION_FAILED_RETRY));
                    Outcome::Later(wait.min(ACTION_FAILED_RETRY))
                }
            },
            Step::Complete { result, why, is_given_up } => match auto_scaling.complete(action, result).await {
                Ok(true) => {
                    if !is_given_up {
                        self.measure(action, is_in_place);
                    }
                    let report = ActionReport { is_given_up, ..ActionReport::of(action, Some(result), why) };
                    self.notes.journal.lifecycle_action(id, report);
                    Outcome::Done
                }
                Ok(false) => self.unknown(action),
                Err(error) => {
                    self.notes.call_failed(id, Some(&action.hook), &error);
                    self.notes.look_again(id, ACTION_FAILED_RETRY);
                    Outcome::Later(ACTION_FAILED_RETRY)
                }
            },
        }
    }

    /// Decides about an action that Auto Scaling does not know: it is over, unless it has just begun.
    fn unknown(&mut self, action: &LifecycleAction) -> Outcome {
        let id = &action.instance;
        if !is_young(action, self.reading.at) {
            self.notes.journal.lifecycle_action(id, ActionReport::of(action, None, OVER));
            return Outcome::Done;
        }
        self.notes.journal.lifecycle_action(id, ActionReport::of(action, None, NOT_YET));
        self.notes.look_again(id, DESCRIPTION_RETRY);
        Outcome::Later(DESCRIPTION_RETRY)
    }

    /// Notes how long the work took.
    fn measure(&mut self, action: &LifecycleAction, is_in_place: bool) {
        let (id, seconds) = (&action.instance, self.reading.seconds_since(Some(action.told_at)));
        match action.transition {
            Transition::Launching if is_in_place => self.notes.journal.seconds_to_healthy(id, seconds),
            Transition::Launching => {}
            Transition::Terminating => self.notes.journal.seconds_to_drained(id, seconds),
        }
    }
}

const NOT_YET: &str = "held: Auto Scaling does not know it, and may not know it yet";

const OVER: &str = "it is over already: completed by another caller, or out of time";

/// What is done about an action.
enum Step {
    /// Nothing: the action is over.
    Nothing(String),
    /// The action is kept alive, and looked at again.
    Hold(Duration, Vec<Because>),
    /// The action is completed.
    Complete { result: ActionResult, why: String, is_given_up: bool },
}

/// Returns the actions of some messages, each once. An event that came twice is one action, and begins when the queue
/// first told of it.
fn one_of_each(actions: &[LifecycleAction]) -> BTreeMap<ActionKey<'_>, &LifecycleAction> {
    let mut each: BTreeMap<ActionKey<'_>, &LifecycleAction> = BTreeMap::new();
    for action in actions {
        let first = each.entry(action.key()).or_insert(action);
        if action.told_at < first.told_at {
            *first = action;
        }
    }
    each
}

/// Returns what the launch hooks of an instance declare for it, if its group says that it is entering. So an event that
/// comes hours later, or that a stranger made up, declares nothing.
fn declared_by_hooks(
    instance: &Instance,
    under_way: &[UnderWay<'_>],
    members: &BTreeMap<InstanceId, Member>,
) -> Vec<Declaration> {
    let member = members.get(&instance.id).filter(|member| member.lifecycle_state.is_entering());
    let own = |under_way: &&UnderWay<'_>| {
        let action = under_way.action;
        action.instance == instance.id && member.is_some_and(|member| member.group == action.group)
    };
    // Several events can name one hook, and each hook declares once.
    let hooks = under_way.iter().filter(own).filter_map(|under_way| Some((&under_way.action.hook, under_way.hook?)));
    let declared: BTreeMap<&LifecycleHookName, &[Declaration]> =
        hooks.map(|(name, hook)| (name, hook.metadata.register.as_slice())).collect();
    declared.into_values().flatten().cloned().collect()
}

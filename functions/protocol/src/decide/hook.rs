//! The decision about a lifecycle action: what its instance needs, whether the hook is held, and until when.
//!
//! No function remembers an action. The queue tells how long the action has been waiting. What balancers and tags say
//! now tells how far the work has come.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    because::Because,
    event::{LifecycleAction, Transition},
    hook::Hook,
    instance::{Instance, State},
    member::{ActionResult, Member},
    time::Timestamp,
    timing::{
        DESCRIPTION_LAG_MAX, DESCRIPTION_RETRY, DRAINED_SLACK, DRAINING_MAX, LAST_MOMENT, LONG_LOOK_MAX, LOOK_MAX,
        LOOK_MIN, NEXT_LOOK_WITHIN,
    },
};

/// What the instance of a lifecycle action needs, as far as its registrations are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The instance has to be registered nowhere, until no balancer drains it any more.
    Out,
    /// The instance has to be registered with all that it should have, until all of it is healthy.
    In,
    /// The instance does not run (yet), so it is not registered for now.
    NotRunning(State),
    /// There is nothing to wait for: the action is completed at once.
    Complete(ActionResult, String),
    /// The action is over: it was completed, or it ran out of time.
    Over(&'static str),
    /// What AWS says may be older than the event: look again after this wait.
    TooEarly(Duration),
}

impl Course {
    /// Returns whether anything has to be done about the instance's registrations.
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Out | Self::In | Self::NotRunning(_))
    }
}

/// Returns whether an action has just begun, so that what AWS says of it may be older than the action. Auto Scaling has said of an
/// action that it has just told of that there is none (<https://github.com/PrairieLearn/PrairieLearn/pull/15586>).
pub fn is_young(action: &LifecycleAction, now: Timestamp) -> bool {
    // A person made up a time that lies ahead: no description would ever be younger.
    (now - action.started_at).abs() < DESCRIPTION_LAG_MAX
}

/// Decides what the instance of an action needs, by what EC2 and Auto Scaling said at `now`.
pub fn course(
    action: &LifecycleAction,
    instance: Option<&Instance>,
    member: Option<&Member>,
    hook: Option<&Hook>,
    now: Timestamp,
) -> Course {
    let is_young = is_young(action, now);
    let unless_young = |course: Course| if is_young { Course::TooEarly(DESCRIPTION_RETRY) } else { course };
    if hook.is_none() {
        // "If there are any outstanding lifecycle actions, they are completed first" (API reference, DeleteLifecycleHook).
        return unless_young(Course::Over("there is no such hook, or no such group"));
    }
    let is_launch = action.transition == Transition::Launching;
    let is_entering_pool = member.is_some_and(|member| member.lifecycle_state.is_entering_warm_pool());
    if is_launch && is_entering_pool {
        let why = "it enters the warm pool, where it must get no traffic";
        let course = Course::Complete(ActionResult::Continue, why.to_owned());
        // The description may be of the action before, by which the instance entered the pool.
        return if action.is_to_warm_pool { course } else { unless_young(course) };
    }
    // Where the instance goes, its group says. The event may be newer than what the group says.
    if is_launch && action.is_to_warm_pool && is_young {
        return Course::TooEarly(DESCRIPTION_RETRY);
    }
    let Some(member) = member else {
        return unless_young(Course::Over("its instance is not a member of the group any more"));
    };
    if member.group != action.group {
        return Course::Over("its instance is a member of another group by now");
    }
    // It is not documented in which state a launch hook finds an instance with a new root volume.
    let is_back = is_launch && action.is_for_root_volume && member.lifecycle_state.is_replacing_root_volume();
    let state = &member.lifecycle_state;
    let is_elsewhere = if is_launch { state.is_out_of_service() } else { !state.is_leaving() };
    if is_elsewhere && !is_back {
        return unless_young(Course::Over("its instance is on another way by now"));
    }
    match (is_launch, instance.map(|instance| instance.state)) {
        (true, Some(State::Running)) => Course::In,
        (true, None) => unless_young(gone(action)),
        (true, Some(state)) if state.is_dying() => gone(action),
        (true, Some(state)) => Course::NotRunning(state),
        // No API tells the address of the instance any more. The sweep finds what is still registered with it.
        (false, None | Some(State::Terminated)) => gone(action),
        (false, Some(_)) => Course::Out,
    }
}

/// Completes the action of an instance that is gone, in the way in which its group can go on.
fn gone(action: &LifecycleAction) -> Course {
    let result = match action.transition {
        Transition::Launching => ActionResult::Abandon,
        Transition::Terminating => ActionResult::Continue,
    };
    Course::Complete(result, "the instance is gone".to_owned())
}

/// One reason why an action cannot be completed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// What is not as it should be.
    pub because: Because,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What an action waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The end of a draining, which comes by itself: after this time, if that is known to the second.
    Draining(Option<Duration>),
    /// A tag that EC2 may not show for this long. Until then nothing else may tell that a balancer drains the instance.
    Tag(Duration),
    /// The end of a balancer's first health checks, which comes by itself.
    FirstChecks,
    /// Health, a balancer that cannot be read or written, or a person. It may never come.
    Anything,
    /// The next look at what this look has registered.
    Registered,
    /// Nothing: the report names it, and the action goes on without it.
    Nothing,
}

/// What should become of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The action is completed.
    Complete {
        /// How it is completed.
        result: ActionResult,
        /// Why it is completed.
        why: String,
        /// Whether something was still open.
        is_given_up: bool,
    },
    /// The action is held, and looked at again after this wait.
    Hold(Duration),
}

/// Decides about an action after this look's work, by what is still open at `now`.
///
/// `timeout` is how long to wait for what may never come. Without it, the action waits as long as the hook does without
/// a heartbeat.
pub fn verdict(
    action: &LifecycleAction,
    hook: &Hook,
    open: &[Open],
    timeout: Option<Duration>,
    now: Timestamp,
) -> Verdict {
    let (unwaited, open): (Vec<&Open>, Vec<&Open>) = open.iter().partition(|open| open.waits_for == WaitsFor::Nothing);
    if open.is_empty() {
        let mut why = match action.transition {
            Transition::Launching => "all that it should have is registered and healthy".to_owned(),
            Transition::Terminating => "it is registered nowhere, and nothing is drained any more".to_owned(),
        };
        if !unwaited.is_empty() {
            why = format!("{why}, but for what is not waited for: {}", sentences(&unwaited));
        }
        return Verdict::Complete { result: ActionResult::Continue, why, is_given_up: false };
    }
    let waited = waited(action, now);
    let last_moment = delta(hook.global_timeout) - LAST_MOMENT;
    let is_of_drain = |open: &&Open| matches!(open.waits_for, WaitsFor::Draining(_) | WaitsFor::Tag(_));
    // After a long draining, a registration is young when the time for health is over.
    let ends_by_itself = |open: &&Open| is_of_drain(open) || open.waits_for == WaitsFor::FirstChecks;
    let limit = match open.iter().all(ends_by_itself) {
        true => last_moment,
        // 0 means the same at the hook as in the setting: as long as the hook waits.
        false => last_moment.min(delta(timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(hook.heartbeat_timeout))),
    };
    // A draining is waited for, even if something else has failed for too long.
    let is_draining = open.iter().any(is_of_drain);
    // A look that has just registered something does not give up either: an address was drained until now, or a person has
    // corrected a declaration at last. No longer than that can last, since another tool may deregister it again and again.
    let has_registered = open.iter().any(|open| open.waits_for == WaitsFor::Registered);
    let limit = if has_registered { last_moment.min(limit + DRAINING_MAX) } else { limit };
    if waited >= last_moment || (waited >= limit && !is_draining) {
        return give_up(hook, &open, waited);
    }
    let left = limit - waited;
    let left = if left > TimeDelta::zero() { left } else { last_moment - waited };
    let wait = next_look(&open, waited).min(longest_wait(hook));
    // What a balancer drains silently is told by a tag alone, and the tag may not show before this.
    let wait = wait.max(until_tags_show(open.iter().copied()));
    Verdict::Hold(wait.min(left.to_std().unwrap_or(LOOK_MIN)))
}

/// Returns how long a look may leave an action alone that has just had a heartbeat: half of the heartbeat timeout, and
/// so long that the next look comes in time even if its event is served late.
pub fn longest_wait(hook: &Hook) -> Duration {
    let in_time = hook.heartbeat_timeout.saturating_sub(NEXT_LOOK_WITHIN);
    (hook.heartbeat_timeout / 2).min(in_time).max(LOOK_MIN)
}

/// Returns how long it takes until EC2 must show the tags that a look has written.
pub fn until_tags_show<'o>(open: impl Iterator<Item = &'o Open>) -> Duration {
    let left = |open: &Open| match open.waits_for {
        WaitsFor::Tag(left) => Some(left),
        _ => None,
    };
    open.filter_map(left).max().unwrap_or_default()
}

fn give_up(hook: &Hook, open: &[&Open], waited: TimeDelta) -> Verdict {
    // As if no function had answered. `ABANDON` of a terminate hook keeps the instance, if its group retains it
    // (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/configure-instance-retention.html>).
    let result = hook.metadata.on_timeout.unwrap_or(hook.default_result);
    let why = format!("given up after {} s: {}", waited.num_seconds(), sentences(open));
    Verdict::Complete { result, why, is_given_up: true }
}

fn sentences(open: &[&Open]) -> String {
    open.iter().map(|open| open.because.to_string()).collect::<Vec<_>>().join("; ")
}

/// Returns when to look again: when a draining ends, if that is known, else after a sixth of the time waited so far. It
/// is not before the tag that tells of the draining must show.
///
/// So an hour costs some dozens of looks. What is ready is noticed after a sixth of its time more, or after 90 s more.
fn next_look(open: &[&Open], waited: TimeDelta) -> Duration {
    let cadence = cadence(waited);
    let end = |open: &&Open| match open.waits_for {
        WaitsFor::Draining(Some(left)) => Some((left + DRAINED_SLACK).max(LOOK_MIN).min(LONG_LOOK_MAX)),
        WaitsFor::Draining(None) | WaitsFor::FirstChecks | WaitsFor::Anything | WaitsFor::Registered => Some(cadence),
        WaitsFor::Tag(_) | WaitsFor::Nothing => None,
    };
    open.iter().filter_map(end).min().unwrap_or(LOOK_MIN).max(until_tags_show(open.iter().copied()))
}

/// Returns how soon to look at an action again that has waited so long, if nothing is known of the end.
fn cadence(waited: TimeDelta) -> Duration {
    let waited = waited.to_std().unwrap_or_default();
    (waited / 6).clamp(LOOK_MIN, LOOK_MAX.max((waited / 40).min(LONG_LOOK_MAX)))
}

/// Returns how soon to look again at the instance of an action that is over, if the work on the instance has failed.
pub fn look_again_after_the_end(action: &LifecycleAction, now: Timestamp) -> Duration {
    cadence(waited(action, now))
}

/// Returns how long an action has waited, by what its queue told.
fn waited(action: &LifecycleAction, now: Timestamp) -> TimeDelta {
    (now - action.told_at).max(TimeDelta::zero())
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hook::Metadata,
        instance::tests::{at, instance},
    };

    static HOOK: Hook = Hook {
        heartbeat_timeout: Duration::from_secs(600),
        global_timeout: Duration::from_secs(60_000),
        default_result: ActionResult::Abandon,
        metadata: Metadata { register: Vec::new(), timeout: None, on_timeout: None, network_drain: None },
        unread: None,
    };

    fn action(transition: Transition) -> LifecycleAction {
        LifecycleAction {
            instance: "i-1".into(),
            group: "fleet".into(),
            hook: "elb-registrar".into(),
            token: "t".into(),
            transition,
            is_to_warm_pool: false,
            is_for_root_volume: false,
            started_at: at(0),
            told_at: at(0),
        }
    }

    fn launch() -> LifecycleAction {
        action(Transition::Launching)
    }

    fn terminate() -> LifecycleAction {
        action(Transition::Terminating)
    }

    fn member(state: &str) -> Member {
        Member { group: "fleet".into(), lifecycle_state: state.into() }
    }

    fn described(state: State) -> Instance {
        Instance { state, ..instance("i-1") }
    }

    fn course_of(action: &LifecycleAction, state: State, lifecycle_state: &str, second: i64) -> Course {
        course(action, Some(&described(state)), Some(&member(lifecycle_state)), Some(&HOOK), at(second))
    }

    fn unhealthy() -> Open {
        Open { because: Because::of(&"tg:web", "initial"), waits_for: WaitsFor::Anything }
    }

    fn draining(left: Option<u64>) -> Open {
        let waits_for = WaitsFor::Draining(left.map(Duration::from_secs));
        Open { because: Because::of(&"tg:web", "draining"), waits_for }
    }

    #[test]
    fn an_action_registers_or_deregisters_as_its_group_says() {
        assert_eq!(course_of(&launch(), State::Running, "Pending:Wait", 100), Course::In);
        assert_eq!(course_of(&launch(), State::Pending, "Pending:Wait", 100), Course::NotRunning(State::Pending));
        assert_eq!(course_of(&launch(), State::Stopped, "Pending:Wait", 100), Course::NotRunning(State::Stopped));
        for state in ["Terminating:Wait", "Warmed:Pending:Wait", "ReplacingRootVolume:Wait"] {
            assert_eq!(course_of(&terminate(), State::Running, state, 100), Course::Out);
        }
    }

    #[test]
    fn an_instance_with_a_new_root_volume_comes_back_in_any_state() {
        let back = LifecycleAction { is_for_root_volume: true, ..launch() };
        for state in ["ReplacingRootVolume:Wait", "RootVolumeReplaced", "Pending:Wait", "InService"] {
            assert_eq!(course_of(&back, State::Running, state, 100), Course::In, "{state}");
        }
        assert!(matches!(course_of(&back, State::Running, "Terminating:Wait", 100), Course::Over(_)));
    }

    #[test]
    fn an_event_whose_action_is_over_touches_nothing() {
        for (action, state) in [
            (terminate(), "InService"),
            (terminate(), "Standby"),
            (launch(), "Terminating:Wait"),
            (launch(), "Warmed:Stopped"),
        ] {
            assert!(matches!(course_of(&action, State::Running, state, 60), Course::Over(_)), "{state}");
            let early = course_of(&action, State::Running, state, 59);
            assert_eq!(early, Course::TooEarly(DESCRIPTION_RETRY), "{state}: Auto Scaling's description may lag");
        }
        let in_other = Member { group: "other".into(), ..member("Terminating:Wait") };
        let running = described(State::Running);
        let of = |member, hook| course(&terminate(), Some(&running), member, hook, at(100));
        assert!(matches!(of(Some(&in_other), Some(&HOOK)), Course::Over(_)));
        assert!(matches!(of(None, Some(&HOOK)), Course::Over(_)));
        assert!(matches!(of(Some(&member("Terminating:Wait")), None), Course::Over(_)));
    }

    #[test]
    fn an_action_waits_since_its_queue_told_of_it() {
        let forged = LifecycleAction { started_at: at(-50_000), ..terminate() };
        let is_held = |second| matches!(verdict(&forged, &HOOK, &[unhealthy()], None, at(second)), Verdict::Hold(_));
        assert_eq!((is_held(599), is_held(600)), (true, false), "what its sender says of time is not believed");
        let ahead = LifecycleAction { started_at: at(9_000_000), ..terminate() };
        assert!(matches!(course_of(&ahead, State::Running, "InService", 0), Course::Over(_)));
        let told = ahead.told_by_queue(at(7));
        assert_eq!((told.started_at, told.told_at), (at(7), at(7)));
    }

    #[test]
    fn a_group_does_not_wait_for_an_instance_that_is_gone() {
        let of = |action: &LifecycleAction, state| course_of(action, state, "Pending:Wait", 1);
        assert!(matches!(of(&launch(), State::ShuttingDown), Course::Complete(ActionResult::Abandon, _)));
        let gone = course(&launch(), None, Some(&member("Pending:Wait")), Some(&HOOK), at(60));
        assert!(matches!(gone, Course::Complete(ActionResult::Abandon, _)));
        let gone = course_of(&terminate(), State::Terminated, "Terminating:Wait", 1);
        assert!(matches!(gone, Course::Complete(ActionResult::Continue, _)));
    }

    #[test]
    fn an_instance_that_enters_the_warm_pool_is_not_waited_for() {
        let action = LifecycleAction { is_to_warm_pool: true, ..launch() };
        let course = course_of(&action, State::Running, "Warmed:Pending:Wait", 1);
        assert!(matches!(course, Course::Complete(ActionResult::Continue, _)));
        // Only the event says so, and its sender may have made it up.
        let told = |second| course_of(&action, State::Running, "Pending:Wait", second);
        assert_eq!((told(59), told(60)), (Course::TooEarly(DESCRIPTION_RETRY), Course::In));
        // It may have left the pool since, and the description may be of its way into it.
        let early = course_of(&launch(), State::Running, "Warmed:Pending:Proceed", 1);
        assert_eq!(early, Course::TooEarly(DESCRIPTION_RETRY));
        let course = course_of(&launch(), State::Running, "Warmed:Pending:Wait", 60);
        assert!(matches!(course, Course::Complete(ActionResult::Continue, _)));
    }

    #[test]
    fn an_action_is_completed_when_nothing_is_open() {
        for action in [launch(), terminate()] {
            let verdict = verdict(&action, &HOOK, &[], None, at(10));
            assert!(matches!(verdict, Verdict::Complete { result: ActionResult::Continue, is_given_up: false, .. }));
        }
    }

    #[test]
    fn what_is_not_waited_for_is_named_when_the_action_is_completed() {
        let idle = Open { because: Because::of(&"tg:idle", "unused"), waits_for: WaitsFor::Nothing };
        let completed = |open: &[Open]| match verdict(&launch(), &HOOK, open, None, at(10)) {
            Verdict::Complete { result: ActionResult::Continue, why, is_given_up: false } => Some(why),
            _ => None,
        };
        let why = completed(std::slice::from_ref(&idle)).unwrap_or_default();
        assert!(why.ends_with("but for what is not waited for: tg:idle: unused"), "{why}");
        assert_eq!(completed(&[idle, unhealthy()]), None, "the other one is waited for");
    }

    #[test]
    fn an_unhealthy_launch_ends_in_time_as_its_hook_says() {
        let at_end = |hook: &Hook, timeout: Option<u64>, second| match verdict(
            &launch(),
            hook,
            &[unhealthy()],
            timeout.map(Duration::from_secs),
            at(second),
        ) {
            Verdict::Complete { result, is_given_up, why } => {
                assert!(is_given_up && why.contains("tg:web: initial"), "{why}");
                Some(result)
            }
            Verdict::Hold(_) => None,
        };
        assert_eq!(at_end(&HOOK, None, 599), None);
        assert_eq!(at_end(&HOOK, None, 600), Some(ActionResult::Abandon), "the hook's own time and default result");
        assert_eq!(at_end(&HOOK, Some(900), 600), None);
        assert_eq!(at_end(&HOOK, Some(900), 900), Some(ActionResult::Abandon));
        assert_eq!(
            at_end(&HOOK, Some(90_000), 59_940),
            Some(ActionResult::Abandon),
            "a minute before the global limit"
        );
        let kind = Hook {
            metadata: Metadata { on_timeout: Some(ActionResult::Continue), ..Metadata::default() },
            ..HOOK.clone()
        };
        assert_eq!(at_end(&kind, None, 600), Some(ActionResult::Continue));
    }

    #[test]
    fn a_look_that_registers_something_waits_for_the_longest_draining_more() {
        let registered = Open { waits_for: WaitsFor::Registered, ..unhealthy() };
        let verdict = |second| verdict(&launch(), &HOOK, std::slice::from_ref(&registered), None, at(second));
        assert_eq!(verdict(700), Verdict::Hold(LOOK_MAX));
        assert_eq!(verdict(4_259), Verdict::Hold(Duration::from_secs(1)));
        assert!(
            matches!(verdict(4_260), Verdict::Complete { is_given_up: true, .. }),
            "another tool deregisters it each time"
        );
    }

    #[test]
    fn first_checks_are_waited_for_after_a_long_draining() {
        let checked = Open { waits_for: WaitsFor::FirstChecks, ..unhealthy() };
        let ends = |open: &[Open], second| {
            matches!(verdict(&launch(), &HOOK, open, None, at(second)), Verdict::Complete { .. })
        };
        assert!(!ends(std::slice::from_ref(&checked), 900), "they end by themselves");
        assert!(ends(&[checked.clone(), unhealthy()], 900), "the other one has failed for too long");
        assert!(ends(&[checked], 59_940), "the hook's global limit");
    }

    #[test]
    fn the_next_look_comes_in_time_though_its_event_is_served_late() {
        let longest = |seconds| longest_wait(&Hook { heartbeat_timeout: Duration::from_secs(seconds), ..HOOK.clone() });
        for (heartbeat, longest_seconds) in [(30, 5), (40, 15), (50, 25), (60, 30), (3_600, 1_800)] {
            assert_eq!(longest(heartbeat), Duration::from_secs(longest_seconds), "a heartbeat of {heartbeat} s");
        }
        let hook = Hook { heartbeat_timeout: Duration::from_secs(30), ..HOOK.clone() };
        let tag = Open { waits_for: WaitsFor::Tag(Duration::from_secs(15)), ..unhealthy() };
        let held = |open: &[Open]| verdict(&terminate(), &hook, open, None, at(10));
        assert_eq!(held(&[draining(None)]), Verdict::Hold(LOOK_MIN));
        assert_eq!(held(&[draining(None), tag]), Verdict::Hold(Duration::from_secs(15)), "the tag must show first");
    }

    #[test]
    fn a_timeout_of_0_is_as_long_as_the_hook() {
        let ends_at = |second| {
            let verdict = verdict(&launch(), &HOOK, &[unhealthy()], Some(Duration::ZERO), at(second));
            matches!(verdict, Verdict::Complete { is_given_up: true, .. })
        };
        assert_eq!((ends_at(599), ends_at(600)), (false, true));
    }

    #[test]
    fn a_draining_is_waited_for_longer_than_the_hooks_heartbeat() {
        assert_eq!(
            verdict(&terminate(), &HOOK, &[draining(Some(100))], None, at(3_000)),
            Verdict::Hold(Duration::from_secs(102))
        );
        let both = [draining(Some(100)), unhealthy()];
        assert!(matches!(verdict(&terminate(), &HOOK, &both, None, at(3_000)), Verdict::Hold(_)));
        let last = verdict(&terminate(), &HOOK, &[draining(None)], None, at(59_940));
        assert!(matches!(last, Verdict::Complete { result: ActionResult::Abandon, is_given_up: true, .. }));
    }

    #[test]
    fn a_balancer_that_fails_does_not_hold_an_instance_for_ever() {
        let end = |hook: &Hook| match verdict(&terminate(), hook, &[unhealthy()], None, at(600)) {
            Verdict::Complete { result, is_given_up: true, .. } => Some(result),
            _ => None,
        };
        let continues = Hook { default_result: ActionResult::Continue, ..HOOK.clone() };
        let metadata = Metadata { on_timeout: Some(ActionResult::Continue), ..Metadata::default() };
        assert_eq!(end(&HOOK), Some(ActionResult::Abandon), "as the hook says, whose group may retain the instance");
        assert_eq!(end(&continues), Some(ActionResult::Continue));
        assert_eq!(end(&Hook { metadata, ..HOOK.clone() }), Some(ActionResult::Continue));
    }

    #[test]
    fn no_wait_is_longer_than_half_the_heartbeat_or_the_limit() {
        let wait = |hook: &Hook, open: Open, second| match verdict(&launch(), hook, &[open], None, at(second)) {
            Verdict::Hold(wait) => wait.as_secs(),
            Verdict::Complete { .. } => 0,
        };
        let short = Hook {
            heartbeat_timeout: Duration::from_secs(60),
            global_timeout: Duration::from_secs(3_000),
            ..HOOK.clone()
        };
        assert_eq!(wait(&short, draining(Some(300)), 0), 30);
        assert_eq!(wait(&HOOK, unhealthy(), 590), 10);
        assert_eq!(wait(&HOOK, unhealthy(), 0), 5);
        assert_eq!(wait(&HOOK, unhealthy(), 300), 50);
    }

    #[test]
    fn no_look_comes_before_the_tag_must_show() {
        let tag = |left| Open { waits_for: WaitsFor::Tag(Duration::from_secs(left)), ..draining(None) };
        let wait = |open: &[Open]| verdict(&terminate(), &HOOK, open, None, at(0));
        assert_eq!(wait(&[tag(15)]), Verdict::Hold(Duration::from_secs(15)));
        assert_eq!(wait(&[draining(Some(1)), tag(9)]), Verdict::Hold(Duration::from_secs(9)));
        assert_eq!(wait(&[draining(Some(60)), tag(9)]), Verdict::Hold(Duration::from_secs(62)));
        assert!(
            matches!(verdict(&terminate(), &HOOK, &[tag(9)], None, at(600)), Verdict::Hold(_)),
            "as for a draining"
        );
    }

    #[test]
    fn an_hour_of_waiting_costs_dozens_of_looks_and_two_days_hundreds() {
        let looks = |hours: u64| {
            let hook = Hook { heartbeat_timeout: Duration::from_secs(7_200), global_timeout: GLOBAL, ..HOOK.clone() };
            let (mut looks, mut waited) = (0, 0);
            while waited < hours * 3_600 {
                let seconds = i64::try_from(waited).unwrap();
                match verdict(&terminate(), &hook, &[draining(None)], None, at(seconds)) {
                    Verdict::Hold(wait) => waited += wait.as_secs(),
                    Verdict::Complete { .. } => break,
                }
                looks += 1;
            }
            looks
        };
        const GLOBAL: Duration = Duration::from_secs(172_800);
        assert_eq!((looks(1), looks(48)), (60, 385));
    }
}

use super::*;
use crate::{
    decide::{Weight, look_again_at_older, weigh},
    timing::DESCRIPTION_RETRY,
};

#[test]
fn an_event_and_a_description_that_agree_converge() {
    for (announced, described) in [
        (State::Running, State::Running),
        (State::Stopping, State::Stopped),
        (State::Stopped, State::Stopping),
        (State::ShuttingDown, State::Terminated),
        (State::Pending, State::Running),
    ] {
        let instance = holding(described, &[]);
        assert_eq!(weigh(&notice(announced, 100), Some(&instance), at(101)), Weight::Converge, "{announced:?}");
    }
}

#[test]
fn a_description_that_may_be_stale_is_read_again_within_a_limit() {
    for (announced, described) in [
        (State::Stopping, State::Running),
        (State::Stopped, State::Running),
        (State::ShuttingDown, State::Running),
        (State::Terminated, State::Stopped),
        (State::Running, State::Stopped),
        (State::Running, State::Pending),
    ] {
        let instance = holding(described, &[]);
        let weight = |now| weigh(&notice(announced, 100), Some(&instance), at(now));
        assert_eq!(weight(101), Weight::TooEarly(DESCRIPTION_RETRY), "{announced:?} {described:?}");
        assert!(!matches!(weight(160), Weight::TooEarly(_)), "{announced:?} {described:?}");
    }
}

#[test]
fn a_description_of_running_without_a_new_start_is_an_older_one() {
    let described =
        |state, started_at: Option<i64>| Instance { launch_time: started_at.map(at), ..holding(state, &[]) };
    for (before, now, is_older) in [
        (described(State::Stopping, Some(0)), described(State::Running, Some(0)), true),
        (described(State::Stopped, Some(0)), described(State::Running, Some(60)), false),
        (described(State::Stopping, Some(0)), described(State::Stopped, Some(0)), false),
        // The instance is leaving its Auto Scaling group.
        (described(State::Running, Some(0)), described(State::Running, Some(0)), false),
        (described(State::Stopping, None), described(State::Running, None), false),
    ] {
        assert_eq!(look_again_at_older(&before, &now).is_some(), is_older, "{before:?} {now:?}");
    }
}

#[test]
fn an_event_older_than_the_present_run_or_stop_converges() {
    let mut instance = holding(State::Running, &[]);
    instance.launch_time = Some(at(101));
    assert_eq!(weigh(&notice(State::Stopped, 100), Some(&instance), at(102)), Weight::Converge);
    instance.state = State::Stopped;
    instance.stop_time = Some(at(105));
    assert_eq!(weigh(&notice(State::Running, 104), Some(&instance), at(106)), Weight::Converge);
}

#[test]
fn an_unknown_instance_is_waited_for_only_while_it_may_be_new() {
    assert_eq!(weigh(&notice(State::Running, 100), None, at(101)), Weight::TooEarly(DESCRIPTION_RETRY));
    assert!(matches!(weigh(&notice(State::Running, 100), None, at(160)), Weight::Nothing(_)));
    assert!(matches!(weigh(&notice(State::Terminated, 100), None, at(101)), Weight::Nothing(_)));
}

#[test]
fn an_instance_that_starts_is_left_to_the_next_event() {
    let instance = holding(State::Pending, &[]);
    assert!(matches!(weigh(&notice(State::Pending, 100), Some(&instance), at(101)), Weight::Nothing(_)));
}

#[test]
fn an_event_whose_time_lies_ahead_is_not_waited_for() {
    let notice = notice(State::Stopping, 7_200);
    assert_eq!(weigh(&notice, Some(&holding(State::Running, &[])), at(0)), Weight::Converge);
    assert!(matches!(weigh(&notice, None, at(0)), Weight::Nothing(_)));
}

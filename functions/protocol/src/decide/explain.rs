//! Explanations for a sweep: what can have caused each thing that should not be as it is.
//!
//! Only CloudTrail would know for certain, and it costs a call and a permission for each. What EC2 and the tags say
//! narrows the causes down to a sentence. In the mode `observe` there is nothing to guess: nothing is ever done.

use chrono::SecondsFormat;

use crate::{
    instance::Instance, presence::WhyOut, registration::Registration, time::Timestamp, timing::EVENT_UNDER_WAY,
};

/// The causes in the mode `observe`.
const NOTHING_IS_TAKEN_OUT: &str = "the mode is `observe`, in which nothing is deregistered";
/// See [`NOTHING_IS_TAKEN_OUT`].
const NOTHING_IS_GIVEN_BACK: &str = "the mode is `observe`, in which nothing is registered";
/// See [`NOTHING_IS_TAKEN_OUT`].
const NOTHING_IS_FORGOTTEN: &str = "the mode is `observe`, in which no tag is deleted";

/// Explains why an instance that is out can still be registered.
pub fn registered_though_out(instance: &Instance, why_out: &WhyOut, now: Timestamp, is_observed: bool) -> String {
    let state = match why_out {
        WhyOut::State(state) => state.name(),
        why if is_observed => return format!("registered though {why}: {NOTHING_IS_TAKEN_OUT}"),
        why => return format!("registered though {why}: no event tells of that, or it was missed"),
    };
    match instance.stop_time {
        Some(stop) if is_observed => {
            format!("registered though {state} since {}: {NOTHING_IS_TAKEN_OUT}", utc(stop))
        }
        None if is_observed => {
            format!("registered though {state}, since when EC2 does not say: {NOTHING_IS_TAKEN_OUT}")
        }
        Some(stop) if now - stop < EVENT_UNDER_WAY => {
            format!("registered though {state} since {}: its event may still be under way", utc(stop))
        }
        Some(stop) => format!(
            "registered though {state} since {}: its event was missed or could not be served, or it was registered after \
             that",
            utc(stop)
        ),
        None => format!(
            "registered though {state}, since when EC2 does not say: its event was missed, or could not be served, or is under \
             way; or it was registered after that"
        ),
    }
}

/// Explains why a registration of a running instance can be missing.
pub fn missing_though_running(
    instance: &Instance,
    registration: &Registration,
    now: Timestamp,
    is_observed: bool,
) -> String {
    let held = instance.held();
    let is_held = held.registrations().contains(registration);
    let word = if is_held { "held" } else { "declared and not registered" };
    if is_observed {
        let since = instance.launch_time.map(|start| format!(" since {}", utc(start))).unwrap_or_default();
        return format!("{word} though running{since}: {NOTHING_IS_GIVEN_BACK}");
    }
    match (instance.launch_time, is_held) {
        (Some(start), _) if now - start < EVENT_UNDER_WAY => {
            format!("{word} though running since {}: its event may still be under way", utc(start))
        }
        (Some(start), true) => {
            let taken = held.taken_at(registration, now);
            let taken = taken.map(|taken| format!(" (taken at {})", utc(taken))).unwrap_or_default();
            format!(
                "{word}{taken} though running since {}: its event was missed or could not be served, or the tag was written by hand",
                utc(start)
            )
        }
        (Some(start), false) => format!(
            "{word} though running since {}: it was declared or deregistered since, or its event was missed",
            utc(start)
        ),
        (None, _) => format!("{word} though running: its event was missed, or its tags or its balancer were changed"),
    }
}

/// Explains why a tag can still hold what has been in place again for long.
pub fn held_though_settled(
    instance: &Instance,
    registration: &Registration,
    now: Timestamp,
    is_observed: bool,
) -> String {
    let held = instance.held();
    let since = instance.launch_time.map(|start| format!(" since {}", utc(start))).unwrap_or_default();
    if is_observed {
        return format!("still held though in place and running{since}: {NOTHING_IS_FORGOTTEN}");
    }
    if instance.launch_time.is_some_and(|start| now - start < EVENT_UNDER_WAY) {
        return format!("still held though in place and running{since}: its event may still be under way");
    }
    let taken = held.taken_at(registration, now);
    let taken = taken.map(|taken| format!(", taken at {}", utc(taken))).unwrap_or_default();
    format!(
        "still held{taken}, though in place and running{since}: its event was missed, or ended before it was settled"
    )
}

fn utc(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{
        State,
        tests::{at, instance},
    };

    #[test]
    fn a_change_of_just_now_is_no_missed_event_yet() {
        let mut instance = instance("i-1");
        let clb = Registration::classic("shop");
        assert!(missing_though_running(&instance, &clb, at(299), false).contains("may still be under way"));
        assert!(
            missing_though_running(&instance, &clb, at(300), false).contains("it was declared or deregistered since")
        );
        instance.tags.insert("elb-registrar:held".into(), "clb:shop".into());
        assert!(missing_though_running(&instance, &clb, at(300), false).contains("its event was missed"));
        assert!(held_though_settled(&instance, &clb, at(299), false).contains("may still be under way"));
        assert!(held_though_settled(&instance, &clb, at(300), false).contains("its event was missed"));
        (instance.state, instance.stop_time) = (State::Stopped, Some(at(10)));
        let start = "registered though stopped since 2026-01-05T08:00:10Z: ";
        let why = WhyOut::State(State::Stopped);
        assert_eq!(
            registered_though_out(&instance, &why, at(309), false),
            format!("{start}its event may still be under way")
        );
        let late = registered_though_out(&instance, &why, at(310), false);
        assert!(late.starts_with(start) && late.contains("missed"), "{late}");
    }

    #[test]
    fn if_ec2_tells_no_time_the_sentence_says_so() {
        let mut instance = instance("i-1");
        (instance.state, instance.launch_time) = (State::Stopping, None);
        let why = WhyOut::State(State::Stopping);
        assert!(registered_though_out(&instance, &why, at(0), false).contains("since when EC2 does not say"));
        let why = WhyOut::KeptOutOfService("Standby".into());
        let kept = registered_though_out(&instance, &why, at(0), false);
        assert_eq!(
            kept,
            "registered though its Auto Scaling group keeps it out of service (Standby): no event tells of that, or it was missed"
        );
        let clb = Registration::classic("shop");
        assert!(missing_though_running(&instance, &clb, at(0), false).contains("though running: "));
        assert!(held_though_settled(&instance, &clb, at(0), false).contains("in place and running: "));
    }

    #[test]
    fn in_observe_the_mode_is_the_cause_of_everything() {
        let mut instance = instance("i-1");
        let clb = Registration::classic("shop");
        for word in ["declared and not registered", "held"] {
            let why = missing_though_running(&instance, &clb, at(600), true);
            let start = format!("{word} though running since 2026-01-05T08:00:00Z: the mode is `observe`");
            assert!(why.starts_with(&start), "{why}");
            instance.tags.insert("elb-registrar:held".into(), "clb:shop".into());
        }
        assert!(held_though_settled(&instance, &clb, at(600), true).contains("the mode is `observe`"));
        for stop in [Some(at(10)), None] {
            (instance.state, instance.stop_time) = (State::Stopped, stop);
            let why = registered_though_out(&instance, &WhyOut::State(State::Stopped), at(20), true);
            assert!(why.ends_with("the mode is `observe`, in which nothing is deregistered"), "{why}");
        }
        let why = registered_though_out(&instance, &WhyOut::KeptOutOfService("Standby".into()), at(20), true);
        assert!(why.contains("(Standby): the mode is `observe`"), "{why}");
    }
}

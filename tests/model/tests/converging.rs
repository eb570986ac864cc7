//! The protocol keeps its promises, and needs each of its precautions.

use protocol_model::{
    AS_DECIDED, Bounds, Converging, Keys, NOTHING_DEAD, NOTHING_FOREIGN, NOTHING_LOST, Registrations, Rules, Stale,
    Tick, Trust, check,
};

/// An instance is stopped, started, stopped and started. Two functions may be at work at once, and one of them may die.
const TWO_FUNCTIONS: Bounds = Bounds {
    registrations: Registrations::A,
    stops: 2,
    starts: 2,
    returns: false,
    events_of_a_stop: 1,
    functions: 2,
    sweep: false,
    crashes: 1,
    by_a_person: 0,
    stale: 0,
    what_is_stale: Stale::Whole,
    lag: 1,
    operation: 1,
    events_suffice: true,
};

/// A sweep beside one function. This does not ask whether the events suffice for rest: a sweep that dies is not repeated.
const SWEEP: Bounds = Bounds { sweep: true, functions: 1, starts: 1, events_suffice: false, ..TWO_FUNCTIONS };

/// Two functions, no death, and one description lags. Then the sweep is needed for rest: see [`lagging_needs_the_sweep`].
const LAGGING: Bounds = Bounds { stale: 1, starts: 1, crashes: 0, events_suffice: false, ..TWO_FUNCTIONS };

/// State and tags may lag separately.
const LAGGING_APART: Bounds = Bounds { what_is_stale: Stale::EachForItself, ..LAGGING };

/// The instance comes back without a start, since it was leaving its Auto Scaling group, and was not stopped.
const RETURNING: Bounds = Bounds { returns: true, starts: 1, crashes: 0, events_suffice: false, ..TWO_FUNCTIONS };

#[track_caller]
fn holds(bounds: Bounds) {
    let verdict = check(Converging::new(Rules::of_the_functions(&bounds), bounds).compared());
    println!("{} worlds", verdict.worlds);
    if let Some((promise, story)) = verdict.broken {
        panic!("broken: {promise}\n{story}");
    }
}

/// Checks the protocol without one of its precautions. The promise has to break; otherwise the model would not see the
/// precaution.
#[track_caller]
fn breaks(promise: &str, bounds: Bounds, without: impl Fn(Rules) -> Rules) {
    let verdict = check(Converging::new(without(Rules::of_the_functions(&bounds)), bounds));
    match verdict.broken {
        Some((broken, story)) => {
            println!("{broken}, in one of {} worlds:\n{story}", verdict.worlds);
            assert_eq!(broken, promise);
        }
        None => panic!("in {} worlds it made no difference", verdict.worlds),
    }
}

#[test]
fn two_stops_and_two_starts_lose_nothing() {
    holds(Bounds { crashes: 0, ..TWO_FUNCTIONS });
}

#[test]
fn a_death_anywhere_loses_nothing() {
    holds(Bounds { starts: 1, ..TWO_FUNCTIONS });
}

#[test]
fn two_registrations_and_doubled_events_lose_nothing() {
    holds(Bounds { registrations: Registrations::AB, stops: 1, starts: 1, events_of_a_stop: 2, ..TWO_FUNCTIONS });
}

#[test]
fn a_registration_that_a_person_removes_stays_removed() {
    holds(Bounds { by_a_person: 1, starts: 1, ..TWO_FUNCTIONS });
}

#[test]
fn a_sweep_in_between_loses_nothing() {
    holds(Bounds { crashes: 0, ..SWEEP });
}

#[test]
fn a_sweep_and_a_death_lose_nothing() {
    holds(Bounds { stops: 1, ..SWEEP });
}

#[test]
fn a_sweep_beside_two_functions_loses_nothing() {
    holds(Bounds { functions: 2, stops: 1, crashes: 0, ..SWEEP });
}

#[test]
fn an_instance_that_returns_without_a_start_loses_nothing() {
    holds(Bounds { starts: 2, ..RETURNING });
}

#[test]
fn a_description_that_lags_loses_nothing() {
    // Every world in which state and tags lag together is also possible here.
    holds(LAGGING_APART);
}

#[test]
fn a_description_that_lags_loses_nothing_of_a_member_that_returns() {
    holds(Bounds { returns: true, ..LAGGING_APART });
}

#[test]
fn lagging_needs_the_sweep() {
    breaks(NOTHING_DEAD, Bounds { events_suffice: true, ..LAGGING }, |rules| rules);
}

#[test]
fn lagging_can_undo_what_a_person_did_just_after_the_forgetting() {
    breaks(NOTHING_FOREIGN, Bounds { by_a_person: 1, ..LAGGING }, |rules| rules);
}

#[test]
fn acting_before_holding_loses() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { holds_first: false, ..rules });
}

#[test]
fn a_common_key_loses() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { keys: Keys::Common, ..rules });
}

#[test]
fn a_common_key_loses_between_two_functions_of_one_stop() {
    let one_stop =
        Bounds { registrations: Registrations::AB, stops: 1, events_of_a_stop: 2, crashes: 0, ..TWO_FUNCTIONS };
    breaks(NOTHING_LOST, one_stop, |rules| Rules { keys: Keys::Common, ..rules });
}

#[test]
fn comparing_the_value_before_deleting_is_not_enough() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { keys: Keys::CommonAndAdded, ..rules });
}

#[test]
fn trusting_any_tag_to_hold_loses() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { trust: Trust::Any, ..rules });
}

#[test]
fn trusting_a_tag_younger_than_the_start_fails_if_descriptions_lag() {
    let before = |rules| Rules { trust: Trust::AfterTheStart, keeps_young_tags: false, ..rules };
    breaks(NOTHING_LOST, LAGGING, before);
}

#[test]
fn trusting_a_tag_younger_than_the_start_fails_without_a_start() {
    breaks(NOTHING_LOST, RETURNING, |rules| Rules { trust: Trust::AfterTheStart, ..rules });
}

#[test]
fn forgetting_at_once_loses() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { settle: 0, ..rules });
}

#[test]
fn settling_while_a_fresh_tag_can_be_relied_on_loses() {
    breaks(NOTHING_LOST, Bounds { starts: 2, ..RETURNING }, |rules| Rules { settle: rules.settle - 1, ..rules });
}

#[test]
fn forgetting_a_young_tag_loses() {
    breaks(NOTHING_LOST, RETURNING, |rules| Rules { keeps_young_tags: false, ..rules });
}

#[test]
fn taking_by_a_reading_of_any_age_loses() {
    breaks(NOTHING_LOST, TWO_FUNCTIONS, |rules| Rules { reading_good_for: Tick::MAX, ..rules });
}

#[test]
fn not_looking_after_taking_leaves_what_runs_without() {
    breaks(NOTHING_DEAD, TWO_FUNCTIONS, |rules| Rules { looks_after_taking: false, ..rules });
}

#[test]
fn not_looking_after_giving_leaves_what_is_out_registered() {
    breaks(NOTHING_DEAD, TWO_FUNCTIONS, |rules| Rules { looks_after_giving: false, ..rules });
}

/// Compares a model that decides otherwise with the functions, which have to differ from it in some world.
#[track_caller]
fn differs(bounds: Bounds, otherwise: impl Fn(Rules) -> Rules) {
    let verdict = check(Converging::new(otherwise(Rules::of_the_functions(&bounds)), bounds).compared());
    assert_eq!(
        verdict.broken.map(|(broken, _)| broken),
        Some(AS_DECIDED),
        "in {} worlds it made no difference",
        verdict.worlds
    );
}

#[test]
fn a_model_that_decides_otherwise_than_the_functions_is_noticed() {
    differs(TWO_FUNCTIONS, |rules| Rules { trust: Trust::Any, ..rules });
    differs(TWO_FUNCTIONS, |rules| Rules { trust: Trust::Fresh(0), ..rules });
    differs(TWO_FUNCTIONS, |rules| Rules { settle: rules.settle - 1, ..rules });
    differs(TWO_FUNCTIONS, |rules| Rules { settle: rules.settle + 1, ..rules });
    differs(RETURNING, |rules| Rules { keeps_young_tags: false, ..rules });
    differs(RETURNING, |rules| Rules { forgets_what_it_gave: true, ..rules });
    differs(Bounds { lag: 2, ..LAGGING }, |rules| rules);
}

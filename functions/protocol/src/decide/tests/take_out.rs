use std::collections::BTreeSet;

use super::*;
use crate::{
    controller::Controller,
    decide::{Attached, take_out},
    observed::Reason,
    tag::Owner,
};

#[test]
fn registrations_of_a_stopped_instance_are_held_and_deregistered() {
    let decision = take_out(&holding(State::Stopped, &[]), at(100), &[found("a"), found("b")], &Attached::default());
    assert_eq!(decision.take, [(tg("a"), target("i-1")), (tg("b"), target("i-1"))]);
    assert_eq!(decision.hold, [tg("a"), tg("b")].into());
}

#[test]
fn a_registration_held_a_moment_ago_is_not_held_twice() {
    let instance = holding(State::Stopped, &[(61, &["a"])]);
    let decision = take_out(&instance, at(100), &[found("a"), found("b")], &Attached::default());
    assert_eq!(decision.hold, [tg("b")].into());
    assert_eq!(decision.superseded, []);
}

#[test]
fn a_registration_held_long_ago_is_held_anew() {
    // An invocation that saw the instance run with everything in place may be about to delete the old tag.
    let instance = holding(State::Stopped, &[(60, &["a", "c"])]);
    let decision = take_out(&instance, at(100), &[found("a")], &Attached::default());
    assert_eq!(decision.hold, [tg("a"), tg("c")].into());
    assert_eq!(decision.superseded.len(), 1);
}

#[test]
fn the_tag_of_a_classic_load_balancer_keeps_its_time() {
    let mut instance = holding(State::Stopped, &[(60, &["c"])]);
    let classic = BTreeSet::from([Registration::classic("shop"), tg("b")]);
    instance.tags.extend(tags_to_hold(&classic, Stamp { taken_at: at(50), nonce: 7 }));
    let decision = take_out(&instance, at(100), &[found("a")], &Attached::default());
    assert_eq!(decision.hold, [tg("a"), tg("c")].into(), "another load balancer may have the name by now");
    assert_eq!(decision.superseded.len(), 1);
}

#[test]
fn a_registration_is_held_anew_when_its_tag_is_fresh_no_more() {
    let instance = holding(State::Stopped, &[(61, &["a"])]);
    let mut decision = take_out(&instance, at(100), &[found("a")], &Attached::default());
    assert_eq!(decision.hold, [].into());
    decision.decide_holding(&instance, at(101));
    assert_eq!((decision.hold, decision.superseded.len()), ([tg("a")].into(), 1));
}

#[test]
fn a_dying_instance_is_deregistered_and_nothing_is_held() {
    let decision = take_out(&holding(State::ShuttingDown, &[]), at(100), &[found("a")], &Attached::default());
    assert_eq!(decision.take.len(), 1);
    assert!(decision.hold.is_empty());
}

#[test]
fn foreign_registrations_are_neither_held_nor_deregistered() {
    let not_unique = Reason::AddressNotUnique("10.9.0.10".parse().unwrap());
    let foreign = [
        Found { owner: Some(Owner::Ignored), ..found("ignored") },
        Found { owner: Some(Owner::Controller(Controller::Kubernetes)), ..found("kubernetes") },
        found("attached"),
        Found { doubt: Some(not_unique.clone()), ..found("far") },
    ];
    let attached = Attached { group: Some("asg".into()), balancers: [(tg("attached").balancer, Some(80))].into() };
    let decision = take_out(&holding(State::Stopped, &[]), at(100), &foreign, &attached);
    assert_eq!((decision.take, decision.hold), (vec![], BTreeSet::new()));
    let reasons: Vec<Reason> = decision.left_alone.into_iter().map(|(_, reason)| reason).collect();
    let asg = Reason::AttachedToGroup("asg".into());
    assert_eq!(reasons, [Reason::Ignored, Reason::Controller(Controller::Kubernetes), asg, not_unique]);
}

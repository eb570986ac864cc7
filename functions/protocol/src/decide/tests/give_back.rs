use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::{
    balancer_kind::BalancerKind,
    call_error::CallError,
    controller::Controller,
    decide::{Attached, give_back, is_surely_absent},
    observed::{Lasting, Reason},
    timing::CHECK_AFTER,
};

#[test]
fn an_absent_registration_is_made_and_stays_held_until_it_settles() {
    let instance = holding(State::Running, &[(-30, &["a"])]);
    let absent = || vec![(tg("a"), Standing::Absent(target("i-1")))];
    for (now, look_again) in [(20, 70), (80, 15)] {
        let decision = give_back(&instance, at(now), absent(), &BTreeSet::new(), &Attached::default());
        assert_eq!(decision.register, [(tg("a"), target("i-1"))]);
        assert_eq!((decision.forget.len(), decision.forget_when_given.len()), (0, 0));
        assert_eq!(decision.look_again, Some(Duration::from_secs(look_again)), "at {now}");
    }
}

#[test]
fn a_settled_tag_may_be_deleted_as_soon_as_all_is_registered() {
    let instance = holding(State::Running, &[(-100, &["a", "b"]), (-110, &["a"])]);
    let standings = || vec![(tg("a"), healthy()), (tg("b"), Standing::Absent(target("i-1")))];
    let decision = give_back(&instance, at(20), standings(), &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.forget.len(), decision.forget_when_given.len(), decision.look_again), (1, 1, None));
    let member = Attached { group: Some("asg".into()), balancers: BTreeMap::new() };
    let decision = give_back(&instance, at(20), standings(), &BTreeSet::new(), &member);
    assert_eq!(
        (decision.forget.len(), decision.forget_when_given.len()),
        (1, 0),
        "it may leave its group while it runs"
    );
    assert_eq!(decision.look_again, Some(CHECK_AFTER));
    let waiting = vec![(tg("a"), Standing::Draining { delay: None }), (tg("b"), Standing::Absent(target("i-1")))];
    let decision = give_back(&instance, at(20), waiting, &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.forget.len(), decision.forget_when_given.len()), (0, 0), "not all of it is given");
}

#[test]
fn a_tag_is_deleted_only_when_all_is_in_place_and_settled() {
    let instance = holding(State::Running, &[(10, &["a", "b"])]);
    let back = || vec![(tg("a"), healthy()), (tg("b"), healthy())];
    let early = give_back(&instance, at(129), back(), &BTreeSet::new(), &Attached::default());
    assert_eq!((early.forget.len(), early.look_again), (0, Some(Duration::from_secs(1))));
    let settled = give_back(&instance, at(130), back(), &BTreeSet::new(), &Attached::default());
    assert_eq!((settled.forget.len(), settled.look_again), (1, None));
    let half = vec![(tg("a"), healthy()), (tg("b"), Standing::Stuck(Reason::BalancerGone))];
    assert!(give_back(&instance, at(500), half, &BTreeSet::new(), &Attached::default()).forget.is_empty());
}

#[test]
fn only_the_first_look_after_a_long_stop_need_not_ask_balancers() {
    let address = |text: &str| text.parse::<Registration>().unwrap();
    let (by_id, by_address) = (address("tg:web/0123456789abcdef:80"), address("tg:web/0123456789abcdef:80=eth0"));
    for (taken_at, now, is_absent, is_address_absent) in [
        (-121, 5, true, false),
        (-120, 5, false, false),
        (-3_661, 5, true, true),
        (-3_660, 5, true, false),
        (-9_000, 59, true, true),
        (-9_000, 60, false, false),
    ] {
        let mut instance = instance("i-1");
        let both = [by_id.clone(), by_address.clone()].into();
        instance.tags.extend(tags_to_hold(&both, Stamp { taken_at: at(taken_at), nonce: 7 }));
        let is_surely_absent = |registration| is_surely_absent(&instance, &instance.held(), registration, at(now));
        let found = (is_surely_absent(&by_id), is_surely_absent(&by_address));
        assert_eq!(found, (is_absent, is_address_absent), "taken at {taken_at}, looked for at {now}");
        assert!(!is_surely_absent(&tg("declared")), "nothing is known of what is not held");
    }
}

#[test]
fn each_tag_is_deleted_by_itself_and_a_broken_one_never() {
    let mut instance = holding(State::Running, &[(-100, &["a"]), (-50, &["b"])]);
    instance.tags.insert("elb-registrar:held.by-hand".into(), "tg:a/0123456789abcdef:80 oops".into());
    let standings = vec![(tg("a"), healthy()), (tg("b"), Standing::Draining { delay: None })];
    let decision = give_back(&instance, at(500), standings, &BTreeSet::new(), &Attached::default());
    let forgotten: Vec<_> = decision.forget.iter().map(|tag| tag.value.as_str()).collect();
    assert_eq!(forgotten, ["tg:a/0123456789abcdef:80"]);
}

#[test]
fn a_registration_that_can_never_be_made_is_given_up() {
    let instance = holding(State::Running, &[(-100, &["gone"])]);
    let standings = vec![(tg("gone"), Standing::Never(Lasting::BALANCER_GONE))];
    let decision = give_back(&instance, at(500), standings, &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.let_go.len(), decision.register.len(), decision.forget.len()), (1, 0, 1));
}

#[test]
fn what_others_look_after_for_now_stays_held() {
    let instance = holding(State::Running, &[(-100, &["attached", "ignored", "cluster"])]);
    let attached = Attached { group: Some("asg".into()), balancers: [(tg("attached").balancer, Some(80))].into() };
    let standings = vec![
        (tg("attached"), Standing::Absent(target("i-1"))),
        (tg("ignored"), Standing::Foreign(Reason::Ignored)),
        (tg("cluster"), Standing::Foreign(Reason::Controller(Controller::Kubernetes))),
    ];
    let decision = give_back(&instance, at(500), standings, &BTreeSet::new(), &attached);
    assert_eq!((decision.left_alone.len(), decision.register.len(), decision.let_go.len()), (3, 0, 0));
    assert_eq!((decision.forget.len(), decision.forget_when_given.len()), (0, 0));
}

#[test]
fn only_a_declaration_means_another_load_balancer_of_the_same_name() {
    let shop = Registration::classic("shop");
    let mut instance = holding(State::Running, &[]);
    instance.tags.extend(tags_to_hold(&[shop.clone()].into(), Stamp { taken_at: at(-100), nonce: 7 }));
    let replaced = || {
        vec![(
            shop.clone(),
            Standing::Replaced { created_at: at(-50), by_name: Box::new(Standing::Absent(target("i-1"))) },
        )]
    };
    let decision = give_back(&instance, at(500), replaced(), &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.let_go, decision.register), (vec![(shop.clone(), Reason::BalancerReplaced(at(-50)))], vec![]));
    let decision = give_back(&instance, at(500), replaced(), &[shop.clone()].into(), &Attached::default());
    assert_eq!((decision.let_go, decision.register.len()), (vec![], 1));
}

#[test]
fn a_registration_that_is_only_declared_is_never_given_up() {
    let standings = vec![
        (tg("gone"), Standing::Never(Lasting::BALANCER_GONE)),
        (tg("ignored"), Standing::Foreign(Reason::Ignored)),
    ];
    let decision = give_back(&instance("i-1"), at(500), standings, &BTreeSet::new(), &Attached::default());
    assert_eq!(decision.let_go, []);
    let never_seen =
        Reason::NoSuchBalancer { sought: BalancerKind::TargetGroup, name: "gone".to_owned(), hint: String::new() };
    assert_eq!(decision.stuck, [(tg("gone"), never_seen)], "a person has to correct it");
    assert_eq!(decision.left_alone, [(tg("ignored"), Reason::Ignored)]);
}

#[test]
fn a_stuck_or_unreadable_registration_stays_held() {
    let instance = holding(State::Running, &[(-100, &["a", "b"])]);
    let error = CallError::Refused { action: "X", code: "Y".into(), message: "Z".into() };
    let standings = vec![(tg("a"), Standing::Stuck(Reason::BalancerGone)), (tg("b"), Standing::Unreadable(error))];
    let decision = give_back(&instance, at(500), standings, &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.stuck.len(), decision.unreadable.len(), decision.forget.len()), (1, 1, 0));
}

#[test]
fn a_draining_address_waits_until_its_delay_is_over() {
    let instance = holding(State::Running, &[(-100, &["a"])]);
    let draining = |delay: Option<u64>| vec![(tg("a"), Standing::Draining { delay: delay.map(Duration::from_secs) })];
    for (delay, now, wait) in [(Some(300), 150, 50), (Some(300), 198, 5), (Some(300), 250, 20), (None, 150, 20)] {
        let decision = give_back(&instance, at(now), draining(delay), &BTreeSet::new(), &Attached::default());
        assert_eq!(decision.look_again, Some(Duration::from_secs(wait)), "{delay:?} at {now}");
    }
}

#[test]
fn an_instance_that_has_everything_and_holds_nothing_is_done() {
    let decision =
        give_back(&instance("i-1"), at(500), vec![(tg("declared"), healthy())], &BTreeSet::new(), &Attached::default());
    assert_eq!((decision.look_again, decision.forget.len()), (None, 0));
}

#[test]
fn a_tag_younger_than_the_sweeps_first_reading_is_not_deleted() {
    // The sweep's first reading came at 100, and its reading of the tags some seconds later. No function holds anything
    // two hours ahead.
    for (taken_at, is_forgotten) in [(104, false), (100 + 900, false), (100 + 7_200, true)] {
        let instance = holding(State::Running, &[(taken_at, &["a"])]);
        let standings = vec![(tg("a"), healthy())];
        let decision = give_back(&instance, at(100), standings, &BTreeSet::new(), &Attached::default());
        assert_eq!(!decision.forget.is_empty(), is_forgotten, "taken at {taken_at}");
    }
}

#[test]
fn an_attached_groups_own_port_is_the_groups_affair_and_no_other() {
    let on = |port: u16| format!("tg:web/0123456789abcdef:{port}").parse::<Registration>().unwrap();
    let with = |own_port| Attached { group: Some("asg".into()), balancers: [(on(80).balancer, own_port)].into() };
    assert!(with(Some(80)).reason(&on(80)).is_some());
    assert_eq!(with(Some(80)).reason(&on(8080)), None);
    assert!(with(None).reason(&on(8080)).is_some(), "its own port was not read");
}

use std::collections::BTreeSet;

use super::*;
use crate::{
    balancer::BalancerId,
    decide::{Attached, TakeOut, take_out},
};

/// Returns the decision about an instance with so many other tags, which is registered at some load balancers.
fn decision(instance: Instance, others: usize, names: &[&str], now: i64) -> TakeOut {
    let mut instance = instance;
    instance.tags.extend((0..others).map(|n| (format!("cost-centre-{n}"), "x".to_owned())));
    let found: Vec<_> = names.iter().map(|name| found(name)).collect();
    take_out(&instance, at(now), &found, &Attached::default())
}

fn wave(names: &[&str]) -> BTreeSet<BalancerId> {
    names.iter().map(|name| tg(name).balancer).collect()
}

/// Returns the keys of so many tags.
fn keys(tags: usize) -> Vec<String> {
    (0..tags).map(|tag| format!("elb-registrar:held.x.{tag}")).collect()
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn long(n: usize) -> String {
    format!("{n:013}")
}

#[test]
fn all_is_held_at_once_if_it_fits_twice() {
    let fits = decision(holding(State::Stopped, &[]), 48, &["a", "b"], 100);
    assert_eq!(fits.next_to_hold(&wave(&["a"]), []), [tg("a"), tg("b")].into());
    assert_eq!(fits.next_to_hold(&wave(&["c"]), []), [].into());
    let full = decision(holding(State::Stopped, &[]), 50, &["a"], 100);
    assert_eq!(full.next_to_hold(&wave(&["a"]), []), [].into());
}

#[test]
fn a_wave_fills_its_tags_if_there_is_less_room() {
    // Six of these names fit into a tag.
    let names: Vec<String> = (0..14).map(long).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut short = decision(holding(State::Stopped, &[]), 47, &names, 100);
    let held = short.next_to_hold(&wave(&names[12..]), [&wave(&names)]);
    assert_eq!((held.len(), held.contains(&tg(names[12])), held.contains(&tg(names[13]))), (6, true, true));
    assert_eq!(short.note_held(&held, keys(1), at(100)), []);
    let all = wave(&names);
    let held = short.next_to_hold(&all, []);
    assert_eq!(held.len(), 8, "the rest");
    short.note_held(&held, keys(2), at(100));
    assert_eq!((short.next_to_hold(&all, []), short.unheld_of(&all)), ([].into(), [].into()));
}

#[test]
fn what_fits_is_held_if_there_is_no_room_for_all() {
    let names: Vec<String> = (0..14).map(long).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut short = decision(holding(State::Stopped, &[]), 48, &names, 100);
    let held = short.next_to_hold(&wave(&names), []);
    assert_eq!(held.len(), 12);
    short.note_held(&held, keys(2), at(100));
    assert_eq!(short.next_to_hold(&wave(&names), []), [].into());
    assert_eq!(short.unheld_of(&wave(&names)).len(), 2);
}

#[test]
fn a_tag_that_is_written_anew_makes_room_for_the_next() {
    let (first, second): (Vec<String>, Vec<String>) = ((0..6).map(long).collect(), (6..12).map(long).collect());
    let both = holding(State::Stopped, &[(0, &texts(&first)), (1, &texts(&second))]);
    // One registration of each tag is out already, so neither may be deleted first.
    let names = [first[0].as_str(), second[0].as_str()];
    let mut short = decision(both, 47, &names, 1_000);
    assert_eq!(short.in_the_way(&wave(&names), at(1_000)), []);
    for _ in 0..2 {
        let held = short.next_to_hold(&wave(&names), []);
        assert_eq!(held.len(), 6);
        let covered = short.note_held(&held, keys(1), at(100));
        assert_eq!(covered.len(), 1);
        short.note_deleted(&covered);
    }
    assert!(short.unheld_of(&wave(&names)).is_empty());
}

#[test]
fn a_settled_tag_whose_registrations_are_in_place_makes_way() {
    let of =
        |taken_at: i64, names: &[&str]| decision(holding(State::Stopped, &[(taken_at, &["a", "b"])]), 49, names, 200);
    let all = wave(&["a", "b"]);
    let mut settled = of(80, &["a", "b"]);
    assert_eq!(settled.next_to_hold(&all, []), [].into(), "no room");
    let deleted = settled.in_the_way(&all, at(200));
    assert_eq!(deleted.len(), 1);
    settled.note_deleted(&deleted);
    assert_eq!(settled.next_to_hold(&all, []), [tg("a"), tg("b")].into());
    assert_eq!(of(81, &["a", "b"]).in_the_way(&all, at(200)), [], "an invocation may rely on it");
    assert_eq!(of(80, &["a"]).in_the_way(&wave(&["a"]), at(200)), [], "b is out");
}

#[test]
fn what_was_written_a_moment_ago_counts_though_no_description_shows_it() {
    let names: Vec<String> = (0..14).map(long).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let instance = holding(State::Stopped, &[]);
    let mut short = decision(instance.clone(), 47, &names, 100);
    let held = short.next_to_hold(&wave(&names[..6]), []);
    short.note_held(&held, keys(1), at(100));
    let before = (short.room, short.unheld_of(&wave(&names)).len());
    // The next reading is older than the tag.
    let mut described = instance;
    described.tags.extend((0..47).map(|n| (format!("cost-centre-{n}"), "x".to_owned())));
    short.decide_holding(&described, at(115));
    assert_eq!((short.room, short.unheld_of(&wave(&names)).len()), before);
    short.decide_holding(&described, at(140));
    assert_eq!(short.unheld_of(&wave(&names)).len(), 14, "the tag is fresh no more");
}

#[test]
fn a_tag_whose_registrations_other_tags_hold_makes_way() {
    // Two invocations have held the same, and a and b are out.
    let twice = holding(State::Stopped, &[(60, &["a", "b"]), (70, &["a", "b"])]);
    let full = decision(twice.clone(), 48, &["c"], 200);
    let deleted = full.in_the_way(&wave(&["c"]), at(200));
    assert_eq!(deleted.len(), 1, "one of them stays");
    assert_eq!(decision(twice, 48, &["c"], 175).in_the_way(&wave(&["c"]), at(175)), [], "an invocation may rely on it");
    let once = holding(State::Stopped, &[(60, &["a", "b"]), (70, &["a"])]);
    let deleted = decision(once, 48, &["c"], 200).in_the_way(&wave(&["c"]), at(200));
    assert_eq!(deleted.iter().map(|tag| tag.registrations.len()).collect::<Vec<_>>(), [1], "b is nowhere else");
}

//! What one look gives back, if the tags and hooks of an instance name more registrations than [`REGISTRATIONS_MAX`].
//!
//! The operator of one target group can register an instance there on hundreds of ports. So what is declared comes first,
//! and then the tags of the balancers with the fewest registrations, as when they were taken. Whole tags are chosen: when
//! all that a tag holds is in place, it is deleted, and a later look gives back the next ones. Tags of the same rank come in
//! another order at each look, so that none waits for ever behind those that can never be given back.

use std::collections::BTreeSet;

use crate::{
    held::{Held, HeldTag, REGISTRATIONS_MAX},
    registration::{Registration, count_by_balancer},
    time::Timestamp,
    turn::Turn,
};

/// What a look gives back of all that is held and declared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The registrations that are looked at, [`REGISTRATIONS_MAX`] of them at most.
    pub registrations: BTreeSet<Registration>,
    /// How many stay held, and are not looked at.
    pub left: usize,
}

/// Chooses what a look at `now` gives back.
pub fn share(held: &Held, declared: &BTreeSet<Registration>, now: Timestamp) -> Share {
    let all: BTreeSet<Registration> = held.registrations().union(declared).cloned().collect();
    if all.len() <= REGISTRATIONS_MAX {
        return Share { registrations: all, left: 0 };
    }
    let mut chosen: BTreeSet<Registration> = declared.iter().take(REGISTRATIONS_MAX).cloned().collect();
    let counts = count_by_balancer(&all);
    let rank = |tag: &HeldTag| tag.registrations.iter().map(|registration| counts[&registration.balancer]).min();
    let mut tags: Vec<&HeldTag> = held.tags.iter().collect();
    let turn = Turn::at(now);
    tags.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| turn.cmp(&a.key, &b.key)));
    for tag in tags {
        let more: Vec<&Registration> = tag.registrations.iter().filter(|held| !chosen.contains(*held)).collect();
        if chosen.len() + more.len() <= REGISTRATIONS_MAX {
            chosen.extend(more.into_iter().cloned());
        }
    }
    Share { left: all.len() - chosen.len(), registrations: chosen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        held::{Stamp, tags_to_hold},
        instance::tests::at,
    };
    use chrono::DateTime;

    fn on_ports(group: &str, ports: impl IntoIterator<Item = u16>) -> BTreeSet<Registration> {
        let text = |port| format!("tg:{group}/0123456789abcdef:{port}");
        ports.into_iter().filter_map(|port| text(port).parse().ok()).collect()
    }

    fn held(sets: &[BTreeSet<Registration>]) -> Held {
        let stamp = |nonce| Stamp { taken_at: DateTime::UNIX_EPOCH, nonce };
        let tags = sets.iter().zip(0..).flat_map(|(set, nonce)| tags_to_hold(set, stamp(nonce)));
        Held::of(&tags.collect())
    }

    #[test]
    fn all_is_given_back_up_to_the_limit() {
        let (mine, declared) = (on_ports("web", 1..=499), on_ports("edge", [443]));
        let Share { registrations, left } = share(&held(std::slice::from_ref(&mine)), &declared, at(0));
        assert_eq!((registrations, left), (mine.union(&declared).cloned().collect(), 0));
    }

    #[test]
    fn what_is_declared_comes_first_and_then_the_balancers_with_fewest() {
        let (theirs, mine) = (on_ports("theirs", 1..=600), on_ports("web", [80, 8080]));
        let declared = on_ports("edge", [443]);
        let Share { registrations, left } = share(&held(&[theirs.clone(), mine.clone()]), &declared, at(0));
        assert!(mine.is_subset(&registrations) && declared.is_subset(&registrations));
        assert!(registrations.len() <= REGISTRATIONS_MAX && registrations.len() > REGISTRATIONS_MAX / 2);
        assert_eq!(left, 603 - registrations.len());
        // Theirs alone would fit, and then mine would not.
        let theirs = on_ports("theirs", 1..=498);
        assert!(mine.is_subset(&share(&held(&[theirs, mine.clone()]), &declared, at(0)).registrations));
    }

    #[test]
    fn tags_are_chosen_as_a_whole() {
        let theirs = held(&[on_ports("theirs", 1..=600)]);
        let Share { registrations, .. } = share(&theirs, &BTreeSet::new(), at(0));
        for tag in &theirs.tags {
            let given = tag.registrations.iter().filter(|held| registrations.contains(*held)).count();
            assert!(given == 0 || given == tag.registrations.len(), "{given} of {}", tag.registrations.len());
        }
    }

    #[test]
    fn of_too_many_declarations_the_first_count() {
        let declared = on_ports("web", 1..=600);
        let Share { registrations, left } = share(&Held::default(), &declared, at(0));
        assert_eq!((registrations.len(), left), (REGISTRATIONS_MAX, 100));
    }

    #[test]
    fn no_tag_waits_for_ever_behind_others_of_its_rank() {
        // 600 balancers with one registration each, a tag for each ten of them.
        let sets: Vec<BTreeSet<Registration>> =
            (0..60).map(|tag| (0..10).flat_map(|n| on_ports(&format!("g{tag}-{n}"), [80])).collect()).collect();
        let held = held(&sets);
        let mut seen = BTreeSet::new();
        for look in 0..40 {
            let Share { registrations, left } = share(&held, &BTreeSet::new(), at(900 * look));
            assert!(registrations.len() > 450 && registrations.len() + left == 600, "{left}");
            seen.extend(registrations);
        }
        assert_eq!(seen.len(), 600);
    }
}

//! Held registrations: what was deregistered from an instance, kept in its own tags until it is registered again.
//!
//! Every act of holding writes keys of its own, which no other invocation writes: `elb-registrar:held.STAMP`, then
//! `elb-registrar:held.STAMP.2` if one value is too short. What is held is the union of all these tags. So two
//! invocations that hold at the same time cannot overwrite each other, although EC2 has no conditional write. An
//! invocation that deletes tags deletes only what it has read, and never what another one has written since. Under one
//! common key, registrations would be lost both ways.
//!
//! The stamp is the time of EC2's answer on which the holding was decided, and a few random digits. The time is for
//! people, and tells how old the holding is. No part of it belongs to one instance, so one CreateTags call serves a
//! thousand. So the key does not tell whose a tag is, and a new instance may be made with all tags of another. A tag that
//! is older than its instance gives nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};

use crate::{
    malformed::Malformed,
    ports,
    registration::{Registration, read_value},
    tag,
    time::Timestamp,
    timing::YOUNGER_THAN_A_SWEEP,
};

/// Characters of a tag's value, a limit of EC2. Registrations are ASCII, so bytes are characters.
const VALUE_LENGTH_MAX: usize = 256;

/// Registrations of one instance that a look holds at most, or gives back of all that is held and declared.
///
/// Too small: an instance with many ports is not given back at once. Too large: a few instances with made-up tags use up
/// the time of a sweep, and the calls that AWS allows.
pub const REGISTRATIONS_MAX: usize = 500;

/// Tags of a resource, a limit of EC2. Tags whose keys begin with `aws:` do not count.
const TAGS_MAX: usize = 50;

/// What an instance's tags say was deregistered from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The tags in the order of their keys, which is the order of their times.
    pub tags: Vec<HeldTag>,
    /// Tags that are older than the instance: they were copied from another one, and give nothing.
    pub copied: Vec<HeldTag>,
}

/// One tag that holds registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTag {
    /// The tag's key.
    pub key: String,
    /// The tag's value as it was read. DeleteTags compares it.
    pub value: String,
    /// The time in the key; `None` for a key without one.
    stamp: Option<Timestamp>,
    /// The registrations that could be read.
    pub registrations: Vec<Registration>,
    /// The texts that could not be read, with the reason. Such a tag is never deleted.
    pub malformed: Vec<(String, Malformed)>,
}

impl Held {
    /// Reads what is held from an instance's tags.
    pub fn of(tags: &BTreeMap<String, String>) -> Self {
        let ours = tags.range(tag::HELD.to_owned()..).take_while(|(key, _)| key.starts_with(tag::HELD));
        Self { tags: ours.filter_map(|(key, value)| HeldTag::of(key, value)).collect(), copied: Vec::new() }
    }

    /// Sets the tags apart that are older than the instance that bears them.
    #[must_use]
    pub fn of_one_made_at(mut self, made_at: Timestamp) -> Self {
        self.copied.extend(self.tags.extract_if(.., |tag| tag.is_older_than(made_at)));
        self
    }

    /// Returns whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Returns all held registrations, each once.
    pub fn registrations(&self) -> BTreeSet<Registration> {
        self.tags.iter().flat_map(|tag| tag.registrations.iter().cloned()).collect()
    }

    /// Returns when the oldest tag was written, by the times in the keys alone.
    pub fn first_taken_at(&self) -> Option<Timestamp> {
        self.tags.iter().filter_map(|tag| tag.stamp).min()
    }

    /// Returns when a registration was held last, by the times in the keys alone.
    pub fn since(&self, registration: &Registration) -> Option<Timestamp> {
        let tags = self.tags.iter().filter(|tag| tag.registrations.contains(registration));
        tags.filter_map(|tag| tag.stamp).max()
    }

    /// Returns when a registration was held last, as it was known at `now`.
    pub fn taken_at(&self, registration: &Registration, now: Timestamp) -> Option<Timestamp> {
        let tags = self.tags.iter().filter(|tag| tag.registrations.contains(registration));
        tags.filter_map(|tag| tag.taken_at(now)).max()
    }
}

impl HeldTag {
    fn of(key: &str, value: &str) -> Option<Self> {
        let stamp = match key.strip_prefix(tag::HELD)? {
            "" => "",
            rest => rest.strip_prefix('.')?,
        };
        let (registrations, malformed) = read_value(value, ports::read);
        let stamp = Stamp::time_of(stamp);
        Some(Self { key: key.to_owned(), value: value.to_owned(), stamp, registrations, malformed })
    }

    /// Returns when the holding was decided, as it was known at `now`; `None` for a key that a person made up: without a
    /// time, or with one that lies ahead.
    ///
    /// A sweep counts from its first reading, and reads tags later, which can be a little younger.
    pub fn taken_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.stamp.filter(|stamp| *stamp <= now + YOUNGER_THAN_A_SWEEP)
    }

    /// Returns whether the holding was decided before an instance was made that bears the tag.
    ///
    /// Both times are EC2's own. A stamp has whole seconds, so a tag of the very second counts as the instance's: it can
    /// be no older. A key that a person made up has no time, and was made for this instance.
    fn is_older_than(&self, made_at: Timestamp) -> bool {
        self.stamp.is_some_and(|stamp| stamp < made_at.trunc_subsecs(0))
    }
}

/// What makes the keys of one act of holding different from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When EC2 gave the description on which the holding was decided.
    pub taken_at: Timestamp,
    /// Random digits that keep two invocations apart that decided in the same second.
    pub nonce: u32,
}

impl Stamp {
    fn time_of(text: &str) -> Option<Timestamp> {
        let time = text.split('.').next()?;
        DateTime::parse_from_rfc3339(time).ok().map(|time| time.with_timezone(&Utc))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.taken_at.to_rfc3339_opts(SecondsFormat::Secs, true), self.nonce)
    }
}

/// Returns the tags that hold some registrations. The text is cut between registrations at the longest value that a tag
/// may have.
pub fn tags_to_hold(registrations: &BTreeSet<Registration>, stamp: Stamp) -> Vec<(String, String)> {
    let mut values: Vec<String> = Vec::new();
    for text in ports::texts_of(registrations) {
        match values.last_mut() {
            Some(value) if value.len() + 1 + text.len() <= VALUE_LENGTH_MAX => {
                value.push(' ');
                value.push_str(&text);
            }
            _ => values.push(text),
        }
    }
    let first_key = format!("{}.{stamp}", tag::HELD);
    let key = |index: usize| if index == 0 { first_key.clone() } else { format!("{first_key}.{}", index + 1) };
    values.into_iter().enumerate().map(|(index, value)| (key(index), value)).collect()
}

/// Returns how many tags some registrations need.
pub fn tags_needed(registrations: &BTreeSet<Registration>) -> usize {
    tags_to_hold(registrations, Stamp { taken_at: DateTime::UNIX_EPOCH, nonce: 0 }).len()
}

/// Returns how many more tags fit beside those that a resource has.
pub fn room(tags: &BTreeMap<String, String>) -> usize {
    let counted = tags.keys().filter(|key| !key.starts_with("aws:")).count();
    TAGS_MAX.saturating_sub(counted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{instance::tests::at, registration::tests::any_registration};

    const STAMP: Stamp = Stamp { taken_at: DateTime::UNIX_EPOCH, nonce: 0xbeef };

    proptest! {
        #[test]
        fn what_is_held_in_tags_is_read_back(registrations in proptest::collection::btree_set(any_registration(), 0..40)) {
            let tags: BTreeMap<String, String> = tags_to_hold(&registrations, STAMP).into_iter().collect();
            prop_assert!(tags.iter().all(|(key, value)| key.len() <= 127 && value.len() <= VALUE_LENGTH_MAX));
            prop_assert!(Held::of(&tags).tags.iter().all(|tag| tag.taken_at(STAMP.taken_at) == Some(STAMP.taken_at)));
            prop_assert_eq!(Held::of(&tags).registrations(), registrations);
        }
    }

    fn held(tags: &[(&str, &str)]) -> Held {
        Held::of(&tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn tags_of_all_stamps_are_one_memory_and_other_keys_are_none() {
        let held = held(&[
            ("Name", "web"),
            ("elb-registrar:held", "clb:a"),
            ("elb-registrar:held.2", "clb:b"),
            ("elb-registrar:held.2026-01-05T08:00:00Z.0000beef.2", "clb:c"),
            ("elb-registrar:heldback", "clb:d"),
            ("elb-registrar:ignored", "clb:e"),
        ]);
        let names: Vec<String> = held.registrations().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["clb:a", "clb:b", "clb:c"]);
        assert_eq!(held.taken_at(&Registration::classic("c"), at(60)), Some(at(0)));
        assert_eq!(held.taken_at(&Registration::classic("a"), at(60)), None);
    }

    #[test]
    fn a_tag_from_before_its_instance_is_a_copy() {
        let key = "elb-registrar:held.2026-01-05T08:00:00Z.0000beef";
        for (made_at, is_copy) in [(-60_000, false), (0, false), (999, false), (1_000, true), (60_000, true)] {
            let made_at = at(0) + chrono::TimeDelta::milliseconds(made_at);
            let held = held(&[(key, "clb:a"), ("elb-registrar:held.mine", "clb:b")]).of_one_made_at(made_at);
            let names: Vec<String> = held.registrations().iter().map(ToString::to_string).collect();
            let own: &[&str] = if is_copy { &["clb:b"] } else { &["clb:a", "clb:b"] };
            assert_eq!(
                (names, held.copied.len()),
                (own.iter().map(|name| (*name).to_owned()).collect(), is_copy.into())
            );
        }
    }

    #[test]
    fn a_broken_part_is_named_and_the_others_are_still_held() {
        let held = held(&[("elb-registrar:held", "clb:a tg:b clb:c")]);
        assert_eq!(held.registrations().len(), 2);
        assert_eq!(held.tags[0].malformed, [("tg:b".to_owned(), Malformed::GroupWithoutId)]);
    }

    #[test]
    fn tags_of_aws_itself_take_no_room() {
        let tags = |count: usize, key: &str| (0..count).map(|n| (format!("{key}{n}"), String::new())).collect();
        assert_eq!(room(&tags(60, "aws:")), 50);
        assert_eq!(room(&tags(49, "user:")), 1);
        assert_eq!(room(&tags(50, "user:")), 0);
    }
}

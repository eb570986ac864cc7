//! Everything that is read from a text: no text makes it panic, and what is understood is what was written.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};
use protocol::{
    balancer::{BalancerId, TargetGroupId},
    declaration::Declaration,
    event::{LifecycleAction, Notice, Place, Told},
    held::Held,
    registration::Registration,
};
use registrar::{
    config::{self, Config},
    workflow::Resume,
};
use sandbox::{ACCOUNT, REGION};
use serde_json::Value;

use crate::{
    campaign::{Verdict, fuzz},
    mutation::any_word,
    sample::{any_draft, samples},
};

const CASES: u32 = 3_000;

fn place() -> Place {
    Place { region: REGION.to_owned(), account: Some(ACCOUNT.to_owned()) }
}

/// Pieces of which registrations are made, right and wrong, and words beside them.
fn any_tag_value() -> impl Strategy<Value = String> {
    let pieces = [
        "clb:",
        "tg:",
        "shop",
        "web",
        "/",
        "0123456789abcdef",
        ":",
        "80",
        "65535",
        "0",
        "=",
        "eth0",
        "eth4294967296",
        "10.0.3.7",
        "::1",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "@",
        "all",
        "us-east-1a",
        "+",
        "0x0123456789abcdef",
        " ",
        "\u{a0}",
        "-",
        "ä",
    ];
    let registration = vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat());
    vec(prop_oneof![4 => registration, 1 => any_word()], 0..8).prop_map(|texts| texts.join(" "))
}

#[test]
fn what_is_understood_of_an_event_is_ours() {
    let samples = samples("");
    fuzz("what_is_understood_of_an_event_is_ours", CASES, &any_draft(), |draft| {
        let text = draft.text(&samples);
        let read = (Notice::of_event(&text, &place()), LifecycleAction::of_text(&text, &place(), "elb-registrar"));
        let (instance, source, field) = match &read {
            (Ok(notice), Err(_)) => (&notice.instance, "aws.ec2", "instance-id"),
            (Err(_), Ok(Told::Look(action))) => (&action.instance, "aws.autoscaling", "EC2InstanceId"),
            (Err(_), Err(_) | Ok(Told::Nothing(_))) => return Ok(()),
            (Ok(_), Ok(_)) => return Err(TestCaseError::fail(format!("both functions take {text}"))),
        };
        // Read a second time, by no code of ours. It knows no end of depth where nobody looks; this reader does.
        let event: Value = match serde_json::from_str(&text) {
            Ok(event) => event,
            Err(why) if why.to_string().contains("recursion limit") => return Ok(()),
            Err(why) => return Err(TestCaseError::fail(format!("{why}: {text}"))),
        };
        prop_assert_eq!(&event["source"], source, "{}", text);
        prop_assert!(event["account"].is_null() || event["account"] == ACCOUNT, "{text}");
        prop_assert!(event["region"].is_null() || event["region"] == REGION, "{text}");
        prop_assert_eq!(&event["detail"][field], instance.as_str(), "{}", text);
        prop_assert!(instance.is_well_formed(), "{instance}");
        Ok(())
    });
}

#[test]
fn every_text_in_a_tag_is_understood_or_named() {
    fuzz("every_text_in_a_tag_is_understood_or_named", CASES, &any_tag_value(), |value| {
        let texts = value.split_ascii_whitespace().count();
        let (declared, unread) = Declaration::all_in(&value);
        prop_assert_eq!(declared.len() + unread.len(), texts);
        declared.iter().try_for_each(reads_back)?;
        let tags = BTreeMap::from([("elb-registrar:held".to_owned(), value)]);
        let held = Held::of(&tags);
        prop_assert_eq!(held.tags[0].registrations.len() + held.tags[0].malformed.len(), texts);
        held.registrations().iter().try_for_each(reads_back)
    });
}

fn reads_back<T: std::str::FromStr + PartialEq + ToString>(read: &T) -> Verdict {
    let written = read.to_string();
    prop_assert!(written.parse::<T>().is_ok_and(|again| again == *read), "{written}");
    // Only what every tag may have, on AWS's side: letters, digits and a few marks.
    let is_portable = |c: char| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c);
    prop_assert!(written.chars().all(is_portable), "{written:?}");
    Ok(())
}

#[test]
fn a_key_that_a_person_made_up_is_held_or_none_of_ours() {
    let key = prop_oneof![
        ("[.:]?", any_word()).prop_map(|(mark, word)| format!("elb-registrar:held{mark}{word}")),
        any_word(),
    ];
    let tags = btree_map(key, any_tag_value(), 0..60);
    fuzz("a_key_that_a_person_made_up_is_held_or_none_of_ours", CASES / 10, &tags, |tags| {
        for tag in Held::of(&tags).tags {
            let rest = tag.key.strip_prefix("elb-registrar:held");
            prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')), "{}", tag.key);
            prop_assert_eq!(tags.get(&tag.key), Some(&tag.value));
        }
        Ok(())
    });
}

#[test]
fn a_place_to_go_on_from_is_read_as_it_was_written() {
    let text = prop_oneof![any_word(), any_tag_value()];
    fuzz("a_place_to_go_on_from_is_read_as_it_was_written", CASES, &text, |text| {
        if let Ok(resume) = text.parse::<Resume>() {
            prop_assert_eq!(resume.to_string(), text.as_str());
        }
        if let Ok(group) = text.parse::<TargetGroupId>() {
            prop_assert_eq!(group.to_string(), text.as_str());
        }
        // Its ARN is made here, and cannot lead to another account.
        let registration = text.parse::<Registration>();
        if let Ok(Registration { balancer: BalancerId::TargetGroup(group), .. }) = registration {
            prop_assert_eq!(TargetGroupId::from_arn(&group.arn(REGION, ACCOUNT)), Some(group));
        }
        Ok(())
    });
}

#[test]
fn a_setting_is_taken_or_named() {
    let names = [
        config::MODE,
        config::SCOPE,
        config::PRUNE_ORPHANS,
        config::STACK,
        config::QUEUE_URL,
        config::DEAD_LETTER_QUEUE_URL,
        config::LIFECYCLE_HOOK_PREFIX,
        config::HEALTH_TIMEOUT,
        config::NETWORK_DRAIN,
    ];
    let words = [
        "observe",
        "tagged",
        "true",
        "172800",
        "172801",
        "18446744073709551616",
        "https://sqs.us-east-1.amazonaws.com/1/q",
    ];
    let value = prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), any_word()];
    fuzz("a_setting_is_taken_or_named", CASES, &(prop::sample::select(names.to_vec()), value), |(name, value)| {
        match Config::of(&BTreeMap::from([(name.to_owned(), value)])) {
            // Two days are the longest that an action can wait.
            Ok(config) => prop_assert!(
                config.health_timeout.max(Some(config.network_drain)).is_none_or(|t| t.as_secs() <= 172_800)
            ),
            Err(error) => prop_assert!(error.to_string().contains(name), "{error}"),
        }
        Ok(())
    });
}

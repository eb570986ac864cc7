//! An input costs memory in proportion to its size. Each test counts the peak of the allocated bytes; no test measures time.

use std::{collections::BTreeMap, iter};

use allocation_counter::measure;
use protocol::{
    declaration::Declaration,
    event::{LifecycleAction, Notice, Place},
    held::Held,
};
use sandbox::{
    ACCOUNT, REGION,
    deployment::{INSTANCE_STATE, LIFECYCLE},
};
use serde_json::json;

use crate::{sample::batch_of, scene::Scene};

/// The bytes of an invocation with little to do. Most of them belong to the simulated AWS, which remembers every call.
const INVOCATION: u64 = 8 << 20;

/// The largest message of SQS (API reference, SendMessage: "The maximum size is 1 MiB").
const MESSAGE: usize = 1 << 20;

fn place() -> Place {
    Place { region: REGION.to_owned(), account: Some(ACCOUNT.to_owned()) }
}

/// Returns a text of a size, most of which is one piece, repeated.
fn full_of(begin: &str, piece: &str, end: &str, size: usize) -> String {
    let pieces = (size - begin.len() - end.len()) / piece.len();
    [begin, &piece.repeat(pieces), end].concat()
}

/// Returns messages of the largest size that make some reader allocate far more than their size.
fn heavy_messages() -> Vec<(&'static str, String)> {
    let state_change = |field: &str| {
        format!(
            r#"{{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","account":"{ACCOUNT}","region":"{REGION}",
                "resources":[],"detail":{{"instance-id":"i-abcd1111","state":"running",{field}"#
        )
    };
    let action = |field: &str| {
        format!(
            r#"{{"source":"aws.autoscaling","detail-type":"EC2 Instance-launch Lifecycle Action","time":"2026-01-05T08:00:00Z",
                "detail":{{"EC2InstanceId":"i-abcd1111","LifecycleActionToken":"t","AutoScalingGroupName":"fleet",
                "LifecycleHookName":"elb-registrar-launch","LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING",{field}"#
        )
    };
    vec![
        ("numbers", full_of(&state_change(r#""x":[0"#), ",0", "]}}", MESSAGE)),
        ("empty lists", full_of(&state_change(r#""x":[0"#), ",[]", "]}}", MESSAGE)),
        ("objects", full_of(&state_change(r#""x":[0"#), r#",{"":0}"#, "]}}", MESSAGE)),
        ("fields", full_of(&state_change(r#""x":0"#), r#","y":0"#, "}}", MESSAGE)),
        ("depth", full_of(&state_change(r#""x":"#), "[", "", MESSAGE)),
        ("a number", full_of(&state_change(r#""x":1"#), "0", "}}", MESSAGE)),
        ("a state", full_of(&state_change(r#""state":""#), "x", r#""}}"#, MESSAGE)),
        ("a source", full_of(r#"{"detail-type":"x","detail":{},"source":""#, "\u{1f980}", r#""}"#, MESSAGE)),
        ("escapes", full_of(r#"{"detail-type":7,"detail":{},"source":""#, r"\u0000", r#""}"#, MESSAGE)),
        (
            "an id",
            full_of(
                r#"{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{"state":"running","instance-id":""#,
                r"\n",
                r#""}}"#,
                MESSAGE,
            ),
        ),
        (
            "metadata",
            full_of(&action(r#""NotificationMetadata":"{\"register\":[\"clb:a"#), " clb:a", r#"\"]}"}}"#, MESSAGE),
        ),
        (
            "declarations",
            full_of(
                &action(r#""NotificationMetadata":"{\"register\":[\"clb:a\""#),
                r#",\"tg:a\""#,
                r#"]}"}}"#,
                MESSAGE,
            ),
        ),
        (
            "bad declarations",
            full_of(&action(r#""NotificationMetadata":"{\"register\":[\"a\""#), r#",\"b\""#, r#"]}"}}"#, MESSAGE),
        ),
        (
            "resources",
            full_of(r#"{"source":"aws.ec2","detail-type":"x","detail":{},"resources":[""#, r#","""#, "]}", MESSAGE),
        ),
        ("no JSON", full_of("", "elb", "", MESSAGE)),
    ]
}

#[test]
fn an_event_costs_little_more_memory_than_it_has_size() {
    for (name, text) in heavy_messages() {
        let peak = measure(|| {
            let _ = Notice::of_event(&text, &place());
            let _ = LifecycleAction::of_text(&text, &place(), "elb-registrar");
        });
        let (peak, size) = (peak.bytes_max, text.len() as u64);
        assert!(peak <= 4 * size, "{name}: {peak} bytes for {size}");
    }
}

#[test]
fn the_tags_of_an_instance_cost_two_megabytes_at_the_most() {
    for text in ["clb:a ", "tg:a/0:1 ", "x ", "tg:a:1=eth0@a+0x0 "] {
        let value: String = text.chars().cycle().take(256).collect();
        let tags: BTreeMap<String, String> =
            (0..50).map(|n| (format!("elb-registrar:held.{n}"), value.clone())).collect();
        let peak = measure(|| {
            let held = Held::of(&tags);
            let _ = held.registrations();
            let _ = tags.values().map(|value| Declaration::all_in(value)).collect::<Vec<_>>();
        });
        assert!(peak.bytes_max <= 2 << 20, "{text}: {} bytes", peak.bytes_max);
    }
}

#[test]
fn a_batch_costs_little_more_memory_than_it_has_size() {
    let event = |id: usize| {
        json!({
            "source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "account": ACCOUNT, "region": REGION,
            "detail": { "instance-id": format!("i-{id:017x}"), "state": "running" },
        })
    };
    // Lambda takes six megabytes at most in one payload.
    let heavy: Vec<String> = heavy_messages().into_iter().map(|(_, text)| text).collect();
    let scene = Scene::at_rest();
    for (name, function, bodies) in [
        ("a thousand instances", INSTANCE_STATE, (0..1_000).map(|id| event(id).to_string()).collect::<Vec<_>>()),
        ("a thousand times one", INSTANCE_STATE, iter::repeat_n(event(1).to_string(), 1_000).collect()),
        ("a thousand riddles", INSTANCE_STATE, iter::repeat_n("?".repeat(6_000), 1_000).collect()),
        ("numbers", INSTANCE_STATE, heavy[..5].to_vec()),
        ("texts", INSTANCE_STATE, heavy[5..10].to_vec()),
        ("actions", LIFECYCLE, heavy[10..].to_vec()),
    ] {
        let payload = batch_of(bodies);
        let size = payload.to_string().len() as u64;
        let peak = measure(|| drop(scene.call(function, payload.clone()))).bytes_max;
        assert!(peak <= 8 * size + INVOCATION, "{name}: {peak} bytes for {size}");
    }
}

//! Changes of a sample: first of its structure, as a JSON value, then of its text.

use proptest::{collection::vec, option, prelude::*, sample::Index};
use serde_json::{Value, json};

/// The greatest depth of a value. The parser gives up at 128 levels; Lambda's own payloads come through it, too.
const DEPTH_MAX: usize = 200;

/// The most repetitions of a text: 64 kB of the longest word.
const REPEATS_MAX: usize = 1_000;

/// Values for the fields of an event that decide about the work: right ones, nearly right ones, and ones at the edge of the
/// format. Names in braces stand for ids of the stage, see [`crate::scene`].
const WHAT: [(&str, &[&str]); 10] = [
    (
        "/time",
        &[
            "0000-01-01T00:00:00Z",
            "2015-10-08T16:53:06Z",
            "2026-01-05T08:00:00+23:59",
            "9999-12-31T23:59:60Z",
            "+262142-12-31T23:59:59Z",
            "-262143-01-01T00:00:00Z",
        ],
    ),
    ("/detail/instance-id", &["{web-1}", "{web-2}", "{member}", "{new}", "i-abcd1111", "mi-0123456789abcdef0"]),
    ("/detail/state", &["pending", "running", "stopping", "stopped", "shutting-down", "terminated", "exploded"]),
    ("/detail/EC2InstanceId", &["{web-1}", "{web-2}", "{member}", "{new}", "i-"]),
    ("/detail/AutoScalingGroupName", &["fleet", "other", "gone"]),
    ("/detail/LifecycleHookName", &["elb-registrar-launch", "elb-registrar-terminate", "elb-registrar-gone", "ecs"]),
    ("/detail/Origin", &["EC2", "AutoScalingGroup", "WarmPool"]),
    ("/detail/Destination", &["EC2", "AutoScalingGroup", "WarmPool"]),
    ("/detail/Action", &["ReplaceRootVolume"]),
    ("/detail/NotificationMetadata", &["", MADE_UP_METADATA, r#"{"timeout_seconds": 0}"#]),
];

/// Metadata in an event, which declares a registration that neither a tag nor a hook declares.
pub(crate) const MADE_UP_METADATA: &str = r#"{"register": ["clb:other tg:web:8080", "tg:edge:444=eth0"]}"#;

/// Metadata that an operator may write at a hook: right, wrong at that hook, and at the edge of the format.
const METADATA: [&str; 6] = [
    r#"{}"#,
    r#"{"register": ["clb:shop tg:web:8080", "tg:edge:444=eth0"]}"#,
    r#"{"register": ["tg:edge=10.0.0.99@all", "tg:gone"], "timeout_seconds": 0, "on_timeout": "CONTINUE"}"#,
    r#"{"timeout_seconds": 4294967295, "on_timeout": "ABANDON"}"#,
    r#"{"timeout_seconds": 0, "network_drain_seconds": 4294967295}"#,
    r#"{"network_drain_seconds": 4294967296}"#,
];

/// Values for the fields with the account, Region, source and kind of an event: most other values end it at once.
const WHOSE: [(&str, &[&str]); 5] = [
    ("/source", &["aws.ec2", "aws.autoscaling", "aws.events", "com.example"]),
    (
        "/detail-type",
        &[
            "EC2 Instance State-change Notification",
            "EC2 Instance-launch Lifecycle Action",
            "EC2 Instance-terminate Lifecycle Action",
            "EC2 Spot Instance Interruption Warning",
            "Scheduled Event",
        ],
    ),
    ("/account", &["123456789012", "210987654321", ""]),
    ("/region", &["us-east-1", "eu-west-1", ""]),
    ("/detail/LifecycleTransition", &["autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"]),
];

/// Other words that mean something to some reader, or nearly do.
const WORDS: [&str; 26] = [
    "",
    " ",
    "\u{0}",
    "\u{ffff}",
    "\u{1f980}",
    "ﬃ",
    "null",
    "-1",
    "0x1",
    "all",
    "balancers",
    "i-0123456789abcdef0",
    "Records",
    "{web-1}",
    "{web-2}",
    "{member}",
    "{new}",
    "clb:shop",
    "tg:web/0123456789abcdef",
    "tg:web/0123456789abcdef:65536",
    "tg:edge:443=eth4294967295@all",
    "tg:a:1=::ffff:10.0.0.1+0x0000000000000000",
    "tg:web:80=10.0.0.10",
    "elb-registrar:held",
    "2026-01-05T08:00:00Z",
    "arn:aws:elasticloadbalancing:us-east-1:210987654321:targetgroup/a/b",
];

/// One change of a JSON value, at a place that an index chooses among all of its parts.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Sets a field of an event to another value, or adds the field.
    Set(&'static str, &'static str),
    Replace(Index, Value),
    Remove(Index),
    /// Replaces one part by a copy of another.
    Copy(Index, Index),
    /// Adds a field to an object, or an element to a list.
    Add(Index, String, Value),
    Repeat(Index, usize),
    Nest(Index, usize),
}

/// One change of a text.
#[derive(Clone, Debug)]
pub(crate) enum Slip {
    Cut(Index),
    Insert(Index, String),
    Remove(Index),
}

/// Returns a number, a word or a small structure.
fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![json!(0), json!(-1), json!(u64::MAX), json!(1e308)]),
    ];
    prop_oneof![
        4 => any_word().prop_map(Value::from),
        2 => number,
        1 => prop::sample::select(vec![Value::Null, json!(true), json!([]), json!({}), json!([[], {}]), json!({ "": [0] })]),
    ]
}

pub(crate) fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => "\\PC{0,20}",
        1 => any::<String>(),
    ]
}

/// Returns changes of the fields that some reader looks at.
pub(crate) fn any_settings() -> impl Strategy<Value = Vec<Change>> {
    let fields = prop_oneof![6 => prop::sample::select(&WHAT[..]), 1 => prop::sample::select(&WHOSE[..])];
    let setting =
        (fields, any::<Index>()).prop_map(|((field, values), at)| Change::Set(field, values[at.index(values.len())]));
    vec(setting, 0..5)
}

/// Returns changes of any part.
pub(crate) fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (any::<Index>(), any_value()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => any::<Index>().prop_map(Change::Remove),
        2 => any::<(Index, Index)>().prop_map(|(from, to)| Change::Copy(from, to)),
        2 => (any::<Index>(), any_word(), any_value()).prop_map(|(at, key, value)| Change::Add(at, key, value)),
        1 => (any::<Index>(), 1..REPEATS_MAX).prop_map(|(at, times)| Change::Repeat(at, times)),
        1 => (any::<Index>(), 1..DEPTH_MAX).prop_map(|(at, depth)| Change::Nest(at, depth)),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => vec(change, 1..4)]
}

/// Returns metadata as a person may have written it at a hook.
pub(crate) fn any_metadata() -> impl Strategy<Value = String> {
    let written = (prop::sample::select(&METADATA[..]), any_changes(), any_slip());
    written.prop_map(|(text, changes, slip)| {
        let mut value = serde_json::from_str(text).unwrap_or_default();
        changes.iter().for_each(|change| change.apply(&mut value));
        let mut text = value.to_string();
        slip.iter().for_each(|slip| slip.apply(&mut text));
        text
    })
}

/// Returns no slip for most cases: a text that is not JSON any more reaches only the parser.
pub(crate) fn any_slip() -> impl Strategy<Value = Option<Slip>> {
    let slip = prop_oneof![
        any::<Index>().prop_map(Slip::Cut),
        any::<Index>().prop_map(Slip::Remove),
        (any::<Index>(), any_word()).prop_map(|(at, word)| Slip::Insert(at, word)),
    ];
    option::weighted(0.15, slip)
}

impl Change {
    /// Makes the change.
    pub(crate) fn apply(&self, value: &mut Value) {
        let paths = paths_of(value);
        let path = |at: &Index| paths[at.index(paths.len())].clone();
        match self {
            Self::Set(field, to) => {
                let (parent, key) = field.rsplit_once('/').unwrap_or_default();
                with_part(value, parent, |parent| {
                    parent
                        .as_object_mut()
                        .into_iter()
                        .for_each(|fields| drop(fields.insert(key.to_owned(), json!(to))));
                });
            }
            Self::Replace(at, with) => with_part(value, &path(at), |part| *part = with.clone()),
            Self::Remove(at) => remove(value, &path(at)),
            Self::Copy(from, to) => {
                let copy = value.pointer(&path(from)).cloned().unwrap_or_default();
                with_part(value, &path(to), |part| *part = copy);
            }
            Self::Add(at, key, new) => with_part(value, &path(at), |part| match part {
                Value::Object(fields) => drop(fields.insert(key.clone(), new.clone())),
                Value::Array(elements) => elements.push(new.clone()),
                other => *other = json!({ key: new }),
            }),
            Self::Repeat(at, times) => with_part(value, &path(at), |part| match part {
                Value::String(text) if text.len() <= 64 => *text = text.repeat(*times),
                Value::Array(elements) if elements.len() == 1 => {
                    *elements = vec![elements[0].clone(); (*times).min(20)]
                }
                _ => {}
            }),
            Self::Nest(at, depth) => with_part(value, &path(at), |part| {
                for _ in 0..*depth {
                    *part = Value::Array(vec![part.take()]);
                }
            }),
        }
    }
}

impl Slip {
    /// Makes the change, between characters.
    pub(crate) fn apply(&self, text: &mut String) {
        let at = |index: &Index, text: &str| {
            let at = index.index(text.len() + 1);
            (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
        };
        match self {
            Self::Cut(index) => text.truncate(at(index, text)),
            Self::Insert(index, word) => text.insert_str(at(index, text), word),
            Self::Remove(index) => {
                let at = at(index, text);
                if at < text.len() {
                    text.remove(at);
                }
            }
        }
    }
}

/// Returns the JSON pointers of a value and of everything in it.
fn paths_of(value: &Value) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut add =
        |step: String, part: &Value| paths.extend(paths_of(part).into_iter().map(|path| format!("/{step}{path}")));
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, part)| add(key.replace('~', "~0").replace('/', "~1"), part));
        }
        Value::Array(elements) => elements.iter().enumerate().for_each(|(index, part)| add(index.to_string(), part)),
        _ => {}
    }
    paths
}

fn with_part(value: &mut Value, path: &str, change: impl FnOnce(&mut Value)) {
    if let Some(part) = value.pointer_mut(path) {
        change(part);
    }
}

fn remove(value: &mut Value, path: &str) {
    let Some((parent, step)) = path.rsplit_once('/') else { return *value = Value::Null };
    with_part(value, parent, |parent| match parent {
        Value::Object(fields) => drop(fields.remove(&step.replace("~1", "/").replace("~0", "~"))),
        Value::Array(elements) => drop(step.parse().map(|index: usize| elements.remove(index))),
        _ => {}
    });
}

#[test]
fn every_part_of_a_value_has_a_path() {
    let value = json!({ "a/b": [1, { "~": 2 }] });
    let paths = paths_of(&value);
    assert_eq!(paths, ["", "/a~1b", "/a~1b/0", "/a~1b/1", "/a~1b/1/~0"]);
    assert!(paths.iter().all(|path| value.pointer(path).is_some()));
    for (path, left) in
        [("/a~1b/1/~0", json!({ "a/b": [1, {}] })), ("/a~1b/0", json!({ "a/b": [{ "~": 2 }] })), ("", Value::Null)]
    {
        let mut value = value.clone();
        remove(&mut value, path);
        assert_eq!(value, left, "{path}");
    }
}

//! The samples, and the payload that a case makes of one.

use std::{fs, path::Path};

use end_to_end::delivered;
use proptest::{collection::vec, prelude::*, sample::Index};
use sandbox::{ACCOUNT, REGION};
use serde_json::{Value, json};

use crate::mutation::{Change, Slip, any_changes, any_settings, any_slip};

/// A sample with changes.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    sample: Index,
    changes: Vec<Change>,
    slip: Option<Slip>,
}

/// The payload of one invocation.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// An event, or an order, as it is.
    Bare(Draft),
    /// Events in a batch from SQS, which may itself be changed.
    Batch { bodies: Vec<Draft>, changes: Vec<Change> },
}

pub(crate) fn any_draft() -> impl Strategy<Value = Draft> {
    let parts = (any::<Index>(), any_settings(), any_changes(), any_slip());
    parts.prop_map(|(sample, settings, changes, slip)| Draft { sample, changes: [settings, changes].concat(), slip })
}

pub(crate) fn any_payload() -> impl Strategy<Value = Payload> {
    let bodies = vec(any_draft(), 1..6);
    // A payload that looks like a batch, but was not made by Lambda, comes from a person who calls the function.
    let changes = prop_oneof![3 => Just(Vec::new()), 1 => any_changes()];
    prop_oneof![
        1 => any_draft().prop_map(Payload::Bare),
        2 => (bodies, changes).prop_map(|(bodies, changes)| Payload::Batch { bodies, changes }),
    ]
}

/// Returns the files in `events/` whose names begin with `name`: documented events, and orders for a sweep. Each event comes
/// twice: as it is in its file, and as EventBridge delivers it.
pub(crate) fn samples(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let files = fs::read_dir(folder).expect("the folder events/").map(|file| file.expect("a file"));
    let mut files: Vec<_> = files.filter(|file| file.file_name().to_string_lossy().starts_with(name)).collect();
    files.sort_by_key(fs::DirEntry::file_name);
    let read = |file: &fs::DirEntry| fs::read_to_string(file.path()).expect("a text");
    let written = files.iter().map(|file| serde_json::from_str(&read(file)).expect("JSON"));
    written.flat_map(|event: Value| event.get("source").map(|_| delivered(&event)).into_iter().chain([event])).collect()
}

impl Draft {
    /// Returns the changed sample.
    pub(crate) fn value(&self, samples: &[Value]) -> Value {
        let mut value = samples[self.sample.index(samples.len())].clone();
        self.changes.iter().for_each(|change| change.apply(&mut value));
        value
    }

    /// Returns the changed sample as a text, which may not be JSON any more.
    pub(crate) fn text(&self, samples: &[Value]) -> String {
        let mut text = self.value(samples).to_string();
        self.slip.iter().for_each(|slip| slip.apply(&mut text));
        text
    }
}

impl Payload {
    /// Returns the payload of the call.
    pub(crate) fn value(&self, samples: &[Value]) -> Value {
        match self {
            Self::Bare(draft) => draft.value(samples),
            Self::Batch { bodies, changes } => {
                let mut batch = batch_of(bodies.iter().map(|body| body.text(samples)));
                changes.iter().for_each(|change| change.apply(&mut batch));
                batch
            }
        }
    }
}

/// Returns a batch as Lambda makes it of messages in a queue (Lambda developer guide, "Example standard queue message event").
pub(crate) fn batch_of(bodies: impl IntoIterator<Item = String>) -> Value {
    let record = |(number, body): (usize, String)| {
        json!({
            "messageId": format!("message-{number}"), "receiptHandle": format!("handle-{number}"), "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1767600000000", "SenderId": "AIDAEXAMPLE",
                "ApproximateFirstReceiveTimestamp": "1767600000001",
            },
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:queue"), "awsRegion": REGION,
        })
    };
    json!({ "Records": bodies.into_iter().enumerate().map(record).collect::<Vec<_>>() })
}

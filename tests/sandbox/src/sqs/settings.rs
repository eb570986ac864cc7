//! A queue's attributes: those that can be set, their limits, and those that are only remembered.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{arn, fifo::Fifo, name_of_arn, queue::invalid};
use crate::{iam::Policy, wire::ApiError};

/// The attribute with the key of an operator's own.
const KEY: &str = "KmsMasterKeyId";

/// The attribute of a dead-letter queue that says which queues may redrive to it.
const REDRIVE_ALLOWED: &str = "RedriveAllowPolicy";

/// Attributes that are shown as they were set. Two of them have an effect: see [`Settings::key`] and [`Settings::takes_dead_letters_of`].
const REMEMBERED: [&str; 5] =
    [KEY, "KmsDataKeyReusePeriodSeconds", "MaximumMessageSize", REDRIVE_ALLOWED, "SqsManagedSseEnabled"];

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a message is invisible after a receipt, if the receiver says nothing else.
    pub visibility_timeout: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// How long a new message is invisible.
    pub delay: Duration,
    /// How long a receiver waits for a message. Remembered only: an empty queue answers at once.
    pub wait: Duration,
    /// The queue for messages that were received too often.
    pub redrive: Option<Redrive>,
    /// The settings that only a FIFO queue has. Its creation decides for ever whether a queue is one.
    pub fifo: Option<Fifo>,
    /// The callers that may send to it and receive from it, besides roles of the account that may by their own policies.
    pub policy: Option<Policy>,
    remembered: BTreeMap<String, String>,
}

/// When a queue gives a message up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The name of the queue that gets it.
    pub dead_letter_queue: String,
    /// The message moves when it would be received more often than this.
    pub max_receive_count: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30),
            retention: Duration::from_secs(345_600),
            delay: Duration::ZERO,
            wait: Duration::ZERO,
            redrive: None,
            fifo: None,
            policy: None,
            remembered: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Returns the ARN of the key that senders and receivers need, if the queue is encrypted with an operator's own.
    pub fn key(&self) -> Option<&str> {
        self.remembered.get(KEY).map(String::as_str)
    }

    /// Returns whether a queue may redrive to this one (SQS API reference, SetQueueAttributes, `RedriveAllowPolicy`:
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>).
    pub(super) fn takes_dead_letters_of(&self, source_arn: &str) -> bool {
        let policy: Value =
            self.remembered.get(REDRIVE_ALLOWED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        match policy["redrivePermission"].as_str() {
            None | Some("allowAll") => true,
            Some("byQueue") => {
                let sources = policy["sourceQueueArns"].as_array();
                sources.is_some_and(|sources| sources.iter().any(|arn| arn == source_arn))
            }
            Some(_) => false,
        }
    }

    /// Sets one attribute.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        match name {
            "VisibilityTimeout" => self.visibility_timeout = seconds(name, value, 0..=43_200)?,
            "MessageRetentionPeriod" => self.retention = seconds(name, value, 60..=1_209_600)?,
            "DelaySeconds" => self.delay = seconds(name, value, 0..=900)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = seconds(name, value, 0..=20)?,
            "RedrivePolicy" => self.redrive = redrive(value)?,
            "Policy" => {
                self.policy = policy(value)?;
                self.remembered.insert(name.to_owned(), value.to_owned());
            }
            "FifoQueue" | "ContentBasedDeduplication" => self.set_of_fifo(name, value)?,
            "DeduplicationScope" | "FifoThroughputLimit" => {
                let refusal = format!("You can specify the {name} only when FifoQueue is set to true.");
                return match (&self.fifo, value) {
                    (None, _) => Err(ApiError::sender("InvalidAttributeName", refusal)),
                    // These values are the defaults.
                    (Some(_), "queue" | "perQueue") => Ok(()),
                    (Some(_), _) => Err(ApiError::not_modelled(format!("high throughput of FIFO queues ({name})"))),
                };
            }
            _ if REMEMBERED.contains(&name) => {
                self.remembered.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(ApiError::sender("InvalidAttributeName", format!("Unknown Attribute {name}."))),
        }
        Ok(())
    }

    /// Sets an attribute that only a FIFO queue has. A standard one does not even know `FifoQueue=false` (aws-cdk issue 8550).
    fn set_of_fifo(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let Some(fifo) = &mut self.fifo else {
            return Err(ApiError::sender("InvalidAttributeName", format!("Unknown Attribute {name}.")));
        };
        match (name, value) {
            ("FifoQueue", "true") => {}
            ("ContentBasedDeduplication", "true" | "false") => fifo.content_based_deduplication = value == "true",
            ("FifoQueue", "false") => {
                let reason =
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.";
                return Err(ApiError::sender("InvalidAttributeValue", reason));
            }
            _ => {
                let message = format!("Invalid value for the parameter {name}.");
                return Err(ApiError::sender("InvalidAttributeValue", message));
            }
        }
        Ok(())
    }

    /// Returns all attributes as texts.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let mut texts = self.remembered.clone();
        let mut add = |name: &str, value: String| texts.insert(name.to_owned(), value);
        add("VisibilityTimeout", self.visibility_timeout.as_secs().to_string());
        add("MessageRetentionPeriod", self.retention.as_secs().to_string());
        add("DelaySeconds", self.delay.as_secs().to_string());
        add("ReceiveMessageWaitTimeSeconds", self.wait.as_secs().to_string());
        if let Some(redrive) = &self.redrive {
            let target = arn(&redrive.dead_letter_queue);
            let policy =
                serde_json::json!({ "deadLetterTargetArn": target, "maxReceiveCount": redrive.max_receive_count });
            add("RedrivePolicy", policy.to_string());
        }
        if let Some(fifo) = &self.fifo {
            add("FifoQueue", "true".to_owned());
            add("ContentBasedDeduplication", fifo.content_based_deduplication.to_string());
            add("DeduplicationScope", "queue".to_owned());
            add("FifoThroughputLimit", "perQueue".to_owned());
        }
        texts
    }
}

fn seconds(name: &str, value: &str, allowed: std::ops::RangeInclusive<u64>) -> Result<Duration, ApiError> {
    let parsed = value.parse().ok().filter(|seconds| allowed.contains(seconds));
    parsed
        .map(Duration::from_secs)
        .ok_or_else(|| ApiError::sender("InvalidAttributeValue", format!("Invalid value for the parameter {name}.")))
}

/// Reads a policy. An empty text takes it away.
fn policy(text: &str) -> Result<Option<Policy>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::sender("InvalidAttributeValue", "Invalid value for the parameter Policy.");
    let document: Value = serde_json::from_str(text).map_err(|_| wrong())?;
    Policy::of_resource("Policy", &document).map(Some).map_err(|why| ApiError::not_modelled(format!("a policy: {why}")))
}

/// Reads a redrive policy. An empty text takes it away.
fn redrive(text: &str) -> Result<Option<Redrive>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| invalid(text, "RedrivePolicy", reason);
    let policy: Value = serde_json::from_str(text).map_err(|_| refuse("Redrive policy is not a valid JSON map."))?;
    let target = policy["deadLetterTargetArn"].as_str().and_then(name_of_arn);
    let dead_letter_queue = target.ok_or_else(|| refuse("Invalid value for deadLetterTargetArn."))?.to_owned();
    // CloudFormation and the console write a number, the guide's examples a text.
    let count = match &policy["maxReceiveCount"] {
        Value::String(count) => count.parse().ok(),
        count => count.as_u64(),
    };
    let count = count.filter(|count| (1..=1_000).contains(count)).and_then(|count| u32::try_from(count).ok());
    let max_receive_count = count
        .ok_or_else(|| refuse("Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive."))?;
    Ok(Some(Redrive { dead_letter_queue, max_receive_count }))
}

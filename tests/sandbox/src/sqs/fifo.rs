//! FIFO queues: order within a message group, and no message twice within five minutes.
//!
//! A message in flight blocks its group: "you can't receive additional messages from the same message group ID in subsequent requests until"
//! those that were received are deleted or visible again, and one receipt "attempts to return as many messages as possible with the same message
//! group ID" (SQS developer guide, "FIFO queue delivery logic",
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html>).
//!
//! High throughput (`DeduplicationScope`, `FifoThroughputLimit`) and the limit of 300 calls a second are not modelled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    digest,
    queue::{Message, invalid},
    settings::Settings,
};
use crate::{
    clock::{Timestamp, delta},
    wire::ApiError,
};

/// How long a deduplication id is remembered, whether or not its message was received and deleted (SQS developer guide, "FIFO queue and message
/// identifiers", <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html>).
pub(super) const DEDUPLICATION_INTERVAL: Duration = Duration::from_secs(300);

/// The most characters of a group's id, and of a deduplication id.
const ID_LENGTH_MAX: usize = 128;

/// The settings that only a FIFO queue has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fifo {
    /// Whether a message without a deduplication id gets one from its text.
    pub content_based_deduplication: bool,
}

/// The place of a message in a FIFO queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Messages of one group are received in the order in which they were sent.
    pub group: String,
    /// The id by which a second copy is recognized.
    pub deduplication_id: String,
}

/// The recently accepted messages, by deduplication id.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted(BTreeMap<String, Original>);

/// The first message with a deduplication id.
#[derive(Clone, Debug)]
pub(super) struct Original {
    at: Timestamp,
    pub(super) message_id: String,
    pub(super) number: u64,
}

impl Place {
    /// Returns the place that a sender wants for a message; `None` in a standard queue.
    ///
    /// # Errors
    /// If a parameter is missing, or does not exist for this kind of queue.
    pub(super) fn of(
        settings: &Settings,
        body: &str,
        (group, deduplication_id): (Option<String>, Option<String>),
        delay: Option<Duration>,
    ) -> Result<Option<Self>, ApiError> {
        let Some(fifo) = &settings.fifo else {
            if let Some(id) = deduplication_id {
                let reason = "The request includes a parameter that is not valid for this queue type.";
                return Err(invalid(id, "MessageDeduplicationId", reason));
            }
            // Since 2025 a standard queue takes one, too, and serves such groups fairly.
            return match group {
                Some(_) => Err(ApiError::not_modelled("fair queues (MessageGroupId in a standard queue)")),
                None => Ok(None),
            };
        };
        if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
            let reason = "The request include parameter that is not valid for this queue type.";
            return Err(invalid(delay.as_secs(), "DelaySeconds", reason));
        }
        let missing = "The request must contain the parameter MessageGroupId.";
        let group = group.ok_or_else(|| ApiError::sender("MissingParameter", missing))?;
        check_id("MessageGroupId", &group)?;
        let deduplication_id = match (deduplication_id, fifo.content_based_deduplication) {
            (Some(id), _) => id,
            (None, true) => digest::hex(&Sha256::digest(body.as_bytes())),
            (None, false) => {
                return Err(ApiError::sender(
                    "InvalidParameterValue",
                    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
                ));
            }
        };
        check_id("MessageDeduplicationId", &deduplication_id)?;
        Ok(Some(Self { group, deduplication_id }))
    }
}

fn check_id(parameter: &str, id: &str) -> Result<(), ApiError> {
    let is_allowed = (1..=ID_LENGTH_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
    let reason = || {
        format!("{parameter} can only include alphanumeric and punctuation characters. 1 to {ID_LENGTH_MAX} in length.")
    };
    if is_allowed { Ok(()) } else { Err(invalid(id, parameter, &reason())) }
}

impl Accepted {
    /// Returns the message that answers a second copy.
    pub(super) fn original(&mut self, place: &Place, now: Timestamp) -> Option<&Original> {
        self.0.retain(|_, original| original.at + delta(DEDUPLICATION_INTERVAL) > now);
        self.0.get(&place.deduplication_id)
    }

    pub(super) fn remember(&mut self, place: &Place, message_id: &str, number: u64, at: Timestamp) {
        let original = Original { at, message_id: message_id.to_owned(), number };
        self.0.insert(place.deduplication_id.clone(), original);
    }
}

/// "The large, non-consecutive number that Amazon SQS assigns to each message", of 20 digits.
pub(super) fn sequence_number(number: u64) -> String {
    format!("188{number:017}")
}

/// Returns the messages that can be received, group after group, each group in its order. `dice` chooses which group comes first:
/// AWS promises no order between groups.
pub(super) fn receivable(
    messages: &BTreeMap<u64, Message>,
    now: Timestamp,
    dice: Option<&mut fastrand::Rng>,
) -> Vec<u64> {
    let is_in_flight = |message: &Message| message.receive_count > 0 && message.visible_from > now;
    let group_of = |message: &Message| message.place.as_ref().map(|place| place.group.clone()).unwrap_or_default();
    let blocked: BTreeSet<String> = messages.values().filter(|m| is_in_flight(m)).map(group_of).collect();
    let mut groups: Vec<(String, Vec<u64>)> = Vec::new();
    for (number, message) in messages {
        let group = group_of(message);
        if blocked.contains(&group) {
            continue;
        }
        match groups.iter_mut().find(|(other, _)| *other == group) {
            Some((_, numbers)) => numbers.push(*number),
            None => groups.push((group, vec![*number])),
        }
    }
    for (_, numbers) in &mut groups {
        // A delayed message holds up those that were sent after it.
        let end = numbers.iter().position(|number| messages[number].visible_from > now);
        numbers.truncate(end.unwrap_or(numbers.len()));
    }
    if let Some(dice) = dice {
        dice.shuffle(&mut groups);
    }
    groups.into_iter().flat_map(|(_, numbers)| numbers).collect()
}

//! One queue and its messages: visibility, receive counts, receipts. This module knows no other queues.

use std::{collections::BTreeMap, time::Duration};

use super::{
    fifo::{self, Accepted, Place},
    settings::Settings,
};
use crate::{
    clock::{Timestamp, delta},
    lambda::Chain,
    wire::ApiError,
};

/// The longest that a message can be kept invisible, counted from its receipt, whatever a later call asks for.
const LONGEST_INVISIBLE: Duration = Duration::from_secs(43_200);

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name, unique in the account.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// When it was created.
    pub created: Timestamp,
    /// When its settings were last changed.
    pub modified: Timestamp,
    /// In the order of arrival, which receivers of a standard queue do not see.
    pub(super) messages: BTreeMap<u64, Message>,
    /// Of a FIFO queue.
    pub(super) accepted: Accepted,
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// Survives a move to the dead-letter queue.
    pub id: String,
    /// The text.
    pub body: String,
    /// The sender's attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// The sender.
    pub sender: String,
    /// Survives a move to the dead-letter queue, so that the retention period goes on.
    pub sent: Timestamp,
    /// Until then it is delayed or in flight.
    pub visible_from: Timestamp,
    /// How often it was received.
    pub receive_count: u32,
    /// The first receipt.
    pub first_received: Option<Timestamp>,
    /// The latest receipt.
    pub last_received: Option<Timestamp>,
    /// The ARN of the queue that gave it up.
    pub dead_letter_source: Option<String>,
    /// Its place in a FIFO queue.
    pub place: Option<Place>,
    /// The chain of requests that it belongs to.
    pub chain: Chain,
    /// Its number in the order of arrival in this queue.
    pub(super) number: u64,
}

/// An attribute of a message; binary values are not modelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number`, or one of these with a suffix.
    pub data_type: String,
    /// The value.
    pub value: String,
}

/// A message as a receiver holds it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The handle of this receipt.
    pub receipt_handle: String,
    /// The message, as of this receipt.
    pub message: Message,
}

impl Queue {
    pub(super) fn new(name: &str, settings: Settings, now: Timestamp) -> Self {
        let (messages, accepted) = (BTreeMap::new(), Accepted::default());
        Self { name: name.to_owned(), settings, created: now, modified: now, messages, accepted }
    }

    /// Returns the messages in it, the oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    /// Returns how many messages could be received, are in flight, and are delayed.
    pub fn counts(&self, now: Timestamp) -> (usize, usize, usize) {
        let hidden = |m: &&Message| m.visible_from > now;
        let in_flight = self.messages().filter(hidden).filter(|m| m.receive_count > 0).count();
        let delayed = self.messages().filter(hidden).count() - in_flight;
        (self.messages.len() - in_flight - delayed, in_flight, delayed)
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let kept = delta(self.settings.retention);
        self.messages.retain(|_, message| message.sent + kept > now);
    }

    /// Applies the present delay to messages that no receiver has got yet. Returns when each is visible.
    pub(super) fn delay_anew(&mut self) -> Vec<Timestamp> {
        let delay = delta(self.settings.delay);
        let untouched = self.messages.values_mut().filter(|message| message.receive_count == 0);
        untouched
            .map(|message| {
                message.visible_from = message.sent + delay;
                message.visible_from
            })
            .collect()
    }

    /// Removes the receivable messages that were received too often.
    pub(super) fn take_dead(&mut self, now: Timestamp, max_receive_count: u32) -> Vec<Message> {
        let mut dead = Vec::new();
        for number in self.receivable(now, None) {
            let is_dead = self.messages[&number].receive_count >= max_receive_count;
            dead.extend(is_dead.then(|| self.messages.remove(&number)).flatten());
        }
        dead
    }

    /// Returns the messages that can be received. `dice` shuffles messages without an order: in a standard queue, all of them.
    fn receivable(&self, now: Timestamp, dice: Option<&mut fastrand::Rng>) -> Vec<u64> {
        if self.settings.fifo.is_some() {
            return fifo::receivable(&self.messages, now, dice);
        }
        let visible = self.messages.iter().filter(|(_, message)| message.visible_from <= now);
        let mut visible: Vec<u64> = visible.map(|(number, _)| *number).collect();
        if let Some(dice) = dice {
            dice.shuffle(&mut visible);
        }
        visible
    }

    /// Hands out messages.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        most: usize,
        invisible: Duration,
        dice: Option<&mut fastrand::Rng>,
    ) -> Vec<Received> {
        let mut receivable = self.receivable(now, dice);
        receivable.truncate(most);
        let mut received = Vec::with_capacity(receivable.len());
        for number in receivable {
            if let Some(message) = self.messages.get_mut(&number) {
                message.receive_count += 1;
                message.first_received.get_or_insert(now);
                message.last_received = Some(now);
                message.visible_from = now + delta(invisible);
                let receipt_handle = receipt_handle(number, message.receive_count);
                received.push(Received { receipt_handle, message: message.clone() });
            }
        }
        received
    }

    /// Deletes a message. If it was received again since, the answer is the same, and nothing happens.
    ///
    /// A FIFO queue refuses a receipt whose visibility timeout is over, since another receiver may have the message (localstack,
    /// `FifoQueue` in `services/sqs/models.py`, whose tests are checked against AWS).
    pub(super) fn delete(&mut self, now: Timestamp, receipt_handle: &str) -> Result<(), ApiError> {
        let (number, receipt) = parse_receipt(receipt_handle)?;
        let Some(message) = self.messages.get(&number) else { return Ok(()) };
        let is_good = message.receive_count == receipt;
        if self.settings.fifo.is_some() && !(is_good && message.visible_from > now) {
            return Err(invalid(receipt_handle, "ReceiptHandle", "The receipt handle has expired."));
        }
        if is_good {
            self.messages.remove(&number);
        }
        Ok(())
    }

    /// Lets a message in flight become visible at another time, and returns that time.
    ///
    /// Only a missing message is an error, and not `MessageNotInflight` (aws-sdk-net issue 1927). If the timeout is over, the
    /// answer is 200 and nothing happens (localstack pull request 9632, checked against AWS): `None`. Here it is the same if
    /// another receiver has got the message since, which is *not verified*.
    pub(super) fn change_visibility(
        &mut self,
        now: Timestamp,
        receipt_handle: &str,
        invisible: Duration,
    ) -> Result<Option<Timestamp>, ApiError> {
        let (number, receipt) = parse_receipt(receipt_handle)?;
        let Some(message) = self.messages.get_mut(&number) else {
            let reason = "Message does not exist or is not available for visibility timeout change.";
            return Err(invalid(receipt_handle, "ReceiptHandle", reason));
        };
        if message.receive_count != receipt || message.visible_from <= now {
            return Ok(None);
        }
        let until = now + delta(invisible);
        let limit = message.last_received.map(|at| at + delta(LONGEST_INVISIBLE));
        if limit.is_some_and(|limit| until > limit) {
            return Err(invalid(
                invisible.as_secs(),
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        message.visible_from = until;
        Ok(Some(until))
    }
}

/// Returns SQS's words for a value that it refuses.
pub(super) fn invalid(value: impl std::fmt::Display, parameter: &str, reason: &str) -> ApiError {
    let message = format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}");
    ApiError::sender("InvalidParameterValue", message)
}

fn receipt_handle(number: u64, receipt: u32) -> String {
    format!("AQEB{number:016x}{receipt:08x}")
}

fn parse_receipt(handle: &str) -> Result<(u64, u32), ApiError> {
    let parse = || {
        let (number, receipt) = handle.strip_prefix("AQEB")?.split_at_checked(16)?;
        Some((u64::from_str_radix(number, 16).ok()?, u32::from_str_radix(receipt, 16).ok()?))
    };
    parse().ok_or_else(|| {
        let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
        ApiError::sender("ReceiptHandleIsInvalid", message)
    })
}

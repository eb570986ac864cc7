//! Calls to SQS: messages are parked until there is a reason to look again, sent, or moved to the dead letters.

use std::{convert::Infallible, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
        SendMessageBatchRequestEntry,
    },
};

use futures::{FutureExt, StreamExt, stream};
use protocol::{call_error::CallError, plain::Plain};
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::{CALLS_IN_FLIGHT_MAX, call::once},
    config::Config,
};

/// Messages in one batch call of SQS.
const BATCH_MAX: usize = 10;

/// The shortest time for which a message is parked. With 0, it would come back before its function has answered.
const PARK_MIN: Duration = Duration::from_secs(1);

/// The longest time for which a message is parked: 12 hours from its receive, a limit of SQS, less what has passed
/// since then.
const PARK_MAX: Duration = Duration::from_secs(11 * 3600);

/// The longest time by which SQS delays a new message: "Valid values: 0 to 900" (API reference,
/// SendMessageBatchRequestEntry).
const DELAY_MAX: Duration = Duration::from_secs(900);

/// Characters of a reason: far below the size of a message, and enough to see what is wrong.
const REASON_LENGTH_MAX: usize = 1_000;

/// Bytes of a message with its attributes, at most: "1,048,576 bytes (1 MiB)"
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>). "Each message
/// attribute's `Name`, `Type`, and `Value` are part of the message size restriction" (API reference, SendMessage).
const MESSAGE_SIZE_MAX: usize = 1_048_576;

/// Bytes of a message that is sent if SQS refuses a longer one. Each queue has a limit of its own, and 256 KiB was the
/// largest until 2025. So long a beginning tells what a message was.
const BEGINNING_LENGTH: usize = 100_000;

/// The attribute of a dead letter that says why it is one.
const REASON: &str = "reason";

/// A function's queue, and the queue for messages that it does not understand.
pub struct Queue {
    client: Client,
    url: Option<String>,
    dead_letter_url: Option<String>,
}

/// A message to be parked.
#[derive(Clone, Debug)]
pub struct Parked {
    /// The receipt handle of this receive.
    pub receipt_handle: String,
    /// For how long it is parked.
    pub wait: Duration,
}

impl Queue {
    /// Creates the queues of a configuration.
    pub fn new(client: Client, config: &Config) -> Self {
        let (url, dead_letter_url) = (config.queue_url.clone(), config.dead_letter_queue_url.clone());
        Self { client, url, dead_letter_url }
    }

    /// Creates the queue of orders, with the dead letters of a configuration.
    pub fn of_orders(client: Client, config: &Config) -> Self {
        Self { url: config.order_queue_url.clone(), ..Self::new(client, config) }
    }

    /// Creates the queue of events, for a function that serves another one.
    pub fn of_events(client: Client, config: &Config) -> Self {
        Self { url: config.event_queue_url.clone(), ..Self::new(client, config) }
    }

    /// Returns whether there is a queue.
    pub fn is_there(&self) -> bool {
        self.url.is_some()
    }

    /// Makes messages invisible. The function also has to report them as not done, or Lambda deletes them.
    ///
    /// Messages with the same wait come back together, however long it takes to park a thousand. A failure here is only
    /// logged: such a message comes back when the queue's own timeout is over, which may be early or late, and is never
    /// wrong.
    pub async fn park(&self, messages: &[Parked]) {
        let Some(url) = &self.url else { return };
        let begun = MonotonicTime::now();
        let calls = messages.chunks(BATCH_MAX).map(|batch| self.park_batch(url, batch, begun).boxed());
        stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(CALLS_IN_FLIGHT_MAX).collect::<()>().await;
    }

    async fn park_batch(&self, url: &str, batch: &[Parked], begun: MonotonicTime) {
        let entries = batch.iter().enumerate().map(|(index, parked)| {
            let left = parked.wait.saturating_sub(begun.elapsed()).clamp(PARK_MIN, PARK_MAX);
            let seconds = left.as_secs_f64().round() as i32;
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&parked.receipt_handle)
                .visibility_timeout(seconds)
                .build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        // The builder fails only without the two fields that are always set.
        let Ok(entries) = entries else { return };
        let call = self.client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
        match once("sqs:ChangeMessageVisibility", call.send()).await {
            Ok(answer) => answer.failed().iter().for_each(|failed| {
                let why = failed.message().unwrap_or_default();
                tracing::warn!(code = failed.code(), why = %Plain::of(why), "could not park a message");
            }),
            Err(error) => tracing::warn!(why = error.to_sentence(), "could not park messages"),
        }
    }

    /// Deletes messages that are done, so that SQS hands over the next ones of their groups before the invocation ends. Lambda deletes
    /// them again, which is no error. If this fails, they are deleted then.
    pub async fn delete(&self, receipt_handles: &[String]) {
        let Some(url) = &self.url else { return };
        for batch in receipt_handles.chunks(BATCH_MAX) {
            let entry = |(index, receipt_handle): (usize, &String)| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt_handle).build()
            };
            // The builder fails only without the two fields that are always set.
            let Ok(entries) = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>() else { return };
            let call = self.client.delete_message_batch().queue_url(url).set_entries(Some(entries));
            if let Err(error) = once("sqs:DeleteMessage", call.send()).await {
                tracing::warn!(why = error.to_sentence(), "could not delete messages that are done");
            }
        }
    }

    /// Puts a message into the queue. Returns whether it was sent: a function that runs without a queue sends nothing.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the message may have been sent.
    pub async fn send(&self, body: &str) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        let call = self.client.send_message().queue_url(url).message_body(body);
        once("sqs:SendMessage", call.send()).await.map(|_| true)
    }

    /// Puts a message into a group of a FIFO queue. For five minutes, SQS drops another message with the same id.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the message may have been sent.
    pub async fn send_to_group(&self, body: &str, group: &str, id: &str) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        let call = self.client.send_message().queue_url(url).message_body(body);
        let call = call.message_group_id(group).message_deduplication_id(id);
        once("sqs:SendMessage", call.send()).await.map(|_| true)
    }

    /// Puts messages into the queue, each with its delay; a quarter of an hour at most. Returns whether there is a
    /// queue.
    ///
    /// # Errors
    /// If it is not certain that all of them were sent.
    pub async fn send_later(&self, messages: &[(String, Duration)]) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        for batch in messages.chunks(BATCH_MAX) {
            let entries = batch.iter().enumerate().map(|(index, (body, wait))| {
                let delay = (*wait).min(DELAY_MAX).as_secs_f64().round() as i32;
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
                entry.delay_seconds(delay).build()
            });
            // The builder fails only without the two fields that are always set.
            let entries: Vec<_> = entries.flatten().collect();
            let call = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
            let answer = once("sqs:SendMessage", call.send()).await?;
            if let Some(failed) = answer.failed().first() {
                let (code, message) = (failed.code().to_owned(), failed.message().unwrap_or_default().to_owned());
                return Err(CallError::Refused { action: "sqs:SendMessage", code, message });
            }
        }
        Ok(true)
    }

    /// Keeps messages invisible for `taken_for`, again and again after half of that time, as a sign of life. It never
    /// ends by itself.
    pub async fn keep(&self, receipt_handles: Vec<String>, taken_for: Duration) -> Infallible {
        loop {
            let parked = |receipt_handle: &String| Parked { receipt_handle: receipt_handle.clone(), wait: taken_for };
            self.park(&receipt_handles.iter().map(parked).collect::<Vec<_>>()).await;
            tokio::time::sleep(taken_for / 2).await;
        }
    }

    /// Sends a message that is not understood to the dead letters, as it came, with the reason in the attribute
    /// `reason`. A message that leaves no room for its reason loses its end, and the reason says so.
    ///
    /// Returns whether it was sent. Without a queue for it, or if the call fails, the original has to stay.
    pub async fn bury(&self, body: &str, reason: &str) -> bool {
        let Some(url) = &self.dead_letter_url else { return false };
        let mut sent = self.send_letter(url, &Letter::of(body, reason, MESSAGE_SIZE_MAX)).await;
        if body.len() > BEGINNING_LENGTH && sent.as_ref().is_err_and(CallError::is_refused) {
            sent = self.send_letter(url, &Letter::of(body, reason, BEGINNING_LENGTH)).await;
        }
        let sent = sent.inspect_err(|error| tracing::error!(why = error.to_sentence(), "could not bury a message"));
        sent.is_ok()
    }

    async fn send_letter(&self, url: &str, letter: &Letter<'_>) -> Result<(), CallError> {
        let call = self.client.send_message().queue_url(url).message_body(letter.body);
        let attribute = MessageAttributeValue::builder().data_type(STRING).string_value(&letter.reason).build();
        // The builder fails only without the data type.
        let call = attribute.into_iter().fold(call, |call, attribute| call.message_attributes(REASON, attribute));
        once("sqs:SendMessage", call.send()).await.map(drop)
    }
}

/// The data type of a text in an attribute.
const STRING: &str = "String";

/// A dead letter, as far as it fits into a message.
struct Letter<'b> {
    body: &'b str,
    reason: String,
}

impl<'b> Letter<'b> {
    /// Fits a message with its reason into so many bytes. SQS takes every character of a plain text.
    fn of(body: &'b str, reason: &str, size_max: usize) -> Self {
        let reason: String = Plain::of(reason).chars().take(REASON_LENGTH_MAX).collect();
        let room = |reason: &str| size_max.saturating_sub(REASON.len() + STRING.len() + reason.len());
        if body.len() <= room(&reason) {
            return Self { body, reason };
        }
        let reason = format!("{reason} (these are the first bytes of {}: there was no room for more)", body.len());
        let end = body.floor_char_boundary(room(&reason));
        Self { body: body.get(..end).unwrap_or_default(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_fits_with_its_reason_whatever_its_length() {
        let size = |letter: &Letter<'_>| letter.body.len() + REASON.len() + STRING.len() + letter.reason.len();
        let reason = "it is not JSON";
        let whole = MESSAGE_SIZE_MAX - REASON.len() - STRING.len() - reason.len();
        for (length, is_cut) in [(1, false), (whole, false), (whole + 1, true), (MESSAGE_SIZE_MAX, true)] {
            for character in ["x", "€"] {
                let body = character.repeat(length / character.len());
                let letter = Letter::of(&body, reason, MESSAGE_SIZE_MAX);
                assert!(size(&letter) <= MESSAGE_SIZE_MAX && letter.reason.starts_with(reason), "{length} {character}");
                assert_eq!(letter.body.len() < body.len(), is_cut && body.len() > whole, "{length} {character}");
                assert!(letter.body.len() + 200 > body.len(), "no more is lost than has to be");
            }
        }
        let long = Letter::of("x", &"\u{1b}\u{20ac}".repeat(MESSAGE_SIZE_MAX), MESSAGE_SIZE_MAX);
        assert_eq!(long.reason.chars().count(), REASON_LENGTH_MAX);
    }
}

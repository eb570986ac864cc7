//! SQS at the edge: a message is parked until there is a reason to look again, or goes to the dead letters.

use std::{convert::Infallible, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry},
};

use futures::{FutureExt, StreamExt, stream};
use protocol::call_error::CallError;
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::{CALLS_IN_FLIGHT_MAX, call::once},
    config::Config,
};

/// Messages a batch call of SQS takes.
const BATCH_MAX: usize = 10;

/// The shortest that a message is parked: at once, it would come back before its function has answered.
const PARK_MIN: Duration = Duration::from_secs(1);

/// The longest that a message can be parked: 12 hours from its receive, a limit of SQS, less what has passed since then.
const PARK_MAX: Duration = Duration::from_secs(11 * 3600);

/// The longest that SQS delays a new message: "Valid values: 0 to 900" (API reference, SendMessageBatchRequestEntry).
const DELAY_MAX: Duration = Duration::from_secs(900);

/// Characters of a reason: far below the size of a message, and enough to see what is wrong.
const REASON_LENGTH_MAX: usize = 1_000;

/// The queue that events come from, and the one for those that nobody understands.
pub struct Queue {
    client: Client,
    url: Option<String>,
    dead_letter_url: Option<String>,
}

/// A message to be parked.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Of this receive.
    pub receipt_handle: String,
    /// For so long.
    pub wait: Duration,
}

impl Queue {
    /// The queues of a configuration.
    pub fn new(client: Client, config: &Config) -> Self {
        let (url, dead_letter_url) = (config.queue_url.clone(), config.dead_letter_queue_url.clone());
        Self { client, url, dead_letter_url }
    }

    /// The queue of orders, and for those that nobody understands the one of a configuration.
    pub fn of_orders(client: Client, config: &Config) -> Self {
        Self { url: config.order_queue_url.clone(), ..Self::new(client, config) }
    }

    /// The queue of events, of a function that serves another one.
    pub fn of_events(client: Client, config: &Config) -> Self {
        Self { url: config.event_queue_url.clone(), ..Self::new(client, config) }
    }

    /// Whether there is a queue.
    pub fn is_there(&self) -> bool {
        self.url.is_some()
    }

    /// Makes messages invisible. They also have to be reported as not done, or Lambda deletes them.
    ///
    /// Those that shall wait for the same time come back together, however long it takes to park a thousand. Whatever fails here is
    /// only logged: such a message comes back when the queue's own timeout is over, which is early or late, and never wrong.
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
        // The builder asks only for the two fields that are always set.
        let Ok(entries) = entries else { return };
        let call = self.client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
        match once("sqs:ChangeMessageVisibility", call.send()).await {
            Ok(answer) => answer.failed().iter().for_each(|failed| {
                let why = failed.message().unwrap_or_default();
                tracing::warn!(code = failed.code(), why, "could not park a message");
            }),
            Err(error) => tracing::warn!(why = error.to_sentence(), "could not park messages"),
        }
    }

    /// Puts a message into the queue. Says whether it is there: a function that runs without a queue has nowhere to put it.
    ///
    /// # Errors
    /// Where the call fails; not answered, it may be there.
    pub async fn send(&self, body: &str) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        let call = self.client.send_message().queue_url(url).message_body(body);
        once("sqs:SendMessage", call.send()).await.map(|_| true)
    }

    /// Puts a message into a FIFO queue, as one of a group. A second copy is known by the id for five minutes.
    ///
    /// # Errors
    /// Where the call fails; not answered, it may be there.
    pub async fn send_to_group(&self, body: &str, group: &str, id: &str) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        let call = self.client.send_message().queue_url(url).message_body(body);
        let call = call.message_group_id(group).message_deduplication_id(id);
        once("sqs:SendMessage", call.send()).await.map(|_| true)
    }

    /// Puts messages into the queue, each to come so much later; a quarter of an hour at the most.
    ///
    /// # Errors
    /// Where not all of them are there for sure.
    pub async fn send_later(&self, messages: &[(String, Duration)]) -> Result<(), CallError> {
        let Some(url) = &self.url else { return Ok(()) };
        for batch in messages.chunks(BATCH_MAX) {
            let entries = batch.iter().enumerate().map(|(index, (body, wait))| {
                let delay = (*wait).min(DELAY_MAX).as_secs_f64().round() as i32;
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
                entry.delay_seconds(delay).build()
            });
            // The builder asks only for the two fields that are always set.
            let entries: Vec<_> = entries.flatten().collect();
            let call = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
            let answer = once("sqs:SendMessage", call.send()).await?;
            if let Some(failed) = answer.failed().first() {
                let (code, message) = (failed.code().to_owned(), failed.message().unwrap_or_default().to_owned());
                return Err(CallError::Refused { action: "sqs:SendMessage", code, message });
            }
        }
        Ok(())
    }

    /// Keeps messages invisible for so long from now on, again and again in half of that time: a sign of life. It never ends by itself.
    pub async fn keep(&self, receipt_handles: Vec<String>, taken_for: Duration) -> Infallible {
        loop {
            let parked = |receipt_handle: &String| Parked { receipt_handle: receipt_handle.clone(), wait: taken_for };
            self.park(&receipt_handles.iter().map(parked).collect::<Vec<_>>()).await;
            tokio::time::sleep(taken_for / 2).await;
        }
    }

    /// Sends what nobody understands to the dead letters, as it came, with the reason in the attribute `reason`. Says
    /// whether it is there: without a queue for it, or where the call fails, the original has to stay.
    pub async fn bury(&self, body: &str, reason: &str) -> bool {
        let Some(url) = &self.dead_letter_url else { return false };
        let reason: String = reason.chars().filter(|c| is_sendable(*c)).take(REASON_LENGTH_MAX).collect();
        let attribute = MessageAttributeValue::builder().data_type("String").string_value(reason).build();
        // The builder asks only for the data type.
        let Ok(attribute) = attribute else { return false };
        let call = self.client.send_message().queue_url(url).message_body(body).message_attributes("reason", attribute);
        let sent = once("sqs:SendMessage", call.send()).await;
        let sent = sent.inspect_err(|error| tracing::error!(why = error.to_sentence(), "could not bury a message"));
        sent.is_ok()
    }
}

/// Whether a reason may have a character: neither those that SQS refuses a message for ("`#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to
/// #xFFFD | #x10000 to #x10FFFF`", API reference, SendMessage), nor those that spoil a line.
fn is_sendable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

//! SQS at the edge: a message is parked until there is a reason to look again, or goes to the dead letters.

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue},
};

use futures::{FutureExt, StreamExt, stream};
use protocol::call_error::CallError;
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::{CALLS_IN_FLIGHT_MAX, call::call_error},
    config::Config,
};

/// Messages a batch call of SQS takes.
const BATCH_MAX: usize = 10;

/// The shortest that a message is parked: at once, it would come back before its function has answered.
const PARK_MIN: Duration = Duration::from_secs(1);

/// The longest that a message can be parked: 12 hours from its receive, a limit of SQS, less what has passed since then.
const PARK_MAX: Duration = Duration::from_secs(11 * 3600);

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
        match call.send().await {
            Ok(answer) => answer.failed().iter().for_each(|failed| {
                let why = failed.message().unwrap_or_default();
                tracing::warn!(code = failed.code(), why, "could not park a message");
            }),
            Err(error) => {
                let why = call_error("sqs:ChangeMessageVisibility", error).to_sentence();
                tracing::warn!(why, "could not park messages");
            }
        }
    }

    /// Puts a message into the queue. Says whether it is there: a function that runs without a queue has nowhere to put it.
    ///
    /// # Errors
    /// Where the call fails; not answered, it may be there.
    pub async fn send(&self, body: &str) -> Result<bool, CallError> {
        let Some(url) = &self.url else { return Ok(false) };
        let call = self.client.send_message().queue_url(url).message_body(body);
        call.send().await.map(|_| true).map_err(|e| call_error("sqs:SendMessage", e))
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
        match call.send().await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(why = call_error("sqs:SendMessage", error).to_sentence(), "could not bury a message");
                false
            }
        }
    }
}

/// Whether a reason may have a character: neither those that SQS refuses a message for ("`#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to
/// #xFFFD | #x10000 to #x10FFFF`", API reference, SendMessage), nor those that spoil a line.
fn is_sendable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

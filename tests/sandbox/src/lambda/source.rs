//! Event source mappings: how messages of a queue become invocations, and how an answer changes the messages.
//!
//! A mapping looks at its queue when a message becomes visible and when an invocation ends, and never in between.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value, json};

use super::{Chain, Origin, invocation};
use crate::{
    iam,
    sqs::{self, Received},
    wire::ApiError,
    world::{REGION, World},
};

/// The most messages of one look at the queue, as of every receipt.
const MOST_RECEIVED: usize = 10;

/// The most bytes of a batch: an invocation's payload of 6 MB (Lambda guide, "Lambda quotas"). A batch ends at this limit as it
/// does at its size or at its window ("Batching behavior").
const PAYLOAD_MOST: usize = 6 * 1024 * 1024;

/// How long a batch with a window waits that does not fill: "if you're using a batch window and your SQS queue contains very low
/// traffic, Lambda might wait for up to 20 seconds before invoking your function. This is true even if you set a batch window
/// lower than 20 seconds" (Lambda guide, "Using Lambda with Amazon SQS",
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>). A user measured 20 s with a window of 5 s
/// (<https://dev.classmethod.jp/articles/tsnote-lambda-why-is-the-function-executed-20-seconds-after-setting-a-batch-window-when-using-sqs-with-lambda-event-source-mapping>).
/// Here it always takes 20 s, so that no figure flatters.
const UNFILLED_WAITS: Duration = Duration::from_secs(20);

/// The shortest time for which a received message is invisible. A queue's timeout can be set to 0 after it was mapped; a look
/// would then find the same messages for ever.
const LEAST_INVISIBLE: Duration = Duration::from_secs(1);

/// Lambda's actions on a queue in the name of the function's role (Lambda guide, "Using Lambda with Amazon SQS").
const POLLING: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/// A payload without records.
const EMPTY_PAYLOAD: &str = r#"{"Records":[]}"#;

/// The most messages of a batch from a FIFO queue (Lambda guide, "Lambda parameters for Amazon SQS event source mappings",
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>).
const FIFO_BATCH_MOST: usize = 10;

/// The settings of a mapping's batches.
#[derive(Clone, Debug)]
pub struct BatchSettings {
    /// The most messages of a batch.
    pub batch_size: usize,
    /// How long a batch may wait for more messages. With a window, a batch that does not fill waits for 20 s at least; without
    /// one, no batch waits.
    pub window: Duration,
    /// The most invocations that the mapping has under way.
    pub maximum_concurrency: Option<usize>,
    /// `ReportBatchItemFailures`: without it, every answer is a success of all.
    pub report_item_failures: bool,
}

impl Default for BatchSettings {
    /// Returns Lambda's own settings, but with item failures reported.
    fn default() -> Self {
        Self { batch_size: 10, window: Duration::ZERO, maximum_concurrency: None, report_item_failures: true }
    }
}

#[derive(Debug)]
pub(super) struct Mapping {
    queue: String,
    function: String,
    settings: BatchSettings,
    gathered: Vec<Gathered>,
    /// Counts the batches, so that the end of a window knows its own.
    batch: u64,
    /// Whether the window of the gathered messages was over when there was no room for another batch.
    is_overdue: bool,
    in_flight: usize,
}

/// A message that waits for its batch.
#[derive(Debug)]
struct Gathered {
    /// Its id and its receipt handle.
    message: (String, String),
    record: Value,
    /// The bytes of its record in the payload.
    size: usize,
    chain: Chain,
}

impl Mapping {
    /// Returns how long a batch that does not fill waits.
    fn patience(&self) -> Duration {
        if self.settings.window.is_zero() { Duration::ZERO } else { self.settings.window.max(UNFILLED_WAITS) }
    }

    fn has_room(&self) -> bool {
        self.settings.maximum_concurrency.is_none_or(|most| self.in_flight < most)
    }

    /// Returns how many of the gathered messages make the next batch: as many as its payload can have, and at least one.
    fn next_batch(&self) -> usize {
        let mut size = EMPTY_PAYLOAD.len();
        let fits = |gathered: &&Gathered| {
            size += gathered.size + ",".len();
            size <= PAYLOAD_MOST
        };
        self.gathered.iter().take_while(fits).count().max(1).min(self.gathered.len())
    }

    /// Returns whether waiting for more messages is in vain.
    fn is_full(&self) -> bool {
        self.gathered.len() >= self.settings.batch_size || self.next_batch() < self.gathered.len()
    }
}

/// Lets a queue's messages invoke a function.
///
/// # Errors
/// Returns the errors of CreateEventSourceMapping.
pub fn map_queue(world: &mut World, queue: &str, function: &str, settings: BatchSettings) -> Result<(), ApiError> {
    check(world, queue, function, &settings)?;
    for action in POLLING {
        if !is_permitted(world, queue, function, action) {
            let action = action.trim_start_matches("sqs:");
            let message = format!("The provided execution role does not have permissions to call {action} on SQS");
            return Err(ApiError::sender("InvalidParameterValueException", message));
        }
    }
    if is_mapped(world, queue) {
        return Err(ApiError::not_modelled(format!("a second event source mapping of the queue {queue}")));
    }
    let (queue, function) = (queue.to_owned(), function.to_owned());
    let mapping =
        Mapping { queue, function, settings, gathered: Vec::new(), batch: 0, is_overdue: false, in_flight: 0 };
    let waits: Vec<Duration> = world
        .sqs
        .queue(&mapping.queue)
        .into_iter()
        .flat_map(|queue| queue.messages())
        .map(|message| (message.visible_from - world.now()).to_std().unwrap_or_default())
        .collect();
    for wait in waits {
        let queue = mapping.queue.clone();
        world.after(wait, move |world| poll(world, &queue));
    }
    world.lambda.mappings.push(mapping);
    Ok(())
}

/// Refuses what CreateEventSourceMapping refuses.
fn check(world: &World, queue: &str, function: &str, settings: &BatchSettings) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::sender("InvalidParameterValueException", message));
    let Some(timeout) = world.lambda.function(function).map(|spec| spec.timeout) else {
        return Err(ApiError::receiver(404, "ResourceNotFoundException", format!("Function not found: {function}")));
    };
    let Some(visibility) = world.sqs.queue(queue).map(|queue| queue.settings.visibility_timeout) else {
        return refuse(format!("Error occurred while ReceiveMessage. SQS Error Code: QueueDoesNotExist. {queue}"));
    };
    if visibility < timeout {
        let (visibility, timeout) = (visibility.as_secs(), timeout.as_secs());
        return refuse(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        ));
    }
    if !(1..=10_000).contains(&settings.batch_size) || settings.window > Duration::from_secs(300) {
        return refuse("BatchSize must be from 1 to 10000, and MaximumBatchingWindowInSeconds up to 300".to_owned());
    }
    if queue.ends_with(sqs::FIFO_SUFFIX) {
        // In these words: aws-lambda-dotnet pull request 1758.
        if !settings.window.is_zero() {
            return refuse("Batching window is not supported for FIFO queues".to_owned());
        }
        if settings.batch_size > FIFO_BATCH_MOST {
            return refuse(format!("BatchSize of a FIFO queue must be from 1 to {FIFO_BATCH_MOST}"));
        }
    }
    if settings.batch_size > 10 && settings.window < Duration::from_secs(1) {
        return refuse(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
                .to_owned(),
        );
    }
    if settings.maximum_concurrency.is_some_and(|most| !(2..=1_000).contains(&most)) {
        return refuse("MaximumConcurrency must be from 2 to 1000".to_owned());
    }
    Ok(())
}

/// Returns whether a queue has a mapping, which must be told when a message becomes visible.
pub(crate) fn is_mapped(world: &World, queue: &str) -> bool {
    world.lambda.mappings.iter().any(|mapping| mapping.queue == queue)
}

/// Looks for visible messages, as long as there is room for a batch of them.
///
/// A FIFO queue has no more batches under way than message groups, since one in flight blocks its group. A batch can have
/// messages of several groups (Lambda guide, "Configuring scaling behavior for SQS event source mappings",
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>).
pub(crate) fn poll(world: &mut World, queue: &str) {
    while let Some(mapping) = mapping_of(world, queue).filter(|mapping| mapping.has_room()) {
        if mapping.is_overdue || mapping.is_full() {
            let batch = mapping.batch;
            close_batch(world, queue, batch);
            continue;
        }
        let wanted = (mapping.settings.batch_size - mapping.gathered.len()).min(MOST_RECEIVED);
        let (is_first, patience, batch) = (mapping.gathered.is_empty(), mapping.patience(), mapping.batch);
        let function = mapping.function.clone();
        if !is_permitted(world, queue, &function, "sqs:ReceiveMessage")
            || !is_permitted(world, queue, &function, "sqs:GetQueueAttributes")
        {
            return;
        }
        let Some(invisible) = world.sqs.queue(queue).map(|queue| queue.settings.visibility_timeout) else { return };
        let received = sqs::receive(world, queue, wanted, Some(invisible.max(LEAST_INVISIBLE))).unwrap_or_default();
        if received.is_empty() {
            return;
        }
        let Some(mapping) = mapping_of(world, queue) else { return };
        mapping.gathered.extend(received.into_iter().map(|received| gathered(queue, received)));
        if mapping.is_full() || patience.is_zero() {
            close_batch(world, queue, batch);
        } else if is_first {
            close_later(world, queue, patience, batch);
        }
    }
}

/// Looks at the queues of a function after one of its invocations has made room.
pub(super) fn poll_all_of(world: &mut World, function: &str) {
    let mappings = world.lambda.mappings.iter().filter(|mapping| mapping.function == function);
    let queues: Vec<String> = mappings.map(|mapping| mapping.queue.clone()).collect();
    for queue in queues {
        poll(world, &queue);
    }
}

fn close_later(world: &mut World, queue: &str, patience: Duration, batch: u64) {
    let queue = queue.to_owned();
    world.after(patience, move |world| close_batch(world, &queue, batch));
}

/// Invokes the function with the gathered messages, unless that was done already. Messages beyond one payload begin the next
/// batch.
fn close_batch(world: &mut World, queue: &str, batch: u64) {
    let Some(mapping) = mapping_of(world, queue).filter(|mapping| mapping.batch == batch) else { return };
    mapping.is_overdue = !mapping.has_room();
    if mapping.is_overdue {
        return;
    }
    let closed: Vec<Gathered> = mapping.gathered.drain(..mapping.next_batch()).collect();
    mapping.batch += 1;
    mapping.in_flight += 1;
    let (function, patience) = (mapping.function.clone(), mapping.patience());
    if !mapping.gathered.is_empty() {
        close_later(world, queue, patience, batch + 1);
    }
    let chain = Chain::of_batch(closed.iter().map(|one| &one.chain));
    let is_loop = chain.is_loop_of(&function) && world.lambda.function(&function).is_some_and(|spec| !spec.may_loop);
    let chain = chain.with(&function);
    let (messages, records): (Vec<_>, Vec<_>) = closed.into_iter().map(|one| (one.message, one.record)).unzip();
    let origin = Origin::Queue { queue: queue.to_owned(), messages, chain };
    let has_begun = match is_loop {
        true => {
            world.lambda.dropped.push(function);
            false
        }
        false => invocation::begin(world, &function, json!({ "Records": records }), origin, None).is_ok(),
    };
    // Throttled, or stopped as a loop: the messages come back after their visibility timeout, with one more receipt on their count. If
    // a reserved concurrency is smaller than the mapping wants, this leads to the dead-letter queue, as at AWS, and so does a loop.
    if let (false, Some(mapping)) = (has_begun, mapping_of(world, queue)) {
        mapping.in_flight -= 1;
    }
}

/// Deletes the messages that succeeded. The others stay as invisible as they are: until the end of the queue's timeout, or until
/// the time that the function has chosen for them.
pub(super) fn settle(world: &mut World, queue: &str, messages: &[(String, String)], result: &Result<Value, Value>) {
    let Some(mapping) = mapping_of(world, queue) else { return };
    mapping.in_flight -= 1;
    let failed = match result {
        Err(_) => return,
        Ok(_) if !mapping.settings.report_item_failures => BTreeSet::new(),
        Ok(answer) => match failures(answer, messages) {
            Some(failed) => failed,
            None => return,
        },
    };
    let done = messages.iter().filter(|(id, _)| !failed.contains(id.as_str()));
    let done: Vec<&str> = done.map(|(_, receipt_handle)| receipt_handle.as_str()).collect();
    let function = mapping.function.clone();
    if done.is_empty() || !is_permitted(world, queue, &function, "sqs:DeleteMessage") {
        return;
    }
    for receipt_handle in done {
        // If the queue is gone, so is the message.
        let _ = sqs::delete(world, queue, receipt_handle);
    }
}

/// Returns the ids that an answer names as failed; `None` if it makes no sense, which counts as a failure of all (Lambda guide,
/// "Reporting batch item failures": success and failure conditions).
fn failures<'a>(answer: &'a Value, messages: &[(String, String)]) -> Option<BTreeSet<&'a str>> {
    let items = match answer {
        Value::Null => return Some(BTreeSet::new()),
        Value::Object(fields) => fields.get("batchItemFailures").unwrap_or(&Value::Null),
        _ => return None,
    };
    match items {
        Value::Null => Some(BTreeSet::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| item["itemIdentifier"].as_str())
            .map(|id| id.filter(|id| messages.iter().any(|(known, _)| known == id)))
            .collect(),
        _ => None,
    }
}

fn gathered(queue: &str, received: Received) -> Gathered {
    let record = record(queue, &received);
    let size = record.to_string().len();
    let chain = received.message.chain;
    Gathered { message: (received.message.id, received.receipt_handle), record, size, chain }
}

/// Returns a message as a function gets it: one of the `Records` of an event.
pub fn record(queue: &str, received: &Received) -> Value {
    let message = &received.message;
    let attributes = message.attributes.iter().map(|(name, attribute)| {
        let mut value = sqs::attribute_json(attribute, false);
        value["stringListValues"] = json!([]);
        value["binaryListValues"] = json!([]);
        (name.clone(), value)
    });
    json!({
        "messageId": message.id,
        "receiptHandle": received.receipt_handle,
        "body": message.body,
        "attributes": message.system_attributes(),
        "messageAttributes": attributes.collect::<Map<_, _>>(),
        "md5OfBody": sqs::md5_of_text(&message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": sqs::arn(queue),
        "awsRegion": REGION,
    })
}

/// Returns whether a function's role lets Lambda do this to the queue.
fn is_permitted(world: &mut World, queue: &str, function: &str, action: &str) -> bool {
    let role = world.lambda.function(function).and_then(|spec| spec.role.clone());
    iam::role_may(world, role.as_deref(), action, &sqs::arn(queue))
}

fn mapping_of<'a>(world: &'a mut World, queue: &str) -> Option<&'a mut Mapping> {
    world.lambda.mappings.iter_mut().find(|mapping| mapping.queue == queue)
}

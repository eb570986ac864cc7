//! SQS's operations (`awsJson1.0`, API 2012-11-05).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Attribute, Draft, Message, Received, arn, change_visibility, create_queue, delete, digest, fifo, no_such_queue,
    queue::invalid, receive, send, set_attributes,
};
use crate::{
    lambda,
    wire::{Answer, ApiError, Request},
    world::{ACCOUNT, World},
};

/// The most entries of a batch call, and messages of a receipt.
const MOST_ENTRIES: usize = 10;

/// Does a call's work.
pub fn answer(world: &mut World, request: &Request) -> Result<Answer, ApiError> {
    let value = match request.action.as_str() {
        "CreateQueue" => create(world, request),
        "DeleteQueue" => delete_queue(world, request),
        "GetQueueUrl" => queue_url(world, request),
        "ListQueues" => list_queues(world, request),
        "GetQueueAttributes" => queue_attributes(world, request),
        "SetQueueAttributes" => {
            let input: SetQueueAttributes = request.read()?;
            let queue = input.queue_url.name(world)?;
            set_attributes(world, &queue, &pairs(&input.attributes)).map(|()| Value::Null)
        }
        "SendMessage" => {
            let input: SendMessage = request.read()?;
            let queue = input.queue_url.name(world)?;
            enter(world, &queue, input.message, &request.access_key)
        }
        "ReceiveMessage" => receive_messages(world, request),
        "DeleteMessage" => {
            let input: ReceiptInput = request.read()?;
            let queue = input.queue_url.name(world)?;
            delete(world, &queue, &input.receipt_handle).map(|()| Value::Null)
        }
        "ChangeMessageVisibility" => {
            let input: ChangeMessageVisibility = request.read()?;
            let queue = input.queue_url.name(world)?;
            change_visibility(world, &queue, &input.receipt_handle, input.visibility_timeout).map(|()| Value::Null)
        }
        "SendMessageBatch" => batch(world, request, |world, queue, entry: SendEntry| {
            let message = enter(world, queue, entry.message, &request.access_key);
            (entry.id, message)
        }),
        "DeleteMessageBatch" => batch(world, request, |world, queue, entry: ReceiptEntry| {
            (entry.id, delete(world, queue, &entry.receipt_handle).map(|()| json!({})))
        }),
        "ChangeMessageVisibilityBatch" => batch(world, request, |world, queue, entry: ReceiptEntry| {
            let seconds = entry.visibility_timeout.unwrap_or_default();
            (entry.id, change_visibility(world, queue, &entry.receipt_handle, seconds).map(|()| json!({})))
        }),
        "PurgeQueue" => {
            let input: QueueInput = request.read()?;
            let queue = input.queue_url.name(world)?;
            let found = world.sqs.find(&queue)?;
            if found.settings.fifo.is_some() {
                // It is not known whether the deduplication ids are forgotten then.
                return Err(ApiError::not_modelled("PurgeQueue of a FIFO queue"));
            }
            found.messages.clear();
            Ok(Value::Null)
        }
        action => Err(ApiError::not_modelled(format!("the operation {action} of SQS"))),
    };
    value.map(Answer::Json)
}

/// `http://any.host/ACCOUNT/NAME`: the host in a client's URL does not matter.
#[derive(Deserialize)]
#[serde(transparent)]
struct QueueUrl(String);

impl QueueUrl {
    fn name(&self, world: &World) -> Result<String, ApiError> {
        let (rest, name) = self.0.rsplit_once('/').ok_or_else(no_such_queue)?;
        let is_ours = rest.rsplit_once('/').is_some_and(|(_, account)| account == ACCOUNT);
        if !is_ours || world.sqs.queue(name).is_none() {
            return Err(no_such_queue());
        }
        Ok(name.to_owned())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueueInput {
    queue_url: QueueUrl,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

fn create(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: CreateQueue = request.read()?;
    create_queue(world, &input.queue_name, &pairs(&input.attributes))?;
    Ok(json!({ "QueueUrl": url(request, &input.queue_name) }))
}

fn delete_queue(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let queue = request.read::<QueueInput>()?.queue_url.name(world)?;
    let now = world.now();
    world.sqs.queues.remove(&queue);
    world.sqs.deleted.insert(queue, now);
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueUrl {
    queue_name: String,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

fn queue_url(world: &World, request: &Request) -> Result<Value, ApiError> {
    let input: GetQueueUrl = request.read()?;
    if input.owner.is_some_and(|owner| owner != ACCOUNT) || world.sqs.queue(&input.queue_name).is_none() {
        return Err(no_such_queue());
    }
    Ok(json!({ "QueueUrl": url(request, &input.queue_name) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListQueues {
    #[serde(default)]
    queue_name_prefix: String,
    /// One page holds 1,000, more than a test has.
    #[serde(rename = "MaxResults")]
    _max_results: Option<u32>,
}

fn list_queues(world: &World, request: &Request) -> Result<Value, ApiError> {
    let input: ListQueues = request.read()?;
    let names = world.sqs.queues().map(|queue| &queue.name).filter(|name| name.starts_with(&input.queue_name_prefix));
    let urls: Vec<String> = names.map(|name| url(request, name)).collect();
    Ok(if urls.is_empty() { json!({}) } else { json!({ "QueueUrls": urls }) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueAttributes {
    queue_url: QueueUrl,
    #[serde(default)]
    attribute_names: Vec<String>,
}

fn queue_attributes(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: GetQueueAttributes = request.read()?;
    let (name, now) = (input.queue_url.name(world)?, world.now());
    let queue = world.sqs.find(&name)?;
    queue.expire(now);
    let (visible, in_flight, delayed) = queue.counts(now);
    let mut all = queue.settings.texts();
    for (name, value) in [
        ("QueueArn", arn(&name)),
        ("ApproximateNumberOfMessages", visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
        ("CreatedTimestamp", queue.created.timestamp().to_string()),
        ("LastModifiedTimestamp", queue.modified.timestamp().to_string()),
    ] {
        all.insert(name.to_owned(), value);
    }
    if input.attribute_names.iter().any(|name| name == "All") {
        return Ok(json!({ "Attributes": all }));
    }
    let known = |name: &String| match all.get(name) {
        Some(value) => Ok(Some((name.clone(), Value::from(value.as_str())))),
        // A known attribute that is not set is left out.
        None if super::Settings::default().set(name, "").is_err_and(|e| e.code == "InvalidAttributeName") => {
            Err(ApiError::sender("InvalidAttributeName", format!("Unknown Attribute {name}.")))
        }
        None => Ok(None),
    };
    let chosen: Result<Vec<_>, ApiError> = input.attribute_names.iter().map(known).collect();
    let chosen: Map<String, Value> = chosen?.into_iter().flatten().collect();
    Ok(if chosen.is_empty() { json!({}) } else { json!({ "Attributes": chosen }) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SetQueueAttributes {
    queue_url: QueueUrl,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    queue_url: QueueUrl,
    #[serde(flatten)]
    message: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEntry {
    id: String,
    #[serde(flatten)]
    message: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    message_body: String,
    delay_seconds: Option<i64>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
    #[serde(default)]
    message_attributes: BTreeMap<String, AttributeInput>,
    /// serde cannot refuse unknown fields beside a flattened structure, so this module refuses them itself.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AttributeInput {
    data_type: String,
    string_value: String,
}

fn enter(world: &mut World, queue: &str, body: Body, sender: &str) -> Result<Value, ApiError> {
    // The enclosing structure has read the URL and the id already.
    if let Some(field) = body.unknown.keys().find(|key| *key != "QueueUrl" && *key != "Id") {
        return Err(ApiError::not_modelled(format!("the parameter {field} of SendMessage")));
    }
    let delay = match body.delay_seconds {
        None => None,
        Some(seconds @ 0..=900) => Some(Duration::from_secs(seconds.unsigned_abs())),
        Some(seconds) => return Err(invalid(seconds, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900")),
    };
    let attributes: BTreeMap<String, Attribute> = body
        .message_attributes
        .into_iter()
        .map(|(name, a)| (name, Attribute { data_type: a.data_type, value: a.string_value }))
        .collect();
    let mut answer = json!({ "MD5OfMessageBody": digest::of_text(&body.message_body) });
    if let Some(sum) = digest::of_attributes(&attributes) {
        answer["MD5OfMessageAttributes"] = sum.into();
    }
    let draft = Draft {
        body: body.message_body,
        attributes,
        delay,
        group: body.message_group_id,
        deduplication_id: body.message_deduplication_id,
        sender: sender.to_owned(),
        chain: lambda::chain_of_caller(world, sender),
    };
    let sent = send(world, queue, draft)?;
    answer["MessageId"] = sent.message_id.into();
    if let Some(number) = sent.sequence_number {
        answer["SequenceNumber"] = number.into();
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiveMessage {
    queue_url: QueueUrl,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
}

/// Receives messages. An empty queue answers at once, as SQS does when the wait is over: a caller cannot tell, and a test does
/// not wait.
fn receive_messages(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: ReceiveMessage = request.read()?;
    let most = input.max_number_of_messages.unwrap_or(1);
    if !(1..=MOST_ENTRIES).contains(&most) {
        return Err(invalid(most, "MaxNumberOfMessages", "Must be between 1 and 10, if provided."));
    }
    if let Some(seconds) = input.wait_time_seconds.filter(|seconds| !(0..=20).contains(seconds)) {
        return Err(invalid(seconds, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided."));
    }
    let invisible = match input.visibility_timeout {
        None => None,
        Some(seconds @ 0..=43_200) => Some(Duration::from_secs(seconds.unsigned_abs())),
        Some(seconds) => {
            let reason = "VisibilityTimeout must be an integer between 0 and 43200.";
            return Err(invalid(seconds, "VisibilityTimeout", reason));
        }
    };
    let queue = input.queue_url.name(world)?;
    let system: Vec<String> =
        input.attribute_names.iter().chain(&input.message_system_attribute_names).cloned().collect();
    let received = receive(world, &queue, most, invisible)?;
    let messages: Vec<Value> =
        received.iter().map(|r| message_json(r, &system, &input.message_attribute_names)).collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

fn message_json(received: &Received, system: &[String], names: &[String]) -> Value {
    let message = &received.message;
    let mut value = json!({
        "MessageId": message.id,
        "ReceiptHandle": received.receipt_handle,
        "MD5OfBody": digest::of_text(&message.body),
        "Body": message.body,
    });
    let wanted = |name: &str| system.iter().any(|asked| asked == "All" || asked == name);
    let attributes: Map<String, Value> =
        message.system_attributes().into_iter().filter(|(name, _)| wanted(name)).map(|(k, v)| (k, v.into())).collect();
    if !attributes.is_empty() {
        value["Attributes"] = attributes.into();
    }
    let wanted = |name: &String| {
        names.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(start) => name.starts_with(start),
            None => asked == "All" || asked == name,
        })
    };
    // The sum is over the attributes that are handed out, not over those that were sent.
    let shown: BTreeMap<String, Attribute> =
        message.attributes.iter().filter(|(name, _)| wanted(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Some(sum) = digest::of_attributes(&shown) {
        value["MD5OfMessageAttributes"] = sum.into();
        let shown: Map<String, Value> = shown.iter().map(|(name, a)| (name.clone(), attribute_json(a, true))).collect();
        value["MessageAttributes"] = shown.into();
    }
    value
}

/// Returns an attribute in the API's form (`StringValue`) or in that of Lambda's events (`stringValue`).
pub(crate) fn attribute_json(attribute: &Attribute, api: bool) -> Value {
    let (value, data_type) = if api { ("StringValue", "DataType") } else { ("stringValue", "dataType") };
    json!({ value: attribute.value, data_type: attribute.data_type })
}

impl Message {
    /// Returns SQS's own attributes of a message, as texts.
    pub(crate) fn system_attributes(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([
            ("SenderId".to_owned(), self.sender.clone()),
            ("SentTimestamp".to_owned(), self.sent.timestamp_millis().to_string()),
            ("ApproximateReceiveCount".to_owned(), self.receive_count.to_string()),
        ]);
        if let Some(first) = self.first_received {
            all.insert("ApproximateFirstReceiveTimestamp".to_owned(), first.timestamp_millis().to_string());
        }
        if let Some(source) = &self.dead_letter_source {
            all.insert("DeadLetterQueueSourceArn".to_owned(), source.clone());
        }
        if let Some(place) = &self.place {
            all.insert("MessageGroupId".to_owned(), place.group.clone());
            all.insert("MessageDeduplicationId".to_owned(), place.deduplication_id.clone());
            all.insert("SequenceNumber".to_owned(), fifo::sequence_number(self.number));
        }
        all
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiptInput {
    queue_url: QueueUrl,
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ChangeMessageVisibility {
    queue_url: QueueUrl,
    receipt_handle: String,
    visibility_timeout: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiptEntry {
    id: String,
    receipt_handle: String,
    visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Batch {
    queue_url: QueueUrl,
    entries: Vec<Value>,
}

/// Serves a batch call. A malformed one is refused as a whole; otherwise each entry succeeds or fails alone.
fn batch<E: serde::de::DeserializeOwned>(
    world: &mut World,
    request: &Request,
    each: impl Fn(&mut World, &str, E) -> (String, Result<Value, ApiError>),
) -> Result<Value, ApiError> {
    let input: Batch = request.read()?;
    let queue = input.queue_url.name(world)?;
    check_batch(&input.entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in input.entries {
        let entry = serde_json::from_value(entry)
            .map_err(|e| ApiError::not_modelled(format!("an entry of {}: {e}", request.action)))?;
        match each(world, &queue, entry) {
            (id, Ok(mut value)) => {
                value["Id"] = id.into();
                successful.push(value);
            }
            (_, Err(error)) if error.status == 501 => return Err(error),
            (id, Err(error)) => failed.push(json!({
                "Id": id, "SenderFault": error.status < 500, "Code": error.code, "Message": error.message,
            })),
        }
    }
    // An empty list is left out, as SQS does.
    let lists = [("Successful", successful), ("Failed", failed)];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    Ok(Value::Object(lists.map(|(name, list)| (name.to_owned(), list.into())).collect()))
}

fn check_batch(entries: &[Value]) -> Result<(), ApiError> {
    if entries.is_empty() {
        let message = "There should be at least one entry in the request.";
        return Err(ApiError::sender("EmptyBatchRequest", message));
    }
    if entries.len() > MOST_ENTRIES {
        let message = format!("Maximum number of entries per request are 10. You have sent {}.", entries.len());
        return Err(ApiError::sender("TooManyEntriesInBatchRequest", message));
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 80 || !id.chars().all(is_allowed) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return Err(ApiError::sender("InvalidBatchEntryId", message));
        }
        if !seen.insert(id) {
            return Err(ApiError::sender("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

fn pairs(attributes: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn url(request: &Request, name: &str) -> String {
    format!("http://{}/{ACCOUNT}/{name}", request.host)
}

//! A payload with `Records`: a batch of this function's own queue, with its answer, or a batch of another service, which is refused by name.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use chrono::DateTime;
use protocol::{event::NotUnderstood, time::Timestamp};
use serde_json::Value;

/// A payload, by its records.
#[derive(Debug)]
pub(super) enum Records {
    /// It has none: it is a bare event.
    None,
    /// A batch of an SQS queue.
    Sqs(Vec<SqsMessage>),
}

impl Records {
    /// Reads the records of a payload. `takes` says what the function takes.
    ///
    /// # Errors
    /// Fails if they are of another service than SQS. An answer without an error would lose them.
    pub(super) fn of(payload: &Value, takes: &'static str) -> Result<Self, NotUnderstood> {
        let Some(records) = payload.get("Records") else { return Ok(Self::None) };
        let records = records.as_array().map(Vec::as_slice).unwrap_or_default();
        // SQS, S3 and Kinesis write `eventSource`, SNS `EventSource`.
        let origins = records.iter().map(|record| {
            let origin = record.get("eventSource").or_else(|| record.get("EventSource"));
            origin.and_then(Value::as_str)
        });
        let other = origins.into_iter().find(|origin| *origin != Some("aws:sqs"));
        if let Some(origin) = other.or_else(|| records.is_empty().then_some(None)) {
            let origin =
                origin.map_or("that do not say which service they are of".to_owned(), |name| format!("of {name}"));
            return Err(NotUnderstood::OtherRecords { origin, takes });
        }
        Ok(Self::Sqs(records.iter().map(message).collect()))
    }
}

/// Returns when the queue got a message, by SQS's own clock. No sender can choose it
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>, `SentTimestamp`).
pub(super) fn sent_at(message: &SqsMessage) -> Option<Timestamp> {
    let milliseconds = message.attributes.get("SentTimestamp")?.parse().ok()?;
    DateTime::from_timestamp_millis(milliseconds)
}

/// Returns the message group of a message, which only messages of a FIFO queue have
/// (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>, "Example Amazon SQS message event (FIFO queue)").
pub(super) fn message_group(message: &SqsMessage) -> Option<&str> {
    message.attributes.get("MessageGroupId").map(String::as_str)
}

/// Returns the answer to a batch of SQS: the ids of the messages that come again. Without an id, Lambda takes the whole batch for failed, which is
/// right if it is not known which message failed.
pub(super) fn answer(failed: impl IntoIterator<Item = Option<String>>) -> Value {
    let failure = |id: Option<String>| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id.unwrap_or_default();
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    serde_json::to_value(response).unwrap_or_default()
}

/// Reads one record. A record in another form than the documented one is a message with all of it as its body, so that it spoils no other.
fn message(record: &Value) -> SqsMessage {
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    serde_json::from_value(record.clone()).unwrap_or_else(|_| {
        let mut message = SqsMessage::default();
        message.message_id = text("messageId");
        message.receipt_handle = text("receiptHandle");
        message.body = Some(record.to_string());
        message
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_of_another_service_are_refused_by_its_name() {
        for (records, origin) in [
            (json!([{ "EventSource": "aws:sns", "Sns": { "Message": "{}" } }]), "of aws:sns"),
            (json!([{ "eventSource": "aws:s3", "s3": {} }]), "of aws:s3"),
            (json!([{ "eventSource": "aws:kinesis", "kinesis": { "data": "" } }]), "of aws:kinesis"),
            (json!([{ "eventSource": "aws:sqs", "body": "" }, { "eventSource": "aws:s3" }]), "of aws:s3"),
            (json!([{ "body": "{}" }]), "that do not say"),
            (json!([]), "that do not say"),
            (json!("x"), "that do not say"),
        ] {
            let error =
                Records::of(&json!({ "Records": records }), "It takes others").expect_err("a refusal").to_string();
            assert!(error.contains(&format!("records {origin}")) && error.contains("It takes others"), "{error}");
        }
    }

    #[test]
    fn a_batch_of_sqs_is_taken_apart_and_an_event_is_none() {
        let batch = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "1", "body": "{}" }] });
        assert!(matches!(Records::of(&batch, ""), Ok(Records::Sqs(messages)) if messages.len() == 1));
        assert!(matches!(Records::of(&json!({ "source": "aws.ec2" }), ""), Ok(Records::None)));
        let odd = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "2", "body": 7 }] });
        let Ok(Records::Sqs(messages)) = Records::of(&odd, "") else { panic!("a batch") };
        assert_eq!(messages[0].message_id.as_deref(), Some("2"), "one odd record fails alone");
    }
}

//! A payload with `Records`: a batch of this function's own queue, or one of another service, which is refused by its name.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use protocol::event::NotUnderstood;
use serde_json::Value;

/// What a payload is, by its records.
#[derive(Debug)]
pub(super) enum Records {
    /// It has none: it is an event by itself.
    None,
    /// A batch of an SQS queue.
    Sqs(Vec<SqsMessage>),
}

impl Records {
    /// Reads the records of a payload. `takes` says what the function takes.
    ///
    /// # Errors
    /// If they are of another service than SQS. An answer without an error would lose them.
    pub(super) fn of(payload: &Value, takes: &'static str) -> Result<Self, NotUnderstood> {
        let Some(records) = payload.get("Records") else { return Ok(Self::None) };
        let records = records.as_array().map(Vec::as_slice).unwrap_or_default();
        // SQS, S3 and Kinesis write `eventSource`, SNS `EventSource`.
        let origin = |record: &Value| {
            let origin = record.get("eventSource").or_else(|| record.get("EventSource"));
            origin.and_then(Value::as_str).unwrap_or("an unknown service").to_owned()
        };
        let other = records.iter().map(origin).find(|origin| origin != "aws:sqs");
        if let Some(origin) = other.or_else(|| records.is_empty().then(|| "an unknown service".to_owned())) {
            return Err(NotUnderstood::OtherRecords { origin, takes });
        }
        let batch: SqsEvent = serde_json::from_value(payload.clone()).map_err(|_| NotUnderstood::NotAnEvent {
            why: "it is a batch of SQS in a form that AWS does not document".to_owned(),
            takes,
        })?;
        Ok(Self::Sqs(batch.records))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_of_another_service_are_refused_by_its_name() {
        for (records, origin) in [
            (json!([{ "EventSource": "aws:sns", "Sns": { "Message": "{}" } }]), "aws:sns"),
            (json!([{ "eventSource": "aws:s3", "s3": {} }]), "aws:s3"),
            (json!([{ "eventSource": "aws:kinesis", "kinesis": { "data": "" } }]), "aws:kinesis"),
            (json!([{ "eventSource": "aws:sqs", "body": "" }, { "eventSource": "aws:s3" }]), "aws:s3"),
            (json!([{ "body": "{}" }]), "an unknown service"),
            (json!([]), "an unknown service"),
            (json!("x"), "an unknown service"),
        ] {
            let error =
                Records::of(&json!({ "Records": records }), "It takes others").expect_err("a refusal").to_string();
            assert!(error.contains(&format!("records of {origin}")) && error.contains("It takes others"), "{error}");
        }
    }

    #[test]
    fn a_batch_of_sqs_is_taken_apart_and_an_event_is_none() {
        let batch = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "1", "body": "{}" }] });
        assert!(matches!(Records::of(&batch, ""), Ok(Records::Sqs(messages)) if messages.len() == 1));
        assert!(matches!(Records::of(&json!({ "source": "aws.ec2" }), ""), Ok(Records::None)));
        let odd = json!({ "Records": [{ "eventSource": "aws:sqs", "body": 7 }] });
        assert!(matches!(Records::of(&odd, ""), Err(NotUnderstood::NotAnEvent { .. })));
    }
}

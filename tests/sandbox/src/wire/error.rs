//! Errors as AWS words them, in the form of each protocol.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::{Service, response, xml::Element};

/// A refusal of a call: nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The code that clients match on.
    pub code: String,
    /// The sentence for people.
    pub message: String,
}

impl ApiError {
    /// Returns an error of the caller (400).
    pub fn sender(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    /// Returns an error of the service.
    pub fn receiver(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// Returns the error for something that the sandbox does not simulate: it fails loudly, and never guesses. The SDK does not
    /// retry status 501.
    pub fn not_modelled(what: impl std::fmt::Display) -> Self {
        Self { status: 501, code: "NotModelledBySandbox".into(), message: format!("the sandbox does not model {what}") }
    }

    /// Returns the rate limit of Elastic Load Balancing and Auto Scaling; EC2 has its own code.
    pub fn throttled(service: Service) -> Self {
        match service {
            Service::Ec2 => Self::receiver(503, "RequestLimitExceeded", "Request limit exceeded."),
            _ => Self::sender("Throttling", "Rate exceeded"),
        }
    }

    pub(super) fn encode(&self, service: Service, request_id: &str) -> http::Response<Bytes> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if self.status < 500 { "Sender" } else { "Receiver" };
        match service {
            Service::Lambda => {
                // `restJson1`: the code is in a header.
                let body = json!({ "Type": "User", "Message": self.message });
                let mut response = response(status, service.content_type(), request_id, body.to_string());
                if let Ok(code) = HeaderValue::from_str(&self.code) {
                    response.headers_mut().insert("x-amzn-errortype", code);
                }
                response
            }
            Service::Sqs | Service::Events | Service::Tagging | Service::Quotas => {
                let prefix = if service == Service::Sqs { "com.amazonaws.sqs#" } else { "" };
                let body = json!({ "__type": format!("{prefix}{}", self.code), "message": self.message });
                let mut response = response(status, service.content_type(), request_id, body.to_string());
                // SQS still tells the code of its former query protocol, which the SDKs prefer.
                if service == Service::Sqs {
                    let code = sqs_query_code(&self.code);
                    if let Ok(value) = HeaderValue::from_str(&format!("{code};{kind}")) {
                        response.headers_mut().insert("x-amzn-query-error", value);
                    }
                }
                response
            }
            Service::Ec2 => {
                let error = Element::new("Error").text("Code", &self.code).text("Message", &self.message);
                let root =
                    Element::new("Response").child(Element::new("Errors").child(error)).text("RequestID", request_id);
                response(status, service.content_type(), request_id, root.render())
            }
            Service::Elb | Service::ElbV2 | Service::AutoScaling | Service::Sts | Service::CloudFormation => {
                let error =
                    Element::new("Error").text("Type", kind).text("Code", &self.code).text("Message", &self.message);
                let root = Element::new("ErrorResponse").child(error).text("RequestId", request_id);
                response(status, service.content_type(), request_id, root.render())
            }
        }
    }
}

/// Returns the query protocol's name of a shape of SQS's JSON protocol (the model's `awsQueryError` traits).
fn sqs_query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".into(),
        "QueueNameExists" => "QueueAlreadyExists".into(),
        "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "EmptyBatchRequest"
        | "InvalidBatchEntryId"
        | "MessageNotInflight"
        | "PurgeQueueInProgress"
        | "QueueDeletedRecently"
        | "TooManyEntriesInBatchRequest"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        other => other.into(),
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}

//! The log of every call that reached the sandbox, for tests that count them and for people who watch.

use crate::{
    clock::Timestamp,
    wire::{Body, Request, Service},
};

/// One call: its caller, its operation, its time and its outcome.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its place in the order of all calls, from 1.
    pub number: u64,
    /// When it reached AWS.
    pub at: Timestamp,
    /// Access key id of the caller.
    pub access_key: String,
    /// The service called.
    pub service: Service,
    /// The operation, such as `RegisterTargets`.
    pub action: String,
    /// Its parameters, flat and in order: form fields, or the JSON document as one.
    pub parameters: Vec<(String, String)>,
    /// `Ok` or the error's code; `None` while it is under way, and for ever if the caller died before the answer.
    pub outcome: Option<Result<(), String>>,
}

impl Call {
    pub(crate) fn new(number: u64, at: Timestamp, request: &Request) -> Self {
        let parameters = match &request.body {
            Body::Query(params) => params.fields().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            Body::Json(value) => vec![("json".to_owned(), value.to_string())],
        };
        let (access_key, action) = (request.access_key.clone(), request.action.clone());
        Self { number, at, access_key, service: request.service, action, parameters, outcome: None }
    }

    /// `Service:Action`, as IAM writes it.
    pub fn iam_action(&self) -> String {
        format!("{}:{}", self.service.iam_prefix(), self.action)
    }

    /// Returns whether any parameter has this value.
    pub fn mentions(&self, value: &str) -> bool {
        self.parameters.iter().any(|(_, v)| v == value)
    }
}

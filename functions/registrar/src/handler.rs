//! The function `instance-state`: an SQS batch of EventBridge events, or one bare event, is converged together and answered.

use std::{panic::AssertUnwindSafe, sync::Arc};

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::FutureExt;
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::Value;
use thiserror::Error;

use crate::{
    config::Config,
    converge::{Converged, Outcome, Registrar},
    error::CallError,
    notice::{NotUnderstood, Notice, Place},
    queue::{Parked, Queue},
    report::Report,
};

/// Everything that outlives an invocation.
#[derive(Clone)]
pub struct InstanceState {
    registrar: Arc<Registrar>,
    queue: Arc<Queue>,
}

/// One record of a batch, with what came of its reading.
struct Record {
    message: SqsMessage,
    notice: Result<Notice, NotUnderstood>,
}

impl InstanceState {
    /// The function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let registrar = Arc::new(Registrar::new(sdk, config.mode, config.scope));
        Self { registrar, queue: Arc::new(Queue::new(sdk, config)) }
    }

    /// Answers one invocation: a batch from SQS with the records that failed, a bare event with the report.
    ///
    /// # Errors
    /// For a bare event only: where it is not understood, or not everything could be done. Lambda then retries it.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let place = self.place(&event.context);
        match batch_of(&event.payload) {
            Some(batch) => Ok(self.batch(batch, &place).await),
            None => self.bare(&event.payload, &place).await,
        }
    }

    fn place(&self, context: &Context) -> Place {
        Place::of_function(&context.invoked_function_arn, self.registrar.region())
    }

    async fn bare(&self, event: &Value, place: &Place) -> Result<Value, Failure> {
        let notice = Notice::of_event(&event.to_string(), place)?;
        let Converged { report, outcomes } = self.registrar.converge(std::slice::from_ref(&notice)).await?;
        log(&report);
        match outcomes.contains(&Outcome::Failed) {
            true => Err(Failure::Incomplete(Box::new(report))),
            false => Ok(serde_json::to_value(report).unwrap_or_default()),
        }
    }

    async fn batch(&self, batch: SqsEvent, place: &Place) -> Value {
        let records: Vec<Record> = batch
            .records
            .into_iter()
            .map(|message| {
                let notice = Notice::of_event(message.body.as_deref().unwrap_or_default(), place);
                Record { message, notice }
            })
            .collect();
        let mut failed: Vec<&Record> = Vec::new();
        let mut understood = Vec::new();
        for record in &records {
            match &record.notice {
                Ok(notice) => understood.push((record, notice.clone())),
                Err(reason) => {
                    if !self.bury(record, reason).await {
                        failed.push(record);
                    }
                }
            }
        }
        let mut parked = Vec::new();
        for (record, outcome) in self.converge(understood).await {
            match outcome {
                Outcome::Done => {}
                Outcome::Failed => failed.push(record),
                Outcome::Later(wait) => {
                    failed.push(record);
                    parked.extend(
                        record.message.receipt_handle.clone().map(|receipt_handle| Parked { receipt_handle, wait }),
                    );
                }
            }
        }
        self.queue.park(&parked).await;
        serde_json::to_value(response(&failed)).unwrap_or_default()
    }

    async fn bury(&self, record: &Record, reason: &NotUnderstood) -> bool {
        let id = record.message.message_id.as_deref().unwrap_or_default();
        tracing::error!(message = id, why = %reason, "event not understood");
        self.queue.bury(record.message.body.as_deref().unwrap_or_default(), &reason.to_string()).await
    }

    /// Converges a batch together. Should that panic, each record alone: then the one that is to blame spares the others.
    async fn converge<'r>(&self, records: Vec<(&'r Record, Notice)>) -> Vec<(&'r Record, Outcome)> {
        if records.is_empty() {
            return Vec::new();
        }
        if let Some(outcomes) = self.converge_or_panic(&records).await {
            return outcomes;
        }
        let mut outcomes = Vec::new();
        for record in records {
            let alone = [record];
            let outcome = self.converge_or_panic(&alone).await;
            outcomes.extend(outcome.unwrap_or_else(|| vec![(alone[0].0, Outcome::Failed)]));
        }
        outcomes
    }

    async fn converge_or_panic<'r>(&self, records: &[(&'r Record, Notice)]) -> Option<Vec<(&'r Record, Outcome)>> {
        let notices: Vec<Notice> = records.iter().map(|(_, notice)| notice.clone()).collect();
        let outcomes = match AssertUnwindSafe(self.registrar.converge(&notices)).catch_unwind().await {
            Ok(Ok(Converged { report, outcomes })) => {
                log(&report);
                outcomes
            }
            Ok(Err(error)) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                vec![Outcome::Failed; notices.len()]
            }
            Err(_) => {
                let instances: Vec<&str> = notices.iter().map(|notice| notice.instance.as_str()).collect();
                tracing::error!(?instances, "panicked: this is a bug in elb-registrar, please report it");
                return None;
            }
        };
        Some(records.iter().map(|(record, _)| *record).zip(outcomes).collect())
    }
}

/// The batch in a payload, if it is one from SQS.
fn batch_of(payload: &Value) -> Option<SqsEvent> {
    payload.get("Records")?;
    serde_json::from_value(payload.clone()).ok()
}

fn response(failed: &[&Record]) -> SqsBatchResponse {
    let failures = failed.iter().map(|record| {
        let mut failure = BatchItemFailure::default();
        // Without an id Lambda takes the whole batch for failed, which is right when nobody knows which one it was.
        failure.item_identifier = record.message.message_id.clone().unwrap_or_default();
        failure
    });
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures.collect();
    response
}

fn log(report: &Report) {
    tracing::info!(report = %serde_json::to_string(report).unwrap_or_default(), "converged");
}

/// Why a bare event could not be served.
#[derive(Debug, Error)]
pub enum Failure {
    /// Nobody can: repeating it would not help.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The instance could not be described: nothing was done.
    #[error("{}", .0.to_sentence())]
    Call(#[from] CallError),
    /// Something failed; what was done is done, and the rest is for the next attempt.
    #[error("{}", sentences(.0))]
    Incomplete(Box<Report>),
}

fn sentences(report: &Report) -> String {
    let failures =
        report.instances.iter().flat_map(|(id, part)| part.failed.iter().map(move |why| format!("{id}: {why}")));
    failures.collect::<Vec<_>>().join("; ")
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        // A stable word, by which Lambda's console groups: not a path in our source.
        let error_type = match &failure {
            Failure::NotUnderstood(_) => "EventNotUnderstood",
            Failure::Call(_) => "CallFailed",
            Failure::Incomplete(_) => "Incomplete",
        };
        Diagnostic { error_type: error_type.to_owned(), error_message: failure.to_string() }
    }
}

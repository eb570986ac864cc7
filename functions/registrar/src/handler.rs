//! The function `instance-state`: an SQS batch of EventBridge events, or one bare event, is converged together and answered.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

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

/// How soon the first retry of a failure comes. Sooner, and a throttled account is throttled more.
const FAILED_RETRY_MIN: Duration = Duration::from_secs(15);

/// How late the last ones come. Later, and a person who has put something right waits for it; sooner, and the receives that
/// the queue allows are used up before a person is there.
const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);

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
        let notices: Vec<Notice> = records.iter().filter_map(|record| record.notice.clone().ok()).collect();
        let mut outcomes = self.converge(&notices).await.into_iter();
        let (mut failed, mut parked) = (Vec::new(), Vec::new());
        for Record { message, notice } in records {
            let outcome = match notice {
                // One outcome for each notice, in their order.
                Ok(_) => outcomes.next().unwrap_or(Outcome::Failed),
                Err(reason) => self.bury(message.body.unwrap_or_default(), reason).await,
            };
            let wait = match outcome {
                Outcome::Done => None,
                Outcome::Later(wait) => Some(wait),
                Outcome::Failed => Some(back_off(message.attributes.get("ApproximateReceiveCount"))),
            };
            if let (Some(wait), Some(receipt_handle)) = (wait, message.receipt_handle) {
                parked.push(Parked { receipt_handle, wait });
            }
            if outcome != Outcome::Done {
                // Without an id Lambda takes the whole batch for failed, which is right when nobody knows which one it was.
                failed.push(message.message_id.unwrap_or_default());
            }
        }
        self.queue.park(&parked).await;
        serde_json::to_value(response(failed)).unwrap_or_default()
    }

    async fn bury(&self, body: String, reason: NotUnderstood) -> Outcome {
        tracing::error!(why = %reason, "event not understood");
        match self.queue.bury(&body, &reason.to_string()).await {
            true => Outcome::Done,
            false => Outcome::Failed,
        }
    }

    /// Converges a batch together. Should that panic, each notice alone: then the one that is to blame spares the others.
    async fn converge(&self, notices: &[Notice]) -> Vec<Outcome> {
        if notices.is_empty() {
            return Vec::new();
        }
        if let Some(outcomes) = self.converge_or_panic(notices).await {
            return outcomes;
        }
        let mut outcomes = Vec::new();
        for notice in notices {
            let alone = self.converge_or_panic(std::slice::from_ref(notice)).await;
            outcomes.extend(alone.unwrap_or_else(|| vec![Outcome::Failed]));
        }
        outcomes
    }

    async fn converge_or_panic(&self, notices: &[Notice]) -> Option<Vec<Outcome>> {
        match AssertUnwindSafe(self.registrar.converge(notices)).catch_unwind().await {
            Ok(Ok(Converged { report, outcomes })) => {
                log(&report);
                Some(outcomes)
            }
            Ok(Err(error)) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                Some(vec![Outcome::Failed; notices.len()])
            }
            Err(_) => {
                let instances: Vec<&str> = notices.iter().map(|notice| notice.instance.as_str()).collect();
                tracing::error!(?instances, "panicked: this is a bug in elb-registrar, please report it");
                None
            }
        }
    }
}

/// How long a message that failed waits, by how often it was received.
fn back_off(receive_count: Option<&String>) -> Duration {
    let count: u32 = receive_count.and_then(|count| count.parse().ok()).unwrap_or(1);
    FAILED_RETRY_MIN.saturating_mul(1 << count.saturating_sub(1).min(16)).min(FAILED_RETRY_MAX)
}

/// The batch in a payload, if it is one from SQS.
fn batch_of(payload: &Value) -> Option<SqsEvent> {
    payload.get("Records")?;
    serde_json::from_value(payload.clone()).ok()
}

fn response(failed: Vec<String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_ever_later_up_to_a_limit() {
        let waits = [None, Some("1"), Some("2"), Some("6"), Some("7"), Some("4000000000"), Some("x")]
            .map(|count| back_off(count.map(str::to_owned).as_ref()).as_secs());
        assert_eq!(waits, [15, 15, 30, 480, 600, 600, 15]);
    }
}

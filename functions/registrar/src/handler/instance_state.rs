//! The function `instance-state`: an SQS batch of EventBridge events, or one bare event, is converged together and answered.

use std::{panic::AssertUnwindSafe, time::Duration};

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::FutureExt;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;

use super::{Base, Failure, log};
use crate::{
    config::Config,
    converge::{Converged, Outcome},
    metrics::Metrics,
    notice::{NotUnderstood, Notice, Place},
    queue::{Parked, Queue},
};

/// How soon the first retry of a failure comes. Sooner, and a throttled account is throttled more.
const FAILED_RETRY_MIN: Duration = Duration::from_secs(15);

/// How late the last ones come. Later, and a person who has put something right waits for it; sooner, and the receives that
/// the queue allows are used up before a person is there.
const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);

/// The function, with everything of it that outlives an invocation.
pub struct InstanceState {
    base: Base,
    queue: Queue,
}

/// One record of a batch, with what came of its reading.
struct Record {
    message: SqsMessage,
    notice: Result<Notice, NotUnderstood>,
}

impl InstanceState {
    /// The function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let base = Base::new("instance-state", sdk, config);
        let queue = Queue::new(base.clients.sqs.clone(), config);
        Self { base, queue }
    }

    /// Answers one invocation: a batch from SQS with the records that failed, a bare event with the report.
    ///
    /// # Errors
    /// For a bare event only: where it is not understood, or not everything could be done. Lambda then retries it.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let place = self.place(&event.context);
        let mut metrics = Metrics::default();
        let answer = match batch_of(&event.payload) {
            Some(batch) => Ok(self.batch(batch, &place, &mut metrics).await),
            None => self.bare(&event.payload, &place, &mut metrics).await,
        };
        self.base.write(metrics);
        answer
    }

    fn place(&self, context: &Context) -> Place {
        Place::of_function(&context.invoked_function_arn, &self.base.clients.region)
    }

    async fn bare(&self, event: &Value, place: &Place, metrics: &mut Metrics) -> Result<Value, Failure> {
        let notice = Notice::of_event(&event.to_string(), place).inspect_err(|_| metrics.add_not_understood(1))?;
        let converged = self.base.registrar.converge(std::slice::from_ref(&notice)).await;
        let report = converged.inspect_err(|error| metrics.add_failure(error.reason()))?.report;
        metrics.add_report(&report);
        Base::answer(report)
    }

    async fn batch(&self, batch: SqsEvent, place: &Place, metrics: &mut Metrics) -> Value {
        let records: Vec<Record> = batch
            .records
            .into_iter()
            .map(|message| {
                let notice = Notice::of_event(message.body.as_deref().unwrap_or_default(), place);
                Record { message, notice }
            })
            .collect();
        let notices: Vec<Notice> = records.iter().filter_map(|record| record.notice.clone().ok()).collect();
        metrics.add_not_understood(records.len() - notices.len());
        let mut outcomes = self.converge(&notices, metrics).await.into_iter();
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
    async fn converge(&self, notices: &[Notice], metrics: &mut Metrics) -> Vec<Outcome> {
        if notices.is_empty() {
            return Vec::new();
        }
        if let Some(outcomes) = self.converge_or_panic(notices, metrics).await {
            return outcomes;
        }
        let mut outcomes = Vec::new();
        for notice in notices {
            let alone = self.converge_or_panic(std::slice::from_ref(notice), metrics).await;
            outcomes.extend(alone.unwrap_or_else(|| vec![Outcome::Failed]));
        }
        outcomes
    }

    async fn converge_or_panic(&self, notices: &[Notice], metrics: &mut Metrics) -> Option<Vec<Outcome>> {
        match AssertUnwindSafe(self.base.registrar.converge(notices)).catch_unwind().await {
            Ok(Ok(Converged { report, outcomes })) => {
                log(&report);
                metrics.add_report(&report);
                Some(outcomes)
            }
            Ok(Err(error)) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                metrics.add_failure(error.reason());
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

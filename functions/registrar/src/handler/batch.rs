//! A function behind a queue: an SQS batch of EventBridge events, or one bare event, is worked on together and answered.

use std::{panic::AssertUnwindSafe, time::Duration};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use aws_types::SdkConfig;
use futures::{FutureExt, future::BoxFuture};
use lambda_runtime::{Context, LambdaEvent};
use protocol::{
    call_error::CallError,
    event::{NotUnderstood, Place, Told},
    id::InstanceId,
    timing::{COMES_BACK_AFTER, FAILED_RETRY_MIN},
};
use serde_json::{Value, json};
use tokio::time::Instant as MonotonicTime;

use super::{Base, Failure, deadline, log, records::Records};
use crate::{
    aws::queue::{Parked, Queue},
    config::Config,
    engine::Registrar,
    report::metrics::Metrics,
    workflow::{Converged, Outcome},
};

/// What a function makes of its events.
pub(super) trait Work: Send + Sync {
    /// What an event says.
    type Notice: Clone + Send + Sync;

    /// The function's name.
    const FUNCTION: &'static str;

    /// What it can read, for a person who sent something else.
    const TAKES: &'static str;

    /// How late the last retries of a failure come. Later, and a person who has put something right waits for it; sooner, and
    /// the receives that the queue allows are used up before a person is there.
    const FAILED_RETRY_MAX: Duration;

    /// Whether a message that kills the function comes back as soon as the invocation would have been over, and not only when
    /// the queue's visibility timeout is, which is six times as long.
    const COMES_BACK_SOON: bool;

    /// Reads an event.
    fn read(&self, text: &str, place: &Place) -> Result<Told<Self::Notice>, NotUnderstood>;

    /// The instance that it names.
    fn instance(notice: &Self::Notice) -> &InstanceId;

    /// Does what the events want: one outcome for each, in their order.
    fn converge<'w>(
        &'w self,
        registrar: &'w Registrar,
        notices: &'w [Self::Notice],
    ) -> BoxFuture<'w, Result<Converged, CallError>>;
}

/// A function behind a queue, with everything of it that outlives an invocation.
pub(super) struct BehindQueue<W> {
    base: Base,
    queue: Queue,
    work: W,
}

/// One record of a batch, with what came of its reading.
struct Record<N> {
    message: SqsMessage,
    told: Result<Told<N>, NotUnderstood>,
}

impl<W: Work> BehindQueue<W> {
    /// The function with its clients, which are built once and kept.
    pub(super) fn new(sdk: &SdkConfig, config: &Config, work: W) -> Self {
        let base = Base::new(W::FUNCTION, sdk, config);
        let queue = Queue::new(base.clients.sqs.clone(), config);
        Self { base, queue, work }
    }

    /// Opens the connections that every event needs.
    pub(super) async fn connect(&self) {
        self.base.clients.connect().await;
    }

    /// Answers one invocation: a batch from SQS with the records that failed, a bare event with the report.
    pub(super) async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let place = self.place(&event.context);
        self.base.clients.budget.begin(deadline(&event.context));
        let mut metrics = Metrics::default();
        let answer = match Records::of(&event.payload, W::TAKES) {
            Ok(Records::Sqs(messages)) => {
                self.come_back_soon(&messages, &event.context).await;
                Ok(self.batch(messages, &place, &mut metrics).await)
            }
            Ok(Records::None) => self.bare(&event.payload, &place, &mut metrics).await,
            Err(reason) => {
                metrics.add_not_understood(1);
                Err(reason.into())
            }
        };
        self.base.write(metrics);
        answer
    }

    fn place(&self, context: &Context) -> Place {
        Place::of_function(&context.invoked_function_arn, &self.base.clients.region)
    }

    async fn come_back_soon(&self, messages: &[SqsMessage], context: &Context) {
        let Some(deadline) = deadline(context).filter(|_| W::COMES_BACK_SOON) else { return };
        let wait = deadline.saturating_duration_since(MonotonicTime::now()) + COMES_BACK_AFTER;
        let receipt_handles = messages.iter().filter_map(|message| message.receipt_handle.clone());
        let parked: Vec<Parked> = receipt_handles.map(|receipt_handle| Parked { receipt_handle, wait }).collect();
        self.queue.park(&parked).await;
    }

    async fn bare(&self, event: &Value, place: &Place, metrics: &mut Metrics) -> Result<Value, Failure> {
        // Whoever sends an event by hand wants it worked on.
        self.base.registrar.forget_stops();
        let notice = match self.work.read(&event.to_string(), place).inspect_err(|_| metrics.add_not_understood(1))? {
            Told::Look(notice) => notice,
            Told::Nothing(why) => return Ok(json!({ "nothing_to_do": why })),
        };
        let converged = self.work.converge(&self.base.registrar, std::slice::from_ref(&notice)).await;
        let Converged { report, outcomes } = converged.inspect_err(|error| metrics.add_failure(error.into()))?;
        metrics.add_report(&report);
        match outcomes.into_iter().next() {
            Some(Outcome::NotUnderstood(reason)) => {
                metrics.add_not_understood(1);
                Err(reason.into())
            }
            _ => Base::answer(report),
        }
    }

    async fn batch(&self, messages: Vec<SqsMessage>, place: &Place, metrics: &mut Metrics) -> Value {
        let read = |message: SqsMessage| {
            let told = self.work.read(message.body.as_deref().unwrap_or_default(), place);
            Record { message, told }
        };
        let records: Vec<Record<W::Notice>> = messages.into_iter().map(read).collect();
        let look = |record: &Record<W::Notice>| match &record.told {
            Ok(Told::Look(notice)) => Some(notice.clone()),
            Ok(Told::Nothing(_)) | Err(_) => None,
        };
        let notices: Vec<W::Notice> = records.iter().filter_map(look).collect();
        let mut outcomes = self.converge(&notices, metrics).await.into_iter();
        let (mut failed, mut parked) = (Vec::new(), Vec::new());
        for Record { message, told } in records {
            let outcome = match told {
                // One outcome for each notice, in their order.
                Ok(Told::Look(_)) => outcomes.next().unwrap_or(Outcome::Failed),
                Ok(Told::Nothing(why)) => {
                    tracing::info!(why, "nothing to do");
                    Outcome::Done
                }
                Err(reason) => Outcome::NotUnderstood(reason),
            };
            let retry = || back_off(message.attributes.get("ApproximateReceiveCount"), W::FAILED_RETRY_MAX);
            let wait = match outcome {
                Outcome::Done => continue,
                Outcome::Later(wait) => wait,
                Outcome::Failed => retry(),
                Outcome::NotUnderstood(reason) => {
                    metrics.add_not_understood(1);
                    if self.bury(message.body.as_deref().unwrap_or_default(), &reason).await {
                        continue;
                    }
                    retry()
                }
            };
            if let Some(receipt_handle) = message.receipt_handle {
                parked.push(Parked { receipt_handle, wait });
            }
            // Without an id Lambda takes the whole batch for failed, which is right when nobody knows which one it was.
            failed.push(message.message_id.unwrap_or_default());
        }
        self.queue.park(&parked).await;
        serde_json::to_value(response(failed)).unwrap_or_default()
    }

    /// Says whether it is among the dead letters.
    async fn bury(&self, body: &str, reason: &NotUnderstood) -> bool {
        tracing::error!(why = %reason, "event not understood");
        self.queue.bury(body, &reason.to_string()).await
    }

    /// Converges a batch together. Should that panic, each notice alone: then the one that is to blame spares the others.
    async fn converge(&self, notices: &[W::Notice], metrics: &mut Metrics) -> Vec<Outcome> {
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

    async fn converge_or_panic(&self, notices: &[W::Notice], metrics: &mut Metrics) -> Option<Vec<Outcome>> {
        match AssertUnwindSafe(self.work.converge(&self.base.registrar, notices)).catch_unwind().await {
            Ok(Ok(Converged { report, outcomes })) => {
                log(&report);
                metrics.add_report(&report);
                Some(outcomes)
            }
            Ok(Err(error)) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                metrics.add_failure((&error).into());
                Some(vec![Outcome::Failed; notices.len()])
            }
            Err(_) => {
                let instances: Vec<&str> = notices.iter().map(|notice| W::instance(notice).as_str()).collect();
                tracing::error!(?instances, "panicked: this is a bug in elb-registrar, please report it");
                None
            }
        }
    }
}

/// How long a message that failed waits, by how often it was received.
fn back_off(receive_count: Option<&String>, longest: Duration) -> Duration {
    let count: u32 = receive_count.and_then(|count| count.parse().ok()).unwrap_or(1);
    FAILED_RETRY_MIN.saturating_mul(1 << count.saturating_sub(1).min(16)).min(longest)
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
            .map(|count| back_off(count.map(str::to_owned).as_ref(), Duration::from_secs(600)).as_secs());
        assert_eq!(waits, [15, 15, 30, 480, 600, 600, 15]);
    }
}

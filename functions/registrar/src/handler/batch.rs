//! A function behind a queue: it works on an SQS batch of EventBridge events together, or on one bare event, and answers.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lambda_events::sqs::SqsMessage;
use aws_types::SdkConfig;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use lambda_runtime::{Context, LambdaEvent};
use protocol::{
    call_error::CallError,
    decide::storm::Sweep,
    event::{LOOKS_AN_ORDER_MAX, NotUnderstood, Place, Told},
    id::InstanceId,
    time::Timestamp,
    timing::COMES_BACK_AFTER,
};
use serde_json::{Value, json};
use tokio::time::Instant as MonotonicTime;

use super::{
    Base, Failure,
    again::Again,
    back_off, deadline, log,
    records::{self, Records},
};
use crate::{
    aws::queue::{Parked, Queue},
    config::Config,
    engine::Engine,
    report::metrics::Metrics,
    workflow::{Converged, Outcome, Together},
};

/// The work of a function on its events.
pub(super) trait Work: Send + Sync {
    /// The content of an event.
    type Notice: Clone + Send + Sync;

    /// The function's name.
    const FUNCTION: &'static str;

    /// The events that it can read, for a person who sent another one.
    const TAKES: &'static str;

    /// The longest wait before an event that is parked is tried again after a failure.
    const FAILED_RETRY_MAX: Duration;

    /// Whether a message that kills the function comes back when the invocation would have been over. The queue's visibility timeout is six times
    /// as long.
    const COMES_BACK_SOON: bool;

    /// Reads an event.
    fn read(&self, text: &str, place: &Place) -> Result<Told<Self::Notice>, NotUnderstood>;

    /// Returns what an event says as its queue tells it, which got the event at this time.
    fn told_by_queue(notice: Self::Notice, at: Timestamp) -> Self::Notice;

    /// Returns the instance that an event names.
    fn instance(notice: &Self::Notice) -> &InstanceId;

    /// Returns what sets an event apart. Events that differ in it are worked on apart and at once, so that much work for one team
    /// holds up no other's.
    fn apart(_notice: &Self::Notice) -> Option<&str> {
        None
    }

    /// Works on the events, and returns one outcome for each, in their order.
    fn converge<'w>(
        &'w self,
        engine: &'w Engine,
        notices: &'w [Self::Notice],
        together: Together,
    ) -> BoxFuture<'w, Result<Converged, CallError>>;

    /// Writes some events as one order for a sweep.
    fn order(notices: &[&Self::Notice]) -> String;

    /// Returns the message that replaces an event which has to come again; `None` if the event itself is parked. `wait` is `None` if the
    /// work failed.
    fn again(notice: Self::Notice, wait: Option<Duration>) -> Option<Again>;
}

/// A function behind a queue, with everything that outlives an invocation.
pub(super) struct BehindQueue<W> {
    base: Base,
    queue: Queue,
    orders: Queue,
    work: W,
}

/// One record of a batch, as far as it could be read.
struct Record<N> {
    message: SqsMessage,
    told: Result<Told<N>, NotUnderstood>,
}

impl<N> Record<N> {
    /// Returns what there is to look at, if there is anything.
    fn notice(&self) -> Option<&N> {
        match &self.told {
            Ok(Told::Look(notice)) => Some(notice),
            Ok(Told::Nothing(_)) | Err(_) => None,
        }
    }
}

impl<W: Work> BehindQueue<W> {
    /// Creates the function with its clients, which are built once and kept.
    pub(super) fn new(sdk: &SdkConfig, config: &Config, work: W) -> Self {
        let base = Base::new(W::FUNCTION, sdk, config);
        let queue = Queue::new(base.clients.sqs.clone(), config);
        let orders = Queue::of_orders(base.clients.sqs.clone(), config);
        Self { base, queue, orders, work }
    }

    /// Opens the connections that every event needs.
    pub(super) async fn connect(&self) {
        self.base.clients.connect().await;
    }

    /// Serves one invocation. Returns the records that failed of a batch from SQS, and the report for a bare event.
    pub(super) async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let place = self.place(&event.context);
        self.base.clients.budget.begin(deadline(&event.context));
        let mut metrics = Metrics::default();
        let answer = match Records::of(&event.payload, W::TAKES) {
            Ok(Records::Sqs(messages)) => {
                self.come_back_soon(&messages, &event.context).await;
                Ok(self.batch(messages, &place, &event.context.request_id, &mut metrics).await)
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
        // A person who sends an event by hand wants it worked on here.
        self.base.engine.forget_stops();
        let notice = match self.work.read(&event.to_string(), place).inspect_err(|_| metrics.add_not_understood(1))? {
            Told::Look(notice) => notice,
            Told::Nothing(why) => return Ok(json!({ "nothing_to_do": why })),
        };
        let notices = std::slice::from_ref(&notice);
        let converged = self.work.converge(&self.base.engine, notices, Together::Here).await;
        let Converged { report, outcomes, has_failed } =
            converged.inspect_err(|error| metrics.add_failure(error.into()))?;
        metrics.add_report(&report);
        match outcomes.into_iter().next() {
            Some(Outcome::NotUnderstood(reason)) => {
                metrics.add_not_understood(1);
                Err(reason.into())
            }
            _ => Base::answer(report, has_failed),
        }
    }

    async fn batch(&self, messages: Vec<SqsMessage>, place: &Place, request_id: &str, metrics: &mut Metrics) -> Value {
        let read = |message: SqsMessage| {
            let told = self.work.read(message.body.as_deref().unwrap_or_default(), place);
            let told = told.map(|told| match (told, records::sent_at(&message)) {
                (Told::Look(notice), Some(at)) => Told::Look(W::told_by_queue(notice, at)),
                (told, _) => told,
            });
            Record { message, told }
        };
        let mut sets: BTreeMap<Option<String>, Vec<Record<W::Notice>>> = BTreeMap::new();
        for record in messages.into_iter().map(read) {
            let apart = record.notice().and_then(W::apart).map(str::to_owned);
            sets.entry(apart).or_default().push(record);
        }
        let metrics = Mutex::new(metrics);
        let served = sets.into_values().map(|records| self.set(records, request_id, &metrics));
        records::answer(join_all(served).await.into_iter().flatten())
    }

    /// Serves the records of a set, and parks what has to come again. Returns the ids of the messages that are not done.
    ///
    /// A batch has one answer, after its last set. What is parked comes back when it was told to, even if that is earlier.
    async fn set(
        &self,
        records: Vec<Record<W::Notice>>,
        request_id: &str,
        metrics: &Mutex<&mut Metrics>,
    ) -> Vec<Option<String>> {
        let notices: Vec<W::Notice> = records.iter().filter_map(Record::notice).cloned().collect();
        let together = if self.orders.is_there() { Together::Ordered } else { Together::Here };
        let outcomes = match notices.is_empty() {
            true => Vec::new(),
            false => self.converge(&notices, together, metrics).await,
        };
        let mut outcomes = self.order(&notices, outcomes, request_id, metrics).await.into_iter();
        // Messages that come back when the queue's own timeout is over.
        let mut unanswered = Vec::new();
        let (mut parked, mut replaced, mut replacements) = (Vec::new(), Vec::new(), Vec::new());
        for Record { message, told } in records {
            let (notice, outcome) = match told {
                // One outcome for each notice, in their order.
                Ok(Told::Look(notice)) => (Some(notice), outcomes.next().unwrap_or(Outcome::Failed)),
                Ok(Told::Nothing(why)) => {
                    tracing::info!(why, "nothing to do");
                    continue;
                }
                Err(reason) => (None, Outcome::NotUnderstood(reason)),
            };
            let wait = match outcome {
                Outcome::Done => continue,
                Outcome::Later(wait) => Some(wait),
                Outcome::Failed | Outcome::Together(_) => None,
                Outcome::NotUnderstood(reason) => {
                    locked(metrics).add_not_understood(1);
                    if !self.bury(message.body.as_deref().unwrap_or_default(), &reason).await {
                        unanswered.push(message.message_id);
                    }
                    continue;
                }
            };
            match notice.filter(|_| self.queue.is_there()).and_then(|notice| W::again(notice, wait)) {
                Some(again) => {
                    if let Some(replacement) = again.into_message(&self.queue).await {
                        replacements.push(replacement);
                        replaced.push(message.message_id);
                    }
                }
                None => parked.push((message, wait)),
            }
        }
        if let Err(error) = self.queue.send_later(&replacements).await {
            tracing::error!(why = error.to_sentence(), "events that have to come again stay in their queue");
            locked(metrics).add_failure((&error).into());
            unanswered.extend(replaced);
        }
        self.park(&parked).await;
        unanswered.extend(parked.into_iter().map(|(message, _)| message.message_id));
        unanswered
    }

    /// Parks messages, each for its wait. Without a wait, the work on it has failed.
    async fn park(&self, messages: &[(SqsMessage, Option<Duration>)]) {
        let parked = messages.iter().filter_map(|(message, wait)| {
            let received = message.attributes.get("ApproximateReceiveCount");
            let received: u32 = received.and_then(|count| count.parse().ok()).unwrap_or(1);
            let wait = wait.unwrap_or_else(|| back_off(received, W::FAILED_RETRY_MAX));
            Some(Parked { receipt_handle: message.receipt_handle.clone()?, wait })
        });
        self.queue.park(&parked.collect::<Vec<_>>()).await;
    }

    /// Orders sweeps for events of a batch, so that they are done. Works here on the events of an order that cannot be sent.
    ///
    /// An order replaces the events in it: its queue keeps it until a sweep has served it. If the process dies before it answers, the events come
    /// again and are ordered once more.
    async fn order(
        &self,
        notices: &[W::Notice],
        mut outcomes: Vec<Outcome>,
        request_id: &str,
        metrics: &Mutex<&mut Metrics>,
    ) -> Vec<Outcome> {
        let mut here: Vec<usize> = Vec::new();
        for sweep in Sweep::ALL {
            let own: Vec<usize> =
                (0..outcomes.len()).filter(|index| outcomes[*index] == Outcome::Together(sweep)).collect();
            for (part, indices) in own.chunks(LOOKS_AN_ORDER_MAX).enumerate() {
                let order = W::order(&indices.iter().filter_map(|index| notices.get(*index)).collect::<Vec<_>>());
                // The id is of this invocation alone. So SQS drops what the SDK repeats, and no order of another time.
                match order_sweep(&self.orders, sweep, &order, (request_id, part)).await {
                    true => indices.iter().for_each(|index| outcomes[*index] = Outcome::Done),
                    false => here.extend(indices),
                }
            }
        }
        if !here.is_empty() {
            let left: Vec<W::Notice> = here.iter().filter_map(|index| notices.get(*index)).cloned().collect();
            let worked_on = self.converge(&left, Together::Here, metrics).await;
            here.into_iter().zip(worked_on).for_each(|(index, outcome)| outcomes[index] = outcome);
        }
        outcomes
    }

    /// Sends an event to the dead letters. Returns whether it is there.
    async fn bury(&self, body: &str, reason: &NotUnderstood) -> bool {
        tracing::error!(why = %reason, "event not understood");
        self.queue.bury(body, &reason.to_string()).await
    }

    /// Converges a set together. If that panics, converges each notice alone, so that the one to blame spares the others.
    async fn converge(&self, notices: &[W::Notice], together: Together, metrics: &Mutex<&mut Metrics>) -> Vec<Outcome> {
        if let Some(outcomes) = self.converge_or_panic(notices, together, metrics).await {
            return outcomes;
        }
        let mut outcomes = Vec::new();
        for notice in notices {
            let alone = self.converge_or_panic(std::slice::from_ref(notice), Together::Here, metrics).await;
            outcomes.extend(alone.unwrap_or_else(|| vec![Outcome::Failed]));
        }
        outcomes
    }

    async fn converge_or_panic(
        &self,
        notices: &[W::Notice],
        together: Together,
        metrics: &Mutex<&mut Metrics>,
    ) -> Option<Vec<Outcome>> {
        match AssertUnwindSafe(self.work.converge(&self.base.engine, notices, together)).catch_unwind().await {
            Ok(Ok(Converged { report, outcomes, .. })) => {
                log(&report);
                locked(metrics).add_report(&report);
                Some(outcomes)
            }
            Ok(Err(error)) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                locked(metrics).add_failure((&error).into());
                Some(vec![Outcome::Failed; notices.len()])
            }
            Err(_) => {
                let instances: Vec<&str> = notices.iter().map(|notice| W::instance(notice).as_str()).collect();
                let instances = instances.join(" ");
                tracing::error!(instances, "panicked: this is a bug in elb-registrar, please report it");
                None
            }
        }
    }
}

/// Orders a sweep. Returns whether it is ordered: it is not if there is no queue for orders, or if that cannot be reached.
///
/// The id follows from the work that orders it, and the number of its part. So SQS drops what a repetition orders.
pub(super) async fn order_sweep(orders: &Queue, sweep: Sweep, order: &str, (id, part): (&str, usize)) -> bool {
    let group = sweep.message_group();
    match orders.send_to_group(order, group, &format!("{id}-{group}-{part}")).await {
        Ok(is_sent) => is_sent,
        Err(error) => {
            tracing::error!(why = error.to_sentence(), "could not order a sweep");
            false
        }
    }
}

pub(super) fn locked<'m, 'w>(metrics: &'m Mutex<&'w mut Metrics>) -> MutexGuard<'m, &'w mut Metrics> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}

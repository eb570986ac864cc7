//! The function `reconcile`: a sweep over everything that no event told, and the sweeps that events ordered (`orders.rs`).
//!
//! EventBridge delivers the events of EC2 and Auto Scaling best effort, and rarely loses one. A sweep does not wait until tags have
//! settled: the next sweep finds them again. It sends instances that changed while it was at work to the queue of events.
//!
//! A sweep that does not fit into one invocation goes on where it stopped. It sends the place to a queue of its own, which
//! invokes it again. A queue keeps a message until it is served, and its client is here already. The functions keep no state of
//! their own. What fails on the way is reported, and left to the next sweep.
//!
//! It also answers the widget of the dashboard (`widget.rs`), for which it only looks.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_types::SdkConfig;
use futures::FutureExt;
use lambda_runtime::LambdaEvent;
use protocol::{
    because::Because,
    event::{NotUnderstood, Notice},
    fields::{BadFields, Fields},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant as MonotonicTime;

use super::{
    Base, Failure, deadline, log,
    records::{self, Records},
    widget::{Asked, Widgets},
};
use crate::{
    aws::queue::Queue,
    config::Config,
    report::{FailureReason, Report, metrics::Metrics},
    workflow::{Detail, Order, Resume, Swept},
};

/// The payloads that it can read, for a person who sent another one.
const TAKES: &str = "`reconcile` takes `Scheduled Event` from `aws.events`, and orders such as `{}` and `{\"report\": \"all\"}`: \
                     events/scheduled.json in the repository of elb-registrar is a sample";

/// The type of the events that EventBridge's schedules send.
const SCHEDULED: &str = "Scheduled Event";

/// The sources of such events: a rule with a schedule, or EventBridge Scheduler.
const SCHEDULERS: [&str; 2] = ["aws.events", "aws.scheduler"];

/// The most invocations of one sweep: two hours at the default timeout, for some 50,000 target groups at AWS's older limits. Too small: a very large
/// account is never swept to its end. Too large: sweeps that never end pile up.
const PARTS_MAX: u32 = 8;

/// The function, with everything that outlives an invocation.
pub struct Reconcile {
    pub(super) base: Base,
    /// Where the rest of a sweep waits.
    queue: Queue,
    pub(super) orders: Queue,
    pub(super) events: Queue,
    widgets: Widgets,
}

/// The request of a person, or of an earlier part of the sweep. EventBridge's event requests nothing, and nothing reads its answer:
/// a rule invokes asynchronously (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html>). No header of the Runtime
/// API tells a function how it was invoked (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>), so a person who
/// invokes asynchronously has to say that a summary will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Payload {
    /// `all`: every instance that is registered anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Detailed>,
    /// Where to begin, as `left` of a report says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Which part of its sweep this is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    /// `summary`: the answer has figures, and the report is in the log alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answered>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answered {
    Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Detailed {
    All,
}

/// The result of a part of a sweep.
struct Part {
    report: Report,
    /// Whether anything failed that is tried again.
    has_failed: bool,
    /// Whether the next part is ordered.
    goes_on: bool,
}

impl Reconcile {
    /// Creates the function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let base = Base::new("reconcile", sdk, config);
        let sqs = || base.clients.sqs.clone();
        let queue = Queue::new(sqs(), config);
        let (orders, events) = (Queue::of_orders(sqs(), config), Queue::of_events(sqs(), config));
        Self { base, queue, orders, events, widgets: Widgets::new(sdk, config) }
    }

    /// Sweeps for a scheduled event and for `{}`, and returns the report. Serves orders and the rest of a sweep from their queues, and returns the
    /// answer for SQS. For a widget of a dashboard, looks and returns HTML.
    ///
    /// # Errors
    /// Fails if the payload is another one, or if the sweep failed at anything.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let deadline = deadline(&event.context);
        self.base.clients.budget.begin(deadline);
        let mut metrics = Metrics::default();
        if let Some(asked) = Asked::of(&event.payload) {
            let (answer, counted) = self.widgets.answer(asked).await;
            metrics.add_calls(counted);
            self.base.write(metrics);
            return Ok(answer);
        }
        let answer = match Records::of(&event.payload, TAKES) {
            Ok(Records::Sqs(messages)) if messages.iter().any(is_order) => Ok(self.serve(messages, &mut metrics).await),
            Ok(Records::Sqs(messages)) => Ok(self.rest(messages, deadline, &mut metrics).await),
            Ok(Records::None) => self.sweep(&event.payload, deadline, &mut metrics).await,
            Err(reason) => {
                metrics.add_not_understood(1);
                Err(reason.into())
            }
        };
        self.base.write(metrics);
        answer
    }

    async fn sweep(
        &self,
        event: &Value,
        deadline: Option<MonotonicTime>,
        metrics: &mut Metrics,
    ) -> Result<Value, Failure> {
        let payload = Payload::of(event).inspect_err(|_| metrics.add_not_understood(1))?;
        let Part { report, has_failed, goes_on } = self.part(&payload, deadline, metrics).await?;
        // A repetition would begin a second chain of parts beside the one that goes on. What failed is in log and metrics.
        let has_failed = has_failed && !goes_on;
        match payload.answer {
            Some(Answered::Summary) => Base::answer_by(report, has_failed, summary),
            None => Base::answer(report, has_failed),
        }
    }

    /// Sweeps the rest of sweeps, from their queue, and returns the answer for SQS. A message that cannot be read or begun comes again, and ends as a dead
    /// letter.
    async fn rest(&self, messages: Vec<SqsMessage>, deadline: Option<MonotonicTime>, metrics: &mut Metrics) -> Value {
        let mut failed = Vec::new();
        for message in messages {
            let body = message.body.as_deref().unwrap_or_default();
            if let Err(failure) = self.rest_of_one(body, deadline, metrics).await {
                tracing::error!(why = %failure, "the rest of a sweep could not be swept");
                failed.push(message.message_id);
            }
        }
        records::answer(failed)
    }

    /// Sweeps the rest of one sweep. A failure within it is no failure of the message: the next sweep tries all of it again.
    async fn rest_of_one(
        &self,
        body: &str,
        deadline: Option<MonotonicTime>,
        metrics: &mut Metrics,
    ) -> Result<(), Failure> {
        let event: Value = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
        let payload = Payload::of(&event).inspect_err(|_| metrics.add_not_understood(1))?;
        let Part { report, .. } = self.part(&payload, deadline, metrics).await?;
        log(&report);
        Ok(())
    }

    /// Sweeps one part, and orders the next one.
    async fn part(
        &self,
        payload: &Payload,
        deadline: Option<MonotonicTime>,
        metrics: &mut Metrics,
    ) -> Result<Part, Failure> {
        let order = payload.order(deadline)?;
        // Boxed, or the future is too deep for the compiler's default limits.
        let swept = self.base.engine.sweep(&order).boxed().await;
        let Swept { mut report, resume, look_at, mut has_failed } =
            swept.inspect_err(|error| metrics.add_failure(error.into()))?;
        let order_of = |instance| Notice { instance, announced: None, failures: 0 }.to_order();
        let look_at: Vec<(String, Duration)> =
            look_at.into_iter().map(|(instance, wait)| (order_of(instance), wait)).collect();
        if let Err(error) = self.events.send_later(&look_at).await {
            // The next sweep finds these instances.
            report.fail((&error).into(), Because::all(error.to_sentence()));
            has_failed = true;
        }
        let goes_on = match resume {
            Some(resume) => {
                let ordered = self.order_next(payload, &resume).await;
                ordered.unwrap_or_else(|(reason, why)| {
                    report.fail(reason, Because::of(&resume, why));
                    has_failed = true;
                    false
                })
            }
            None => false,
        };
        metrics.add_report(&report);
        metrics.add_sweep();
        Ok(Part { report, has_failed, goes_on })
    }

    /// Orders the next part of a sweep, and returns whether it is ordered: it is not if there is no queue. If the process dies before that, the
    /// next sweep begins anew.
    ///
    /// # Errors
    /// Says why it cannot be ordered.
    async fn order_next(&self, payload: &Payload, resume: &Resume) -> Result<bool, (FailureReason, String)> {
        let part = payload.part.unwrap_or(1);
        if part >= PARTS_MAX {
            let why =
                format!("{PARTS_MAX} invocations did not suffice for one sweep: what comes after this was not swept");
            return Err((FailureReason::Unfinished, why));
        }
        let next = Payload { after: Some(resume.to_string()), part: Some(part + 1), ..payload.clone() };
        let sent = self.queue.send(&serde_json::to_string(&next).unwrap_or_default()).await;
        sent.map_err(|error| ((&error).into(), error.to_sentence()))
    }
}

impl Payload {
    /// Reads a payload. An event of another type comes from a rule that was meant for another function.
    fn of(event: &Value) -> Result<Self, NotUnderstood> {
        let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let detail_type = field("detail-type");
        match detail_type.as_str() {
            SCHEDULED if SCHEDULERS.contains(&&*field("source")) => {
                Ok(Self { answer: Some(Answered::Summary), ..Self::default() })
            }
            "" if event.is_null() => Ok(Self::default()),
            "" => Self::of_order(event.clone()).map_err(|why| refuse(why.to_string())),
            _ => Err(NotUnderstood::OtherEvent { source_name: field("source"), detail_type, takes: TAKES }),
        }
    }

    fn of_order(order: Value) -> Result<Self, BadFields> {
        let mut fields = Fields::of(order, &["report", "after", "part", "answer"])?;
        Ok(Self {
            report: fields.take("report", "`all`", |value| (value == "all").then_some(Detailed::All))?,
            after: fields.take("after", "what `left` of a report says", |value| value.as_str().map(str::to_owned))?,
            answer: fields.take("answer", "`summary`", |value| (value == "summary").then_some(Answered::Summary))?,
            part: fields
                .take("part", "a number from 1", |value| value.as_u64().filter(|part| *part > 0)?.try_into().ok())?,
        })
    }

    fn order(&self, deadline: Option<MonotonicTime>) -> Result<Order, NotUnderstood> {
        let resume = self.after.as_deref().map(str::parse).transpose().map_err(refuse)?;
        let detail = self.report.map_or(Detail::Converged, |Detailed::All| Detail::All);
        Ok(Order { detail, resume, deadline })
    }
}

/// Returns the figures of a report, for an answer that nothing reads.
fn summary(report: &Report) -> Value {
    let mut metrics = Metrics::default();
    metrics.add_report(report);
    let why = "the report is in the function's log, in the lines with the message `converged`";
    json!({ "mode": report.mode, "looked_at": report.looked_at, "counts": metrics.counts(), "report": why })
}

fn is_order(message: &SqsMessage) -> bool {
    records::message_group(message).is_some()
}

fn refuse(why: String) -> NotUnderstood {
    NotUnderstood::NotAnOrder { why, takes: TAKES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Place;

    #[test]
    fn only_a_scheduled_event_or_an_empty_one_starts_a_sweep() {
        assert_eq!(Payload::of(&json!({})), Ok(Payload::default()));
        assert_eq!(Payload::of(&Value::Null), Ok(Payload::default()));
        let scheduled = json!({ "detail-type": "Scheduled Event", "source": "aws.events" });
        assert_eq!(Payload::of(&scheduled), Ok(Payload { answer: Some(Answered::Summary), ..Payload::default() }));
        let other =
            Payload::of(&json!({ "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2" }));
        assert!(other.is_err_and(|error| error.to_string().contains("`Scheduled Event`")));
    }

    #[test]
    fn an_order_with_a_slip_of_the_pen_is_refused() {
        for payload in [
            json!({ "reprot": "all" }),
            json!({ "report": "some" }),
            json!({ "answer": "all" }),
            json!([]),
            json!("x"),
            json!(7),
        ] {
            assert!(matches!(Payload::of(&payload), Err(NotUnderstood::NotAnOrder { .. })), "{payload}");
        }
        let nowhere = Payload::of(&json!({ "after": "somewhere" })).and_then(|payload| payload.order(None));
        assert!(nowhere.is_err_and(|error| error.to_string().contains("`somewhere`")));
    }

    #[test]
    fn the_rest_of_a_sweep_is_read_as_it_was_sent() {
        let payload =
            json!({ "report": "all", "after": "tg:web/0123456789abcdef, order 17", "part": 2, "answer": "summary" });
        let read = Payload::of(&payload).expect("an order");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), payload);
        assert!(matches!(
            read.order(None),
            Ok(Order { resume: Some(Resume { after: Place::Balancers(Some(_)), .. }), .. })
        ));
    }
}

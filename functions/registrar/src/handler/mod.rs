//! The functions' handlers: each converges what an input names, and answers the sender.

mod again;
mod batch;
mod instance_state;
mod lifecycle;
mod orders;
mod reconcile;
mod records;
mod widget;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_types::SdkConfig;
use lambda_runtime::{Context, Diagnostic};
use protocol::{call_error::CallError, event::NotUnderstood, id::InstanceId, timing::FAILED_RETRY_MIN};
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::clients::Clients,
    config::Config,
    engine::Engine,
    report::{
        ANSWER_MAX, Failed, LINE_MAX, Report, fit, lines,
        metrics::{Metrics, Source},
    },
};

pub use instance_state::InstanceState;
pub use lifecycle::Lifecycle;
pub use reconcile::Reconcile;

/// What every function has.
struct Base {
    clients: Arc<Clients>,
    engine: Engine,
    source: Source,
    has_metrics: bool,
}

impl Base {
    fn new(function: &'static str, sdk: &SdkConfig, config: &Config) -> Self {
        let clients = Arc::new(Clients::new(sdk));
        let engine = Engine::of(config, clients.clone(), config.mode);
        let source = Source { stack: config.stack.clone(), function };
        Self { clients, engine, source, has_metrics: config.has_metrics }
    }

    /// Answers with a report, or with its failures as an error, so that Lambda repeats the invocation.
    fn answer(report: Report, has_failed: bool) -> Result<Value, Failure> {
        let whole = |report: &Report| fit(serde_json::to_value(report).unwrap_or_default(), ANSWER_MAX);
        Self::answer_by(report, has_failed, whole)
    }

    /// Answers with what is made of a report, or with its failures as an error.
    fn answer_by(report: Report, has_failed: bool, answer: impl FnOnce(&Report) -> Value) -> Result<Value, Failure> {
        log(&report);
        match has_failed {
            true => Err(Failure::Incomplete(Box::new(report))),
            false => Ok(answer(&report)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "CloudWatch wants the time of the measurement by our own clock")]
    fn write(&self, mut metrics: Metrics) {
        metrics.add_calls(self.clients.counts.take());
        if self.has_metrics {
            metrics.write(&self.source, chrono::Utc::now());
        }
    }
}

/// Returns how long work waits that has failed so often.
fn back_off(failures: u32, longest: Duration) -> Duration {
    FAILED_RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// How far from now a deadline can be. Lambda's longest timeout is 15 minutes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>), and a minute is added because two
/// clocks can differ.
///
/// Too small: a sweep of 15 minutes does not know when it ends, and is ended in the middle. Too large: an invented
/// deadline of a local emulator is believed, and the report of every event says that the time is up.
const DEADLINE_WITHIN: Duration = Duration::from_secs(16 * 60);

/// Returns when Lambda ends the invocation, by tokio's clock. An impossible deadline is an unknown one: `None`.
///
/// `cargo lambda watch` 1.9.2 sends 600000, which is ten minutes after the beginning of 1970 (`process_next_request` in
/// <https://github.com/cargo-lambda/cargo-lambda/blob/v1.9.2/crates/cargo-lambda-watch/src/runtime/functions_router.rs>). An early
/// runtime interface emulator sent a moment in 2072 (<https://github.com/aws/aws-toolkit-jetbrains/issues/2458>).
#[expect(clippy::disallowed_methods, reason = "Lambda tells its deadline by the wall's clock, which is read this once")]
fn deadline(context: &Context) -> Option<MonotonicTime> {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time_left(Duration::from_millis(context.deadline), now).map(|left| MonotonicTime::now() + left)
}

/// Returns the time until a deadline, and zero if it has just passed. Both times count from the beginning of 1970.
fn time_left(deadline: Duration, now: Duration) -> Option<Duration> {
    (deadline.abs_diff(now) <= DEADLINE_WITHIN).then(|| deadline.saturating_sub(now))
}

/// Writes a report into the log: one line, or more if a line would have no room for it.
fn log(report: &Report) {
    let whole = serde_json::to_string(report).unwrap_or_default();
    let parts = match whole.len() <= LINE_MAX {
        true => vec![whole],
        false => {
            let parts = lines(serde_json::to_value(report).unwrap_or_default(), LINE_MAX);
            parts.iter().map(ToString::to_string).collect()
        }
    };
    for part in parts {
        match &report.looked_at {
            Some(looked_at) => tracing::info!(report = part, looked_at, "converged"),
            None => tracing::info!(report = part, "converged"),
        }
    }
}

/// Why an invocation could not be served.
#[derive(Error)]
pub enum Failure {
    /// The function does not understand the input. Repeating it would not help.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The instances could not be described: nothing was done.
    #[error("{}", .0.to_sentence())]
    Call(#[from] CallError),
    /// Something failed. What was done is done, and the next attempt does the rest.
    #[error("{}", sentences(.0))]
    Incomplete(Box<Report>),
}

/// A sentence for people: `lambda_runtime` writes this form into the log.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The failures that an error names. Lambda shows the error's text to the caller, and writes it into the message of a failed
/// sweep, which has room for 1 MB.
const FAILURES_NAMED: usize = 50;

fn sentences(report: &Report) -> String {
    let sentence = |(id, failed): (Option<&InstanceId>, &Failed)| match id {
        Some(id) => format!("{id}: {}", failed.because),
        None => failed.because.to_string(),
    };
    let mut sentences: Vec<String> = report.failures().take(FAILURES_NAMED).map(sentence).collect();
    let further = report.failures().count().saturating_sub(FAILURES_NAMED);
    if further > 0 {
        sentences.push(format!("and {further} further failures, which the function's log names"));
    }
    sentences.join("; ")
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
    use protocol::because::Because;

    use super::*;
    use crate::{
        config::Mode,
        report::{FailureReason, Journal},
    };

    const NOW: Duration = Duration::from_secs(1_767_600_000);
    const QUARTER_OF_AN_HOUR: Duration = Duration::from_secs(900);

    #[test]
    fn the_form_for_the_log_is_a_sentence() {
        let failure = Failure::from(NotUnderstood::State("exploded".to_owned()));
        assert_eq!(format!("{failure:?}"), "`exploded` is not a state of an instance that this version knows");
    }

    #[test]
    fn an_error_names_fifty_failures_and_counts_the_rest() {
        let mut report = Journal::new(Mode::Enforce).into_report();
        for number in 0..70 {
            report.fail(FailureReason::Refused, Because::all(format!("failure {number}")));
        }
        let text = Failure::Incomplete(Box::new(report)).to_string();
        assert!(text.starts_with("failure 0; failure 1; "), "{text}");
        assert!(text.ends_with("failure 49; and 20 further failures, which the function's log names"), "{text}");
    }

    #[test]
    fn failures_are_retried_ever_later_up_to_a_limit() {
        let waits = [0, 1, 2, 6, 7, 4_000_000_000].map(|count| back_off(count, Duration::from_secs(600)).as_secs());
        assert_eq!(waits, [15, 15, 30, 480, 600, 600]);
    }

    #[test]
    fn a_deadline_that_lambda_cannot_have_set_is_unknown() {
        let none = Duration::ZERO;
        let (cargo_lambda_watch, early_emulator) =
            (Duration::from_millis(600_000), Duration::from_millis(3_228_543_030_283));
        let too_far = DEADLINE_WITHIN + Duration::from_millis(1);
        for impossible in [none, cargo_lambda_watch, early_emulator, NOW - too_far, NOW + too_far, Duration::MAX] {
            assert_eq!(time_left(impossible, NOW), None, "{impossible:?}");
        }
        let mut context = Context::default();
        for impossible in [0, 600_000, u64::MAX] {
            context.deadline = impossible;
            assert_eq!(deadline(&context), None, "{impossible}");
        }
    }

    #[test]
    fn a_deadline_is_believed_up_to_lambdas_longest_timeout() {
        for left in [Duration::from_millis(1), QUARTER_OF_AN_HOUR, QUARTER_OF_AN_HOUR + Duration::from_secs(5)] {
            assert_eq!(time_left(NOW + left, NOW), Some(left));
        }
    }

    #[test]
    fn a_deadline_that_has_just_passed_is_now() {
        for late in [Duration::ZERO, Duration::from_millis(1), QUARTER_OF_AN_HOUR] {
            assert_eq!(time_left(NOW - late, NOW), Some(Duration::ZERO));
        }
    }
}

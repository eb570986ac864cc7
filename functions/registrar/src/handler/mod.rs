//! The functions' handlers: what comes in is converged, and answered to whoever sent it.

mod batch;
mod instance_state;
mod lifecycle;
mod orders;
mod reconcile;
mod records;

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
    engine::Registrar,
    report::{
        Failed, Report,
        metrics::{Metrics, Source},
    },
};

pub use instance_state::InstanceState;
pub use lifecycle::Lifecycle;
pub use reconcile::Reconcile;

/// What every function has.
struct Base {
    clients: Arc<Clients>,
    registrar: Registrar,
    source: Source,
    has_metrics: bool,
}

impl Base {
    fn new(function: &'static str, sdk: &SdkConfig, config: &Config) -> Self {
        let clients = Arc::new(Clients::new(sdk));
        let registrar = Registrar::new(clients.clone(), config.mode, config.scope).with_orphans(config.orphans);
        let source = Source { stack: config.stack.clone(), function };
        Self { clients, registrar, source, has_metrics: config.has_metrics }
    }

    /// Answers with a report, or with its failures as an error, so that Lambda repeats the invocation.
    fn answer(report: Report) -> Result<Value, Failure> {
        log(&report);
        match report.has_failed() {
            true => Err(Failure::Incomplete(Box::new(report))),
            false => Ok(serde_json::to_value(report).unwrap_or_default()),
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

/// How long work waits that has failed so often.
fn back_off(failures: u32, longest: Duration) -> Duration {
    FAILED_RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// When Lambda ends the invocation, by tokio's clock; `None` where it does not say (`cargo lambda watch`).
#[expect(clippy::disallowed_methods, reason = "Lambda tells its deadline by the wall's clock, which is read this once")]
fn deadline(context: &Context) -> Option<MonotonicTime> {
    let at = Some(context.deadline).filter(|at| *at > 0)?;
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(MonotonicTime::now() + Duration::from_millis(at).saturating_sub(now))
}

fn log(report: &Report) {
    tracing::info!(report = %serde_json::to_string(report).unwrap_or_default(), "converged");
}

/// Why an invocation could not be served.
#[derive(Error)]
pub enum Failure {
    /// Nobody can: repeating it would not help.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The instances could not be described: nothing was done.
    #[error("{}", .0.to_sentence())]
    Call(#[from] CallError),
    /// Something failed; what was done is done, and the rest is for the next attempt.
    #[error("{}", sentences(.0))]
    Incomplete(Box<Report>),
}

/// A sentence, as for people: `lambda_runtime` writes this form into the log.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn sentences(report: &Report) -> String {
    let sentence = |(id, failed): (Option<&InstanceId>, &Failed)| match id {
        Some(id) => format!("{id}: {}", failed.because),
        None => failed.because.to_string(),
    };
    report.failures().map(sentence).collect::<Vec<_>>().join("; ")
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
    fn the_form_for_the_log_is_a_sentence() {
        let failure = Failure::from(NotUnderstood::State("exploded".to_owned()));
        assert_eq!(format!("{failure:?}"), "`exploded` is not a state of an instance that this version knows");
    }

    #[test]
    fn failures_are_retried_ever_later_up_to_a_limit() {
        let waits = [0, 1, 2, 6, 7, 4_000_000_000].map(|count| back_off(count, Duration::from_secs(600)).as_secs());
        assert_eq!(waits, [15, 15, 30, 480, 600, 600]);
    }

    #[test]
    fn without_a_deadline_there_is_all_the_time_and_a_past_one_is_now() {
        assert_eq!(deadline(&Context::default()), None);
        let mut context = Context::default();
        context.deadline = 1;
        assert!(deadline(&context).is_some_and(|at| at <= MonotonicTime::now()));
    }
}

//! What the clients' calls were: how many, how many of them throttled or denied, and what time their service says it
//! is. Throttled calls slow the [`Budget`] down.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextRef,
            BeforeTransmitInterceptorContextRef,
        },
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::date_time::{DateTime as SdkDateTime, Format};
use chrono::{DateTime, Utc};
use protocol::{
    call_error::{DENIED, THROTTLED},
    time::Timestamp,
};

use crate::aws::budget::{ApiSet, Budget, Service};

/// Counts of all clients of a function, since they were last taken.
#[derive(Debug, Default)]
pub struct CallCounts {
    calls: AtomicU64,
    throttled: AtomicU64,
    denied: AtomicU64,
}

/// What was counted until it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Attempts of calls.
    pub calls: u64,
    /// Attempts that came too fast.
    pub throttled: u64,
    /// Attempts for which a permission is missing, whether or not the work could go on without it.
    pub denied: u64,
}

impl CallCounts {
    /// Takes the counts. The next ones begin at 0.
    pub fn take(&self) -> Counted {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counted { calls: take(&self.calls), throttled: take(&self.throttled), denied: take(&self.denied) }
    }
}

/// Watches one client's calls.
#[derive(Clone, Debug, Default)]
pub struct CallWatch {
    counts: Arc<CallCounts>,
    /// The `Date` of the last answer.
    date: Arc<Mutex<Option<Timestamp>>>,
    /// Whether only calls that describe are let through.
    refuses_writes: bool,
    /// The budget that throttled calls slow down, and the service of these calls.
    budget: Option<(Service, Arc<Budget>)>,
}

impl CallWatch {
    /// Creates a watch that adds to the counts of others.
    pub fn counting_in(counts: &Arc<CallCounts>) -> Self {
        Self { counts: counts.clone(), ..Self::default() }
    }

    /// Returns the same watch, for clients that must change nothing, whatever their caller asks.
    #[must_use]
    pub fn refusing_writes(self) -> Self {
        Self { refuses_writes: true, ..self }
    }

    /// Returns the same watch, for a client whose service has limits on calls. Each call that came too fast slows down
    /// those to come.
    #[must_use]
    pub fn slowing(self, service: Service, budget: &Arc<Budget>) -> Self {
        Self { budget: Some((service, budget.clone())), ..self }
    }

    /// Returns the service's time, by its last answer.
    ///
    /// It is compared with EC2's `LaunchTime` and the times in tags, because the same clock wrote them. Our own clock
    /// may be wrong, and a process in the sandbox has another clock altogether.
    #[expect(clippy::disallowed_methods, reason = "an answer without `Date` leaves nothing but our own clock")]
    pub fn service_time(&self) -> Timestamp {
        self.date.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Utc::now)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for CallWatch {
    fn name(&self) -> &'static str {
        "CallWatch"
    }

    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Not `read_before_execution`: a client's interceptors are called there before the operation has its name. All
        // that is read here is described, so an operation without a name is refused as well.
        let operation = operation(config);
        match self.refuses_writes && !operation.starts_with("Describe") {
            true => Err(format!("{operation} is not a call that only describes").into()),
            false => Ok(()),
        }
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let date = response.headers().get("date").and_then(|date| SdkDateTime::from_str(date, Format::HttpDate).ok());
        let date = date.and_then(|date| DateTime::from_timestamp(date.secs(), 0));
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = date;
        if !response.status().is_success() {
            let body = response.body().bytes().unwrap_or_default();
            let is_throttled = has_code(body, &THROTTLED);
            self.counts.throttled.fetch_add(u64::from(is_throttled), Ordering::Relaxed);
            self.counts.denied.fetch_add(u64::from(has_code(body, &DENIED)), Ordering::Relaxed);
            if let (true, Some((service, budget))) = (is_throttled, &self.budget)
                && let Some(set) = ApiSet::of(*service, operation(config))
            {
                budget.slow_down(set);
            }
        }
        Ok(())
    }
}

/// Returns the operation's name, such as `DescribeTargetHealth`.
fn operation(config: &ConfigBag) -> &str {
    config.load::<Metadata>().map(Metadata::name).unwrap_or_default()
}

/// Returns whether a refusal in any of the protocols has one of some codes: `<Code>Throttling</Code>`,
/// `"...#Throttling"`.
fn has_code(body: &[u8], codes: &[&str]) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| codes.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_and_denial_are_told_from_other_refusals_in_every_protocol() {
        for (body, is_throttled, is_denied) in [
            ("<Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>", true, false),
            ("<Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors>", true, false),
            (r#"{"__type":"com.amazonaws.sqs#ThrottlingException"}"#, true, false),
            ("<Error><Code>AccessDenied</Code></Error>", false, true),
            ("<Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors>", false, true),
            ("<Error><Code>InvalidTarget</Code></Error>", false, false),
            ("", false, false),
        ] {
            let body = body.as_bytes();
            assert_eq!((has_code(body, &THROTTLED), has_code(body, &DENIED)), (is_throttled, is_denied), "{body:?}");
        }
    }
}

//! What the clients' calls were: how many, how many of them throttled, and what time their service says it is.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_types::date_time::{DateTime as SdkDateTime, Format};
use chrono::{DateTime, Utc};

use crate::{error::THROTTLED, instance::Timestamp};

/// Counts of all clients of a function, since they were taken last.
#[derive(Debug, Default)]
pub struct CallCounts {
    calls: AtomicU64,
    throttled: AtomicU64,
}

impl CallCounts {
    /// Takes the counts: attempts, and those of them that were throttled. The next count from nothing.
    pub fn take(&self) -> (u64, u64) {
        (self.calls.swap(0, Ordering::Relaxed), self.throttled.swap(0, Ordering::Relaxed))
    }
}

/// Watches one client's calls.
#[derive(Clone, Debug, Default)]
pub struct CallWatch {
    counts: Arc<CallCounts>,
    /// From the `Date` of the last answer.
    date: Arc<Mutex<Option<Timestamp>>>,
}

impl CallWatch {
    /// A watch that adds to the counts of others.
    pub fn counting_in(counts: &Arc<CallCounts>) -> Self {
        Self { counts: counts.clone(), date: Arc::default() }
    }

    /// The service's time, from its last answer.
    ///
    /// EC2's `LaunchTime` and the times in tags are compared with it: it is the clock that wrote them. Our own may be off,
    /// and a process in the sandbox has another one altogether.
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
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let date = response.headers().get("date").and_then(|date| SdkDateTime::from_str(date, Format::HttpDate).ok());
        let date = date.and_then(|date| DateTime::from_timestamp(date.secs(), 0));
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = date;
        if !response.status().is_success() && is_throttling(response.body().bytes().unwrap_or_default()) {
            self.counts.throttled.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether a refusal in any of the protocols has a code of throttling: `<Code>Throttling</Code>`, `"...#Throttling"`.
fn is_throttling(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| THROTTLED.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_told_from_other_refusals_in_every_protocol() {
        for (body, expected) in [
            ("<Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>", true),
            ("<Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors>", true),
            (r#"{"__type":"com.amazonaws.sqs#ThrottlingException"}"#, true),
            ("<Error><Code>InvalidTarget</Code></Error>", false),
            ("", false),
        ] {
            assert_eq!(is_throttling(body.as_bytes()), expected, "{body}");
        }
    }
}

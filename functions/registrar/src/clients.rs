//! How AWS is called: time limits, retries, one HTTP stack. The SDK sets no time limit by itself.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};

/// Opening a connection. Within a Region that takes milliseconds; a black hole should not cost the whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One attempt. The slowest calls here (a page of 400 target groups) take a second or two.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// One call with all its attempts: part of what [`crate::decide::SETTLE`] is made of.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts of one call. Enough to wait for a token bucket that refills 4 times a second; more would only keep other
/// events waiting, and the queue brings this one back anyway.
const ATTEMPTS_MAX: u32 = 6;

/// Time limits of every client.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// Retries of every client: the standard mode, with exponential back-off and a quota that stops a storm of retries.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)
}

/// Reads Region, credentials and endpoint from the environment, as the SDK does everywhere.
pub async fn from_env() -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest());
    loader.timeout_config(timeouts()).retry_config(retries()).load().await
}

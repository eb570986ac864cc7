//! The log: one JSON line for each thing done, with an RFC 3339 time stamp, without which Lambda ignores a line's level.

use tracing_subscriber::filter::LevelFilter;

/// Set by Lambda from the function's logging configuration.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Starts logging to the standard output, for the rest of the process.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .init();
}

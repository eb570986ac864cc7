//! The log: one JSON line for each thing done, with an RFC 3339 time stamp, without which Lambda ignores a line's level.

use tracing_subscriber::filter::LevelFilter;

/// The variable that Lambda sets from the function's logging configuration.
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

/// Returns what a start needs, or ends the process with a line in the log that says what is wrong.
///
/// A `main` that returns the error would print its `Debug` form, in which no reader finds the sentence.
pub fn or_exit<T>(needed: Result<T, impl std::error::Error>) -> T {
    needed.unwrap_or_else(|error| {
        tracing::error!(why = %error, "cannot start");
        std::process::exit(1)
    })
}

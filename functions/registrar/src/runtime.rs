//! Lambda's runtime, which hands a function its events: what it needs at the start, and why it ended.
//!
//! `lambda_runtime` panics without some variables, and its errors have a `Debug` form in which no reader finds the
//! sentence.

use std::{env, process::ExitCode};

use protocol::call_error::chain;
use thiserror::Error;

/// Variables that Lambda sets for every function
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>), and without which
/// `lambda_runtime` 1.5 panics (`Config::from_env` there, and the client of the Runtime API).
const NEEDED: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// A variable that Lambda's runtime sets is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the environment variable {0} is missing: this program is a Lambda function, and Lambda sets it; by hand, start it with `cargo lambda watch` (docs/by-hand.md)"
)]
pub struct NoRuntime(&'static str);

/// Checks that the process was started by Lambda, or by something that does as Lambda does.
///
/// # Errors
/// Names the first variable that is missing.
pub fn check() -> Result<(), NoRuntime> {
    check_variables(|name| env::var(name).is_ok())
}

fn check_variables(is_set: impl Fn(&str) -> bool) -> Result<(), NoRuntime> {
    NEEDED.into_iter().find(|name| !is_set(name)).map_or(Ok(()), |name| Err(NoRuntime(name)))
}

/// Logs why the runtime ended, and returns the process's exit status. Lambda's own does not end while the function lives.
pub fn ended(result: Result<(), lambda_runtime::Error>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let at = env::var(NEEDED[0]).unwrap_or_default();
    tracing::error!(at, why = chain(&*error), "Lambda's runtime cannot be reached");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_lambda_did_not_start_says_so() {
        assert_eq!(check_variables(|_| true), Ok(()));
        let sentence = check_variables(|name| name != "AWS_LAMBDA_FUNCTION_VERSION").unwrap_err().to_string();
        assert!(
            sentence.starts_with("the environment variable AWS_LAMBDA_FUNCTION_VERSION is missing: "),
            "{sentence}"
        );
        assert!(sentence.contains("`cargo lambda watch`"), "{sentence}");
    }
}

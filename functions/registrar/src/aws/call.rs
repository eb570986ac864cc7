//! A call to AWS, and what the SDK says of one that did not succeed.

use std::{error::Error as StdError, fmt, sync::Arc};

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use protocol::call_error::CallError;

/// What the SDK says of a call that needs an action of IAM.
pub(crate) fn call_error<E, R>(action: &'static str, error: SdkError<E, R>) -> CallError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    if let Some(refusal) = error.as_service_error()
        && let Some(code) = refusal.code()
    {
        let message = refusal.message().unwrap_or("no reason given").to_owned();
        return CallError::Refused { action, code: code.to_owned(), message };
    }
    CallError::Unanswered { action, source: Arc::new(error) }
}

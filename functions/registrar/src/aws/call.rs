//! The one way to call AWS, with a token of the budget and again if the call came too fast; and the one way through
//! pages.

use std::{error::Error as StdError, fmt, future::Future, sync::Arc};

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use protocol::call_error::CallError;

use super::budget::{ApiSet, Budget};

/// The SDK's answer to a request.
type Sent<T, E, R> = Result<T, SdkError<E, R>>;

/// An error of an operation, as the SDK has it.
pub(crate) trait Refusal: ProvideErrorMetadata + StdError + Send + Sync + 'static {}

impl<E: ProvideErrorMetadata + StdError + Send + Sync + 'static> Refusal for E {}

impl Budget {
    /// Makes a call that needs an action of IAM, as its set of APIs allows, and again if AWS refused it as coming too
    /// fast. With `None`, for a service without a published limit, the call is made once.
    ///
    /// # Errors
    /// What AWS says, after the SDK's own retries.
    pub(crate) async fn call<T, E, R, F>(
        &self,
        set: impl Into<Option<ApiSet>>,
        action: &'static str,
        send: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        E: Refusal,
        R: fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Sent<T, E, R>> + Send,
    {
        match set.into() {
            Some(set) => self.patiently(set, || once(action, send())).await,
            None => once(action, send()).await,
        }
    }

    /// Calls for one page after another until there is none, and shows each as soon as it has come. `page` requests the
    /// page of a token, and `next` reads the next page's token.
    ///
    /// # Errors
    /// What AWS says of the first page that could not be read.
    pub(crate) async fn pages<T, E, R, F>(
        &self,
        set: impl Into<Option<ApiSet>>,
        action: &'static str,
        page: impl Fn(Option<String>) -> F,
        next: impl Fn(&T) -> Option<&str>,
        mut see: impl FnMut(T),
    ) -> Result<(), CallError>
    where
        E: Refusal,
        R: fmt::Debug + Send + Sync + 'static,
        F: Future<Output = Sent<T, E, R>> + Send,
    {
        let set = set.into();
        let mut token = None;
        loop {
            let found = self.call(set, action, || page(token.clone())).await?;
            token = next(&found).filter(|token| !token.is_empty()).map(str::to_owned);
            see(found);
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

/// Makes a call once, for a caller that has waited for a token already.
///
/// # Errors
/// What AWS says, after the SDK's own retries.
pub(crate) async fn once<T, E, R>(
    action: &'static str,
    sent: impl Future<Output = Sent<T, E, R>>,
) -> Result<T, CallError>
where
    E: Refusal,
    R: fmt::Debug + Send + Sync + 'static,
{
    sent.await.map_err(|error| call_error(action, error))
}

/// Returns what the SDK says of a call that needs an action of IAM.
fn call_error<E: Refusal, R>(action: &'static str, error: SdkError<E, R>) -> CallError
where
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

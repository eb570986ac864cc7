//! Runs a function's handler in the test's own process, on the simulated clock.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Ending, Invocation, finish,
    invocation::{Taker, take},
};
use crate::{Sandbox, Shared};

/// Lets a handler answer the invocations of a function, as many at a time as the function may have.
///
/// A timeout and a kill drop the handler's future: it runs no further, as in a process that was ended. Tasks that the handler
/// spawned go on.
///
/// # Panics
/// If there is no such function, and outside a tokio runtime.
pub fn run_in_process(
    sandbox: &Sandbox,
    function: &str,
    handler: impl Fn(Invocation) -> BoxFuture<'static, Result<Value, Value>> + Send + Sync + 'static,
) {
    let work = sandbox.with(|world| world.lambda.functions.get(function).map(|found| found.work.subscribe()));
    let mut work = work.unwrap_or_else(|| panic!("there is no function {function}"));
    let (shared, function, handler) = (Arc::downgrade(&sandbox.shared), function.to_owned(), Arc::new(handler));
    tokio::spawn(async move {
        loop {
            let taken = {
                let Some(sandbox) = shared.upgrade().map(|shared| Sandbox { shared }) else { return };
                sandbox.with(|world| take(world, &function, &Taker::InProcess))
            };
            match taken {
                Some((invocation, over)) => {
                    let (request_id, access_key) = (invocation.request_id.clone(), invocation.access_key.clone());
                    let handler = unless_frozen(shared.clone(), access_key, (*handler)(invocation));
                    tokio::spawn(run(shared.clone(), request_id, over, handler.boxed()));
                }
                None if work.changed().await.is_err() => return,
                None => {}
            }
        }
    });
}

/// Runs a handler, and lets it stand still while its process is frozen.
async fn unless_frozen<R>(shared: Weak<Shared>, access_key: String, mut handler: BoxFuture<'static, R>) -> R {
    let frozen = || {
        let sandbox = Sandbox { shared: shared.upgrade()? };
        let duration = sandbox.lock().lambda.frozen.remove(&access_key)?;
        let clock = sandbox.clock().clone();
        Some(async move { clock.sleep(duration).await }.boxed())
    };
    let mut thaw: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|context| {
        // A call that was answered just now may have frozen it.
        thaw = thaw.take().or_else(frozen);
        if let Some(sleep) = &mut thaw {
            std::task::ready!(sleep.poll_unpin(context));
            thaw = None;
        }
        handler.poll_unpin(context)
    })
    .await
}

async fn run(
    shared: Weak<Shared>,
    request_id: String,
    over: oneshot::Receiver<()>,
    handler: BoxFuture<'static, Result<Value, Value>>,
) {
    // A panic is reported and the process lives on, as lambda_runtime does it.
    let handler = AssertUnwindSafe(handler).catch_unwind();
    let answer = tokio::select! {
        // The end is checked first, so that an invocation that was killed at this instant makes no further call.
        biased;
        _ = over => return,
        answer = handler => answer,
    };
    let ending = match answer {
        Ok(Ok(value)) => Ending::Answered(value),
        Ok(Err(error)) => Ending::Failed(error),
        Err(_) => Ending::Failed(json!({ "errorType": "Panic", "errorMessage": "the handler panicked" })),
    };
    if let Some(sandbox) = shared.upgrade().map(|shared| Sandbox { shared }) {
        sandbox.with(|world| finish(world, &request_id, ending));
    }
}

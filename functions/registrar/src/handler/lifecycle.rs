//! The function `lifecycle`: instances that wait at a hook of their Auto Scaling group are converged. The hook is held
//! until draining is over, or health is real.

use std::time::Duration;

use aws_types::SdkConfig;
use futures::{FutureExt, future::BoxFuture};
use lambda_runtime::LambdaEvent;
use protocol::{
    call_error::CallError,
    event::{LifecycleAction, NotUnderstood, Place, Told},
    hook::is_own,
    id::InstanceId,
    time::Timestamp,
    timing::ACTION_FAILED_RETRY,
};
use serde_json::Value;

use super::{
    Failure,
    again::Again,
    batch::{BehindQueue, Work},
};
use crate::{
    config::Config,
    engine::Engine,
    workflow::{Converged, LifecycleSettings, Together},
};

/// The function, with everything that outlives an invocation.
pub struct Lifecycle(BehindQueue<LifecycleActions>);

struct LifecycleActions {
    hook_prefix: String,
    other_hook_prefixes: Vec<String>,
    settings: LifecycleSettings,
}

impl Lifecycle {
    /// Creates the function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let settings = LifecycleSettings { health_timeout: config.health_timeout, network_drain: config.network_drain };
        let hook_prefix = config.lifecycle_hook_prefix.clone();
        let other_hook_prefixes = config.other_hook_prefixes.clone();
        Self(BehindQueue::new(sdk, config, LifecycleActions { hook_prefix, other_hook_prefixes, settings }))
    }

    /// Opens the connections that every event needs: see [`crate::aws::clients::Clients::connect`].
    pub async fn connect(&self) {
        self.0.connect().await;
    }

    /// Answers one invocation: a batch from SQS with the records that are parked, a bare event with the report of one
    /// look.
    ///
    /// # Errors
    /// For a bare event only: if it is not understood, or if not everything could be done. Lambda then repeats it.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        self.0.invoke(event).await
    }
}

impl Work for LifecycleActions {
    type Notice = LifecycleAction;

    const FUNCTION: &'static str = "lifecycle";
    const TAKES: &'static str = LifecycleAction::TAKES;
    // If nothing could be read, there was no heartbeat either.
    const FAILED_RETRY_MAX: Duration = ACTION_FAILED_RETRY;
    // The hook's clock goes on meanwhile.
    const COMES_BACK_SOON: bool = true;

    fn read(&self, text: &str, place: &Place) -> Result<Told<LifecycleAction>, NotUnderstood> {
        let told = LifecycleAction::of_text(text, place, &self.hook_prefix)?;
        match &told {
            // The rule cannot leave it out: of the matchers for one field, one has to match, and not all of them.
            Told::Look(action) if !is_own(action.hook.as_str(), &self.hook_prefix, &self.other_hook_prefixes) => {
                Ok(Told::Nothing("the hook belongs to another deployment, whose prefix is longer"))
            }
            _ => Ok(told),
        }
    }

    fn told_by_queue(action: LifecycleAction, at: Timestamp) -> LifecycleAction {
        action.told_by_queue(at)
    }

    fn instance(action: &LifecycleAction) -> &InstanceId {
        &action.instance
    }

    fn apart(action: &LifecycleAction) -> Option<&str> {
        Some(action.group.as_str())
    }

    fn converge<'w>(
        &'w self,
        engine: &'w Engine,
        actions: &'w [LifecycleAction],
        _together: Together,
    ) -> BoxFuture<'w, Result<Converged, CallError>> {
        engine.converge_actions(actions, &self.settings).boxed()
    }

    /// Returns no order: a sweep knows nothing of hooks, so none is ever ordered for one.
    fn order(_actions: &[&LifecycleAction]) -> String {
        String::new()
    }

    /// Returns nothing: the hook's own time limits its looks, and each comes within [`ACTION_FAILED_RETRY`] of a failure.
    fn again(_action: LifecycleAction, _wait: Option<Duration>) -> Option<Again> {
        None
    }
}

//! The function `instance-state`: the instances that EC2's state changes name are converged.

use std::time::Duration;

use aws_types::SdkConfig;
use futures::{FutureExt, future::BoxFuture};
use lambda_runtime::LambdaEvent;
use protocol::{
    call_error::CallError,
    event::{NotUnderstood, Notice, Place, Told, order_of},
    id::InstanceId,
    time::Timestamp,
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
    workflow::{Converged, Together},
};

/// The function, with everything that outlives an invocation.
pub struct InstanceState(BehindQueue<StateChanges>);

struct StateChanges;

impl InstanceState {
    /// Creates the function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self(BehindQueue::new(sdk, config, StateChanges))
    }

    /// Opens the connections that every event needs: see [`crate::aws::clients::Clients::connect`].
    pub async fn connect(&self) {
        self.0.connect().await;
    }

    /// Answers one invocation: a batch from SQS with the records that failed, a bare event with the report.
    ///
    /// # Errors
    /// For a bare event only: if it is not understood, or if not everything could be done. Lambda then repeats it.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        self.0.invoke(event).await
    }
}

impl Work for StateChanges {
    type Notice = Notice;

    const FUNCTION: &'static str = "instance-state";
    const TAKES: &'static str = Notice::TAKES;
    const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);
    const COMES_BACK_SOON: bool = false;

    fn read(&self, text: &str, place: &Place) -> Result<Told<Notice>, NotUnderstood> {
        Notice::of_event(text, place).map(Told::Look)
    }

    fn told_by_queue(notice: Notice, at: Timestamp) -> Notice {
        notice.told_by_queue(at)
    }

    fn instance(notice: &Notice) -> &InstanceId {
        &notice.instance
    }

    fn converge<'w>(
        &'w self,
        engine: &'w Engine,
        notices: &'w [Notice],
        together: Together,
    ) -> BoxFuture<'w, Result<Converged, CallError>> {
        engine.converge(notices, together).boxed()
    }

    fn order(notices: &[&Notice]) -> String {
        order_of(notices)
    }

    fn again(notice: Notice, wait: Option<Duration>) -> Option<Again> {
        Some(Again::after(notice, wait))
    }
}

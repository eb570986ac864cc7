//! Orders from the FIFO queue: functions that serve events leave many instances to one sweep.
//!
//! An order only names instances, so a stranger who can send one can have instances looked at, and no more. It stays in its queue until the sweep has
//! converged each instance, or has sent its event to the queue of events, where a message can be parked. If the process dies, the order comes again.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use futures::{
    FutureExt,
    future::{Either, select},
};
use protocol::{
    event::{Notice, notices_of},
    timing::ORDER_IS_TAKEN_FOR,
};
use serde_json::Value;

use super::{back_off, log, reconcile::Reconcile, records};
use crate::{
    report::metrics::Metrics,
    workflow::{Converged, Outcome},
};

/// The longest wait before work that failed is tried again, as for events.
const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);

/// How often the work on an instance may fail. It is tried for about eight hours, as for an event that is served alone.
const FAILURES_MAX: u32 = 50;

impl Reconcile {
    /// Works on the instances that orders name, and on all that do the same. Returns the answer for SQS.
    ///
    /// If EC2 describes nothing, each event of the orders goes to the queue of events, like one whose work failed.
    pub(super) async fn serve(&self, orders: Vec<SqsMessage>, metrics: &mut Metrics) -> Value {
        let mut notices: Vec<Notice> = Vec::new();
        for order in &orders {
            let body = order.body.as_deref().unwrap_or_default();
            match notices_of(body) {
                Ok(named) => notices.extend(named),
                Err(reason) => {
                    metrics.add_not_understood(1);
                    tracing::error!(why = %reason, "order not understood");
                    // A repetition would not help, and would hold up the message group. So the order is dropped even if it cannot be buried.
                    self.events.bury(body, &reason.to_string()).await;
                }
            }
        }
        let told = notices.len();
        notices.retain(|notice| !self.base.engine.has_served(notice));
        if notices.len() < told {
            tracing::info!(events = told - notices.len(), "an earlier sweep has served them");
        }
        if notices.is_empty() {
            return records::answer([]);
        }
        let receipt_handles = orders.iter().filter_map(|order| order.receipt_handle.clone()).collect();
        let alive = self.orders.keep(receipt_handles, ORDER_IS_TAKEN_FOR).boxed();
        let work = self.base.engine.converge_together(&notices).boxed();
        let converged = match select(work, alive).await {
            Either::Left((converged, _)) => converged,
            Either::Right((never, _)) => match never {},
        };
        let outcomes = match converged {
            Ok(Converged { report, outcomes, .. }) => {
                log(&report);
                metrics.add_report(&report);
                outcomes
            }
            Err(error) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                metrics.add_failure((&error).into());
                vec![Outcome::Failed; notices.len()]
            }
        };
        let mut later = Vec::new();
        for (notice, outcome) in notices.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Later(wait) => later.push((notice.to_order(), wait)),
                Outcome::Failed => later.extend(self.again(notice).await),
                Outcome::Done | Outcome::Together(_) | Outcome::NotUnderstood(_) => {}
            }
        }
        match self.events.send_later(&later).await {
            Ok(()) => records::answer([]),
            Err(error) => {
                tracing::error!(why = error.to_sentence(), "could not leave to events what is not done yet");
                metrics.add_failure((&error).into());
                // All orders come again, or none: in a message group, SQS repeats every message after one that failed.
                records::answer(orders.into_iter().map(|order| order.message_id))
            }
        }
    }

    /// Returns the order for an instance whose work failed, and its delay; `None` if it is a dead letter now.
    async fn again(&self, notice: Notice) -> Option<(String, Duration)> {
        let failures = notice.failures.saturating_add(1);
        if failures >= FAILURES_MAX {
            // If it is redriven, it begins anew.
            let plain = Notice { announced: None, failures: 0, ..notice.clone() };
            let why =
                format!("the work on it has failed {failures} times: put right what the log names, then redrive it");
            if self.events.bury(&plain.to_order(), &why).await {
                return None;
            }
        }
        let wait = back_off(failures, FAILED_RETRY_MAX);
        Some((Notice { failures, ..notice }.to_order(), wait))
    }
}

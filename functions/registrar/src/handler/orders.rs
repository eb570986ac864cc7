//! Orders: what functions that serve events leave to one sweep of many, from the FIFO queue of orders.
//!
//! An order only names instances, so whoever can send one can have instances looked at. It stays in its queue until all that it names is done, or waits in
//! the queue of events, where a message can be parked. If the process dies, the order comes again.

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

/// How late the last retries come of what fails again and again, as for events.
const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);

/// How often the work on an instance may fail, together with others: for about eight hours, as an event may that is served alone.
const FAILURES_MAX: u32 = 50;

impl Reconcile {
    /// Works on what some orders name, and on all that do the same at the time. Answers what SQS wants to hear.
    ///
    /// If nothing can be read, each event of the orders goes on by itself, as one at which something failed.
    pub(super) async fn serve(&self, orders: Vec<SqsMessage>, metrics: &mut Metrics) -> Value {
        let mut notices: Vec<Notice> = Vec::new();
        for order in &orders {
            let body = order.body.as_deref().unwrap_or_default();
            match notices_of(body) {
                Ok(named) => notices.extend(named),
                Err(reason) => {
                    metrics.add_not_understood(1);
                    tracing::error!(why = %reason, "order not understood");
                    // Repeating it would not help, and it would hold up its group: without a place for it, it goes.
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
                // Of a message group, all come again that come after one that failed, so it is none or all.
                records::answer(orders.into_iter().map(|order| order.message_id))
            }
        }
    }

    /// The order for an instance at which something failed, and how late it comes; `None` where it is among the dead letters.
    async fn again(&self, notice: Notice) -> Option<(String, Duration)> {
        let failures = notice.failures.saturating_add(1);
        if failures >= FAILURES_MAX {
            // Redriven, it begins anew.
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

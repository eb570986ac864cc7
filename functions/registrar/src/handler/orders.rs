//! Orders from the FIFO queue: functions that serve events leave many instances to one sweep.
//!
//! An order only names instances, so a stranger who can send one can have instances looked at, and no more. It stays in its queue until the sweep has
//! converged each instance, or has sent its event to the queue of events, where each comes back by itself. If the process dies, the order comes again.

use std::collections::BTreeSet;

use aws_lambda_events::sqs::SqsMessage;
use futures::{
    FutureExt,
    future::{Either, select},
};
use protocol::{
    decide::storm::Sweep,
    event::{Notice, notices_of},
    id::InstanceId,
    timing::ORDER_IS_TAKEN_FOR,
};
use serde_json::Value;

use super::{again::Again, log, reconcile::Reconcile, records};
use crate::{
    report::metrics::Metrics,
    workflow::{Converged, Outcome},
};

impl Reconcile {
    /// Works on the instances that orders name, and on all that do the same. Returns the answer for SQS.
    ///
    /// If EC2 describes nothing, each event of the orders goes to the queue of events, like one whose work failed.
    pub(super) async fn serve(&self, orders: Vec<SqsMessage>, metrics: &mut Metrics) -> Value {
        let mut notices: Vec<Notice> = Vec::new();
        let mut alone: BTreeSet<InstanceId> = BTreeSet::new();
        for order in &orders {
            let body = order.body.as_deref().unwrap_or_default();
            match notices_of(body) {
                Ok(named) => {
                    if records::message_group(order) == Some(Sweep::Named.message_group()) {
                        alone.extend(named.iter().map(|notice| notice.instance.clone()));
                    }
                    notices.extend(named);
                }
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
        let work = self.base.engine.converge_together(&notices, &alone).boxed();
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
            let wait = match outcome {
                Outcome::Later(wait) => Some(wait),
                Outcome::Failed => None,
                Outcome::Done | Outcome::Together(_) | Outcome::NotUnderstood(_) => continue,
            };
            later.extend(Again::after(notice, wait).into_message(&self.events).await);
        }
        match self.events.send_later(&later).await {
            Ok(_) => records::answer([]),
            Err(error) => {
                tracing::error!(why = error.to_sentence(), "could not leave to events what is not done yet");
                metrics.add_failure((&error).into());
                // All orders come again, or none: in a message group, SQS repeats every message after one that failed.
                records::answer(orders.into_iter().map(|order| order.message_id))
            }
        }
    }
}

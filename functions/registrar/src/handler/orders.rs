//! Orders from the FIFO queue: functions that serve events leave many instances to one sweep.
//!
//! An order only names instances, so a stranger who can send one can have instances looked at, and no more. It stays in its queue until the sweep has
//! converged each instance, or has sent its event to the queue of events, where each comes back by itself. If the process dies, the order comes again.

use std::{collections::BTreeMap, sync::Mutex};

use aws_lambda_events::sqs::SqsMessage;
use futures::{
    FutureExt,
    future::{Either, join_all, select},
};
use protocol::{
    decide::storm::Sweep,
    event::{LOOKS_AN_ORDER_MAX, Notice, notices_of, order_of},
    timing::ORDER_IS_TAKEN_FOR,
};
use serde_json::Value;

use super::{
    again::Again,
    batch::{locked, order_sweep},
    log,
    reconcile::Reconcile,
    records,
};
use crate::{
    report::metrics::Metrics,
    workflow::{Converged, Outcome},
};

impl Reconcile {
    /// Works on the instances that orders name, and on all that do the same. Returns the answer for SQS.
    ///
    /// SQS hands over orders of several message groups together. Each group is worked on by itself and at once, so that no storm that grows
    /// holds up a lone stop.
    pub(super) async fn serve(&self, orders: Vec<SqsMessage>, metrics: &mut Metrics) -> Value {
        let mut groups: BTreeMap<Sweep, Vec<SqsMessage>> = BTreeMap::new();
        for order in orders {
            let sweep = records::message_group(&order).and_then(Sweep::of_message_group);
            // An order by hand, in any group, is of no storm.
            groups.entry(sweep.unwrap_or(Sweep::Named)).or_default().push(order);
        }
        let (is_mixed, metrics) = (groups.len() > 1, Mutex::new(metrics));
        let served = groups.into_iter().map(|(sweep, orders)| {
            let metrics = &metrics;
            async move {
                let handles: Vec<String> = orders.iter().filter_map(|order| order.receipt_handle.clone()).collect();
                let failed = self.serve_group(orders, sweep, metrics).await;
                // A message in flight blocks its group, and another group's sweep may take minutes.
                if is_mixed && failed.is_empty() {
                    self.orders.delete(&handles).await;
                }
                failed
            }
        });
        records::answer(join_all(served).await.into_iter().flatten())
    }

    /// Works on the orders of a message group. Returns the ids of the messages that have to come again.
    ///
    /// If EC2 describes nothing, each event of the orders goes to the queue of events, like one whose work failed.
    async fn serve_group(
        &self,
        orders: Vec<SqsMessage>,
        sweep: Sweep,
        metrics: &Mutex<&mut Metrics>,
    ) -> Vec<Option<String>> {
        let mut notices: Vec<Notice> = Vec::new();
        for order in &orders {
            let body = order.body.as_deref().unwrap_or_default();
            match notices_of(body) {
                Ok(named) => notices.extend(named),
                Err(reason) => {
                    locked(metrics).add_not_understood(1);
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
            return Vec::new();
        }
        let receipt_handles = orders.iter().filter_map(|order| order.receipt_handle.clone()).collect();
        let alive = self.orders.keep(receipt_handles, ORDER_IS_TAKEN_FOR).boxed();
        let work = self.base.engine.converge_together(&notices, sweep).boxed();
        let converged = match select(work, alive).await {
            Either::Left((converged, _)) => converged,
            Either::Right((never, _)) => match never {},
        };
        let outcomes = match converged {
            Ok(Converged { report, outcomes, .. }) => {
                log(&report);
                locked(metrics).add_report(&report);
                outcomes
            }
            Err(error) => {
                tracing::error!(why = error.to_sentence(), "nothing could be done");
                locked(metrics).add_failure((&error).into());
                vec![Outcome::Failed; notices.len()]
            }
        };
        let (mut later, mut left) = (Vec::new(), Vec::new());
        for (notice, outcome) in notices.into_iter().zip(outcomes) {
            let wait = match outcome {
                Outcome::Later(wait) => Some(wait),
                Outcome::Failed => None,
                Outcome::Together(sweep) => {
                    left.push((sweep, notice));
                    continue;
                }
                Outcome::Done | Outcome::NotUnderstood(_) => continue,
            };
            later.extend(Again::after(notice, wait).into_message(&self.events).await);
        }
        let id = orders.first().and_then(|order| order.message_id.clone()).unwrap_or_default();
        for notice in self.order(left, &id).await {
            later.extend(Again::after(notice, None).into_message(&self.events).await);
        }
        match self.events.send_later(&later).await {
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::error!(why = error.to_sentence(), "could not leave to events what is not done yet");
                locked(metrics).add_failure((&error).into());
                // All orders come again, or none: in a message group, SQS repeats every message after one that failed.
                orders.into_iter().map(|order| order.message_id).collect()
            }
        }
    }

    /// Orders sweeps for what a sweep leaves to another message group. Returns what could not be ordered.
    async fn order(&self, left: Vec<(Sweep, Notice)>, id: &str) -> Vec<Notice> {
        let mut by_sweep: BTreeMap<Sweep, Vec<Notice>> = BTreeMap::new();
        left.into_iter().for_each(|(sweep, notice)| by_sweep.entry(sweep).or_default().push(notice));
        let mut unordered = Vec::new();
        for (sweep, notices) in by_sweep {
            for (part, notices) in notices.chunks(LOOKS_AN_ORDER_MAX).enumerate() {
                let order = order_of(&notices.iter().collect::<Vec<_>>());
                if !order_sweep(&self.orders, sweep, &order, (id, part)).await {
                    unordered.extend(notices.iter().cloned());
                }
            }
        }
        unordered
    }
}

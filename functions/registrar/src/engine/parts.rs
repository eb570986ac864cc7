//! Registrations and deregistrations, balancer by balancer and part by part.

use std::collections::BTreeMap;

use futures::{StreamExt, future::BoxFuture, stream};
use protocol::{balancer::BalancerId, call_error::CallError, observed::Target};

use super::Item;
use crate::{
    aws::parts::{in_parts, of_each},
    balancer::Balancers,
};

/// Targets in one call. No maximum is documented; the AWS Load Balancer Controller sends 200, on the service team's
/// advice.
///
/// Too small: the 4 writes a second of an account are not enough. Too large: one bad target spoils more of the work.
pub(crate) const TARGETS_PER_CALL_MAX: usize = 200;

/// Writing calls under way at once. The account's bucket has 20 tokens and refills 4 a second.
///
/// Too small: calls wait for round trips. Too large: more of them only wait to be let through.
pub(crate) const WRITES_IN_FLIGHT_MAX: usize = 4;

/// The result for each of some members.
pub(crate) type Results<I, T> = Vec<(I, Result<T, CallError>)>;

/// Calls once for each balancer and chunk of its targets, several calls at once.
pub(crate) async fn in_chunks<T: Clone + Send>(
    balancers: &Balancers,
    items: Vec<Item>,
    call: impl for<'c> Fn(&'c Balancers, &'c BalancerId, Vec<Target>) -> BoxFuture<'c, Result<T, CallError>> + Sync,
) -> Results<Item, T> {
    let mut by_balancer: BTreeMap<BalancerId, Vec<Item>> = BTreeMap::new();
    for item in items {
        by_balancer.entry(item.1.balancer.clone()).or_default().push(item);
    }
    let work = by_balancer.into_iter().map(|(balancer, items)| {
        let call = &call;
        async move {
            let targets = |part: Vec<Item>| part.into_iter().map(|(_, _, target)| target).collect();
            let call = |part| call(balancers, &balancer, targets(part));
            of_each(in_parts(items, TARGETS_PER_CALL_MAX, CallError::is_of_one, call).await)
        }
    });
    stream::iter(work).buffer_unordered(WRITES_IN_FLIGHT_MAX).concat().await
}

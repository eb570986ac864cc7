//! Calls for many members, made so that one bad member spoils only itself.

use std::{collections::BTreeMap, future::Future, ops::Range};

use futures::{StreamExt, future::BoxFuture, stream};
use protocol::{call_error::CallError, observed::Target, registration::BalancerId};

use super::Item;
use crate::balancer::Kind;

/// Targets in one call. No maximum is documented; the AWS Load Balancer Controller sends 200 on the service team's advice.
/// Larger, one bad target spoils more of the work; smaller, the 4 writes a second that an account gets run out.
pub(crate) const TARGETS_PER_CALL_MAX: usize = 200;

/// Writing calls under way at once. The bucket has 20 and refills 4 a second: more only waits in throttling.
pub(crate) const WRITES_IN_FLIGHT_MAX: usize = 4;

/// Calls once for each balancer and chunk of its targets, several at once; answers for each item.
pub(crate) async fn in_chunks<T: Clone + Send>(
    kinds: &[Box<dyn Kind>],
    items: Vec<Item>,
    call: impl for<'c> Fn(&'c dyn Kind, &'c BalancerId, &'c [Target]) -> BoxFuture<'c, Result<T, CallError>> + Sync,
) -> Vec<(Item, Result<T, CallError>)> {
    let mut by_balancer: BTreeMap<BalancerId, Vec<Item>> = BTreeMap::new();
    for item in items {
        by_balancer.entry(item.1.balancer()).or_default().push(item);
    }
    let work = by_balancer.into_iter().filter_map(|(balancer, items)| {
        let kind = kinds.iter().find(|kind| kind.serves(&balancer))?;
        let call = &call;
        Some(async move {
            let targets: Vec<Target> = items.iter().map(|(_, _, target)| target.clone()).collect();
            let one_call = |part: Range<usize>| call(kind.as_ref(), &balancer, &targets[part]);
            let results = in_parts(targets.len(), TARGETS_PER_CALL_MAX, one_call).await;
            items.into_iter().zip(results).collect::<Vec<_>>()
        })
    });
    stream::iter(work).buffer_unordered(WRITES_IN_FLIGHT_MAX).concat().await
}

/// Calls for parts of `0..length`, each of which is done or refused as a whole. A refusal that one member may have caused
/// is tried again in halves, so that it spoils only itself.
pub(crate) async fn in_parts<T: Clone, F>(
    length: usize,
    part_max: usize,
    call: impl Fn(Range<usize>) -> F,
) -> Vec<Result<T, CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut results = Vec::with_capacity(length);
    // The next part on top, so that the results come in order.
    let mut parts: Vec<Range<usize>> =
        (0..length).step_by(part_max).map(|start| start..length.min(start + part_max)).rev().collect();
    while let Some(part) = parts.pop() {
        match call(part.clone()).await {
            Err(error) if error.is_spoilt() && part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            result => results.extend(part.map(|_| result.clone())),
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn one_bad_member_spoils_only_itself() {
        let calls = Mutex::new(Vec::new());
        let call = |part: Range<usize>| {
            calls.lock().unwrap().push(part.clone());
            let refusal =
                CallError::Refused { action: "X", code: "InvalidTarget".into(), message: "not running".into() };
            let result = if part.contains(&5) { Err(refusal) } else { Ok(()) };
            async move { result }
        };
        let results = in_parts(12, 8, call).await;
        let failed: Vec<usize> = (0..12).filter(|index| results[*index].is_err()).collect();
        assert_eq!((results.len(), failed), (12, vec![5]));
        assert_eq!(*calls.lock().unwrap(), [0..8, 0..4, 4..8, 4..6, 4..5, 5..6, 6..8, 8..12]);
    }
}

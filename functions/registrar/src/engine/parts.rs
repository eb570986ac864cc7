//! Calls for many members, made so that one bad member spoils only itself.

use std::{collections::BTreeMap, future::Future, ops::Range};

use futures::{StreamExt, future::BoxFuture, stream};
use protocol::{balancer::BalancerId, call_error::CallError, observed::Target};

use super::Item;
use crate::balancer::Balancers;

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
            in_parts(items, TARGETS_PER_CALL_MAX, |part| call(balancers, &balancer, targets(part))).await
        }
    });
    stream::iter(work).buffer_unordered(WRITES_IN_FLIGHT_MAX).concat().await
}

/// Calls for parts of some members, each of which AWS does or refuses as a whole.
///
/// If one member may have caused a refusal, the call is made again for each half of the part. So the member spoils only
/// itself.
pub(crate) async fn in_parts<I: Clone, T: Clone, F>(
    members: Vec<I>,
    part_max: usize,
    call: impl Fn(Vec<I>) -> F,
) -> Results<I, T>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut results = Vec::with_capacity(members.len());
    // The next part is on top, so that the calls come in order.
    let mut parts: Vec<Range<usize>> =
        (0..members.len()).step_by(part_max).map(|start| start..members.len().min(start + part_max)).rev().collect();
    while let Some(part) = parts.pop() {
        match call(members[part.clone()].to_vec()).await {
            Err(error) if error.is_spoilt() && part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            result => results.extend(members[part].iter().map(|member| (member.clone(), result.clone()))),
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
        let call = |part: Vec<usize>| {
            calls.lock().unwrap().push(part[0]..part[0] + part.len());
            let refusal =
                CallError::Refused { action: "X", code: "InvalidTarget".into(), message: "not running".into() };
            let result = if part.contains(&5) { Err(refusal) } else { Ok(()) };
            async move { result }
        };
        let results = in_parts((0..12).collect(), 8, call).await;
        let failed: Vec<usize> =
            results.iter().filter(|(_, result)| result.is_err()).map(|(index, _)| *index).collect();
        assert_eq!((results.len(), failed), (12, vec![5]));
        assert_eq!(*calls.lock().unwrap(), [0..8, 0..4, 4..8, 4..6, 4..5, 5..6, 6..8, 8..12]);
    }
}

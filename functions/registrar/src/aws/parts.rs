//! Calls for many members, made so that one bad member spoils only itself.

use std::{future::Future, ops::Range};

use protocol::call_error::CallError;

/// The result of a call for some of the members.
pub(crate) type PartResult<I, T> = (Vec<I>, Result<T, CallError>);

/// Refusals in a row after which the rest of a part is not asked for any more, beside those that finding one bad member
/// takes. A refusal that hits all members would otherwise cost two calls for each.
///
/// Too small: members wait for the next attempt because of a few bad ones. Too large: a refusal of a whole fleet costs
/// more calls.
const REFUSED_IN_A_ROW_MAX: u32 = 1;

/// Calls for parts of some members, each of which AWS does or refuses as a whole.
///
/// If one member may have caused a refusal, the call is made again for each half of the part. So the member spoils only
/// itself, and what fits is done if there is no room for all. The calls for a part end when only refusals come. The
/// members come in a random order, so the next attempt begins with others.
///
/// `is_of_one` tells whether one member may have caused a refusal.
pub(crate) async fn in_parts<I: Clone, T, F>(
    mut members: Vec<I>,
    part_max: usize,
    is_of_one: impl Fn(&CallError) -> bool,
    call: impl Fn(Vec<I>) -> F,
) -> Vec<PartResult<I, T>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut results = Vec::new();
    let starts = (0..members.len()).step_by(part_max);
    let parts: Vec<Range<usize>> = starts.map(|start| start..members.len().min(start + part_max)).collect();
    for part in parts {
        let limit = part.len().ilog2() + REFUSED_IN_A_ROW_MAX;
        let mut refused = 0;
        // The next part is on top, so that the calls come in order.
        let mut open = vec![part];
        while let Some(part) = open.pop() {
            match call(members[part.clone()].to_vec()).await {
                Err(error) if is_of_one(&error) && part.len() > 1 => {
                    if refused == 0 {
                        fastrand::shuffle(&mut members[part.clone()]);
                    }
                    refused += 1;
                    let middle = part.start + part.len() / 2;
                    open.push(middle..part.end);
                    open.push(part.start..middle);
                    if refused > limit && !error.is_gone() {
                        results.extend(open.drain(..).map(|part| (members[part].to_vec(), Err(error.clone()))));
                    }
                }
                Err(error) => {
                    refused += 1;
                    results.push((members[part].to_vec(), Err(error)));
                }
                Ok(done) => {
                    refused = 0;
                    results.push((members[part].to_vec(), Ok(done)));
                }
            }
        }
    }
    results
}

/// Returns the result for each member.
pub(crate) fn of_each<I, T: Clone>(results: Vec<PartResult<I, T>>) -> Vec<(I, Result<T, CallError>)> {
    let of_part = |(members, result): PartResult<I, T>| members.into_iter().map(move |member| (member, result.clone()));
    results.into_iter().flat_map(of_part).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use super::*;

    /// Calls for members, of which some are bad. Returns those that were refused, and the number of calls.
    async fn asked(members: usize, part_max: usize, is_bad: impl Fn(usize) -> bool) -> (BTreeSet<usize>, usize) {
        let calls = Mutex::new(0);
        let call = |part: Vec<usize>| {
            *calls.lock().unwrap() += 1;
            let (code, message) = ("NotYetDocumented".to_owned(), String::new());
            let refusal = CallError::Refused { action: "elasticloadbalancing:RegisterTargets", code, message };
            let result = if part.iter().any(|member| is_bad(*member)) { Err(refusal) } else { Ok(()) };
            async move { result }
        };
        let results = of_each(in_parts((0..members).collect(), part_max, CallError::is_of_one, call).await);
        assert_eq!(results.iter().map(|(member, _)| *member).collect::<BTreeSet<_>>(), (0..members).collect());
        let refused = results.into_iter().filter(|(_, result)| result.is_err()).map(|(member, _)| member).collect();
        let calls = *calls.lock().unwrap();
        (refused, calls)
    }

    #[tokio::test]
    async fn bad_members_spoil_only_themselves() {
        for bad in [vec![5], vec![0, 11], vec![3, 4, 8]] {
            let (refused, calls) = asked(12, 8, |member| bad.contains(&member)).await;
            assert_eq!(refused, bad.iter().copied().collect(), "{calls} calls");
        }
        let (refused, calls) = asked(1_000, 1_000, |member| member == 777).await;
        assert_eq!((refused, calls), (BTreeSet::from([777]), 21), "two for each time that it is halved, and the first");
    }

    #[tokio::test]
    async fn a_refusal_that_hits_all_costs_few_calls() {
        for (members, most) in [(1, 1), (4, 5), (200, 10), (1_000, 12)] {
            let (refused, calls) = asked(members, 1_000, |_| true).await;
            assert_eq!(refused.len(), members);
            assert!(calls <= most, "{calls} calls for {members}");
        }
    }

    #[tokio::test]
    async fn what_fits_is_done_if_there_is_no_room_for_all() {
        for (members, room) in [(4, 3), (200, 3), (200, 150)] {
            let taken = Mutex::new(0);
            let call = |part: Vec<usize>| {
                let mut taken = taken.lock().unwrap();
                let fits = *taken + part.len() <= room;
                *taken += if fits { part.len() } else { 0 };
                let (code, message) = ("TooManyTargets".to_owned(), String::new());
                let refusal = CallError::Refused { action: "elasticloadbalancing:RegisterTargets", code, message };
                async move { if fits { Ok(()) } else { Err(refusal) } }
            };
            in_parts((0..members).collect(), 200, CallError::is_of_one, call).await;
            assert_eq!(*taken.lock().unwrap(), room, "of {members}");
        }
    }
}

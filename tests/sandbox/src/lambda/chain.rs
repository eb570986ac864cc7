//! Chains of requests: how often each function was invoked by what one event has set off.
//!
//! Lambda annotates the events that it takes from SQS, and the AWS SDK passes the annotation on with each message that a function sends. So
//! Lambda counts the invocations of a chain, and stops a function that one chain has invoked about sixteen times, unless its setting is
//! `RecursiveLoop: Allow` (Lambda guide, "Use Lambda recursive loop detection to prevent infinite loops",
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>). The guide's table of SDKs leaves out the one for Rust, which
//! does send the header: `RecursionDetectionInterceptor` of the crate `aws-runtime`.
//!
//! AWS does not say which chain a batch of several messages has. Here it has all of them.

use std::collections::BTreeMap;

use crate::world::World;

/// "If your function is invoked approximately 16 times in the same chain of requests, then Lambda automatically stops the next function
/// invocation in that request chain".
const LONGEST: u32 = 16;

/// How often a chain of requests has invoked each function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(BTreeMap<String, u32>);

impl Chain {
    /// Joins the chains of the messages of a batch.
    pub(super) fn of_batch<'c>(chains: impl IntoIterator<Item = &'c Self>) -> Self {
        let mut joined = Self::default();
        for (function, times) in chains.into_iter().flat_map(|chain| &chain.0) {
            let known = joined.0.entry(function.clone()).or_default();
            *known = (*times).max(*known);
        }
        joined
    }

    /// Returns the chain after one more invocation of a function.
    pub(super) fn with(mut self, function: &str) -> Self {
        *self.0.entry(function.to_owned()).or_default() += 1;
        self
    }

    /// Returns whether Lambda takes it for a loop of a function.
    pub(super) fn is_loop_of(&self, function: &str) -> bool {
        self.0.get(function).is_some_and(|times| *times >= LONGEST)
    }
}

/// Returns the chain of the invocation that an access key is used by; an empty one for a caller that is no function.
pub(crate) fn chain_of_caller(world: &World, access_key: &str) -> Chain {
    let mut running = world.lambda.invocations.values().filter(|record| record.runs_in(access_key));
    running.next().and_then(|record| record.chain().cloned()).unwrap_or_default()
}

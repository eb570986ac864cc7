//! Faults are rules: asked in order for every call, the first verdict that is not [`Verdict::Pass`] wins.

use std::time::Duration;

use crate::{call::Call, wire::ApiError};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing unusual.
    Pass,
    /// It takes longer; the work is done at the end of the delay.
    Delay(Duration),
    /// Nothing is done, and the caller is told so.
    Refuse(ApiError),
    /// The work is done, but the caller hears a connection error.
    LoseAnswer,
    /// The work is done, but the caller hears nothing at all, for as long as it waits.
    NeverAnswer,
    /// A reading call answers with what was true this long ago.
    Stale(Duration),
    /// The work is done, and the calling function's process stands still for so long: it hears the answer, and does whatever else it
    /// does, only then, while all clocks go on. Only functions in the test's own process can be made to.
    FreezeAfter(Duration),
    /// The calling function's process ends before the call reaches AWS.
    KillBefore,
    /// The calling function's process ends after the work was done, before it hears the answer.
    KillAfter,
}

/// Decides over calls. A closure is a rule.
pub trait Rule: Send {
    /// Looks at a call, whose [`Call::outcome`] is not known yet.
    fn verdict(&mut self, call: &Call) -> Verdict;
}

impl<F: FnMut(&Call) -> Verdict + Send> Rule for F {
    fn verdict(&mut self, call: &Call) -> Verdict {
        self(call)
    }
}

/// A rule that strikes the `k`-th call (from 1) of an action, once.
pub fn kth(action: &str, k: usize, verdict: Verdict) -> impl Rule + use<> {
    let (action, mut seen) = (action.to_owned(), 0);
    move |call: &Call| {
        if call.action == action {
            seen += 1;
            if seen == k {
                return verdict.clone();
            }
        }
        Verdict::Pass
    }
}

/// A rule that strikes every call of an action.
pub fn every(action: &str, verdict: Verdict) -> impl Rule + use<> {
    let action = action.to_owned();
    move |call: &Call| if call.action == action { verdict.clone() } else { Verdict::Pass }
}

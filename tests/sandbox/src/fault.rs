//! Faults are rules. They are asked in order for every call, and the first verdict that is not [`Verdict::Pass`] wins.

use std::time::Duration;

use crate::{call::Call, wire::ApiError};

/// The fate of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call is served as usual.
    Pass,
    /// It takes longer; the work is done at the end of the delay.
    Delay(Duration),
    /// Nothing is done, and the caller gets this error.
    Refuse(ApiError),
    /// The work is done, but the caller hears a connection error.
    LoseAnswer,
    /// The work is done, but the caller gets no answer at all, for as long as it waits.
    NeverAnswer,
    /// A reading call answers with the truth of this long ago.
    Stale(Duration),
    /// The work is done, and the calling function's process stands still for this long. It gets the answer, and does any other
    /// work, only then, while all clocks go on. Only functions in the test's own process can be frozen.
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

/// Returns a rule that strikes the `k`-th call (from 1) of an action, once.
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

/// Returns a rule that strikes every call of an action.
pub fn every(action: &str, verdict: Verdict) -> impl Rule + use<> {
    let action = action.to_owned();
    move |call: &Call| if call.action == action { verdict.clone() } else { Verdict::Pass }
}

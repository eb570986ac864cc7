//! What can go wrong in a call to AWS, in the one form that callers ask about.

use std::{error::Error as StdError, sync::Arc};

use thiserror::Error;

/// A call to AWS that did not succeed, after the SDK's own retries.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// AWS refused: nothing was done.
    #[error("{action} was refused: {code}: {message}")]
    Refused {
        /// The action as IAM calls it: `elasticloadbalancing:RegisterTargets`.
        action: &'static str,
        /// AWS's code, as it is on the wire.
        code: String,
        /// AWS's sentence.
        message: String,
    },
    /// AWS did not answer, or the answer could not be understood: the work **may have been done**. Look before
    /// repeating what matters.
    #[error("{action} was not answered")]
    Unanswered {
        /// The action as IAM calls it.
        action: &'static str,
        /// What happened to the request or the answer.
        source: Arc<dyn StdError + Send + Sync>,
    },
}

/// Codes by which AWS says that a balancer does not exist (any more). They are the wire's codes, and the names that the
/// API references and the SDK give to the same errors.
const GONE: [&str; 4] =
    ["TargetGroupNotFound", "LoadBalancerNotFound", "AccessPointNotFound", "TargetGroupNotFoundException"];

/// Codes by which AWS says that it cannot serve one of several targets or resources, and has therefore done nothing.
const SPOILT: [&str; 6] = [
    "InvalidTarget",
    "InvalidInstance",
    "InvalidInstanceID.NotFound",
    "InvalidID",
    "TooManyRegistrationsForTargetId",
    "ValidationError",
];

/// Codes by which AWS says that a permission is missing.
pub const DENIED: [&str; 4] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure"];

/// Codes by which AWS says that calls come too fast.
pub const THROTTLED: [&str; 5] =
    ["Throttling", "ThrottlingException", "RequestLimitExceeded", "DependencyThrottle", "TooManyRequestsException"];

impl CallError {
    /// Returns AWS's code, if AWS refused the call.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unanswered { .. } => None,
        }
    }

    /// Returns whether the balancer that the call names does not exist (any more).
    pub fn is_gone(&self) -> bool {
        self.has_code(&GONE)
    }

    /// Returns whether one target or resource of several may have spoilt the call for the others. Then a part of the
    /// call may succeed.
    pub fn is_spoilt(&self) -> bool {
        self.has_code(&SPOILT)
    }

    /// Returns whether AWS refused the call for a reason that may last for ever: neither a missing permission nor too
    /// many calls.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. }) && !self.is_denied() && !self.is_throttled()
    }

    /// Returns whether the work may have been done, though no answer says so.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }

    /// Returns whether a permission is missing.
    pub fn is_denied(&self) -> bool {
        self.has_code(&DENIED)
    }

    /// Returns whether calls came too fast.
    pub fn is_throttled(&self) -> bool {
        self.has_code(&THROTTLED)
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    /// Returns the error and its causes in one line, with what to do if that is known.
    pub fn to_sentence(&self) -> String {
        let mut sentence = chain(self);
        if let Self::Refused { action, .. } = self
            && self.is_denied()
        {
            sentence.push_str(&format!("; add the action {action} to the policy of the function's role"));
        }
        sentence
    }
}

/// Returns an error and its causes in one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(&format!(": {error}"));
        cause = error.source();
    }
    sentence
}

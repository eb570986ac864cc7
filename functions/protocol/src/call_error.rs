//! What can go wrong in a call to AWS, in the one form that callers ask about.

use std::{error::Error as StdError, sync::Arc};

use thiserror::Error;

use crate::plain::Plain;

/// A call to AWS that did not succeed, after the SDK's own retries.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// AWS refused: nothing was done.
    #[error("{action} was refused: {}: {}", Plain::of(code), Plain::of(message))]
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
    /// The call was not made: the invocation has no time left.
    #[error("{action} was not called, because the time of this invocation is up")]
    NoTime {
        /// The action as IAM calls it.
        action: &'static str,
    },
}

/// Codes by which AWS says that a balancer does not exist (any more). They are the wire's codes, and the names that the
/// API references and the SDK give to the same errors.
const GONE: [&str; 4] =
    ["TargetGroupNotFound", "LoadBalancerNotFound", "AccessPointNotFound", "TargetGroupNotFoundException"];

/// Codes by which a Classic load balancer says that it does not know an instance.
const NO_MEMBER: [&str; 2] = ["InvalidInstance", "InvalidInstanceID.NotFound"];

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
            Self::Unanswered { .. } | Self::NoTime { .. } => None,
        }
    }

    /// Returns whether the balancer that the call names does not exist (any more).
    pub fn is_gone(&self) -> bool {
        self.has_code(&GONE)
    }

    /// Returns whether one target or resource of several may have caused the refusal, so that a part of the call may
    /// succeed. This holds for every refusal that is not known to concern the whole call, because no page lists the
    /// codes of a call completely.
    ///
    /// A permission of Elastic Load Balancing is for a balancer. One of EC2 is for an instance, and a policy may leave
    /// one out of many (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>).
    pub fn is_of_one(&self) -> bool {
        match self {
            Self::Refused { action, .. } if self.is_denied() => action.starts_with("ec2:"),
            Self::Refused { .. } => !self.is_gone() && !self.is_throttled(),
            Self::Unanswered { .. } | Self::NoTime { .. } => false,
        }
    }

    /// Returns whether a Classic load balancer does not know an instance.
    pub fn is_of_no_member(&self) -> bool {
        self.has_code(&NO_MEMBER)
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
        if let Self::Refused { action, code, .. } = self
            && self.is_denied()
        {
            // EC2 says so of a wrong key, too (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>).
            let hint = match code.as_str() {
                "AuthFailure" => format!("; are the credentials valid, and may they do {action}?"),
                _ => format!("; add the action {action} to a policy of the role or the person that makes the call"),
            };
            sentence.push_str(&hint);
        }
        sentence
    }
}

/// Returns an error and its causes in one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut sentence = Plain::of(error).to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(&format!(": {}", Plain::of(error)));
        cause = error.source();
    }
    sentence
}

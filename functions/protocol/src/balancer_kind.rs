//! The kinds of balancers, with their names in tags and for people.

use std::fmt;

/// A kind of balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerKind {
    /// Classic load balancers.
    Classic,
    /// Target groups of Application, Network and Gateway Load Balancers.
    TargetGroup,
}

impl BalancerKind {
    /// All kinds of balancers.
    pub const ALL: [Self; 2] = [Self::Classic, Self::TargetGroup];

    /// Returns what the registrations of this kind begin with in the text form, before a colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Classic => "clb",
            Self::TargetGroup => "tg",
        }
    }

    /// Returns the kind whose prefix a text has, and the text that follows the colon.
    pub(crate) fn of_text(text: &str) -> Option<(Self, &str)> {
        let (prefix, rest) = text.split_once(':')?;
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix).map(|kind| (kind, rest))
    }

    /// Returns all kinds as a person would write and say them.
    pub(crate) fn named(separator: &str) -> String {
        Self::ALL.map(|kind| format!("`{}:` (a {kind})", kind.prefix())).join(separator)
    }
}

/// The kind as AWS calls it.
impl fmt::Display for BalancerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "Classic load balancer",
            Self::TargetGroup => "target group",
        })
    }
}

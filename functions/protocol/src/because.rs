//! Reasons for people: one thing of an instance, and a sentence.
//!
//! A decision returns them with what it decides, so that reports, hooks and logs say the same. No decision depends on
//! their words.

use std::fmt;

use serde::Serialize;

use crate::plain::Plain;

/// A thing, and why it is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Because {
    /// A registration, a declaration or a tag; `None` for the instance as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<Plain>,
    /// Why the thing is as it is.
    pub why: Plain,
}

impl Because {
    /// Creates a reason for one thing of the instance.
    pub fn of(what: &impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { what: Some(Plain::of(what)), why: Plain::of(why) }
    }

    /// Creates a reason for the whole instance.
    pub fn all(why: impl fmt::Display) -> Self {
        Self { what: None, why: Plain::of(why) }
    }

    /// Creates a reason for one thing of the instance, or for all of it.
    pub fn about(what: Option<&dyn fmt::Display>, why: impl fmt::Display) -> Self {
        Self { what: what.map(Plain::of), why: Plain::of(why) }
    }

    /// Returns the thing, or an empty text for the instance as a whole.
    pub fn what(&self) -> &str {
        self.what.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Some(what) => write!(f, "{what}: {}", self.why),
            None => f.write_str(self.why.as_str()),
        }
    }
}

//! Time as AWS's own clocks tell it.

use chrono::{DateTime, Utc};

/// A point in time, as AWS's own clocks tell it.
pub type Timestamp = DateTime<Utc>;

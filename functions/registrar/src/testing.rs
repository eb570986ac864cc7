//! What several unit tests share.

use std::collections::BTreeMap;

use chrono::DateTime;
use protocol::{
    instance::{Instance, State},
    time::Timestamp,
};

/// Returns a time, in seconds of an arbitrary clock.
pub(crate) fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_767_600_000 + seconds, 0).unwrap()
}

/// Creates a running instance without addresses and tags.
pub(crate) fn instance(id: &str) -> Instance {
    Instance {
        id: id.into(),
        state: State::Running,
        launch_time: Some(at(0)),
        made_at: None,
        stop_time: None,
        vpc: Some("vpc-1".into()),
        interfaces: Vec::new(),
        tags: BTreeMap::new(),
    }
}

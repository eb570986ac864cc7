//! What a group does with its balancers by itself: "registers and deregisters by itself" (AWS-FACTS, Auto Scaling).
//!
//! Called at each change of a member or of an attachment, with the traffic source and the instance.

use super::TrafficSource;
use crate::world::World;

/// Registers a member with a balancer of its group.
pub(crate) fn register(_world: &mut World, _source: &TrafficSource, _instance_id: &str) {
    // TODO: call the balancers' own registration as soon as `elb` and `elbv2` have a function for it.
}

/// Deregisters a member from a balancer of its group.
pub(crate) fn deregister(_world: &mut World, _source: &TrafficSource, _instance_id: &str) {
    // TODO: as in `register`.
}

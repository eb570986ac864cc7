//! What a group does with its balancers by itself: "registers and deregisters by itself" (AWS-FACTS, Auto Scaling).
//!
//! Called at each change of a member or of an attachment, with the traffic source and the instance.

use super::{TrafficSource, TrafficSourceKind};
use crate::{elb, elbv2, wire::ApiError, world::World};

/// Registers a member with a balancer of its group. A refusal (an instance that does not run) is Auto Scaling's own affair:
/// it leaves the member as it is.
pub(crate) fn register(world: &mut World, source: &TrafficSource, instance_id: &str) {
    let _refused: Result<(), ApiError> = match source.kind {
        TrafficSourceKind::Classic => elb::register(world, &source.identifier, instance_id),
        TrafficSourceKind::TargetGroup => elbv2::register(world, &source.identifier, elbv2::Target::new(instance_id)),
        // VPC Lattice is not modelled beyond the list of what is attached.
        TrafficSourceKind::Lattice => Ok(()),
    };
}

/// Deregisters a member from a balancer of its group.
pub(crate) fn deregister(world: &mut World, source: &TrafficSource, instance_id: &str) {
    let _refused: Result<(), ApiError> = match source.kind {
        TrafficSourceKind::Classic => elb::deregister(world, &source.identifier, instance_id),
        TrafficSourceKind::TargetGroup => elbv2::deregister(world, &source.identifier, elbv2::Target::new(instance_id)),
        // VPC Lattice is not modelled beyond the list of what is attached.
        TrafficSourceKind::Lattice => Ok(()),
    };
}

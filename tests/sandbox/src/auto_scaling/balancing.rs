//! A group's own work at its balancers: it "registers and deregisters by itself" (AWS-FACTS, Auto Scaling).
//!
//! Called at each change of a member or of an attachment, with the traffic source and the instance.

use crate::{clock::Timestamp, elb, elbv2, wire::ApiError, world::World};

/// A balancer that a group registers its members with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSource {
    /// Its kind.
    pub kind: TrafficSourceKind,
    /// A load balancer's name, or a target group's ARN.
    pub identifier: String,
    /// The operation that attached it, which decides where it is shown.
    pub attached_by: AttachedBy,
}

/// The `Type` of a traffic source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficSourceKind {
    /// `elb`: a Classic Load Balancer, by name.
    Classic,
    /// `elbv2`: a target group, by ARN.
    TargetGroup,
    /// `vpc-lattice`: a VPC Lattice target group, by ARN.
    Lattice,
}

/// The operation that attached a traffic source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedBy {
    /// AttachLoadBalancers, AttachLoadBalancerTargetGroups, or their fields in CreateAutoScalingGroup.
    LoadBalancerOperation,
    /// AttachTrafficSources, or `TrafficSources` in CreateAutoScalingGroup. DescribeLoadBalancers and
    /// DescribeLoadBalancerTargetGroups do not show it (botocore, the notes of these operations).
    TrafficSourceOperation,
}

impl TrafficSourceKind {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "elb",
            Self::TargetGroup => "elbv2",
            Self::Lattice => "vpc-lattice",
        }
    }
}

/// Registers a member with a balancer of its group. A refusal (an instance that does not run) is Auto Scaling's own affair:
/// it leaves the member as it is.
pub(crate) fn register(world: &mut World, source: &TrafficSource, instance_id: &str) {
    let _refused: Result<(), ApiError> = match source.kind {
        TrafficSourceKind::Classic => elb::register(world, &source.identifier, instance_id),
        TrafficSourceKind::TargetGroup => elbv2::register(world, &source.identifier, elbv2::Target::new(instance_id)),
        // VPC Lattice is modelled only in the list of attached sources.
        TrafficSourceKind::Lattice => Ok(()),
    };
}

/// Returns until when a member drains from a balancer of its group, if it does.
pub(super) fn draining_until(world: &World, source: &TrafficSource, instance_id: &str) -> Option<Timestamp> {
    match source.kind {
        TrafficSourceKind::Classic => elb::draining_until(world, &source.identifier, instance_id),
        TrafficSourceKind::TargetGroup => elbv2::draining_until(world, &source.identifier, instance_id),
        TrafficSourceKind::Lattice => None,
    }
}

/// Deregisters a member from a balancer of its group.
pub(crate) fn deregister(world: &mut World, source: &TrafficSource, instance_id: &str) {
    let _refused: Result<(), ApiError> = match source.kind {
        TrafficSourceKind::Classic => elb::deregister(world, &source.identifier, instance_id),
        TrafficSourceKind::TargetGroup => elbv2::deregister(world, &source.identifier, elbv2::Target::new(instance_id)),
        // VPC Lattice is modelled only in the list of attached sources.
        TrafficSourceKind::Lattice => Ok(()),
    };
}

//! Amazon EC2 Auto Scaling: groups, their members, and what sends the members traffic.
//!
//! Members come by AttachInstances or by [`add_member`]: groups here launch and replace nothing by themselves.

mod balancing;
mod membership;
mod wire;

use std::collections::BTreeMap;

use crate::{clock::Timestamp, ec2::InstanceState, world::World};

pub use membership::{add_member, set_lifecycle_state};
pub use wire::answer;

/// Everything in Auto Scaling.
#[derive(Debug, Default)]
pub struct State {
    /// By name.
    pub groups: BTreeMap<String, Group>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Unique in the account and Region.
    pub name: String,
    /// With a UUID, so that a group of the same name created later is another one.
    pub arn: String,
    /// What it launches from. Only shown.
    pub source: LaunchSource,
    /// The fewest members.
    pub min_size: usize,
    /// The most members.
    pub max_size: usize,
    /// How many members it wants in service.
    pub desired_capacity: usize,
    /// Subnets that it launches in.
    pub subnet_ids: Vec<String>,
    /// Zones that it launches in.
    pub zones: Vec<String>,
    /// `EC2`, `ELB`...
    pub health_check_type: String,
    /// Seconds.
    pub health_check_grace_period: u32,
    /// What sends its members traffic, in the order of attachment. Nobody else shall touch the members' registrations there.
    pub traffic_sources: Vec<TrafficSource>,
    /// The group's own tags.
    pub tags: Vec<GroupTag>,
    /// By instance id.
    pub members: BTreeMap<String, Member>,
    /// When it was created.
    pub created: Timestamp,
}

/// What a group launches its instances from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchSource {
    /// Id or name, and version.
    Template {
        /// `lt-...`
        id: Option<String>,
        /// Its name.
        name: Option<String>,
        /// Such as `$Latest`.
        version: Option<String>,
    },
    /// A launch configuration, by name.
    Configuration(String),
    /// Made from an instance, by id.
    Instance(String),
}

/// An instance of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The instance.
    pub instance_id: String,
    /// Where it is in its life in the group.
    pub lifecycle_state: LifecycleState,
    /// `HEALTHY` or `UNHEALTHY`.
    pub health_status: String,
    /// Whether scaling in spares it.
    pub protected_from_scale_in: bool,
}

/// A balancer that a group registers its members with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSource {
    /// Of which kind.
    pub kind: TrafficSourceKind,
    /// A load balancer's name, or a target group's ARN.
    pub identifier: String,
    /// By which operation it was attached, on which depends where it is shown.
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

/// A tag of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether instances that the group launches get it, too.
    pub propagate_at_launch: bool,
}

/// Declares the states with the words that the API has for them.
macro_rules! lifecycle_states {
    ($($state:ident = $name:literal,)*) => {
        /// Where a member is in its life in the group (botocore, `LifecycleState`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum LifecycleState {
            $(#[doc = concat!("`", $name, "`")] $state,)*
        }

        impl LifecycleState {
            /// The word for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$state => $name,)*
                }
            }
        }
    };
}

lifecycle_states! {
    Pending = "Pending",
    PendingWait = "Pending:Wait",
    PendingProceed = "Pending:Proceed",
    Quarantined = "Quarantined",
    InService = "InService",
    Terminating = "Terminating",
    TerminatingWait = "Terminating:Wait",
    TerminatingProceed = "Terminating:Proceed",
    TerminatingRetained = "Terminating:Retained",
    Terminated = "Terminated",
    Detaching = "Detaching",
    Detached = "Detached",
    EnteringStandby = "EnteringStandby",
    Standby = "Standby",
    ReplacingRootVolume = "ReplacingRootVolume",
    ReplacingRootVolumeWait = "ReplacingRootVolume:Wait",
    ReplacingRootVolumeProceed = "ReplacingRootVolume:Proceed",
    RootVolumeReplaced = "RootVolumeReplaced",
    WarmedPending = "Warmed:Pending",
    WarmedPendingWait = "Warmed:Pending:Wait",
    WarmedPendingProceed = "Warmed:Pending:Proceed",
    WarmedPendingRetained = "Warmed:Pending:Retained",
    WarmedTerminating = "Warmed:Terminating",
    WarmedTerminatingWait = "Warmed:Terminating:Wait",
    WarmedTerminatingProceed = "Warmed:Terminating:Proceed",
    WarmedTerminatingRetained = "Warmed:Terminating:Retained",
    WarmedTerminated = "Warmed:Terminated",
    WarmedStopped = "Warmed:Stopped",
    WarmedRunning = "Warmed:Running",
    WarmedHibernated = "Warmed:Hibernated",
}

impl TrafficSourceKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "elb",
            Self::TargetGroup => "elbv2",
            Self::Lattice => "vpc-lattice",
        }
    }
}

impl State {
    /// The group that an instance is a member of.
    pub fn group_of(&self, instance_id: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.members.contains_key(instance_id))
    }

    /// An instance as a member of its group.
    pub fn member(&self, instance_id: &str) -> Option<&Member> {
        self.group_of(instance_id)?.members.get(instance_id)
    }
}

/// What the service does when an instance has reached a state: a terminated one is a member no more. That a stopped one is
/// terminated and replaced by its group is not modelled: tests that need it terminate it themselves.
pub(crate) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    if state == InstanceState::Terminated {
        for group in world.auto_scaling.groups.values_mut() {
            group.members.remove(instance_id);
        }
    }
}

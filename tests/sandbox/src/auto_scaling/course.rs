//! The courses of a member: from where to where it goes, past which states, and which hooks meet it on the way (Auto Scaling
//! guide, "How lifecycle hooks work", "Use lifecycle hooks with a warm pool", "Replace root volumes").

use super::LifecycleState;

/// The transition that a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// Into service or into the warm pool.
    Launching,
    /// Out of service: to its end, back to the warm pool, or for a while.
    Terminating,
}

/// The `Origin` or the `Destination` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Not in the group.
    Ec2,
    /// In the group itself.
    AutoScalingGroup,
    /// In its warm pool.
    WarmPool,
}

/// A way that a member is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// A new instance, into service.
    Launch,
    /// A new instance, into the warm pool.
    Warm,
    /// Out of the warm pool, into service.
    LeavePool,
    /// Out of service, to its end.
    Terminate,
    /// Out of service, back to the warm pool. The events are those of a termination, the states those of a launch into the
    /// pool ("Scale-in lifecycle action", warm pool example events).
    ReturnToPool,
    /// Out of the warm pool, to its end.
    TerminateWarmed,
    /// Out of service for another root volume, the instance going on.
    ReplaceRootVolume,
    /// Back into service with it.
    ReturnWithNewRootVolume,
}

impl Transition {
    /// As a hook names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    /// The transition of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|transition| transition.name() == name)
    }

    /// The `detail-type` of the event that a member waits.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Launching => "EC2 Instance-launch Lifecycle Action",
            Self::Terminating => "EC2 Instance-terminate Lifecycle Action",
        }
    }
}

impl Place {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::AutoScalingGroup => "AutoScalingGroup",
            Self::WarmPool => "WarmPool",
        }
    }
}

impl Course {
    /// Whose hooks it meets.
    pub fn transition(self) -> Transition {
        match self {
            Self::Launch | Self::Warm | Self::LeavePool | Self::ReturnWithNewRootVolume => Transition::Launching,
            Self::Terminate | Self::ReturnToPool | Self::TerminateWarmed | Self::ReplaceRootVolume => {
                Transition::Terminating
            }
        }
    }

    /// From where.
    pub fn origin(self) -> Place {
        match self {
            Self::Launch | Self::Warm => Place::Ec2,
            Self::LeavePool | Self::TerminateWarmed => Place::WarmPool,
            Self::Terminate | Self::ReturnToPool | Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume => {
                Place::AutoScalingGroup
            }
        }
    }

    /// To where.
    pub fn destination(self) -> Place {
        match self {
            Self::Launch | Self::LeavePool | Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume => {
                Place::AutoScalingGroup
            }
            Self::Warm | Self::ReturnToPool => Place::WarmPool,
            Self::Terminate | Self::TerminateWarmed => Place::Ec2,
        }
    }

    /// The `Action` of the events, which only those about a root volume have.
    pub fn action(self) -> Option<&'static str> {
        matches!(self, Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume).then_some("ReplaceRootVolume")
    }

    /// Where the member is before its hooks run.
    pub fn first(self) -> LifecycleState {
        self.states()[0]
    }

    /// Where it is while they run.
    pub fn waiting(self) -> LifecycleState {
        self.states()[1]
    }

    /// Where it is after they ran.
    pub fn proceeding(self) -> LifecycleState {
        self.states()[2]
    }

    fn states(self) -> [LifecycleState; 3] {
        use LifecycleState as S;
        match self {
            Self::Launch | Self::LeavePool | Self::ReturnWithNewRootVolume => {
                [S::Pending, S::PendingWait, S::PendingProceed]
            }
            Self::Warm | Self::ReturnToPool => [S::WarmedPending, S::WarmedPendingWait, S::WarmedPendingProceed],
            Self::Terminate => [S::Terminating, S::TerminatingWait, S::TerminatingProceed],
            Self::TerminateWarmed => [S::WarmedTerminating, S::WarmedTerminatingWait, S::WarmedTerminatingProceed],
            Self::ReplaceRootVolume => {
                [S::ReplacingRootVolume, S::ReplacingRootVolumeWait, S::ReplacingRootVolumeProceed]
            }
        }
    }
}

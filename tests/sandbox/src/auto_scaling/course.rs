//! The courses of a member: its way from one place to another, its states on it, and the hooks that it meets (Auto Scaling guide,
//! "How lifecycle hooks work", "Use lifecycle hooks with a warm pool", "Replace root volumes").

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

/// The course of a member.
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
    /// Out of service for another root volume; the instance goes on running.
    ReplaceRootVolume,
    /// Back into service with it.
    ReturnWithNewRootVolume,
}

impl Transition {
    /// Returns the name that a hook has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    /// Returns the transition of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|transition| transition.name() == name)
    }

    /// Returns the `detail-type` of the event that a member waits.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Launching => "EC2 Instance-launch Lifecycle Action",
            Self::Terminating => "EC2 Instance-terminate Lifecycle Action",
        }
    }
}

impl Place {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::AutoScalingGroup => "AutoScalingGroup",
            Self::WarmPool => "WarmPool",
        }
    }
}

impl Course {
    /// Returns the transition whose hooks it meets.
    pub fn transition(self) -> Transition {
        match self {
            Self::Launch | Self::Warm | Self::LeavePool | Self::ReturnWithNewRootVolume => Transition::Launching,
            Self::Terminate | Self::ReturnToPool | Self::TerminateWarmed | Self::ReplaceRootVolume => {
                Transition::Terminating
            }
        }
    }

    /// Returns the place where it begins.
    pub fn origin(self) -> Place {
        match self {
            Self::Launch | Self::Warm => Place::Ec2,
            Self::LeavePool | Self::TerminateWarmed => Place::WarmPool,
            Self::Terminate | Self::ReturnToPool | Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume => {
                Place::AutoScalingGroup
            }
        }
    }

    /// Returns the place where it ends.
    pub fn destination(self) -> Place {
        match self {
            Self::Launch | Self::LeavePool | Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume => {
                Place::AutoScalingGroup
            }
            Self::Warm | Self::ReturnToPool => Place::WarmPool,
            Self::Terminate | Self::TerminateWarmed => Place::Ec2,
        }
    }

    /// Returns the `Action` of the events, which only those about a root volume have.
    pub fn action(self) -> Option<&'static str> {
        matches!(self, Self::ReplaceRootVolume | Self::ReturnWithNewRootVolume).then_some("ReplaceRootVolume")
    }

    /// Returns the state in which a member stays whose hook was abandoned, if its group retains it.
    pub fn retained(self) -> Option<LifecycleState> {
        match self {
            Self::Terminate => Some(LifecycleState::TerminatingRetained),
            Self::TerminateWarmed => Some(LifecycleState::WarmedTerminatingRetained),
            Self::ReturnToPool => Some(LifecycleState::WarmedPendingRetained),
            _ => None,
        }
    }

    /// Returns the state of the member before its hooks run.
    pub fn first(self) -> LifecycleState {
        self.states()[0]
    }

    /// Returns the state of the member while they run.
    pub fn waiting(self) -> LifecycleState {
        self.states()[1]
    }

    /// Returns the state of the member after they ran.
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

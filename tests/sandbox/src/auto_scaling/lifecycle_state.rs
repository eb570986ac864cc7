//! The states of a member, in the words of the API.

/// Declares the states with the words that the API has for them.
macro_rules! lifecycle_states {
    ($($state:ident = $name:literal,)*) => {
        /// The lifecycle state of a member (botocore, `LifecycleState`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum LifecycleState {
            $(#[doc = concat!("`", $name, "`")] $state,)*
        }

        impl LifecycleState {
            /// Returns AWS's word for it.
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

impl LifecycleState {
    /// Returns whether a member in this state counts towards the desired capacity. A member whose root volume is replaced stays
    /// one.
    pub fn is_wanted(self) -> bool {
        use LifecycleState::{
            InService, Pending, PendingProceed, PendingWait, ReplacingRootVolume, ReplacingRootVolumeProceed,
            ReplacingRootVolumeWait, RootVolumeReplaced,
        };
        matches!(
            self,
            Pending
                | PendingWait
                | PendingProceed
                | InService
                | ReplacingRootVolume
                | ReplacingRootVolumeWait
                | ReplacingRootVolumeProceed
                | RootVolumeReplaced
        )
    }

    /// Returns whether a member in this state is in the warm pool, or on its way into it or out of it to its end.
    pub fn is_warmed(self) -> bool {
        self.name().starts_with("Warmed:")
    }

    /// Returns whether it waits in the warm pool until the group needs it.
    pub fn is_resting(self) -> bool {
        matches!(self, Self::WarmedStopped | Self::WarmedRunning | Self::WarmedHibernated)
    }
}

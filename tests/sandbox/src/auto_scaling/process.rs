//! The processes of a group, and those that are suspended: "for example, to investigate or to make a change without
//! interference" (Auto Scaling guide, "Suspend and resume processes").

use super::{
    capacity, health,
    membership::{existing_mut, invalid},
};
use crate::{wire::ApiError, world::World};

/// Declares the processes with the words that the API has for them.
macro_rules! processes {
    ($($process:ident,)*) => {
        /// A process of a group (botocore, SuspendProcesses). `AlarmNotification`, `AZRebalance` and `ScheduledActions` never run
        /// here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Process {
            $(#[doc = concat!("`", stringify!($process), "`")] $process,)*
        }

        impl Process {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$process,)*];

            /// Returns AWS's word for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$process => stringify!($process),)*
                }
            }
        }
    };
}

processes! {
    Launch,
    Terminate,
    AddToLoadBalancer,
    AlarmNotification,
    AZRebalance,
    HealthCheck,
    InstanceRefresh,
    ReplaceUnhealthy,
    ScheduledActions,
}

impl Process {
    /// Returns the process of a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_name(name: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.iter().copied().find(|process| process.name() == name);
        found.ok_or_else(|| invalid(format!("Validation Error: the process type {name} is invalid")))
    }
}

/// Suspends processes of a group.
///
/// # Errors
/// If there is no such group.
pub fn suspend(world: &mut World, group_name: &str, processes: &[Process]) -> Result<(), ApiError> {
    let now = world.now();
    let group = existing_mut(world, group_name)?;
    for process in processes {
        group.suspended.entry(*process).or_insert(now);
    }
    Ok(())
}

/// Resumes processes of a group, which catches up with the changes in between.
///
/// # Errors
/// If there is no such group.
pub fn resume(world: &mut World, group_name: &str, processes: &[Process]) -> Result<(), ApiError> {
    let group = existing_mut(world, group_name)?;
    group.suspended.retain(|process, _| !processes.contains(process));
    let ids: Vec<_> = group.members.keys().cloned().collect();
    ids.iter().for_each(|id| health::look_after(world, id));
    capacity::review_soon(world, group_name);
    Ok(())
}

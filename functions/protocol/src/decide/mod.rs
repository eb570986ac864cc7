//! The decision: what to take, hold, register, forget, and when to look again, as pure functions of what was read.
//!
//! What was decided is a value that the log shows and at which `REGISTRAR_MODE=observe` stops. The order in which it is
//! done, and why that order loses nothing, is in `registrar`.

pub mod explain;
mod give_back;
pub mod hook;
pub mod orphan;
pub mod storm;
mod take_out;
mod weigh;

use std::collections::BTreeSet;

use crate::{balancer::BalancerId, id::AutoScalingGroupName, observed::Reason, registration::Registration};

pub use give_back::{GiveBack, give_back, is_surely_absent};
pub use take_out::{TakeOut, take_out};
pub use weigh::{Weight, look_again_at_older, weigh};

/// Who of the balancers' guardians is to be respected for an instance.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// The group that the instance is a member of.
    pub group: Option<AutoScalingGroupName>,
    /// What is attached to that group.
    pub balancers: BTreeSet<BalancerId>,
}

impl Attached {
    /// Why a registration is its group's affair; `None` where it is not.
    pub fn reason(&self, registration: &Registration) -> Option<Reason> {
        let group = self.group.as_ref()?;
        self.balancers.contains(&registration.balancer).then(|| Reason::AttachedToGroup(group.clone()))
    }
}

#[cfg(test)]
mod tests;

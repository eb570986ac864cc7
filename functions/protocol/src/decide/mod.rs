//! The decisions, as pure functions of what was read: what to hold, deregister and register, which tags to delete, and
//! when to look again.
//!
//! A decision is a value. The log shows it, and with `REGISTRAR_MODE=observe` the work ends with it. The crate
//! `registrar` has the order in which a decision is carried out, and why that order loses nothing.

pub mod explain;
mod give_back;
pub mod hook;
pub mod orphan;
mod ownership;
mod room;
mod share;
pub mod storm;
mod take_out;
mod weigh;

use std::collections::BTreeMap;

use crate::{balancer::BalancerId, id::AutoScalingGroupName, observed::Reason, registration::Registration};

pub use give_back::{Drained, GiveBack, drained, give_back, is_surely_absent};
pub use ownership::{
    controller_of, controller_of_wanted, doubt, heir, is_doubtful, is_heir, lost_addresses, may_be_followed,
};
pub use share::{Share, share};
pub use take_out::{TakeOut, take_out};
pub use weigh::{Weight, look_again_at_older, weigh};

/// The balancers that an instance's Auto Scaling group looks after.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// The group that the instance is a member of.
    pub group: Option<AutoScalingGroupName>,
    /// The balancers that are attached to that group. With a target group goes its own port, on which the Auto Scaling
    /// group registers its members, if the port was read.
    pub balancers: BTreeMap<BalancerId, Option<u16>>,
}

impl Attached {
    /// Returns why a registration is its group's affair; `None` if it is not.
    ///
    /// The group registers and deregisters its members on the target group's own port. It knows of no other one: "the
    /// target group's port is used" for instances that the group registers
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-load-balancer-asg.html>).
    pub fn reason(&self, registration: &Registration) -> Option<Reason> {
        let (group, own_port) = (self.group.as_ref()?, self.balancers.get(&registration.balancer)?);
        let is_on_another = own_port.is_some() && registration.target.port != *own_port;
        (!is_on_another).then(|| Reason::AttachedToGroup(group.clone()))
    }

    /// Returns why a registration is not made that is only declared: who is a member of an attached balancer is the
    /// group's affair, on every port. What is held was there, so another port comes back.
    pub fn reason_if_declared(&self, registration: &Registration) -> Option<Reason> {
        let group = self.group.as_ref()?;
        self.balancers.contains_key(&registration.balancer).then(|| Reason::AttachedToGroup(group.clone()))
    }
}

#[cfg(test)]
mod tests;

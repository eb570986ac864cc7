//! An instance as a member of an Auto Scaling group: its lifecycle state there, and how its lifecycle actions end.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{balancer::BalancerId, event::Transition, id::AutoScalingGroupName};

/// The balancers with which a group registers its members, and from which it deregisters them.
pub type AttachedBalancers = BTreeSet<BalancerId>;

/// An instance as a member of a group, or of a group's warm pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: AutoScalingGroupName,
    /// The member's lifecycle state there.
    pub lifecycle_state: LifecycleState,
}

/// The lifecycle state of a member: a word of AWS's, such as `Pending:Wait`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleState(String);

/// How a lifecycle action ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActionResult {
    /// The instance proceeds.
    Continue,
    /// A launching instance is terminated, and the group launches another one. A terminating instance proceeds as well,
    /// but hooks after this one are skipped.
    Abandon,
}

/// The states in which a member waits for its new root volume begin so. The last one, `RootVolumeReplaced`, begins
/// otherwise.
const REPLACING_ROOT_VOLUME: &str = "ReplacingRootVolume";

/// The state of a member that has its new root volume
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/replace-root-volume.html>).
const ROOT_VOLUME_REPLACED: &str = "RootVolumeReplaced";

impl LifecycleState {
    /// Returns whether the member is leaving, or has left, and should be registered nowhere. The group ends it, keeps
    /// it in its warm pool, or gives it a new root volume.
    pub fn is_leaving(&self) -> bool {
        ["Terminating", "Terminated", "Warmed:", REPLACING_ROOT_VOLUME].iter().any(|start| self.0.starts_with(start))
    }

    /// Returns whether the member is entering its group, or comes back with a new root volume.
    pub fn is_entering(&self) -> bool {
        self.0.starts_with("Pending") || self.is_replacing_root_volume() || self.0 == ROOT_VOLUME_REPLACED
    }

    /// Returns whether the member is entering the group's warm pool.
    pub fn is_entering_warm_pool(&self) -> bool {
        self.0.starts_with("Warmed:Pending")
    }

    /// Returns whether the member waits at a lifecycle hook
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>).
    pub fn is_at_hook(&self) -> bool {
        self.0.ends_with(":Wait")
    }

    /// Returns the transition that the member is in; `None` if the state does not tell.
    pub fn transition(&self) -> Option<Transition> {
        let known = [("Pending", Transition::Launching), ("Terminating", Transition::Terminating)];
        known.into_iter().find(|(word, _)| self.0.contains(word)).map(|(_, transition)| transition)
    }

    /// Returns whether the member gets a new root volume.
    pub fn is_replacing_root_volume(&self) -> bool {
        self.0.starts_with(REPLACING_ROOT_VOLUME)
    }

    /// Returns whether the member should get no traffic for now, even if it runs well. "Instances that are on standby
    /// are still part of the Auto Scaling group, but they do not actively handle load balancer traffic"
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html>).
    pub fn is_out_of_service(&self) -> bool {
        self.is_leaving() || matches!(self.0.as_str(), "Standby" | "EnteringStandby")
    }
}

impl From<&str> for LifecycleState {
    fn from(word: &str) -> Self {
        Self(word.to_owned())
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ActionResult {
    /// Reads the word that CompleteLifecycleAction takes; `None` for another one.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Continue, Self::Abandon].into_iter().find(|result| result.word() == word)
    }

    /// Returns the word that CompleteLifecycleAction takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifecycle_state_tells_which_member_gets_no_traffic() {
        for (word, is_leaving, is_out_of_service) in [
            ("Pending", false, false),
            ("Pending:Wait", false, false),
            ("Pending:Proceed", false, false),
            ("InService", false, false),
            ("Standby", false, true),
            ("EnteringStandby", false, true),
            ("Detaching", false, false),
            ("Terminating", true, true),
            ("Terminating:Wait", true, true),
            ("Terminating:Retained", true, true),
            ("Terminated", true, true),
            ("Warmed:Pending:Wait", true, true),
            ("Warmed:Running", true, true),
            ("ReplacingRootVolume:Wait", true, true),
            ("RootVolumeReplaced", false, false),
            ("SomethingNew", false, false),
        ] {
            let state = LifecycleState::from(word);
            assert_eq!((state.is_leaving(), state.is_out_of_service()), (is_leaving, is_out_of_service), "{word}");
        }
    }

    #[test]
    fn a_state_tells_at_which_transition_a_hook_is_waited_for() {
        for (word, is_at_hook, transition) in [
            ("Pending:Wait", true, Some(Transition::Launching)),
            ("Warmed:Pending:Wait", true, Some(Transition::Launching)),
            ("Terminating:Wait", true, Some(Transition::Terminating)),
            ("Warmed:Terminating:Proceed", false, Some(Transition::Terminating)),
            ("ReplacingRootVolume:Wait", true, None),
            ("InService", false, None),
        ] {
            let state = LifecycleState::from(word);
            assert_eq!((state.is_at_hook(), state.transition()), (is_at_hook, transition), "{word}");
        }
    }

    #[test]
    fn a_member_that_is_in_service_or_leaves_is_not_entering() {
        let is_entering = |word: &str| LifecycleState::from(word).is_entering();
        assert!(
            ["Pending", "Pending:Wait", "Pending:Proceed", "ReplacingRootVolume:Wait"].into_iter().all(is_entering)
        );
        let others = ["InService", "Standby", "Terminating:Wait", "Warmed:Pending:Wait", "Detaching", "SomethingNew"];
        assert!(!others.into_iter().any(is_entering));
    }
}

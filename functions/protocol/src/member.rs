//! An instance as a member of an Auto Scaling group: where it is in its life there, and how its lifecycle actions end.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{balancer::BalancerId, id::AutoScalingGroupName};

/// The balancers that a group registers its members with and deregisters them from.
pub type AttachedBalancers = BTreeSet<BalancerId>;

/// An instance as a member of a group, or of a group's warm pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which group.
    pub group: AutoScalingGroupName,
    /// Where it is in its life there.
    pub lifecycle_state: LifecycleState,
}

/// Where a member is in its life in the group: a word of AWS's, such as `Pending:Wait`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleState(String);

/// How a lifecycle action ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActionResult {
    /// The instance goes on its way.
    Continue,
    /// A launching instance is terminated, and another one launched. A terminating one goes on its way as well, but hooks
    /// after this one are skipped.
    Abandon,
}

/// How the states begin in which a member waits for its new root volume; the last one, `RootVolumeReplaced`, is another.
const REPLACING_ROOT_VOLUME: &str = "ReplacingRootVolume";

/// How a member is called whose new root volume is there
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/replace-root-volume.html>).
const ROOT_VOLUME_REPLACED: &str = "RootVolumeReplaced";

impl LifecycleState {
    /// Whether the member is on its way out, or out, and shall be registered nowhere: the group ends it, keeps it in its warm
    /// pool or gives it a new root volume.
    pub fn is_leaving(&self) -> bool {
        ["Terminating", "Terminated", "Warmed:", REPLACING_ROOT_VOLUME].iter().any(|start| self.0.starts_with(start))
    }

    /// Whether the member is being ended, from which there is no way back into service but through a warm pool.
    pub fn is_ending(&self) -> bool {
        self.0.starts_with("Terminat")
    }

    /// Whether the member is on its way into its group, or back with a new root volume.
    pub fn is_entering(&self) -> bool {
        self.0.starts_with("Pending") || self.is_replacing_root_volume() || self.0 == ROOT_VOLUME_REPLACED
    }

    /// Whether the member is on its way into the group's warm pool.
    pub fn is_entering_warm_pool(&self) -> bool {
        self.0.starts_with("Warmed:Pending")
    }

    /// Whether the member gets a new root volume.
    pub fn is_replacing_root_volume(&self) -> bool {
        self.0.starts_with(REPLACING_ROOT_VOLUME)
    }

    /// Whether the member shall get no traffic for now, however well it runs.
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

    /// The word that CompleteLifecycleAction takes.
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
    fn who_gets_no_traffic_is_told_by_the_lifecycle_state() {
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
    fn a_member_in_service_or_on_its_way_out_is_not_on_its_way_in() {
        let is_entering = |word: &str| LifecycleState::from(word).is_entering();
        assert!(
            ["Pending", "Pending:Wait", "Pending:Proceed", "ReplacingRootVolume:Wait"].into_iter().all(is_entering)
        );
        let others = ["InService", "Standby", "Terminating:Wait", "Warmed:Pending:Wait", "Detaching", "SomethingNew"];
        assert!(!others.into_iter().any(is_entering));
    }
}

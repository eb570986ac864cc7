//! Auto Scaling at the edge: what a group looks after by itself, where its members are in their life, its hooks, and their actions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_autoscaling::Client;
use serde::Serialize;

use crate::{
    error::CallError,
    hook::Hook,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    notice::{LifecycleAction, NotUnderstood},
    registration::{BalancerId, TargetGroupId},
};

/// Names that one DescribeAutoScalingGroups call takes: the largest page (API reference, `MaxRecords`).
const NAMES_PER_CALL_MAX: usize = 100;

/// Ids that one DescribeAutoScalingInstances call takes (API reference).
const IDS_PER_CALL_MAX: usize = 50;

/// The code of every refusal of a lifecycle action that is over, or never was: "No active Lifecycle Action found with...".
const VALIDATION_ERROR: &str = "ValidationError";

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
        self.0.starts_with("Pending") || self.is_replacing_root_volume()
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

/// Reads what is attached to groups. Those that are gone are left out, as the call does.
///
/// # Errors
/// Where a call fails: then nobody knows what is attached, and nothing of the members may be touched.
pub async fn attached_balancers(
    client: &Client,
    names: &BTreeSet<AutoScalingGroupName>,
) -> Result<BTreeMap<AutoScalingGroupName, AttachedBalancers>, CallError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut groups = BTreeMap::new();
    for chunk in names.chunks(NAMES_PER_CALL_MAX) {
        let call = client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(chunk.to_vec()));
        let mut pages = call.into_paginator().items().send();
        while let Some(found) = pages.next().await {
            let found = found.map_err(|e| CallError::new("autoscaling:DescribeAutoScalingGroups", e))?;
            if let Some(name) = found.auto_scaling_group_name() {
                groups.insert(name.into(), attached(&found));
            }
        }
    }
    Ok(groups)
}

fn attached(found: &aws_sdk_autoscaling::types::AutoScalingGroup) -> AttachedBalancers {
    let classic = found.load_balancer_names().iter().map(|name| BalancerId::Classic(name.as_str().into()));
    let target_groups = found.target_group_arns().iter().filter_map(|arn| TargetGroupId::from_arn(arn));
    // The newer list of the same; its identifiers are ARNs of target groups, and names of Classic load balancers.
    let sources = found.traffic_sources().iter().filter_map(|source| {
        let identifier = source.identifier()?;
        match source.r#type() {
            Some("elb") => Some(BalancerId::Classic(identifier.into())),
            _ => TargetGroupId::from_arn(identifier).map(BalancerId::TargetGroup),
        }
    });
    classic.chain(target_groups.map(BalancerId::TargetGroup)).chain(sources).collect()
}

/// Reads instances as members of groups. Those that are members of none are left out, as the call does.
///
/// Not DescribeAutoScalingGroups, which also lists members: those of a warm pool it leaves out.
///
/// # Errors
/// Where a call fails: then nobody knows who shall get traffic.
pub async fn members(client: &Client, ids: &BTreeSet<InstanceId>) -> Result<BTreeMap<InstanceId, Member>, CallError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut members = BTreeMap::new();
    for chunk in ids.chunks(IDS_PER_CALL_MAX) {
        let call = client.describe_auto_scaling_instances().set_instance_ids(Some(chunk.to_vec()));
        let mut pages = call.into_paginator().items().send();
        while let Some(found) = pages.next().await {
            let found = found.map_err(|e| CallError::new("autoscaling:DescribeAutoScalingInstances", e))?;
            let group = found.auto_scaling_group_name().map(Into::into);
            let state = found.lifecycle_state().map(Into::into);
            if let (Some(id), Some(group), Some(lifecycle_state)) = (found.instance_id(), group, state) {
                members.insert(id.into(), Member { group, lifecycle_state });
            }
        }
    }
    Ok(members)
}

/// Reads a lifecycle hook; `None` where the hook or its group is gone.
///
/// # Errors
/// Where the call fails, or where nobody understands what the operator wrote at the hook.
pub async fn hook(
    client: &Client,
    group: &AutoScalingGroupName,
    name: &LifecycleHookName,
) -> Result<Option<Hook>, HookError> {
    let call = client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
    let answer = match call.lifecycle_hook_names(name.as_str()).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let error = CallError::new("autoscaling:DescribeLifecycleHooks", error);
            // "AutoScalingGroup name not found", or a hook that is not there: both are gone.
            return if error.code() == Some(VALIDATION_ERROR) { Ok(None) } else { Err(HookError::Call(error)) };
        }
    };
    let found = answer.lifecycle_hooks().iter().find(|found| found.lifecycle_hook_name() == Some(name.as_str()));
    found.map(|found| Hook::of(name, found)).transpose().map_err(HookError::NotUnderstood)
}

/// Why a hook could not be read.
#[derive(Debug)]
pub enum HookError {
    /// The call failed: it shall be repeated.
    Call(CallError),
    /// What the operator wrote there says nothing to this function: that is for a person.
    NotUnderstood(NotUnderstood),
}

/// Restarts the heartbeat timeout of an action. Says whether the action is still there.
///
/// # Errors
/// Where the call fails for another reason.
pub async fn record_heartbeat(client: &Client, action: &LifecycleAction) -> Result<bool, CallError> {
    let call = client
        .record_lifecycle_action_heartbeat()
        .auto_scaling_group_name(action.group.as_str())
        .lifecycle_hook_name(action.hook.as_str())
        .lifecycle_action_token(&action.token);
    still_there(call.send().await.map_err(|e| CallError::new("autoscaling:RecordLifecycleActionHeartbeat", e)))
}

/// Ends an action. Says whether it was still there: one that somebody has completed, or that ran out of time, is no error
/// (others retried that for hours).
///
/// # Errors
/// Where the call fails for another reason.
pub async fn complete(client: &Client, action: &LifecycleAction, result: ActionResult) -> Result<bool, CallError> {
    let call = client
        .complete_lifecycle_action()
        .auto_scaling_group_name(action.group.as_str())
        .lifecycle_hook_name(action.hook.as_str())
        .lifecycle_action_token(&action.token)
        .lifecycle_action_result(result.word());
    still_there(call.send().await.map_err(|e| CallError::new("autoscaling:CompleteLifecycleAction", e)))
}

fn still_there<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(VALIDATION_ERROR) => Ok(false),
        Err(error) => Err(error),
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

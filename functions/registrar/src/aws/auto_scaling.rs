//! Calls to Auto Scaling: what is attached to groups, the lifecycle states of their members, their hooks, and lifecycle
//! actions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_autoscaling::{
    Client,
    operation::{
        describe_auto_scaling_groups::DescribeAutoScalingGroupsOutput,
        describe_auto_scaling_instances::{
            DescribeAutoScalingInstancesOutput, builders::DescribeAutoScalingInstancesFluentBuilder,
        },
    },
    types::{AutoScalingInstanceDetails, LifecycleHook},
};
use protocol::{
    balancer::{BalancerId, TargetGroupId},
    call_error::CallError,
    event::LifecycleAction,
    hook::{self, Hook},
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    member::{ActionResult, AttachedBalancers, Member},
};

use crate::aws::{budget::Budget, call::once};

/// Names in one DescribeAutoScalingGroups call, unless `MaxRecords` says more
/// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html>).
const NAMES_PER_CALL_MAX: usize = 50;

/// Ids in one DescribeAutoScalingInstances call (API reference).
const IDS_PER_CALL_MAX: usize = 50;

/// Members on one page of DescribeAutoScalingInstances, the most that it allows (API reference).
const MEMBERS_PER_PAGE_MAX: i32 = 50;

/// The code for every lifecycle action that is over, or that never was: "No active Lifecycle Action found with...".
const VALIDATION_ERROR: &str = "ValidationError";

/// Auto Scaling of one Region.
#[derive(Clone)]
pub struct AutoScaling {
    client: Client,
    budget: Arc<Budget>,
}

impl AutoScaling {
    /// Creates Auto Scaling behind a client, with the budget of all clients' calls.
    pub fn new(client: Client, budget: Arc<Budget>) -> Self {
        Self { client, budget }
    }

    /// Reads what is attached to groups. Groups that do not exist any more are left out, as the call does.
    ///
    /// # Errors
    /// If a call fails. Then it is not known what is attached, and no member of the groups may be touched.
    pub async fn attached_balancers(
        &self,
        names: &BTreeSet<AutoScalingGroupName>,
    ) -> Result<BTreeMap<AutoScalingGroupName, AttachedBalancers>, CallError> {
        let names: Vec<String> = names.iter().map(|id| id.as_str().to_owned()).collect();
        let mut groups = BTreeMap::new();
        for chunk in names.chunks(NAMES_PER_CALL_MAX) {
            let call = self.client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(chunk.to_vec()));
            let page = |token| call.clone().set_next_token(token).send();
            let see = |page: DescribeAutoScalingGroupsOutput| {
                let named = page.auto_scaling_groups().iter();
                groups
                    .extend(named.filter_map(|found| Some((found.auto_scaling_group_name()?.into(), attached(found)))));
            };
            let next = DescribeAutoScalingGroupsOutput::next_token;
            self.budget.pages(None, "autoscaling:DescribeAutoScalingGroups", page, next, see).await?;
        }
        Ok(groups)
    }

    /// Reads instances as members of groups. Instances that are members of none are left out, as the call does.
    ///
    /// DescribeAutoScalingGroups also lists members, but leaves out those of a warm pool.
    ///
    /// # Errors
    /// If a call fails. Then it is not known which instances should get traffic.
    pub async fn members(&self, ids: &BTreeSet<InstanceId>) -> Result<BTreeMap<InstanceId, Member>, CallError> {
        let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        let mut members = BTreeMap::new();
        for chunk in ids.chunks(IDS_PER_CALL_MAX) {
            let call = self.client.describe_auto_scaling_instances().set_instance_ids(Some(chunk.to_vec()));
            members.extend(self.members_of(call).await?);
        }
        Ok(members)
    }

    /// Reads all instances that are members of a group of the account, or of its warm pool: a call for 50 of them.
    /// "If you omit this property, all Auto Scaling instances are described", and "the maximum value is 50"
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingInstances.html>).
    ///
    /// # Errors
    /// If a call fails. Then it is not known which instances should get traffic.
    pub async fn all_members(&self) -> Result<BTreeMap<InstanceId, Member>, CallError> {
        self.members_of(self.client.describe_auto_scaling_instances().max_records(MEMBERS_PER_PAGE_MAX)).await
    }

    async fn members_of(
        &self,
        call: DescribeAutoScalingInstancesFluentBuilder,
    ) -> Result<BTreeMap<InstanceId, Member>, CallError> {
        let mut members = BTreeMap::new();
        let page = |token| call.clone().set_next_token(token).send();
        let see = |page: DescribeAutoScalingInstancesOutput| {
            members.extend(page.auto_scaling_instances().iter().filter_map(member));
        };
        let next = DescribeAutoScalingInstancesOutput::next_token;
        self.budget.pages(None, "autoscaling:DescribeAutoScalingInstances", page, next, see).await?;
        Ok(members)
    }

    /// Reads a lifecycle hook; `None` if the hook or its group does not exist (any more).
    ///
    /// # Errors
    /// If the call fails.
    pub async fn hook(
        &self,
        group: &AutoScalingGroupName,
        name: &LifecycleHookName,
    ) -> Result<Option<Hook>, CallError> {
        let call = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
        let call = call.lifecycle_hook_names(name.as_str());
        let answer = match once("autoscaling:DescribeLifecycleHooks", call.send()).await {
            Ok(answer) => answer,
            // "AutoScalingGroup name not found", or a hook that does not exist: both are gone.
            Err(error) if error.code() == Some(VALIDATION_ERROR) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = answer.lifecycle_hooks().iter().find(|found| found.lifecycle_hook_name() == Some(name.as_str()));
        Ok(found.map(|found| Hook::of(name, &described(found))))
    }

    /// Returns whether a group has a lifecycle hook whose name begins so. A group that does not exist (any more) has none.
    ///
    /// One call tells all hooks of a group, which has 50 at the most
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html>).
    ///
    /// # Errors
    /// If the call fails.
    pub async fn has_hook(
        &self,
        group: &AutoScalingGroupName,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<bool, CallError> {
        Ok(self.hooks(group).await?.iter().any(|(name, _)| is_ours(name)))
    }

    /// Reads the names of all lifecycle hooks of a group, each with its transition. A group that does not exist (any more) has none.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn hooks(&self, group: &AutoScalingGroupName) -> Result<Vec<(String, String)>, CallError> {
        let call = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
        let answer = match once("autoscaling:DescribeLifecycleHooks", call.send()).await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(VALIDATION_ERROR) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let named = |hook: &LifecycleHook| {
            Some((hook.lifecycle_hook_name()?.to_owned(), hook.lifecycle_transition()?.to_owned()))
        };
        Ok(answer.lifecycle_hooks().iter().filter_map(named).collect())
    }

    /// Restarts the heartbeat timeout of an action. Returns whether the action is still there.
    ///
    /// # Errors
    /// If the call fails for another reason.
    pub async fn record_heartbeat(&self, action: &LifecycleAction) -> Result<bool, CallError> {
        let call = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(action.group.as_str())
            .lifecycle_hook_name(action.hook.as_str())
            .lifecycle_action_token(&action.token);
        still_there(once("autoscaling:RecordLifecycleActionHeartbeat", call.send()).await)
    }

    /// Completes an action. Returns whether it was still there. An action that was completed already, or ran out of
    /// time, is no error (others retried that for hours).
    ///
    /// # Errors
    /// If the call fails for another reason.
    pub async fn complete(&self, action: &LifecycleAction, result: ActionResult) -> Result<bool, CallError> {
        let call = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(action.group.as_str())
            .lifecycle_hook_name(action.hook.as_str())
            .lifecycle_action_token(&action.token)
            .lifecycle_action_result(result.word());
        still_there(once("autoscaling:CompleteLifecycleAction", call.send()).await)
    }
}

fn attached(found: &aws_sdk_autoscaling::types::AutoScalingGroup) -> AttachedBalancers {
    let classic = found.load_balancer_names().iter().map(|name| BalancerId::Classic(name.as_str().into()));
    let target_groups = found.target_group_arns().iter().filter_map(|arn| TargetGroupId::from_arn(arn));
    // The newer list of the same. Its identifiers are ARNs of target groups, and names of Classic load balancers.
    let sources = found.traffic_sources().iter().filter_map(|source| {
        let identifier = source.identifier()?;
        match source.r#type() {
            Some("elb") => Some(BalancerId::Classic(identifier.into())),
            _ => TargetGroupId::from_arn(identifier).map(BalancerId::TargetGroup),
        }
    });
    classic.chain(target_groups.map(BalancerId::TargetGroup)).chain(sources).collect()
}

fn described(found: &LifecycleHook) -> hook::LifecycleHook {
    hook::LifecycleHook {
        lifecycle_transition: found.lifecycle_transition().map(str::to_owned),
        heartbeat_timeout: found.heartbeat_timeout(),
        global_timeout: found.global_timeout(),
        default_result: found.default_result().map(str::to_owned),
        notification_metadata: found.notification_metadata().map(str::to_owned),
    }
}

fn still_there<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(VALIDATION_ERROR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn member(found: &AutoScalingInstanceDetails) -> Option<(InstanceId, Member)> {
    let group = found.auto_scaling_group_name()?.into();
    let lifecycle_state = found.lifecycle_state()?.into();
    Some((found.instance_id()?.into(), Member { group, lifecycle_state }))
}

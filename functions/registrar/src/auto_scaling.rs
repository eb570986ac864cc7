//! Auto Scaling at the edge: what a group looks after by itself, and which of its members shall get no traffic.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_autoscaling::Client;

use crate::{
    error::CallError,
    id::{AutoScalingGroupName, InstanceId},
    registration::{BalancerId, TargetGroupId},
};

/// Names that one DescribeAutoScalingGroups call takes: the largest page (API reference, `MaxRecords`).
const NAMES_PER_CALL_MAX: usize = 100;

/// An Auto Scaling group, reduced to what matters here.
#[derive(Clone, Debug, Default)]
pub struct AutoScalingGroup {
    /// The balancers that it registers its members with and deregisters them from.
    pub attached: BTreeSet<BalancerId>,
    /// Members that it keeps out of service, with the lifecycle state that says so.
    pub out_of_service: BTreeMap<InstanceId, String>,
}

/// Reads groups. Those that are gone are left out, as the call does.
///
/// # Errors
/// Where a call fails: then nobody knows what is attached, and nothing of the members may be touched.
pub async fn read(
    client: &Client,
    names: &BTreeSet<AutoScalingGroupName>,
) -> Result<BTreeMap<AutoScalingGroupName, AutoScalingGroup>, CallError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut groups = BTreeMap::new();
    for chunk in names.chunks(NAMES_PER_CALL_MAX) {
        let call = client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(chunk.to_vec()));
        let mut pages = call.into_paginator().items().send();
        while let Some(found) = pages.next().await {
            let found = found.map_err(|e| CallError::new("autoscaling:DescribeAutoScalingGroups", e))?;
            if let Some(name) = found.auto_scaling_group_name() {
                groups.insert(name.into(), group(&found));
            }
        }
    }
    Ok(groups)
}

fn group(found: &aws_sdk_autoscaling::types::AutoScalingGroup) -> AutoScalingGroup {
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
    let members = found.instances().iter().filter_map(|member| {
        let state = member.lifecycle_state()?.as_str();
        is_out_of_service(state).then(|| Some((member.instance_id()?.into(), state.to_owned())))?
    });
    AutoScalingGroup {
        attached: classic.chain(target_groups.map(BalancerId::TargetGroup)).chain(sources).collect(),
        out_of_service: members.collect(),
    }
}

/// Members of a warm pool and in Standby take no traffic, however well they run.
fn is_out_of_service(lifecycle_state: &str) -> bool {
    lifecycle_state.starts_with("Warmed:") || matches!(lifecycle_state, "Standby" | "EnteringStandby")
}

//! Lifecycle actions of Auto Scaling: an instance waits at a hook, on its way into its group or out of it.
//!
//! Every hook of the account sends such events. A hook is ours by its name: somebody else's must be neither completed nor
//! kept alive. The hook's `NotificationMetadata` comes along with them, and is not read: whoever can make up an event could
//! write there what he wants. What the operator wrote is asked of the hook itself ([`crate::hook`]).

use std::fmt;

use serde::Deserialize;

use crate::{
    event::{NotUnderstood, Place, event_of, instance_id_of},
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    time::Timestamp,
};

const LAUNCH: &str = "EC2 Instance-launch Lifecycle Action";
const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";

/// An instance waits at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleAction {
    /// Which one.
    pub instance: InstanceId,
    /// The group that it was a member of when the event was made.
    pub group: AutoScalingGroupName,
    /// At which hook.
    pub hook: LifecycleHookName,
    /// By which the action is completed.
    pub token: String,
    /// Which way it goes.
    pub transition: Transition,
    /// Whether it goes to the group's warm pool.
    pub is_to_warm_pool: bool,
    /// Whether it is about a new root volume, for which the instance leaves the service and comes back without a stop.
    pub is_for_root_volume: bool,
    /// When it began.
    pub started_at: Timestamp,
}

/// Which way an instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Transition {
    /// Into the group, or into its warm pool.
    #[serde(rename = "autoscaling:EC2_INSTANCE_LAUNCHING")]
    Launching,
    /// Out of the group: to its end, back to the warm pool, or out of service for a new root volume.
    #[serde(rename = "autoscaling:EC2_INSTANCE_TERMINATING")]
    Terminating,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    lifecycle_action_token: String,
    auto_scaling_group_name: String,
    lifecycle_hook_name: String,
    #[serde(rename = "EC2InstanceId")]
    ec2_instance_id: String,
    lifecycle_transition: Transition,
    destination: Option<String>,
    action: Option<String>,
}

impl LifecycleAction {
    /// Reads an EventBridge event.
    ///
    /// # Errors
    /// Where it is not a lifecycle action of this account and Region at a hook whose name begins with `prefix`, in its
    /// documented form. Repeating the event would not help.
    pub fn of_event(text: &str, place: &Place, prefix: &str) -> Result<Self, NotUnderstood> {
        let is_ours =
            |source: &str, detail_type: &str| source == "aws.autoscaling" && [LAUNCH, TERMINATE].contains(&detail_type);
        let (time, detail): (_, Detail) = event_of(text, place, is_ours)?;
        let hook = LifecycleHookName::from(detail.lifecycle_hook_name);
        if !hook.as_str().starts_with(prefix) {
            return Err(NotUnderstood::OtherHook { hook, prefix: prefix.to_owned() });
        }
        // By it alone a function knows how long the action has been waiting.
        let started_at = time.ok_or_else(|| NotUnderstood::NotAnEvent("missing field `time`".to_owned()))?;
        Ok(Self {
            instance: instance_id_of(detail.ec2_instance_id)?,
            group: detail.auto_scaling_group_name.into(),
            token: detail.lifecycle_action_token,
            transition: detail.lifecycle_transition,
            is_to_warm_pool: detail.destination.as_deref() == Some("WarmPool"),
            is_for_root_volume: detail.action.as_deref() == Some("ReplaceRootVolume"),
            started_at,
            hook,
        })
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Launching => "launch",
            Self::Terminating => "terminate",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PREFIX: &str = "elb-registrar";

    fn place() -> Place {
        Place::of_function("arn:aws:lambda:us-east-1:123456789012:function:lifecycle", "us-east-1")
    }

    /// The sample of the Auto Scaling user guide, with our hook's name.
    fn sample(transition: &str) -> Value {
        json!({
            "version": "0", "id": "12345678-1234-1234-1234-123456789012",
            "detail-type": if transition == "LAUNCHING" { LAUNCH } else { TERMINATE },
            "source": "aws.autoscaling", "account": "123456789012", "time": "2021-11-11T21:29:54Z", "region": "us-east-1",
            "resources": ["arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:u:autoScalingGroupName/fleet"],
            "detail": {
                "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
                "AutoScalingGroupName": "fleet",
                "LifecycleHookName": "elb-registrar-hook",
                "EC2InstanceId": "i-1234567890abcdef0",
                "LifecycleTransition": format!("autoscaling:EC2_INSTANCE_{transition}"),
                "Origin": "EC2", "Destination": "AutoScalingGroup",
            },
        })
    }

    fn read_with(transition: &str, field: &str, value: Value) -> Result<LifecycleAction, String> {
        let mut event = sample(transition);
        event["detail"][field] = value;
        LifecycleAction::of_event(&event.to_string(), &place(), PREFIX).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_in_every_event_may_be_absent() {
        let mut event = sample("TERMINATING");
        for field in ["Origin", "Destination", "NotificationMetadata"] {
            event["detail"].as_object_mut().unwrap().remove(field);
        }
        let action = LifecycleAction::of_event(&event.to_string(), &place(), PREFIX).unwrap();
        assert_eq!((action.transition, action.is_to_warm_pool), (Transition::Terminating, false));
    }

    #[test]
    fn a_destination_in_the_warm_pool_is_told_from_the_group() {
        let to = |destination| read_with("LAUNCHING", "Destination", json!(destination)).unwrap().is_to_warm_pool;
        assert_eq!((to("WarmPool"), to("AutoScalingGroup"), to("Moon")), (true, false, false));
    }

    #[test]
    fn metadata_in_an_event_is_not_read() {
        let plain = read_with("LAUNCHING", "Destination", json!("AutoScalingGroup"));
        for metadata in [json!(r#"{"register": ["clb:shop"]}"#), json!("no JSON"), json!({ "a": 1 })] {
            assert_eq!(read_with("LAUNCHING", "NotificationMetadata", metadata), plain);
        }
    }

    #[test]
    fn an_event_that_is_not_ours_is_refused_with_a_sentence_that_names_it() {
        for (field, value, words) in [
            ("LifecycleHookName", json!("ecs-managed-draining-termination-hook"), "begins with `elb-registrar`"),
            ("EC2InstanceId", json!("mi-1"), "`mi-1`"),
            ("LifecycleTransition", json!("autoscaling:TEST_NOTIFICATION"), "TEST_NOTIFICATION"),
        ] {
            let error = read_with("LAUNCHING", field, value).unwrap_err();
            assert!(error.contains(words), "{field}: {error}");
        }
        let refusal_without = |object: &str, field: &str| {
            let mut event = sample("LAUNCHING");
            event.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(field);
            LifecycleAction::of_event(&event.to_string(), &place(), PREFIX).unwrap_err().to_string()
        };
        assert!(refusal_without("/detail", "LifecycleActionToken").contains("missing field `LifecycleActionToken`"));
        assert!(refusal_without("", "time").contains("missing field `time`"));
        let mut event = sample("LAUNCHING");
        event["detail-type"] = json!("EC2 Instance Launch Successful");
        let error = LifecycleAction::of_event(&event.to_string(), &place(), PREFIX).unwrap_err().to_string();
        assert!(error.contains("EC2 Instance Launch Successful"), "{error}");
    }
}

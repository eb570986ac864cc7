//! Lifecycle actions of Auto Scaling: an instance waits at a hook, on its way into its group or out of it.
//!
//! Every hook of the account sends such events. A hook is ours by its name: somebody else's must be neither completed nor
//! kept alive.

use std::{fmt, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use super::{NotUnderstood, Place, event_of, instance_id_of};
use crate::{
    auto_scaling::ActionResult,
    declaration::Declaration,
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    instance::Timestamp,
    registration::Malformed,
};

const LAUNCH: &str = "EC2 Instance-launch Lifecycle Action";
const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";

/// Characters of a hook's metadata, all of them ASCII (API reference, PutLifecycleHook). An event with more was made by somebody else,
/// and would have each of its registrations looked up.
const METADATA_LENGTH_MAX: usize = 4_000;

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
    /// What the operator wants of this hook.
    pub wishes: Wishes,
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

/// What an operator wants of one hook, by its `NotificationMetadata`. What is left out follows the function's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Registrations to make at the launch, beside those of the instance's own tags. As the text of the tag.
    pub register: String,
    /// How long to wait for health, or for a balancer that cannot be read or written.
    pub timeout: Option<Duration>,
    /// How the launch ends that is not healthy in time.
    pub on_timeout: Option<ActionResult>,
    /// How long a target behind a Network Load Balancer may still get new connections.
    pub network_drain: Option<Duration>,
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
    notification_metadata: Option<String>,
    destination: Option<String>,
    action: Option<String>,
}

/// The metadata of a hook that launches.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchMetadata {
    #[serde(default)]
    register: Vec<String>,
    timeout_seconds: Option<u32>,
    on_timeout: Option<ActionResult>,
}

/// The metadata of a hook that terminates.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminateMetadata {
    timeout_seconds: Option<u32>,
    network_drain_seconds: Option<u32>,
}

impl LifecycleAction {
    /// Reads an EventBridge event.
    ///
    /// # Errors
    /// Where it is not a lifecycle action of this account and Region at a hook whose name begins with `prefix`, in its
    /// documented form, or the hook's metadata is not what this function takes. Repeating the event would not help.
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
        let metadata = detail.notification_metadata.unwrap_or_default();
        Ok(Self {
            instance: instance_id_of(detail.ec2_instance_id)?,
            group: detail.auto_scaling_group_name.into(),
            token: detail.lifecycle_action_token,
            transition: detail.lifecycle_transition,
            is_to_warm_pool: detail.destination.as_deref() == Some("WarmPool"),
            is_for_root_volume: detail.action.as_deref() == Some("ReplaceRootVolume"),
            started_at,
            wishes: Wishes::of(&metadata, detail.lifecycle_transition, &hook)?,
            hook,
        })
    }
}

impl Wishes {
    fn of(metadata: &str, transition: Transition, hook: &LifecycleHookName) -> Result<Self, NotUnderstood> {
        if metadata.len() > METADATA_LENGTH_MAX {
            let why = format!("it is longer than {METADATA_LENGTH_MAX} characters, which Auto Scaling does not take");
            return Err(NotUnderstood::Metadata { hook: hook.clone(), why });
        }
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(seconds.into()));
        match transition {
            Transition::Launching => {
                let LaunchMetadata { register, timeout_seconds, on_timeout } = read(metadata, hook)?;
                let register = register.join(" ");
                if let Some((text, why)) = first_malformed(&register) {
                    return Err(NotUnderstood::Declaration { hook: hook.clone(), text, why });
                }
                Ok(Self { register, timeout: seconds(timeout_seconds), on_timeout, network_drain: None })
            }
            Transition::Terminating => {
                let TerminateMetadata { timeout_seconds, network_drain_seconds } = read(metadata, hook)?;
                let (timeout, network_drain) = (seconds(timeout_seconds), seconds(network_drain_seconds));
                Ok(Self { timeout, network_drain, ..Self::default() })
            }
        }
    }
}

fn first_malformed(register: &str) -> Option<(String, Malformed)> {
    Declaration::all_in(register).1.into_iter().next()
}

/// Reads metadata; without any, nothing is wanted in particular.
fn read<T: Default + DeserializeOwned>(metadata: &str, hook: &LifecycleHookName) -> Result<T, NotUnderstood> {
    match metadata.trim() {
        "" => Ok(T::default()),
        text => serde_json::from_str(text)
            .map_err(|error| NotUnderstood::Metadata { hook: hook.clone(), why: error.to_string() }),
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
    use proptest::prelude::*;
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
        assert_eq!(action.wishes, Wishes::default());
    }

    #[test]
    fn a_destination_in_the_warm_pool_is_told_from_the_group() {
        let to = |destination| read_with("LAUNCHING", "Destination", json!(destination)).unwrap().is_to_warm_pool;
        assert_eq!((to("WarmPool"), to("AutoScalingGroup"), to("Moon")), (true, false, false));
    }

    #[test]
    fn what_an_operator_writes_at_the_hook_is_read() {
        let metadata = r#"{"register": ["tg:web:8080", "clb:shop"], "timeout_seconds": 600, "on_timeout": "CONTINUE"}"#;
        let wishes = read_with("LAUNCHING", "NotificationMetadata", json!(metadata)).unwrap().wishes;
        assert_eq!(wishes.register, "tg:web:8080 clb:shop");
        assert_eq!((wishes.timeout, wishes.on_timeout), (Some(Duration::from_secs(600)), Some(ActionResult::Continue)));
        let metadata = r#"{"network_drain_seconds": 180}"#;
        let wishes = read_with("TERMINATING", "NotificationMetadata", json!(metadata)).unwrap().wishes;
        assert_eq!(wishes.network_drain, Some(Duration::from_secs(180)));
    }

    #[test]
    fn metadata_that_says_something_else_is_refused_with_a_sentence_that_names_the_hook() {
        for (transition, metadata, words) in [
            ("LAUNCHING", r#"{"registre": []}"#, "unknown field `registre`"),
            ("LAUNCHING", r#"{"register": ["web"]}"#, "`web`, which is not a registration"),
            ("LAUNCHING", r#"{"network_drain_seconds": 3}"#, "unknown field `network_drain_seconds`"),
            ("LAUNCHING", r#"{"on_timeout": "continue"}"#, "unknown variant `continue`"),
            ("TERMINATING", r#"{"register": ["tg:web"]}"#, "unknown field `register`"),
            ("TERMINATING", r#"{"timeout_seconds": -1}"#, "invalid value"),
            ("TERMINATING", "my-metadata", "expected value"),
            ("LAUNCHING", &format!("{}{{}}", " ".repeat(3_999)), "longer than 4000 characters"),
        ] {
            let error = read_with(transition, "NotificationMetadata", json!(metadata)).unwrap_err();
            assert!(error.contains("hook `elb-registrar-hook`") && error.contains(words), "{metadata}: {error}");
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

    proptest! {
        #[test]
        fn no_metadata_makes_it_panic(metadata in "\\PC{0,200}") {
            let _ = read_with("LAUNCHING", "NotificationMetadata", json!(metadata));
            let _ = read_with("TERMINATING", "NotificationMetadata", json!(metadata));
        }
    }
}

//! Lifecycle actions of Auto Scaling: an instance waits at a hook, while it enters its group or leaves it.
//!
//! Every hook of the account sends such events. A hook is ours by its name: a hook that another system serves must be
//! neither completed nor kept alive. The events also bear the hook's `NotificationMetadata`. It is not read from there,
//! because anyone who can make up an event could write anything into it. The functions ask the hook itself for what its
//! operator wrote ([`crate::hook`]).

use std::fmt;

use serde::Deserialize;

use crate::{
    event::{Input, NotUnderstood, Place, Told, field::Field, instance_id_of, object, time_of},
    id::{AutoScalingGroupName, InstanceId, LifecycleHookName},
    time::Timestamp,
};

const LAUNCH: &str = "EC2 Instance-launch Lifecycle Action";
const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";

/// A lifecycle action: an instance waits at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleAction {
    /// The instance that waits.
    pub instance: InstanceId,
    /// The group that it was a member of when the event was made.
    pub group: AutoScalingGroupName,
    /// The hook at which it waits.
    pub hook: LifecycleHookName,
    /// The token by which the action is completed.
    pub token: String,
    /// Whether the instance enters the group or leaves it.
    pub transition: Transition,
    /// Whether the instance goes to the group's warm pool.
    pub is_to_warm_pool: bool,
    /// Whether the instance gets a new root volume. For that it leaves the service and comes back without a stop.
    pub is_for_root_volume: bool,
    /// When the action began, by the event. It is never later than [`Self::told_at`].
    pub started_at: Timestamp,
    /// When the function's queue got the event, by the queue's own clock; the event's time if there is no queue. What
    /// an event says of time, its sender can make up. So only this tells how long an action has been waiting.
    pub told_at: Timestamp,
}

/// All that makes an action this one and no other. Messages with the same key are copies of one event.
pub type ActionKey<'a> =
    (&'a str, &'a InstanceId, &'a AutoScalingGroupName, &'a LifecycleHookName, Transition, bool, bool);

/// Whether an instance enters its group or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// The instance enters the group, or its warm pool.
    Launching,
    /// The instance leaves the group: it ends, returns to the warm pool, or gets a new root volume.
    Terminating,
}

/// What both an event's detail and a hook's own notification say.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Detail {
    lifecycle_action_token: Field,
    auto_scaling_group_name: Field,
    lifecycle_hook_name: Field,
    #[serde(rename = "EC2InstanceId")]
    ec2_instance_id: Field,
    lifecycle_transition: Field,
    destination: Field,
    action: Field,
}

/// What a hook itself sends to its `NotificationTargetARN`, beside the [`Detail`].
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/prepare-for-lifecycle-notifications.html>
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Notification {
    account_id: Field,
    time: Field,
}

impl LifecycleAction {
    /// What can be read, for a person who sent something else.
    pub const TAKES: &str = "`lifecycle` takes `EC2 Instance-launch Lifecycle Action` and `EC2 Instance-terminate Lifecycle Action` from \
                             `aws.autoscaling`: events/lifecycle-launch.json in the repository of elb-registrar is a sample";

    /// Returns all that makes the action this one and no other. Who sends a message can give it the token of another
    /// action, or the instance, or the hook.
    pub fn key(&self) -> ActionKey<'_> {
        let Self { instance, group, hook, token, transition, is_to_warm_pool, is_for_root_volume, .. } = self;
        (token, instance, group, hook, *transition, *is_to_warm_pool, *is_for_root_volume)
    }

    /// Returns the action as its queue tells it, which got the event at this time.
    #[must_use]
    pub fn told_by_queue(self, at: Timestamp) -> Self {
        Self { started_at: self.started_at.min(at), told_at: at, ..self }
    }

    /// Reads an EventBridge event, or the notification that a hook itself sends to a queue or a topic. Both may be
    /// inside the envelope of SNS.
    ///
    /// # Errors
    /// If it is not a lifecycle action of this account and Region, at a hook whose name begins with `prefix`, in its
    /// documented form. Repeating the event would not help.
    pub fn of_text(text: &str, place: &Place, prefix: &str) -> Result<Told<Self>, NotUnderstood> {
        let input = Input::of(text, Self::TAKES)?;
        let (time, detail) = match input.outline.service.as_text() {
            Some("AWS Auto Scaling") if input.outline.event.as_text() == Some("autoscaling:TEST_NOTIFICATION") => {
                return Ok(Told::Nothing("Auto Scaling sends a test notification when a hook gets its target"));
            }
            Some("AWS Auto Scaling") if input.outline.event == Field::Absent => {
                let notification: Notification = object(&input.text).unwrap_or_default();
                place.check(&notification.account_id, &Field::Absent)?;
                (time_of(&notification.time, "Time")?, object(&input.text).unwrap_or_default())
            }
            _ => {
                let is_ours = |source: &str, detail_type: &str| {
                    source == "aws.autoscaling" && [LAUNCH, TERMINATE].contains(&detail_type)
                };
                input.event(place, Self::TAKES, is_ours)?
            }
        };
        Self::of(time, detail, prefix).map(Told::Look)
    }

    fn of(time: Option<Timestamp>, detail: Detail, prefix: &str) -> Result<Self, NotUnderstood> {
        let text = |field: Field, name| field.text().ok_or(NotUnderstood::NoField(name));
        let hook = LifecycleHookName::from(text(detail.lifecycle_hook_name, "LifecycleHookName")?);
        if !hook.as_str().starts_with(prefix) {
            return Err(NotUnderstood::OtherHook { hook, prefix: prefix.to_owned() });
        }
        let transition = text(detail.lifecycle_transition, "LifecycleTransition")?;
        let started_at = time.ok_or(NotUnderstood::NoField("time"))?;
        Ok(Self {
            instance: instance_id_of(detail.ec2_instance_id, "EC2InstanceId")?,
            group: text(detail.auto_scaling_group_name, "AutoScalingGroupName")?.into(),
            token: text(detail.lifecycle_action_token, "LifecycleActionToken")?,
            transition: Transition::from_name(&transition).ok_or(NotUnderstood::Transition(transition))?,
            is_to_warm_pool: detail.destination.as_text() == Some("WarmPool"),
            is_for_root_volume: detail.action.as_text() == Some("ReplaceRootVolume"),
            started_at,
            told_at: started_at,
            hook,
        })
    }
}

impl Transition {
    /// Reads the API's word for a transition; `None` for one that this version does not know.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|transition| transition.name() == name)
    }

    /// Returns the API's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
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

    /// Returns the sample of the Auto Scaling user guide, with our hook's name.
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

    fn read(input: &Value) -> Result<LifecycleAction, String> {
        match LifecycleAction::of_text(&input.to_string(), &place(), PREFIX) {
            Ok(Told::Look(action)) => Ok(action),
            Ok(Told::Nothing(why)) => Err(why.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_with(transition: &str, field: &str, value: Value) -> Result<LifecycleAction, String> {
        let mut event = sample(transition);
        event["detail"][field] = value;
        read(&event)
    }

    #[test]
    fn what_is_not_in_every_event_may_be_absent() {
        let mut event = sample("TERMINATING");
        for field in ["Origin", "Destination", "NotificationMetadata"] {
            event["detail"].as_object_mut().unwrap().remove(field);
        }
        let action = read(&event).unwrap();
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
    fn a_foreign_event_is_refused_with_a_sentence_that_names_it() {
        for (field, value, words) in [
            ("LifecycleHookName", json!("ecs-managed-draining-termination-hook"), "begins with `elb-registrar`"),
            ("EC2InstanceId", json!("mi-1"), "`mi-1`"),
            ("LifecycleTransition", json!("autoscaling:EC2_INSTANCE_MOVING"), "MOVING"),
        ] {
            let error = read_with("LAUNCHING", field, value).unwrap_err();
            assert!(error.contains(words), "{field}: {error}");
        }
        let refusal_without = |object: &str, field: &str| {
            let mut event = sample("LAUNCHING");
            event.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(field);
            read(&event).unwrap_err()
        };
        assert!(refusal_without("/detail", "LifecycleActionToken").contains("no `LifecycleActionToken`"));
        assert!(refusal_without("", "time").contains("no `time`"));
        let mut event = sample("LAUNCHING");
        event["detail-type"] = json!("EC2 Instance Launch Successful");
        let error = read(&event).unwrap_err();
        assert!(error.contains("EC2 Instance Launch Successful"), "{error}");
    }

    /// Returns what a hook with a `NotificationTargetARN` sends, as people have posted it.
    fn notification() -> Value {
        json!({
            "LifecycleHookName": "elb-registrar-hook", "AccountId": "123456789012",
            "RequestId": "6d182a89-b489-4116-b810-f73d3db5b477",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "AutoScalingGroupName": "fleet",
            "Service": "AWS Auto Scaling", "Time": "2018-05-08T16:59:35.661Z", "EC2InstanceId": "i-01234567890abcdef",
            "LifecycleActionToken": "86799385-e46d-40b9-a393-6ff3da981d7e",
        })
    }

    fn in_envelope(message: &Value) -> Value {
        json!({
            "Type": "Notification", "MessageId": "a55dc5b6-ae1e-5f6d-acd6-977744765a7c",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:hooks", "Message": message.to_string(),
            "Timestamp": "2017-12-30T19:25:28.182Z",
        })
    }

    #[test]
    fn a_hooks_own_notification_is_read_like_an_event() {
        let action = read(&notification()).unwrap();
        assert_eq!((action.transition, action.group.as_str()), (Transition::Terminating, "fleet"));
        assert_eq!(action.started_at.to_rfc3339(), "2018-05-08T16:59:35.661+00:00");
        let mut foreign = notification();
        foreign["AccountId"] = json!("210987654321");
        assert!(read(&foreign).unwrap_err().contains("account 210987654321"));
        let mut nameless = notification();
        nameless.as_object_mut().unwrap().remove("EC2InstanceId");
        assert!(read(&nameless).unwrap_err().contains("no `EC2InstanceId`"));
    }

    #[test]
    fn a_test_notification_needs_no_work() {
        let test = json!({
            "AutoScalingGroupName": "fleet", "Service": "AWS Auto Scaling", "Time": "2015-10-21T13:38:00.143Z",
            "AccountId": "391126026396", "Event": "autoscaling:TEST_NOTIFICATION",
        });
        for input in [test.clone(), in_envelope(&test)] {
            let told = LifecycleAction::of_text(&input.to_string(), &place(), PREFIX);
            assert!(matches!(told, Ok(Told::Nothing(_))), "{told:?}");
        }
    }

    #[test]
    fn the_envelope_of_sns_changes_nothing() {
        for input in [notification(), sample("LAUNCHING")] {
            assert_eq!(read(&in_envelope(&input)), read(&input));
        }
        let wrapped_twice = read(&in_envelope(&in_envelope(&notification()))).unwrap_err();
        assert!(wrapped_twice.contains("no `source`"), "{wrapped_twice}");
        let text = read(&in_envelope(&json!("Service: AWS Auto Scaling"))).unwrap_err();
        assert!(text.contains("SNS delivered a message: it is no JSON object"), "{text}");
        let other = read(&json!({ "Type": "SubscriptionConfirmation", "Message": "You have chosen" })).unwrap_err();
        assert!(other.contains("SNS delivered a `SubscriptionConfirmation`"), "{other}");
    }
}

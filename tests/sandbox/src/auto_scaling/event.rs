//! Auto Scaling's events on EventBridge (Auto Scaling guide, "Amazon EC2 Auto Scaling event reference"). All of them are best
//! effort, like every event here.

use serde_json::json;

use super::{
    action::Action,
    course::{Course, Place},
};
use crate::{ec2, events, world::World};

/// The source of the events.
const SOURCE: &str = "aws.autoscaling";

/// A member waits at a hook.
pub(super) fn member_waits(world: &mut World, action: &Action) {
    let mut detail = json!({
        "LifecycleActionToken": action.token,
        "AutoScalingGroupName": action.group,
        "LifecycleHookName": action.hook.name,
        "EC2InstanceId": action.instance_id,
        "LifecycleTransition": action.hook.transition.name(),
        "Origin": action.course.origin().name(),
        "Destination": action.course.destination().name(),
    });
    if let Some(metadata) = &action.hook.notification_metadata {
        detail["NotificationMetadata"] = json!(metadata);
    }
    if let Some(name) = action.course.action() {
        detail["Action"] = json!(name);
    }
    let resources = group_arn(world, &action.group).into_iter().collect();
    events::emit(world, SOURCE, action.hook.transition.detail_type(), resources, detail);
}

/// A member has arrived in the group, in the pool, or at its end.
pub(super) fn arrived(world: &mut World, group: &str, instance_id: &str, course: Course) {
    let (detail_type, description) = match course.destination() {
        Place::Ec2 => ("EC2 Instance Terminate Successful", format!("Terminating EC2 instance: {instance_id}")),
        _ if course.origin() == Place::AutoScalingGroup => return,
        _ => ("EC2 Instance Launch Successful", format!("Launching a new EC2 instance: {instance_id}")),
    };
    tell(world, detail_type, group, Some(instance_id), Some(course), &description);
}

/// EC2 refused to launch an instance.
pub(super) fn launch_failed(world: &mut World, group: &str, message: &str) {
    let description = format!("Launching a new EC2 instance. Status Reason: {message}. Launching EC2 instance failed.");
    tell(world, "EC2 Instance Launch Unsuccessful", group, None, None, &description);
}

/// A refresh has `Started`, `Succeeded`, or was `Cancelled`.
pub(super) fn refresh(world: &mut World, group: &str, id: &str, what: &str) {
    let detail = json!({ "InstanceRefreshId": id, "AutoScalingGroupName": group });
    let resources = group_arn(world, group).into_iter().collect();
    events::emit(world, SOURCE, &format!("EC2 Auto Scaling Instance Refresh {what}"), resources, detail);
}

fn tell(
    world: &mut World,
    detail_type: &str,
    group: &str,
    instance_id: Option<&str>,
    course: Option<Course>,
    description: &str,
) {
    let mut detail = json!({
        "StatusCode": if instance_id.is_some() { "InProgress" } else { "Failed" },
        "AutoScalingGroupName": group,
        "ActivityId": world.invent_uuid(),
        "RequestId": world.invent_uuid(),
        "StatusMessage": "",
        "Description": description,
        "Cause": "",
        "StartTime": world.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "EndTime": world.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "EC2InstanceId": instance_id.unwrap_or_default(),
    });
    if let Some(instance) = instance_id.and_then(|id| world.ec2.instance(id)) {
        detail["Details"] = json!({ "Availability Zone": instance.zone, "Subnet ID": instance.subnet_id });
    }
    if let Some(course) = course {
        detail["Origin"] = json!(course.origin().name());
        detail["Destination"] = json!(course.destination().name());
    }
    let instance = instance_id.map(ec2::instance_arn);
    let resources = group_arn(world, group).into_iter().chain(instance).collect();
    events::emit(world, SOURCE, detail_type, resources, detail);
}

fn group_arn(world: &World, group: &str) -> Option<String> {
    world.auto_scaling.groups.get(group).map(|group| group.arn.clone())
}

//! Lifecycle hooks and actions.

use super::{
    super::{ActionKey, ActionResult, Hook, HookSpec, Transition, action, hook, membership},
    invalid, member,
};
use crate::{
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

pub(super) fn put(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    hook::put_hook(world, &group, read_hook(params)?)?;
    Ok(Element::result())
}

/// Returns the fields of PutLifecycleHook, and of an element of `LifecycleHookSpecificationList`. A notification target is not
/// read, and so refused: messages to it are not modelled.
pub(super) fn read_hook(params: &Params) -> Result<HookSpec, ApiError> {
    let transition = params
        .optional("LifecycleTransition")
        .map(|name| Transition::of_name(&name).ok_or_else(|| invalid(format!("Invalid lifecycle transition {name}"))));
    Ok(HookSpec {
        name: params.required("LifecycleHookName")?,
        transition: transition.transpose()?,
        heartbeat_timeout: params.parsed("HeartbeatTimeout")?,
        default_result: params.optional("DefaultResult").map(|name| read_result(&name)).transpose()?,
        notification_metadata: params.optional("NotificationMetadata"),
    })
}

fn read_result(name: &str) -> Result<ActionResult, ApiError> {
    ActionResult::of_name(name).ok_or_else(|| invalid(format!("Invalid lifecycle action result {name}")))
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, name) = (params.required("AutoScalingGroupName")?, params.required("LifecycleHookName")?);
    hook::delete_hook(world, &group, &name)?;
    Ok(Element::result())
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = membership::existing(world, &params.required("AutoScalingGroupName")?)?;
    let names = params.texts("LifecycleHookNames");
    let hooks = group.hooks.values().filter(|hook| names.is_empty() || names.contains(&hook.name));
    Ok(Element::result().list("LifecycleHooks", hooks.map(|hook| hook_element(&group.name, hook))))
}

fn hook_element(group: &str, hook: &Hook) -> Element {
    member()
        .text("LifecycleHookName", &hook.name)
        .text("AutoScalingGroupName", group)
        .text("LifecycleTransition", hook.transition.name())
        .optional("NotificationMetadata", hook.notification_metadata.as_ref())
        .text("HeartbeatTimeout", hook.heartbeat_timeout)
        .text("GlobalTimeout", hook.global_timeout())
        .text("DefaultResult", hook.default_result.name())
}

pub(super) fn complete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, hook, key) = read_action(params)?;
    let result = read_result(&params.required("LifecycleActionResult")?)?;
    action::complete(world, &group, &hook, &key, result)?;
    Ok(Element::result())
}

pub(super) fn record_heartbeat(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (group, hook, key) = read_action(params)?;
    action::record_heartbeat(world, &group, &hook, &key)?;
    Ok(Element::result())
}

/// Returns the group, the hook, and the name of the action: its token, if there is one.
fn read_action(params: &Params) -> Result<(String, String, ActionKey), ApiError> {
    let (group, hook) = (params.required("AutoScalingGroupName")?, params.required("LifecycleHookName")?);
    let (token, instance) = (params.optional("LifecycleActionToken"), params.optional("InstanceId"));
    let key = token.map(ActionKey::Token).or(instance.map(ActionKey::Instance));
    let key = key.ok_or_else(|| invalid("Either a lifecycle action token or an instance ID is required".to_owned()))?;
    Ok((group, hook, key))
}

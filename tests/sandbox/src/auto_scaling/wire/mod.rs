//! Auto Scaling's operations: form fields in, elements out.

mod capacity;
mod groups;
mod hooks;
mod members;
mod refreshes;
mod sources;
mod tags;
#[cfg(test)]
mod tests;
mod warm_pools;

use crate::{
    clock::Timestamp,
    ec2::paging::{Page, page},
    wire::{Answer, ApiError, Request, query::Params, xml::Element},
    world::World,
};

use super::membership::invalid;

/// Does a call's work. Lag of descriptions is not modelled here: `as_of` is not looked at.
///
/// # Errors
/// Returns the errors of Auto Scaling.
pub fn answer(world: &mut World, request: &Request, _as_of: Timestamp) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // Read by the decoder already; here they count as read.
    params.optional("Action");
    params.optional("Version");
    let result = match request.action.as_str() {
        "CreateAutoScalingGroup" => groups::create(world, params),
        "DeleteAutoScalingGroup" => groups::delete(world, params),
        "DescribeAutoScalingGroups" => groups::describe(world, params),
        "UpdateAutoScalingGroup" => capacity::update(world, params),
        "SetDesiredCapacity" => capacity::set_desired(world, params),
        "TerminateInstanceInAutoScalingGroup" => capacity::terminate_instance(world, params),
        "SuspendProcesses" => capacity::suspend(world, params),
        "ResumeProcesses" => capacity::resume(world, params),
        "PutLifecycleHook" => hooks::put(world, params),
        "DeleteLifecycleHook" => hooks::delete(world, params),
        "DescribeLifecycleHooks" => hooks::describe(world, params),
        "CompleteLifecycleAction" => hooks::complete(world, params),
        "RecordLifecycleActionHeartbeat" => hooks::record_heartbeat(world, params),
        "PutWarmPool" => warm_pools::put(world, params),
        "DeleteWarmPool" => warm_pools::delete(world, params),
        "DescribeWarmPool" => warm_pools::describe(world, params),
        "StartInstanceRefresh" => refreshes::start(world, params),
        "CancelInstanceRefresh" => refreshes::cancel(world, params),
        "DescribeInstanceRefreshes" => refreshes::describe(world, params),
        "CreateOrUpdateTags" => tags::create_or_update(world, params),
        "DeleteTags" => tags::delete(world, params),
        "DescribeTags" => tags::describe(world, params),
        "DescribeAutoScalingInstances" => members::describe(world, params),
        "AttachInstances" => members::attach(world, params),
        "DetachInstances" => members::detach(world, params),
        "EnterStandby" => members::enter_standby(world, params),
        "ExitStandby" => members::exit_standby(world, params),
        "AttachLoadBalancers" => sources::attach_load_balancers(world, params),
        "DetachLoadBalancers" => sources::detach_load_balancers(world, params),
        "AttachLoadBalancerTargetGroups" => sources::attach_target_groups(world, params),
        "DetachLoadBalancerTargetGroups" => sources::detach_target_groups(world, params),
        "AttachTrafficSources" => sources::attach_traffic_sources(world, params),
        "DetachTrafficSources" => sources::detach_traffic_sources(world, params),
        "DescribeLoadBalancers" => sources::describe_load_balancers(world, params),
        "DescribeLoadBalancerTargetGroups" => sources::describe_target_groups(world, params),
        "DescribeTrafficSources" => sources::describe_traffic_sources(world, params),
        other => Err(ApiError::not_modelled(format!("the operation {other}"))),
    };
    result.map(Answer::Xml)
}

/// Returns an element of a list.
fn member() -> Element {
    Element::new("member")
}

/// Returns a list of plain texts.
fn text_members<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Element> {
    texts.into_iter().map(|text| Element::of_text("member", text)).collect()
}

/// Returns a scaling activity that has just begun, in an element of this name.
fn activity(world: &mut World, name: &str, group: &str, id: &str, what: &str) -> Element {
    let at = world.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let number = world.invent_number();
    Element::new(name)
        .text("ActivityId", format!("00000000-0000-0000-0000-{number:012x}"))
        .text("AutoScalingGroupName", group)
        .text("Description", format!("{what}: {id}"))
        .text("Cause", format!("At {at} instance {id} was moved in response to a user request."))
        .text("StartTime", &at)
        .text("StatusCode", "InProgress")
        .text("Progress", 50)
        .text("Details", "{}")
}

/// Cuts a page by `MaxRecords` and `NextToken`. The default and the maximum are the operation's own.
fn cut<T>(
    world: &World,
    params: &Params,
    elements: Vec<(String, T)>,
    default: usize,
    most: usize,
) -> Result<Page<T>, ApiError> {
    let size = params.parsed("MaxRecords")?.unwrap_or(default);
    if !(1..=most).contains(&size) {
        return Err(invalid(format!("MaxRecords must be between 1 and {most}")));
    }
    let size = size.min(world.options.page_size.unwrap_or(most));
    page(elements, params.optional("NextToken").as_deref(), size)
}

//! Auto Scaling's operations: form fields in, elements out.

mod groups;
mod members;
mod sources;
#[cfg(test)]
mod tests;

use crate::{
    clock::Timestamp,
    ec2::paging::{Page, page},
    wire::{Answer, ApiError, Request, query::Params, xml::Element},
    world::World,
};

use super::membership::invalid;

/// Does a call's work. That a description lags is not modelled here: `as_of` is not looked at.
///
/// # Errors
/// As Auto Scaling refuses.
pub fn answer(world: &mut World, request: &Request, _as_of: Timestamp) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // Read by the decoder already; here they count as read.
    params.optional("Action");
    params.optional("Version");
    let result = match request.action.as_str() {
        "CreateAutoScalingGroup" => groups::create(world, params),
        "DeleteAutoScalingGroup" => groups::delete(world, params),
        "DescribeAutoScalingGroups" => groups::describe(world, params),
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

/// An element of a list.
fn member() -> Element {
    Element::new("member")
}

/// A list of plain texts.
fn text_members<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Element> {
    texts.into_iter().map(|text| Element::of_text("member", text)).collect()
}

/// Cuts a page as `MaxRecords` and `NextToken` say: the default and the maximum are the operation's own.
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

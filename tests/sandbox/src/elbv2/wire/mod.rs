//! The operations of the API of 2015-12-01. Names are those of botocore's model.

mod balancers;
mod groups;
mod tagging;

use crate::{
    clock::Timestamp,
    wire::{Answer, ApiError, Request},
    world::World,
};

/// Does a call's work. DescribeTargetHealth sees the targets as of the time `as_of`.
///
/// # Errors
/// Returns the errors of Elastic Load Balancing.
pub fn answer(world: &mut World, request: &Request, as_of: Timestamp) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // The dispatcher has read them already, but the fields must count as read in every request.
    let _ = (params.optional("Action"), params.optional("Version"));
    let result = match request.action.as_str() {
        "CreateLoadBalancer" => balancers::create(world, params),
        "DescribeLoadBalancers" => balancers::describe(world, params),
        "DeleteLoadBalancer" => balancers::delete(world, params),
        "DescribeLoadBalancerAttributes" => balancers::describe_attributes(world, params),
        "DescribeRules" => balancers::describe_rules(world, params),
        "CreateListener" => balancers::create_listener(world, params),
        "DescribeListeners" => balancers::describe_listeners(world, params),
        "DeleteListener" => balancers::delete_listener(world, params),
        "CreateTargetGroup" => groups::create(world, params),
        "DescribeTargetGroups" => groups::describe(world, params),
        "ModifyTargetGroup" => groups::modify(world, params),
        "DeleteTargetGroup" => groups::delete(world, params),
        "DescribeTargetGroupAttributes" => groups::describe_attributes(world, params),
        "ModifyTargetGroupAttributes" => groups::modify_attributes(world, params),
        "RegisterTargets" => groups::register(world, params),
        "DeregisterTargets" => groups::deregister(world, params),
        "DescribeTargetHealth" => groups::describe_health(world, params, as_of),
        "AddTags" => tagging::add(world, params),
        "RemoveTags" => tagging::remove(world, params),
        "DescribeTags" => tagging::describe(world, params),
        other => Err(ApiError::not_modelled(format!("the operation {other}"))),
    }?;
    Ok(Answer::Xml(result))
}

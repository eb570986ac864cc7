//! Tags, of load balancers, listeners and target groups mixed in one call. One unknown resource fails the whole call.

use crate::{
    elb::tags::{self, Tags},
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

use super::super::{State, invalid, no_balancer, no_group, no_listener};

pub(super) fn add(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (arns, added) = (arns(params)?, tags::read(params)?);
    for arn in &arns {
        tags::merged(tags_of(&mut world.elbv2, arn)?, &added)?;
    }
    for arn in &arns {
        tags_of(&mut world.elbv2, arn)?.extend(added.clone());
    }
    Ok(Element::result())
}

pub(super) fn remove(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (arns, keys) = (arns(params)?, params.texts("TagKeys"));
    for arn in &arns {
        tags_of(&mut world.elbv2, arn)?;
    }
    for arn in &arns {
        tags_of(&mut world.elbv2, arn)?.retain(|key, _| !keys.contains(key));
    }
    Ok(Element::result())
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let arns = arns(params)?;
    tags::check_described(arns.len())?;
    let mut found = Vec::new();
    for arn in &arns {
        let shown = tags::show(tags_of(&mut world.elbv2, arn)?);
        found.push(Element::new("member").text("ResourceArn", arn).list("Tags", shown));
    }
    world.elbv2.shuffle(&world.options, &mut found);
    Ok(Element::result().list("TagDescriptions", found))
}

fn arns(params: &Params) -> Result<Vec<String>, ApiError> {
    let arns = params.texts("ResourceArns");
    if arns.is_empty() { Err(invalid("At least one resource ARN must be specified")) } else { Ok(arns) }
}

fn tags_of<'a>(state: &'a mut State, arn: &str) -> Result<&'a mut Tags, ApiError> {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split('/').next().unwrap_or_default() {
        "targetgroup" => state.target_groups.get_mut(arn).map(|group| &mut group.tags).ok_or_else(|| no_group(arn)),
        "loadbalancer" => {
            state.load_balancers.get_mut(arn).map(|balancer| &mut balancer.spec.tags).ok_or_else(|| no_balancer(arn))
        }
        "listener" => {
            state.listeners.get_mut(arn).map(|listener| &mut listener.spec.tags).ok_or_else(|| no_listener(arn))
        }
        _ => Err(invalid(format!("'{arn}' is not a valid ARN of a load balancer, listener or target group"))),
    }
}

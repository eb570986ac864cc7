//! Traffic sources: the older operations for load balancers and target groups, and the newer one for all kinds.

use super::{
    super::{AttachedBy, TrafficSource, TrafficSourceKind, membership},
    cut, invalid, member,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Whether a call attaches or detaches.
#[derive(Clone, Copy)]
enum Change {
    Attach,
    Detach,
}

pub(super) fn attach_load_balancers(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Attach, named(params, "LoadBalancerNames", TrafficSourceKind::Classic))
}

pub(super) fn detach_load_balancers(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Detach, named(params, "LoadBalancerNames", TrafficSourceKind::Classic))
}

pub(super) fn attach_target_groups(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Attach, named(params, "TargetGroupARNs", TrafficSourceKind::TargetGroup))
}

pub(super) fn detach_target_groups(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Detach, named(params, "TargetGroupARNs", TrafficSourceKind::TargetGroup))
}

pub(super) fn attach_traffic_sources(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Attach, read_sources(params)?)
}

pub(super) fn detach_traffic_sources(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change(world, params, Change::Detach, read_sources(params)?)
}

fn named(params: &Params, field: &str, kind: TrafficSourceKind) -> Vec<TrafficSource> {
    let attached_by = AttachedBy::LoadBalancerOperation;
    params.texts(field).into_iter().map(|identifier| TrafficSource { kind, identifier, attached_by }).collect()
}

/// `TrafficSources`, whose type may be left out, except for a Classic Load Balancer.
pub(super) fn read_sources(params: &Params) -> Result<Vec<TrafficSource>, ApiError> {
    let sources = params.list("TrafficSources");
    let sources = sources.iter().map(|source| {
        let identifier = source.required("Identifier")?;
        let kind = match source.optional("Type").as_deref() {
            Some("elb") => TrafficSourceKind::Classic,
            Some("elbv2") => TrafficSourceKind::TargetGroup,
            Some("vpc-lattice") => TrafficSourceKind::Lattice,
            None if identifier.starts_with("arn:aws:elasticloadbalancing:") => TrafficSourceKind::TargetGroup,
            None if identifier.starts_with("arn:aws:vpc-lattice:") => TrafficSourceKind::Lattice,
            _ => return Err(invalid(format!("The type of traffic source {identifier} is missing or unknown"))),
        };
        Ok(TrafficSource { kind, identifier, attached_by: AttachedBy::TrafficSourceOperation })
    });
    sources.collect()
}

fn change(
    world: &mut World,
    params: &Params,
    change: Change,
    sources: Vec<TrafficSource>,
) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    membership::existing(world, &group)?;
    if sources.is_empty() {
        return Err(invalid("At least one load balancer, target group or traffic source is required".to_owned()));
    }
    for source in sources {
        match change {
            Change::Attach => membership::attach_source(world, &group, source)?,
            Change::Detach => membership::detach_source(world, &group, &source)?,
        }
    }
    Ok(Element::result())
}

pub(super) fn describe_load_balancers(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let sources = by_older_operations(world, params, TrafficSourceKind::Classic)?;
    let elements = sources.map(|name| (name.clone(), with_state(member().text("LoadBalancerName", name)))).collect();
    let Page { elements, next } = cut(world, params, elements, 100, 100)?;
    Ok(Element::result().list("LoadBalancers", elements).optional("NextToken", next))
}

pub(super) fn describe_target_groups(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let sources = by_older_operations(world, params, TrafficSourceKind::TargetGroup)?;
    let elements =
        sources.map(|arn| (arn.clone(), with_state(member().text("LoadBalancerTargetGroupARN", arn)))).collect();
    let Page { elements, next } = cut(world, params, elements, 100, 100)?;
    Ok(Element::result().list("LoadBalancerTargetGroups", elements).optional("NextToken", next))
}

fn by_older_operations<'a>(
    world: &'a World,
    params: &Params,
    kind: TrafficSourceKind,
) -> Result<impl Iterator<Item = &'a String>, ApiError> {
    let group = membership::existing(world, &params.required("AutoScalingGroupName")?)?;
    let sources = group.traffic_sources.iter();
    let shown = sources.filter(move |s| s.kind == kind && s.attached_by == AttachedBy::LoadBalancerOperation);
    Ok(shown.map(|source| &source.identifier))
}

pub(super) fn describe_traffic_sources(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = membership::existing(world, &params.required("AutoScalingGroupName")?)?;
    let wanted = params.optional("TrafficSourceType");
    let sources = group.traffic_sources.iter();
    let sources = sources.filter(|source| wanted.as_ref().is_none_or(|wanted| *wanted == source.kind.name()));
    let elements = sources.map(|source| {
        // `TrafficSource` is the older name of `Identifier`, still given.
        let element = member().text("TrafficSource", &source.identifier).text("Identifier", &source.identifier);
        let key = format!("{} {}", source.identifier, source.kind.name());
        (key, with_state(element.text("Type", source.kind.name())))
    });
    let Page { elements, next } = cut(world, params, elements.collect(), 50, 50)?;
    Ok(Element::result().list("TrafficSources", elements).optional("NextToken", next))
}

/// `Adding` and `Removing`, which pass by themselves, are not modelled.
fn with_state(element: Element) -> Element {
    element.text("State", "InService")
}

//! VPCs and subnets.

use super::{
    super::{
        network::{add_subnet, add_vpc, v6_block, vpc_not_found},
        security_group,
    },
    Window, done,
    filter::Filters,
    shape::{self, Order},
    tag_specifications,
};
use crate::{
    ec2::tags,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

pub(super) fn create_vpc(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let dual_stack = params.parsed("AmazonProvidedIpv6CidrBlock")?.unwrap_or(false);
    let mut tags = tag_specifications(params, &["vpc"])?;
    let id = add_vpc(world, &params.required("CidrBlock")?, dual_stack)?;
    world.ec2.tags.insert(id.clone(), tags.remove("vpc").unwrap_or_default());
    let mut order = Order::draw(world);
    Ok(Element::result().child(shape::vpc(world, "vpc", &world.ec2.vpcs[&id], &mut order)))
}

pub(super) fn describe_vpcs(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = params.texts("VpcId");
    let filters = Filters::read(params, &["vpc-id", "cidr", "state", "isDefault", "is-default", "tag-key"])?;
    let window = Window::read(world, params, &ids, "vpcSet")?;
    if let Some(unknown) = ids.iter().find(|id| !world.ec2.vpcs.contains_key(*id)) {
        return Err(vpc_not_found(unknown));
    }
    let vpcs = world.ec2.vpcs.values().filter(|vpc| ids.is_empty() || ids.contains(&vpc.id));
    let vpcs = vpcs.filter(|vpc| {
        filters.match_all(|name| match name {
            "vpc-id" => vec![vpc.id.clone()],
            "cidr" => vec![format!("{}/{}", vpc.cidr.0, vpc.cidr.1)],
            "state" => vec!["available".to_owned()],
            // "is-default | isDefault" (API reference, DescribeVpcs). The sandbox has no default VPC.
            "is-default" | "isDefault" => vec!["false".to_owned()],
            name => tag_values(&tags::of(world, &vpc.id), name),
        })
    });
    let page = window.cut(vpcs.map(|vpc| (vpc.id.clone(), vpc.clone())).collect())?;
    let mut order = Order::draw(world);
    let vpcs: Vec<_> = page.elements.iter().map(|vpc| shape::vpc(world, "item", vpc, &mut order)).collect();
    Ok(Element::result().list("vpcSet", order.vary(vpcs)).optional("nextToken", page.next))
}

pub(super) fn create_subnet(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ipv6 = params.optional("Ipv6CidrBlock").map(|block| v6_block(&block)).transpose()?;
    // AWS chooses a zone if the caller names none; the sandbox always chooses the same.
    let zone = params.optional("AvailabilityZone").unwrap_or_else(|| format!("{}a", crate::REGION));
    let mut tags = tag_specifications(params, &["subnet"])?;
    let id = add_subnet(world, &params.required("VpcId")?, &zone, &params.required("CidrBlock")?, ipv6)?;
    world.ec2.tags.insert(id.clone(), tags.remove("subnet").unwrap_or_default());
    let mut order = Order::draw(world);
    Ok(Element::result().child(shape::subnet(world, "subnet", &world.ec2.subnets[&id], &mut order)))
}

pub(super) fn describe_subnets(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = params.texts("SubnetId");
    let known = ["subnet-id", "vpc-id", "availability-zone", "cidr-block", "state", "tag-key"];
    let filters = Filters::read(params, &known)?;
    let window = Window::read(world, params, &ids, "subnetSet")?;
    ids.iter().try_for_each(|id| world.ec2.subnet(id).map(|_| ()))?;
    let subnets = world.ec2.subnets.values().filter(|subnet| ids.is_empty() || ids.contains(&subnet.id));
    let subnets = subnets.filter(|subnet| {
        filters.match_all(|name| match name {
            "subnet-id" => vec![subnet.id.clone()],
            "vpc-id" => vec![subnet.vpc_id.clone()],
            "availability-zone" => vec![subnet.zone.clone()],
            "cidr-block" => vec![format!("{}/{}", subnet.cidr.0, subnet.cidr.1)],
            "state" => vec!["available".to_owned()],
            name => tag_values(&tags::of(world, &subnet.id), name),
        })
    });
    let page = window.cut(subnets.map(|subnet| (subnet.id.clone(), subnet.clone())).collect())?;
    let mut order = Order::draw(world);
    let subnets: Vec<_> = page.elements.iter().map(|one| shape::subnet(world, "item", one, &mut order)).collect();
    Ok(Element::result().list("subnetSet", order.vary(subnets)).optional("nextToken", page.next))
}

pub(super) fn delete_subnet(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    security_group::delete_subnet(world, &params.required("SubnetId")?)?;
    Ok(done())
}

pub(super) fn delete_vpc(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    security_group::delete_vpc(world, &params.required("VpcId")?)?;
    Ok(done())
}

/// Returns the answers of a resource's tags to the filters `tag-key` and `tag:KEY`.
pub(super) fn tag_values(tags: &std::collections::BTreeMap<String, String>, filter: &str) -> Vec<String> {
    match filter.strip_prefix("tag:") {
        Some(key) => tags.get(key).cloned().into_iter().collect(),
        None => tags.keys().cloned().collect(),
    }
}

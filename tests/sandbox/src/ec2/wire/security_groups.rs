//! Security groups.

use super::{
    super::{
        SecurityGroup,
        security_group::{self, Ingress},
        tags,
    },
    Window, done,
    filter::Filters,
    networks::tag_values,
    shape::{self, Order, item},
    tag_specifications,
};
use crate::{
    wire::{ApiError, query::Params, xml::Element},
    world::{ACCOUNT, REGION, World},
};

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let mut tags = tag_specifications(params, &["security-group"])?;
    let (name, description) = (params.required("GroupName")?, params.required("GroupDescription")?);
    // Without a VPC it would be in the default one, which the sandbox does not have.
    let id = security_group::add(world, &name, &description, &params.required("VpcId")?)?;
    let tags = tags.remove("security-group").unwrap_or_default();
    world.ec2.tags.insert(id.clone(), tags.clone());
    let mut order = Order::draw(world);
    let shown = done().text("groupId", &id).append(&shape::tag_set(&tags, &mut order));
    Ok(shown.text("securityGroupArn", arn(&id)))
}

pub(super) fn authorize_ingress(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let id = params.required("GroupId")?;
    let added: Vec<Ingress> = params.list("IpPermissions").iter().map(read_ingress).collect::<Result<_, _>>()?;
    let group = world.ec2.security_groups.get_mut(&id).ok_or_else(|| security_group::not_found(&id))?;
    if added.iter().any(|one| group.ingress.contains(one)) {
        let message = "the specified rule already exists";
        return Err(ApiError::sender("InvalidPermission.Duplicate", message));
    }
    group.ingress.extend(added.clone());
    let mut rules = Vec::new();
    for (ingress, cidr) in added.iter().flat_map(|one| one.cidrs.iter().map(move |cidr| (one, cidr))) {
        let rule = world.invent_id("sgr");
        rules.push(
            item()
                .text("securityGroupRuleId", &rule)
                .text("groupId", &id)
                .text("groupOwnerId", ACCOUNT)
                .text("isEgress", false)
                .text("ipProtocol", &ingress.protocol)
                .text("fromPort", ingress.from_port)
                .text("toPort", ingress.to_port)
                .text("cidrIpv4", cidr)
                .text("securityGroupRuleArn", format!("arn:aws:ec2:{REGION}:{ACCOUNT}:security-group-rule/{rule}")),
        );
    }
    Ok(done().list("securityGroupRuleSet", rules))
}

fn read_ingress(params: &Params) -> Result<Ingress, ApiError> {
    let port = |name| -> Result<u16, ApiError> {
        params.required(name)?;
        Ok(params.parsed(name)?.unwrap_or_default())
    };
    let cidrs: Result<Vec<_>, ApiError> =
        params.list("IpRanges").iter().map(|range| range.required("CidrIp")).collect();
    Ok(Ingress {
        protocol: params.required("IpProtocol")?,
        from_port: port("FromPort")?,
        to_port: port("ToPort")?,
        cidrs: cidrs?,
    })
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = params.texts("GroupId");
    let filters = Filters::read(params, &["group-id", "group-name", "vpc-id", "tag-key"])?;
    let window = Window::read(world, params, &ids, "groupIds")?;
    if let Some(unknown) = ids.iter().find(|id| !world.ec2.security_groups.contains_key(*id)) {
        return Err(security_group::not_found(unknown));
    }
    let groups = world.ec2.security_groups.values().filter(|group| ids.is_empty() || ids.contains(&group.id));
    let groups = groups.filter(|group| {
        filters.match_all(|name| match name {
            "group-id" => vec![group.id.clone()],
            "group-name" => vec![group.name.clone()],
            "vpc-id" => vec![group.vpc_id.clone()],
            name => tag_values(&tags::of(world, &group.id), name),
        })
    });
    let page = window.cut(groups.map(|group| (group.id.clone(), group.clone())).collect())?;
    let mut order = Order::draw(world);
    let groups: Vec<_> = page.elements.iter().map(|group| show(world, group, &mut order)).collect();
    Ok(Element::result().list("securityGroupInfo", order.vary(groups)).optional("nextToken", page.next))
}

/// Its elements: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SecurityGroup.html>. Everything may leave a new group.
fn show(world: &World, group: &SecurityGroup, order: &mut Order) -> Element {
    let ingress = group.ingress.iter().map(|one| {
        let ranges = one.cidrs.iter().map(|cidr| item().text("cidrIp", cidr));
        permission(&one.protocol, ranges.collect()).text("fromPort", one.from_port).text("toPort", one.to_port)
    });
    item()
        .text("ownerId", ACCOUNT)
        .text("groupId", &group.id)
        .text("groupName", &group.name)
        .text("groupDescription", &group.description)
        .text("vpcId", &group.vpc_id)
        .text("securityGroupArn", arn(&group.id))
        .list("ipPermissions", ingress.collect::<Vec<_>>())
        .list("ipPermissionsEgress", [permission("-1", vec![item().text("cidrIp", "0.0.0.0/0")])])
        .append(&shape::tag_set(&tags::of(world, &group.id), order))
}

fn permission(protocol: &str, ranges: Vec<Element>) -> Element {
    item()
        .text("ipProtocol", protocol)
        .list("ipRanges", ranges)
        .list("ipv6Ranges", [])
        .list("groups", [])
        .list("prefixListIds", [])
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let id = params.required("GroupId")?;
    security_group::delete(world, &id)?;
    Ok(done().text("groupId", id))
}

fn arn(id: &str) -> String {
    format!("arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{id}")
}

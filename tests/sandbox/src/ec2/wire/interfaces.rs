//! Network interfaces and their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        Interface, Ipv4Wish, NewInterface,
        interface::{self, Reassignment, assign, existing, not_found, unassign},
        tags,
    },
    Window, done,
    filter::Filters,
    hides_managed, made_before,
    networks::tag_values,
    remember_made,
    shape::{self, Order},
    tag_specifications,
};
use crate::{
    clock::Timestamp,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// The filters of DescribeNetworkInterfaces that are modelled, apart from `tag:KEY`.
const FILTERS: [&str; 15] = [
    "network-interface-id",
    "addresses.private-ip-address",
    "private-ip-address",
    "ipv6-addresses.ipv6-address",
    "vpc-id",
    "subnet-id",
    "availability-zone",
    "status",
    "interface-type",
    "description",
    "attachment.instance-id",
    "attachment.attachment-id",
    "attachment.device-index",
    "owner-id",
    "tag-key",
];

/// Returns the addresses and the kind of a new interface. RunInstances, its `NetworkInterface.N` and CreateNetworkInterface have
/// the same fields, except for the names of the IPv6 list and of the switch for the primary one.
pub(super) fn new_interface(params: &Params) -> Result<NewInterface, ApiError> {
    let interface_type = params.optional("InterfaceType").unwrap_or_default();
    let (primary, secondary_ipv4) = listed_ipv4(params)?;
    let ipv4 = match primary.or(optional_address(params, "PrivateIpAddress")?) {
        Some(address) => Ipv4Wish::Exactly(address),
        // "An efa-only interface does not support IP addresses" (EC2 guide, "Elastic Fabric Adapter").
        None if interface_type == "efa-only" => Ipv4Wish::None,
        None => Ipv4Wish::Automatic,
    };
    let listed = [params.list("Ipv6Addresses"), params.list("Ipv6Address")].concat();
    let ipv6: Result<Vec<_>, ApiError> = listed.iter().map(|one| address(&one.required("Ipv6Address")?)).collect();
    let mut primary_ipv6 = [params.parsed("PrimaryIpv6")?, params.parsed("EnablePrimaryIpv6")?].contains(&Some(true));
    for one in &listed {
        primary_ipv6 |= one.parsed("IsPrimaryIpv6")? == Some(true);
    }
    Ok(NewInterface {
        ipv4,
        secondary_ipv4,
        secondary_ipv4_count: params.parsed("SecondaryPrivateIpAddressCount")?.unwrap_or(0),
        ipv6: ipv6?,
        ipv6_count: params.parsed("Ipv6AddressCount")?.unwrap_or(0),
        primary_ipv6,
        interface_type,
        description: params.optional("Description").unwrap_or_default(),
    })
}

/// `PrivateIpAddresses.N`: the primary one, and the others.
fn listed_ipv4(params: &Params) -> Result<(Option<Ipv4Addr>, Vec<Ipv4Addr>), ApiError> {
    let (mut primary, mut secondary) = (None, Vec::new());
    for one in params.list("PrivateIpAddresses") {
        let listed = address(&one.required("PrivateIpAddress")?)?;
        if one.parsed("Primary")?.unwrap_or(false) {
            primary = Some(listed);
        } else {
            secondary.push(listed);
        }
    }
    Ok((primary, secondary))
}

fn optional_address<T: std::str::FromStr>(params: &Params, name: &str) -> Result<Option<T>, ApiError> {
    params.optional(name).map(|text| address(&text)).transpose()
}

fn address<T: std::str::FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|_| ApiError::sender("InvalidParameterValue", format!("Invalid value '{text}' for an IP address")))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let token = params.optional("ClientToken");
    let (subnet_id, new) = (params.required("SubnetId")?, new_interface(params)?);
    let mut tags = tag_specifications(params, &["network-interface"])?;
    let id = match made_before(world, token.as_deref(), params)? {
        Some(mut ids) => ids.remove(0),
        None => {
            let id = interface::create_interface(world, &subnet_id, new)?;
            interface::release(world, &id);
            world.ec2.tags.insert(id.clone(), tags.remove("network-interface").unwrap_or_default());
            remember_made(world, token.clone(), params, std::slice::from_ref(&id));
            id
        }
    };
    let mut order = Order::draw(world);
    let interface = shape::interface(world, "networkInterface", existing(world, &id)?, &mut order);
    Ok(Element::result().child(interface).optional("clientToken", token))
}

pub(super) fn describe(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let ids = params.texts("NetworkInterfaceId");
    let (filters, hides_managed) = (Filters::read(params, &FILTERS)?, hides_managed(world, params)?);
    let window = Window::read(world, params, &ids, "networkInterfacesSet")?;
    let mut seen = seen_at(world, as_of);
    seen.retain(|interface| !(hides_managed && is_managed(world, interface)));
    if let Some(unknown) = ids.iter().find(|id| !seen.iter().any(|interface| interface.id == **id)) {
        return Err(not_found(unknown));
    }
    let interfaces = seen
        .into_iter()
        .filter(|interface| ids.is_empty() || ids.contains(&interface.id))
        .filter(|interface| filters.match_all(|name| attribute(world, interface, name)));
    let page = window.cut(interfaces.map(|interface| (interface.id.clone(), interface)).collect())?;
    let mut order = Order::draw(world);
    let interfaces: Vec<_> = page.elements.iter().map(|one| shape::interface(world, "item", one, &mut order)).collect();
    Ok(Element::result().list("networkInterfaceSet", order.vary(interfaces)).optional("nextToken", page.next))
}

fn is_managed(world: &World, interface: &Interface) -> bool {
    world.ec2.interface_facts.get(&interface.id).is_some_and(|facts| facts.operator.is_some())
}

/// Returns the present interfaces for a read of now, and past versions for a stale read.
fn seen_at(world: &World, as_of: Timestamp) -> Vec<Interface> {
    if as_of >= world.now() {
        return world.ec2.interfaces.values().cloned().collect();
    }
    let past = world.ec2.interface_versions.values();
    past.filter_map(|versions| versions.seen_at(as_of).cloned().flatten()).collect()
}

/// Returns an interface's values under a filter's name.
fn attribute(world: &World, one: &Interface, filter: &str) -> Vec<String> {
    let facts = world.ec2.interface_facts.get(&one.id).cloned().unwrap_or_default();
    let attachment = one.attachment.iter();
    match filter {
        "network-interface-id" => vec![one.id.clone()],
        "addresses.private-ip-address" | "private-ip-address" => one.ipv4.iter().map(ToString::to_string).collect(),
        "ipv6-addresses.ipv6-address" => one.ipv6.iter().map(|(address, _)| address.to_string()).collect(),
        "vpc-id" => vec![one.vpc_id.clone()],
        "subnet-id" => vec![one.subnet_id.clone()],
        "availability-zone" => world.ec2.subnet(&one.subnet_id).map(|subnet| subnet.zone.clone()).into_iter().collect(),
        "status" => vec![if one.attachment.is_some() { "in-use" } else { "available" }.to_owned()],
        "interface-type" => vec![facts.interface_type],
        "description" => vec![facts.description],
        "owner-id" => vec![crate::ACCOUNT.to_owned()],
        "attachment.instance-id" => attachment.map(|a| a.instance_id.clone()).collect(),
        "attachment.attachment-id" => attachment.map(|_| one.attachment_id()).collect(),
        "attachment.device-index" => attachment.map(|a| a.device_index.to_string()).collect(),
        name => tag_values(&tags::of(world, &one.id), name),
    }
}

pub(super) fn attach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (interface_id, instance_id) = (params.required("NetworkInterfaceId")?, params.required("InstanceId")?);
    params.required("DeviceIndex")?;
    let device_index = params.parsed("DeviceIndex")?.unwrap_or_default();
    let network_card_index = params.parsed("NetworkCardIndex")?.unwrap_or(0);
    interface::attach_interface(world, &interface_id, &instance_id, device_index, network_card_index)?;
    let attachment_id = existing(world, &interface_id)?.attachment_id();
    Ok(Element::result().text("attachmentId", attachment_id).text("networkCardIndex", network_card_index))
}

pub(super) fn detach(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let attachment_id = params.required("AttachmentId")?;
    params.parsed::<bool>("Force")?;
    let of_that = |one: &&Interface| one.attachment.is_some() && one.attachment_id() == attachment_id;
    let Some(interface_id) = world.ec2.interfaces.values().find(of_that).map(|one| one.id.clone()) else {
        let message = format!("The network interface attachment ID '{attachment_id}' does not exist");
        return Err(ApiError::sender("InvalidAttachmentID.NotFound", message));
    };
    interface::detach_interface(world, &interface_id)?;
    Ok(done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    interface::delete_interface(world, &params.required("NetworkInterfaceId")?)?;
    Ok(done())
}

pub(super) fn assign_ipv4(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let interface_id = params.required("NetworkInterfaceId")?;
    let mut addresses = addresses::<Ipv4Addr>(params, "PrivateIpAddress")?;
    if let Some(count) = params.parsed("SecondaryPrivateIpAddressCount")? {
        let subnet = world.ec2.subnet(&existing(world, &interface_id)?.subnet_id)?;
        addresses.extend(world.ec2.free_ipv4(subnet, count, &[])?.into_iter().map(IpAddr::from));
    }
    let reassignment = match params.parsed("AllowReassignment")? {
        Some(true) => Reassignment::Allowed,
        _ => Reassignment::Refused,
    };
    assign(world, &interface_id, &addresses, reassignment)?;
    let assigned = addresses.iter().map(|address| shape::item().text("privateIpAddress", address));
    Ok(Element::result()
        .text("networkInterfaceId", interface_id)
        .list("assignedPrivateIpAddressesSet", assigned)
        .text("return", true))
}

pub(super) fn unassign_ipv4(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let interface_id = params.required("NetworkInterfaceId")?;
    unassign(world, &interface_id, &addresses::<Ipv4Addr>(params, "PrivateIpAddress")?)?;
    Ok(done())
}

pub(super) fn assign_ipv6(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let interface_id = params.required("NetworkInterfaceId")?;
    let mut addresses = addresses::<Ipv6Addr>(params, "Ipv6Addresses")?;
    if let Some(count) = params.parsed("Ipv6AddressCount")? {
        let subnet = world.ec2.subnet(&existing(world, &interface_id)?.subnet_id)?;
        addresses.extend(world.ec2.free_ipv6(subnet, count, &[])?.into_iter().map(IpAddr::from));
    }
    // Unlike IPv4, IPv6 offers no move.
    assign(world, &interface_id, &addresses, Reassignment::Refused)?;
    let assigned = addresses.iter().map(|address| Element::of_text("item", address));
    Ok(Element::result().text("networkInterfaceId", interface_id).list("assignedIpv6Addresses", assigned))
}

pub(super) fn unassign_ipv6(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let interface_id = params.required("NetworkInterfaceId")?;
    let addresses = addresses::<Ipv6Addr>(params, "Ipv6Addresses")?;
    unassign(world, &interface_id, &addresses)?;
    let unassigned = addresses.iter().map(|address| Element::of_text("item", address));
    Ok(Element::result().text("networkInterfaceId", interface_id).list("unassignedIpv6Addresses", unassigned))
}

fn addresses<T: std::str::FromStr + Into<IpAddr>>(params: &Params, name: &str) -> Result<Vec<IpAddr>, ApiError> {
    params.texts(name).iter().map(|text| address::<T>(text).map(Into::into)).collect()
}

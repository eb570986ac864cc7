//! Elements that describe EC2's things, in an order that varies.
//!
//! "The order of the elements in the response, including those within nested structures, might vary" (botocore,
//! DescribeInstances): code that takes the first address for the primary one must fail here.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::super::{
    Instance, InstanceState, Interface, Prefix, Subnet, Vpc, interface, launch, lifecycle::BY_AWS, tags,
};
use crate::{
    clock::Timestamp,
    options::ManagedResources,
    wire::xml::Element,
    world::{ACCOUNT, World},
};

/// The device of the volume that an instance boots from.
const ROOT_DEVICE: &str = "/dev/xvda";

/// The order of one answer's elements.
pub(super) struct Order(Option<Rng>);

impl Order {
    /// Draws a new one.
    pub(super) fn draw(world: &mut World) -> Self {
        let seed = world.options.seed;
        let dice = world.ec2.order_dice.get_or_insert_with(|| World::dice(seed, "ec2-order"));
        Self(world.options.shuffle.then(|| dice.fork()))
    }

    /// Puts a list in this order.
    pub(super) fn vary<T>(&mut self, elements: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut elements: Vec<_> = elements.into_iter().collect();
        if let Some(dice) = &mut self.0 {
            dice.shuffle(&mut elements);
        }
        elements
    }
}

pub(super) fn item() -> Element {
    Element::new("item")
}

/// Returns a time in whole seconds, as EC2 gives it.
pub(super) fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>, order: &mut Order) -> Element {
    let tags = order.vary(tags).into_iter().map(|(key, value)| item().text("key", key).text("value", value));
    Element::result().list("tagSet", tags)
}

pub(super) fn state(name: &str, state: InstanceState) -> Element {
    Element::new(name).text("code", state.code()).text("name", state.name())
}

/// Returns a reservation, with the requested instances in it.
pub(super) fn reservation(world: &World, id: &str, instances: &[Instance], order: &mut Order) -> Element {
    let instances: Vec<_> = instances.iter().map(|one| instance(world, one, order)).collect();
    Element::new("item")
        .text("reservationId", id)
        .text("ownerId", ACCOUNT)
        .list("groupSet", [])
        .list("instancesSet", order.vary(instances))
}

fn instance(world: &World, instance: &Instance, order: &mut Order) -> Element {
    let facts = world.ec2.launches.get(&instance.id).cloned().unwrap_or_default();
    let launch::Facts { image_id, instance_type, client_token, launch_index, first_launched, operator, .. } = facts;
    let launch::Facts { market, spot_request, is_on_instance_store, .. } = facts;
    let groups = group_items(world, Some(&instance.id).filter(|_| instance.state != InstanceState::Terminated));
    let attached = first_launched.unwrap_or(instance.launch_time);
    // A terminated instance is described without its place in the network.
    let placed = instance.state != InstanceState::Terminated;
    let eth0 = instance.eth0().filter(|_| placed);
    let address = eth0.and_then(|eth0| eth0.ipv4.first());
    let interfaces = order.vary(&instance.interfaces);
    let interfaces: Vec<_> = interfaces.into_iter().map(|one| instance_interface(world, one, order)).collect();
    Element::new("item")
        .text("instanceId", &instance.id)
        .text("imageId", image_id)
        .child(state("instanceState", instance.state))
        .text("privateDnsName", address.map(|address| private_dns_name(&address.to_string())).unwrap_or_default())
        .text("dnsName", "")
        .text("reason", &instance.state_transition_reason)
        .text("amiLaunchIndex", launch_index)
        .list("productCodes", [])
        .text("instanceType", instance_type)
        .text("launchTime", time(instance.launch_time))
        .child(
            Element::new("placement")
                .text("availabilityZone", &instance.zone)
                .text("groupName", "")
                .text("tenancy", "default"),
        )
        .child(Element::new("monitoring").text("state", "disabled"))
        .optional("subnetId", placed.then_some(&instance.subnet_id))
        .optional("vpcId", placed.then_some(&instance.vpc_id))
        .optional("privateIpAddress", address)
        .optional("ipv6Address", eth0.and_then(primary_ipv6))
        .append(&state_reason(instance, spot_request.is_some()))
        .optional("instanceLifecycle", market.lifecycle())
        .optional("spotInstanceRequestId", spot_request)
        .text("architecture", "x86_64")
        .text("rootDeviceType", if is_on_instance_store { "instance-store" } else { "ebs" })
        .text("rootDeviceName", ROOT_DEVICE)
        .list("blockDeviceMapping", (placed && !is_on_instance_store).then(|| root_volume(instance, attached)))
        .text("virtualizationType", "hvm")
        .text("clientToken", client_token)
        // An instance without tags does not even have an empty list, and many programs have failed at that
        // (ansible-collections/community.aws pull request 476, mludvig/aws-ssm-tools issue 22: `KeyError: 'Tags'`).
        .append(&if instance.tags.is_empty() { Element::result() } else { tag_set(&instance.tags, order) })
        .text("hypervisor", "xen")
        .list("groupSet", groups)
        .list("networkInterfaceSet", interfaces)
        .child(operated_by(world, operator.as_deref()))
}

/// Says whether a service of AWS manages a resource
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_OperatorResponse.html>).
fn operated_by(world: &World, operator: Option<&str>) -> Element {
    let is_hidden = world.options.managed_resources != ManagedResources::Visible;
    Element::new("operator")
        .text("managed", operator.is_some())
        .optional("principal", operator)
        .text("hiddenByDefault", operator.is_some() && is_hidden)
}

/// Returns the volume that an instance boots from. It stays attached while the instance is stopped, and is deleted with it: an
/// instance without any cannot be stopped, and Cloud Custodian starts none that has none (c7n, resources/ec2.py, `Start`).
/// Its elements: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceBlockDeviceMapping.html>.
fn root_volume(instance: &Instance, attached: Timestamp) -> Element {
    let ebs = Element::new("ebs")
        .text("volumeId", instance.id.replacen("i-", "vol-", 1))
        .text("status", "attached")
        .text("attachTime", time(attached))
        .text("deleteOnTermination", true);
    item().text("deviceName", ROOT_DEVICE).child(ebs)
}

/// Says how it was stopped: `StateTransitionReason` with its time is not always there, but this usually is. The codes and sentences
/// of AWS's own deeds are those of botocore, StateReason; that a sentence follows its code there is *not verified*.
fn state_reason(instance: &Instance, is_spot: bool) -> Element {
    use InstanceState::{Pending, Running, ShuttingDown, Terminated};
    let is_terminated = matches!(instance.state, ShuttingDown | Terminated);
    let code = match instance.state {
        Pending | Running => return Element::result(),
        _ if instance.state_transition_reason.starts_with(BY_AWS) => match (is_spot, is_terminated) {
            (true, true) => "Server.SpotInstanceTermination",
            (true, false) => "Server.SpotInstanceShutdown",
            (false, _) => "Server.ScheduledStop",
        },
        _ if instance.state_transition_reason.is_empty() => "Client.InstanceInitiatedShutdown",
        _ => "Client.UserInitiatedShutdown",
    };
    let message = match code {
        "Server.SpotInstanceTermination" => "Server.SpotInstanceTermination: Spot instance termination",
        "Server.SpotInstanceShutdown" => "Server.SpotInstanceShutdown: Spot instance shutdown",
        "Server.ScheduledStop" => "Server.ScheduledStop: Stopped due to scheduled retirement",
        "Client.UserInitiatedShutdown" => "Client.UserInitiatedShutdown: User initiated shutdown",
        _ => "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    };
    Element::result().child(Element::new("stateReason").text("code", code).text("message", message))
}

fn instance_interface(world: &World, one: &Interface, order: &mut Order) -> Element {
    item().append(&interface_fields(world, one, order)).append(&attachment(world, one, AttachmentOwner::Hidden))
}

/// Returns an interface, as DescribeNetworkInterfaces has it.
pub(super) fn interface(world: &World, name: &str, one: &Interface, order: &mut Order) -> Element {
    let zone = world.ec2.subnets.get(&one.subnet_id).map(|subnet| &subnet.zone);
    Element::new(name)
        .append(&interface_fields(world, one, order))
        .append(&attachment(world, one, AttachmentOwner::Shown))
        .optional("availabilityZone", zone)
        .text("requesterManaged", is_services(world, one))
        .append(&tag_set(&tags::of(world, &one.id), order))
}

fn interface_fields(world: &World, one: &Interface, order: &mut Order) -> Element {
    let interface::Facts { interface_type, description, operator, .. } =
        world.ec2.interface_facts.get(&one.id).cloned().unwrap_or_default();
    let ipv4 = one.ipv4.iter().enumerate().map(|(index, address)| {
        item()
            .text("privateIpAddress", address)
            .text("privateDnsName", private_dns_name(&address.to_string()))
            .text("primary", index == 0)
    });
    let ipv6 =
        one.ipv6.iter().map(|(address, primary)| item().text("ipv6Address", address).text("isPrimaryIpv6", primary));
    Element::result()
        .text("networkInterfaceId", &one.id)
        .text("subnetId", &one.subnet_id)
        .text("vpcId", &one.vpc_id)
        .text("description", description)
        .text("ownerId", ACCOUNT)
        .text("status", if one.attachment.is_some() || is_services(world, one) { "in-use" } else { "available" })
        .optional("privateIpAddress", one.ipv4.first())
        .optional("privateDnsName", one.ipv4.first().map(|address| private_dns_name(&address.to_string())))
        .text("sourceDestCheck", true)
        .list("groupSet", group_items(world, one.attachment.as_ref().map(|attachment| &attachment.instance_id)))
        .list("privateIpAddressesSet", order.vary(ipv4))
        .list("ipv6AddressesSet", order.vary(ipv6))
        .append(&prefixes(one))
        .text("interfaceType", interface_type)
        .child(operated_by(world, operator.as_deref()))
}

/// Returns the security groups of an instance, as it and its interfaces show them.
fn group_items(world: &World, instance: Option<&String>) -> Vec<Element> {
    let launch = instance.and_then(|id| world.ec2.launches.get(id));
    let ids = launch.into_iter().flat_map(|facts| &facts.security_groups);
    let groups = ids.filter_map(|id| world.ec2.security_groups.get(id));
    groups.map(|group| item().text("groupId", &group.id).text("groupName", &group.name)).collect()
}

fn is_services(world: &World, one: &Interface) -> bool {
    world.ec2.interface_facts.get(&one.id).is_some_and(|facts| facts.is_services)
}

/// Delegated prefixes. Without any, there is no element.
fn prefixes(one: &Interface) -> Element {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for prefix in &one.prefixes {
        match prefix {
            Prefix::V4(base, length) => ipv4.push(item().text("ipv4Prefix", format!("{base}/{length}"))),
            Prefix::V6(base, length) => ipv6.push(item().text("ipv6Prefix", format!("{base}/{length}"))),
        }
    }
    let mut sets = Element::result();
    for (name, items) in [("ipv4PrefixSet", ipv4), ("ipv6PrefixSet", ipv6)] {
        if !items.is_empty() {
            sets = sets.list(name, items);
        }
    }
    sets
}

/// Whether an attachment names its instance: inside the instance's own description it does not.
#[derive(PartialEq, Eq)]
enum AttachmentOwner {
    Shown,
    Hidden,
}

fn attachment(world: &World, one: &Interface, owner: AttachmentOwner) -> Element {
    let Some(attachment) = &one.attachment else { return Element::result() };
    let facts = world.ec2.interface_facts.get(&one.id);
    let shown = owner == AttachmentOwner::Shown;
    let attachment = Element::new("attachment")
        .text("attachmentId", one.attachment_id())
        .text("deviceIndex", attachment.device_index)
        .text("networkCardIndex", attachment.network_card_index)
        .text("status", "attached")
        .text("attachTime", time(attachment.attached_at))
        .text("deleteOnTermination", facts.is_none_or(|facts| facts.delete_on_termination))
        .optional("instanceId", shown.then_some(&attachment.instance_id))
        .optional("instanceOwnerId", shown.then_some(ACCOUNT));
    Element::result().child(attachment)
}

fn primary_ipv6(eth0: &Interface) -> Option<String> {
    let primary = eth0.ipv6.iter().find(|(_, primary)| *primary).or(eth0.ipv6.first());
    primary.map(|(address, _)| address.to_string())
}

fn private_dns_name(address: &str) -> String {
    format!("ip-{}.ec2.internal", address.replace('.', "-"))
}

pub(super) fn vpc(world: &World, name: &str, vpc: &Vpc, order: &mut Order) -> Element {
    let block = format!("{}/{}", vpc.cidr.0, vpc.cidr.1);
    let ipv4 = item()
        .text("associationId", vpc.id.replacen("vpc-", "vpc-cidr-assoc-", 1))
        .text("cidrBlock", &block)
        .child(Element::new("cidrBlockState").text("state", "associated"));
    Element::new(name)
        .text("vpcId", &vpc.id)
        .text("ownerId", ACCOUNT)
        .text("state", "available")
        .text("cidrBlock", block)
        .list("cidrBlockAssociationSet", [ipv4])
        .list("ipv6CidrBlockAssociationSet", vpc.ipv6_cidr.map(|block| ipv6_block(&vpc.id, block)))
        .text("instanceTenancy", "default")
        .text("isDefault", false)
        .append(&tag_set(&tags::of(world, &vpc.id), order))
}

pub(super) fn subnet(world: &World, name: &str, subnet: &Subnet, order: &mut Order) -> Element {
    Element::new(name)
        .text("subnetId", &subnet.id)
        .text("vpcId", &subnet.vpc_id)
        .text("ownerId", &subnet.owner)
        .optional("type", subnet.kind.as_ref())
        .text("state", "available")
        .text("availabilityZone", &subnet.zone)
        .text("cidrBlock", format!("{}/{}", subnet.cidr.0, subnet.cidr.1))
        .list("ipv6CidrBlockAssociationSet", subnet.ipv6_cidr.map(|block| ipv6_block(&subnet.id, block)))
        .text("availableIpAddressCount", world.ec2.count_free(subnet))
        .text("defaultForAz", false)
        .text("mapPublicIpOnLaunch", false)
        .text("assignIpv6AddressOnCreation", false)
        .append(&tag_set(&tags::of(world, &subnet.id), order))
}

fn ipv6_block(owner: &str, (base, prefix): (std::net::Ipv6Addr, u8)) -> Element {
    item()
        .text("associationId", owner.replacen('-', "-cidr-assoc-", 1))
        .text("ipv6CidrBlock", format!("{base}/{prefix}"))
        .child(Element::new("ipv6CidrBlockState").text("state", "associated"))
}

//! Network interfaces: the owners of the addresses.
//!
//! `World.ec2.interfaces` is the truth. Every change goes through [`change`], [`insert`] or [`remove`], which also
//! give the description of the owning instance a new version, and keep the past for stale reads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Attachment, Instance, InstanceState, Interface, Prefix};
use crate::{history::History, wire::ApiError, world::World};

/// The wish for a new interface's primary IPv4 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv4Wish {
    /// The lowest free one of the subnet.
    #[default]
    Automatic,
    /// This one.
    Exactly(Ipv4Addr),
    /// None: an `efa-only` interface, or one with IPv6 only.
    None,
}

/// A network interface to be created. The default has one IPv4 address, chosen by the subnet.
#[derive(Clone, Debug, Default)]
pub struct NewInterface {
    /// The primary private IPv4 address.
    pub ipv4: Ipv4Wish,
    /// Secondary private IPv4 addresses.
    pub secondary_ipv4: Vec<Ipv4Addr>,
    /// How many secondary IPv4 addresses the subnet must choose.
    pub secondary_ipv4_count: usize,
    /// IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// How many IPv6 addresses the subnet must choose.
    pub ipv6_count: usize,
    /// Whether the first IPv6 address is the primary one (`EnablePrimaryIpv6`).
    pub primary_ipv6: bool,
    /// `interface`, `efa`, `efa-only`...; empty for `interface`.
    pub interface_type: String,
    /// A text for people, and for those who look for a load balancer's or a task's interface.
    pub description: String,
}

/// Facts that only DescribeNetworkInterfaces shows.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) interface_type: String,
    pub(super) description: String,
    /// True if it came with the instance. False if it was attached later or had been there before (EC2 guide, "Delete on
    /// termination"): then it outlives the instance, with its addresses.
    pub(super) delete_on_termination: bool,
    /// Whether a service made it for something of its own (`RequesterManaged`): it is in use, and no instance has it.
    pub(super) is_services: bool,
    /// The service of AWS that manages it, with its instance.
    pub(super) operator: Option<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            interface_type: "interface".to_owned(),
            description: String::new(),
            delete_on_termination: true,
            is_services: false,
            operator: None,
        }
    }
}

/// Creates an interface of a service: of a load balancer, a Fargate task, a database. Once it is attached to an instance, it is
/// the account's own.
///
/// # Errors
/// If the subnet does not exist or cannot give the addresses.
pub fn create_interface(world: &mut World, subnet_id: &str, new: NewInterface) -> Result<String, ApiError> {
    let state = &world.ec2;
    let subnet = state.subnet(subnet_id)?.clone();
    let mut ipv4 = match new.ipv4 {
        Ipv4Wish::Exactly(address) => vec![address],
        Ipv4Wish::Automatic => state.free_ipv4(&subnet, 1, &new.secondary_ipv4)?,
        Ipv4Wish::None => Vec::new(),
    };
    ipv4.extend(&new.secondary_ipv4);
    for address in &ipv4 {
        state.check_ipv4(&subnet, *address)?;
        refuse_taken(world, &subnet.vpc_id, (*address).into())?;
    }
    ipv4.extend(state.free_ipv4(&subnet, new.secondary_ipv4_count, &ipv4)?);
    for address in &new.ipv6 {
        state.check_ipv6(&subnet, *address)?;
        refuse_taken(world, &subnet.vpc_id, (*address).into())?;
    }
    let ipv6 = new.ipv6.iter().copied().chain(state.free_ipv6(&subnet, new.ipv6_count, &new.ipv6)?);
    let ipv6 = ipv6.enumerate().map(|(index, address)| (address, index == 0 && new.primary_ipv6)).collect();
    let id = world.invent_id("eni");
    let interface = Interface {
        id: id.clone(),
        subnet_id: subnet.id,
        vpc_id: subnet.vpc_id,
        ipv4,
        ipv6,
        prefixes: Vec::new(),
        attachment: None,
    };
    let interface_type = if new.interface_type.is_empty() { "interface".to_owned() } else { new.interface_type };
    let facts = Facts {
        interface_type,
        description: new.description,
        delete_on_termination: false,
        is_services: true,
        operator: None,
    };
    world.ec2.interface_facts.insert(id.clone(), facts);
    insert(world, interface);
    Ok(id)
}

/// Makes an interface the account's own, which is attached to nothing yet.
pub(super) fn release(world: &mut World, interface_id: &str) {
    world.ec2.interface_facts.entry(interface_id.to_owned()).or_default().is_services = false;
}

/// Creates an interface in the instance's own subnet and attaches it; it goes when the instance is terminated.
///
/// # Errors
/// If the subnet cannot give the addresses, or the instance has that device already.
pub fn add_interface(
    world: &mut World,
    instance_id: &str,
    device_index: u32,
    network_card_index: u32,
    new: NewInterface,
) -> Result<String, ApiError> {
    let subnet_id = existing_instance(world, instance_id)?.subnet_id.clone();
    let id = create_interface(world, &subnet_id, new)?;
    if let Err(error) = attach_interface(world, &id, instance_id, device_index, network_card_index) {
        remove(world, &id);
        return Err(error);
    }
    world.ec2.interface_facts.entry(id.clone()).or_default().delete_on_termination = true;
    Ok(id)
}

/// Attaches an interface to an instance.
///
/// # Errors
/// Returns the errors of AttachNetworkInterface.
pub fn attach_interface(
    world: &mut World,
    interface_id: &str,
    instance_id: &str,
    device_index: u32,
    network_card_index: u32,
) -> Result<(), ApiError> {
    let interface = existing(world, interface_id)?;
    let instance = existing_instance(world, instance_id)?;
    if interface.attachment.is_some() {
        let message = format!("Interface: [{interface_id}] in use.");
        return Err(ApiError::sender("InvalidNetworkInterface.InUse", message));
    }
    if world.ec2.subnet(&interface.subnet_id)?.zone != instance.zone {
        let message =
            "You may not attach a network interface to an instance if they are not in the same availability zone";
        return Err(ApiError::sender("InvalidParameterCombination", message));
    }
    if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped | InstanceState::Pending) {
        let message = format!("Instance '{instance_id}' is not in a state in which an interface can be attached");
        return Err(ApiError::sender("IncorrectInstanceState", message));
    }
    let attached_at = world.now();
    let attachment = Attachment { instance_id: instance_id.to_owned(), device_index, network_card_index, attached_at };
    let is_at_its_place = |other: &Interface| other.attachment.as_ref().is_some_and(|a| a.is_at_place_of(&attachment));
    if instance.interfaces.iter().any(is_at_its_place) {
        let message =
            format!("Instance '{instance_id}' already has an interface attached at device index '{device_index}'.");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    change(world, interface_id, |interface| interface.attachment = Some(attachment));
    release(world, interface_id);
    Ok(())
}

/// Detaches an interface, which keeps its addresses.
///
/// # Errors
/// Returns the errors of DetachNetworkInterface: eth0 stays.
pub fn detach_interface(world: &mut World, interface_id: &str) -> Result<(), ApiError> {
    let Some(attachment) = &existing(world, interface_id)?.attachment else {
        let message = format!("Interface '{interface_id}' is not attached");
        return Err(ApiError::sender("InvalidAttachmentID.NotFound", message));
    };
    if (attachment.device_index, attachment.network_card_index) == (0, 0) {
        let message = "The network interface at device index 0 and networkCard index 0 cannot be detached.";
        return Err(ApiError::sender("OperationNotPermitted", message));
    }
    change(world, interface_id, |interface| interface.attachment = None);
    Ok(())
}

/// Deletes an interface that is attached to nothing; its addresses are free again.
///
/// # Errors
/// Returns the errors of DeleteNetworkInterface.
pub fn delete_interface(world: &mut World, interface_id: &str) -> Result<(), ApiError> {
    if existing(world, interface_id)?.attachment.is_some() {
        let message = format!("Network interface '{interface_id}' is currently in use.");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    remove(world, interface_id);
    Ok(())
}

/// Whether an address that another interface has is taken from it (`AllowReassignment`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reassignment {
    Refused,
    Allowed,
}

/// Gives an interface one more address, which must be free.
///
/// # Errors
/// If another interface has it, or it is not one of the subnet's.
pub fn assign_address(world: &mut World, interface_id: &str, address: IpAddr) -> Result<(), ApiError> {
    assign(world, interface_id, &[address], Reassignment::Refused)
}

/// Delegates a prefix to an interface, even if other interfaces have addresses in it: only fixtures do this.
///
/// # Errors
/// If there is no such interface.
pub fn delegate_prefix(world: &mut World, interface_id: &str, prefix: Prefix) -> Result<(), ApiError> {
    existing(world, interface_id)?;
    change(world, interface_id, |interface| interface.prefixes.push(prefix));
    Ok(())
}

/// Takes a secondary address from its interface, and gives it to another, as fail-over software does.
///
/// # Errors
/// If it is an interface's primary address, or not one of the subnet's.
pub fn move_address(world: &mut World, address: IpAddr, to_interface_id: &str) -> Result<(), ApiError> {
    assign(world, to_interface_id, &[address], Reassignment::Allowed)
}

/// Takes a secondary address from an interface.
///
/// # Errors
/// If it is the primary one, or not the interface's.
pub fn unassign_address(world: &mut World, interface_id: &str, address: IpAddr) -> Result<(), ApiError> {
    unassign(world, interface_id, &[address])
}

/// All or nothing.
pub(super) fn assign(
    world: &mut World,
    interface_id: &str,
    addresses: &[IpAddr],
    reassignment: Reassignment,
) -> Result<(), ApiError> {
    let interface = existing(world, interface_id)?;
    let (vpc_id, subnet) = (interface.vpc_id.clone(), world.ec2.subnet(&interface.subnet_id)?);
    for address in addresses {
        match address {
            IpAddr::V4(address) => world.ec2.check_ipv4(subnet, *address)?,
            IpAddr::V6(address) => world.ec2.check_ipv6(subnet, *address)?,
        }
        if let Some(owner) = world.ec2.interface_with(&vpc_id, *address) {
            let movable = owner.id != interface_id && !is_primary(owner, *address);
            if reassignment == Reassignment::Refused || !movable {
                let message = format!("[{address}] assigned, but move is not allowed.");
                return Err(ApiError::sender("InvalidParameterValue", message));
            }
        }
    }
    for address in addresses {
        if let Some(owner) = world.ec2.interface_with(&vpc_id, *address).map(|owner| owner.id.clone()) {
            change(world, &owner, |interface| take(interface, *address));
        }
        change(world, interface_id, |interface| match address {
            IpAddr::V4(address) => interface.ipv4.push(*address),
            IpAddr::V6(address) => interface.ipv6.push((*address, false)),
        });
    }
    Ok(())
}

/// All or nothing.
pub(super) fn unassign(world: &mut World, interface_id: &str, addresses: &[IpAddr]) -> Result<(), ApiError> {
    let interface = existing(world, interface_id)?;
    for address in addresses {
        if !interface.has(*address) {
            let message = format!("Some of the specified addresses are not assigned to interface {interface_id}");
            return Err(ApiError::sender("InvalidParameterValue", message));
        }
        if is_primary(interface, *address) {
            let message = format!("The primary address {address} cannot be unassigned");
            return Err(ApiError::sender("InvalidParameterValue", message));
        }
    }
    change(world, interface_id, |interface| addresses.iter().for_each(|address| take(interface, *address)));
    Ok(())
}

fn is_primary(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => interface.ipv4.first() == Some(&address),
        IpAddr::V6(address) => interface.ipv6.contains(&(address, true)),
    }
}

fn take(interface: &mut Interface, address: IpAddr) {
    match address {
        IpAddr::V4(address) => interface.ipv4.retain(|own| *own != address),
        IpAddr::V6(address) => interface.ipv6.retain(|(own, _)| *own != address),
    }
}

pub(super) fn existing<'a>(world: &'a World, interface_id: &str) -> Result<&'a Interface, ApiError> {
    world.ec2.interfaces.get(interface_id).ok_or_else(|| not_found(interface_id))
}

pub(super) fn not_found(interface_id: &str) -> ApiError {
    let message = format!("The networkInterface ID '{interface_id}' does not exist");
    ApiError::sender("InvalidNetworkInterfaceID.NotFound", message)
}

fn existing_instance<'a>(world: &'a World, instance_id: &str) -> Result<&'a Instance, ApiError> {
    world.ec2.instance(instance_id).ok_or_else(|| super::lifecycle::not_found(&[instance_id]))
}

fn refuse_taken(world: &World, vpc_id: &str, address: IpAddr) -> Result<(), ApiError> {
    match world.ec2.interface_with(vpc_id, address) {
        Some(_) => Err(ApiError::sender("InvalidIPAddress.InUse", format!("Address {address} is in use."))),
        None => Ok(()),
    }
}

/// Changes an interface. The descriptions of its owners, before and after, follow.
pub(super) fn change(world: &mut World, interface_id: &str, change: impl FnOnce(&mut Interface)) {
    let Some(interface) = world.ec2.interfaces.get_mut(interface_id) else { return };
    let before = interface.attachment.clone();
    change(interface);
    let after = interface.attachment.clone();
    record(world, interface_id);
    for attachment in before.into_iter().chain(after) {
        update_description(world, &attachment.instance_id);
    }
}

fn insert(world: &mut World, interface: Interface) {
    let id = interface.id.clone();
    world.ec2.interfaces.insert(id.clone(), interface);
    record(world, &id);
}

/// Deletes an interface, even if it is attached.
pub(super) fn remove(world: &mut World, interface_id: &str) {
    change(world, interface_id, |interface| interface.attachment = None);
    world.ec2.interfaces.remove(interface_id);
    world.ec2.interface_facts.remove(interface_id);
    world.ec2.tags.remove(interface_id);
    record(world, interface_id);
}

/// Keeps a version of an interface, or the fact that it is gone.
fn record(world: &mut World, interface_id: &str) {
    let now = world.now();
    let present = world.ec2.interfaces.get(interface_id).cloned();
    match world.ec2.interface_versions.get_mut(interface_id) {
        Some(versions) => versions.change(now, |version| *version = present),
        None => {
            world.ec2.interface_versions.insert(interface_id.to_owned(), History::new(now, present));
        }
    }
}

/// Puts an instance's present interfaces into its description.
fn update_description(world: &mut World, instance_id: &str) {
    let now = world.now();
    let owned = |interface: &&Interface| interface.attachment.as_ref().is_some_and(|a| a.instance_id == instance_id);
    let mut interfaces: Vec<_> = world.ec2.interfaces.values().filter(owned).cloned().collect();
    interfaces.sort_by_key(|i| i.attachment.as_ref().map(|a| (a.network_card_index, a.device_index)));
    if let Some(instance) = world.ec2.instances.get_mut(instance_id) {
        instance.change(now, |instance| instance.interfaces = interfaces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::{Launch, create_subnet, create_vpc, launch_running};

    fn two_instances(world: &mut World) -> (String, String) {
        let vpc = create_vpc(world, "10.0.0.0/16");
        let subnet = create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
        let mut launch = || launch_running(world, Launch::new(&subnet)).unwrap();
        (launch(), launch())
    }

    #[tokio::test(start_paused = true)]
    async fn a_moved_address_changes_both_descriptions() {
        let sandbox = crate::Sandbox::in_virtual_time();
        sandbox.with(|world| {
            let (one, two) = two_instances(world);
            let eth0 = |world: &World, id: &str| world.ec2.instance(id).unwrap().eth0().unwrap().clone();
            let address: IpAddr = "10.0.0.99".parse().unwrap();
            assign_address(world, &eth0(world, &one).id, address).unwrap();
            assert!(eth0(world, &one).has(address));
            assert_eq!(
                assign_address(world, &eth0(world, &two).id, address).unwrap_err().code,
                "InvalidParameterValue"
            );
            move_address(world, address, &eth0(world, &two).id).unwrap();
            assert!(!eth0(world, &one).has(address) && eth0(world, &two).has(address));
            let primary = world.ec2.instance(&one).unwrap().primary_ipv4().unwrap();
            assert!(move_address(world, primary.into(), &eth0(world, &two).id).is_err());
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_card_has_a_device_zero_of_its_own() {
        let sandbox = crate::Sandbox::in_virtual_time();
        sandbox.with(|world| {
            let (one, _) = two_instances(world);
            let efa =
                NewInterface { ipv4: Ipv4Wish::None, interface_type: "efa-only".into(), ..NewInterface::default() };
            let second = add_interface(world, &one, 0, 1, efa.clone()).unwrap();
            let instance = world.ec2.instance(&one).unwrap();
            assert_eq!(instance.interfaces.len(), 2);
            assert_ne!(instance.eth0().unwrap().id, second);
            assert_eq!(add_interface(world, &one, 0, 1, efa).unwrap_err().code, "InvalidParameterValue");
            detach_interface(world, &second).unwrap();
            delete_interface(world, &second).unwrap();
            assert_eq!(world.ec2.instance(&one).unwrap().interfaces.len(), 1);
        });
    }
}

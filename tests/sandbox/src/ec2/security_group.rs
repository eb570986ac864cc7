//! Security groups, and what keeps a group, a subnet or a VPC from being deleted. Which packets a group lets through is not modelled.

use std::{collections::BTreeMap, time::Duration};

use super::{InstanceState, network::vpc_not_found};
use crate::{clock::delta, wire::ApiError, world::World};

/// How long a deleted load balancer's network interfaces stay, and with them the hold on its subnets and security groups: "its network
/// interfaces can take a while to go away (some minutes)" (<https://github.com/hashicorp/terraform/issues/3758>).
const INTERFACES_STAY: Duration = Duration::from_secs(60);

/// A security group.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    /// `sg-...`
    pub id: String,
    /// Its name, of which a VPC has only one.
    pub name: String,
    /// A sentence of the operator.
    pub description: String,
    /// Its VPC.
    pub vpc_id: String,
    /// The ranges of ports that it lets in, in order.
    pub ingress: Vec<Ingress>,
}

/// A range of ports that a security group lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// `tcp`, `udp`, ...
    pub protocol: String,
    /// The first port.
    pub from_port: u16,
    /// The last port.
    pub to_port: u16,
    /// The addresses that it lets in.
    pub cidrs: Vec<String>,
}

pub(super) fn add(world: &mut World, name: &str, description: &str, vpc_id: &str) -> Result<String, ApiError> {
    if !world.ec2.vpcs.contains_key(vpc_id) {
        return Err(vpc_not_found(vpc_id));
    }
    if world.ec2.security_groups.values().any(|group| group.vpc_id == vpc_id && group.name == name) {
        let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
        return Err(ApiError::sender("InvalidGroup.Duplicate", message));
    }
    let id = world.invent_id("sg");
    let (name, description, vpc_id) = (name.to_owned(), description.to_owned(), vpc_id.to_owned());
    let group = SecurityGroup { id: id.clone(), name, description, vpc_id, ingress: Vec::new() };
    world.ec2.security_groups.insert(id.clone(), group);
    Ok(id)
}

pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::sender("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

/// Keeps what a deleted load balancer was in from being deleted for a while.
pub(crate) fn hold_for_interfaces(world: &mut World, ids: impl IntoIterator<Item = String>) {
    let until = world.now() + delta(INTERFACES_STAY);
    let held: BTreeMap<_, _> = ids.into_iter().map(|id| (id, until)).collect();
    world.ec2.held_for_interfaces.extend(held);
}

/// Deletes a security group that nothing uses.
pub(super) fn delete(world: &mut World, id: &str) -> Result<(), ApiError> {
    if !world.ec2.security_groups.contains_key(id) {
        return Err(not_found(id));
    }
    let launches = world.ec2.launches.iter().filter(|(_, facts)| facts.security_groups.iter().any(|group| group == id));
    let alive = |instance: &str| {
        world.ec2.instance(instance).is_some_and(|instance| instance.state != InstanceState::Terminated)
    };
    let is_used = launches.into_iter().any(|(instance, _)| alive(instance))
        || world
            .elb
            .load_balancers
            .values()
            .any(|balancer| balancer.spec.security_groups.iter().any(|group| group == id))
        || world
            .elbv2
            .load_balancers
            .values()
            .any(|balancer| balancer.spec.security_groups.iter().any(|group| group == id));
    if is_used || is_held(world, id) {
        // The words of <https://github.com/hashicorp/terraform/issues/3758>.
        return Err(ApiError::sender("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    world.ec2.security_groups.remove(id);
    world.ec2.tags.remove(id);
    Ok(())
}

/// Deletes a subnet in which no interface is left.
pub(super) fn delete_subnet(world: &mut World, id: &str) -> Result<(), ApiError> {
    world.ec2.subnet(id)?;
    let is_used = world.ec2.interfaces.values().any(|interface| interface.subnet_id == id)
        || world.elb.load_balancers.values().any(|balancer| balancer.spec.subnets.iter().any(|subnet| subnet == id))
        || world.elbv2.load_balancers.values().any(|b| b.spec.subnets.iter().flatten().any(|subnet| subnet == id));
    if is_used || is_held(world, id) {
        return Err(has_dependencies("subnet", id));
    }
    world.ec2.subnets.remove(id);
    world.ec2.tags.remove(id);
    Ok(())
}

/// Deletes a VPC without subnets and security groups. Its default security group goes with it, and is not modelled.
pub(super) fn delete_vpc(world: &mut World, id: &str) -> Result<(), ApiError> {
    if !world.ec2.vpcs.contains_key(id) {
        return Err(vpc_not_found(id));
    }
    let state = &world.ec2;
    if state.subnets.values().any(|subnet| subnet.vpc_id == id)
        || state.security_groups.values().any(|group| group.vpc_id == id)
    {
        return Err(has_dependencies("vpc", id));
    }
    world.ec2.vpcs.remove(id);
    world.ec2.tags.remove(id);
    Ok(())
}

fn is_held(world: &World, id: &str) -> bool {
    world.ec2.held_for_interfaces.get(id).is_some_and(|until| world.now() < *until)
}

/// The words of <https://github.com/gruntwork-io/cloud-nuke/issues/285> and <https://github.com/gruntwork-io/cloud-nuke/issues/345>.
fn has_dependencies(kind: &str, id: &str) -> ApiError {
    ApiError::sender("DependencyViolation", format!("The {kind} '{id}' has dependencies and cannot be deleted."))
}

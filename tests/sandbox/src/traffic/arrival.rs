//! A request arrives at an address: which host has it *now*, and what happens to the request there?
//!
//! This looks at EC2's own state only, and never at what a balancer believes.

use std::sync::Arc;

use crate::{
    clock::{Timestamp, delta},
    ec2::{Instance, InstanceState, is_rebooting},
    world::World,
};

use super::{
    Outcome,
    pool::{Destination, Host},
};

/// The fate of a request that a balancer sends to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A host takes it up; it still has to last.
    TakenUp(Host),
    /// It is lost at once.
    Lost(Outcome, Arc<str>),
}

/// Returns the fate of a request that is sent at a time.
pub(super) fn arrive(world: &World, destination: &Destination, at: Timestamp) -> Arrival {
    let Some(host) = host_at(world, destination) else {
        let address = destination.address.map_or_else(|| "the instance".to_owned(), |address| address.to_string());
        return lost(Outcome::Gone, format!("no host has {address}"));
    };
    let is_owner = destination.owner.as_ref().is_none_or(|owner| *owner == host);
    if let Host::Instance(id) = &host {
        match world.ec2.instance(id) {
            Some(_) if is_rebooting(world, id) => return lost(Outcome::Refused, format!("{id} is rebooting")),
            Some(instance) if instance.state == InstanceState::Running => {
                if is_owner && at < ready_at(world, instance) {
                    return lost(Outcome::Refused, format!("{id} has just started, and is not ready"));
                }
            }
            // The address of an instance that does not run belongs to no host, whichever instance was registered.
            instance => {
                let state = instance.map_or(InstanceState::Terminated, |instance| instance.state);
                return lost(Outcome::Gone, format!("{id} is {}", state.name()));
            }
        }
    }
    match is_owner {
        true => Arrival::TakenUp(host),
        false => lost(Outcome::Misdelivered, format!("the address is that of {} now", host.name())),
    }
}

/// Returns the present owner of the destination's address.
pub(super) fn host_at(world: &World, destination: &Destination) -> Option<Host> {
    let Some(address) = destination.address else { return destination.owner.clone() };
    let ours = |vpc_id: &str| (vpc_id == &*destination.vpc_id) != destination.is_outside;
    let interface = world.ec2.interfaces.values().find(|interface| ours(&interface.vpc_id) && interface.has(address));
    match interface {
        Some(interface) => Some(match &interface.attachment {
            Some(attachment) => Host::Instance(attachment.instance_id.as_str().into()),
            None => Host::Interface(interface.id.as_str().into()),
        }),
        None => destination.is_outside.then_some(Host::Elsewhere),
    }
}

/// Returns whether a host that took a request up can still answer it.
pub(super) fn is_up(world: &World, host: &Host) -> bool {
    match host {
        Host::Instance(id) => {
            let is_running = world.ec2.instance(id).is_some_and(|found| found.state == InstanceState::Running);
            is_running && !is_rebooting(world, id)
        }
        Host::Interface(id) => world.ec2.interfaces.contains_key(&**id),
        Host::Elsewhere => true,
    }
}

/// Returns whether a host answers a health check of a destination.
pub(super) fn answers(world: &World, destination: &Destination) -> bool {
    host_at(world, destination).is_some_and(|host| is_up(world, &host))
}

/// Returns when a destination's instance becomes able to serve, if that lies ahead.
pub(super) fn becomes_ready(world: &World, destination: &Destination, at: Timestamp) -> Option<Timestamp> {
    let Some(Host::Instance(id)) = host_at(world, destination) else { return None };
    world.ec2.instance(&id).map(|instance| ready_at(world, instance)).filter(|ready| *ready > at)
}

/// Returns when an instance can serve after its start: at the earliest time when health checks can succeed, so that no balancer
/// finds an instance healthy before it is ready.
fn ready_at(world: &World, instance: &Instance) -> Timestamp {
    instance.since + delta(world.options.becoming_healthy.least)
}

fn lost(outcome: Outcome, why: String) -> Arrival {
    Arrival::Lost(outcome, why.into())
}

impl Host {
    fn name(&self) -> &str {
        match self {
            Self::Instance(id) | Self::Interface(id) => id,
            Self::Elsewhere => "a host of another network",
        }
    }
}

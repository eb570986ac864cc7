//! New instances.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    AddressAtRestart, Instance, InstanceState, Ipv4Wish, NewInterface, attach_interface, create_interface,
    interface::{Facts as InterfaceFacts, change, remove},
    lifecycle,
    spot::{self, Spot},
};
use crate::{clock::Timestamp, history::History, wire::ApiError, world::World};

/// A tag of the sandbox's own: with the value `renewed` at the launch, the instance gets other private addresses at each restart,
/// as in EC2-Classic. It stays visible.
pub(super) const ADDRESS_AT_RESTART_TAG: &str = "sandbox:address-at-restart";

/// An instance to be launched, with plain defaults for fixtures.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its subnet.
    pub subnet_id: String,
    /// Its image.
    pub image_id: String,
    /// Its type.
    pub instance_type: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How a restart changes its addresses.
    pub address_at_restart: AddressAtRestart,
    /// Its interfaces. Without any, it gets one eth0 with an address that the subnet chooses.
    pub interfaces: Vec<LaunchInterface>,
    /// The caller's idempotency token, which the description shows.
    pub client_token: String,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// How its capacity is paid for.
    pub market: Market,
    /// Whether it boots from an instance store: it cannot be stopped then.
    pub is_on_instance_store: bool,
}

/// How the capacity of an instance is paid for, which decides whether AWS may take it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Market {
    /// AWS takes nothing back.
    #[default]
    OnDemand,
    /// A Spot Instance.
    Spot(Spot),
    /// In an interruptible Capacity Reservation, whose owner can take it back.
    InterruptibleReservation,
}

impl Market {
    /// Returns AWS's word for it in `InstanceLifecycle`, if there is one (botocore, InstanceLifecycleType).
    pub(super) fn lifecycle(self) -> Option<&'static str> {
        match self {
            Self::OnDemand => None,
            Self::Spot(_) => Some("spot"),
            Self::InterruptibleReservation => Some("interruptible-capacity-reservation"),
        }
    }
}

/// An interface of a [`Launch`].
#[derive(Clone, Debug)]
pub struct LaunchInterface {
    /// Its place among the devices of its card.
    pub device_index: u32,
    /// Its card.
    pub network_card_index: u32,
    /// Its source.
    pub source: InterfaceSource,
}

/// The source of a launch's interface.
#[derive(Clone, Debug)]
pub enum InterfaceSource {
    /// It is created, in a subnet of its own or otherwise the instance's, and is deleted with the instance.
    New(Option<String>, NewInterface),
    /// It exists already, and stays when the instance goes.
    Existing(String),
}

/// Facts of the launch, or of later changes, that only this module needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) reservation_id: String,
    pub(super) image_id: String,
    pub(super) instance_type: String,
    pub(super) client_token: String,
    pub(super) security_groups: Vec<String>,
    /// Its number among those of one RunInstances call.
    pub(super) launch_index: usize,
    /// When it was launched: a restart renews its `launchTime`, and not this.
    pub(super) first_launched: Option<Timestamp>,
    /// Whether it ever reached `running`: before, it cannot be stopped.
    pub(super) has_run: bool,
    /// The interfaces that were released at the last stop, with the addresses that they had.
    pub(super) released: Vec<super::Interface>,
    /// The service of AWS that manages the instance.
    pub(super) operator: Option<String>,
    pub(super) market: Market,
    /// Its Spot request.
    pub(super) spot_request: Option<String>,
    pub(super) is_on_instance_store: bool,
}

impl Launch {
    /// Returns an instance in a subnet.
    pub fn new(subnet_id: &str) -> Self {
        Self {
            subnet_id: subnet_id.to_owned(),
            image_id: "ami-00000000000000001".to_owned(),
            instance_type: "m7i.large".to_owned(),
            tags: BTreeMap::new(),
            address_at_restart: AddressAtRestart::Kept,
            interfaces: Vec::new(),
            client_token: String::new(),
            security_groups: Vec::new(),
            market: Market::OnDemand,
            is_on_instance_store: false,
        }
    }

    /// Makes it a Spot Instance.
    #[must_use]
    pub fn spot(mut self, spot: Spot) -> Self {
        self.market = Market::Spot(spot);
        self
    }

    /// Puts it into an interruptible Capacity Reservation.
    #[must_use]
    pub fn reserved_interruptibly(mut self) -> Self {
        self.market = Market::InterruptibleReservation;
        self
    }

    /// Lets it boot from an instance store.
    #[must_use]
    pub fn on_instance_store(mut self) -> Self {
        self.is_on_instance_store = true;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the primary private address.
    #[must_use]
    pub fn address(self, address: Ipv4Addr) -> Self {
        let new = NewInterface { ipv4: Ipv4Wish::Exactly(address), ..NewInterface::default() };
        self.interface(0, 0, new)
    }

    /// Adds an interface, in the instance's subnet. The first one should be eth0: device index 0 on card 0.
    #[must_use]
    pub fn interface(mut self, device_index: u32, network_card_index: u32, new: NewInterface) -> Self {
        let source = InterfaceSource::New(None, new);
        self.interfaces.push(LaunchInterface { device_index, network_card_index, source });
        self
    }

    /// Gives it other private addresses after each restart, as in EC2-Classic.
    #[must_use]
    pub fn renewed(mut self) -> Self {
        self.address_at_restart = AddressAtRestart::Renewed;
        self
    }
}

/// Launches an instance: `pending`, and `running` after a while.
///
/// # Errors
/// Returns the errors of RunInstances.
pub fn launch(world: &mut World, launch: Launch) -> Result<String, ApiError> {
    let id = create(world, launch, 1)?.remove(0);
    lifecycle::enter_pending(world, &id);
    Ok(id)
}

/// Launches an instance that has been running all along: no event tells of it.
///
/// # Errors
/// Returns the errors of RunInstances.
pub fn launch_running(world: &mut World, launch: Launch) -> Result<String, ApiError> {
    let id = create(world, launch, 1)?.remove(0);
    let now = world.now();
    world.ec2.launches.entry(id.clone()).or_default().has_run = true;
    if let Some(instance) = world.ec2.instances.get_mut(&id) {
        instance.change(now, |instance| instance.state = InstanceState::Running);
    }
    Ok(id)
}

/// Lets a service of AWS manage an instance with its interfaces, or an interface.
pub fn manage(world: &mut World, id: &str, service: &str) {
    let operator = || Some(service.to_owned());
    let interfaces = match world.ec2.instance(id) {
        Some(instance) => instance.interfaces.iter().map(|interface| interface.id.clone()).collect(),
        None => vec![id.to_owned()],
    };
    if let Some(facts) = world.ec2.launches.get_mut(id) {
        facts.operator = operator();
    }
    for interface in interfaces {
        world.ec2.interface_facts.entry(interface).or_default().operator = operator();
    }
}

/// Creates the instances of one reservation, all or none. No event tells of them yet.
pub(super) fn create(world: &mut World, launch: Launch, count: usize) -> Result<Vec<String>, ApiError> {
    world.ec2.subnet(&launch.subnet_id)?;
    super::tags::check_count(&launch.tags)?;
    let mut made = Vec::new();
    let ids: Vec<_> = (0..count).map(|_| world.invent_id("i")).collect();
    let reservation_id = world.invent_id("r");
    for (index, id) in ids.iter().enumerate() {
        insert(world, id, &launch, &reservation_id, index);
        if let Err(error) = give_interfaces(world, id, &launch, &mut made) {
            made.iter().for_each(|interface_id| remove(world, interface_id));
            undo(world, &ids);
            return Err(error);
        }
    }
    Ok(ids)
}

fn insert(world: &mut World, id: &str, launch: &Launch, reservation_id: &str, launch_index: usize) {
    let now = world.now();
    let subnet = world.ec2.subnets[&launch.subnet_id].clone();
    let instance = Instance {
        id: id.to_owned(),
        state: InstanceState::Pending,
        vpc_id: subnet.vpc_id,
        subnet_id: subnet.id,
        zone: subnet.zone,
        launch_time: now,
        state_transition_reason: String::new(),
        since: now,
        interfaces: Vec::new(),
        tags: launch.tags.clone(),
        address_at_restart: launch.address_at_restart,
    };
    world.ec2.instances.insert(id.to_owned(), History::new(now, instance));
    let spot_request = match launch.market {
        Market::Spot(wishes) => Some(spot::request(world, id, wishes)),
        Market::OnDemand | Market::InterruptibleReservation => None,
    };
    let facts = Facts {
        reservation_id: reservation_id.to_owned(),
        image_id: launch.image_id.clone(),
        instance_type: launch.instance_type.clone(),
        client_token: launch.client_token.clone(),
        security_groups: launch.security_groups.clone(),
        launch_index,
        first_launched: Some(now),
        market: launch.market,
        spot_request,
        is_on_instance_store: launch.is_on_instance_store,
        ..Facts::default()
    };
    world.ec2.launches.insert(id.to_owned(), facts);
}

/// Gives an instance its interfaces. `made` collects those that must be deleted if the launch fails after all.
fn give_interfaces(world: &mut World, id: &str, launch: &Launch, made: &mut Vec<String>) -> Result<(), ApiError> {
    let eth0 = || LaunchInterface {
        device_index: 0,
        network_card_index: 0,
        source: InterfaceSource::New(None, NewInterface::default()),
    };
    let interfaces = if launch.interfaces.is_empty() { vec![eth0()] } else { launch.interfaces.clone() };
    for LaunchInterface { device_index, network_card_index, source } in interfaces {
        let interface_id = match source {
            InterfaceSource::Existing(interface_id) => interface_id,
            InterfaceSource::New(subnet_id, new) => {
                let interface_id = create_interface(world, subnet_id.as_ref().unwrap_or(&launch.subnet_id), new)?;
                made.push(interface_id.clone());
                let facts: &mut InterfaceFacts = world.ec2.interface_facts.entry(interface_id.clone()).or_default();
                facts.delete_on_termination = true;
                interface_id
            }
        };
        attach_interface(world, &interface_id, id, device_index, network_card_index)?;
    }
    Ok(())
}

/// Leaves no trace of instances that could not be launched.
fn undo(world: &mut World, ids: &[String]) {
    let attached = |i: &&super::Interface| i.attachment.as_ref().is_some_and(|a| ids.contains(&a.instance_id));
    let left: Vec<_> = world.ec2.interfaces.values().filter(attached).map(|i| i.id.clone()).collect();
    for interface_id in left {
        change(world, &interface_id, |interface| interface.attachment = None);
    }
    for id in ids {
        world.ec2.instances.remove(id);
        let request = world.ec2.launches.remove(id).and_then(|facts| facts.spot_request);
        request.iter().for_each(|request| {
            world.ec2.spot_requests.remove(request);
        });
    }
}

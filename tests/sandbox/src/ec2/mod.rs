//! Amazon EC2: networks, interfaces, instances, their tags, and the state changes that take time and emit events.

mod interface;
mod launch;
mod launch_template;
mod lifecycle;
mod network;
pub(crate) mod paging;
mod reboot;
mod scheduled_event;
mod security_group;
mod spot;
mod tags;
mod wire;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use fastrand::Rng;

use crate::{
    clock::Timestamp,
    history::History,
    world::{ACCOUNT, REGION, World},
};

pub use interface::{
    Ipv4Wish, NewInterface, add_interface, assign_address, attach_interface, create_interface, delegate_prefix,
    delete_interface, detach_interface, move_address, unassign_address,
};
pub use launch::{InterfaceSource, Launch, LaunchInterface, Market, launch, launch_running, manage};
pub use launch_template::LaunchTemplate;
pub(crate) use launch_template::launch_by_template;
pub use lifecycle::{shut_itself_down, start, stop, terminate};
pub use network::{create_dual_stack_vpc, create_subnet, create_vpc, share_subnet_from, use_subnet_for_vmware};
pub use reboot::reboot;
pub(crate) use reboot::{Outage, is_rebooting, noticed_after, outage};
pub use scheduled_event::{EventCode, Phase, ScheduledEvent, cancel_event, complete_event, schedule_event};
pub(crate) use security_group::hold_for_interfaces;
pub use security_group::{Ingress, SecurityGroup};
pub use spot::{Spot, SpotAction, SpotRequest, SpotState, interrupt, interrupt_reserved, recommend_rebalance, resume};
pub(crate) use tags::resource_type;
pub use tags::{remove_tag, set_tag};
pub use wire::answer;

/// Everything in EC2.
#[derive(Debug, Default)]
pub struct State {
    /// By id.
    pub vpcs: BTreeMap<String, Vpc>,
    /// By id.
    pub subnets: BTreeMap<String, Subnet>,
    /// By id.
    pub security_groups: BTreeMap<String, SecurityGroup>,
    /// By id.
    pub launch_templates: BTreeMap<String, LaunchTemplate>,
    /// Network interfaces by id: those of instances, and others (load balancers, Fargate tasks, databases).
    pub interfaces: BTreeMap<String, Interface>,
    /// By id. Terminated ones stay for a while.
    pub instances: BTreeMap<String, History<Instance>>,
    /// Spot requests, by id.
    pub spot_requests: BTreeMap<String, History<SpotRequest>>,
    /// Scheduled events, by id. Those that are over stay for a week.
    pub scheduled_events: BTreeMap<String, History<ScheduledEvent>>,
    /// Tags of resources that are not instances, by the resource's id.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The last reboot of each instance that runs, by id.
    reboots: BTreeMap<String, reboot::Reboot>,
    /// How often the tags of an instance have changed, by id.
    tag_versions: BTreeMap<String, u64>,
    /// Facts of an instance that only this module needs, by id.
    launches: BTreeMap<String, launch::Facts>,
    /// Until when the interfaces of deleted load balancers hold subnets and security groups, by the id of these.
    held_for_interfaces: BTreeMap<String, Timestamp>,
    /// Facts of an interface that only this module needs, by id.
    interface_facts: BTreeMap<String, interface::Facts>,
    /// Past and present of the interfaces, for stale reads; `None` once deleted. The truth is in `interfaces`.
    interface_versions: BTreeMap<String, History<Option<Interface>>>,
    /// The resources that were made for a client token, with the request's parameters, so that a repeat makes nothing new.
    client_tokens: BTreeMap<String, wire::Made>,
    /// The dice for durations. They are seeded at their first use, since `Default` has no seed.
    dice: Option<Rng>,
    /// The dice for the order of descriptions. They are separate, so that a read does not shift the time when an instance is up.
    order_dice: Option<Rng>,
}

/// A virtual network.
#[derive(Clone, Debug)]
pub struct Vpc {
    /// `vpc-...`
    pub id: String,
    /// Its IPv4 block: first address and prefix length.
    pub cidr: (Ipv4Addr, u8),
    /// Its IPv6 block.
    pub ipv6_cidr: Option<(Ipv6Addr, u8)>,
}

/// A part of a VPC in one zone.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// `subnet-...`
    pub id: String,
    /// The network that it is part of.
    pub vpc_id: String,
    /// Such as `us-east-1a`.
    pub zone: String,
    /// Its IPv4 block.
    pub cidr: (Ipv4Addr, u8),
    /// Its IPv6 block.
    pub ipv6_cidr: Option<(Ipv6Addr, u8)>,
    /// The account that owns it: another one, if it is shared with the account of the sandbox.
    pub owner: String,
    /// Its type: `Elastic VMware Service`, or none (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html>).
    pub kind: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// `eni-...`
    pub id: String,
    /// Its subnet.
    pub subnet_id: String,
    /// The VPC of its subnet.
    pub vpc_id: String,
    /// The first is the primary one. Empty for an `efa-only` interface.
    pub ipv4: Vec<Ipv4Addr>,
    /// Each address, and whether it is the primary one.
    pub ipv6: Vec<(Ipv6Addr, bool)>,
    /// Delegated prefixes: it has all addresses in them, and none of them is listed (EC2 guide, "Prefix delegation").
    pub prefixes: Vec<Prefix>,
    /// The instance that it is attached to.
    pub attachment: Option<Attachment>,
}

/// A block of addresses that an interface was given as a whole: a /28 of IPv4, a /80 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// First address and prefix length.
    V4(Ipv4Addr, u8),
    /// First address and prefix length.
    V6(Ipv6Addr, u8),
}

/// The attachment of an interface to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The owner.
    pub instance_id: String,
    /// 0 is the primary interface of its network card.
    pub device_index: u32,
    /// 0 is the card that every instance has.
    pub network_card_index: u32,
    /// When it was attached. Neither a stop nor a start renews it
    /// (<https://dev.classmethod.jp/articles/ec2-describe-instances-state-transition-reason/>).
    pub attached_at: Timestamp,
}

impl Attachment {
    /// Returns whether both are at the same place of the same instance.
    pub(super) fn is_at_place_of(&self, other: &Self) -> bool {
        let place = |one: &Self| (one.instance_id.clone(), one.network_card_index, one.device_index);
        place(self) == place(other)
    }
}

/// States of an instance, in the words of DescribeInstances and of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// Up.
    Running,
    /// Being terminated.
    ShuttingDown,
    /// Gone for ever.
    Terminated,
    /// Being stopped.
    Stopping,
    /// Down; can be started again.
    Stopped,
}

/// How a restart changes the private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressAtRestart {
    /// VPC: they stay with the interface.
    Kept,
    /// As in EC2-Classic: released when `stopped` is reached, new ones at the start (SEED elb-developer-guide).
    Renewed,
}

/// An instance, as DescribeInstances shows it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-...`
    pub id: String,
    /// The present state.
    pub state: InstanceState,
    /// Its VPC.
    pub vpc_id: String,
    /// Its subnet.
    pub subnet_id: String,
    /// Its zone.
    pub zone: String,
    /// Renewed at every start.
    pub launch_time: Timestamp,
    /// Such as `User initiated (2026-01-05 08:00:00 GMT)`; empty while pending or running.
    pub state_transition_reason: String,
    /// Since when the present state holds.
    pub since: Timestamp,
    /// Its interfaces, as they were at this version of the description.
    pub interfaces: Vec<Interface>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How a restart changes its addresses.
    pub address_at_restart: AddressAtRestart,
}

impl State {
    /// Returns an instance as it is now, whatever a stale read would say.
    pub fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.get(id).map(History::current)
    }

    /// Returns whether an address lies in one of a VPC's blocks.
    pub fn vpc_contains(&self, vpc_id: &str, address: IpAddr) -> bool {
        let Some(vpc) = self.vpcs.get(vpc_id) else { return false };
        match address {
            IpAddr::V4(address) => block_contains_v4(vpc.cidr, address),
            IpAddr::V6(address) => vpc.ipv6_cidr.is_some_and(|block| block_contains_v6(block, address)),
        }
    }

    /// Returns the interface that has an address in a VPC.
    pub fn interface_with(&self, vpc_id: &str, address: IpAddr) -> Option<&Interface> {
        let has = |interface: &Interface| interface.has(address) || interface.was_delegated(address);
        self.interfaces.values().find(|interface| interface.vpc_id == vpc_id && has(interface))
    }
}

impl Interface {
    /// Returns the id of its attachment, such as `eni-attach-00000000000000a2`.
    pub fn attachment_id(&self) -> String {
        self.id.replacen("eni-", "eni-attach-", 1)
    }

    /// Returns whether an address lies in a prefix of its own.
    pub fn was_delegated(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| match (prefix, address) {
            (Prefix::V4(base, length), IpAddr::V4(address)) => block_contains_v4((*base, *length), address),
            (Prefix::V6(base, length), IpAddr::V6(address)) => block_contains_v6((*base, *length), address),
            _ => false,
        })
    }

    /// Returns whether an address is listed as one of its own.
    pub fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4.contains(&address),
            IpAddr::V6(address) => self.ipv6.iter().any(|(own, _)| *own == address),
        }
    }
}

impl Instance {
    /// Its primary interface: device index 0 on network card 0.
    pub fn eth0(&self) -> Option<&Interface> {
        let is_eth0 = |a: &Attachment| a.device_index == 0 && a.network_card_index == 0;
        self.interfaces.iter().find(|interface| interface.attachment.as_ref().is_some_and(is_eth0))
    }

    /// Its primary private IPv4 address.
    pub fn primary_ipv4(&self) -> Option<Ipv4Addr> {
        self.eth0()?.ipv4.first().copied()
    }
}

impl InstanceState {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// Returns the number that DescribeInstances gives beside it.
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

/// Returns the ARN of an instance.
pub(crate) fn instance_arn(id: &str) -> String {
    format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{id}")
}

fn block_contains_v4((base, prefix): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    u32::from(base) & mask == u32::from(address) & mask
}

fn block_contains_v6((base, prefix): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    u128::from(base) & mask == u128::from(address) & mask
}

/// Tells the world that an instance has reached a state: sends the event, and lets the balancers react. This module's transitions
/// each call it.
pub(crate) fn announce(world: &mut World, instance_id: &str, state: InstanceState) {
    reboot::instance_changed(world, instance_id, state);
    scheduled_event::instance_changed(world, instance_id, state);
    spot::instance_changed(world, instance_id, state);
    crate::elb::instance_changed(world, instance_id, state);
    crate::elbv2::instance_changed(world, instance_id, state);
    crate::auto_scaling::instance_changed(world, instance_id, state);
    crate::events::instance_changed(world, instance_id, state);
}

/// Returns the dice for durations.
fn dice(world: &mut World) -> &mut Rng {
    let seed = world.options.seed;
    world.ec2.dice.get_or_insert_with(|| World::dice(seed, "ec2"))
}

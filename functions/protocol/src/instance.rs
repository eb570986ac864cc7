//! An instance as EC2 describes it, reduced to what the decisions need: its state, its addresses, its tags.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    address::{Address, Family},
    controller::Controller,
    declaration::Declaration,
    held::Held,
    id::{AutoScalingGroupName, InstanceId, InterfaceId, VpcId},
    network::Block,
    tag,
    time::Timestamp,
    timing::EVENT_UNDER_WAY,
};

/// An EC2 instance, as one DescribeInstances call showed it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's id.
    pub id: InstanceId,
    /// Its state when the description was made.
    pub state: State,
    /// The start of the present run, or of the last one. Every start renews it, not only the launch.
    pub launch_time: Option<Timestamp>,
    /// When the instance itself was made: the time at which `eth0` was attached, since no start renews that. `eth0` can
    /// be neither detached nor replaced (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>). Every
    /// start renews the launch time, and a replaced root volume is attached anew
    /// (<https://github.com/servian/aws-auto-cleanup/issues/129>,
    /// <https://dev.classmethod.jp/articles/ec2-describe-instances-state-transition-reason/>). A terminated instance has
    /// no `eth0` any more, and so `None`.
    pub made_at: Option<Timestamp>,
    /// When the instance was told to stop, if EC2 says so. EC2 usually does, and not always (cloud-custodian issue
    /// 6924).
    pub stop_time: Option<Timestamp>,
    /// The instance's VPC, which is that of `eth0`. A terminated instance has none any more.
    pub vpc: Option<VpcId>,
    /// The network interfaces, in no fixed order.
    pub interfaces: Vec<Interface>,
    /// All tags of the instance.
    pub tags: BTreeMap<String, String>,
}

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The instance starts, and cannot take traffic yet.
    Pending,
    /// The instance runs.
    Running,
    /// The instance is being stopped.
    Stopping,
    /// The instance is stopped, and can run again.
    Stopped,
    /// The instance is being terminated, and will never run again.
    ShuttingDown,
    /// The instance is gone for ever.
    Terminated,
    /// A state that this version does not know. Nothing is done about such an instance.
    Unknown,
}

/// A network interface of an instance.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The interface's id, which stays when the interface gets another position or another instance.
    pub id: InterfaceId,
    /// The interface's VPC. It can be another one than that of `eth0`
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/scenarios-enis.html>, "Multi-VPC ENI attachments").
    pub vpc: Option<VpcId>,
    /// The index on its network card. Index 0 is the card's primary interface.
    pub device_index: u32,
    /// The index of the network card. Other cards have an interface with device index 0, too (EFA), but only card 0 has
    /// the instance's `eth0`.
    pub network_card_index: u32,
    /// IPv4 addresses, each with whether it is the primary one.
    pub ipv4: Vec<(Ipv4Addr, bool)>,
    /// IPv6 addresses, each with whether it is the primary one.
    pub ipv6: Vec<(Ipv6Addr, bool)>,
    /// The controller that made the interface, for what it runs on the instance.
    pub controller: Option<Controller>,
    /// Prefixes that were delegated to the interface. All addresses in a prefix are the interface's, and none of them
    /// is listed.
    pub prefixes: Vec<Block>,
}

/// Where an instance has an address, seen from a target group's VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On an interface in that VPC, where no other interface can have the address.
    Near,
    /// On an interface in another VPC. Networks may overlap, so a target with the address may be another host's.
    Far,
}

impl State {
    /// Returns the state for a word of DescribeInstances or of an event.
    pub fn from_name(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "shutting-down" => Self::ShuttingDown,
            "terminated" => Self::Terminated,
            _ => Self::Unknown,
        }
    }

    /// Returns AWS's word for the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether the instance is down or going down, for now or for ever. Whether it is out, [`crate::presence`]
    /// tells.
    pub(crate) fn is_out(self) -> bool {
        matches!(self, Self::Stopping | Self::Stopped) || self.is_dying()
    }

    /// Returns whether the instance is gone, or going, for ever.
    pub fn is_dying(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

impl Instance {
    /// Returns the address that a registration means, of the family that its target group takes; `None` if there is
    /// none.
    pub fn look_up(&self, address: &Address, family: Family) -> Option<IpAddr> {
        match address {
            Address::Literal(literal) => (family.has(*literal) && self.owns(*literal)).then_some(*literal),
            named => self.named(named)?.primary(family),
        }
    }

    /// Returns whether an address is one that a registration can mean. Of several IPv6 addresses none need be the
    /// primary one. Then the position means any of them that is in place.
    pub fn can_mean(&self, address: &Address, listed: IpAddr) -> bool {
        let family = Family::of(listed);
        match self.look_up(address, family) {
            Some(meant) => meant == listed,
            None => self.named(address).is_some_and(|interface| family == Family::V6 && interface.lists(listed)),
        }
    }

    /// Returns how a registration should name one of the instance's addresses; `None` if it is not the instance's own.
    ///
    /// A primary address is named by its interface, so that the registration survives a change of address. `eth0` is
    /// always the same interface. Any other one is named by its id, too: another can be attached in its position.
    ///
    /// An IPv6 address that is not marked as primary is named literally, even if it is the only one. Another one may be
    /// assigned while the instance is stopped, and then the interface does not tell which was meant. "An IPv6 address
    /// persists when you stop and start, or hibernate and start, your instance"
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html>).
    pub fn name_of(&self, address: IpAddr) -> Option<Address> {
        let on_card_0 = self.interfaces.iter().filter(|interface| interface.network_card_index == 0);
        let mut named = on_card_0.filter(|interface| interface.is_certainly_primary(address));
        match named.next() {
            Some(interface) if interface.device_index == 0 => Some(Address::ETH0),
            Some(Interface { device_index, id, .. }) => {
                Some(Address::Attached { index: *device_index, interface: id.clone() })
            }
            None => self.owns(address).then_some(Address::Literal(address)),
        }
    }

    /// Returns whether an address is one of the instance's own, on any interface.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.has(address))
    }

    /// Returns where the instance has an address, seen from a target group's VPC; `None` if it does not have it.
    ///
    /// The interface that has the address decides, and not the instance's own VPC.
    pub fn side(&self, address: IpAddr, vpc: Option<&VpcId>) -> Option<Side> {
        let mut with_address = self.interfaces.iter().filter(|interface| interface.has(address)).peekable();
        with_address.peek()?;
        let is_near = with_address.any(|interface| interface.vpc.as_ref() == vpc);
        Some(if is_near { Side::Near } else { Side::Far })
    }

    /// Returns the VPC of the interface that has an address.
    pub fn vpc_of(&self, address: IpAddr) -> Option<&VpcId> {
        self.interfaces.iter().find(|interface| interface.has(address))?.vpc.as_ref()
    }

    /// Returns whether an interface is one of the instance's.
    pub fn has_interface(&self, id: &InterfaceId) -> bool {
        self.interfaces.iter().any(|interface| interface.id == *id)
    }

    /// Returns all listed private addresses, in no fixed order. Those in [`Self::prefixes`] are not among them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.interfaces.iter().flat_map(Interface::listed)
    }

    /// Returns the prefixes that were delegated to the instance's interfaces.
    pub fn prefixes(&self) -> impl Iterator<Item = &Block> {
        self.interfaces.iter().flat_map(|interface| &interface.prefixes)
    }

    /// Reads what the instance's tag declares. Texts that are no declarations are left out.
    pub fn declarations(&self) -> Vec<Declaration> {
        self.tags.get(tag::REGISTER).map(|value| Declaration::all_in(value).0).unwrap_or_default()
    }

    /// Reads the registrations that the instance's tags hold. What is older than the instance, it does not hold.
    pub fn held(&self) -> Held {
        let held = Held::of(&self.tags);
        match self.made_at {
            Some(made_at) => held.of_one_made_at(made_at),
            None => held,
        }
    }

    /// Returns whether the instance was made a moment before `now`, so that not all of its tags may show.
    pub fn is_new(&self, now: Timestamp) -> bool {
        self.made_at.is_some_and(|made_at| now - made_at < EVENT_UNDER_WAY)
    }

    /// Returns whether the operator wants the instance left alone.
    pub fn is_ignored(&self) -> bool {
        self.tags.contains_key(tag::IGNORE)
    }

    /// Returns the controller that registers and deregisters what runs on the instance, by the instance's tags and
    /// interfaces.
    pub fn controller(&self) -> Option<Controller> {
        let by_tag = self.tags.keys().find_map(|key| Controller::of_instance(key));
        by_tag.or_else(|| self.interfaces.iter().find_map(|interface| interface.controller))
    }

    /// Returns the Auto Scaling group that the instance is a member of.
    pub fn auto_scaling_group(&self) -> Option<AutoScalingGroupName> {
        self.tags.get(tag::AUTO_SCALING_GROUP).map(|name| name.as_str().into())
    }

    /// Returns the interface that a registration names.
    fn named(&self, address: &Address) -> Option<&Interface> {
        match address {
            Address::Interface(index) => self.interface(*index),
            Address::Attached { interface, .. } => self.interfaces.iter().find(|own| own.id == *interface),
            Address::Literal(_) => None,
        }
    }

    /// Returns the interface with a device index on network card 0. The first one listed may be another: EC2 lists them
    /// in any order.
    fn interface(&self, device_index: u32) -> Option<&Interface> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find(|interface| interface.network_card_index == 0 && interface.device_index == device_index)
    }
}

impl Interface {
    /// Returns whether the interface has an address: it is listed, or in a delegated prefix.
    pub fn has(&self, address: IpAddr) -> bool {
        self.lists(address) || self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    fn listed(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let ipv4 = self.ipv4.iter().map(|(address, _)| IpAddr::V4(*address));
        ipv4.chain(self.ipv6.iter().map(|(address, _)| IpAddr::V6(*address)))
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.listed().any(|own| own == address)
    }

    /// Returns whether an address is the primary one now, and will be as long as the interface has it.
    fn is_certainly_primary(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.primary(Family::V4) == Some(address),
            IpAddr::V6(address) => self.ipv6.contains(&(address, true)),
        }
    }

    /// Returns the primary address of a family. An interface may have none (`efa-only`, or a network of the other
    /// family only).
    fn primary(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => sole_or_primary(&self.ipv4).map(IpAddr::V4),
            Family::V6 => sole_or_primary(&self.ipv6).map(IpAddr::V6),
        }
    }
}

/// Returns the primary address, else the only one. EC2 marks an IPv6 address as primary only if that was asked for.
fn sole_or_primary<A: Copy>(addresses: &[(A, bool)]) -> Option<A> {
    let primary = addresses.iter().find(|(_, is_primary)| *is_primary);
    primary.or(if addresses.len() == 1 { addresses.first() } else { None }).map(|(address, _)| *address)
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;

    use super::*;

    /// Creates a running instance with one interface at 10.0.0.10.
    pub(crate) fn instance(id: &str) -> Instance {
        Instance {
            id: id.into(),
            state: State::Running,
            launch_time: Some(at(0)),
            made_at: None,
            stop_time: None,
            vpc: Some("vpc-1".into()),
            interfaces: vec![interface(0, 0, &["10.0.0.10"], &[])],
            tags: BTreeMap::new(),
        }
    }

    /// Creates an interface whose first IPv4 address is its primary one.
    pub(crate) fn interface(device_index: u32, network_card_index: u32, ipv4: &[&str], ipv6: &[&str]) -> Interface {
        let ipv4 = ipv4.iter().enumerate().map(|(i, a)| (a.parse().unwrap(), i == 0)).collect();
        let ipv6 = ipv6.iter().map(|a| (a.parse().unwrap(), false)).collect();
        let id = format!("eni-{device_index}{network_card_index}");
        let (id, vpc, prefixes, controller) = (id.as_str().into(), Some("vpc-1".into()), Vec::new(), None);
        Interface { id, vpc, controller, device_index, network_card_index, ipv4, ipv6, prefixes }
    }

    /// Returns a time, in seconds of an arbitrary clock.
    pub(crate) fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_767_600_000 + seconds, 0).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn eth0_is_device_0_on_card_0_wherever_it_is_listed() {
        let mut instance = instance("i-1");
        instance.interfaces = vec![
            interface(0, 1, &["10.0.9.9"], &[]),
            interface(1, 0, &["10.0.1.1"], &[]),
            interface(0, 0, &["10.0.0.10", "10.0.0.11"], &["2001:db8::1"]),
        ];
        assert_eq!(instance.look_up(&Address::ETH0, Family::V4), Some(ip("10.0.0.10")));
        assert_eq!(instance.look_up(&Address::ETH0, Family::V6), Some(ip("2001:db8::1")));
        assert_eq!(instance.look_up(&Address::Interface(1), Family::V4), Some(ip("10.0.1.1")));
        instance.interfaces.reverse();
        assert_eq!(instance.look_up(&Address::ETH0, Family::V4), Some(ip("10.0.0.10")));
    }

    #[test]
    fn an_interface_without_addresses_has_no_primary_one() {
        let mut instance = instance("i-1");
        instance.interfaces = vec![interface(0, 0, &[], &[])];
        assert_eq!(instance.look_up(&Address::ETH0, Family::V4), None);
        assert_eq!(instance.look_up(&Address::ETH0, Family::V6), None);
    }

    #[test]
    fn of_several_ipv6_addresses_only_a_marked_one_is_primary() {
        let mut instance = instance("i-1");
        instance.interfaces = vec![interface(0, 0, &[], &["2001:db8::1", "2001:db8::2"])];
        assert_eq!(instance.look_up(&Address::ETH0, Family::V6), None);
        instance.interfaces[0].ipv6[1].1 = true;
        assert_eq!(instance.look_up(&Address::ETH0, Family::V6), Some(ip("2001:db8::2")));
    }

    #[test]
    fn any_interface_but_eth0_is_named_by_its_id_too() {
        let mut instance = instance("i-1");
        instance.interfaces.push(interface(1, 0, &["10.0.1.1", "10.0.1.2"], &[]));
        let named = instance.name_of(ip("10.0.1.1")).unwrap();
        assert_eq!(named.to_string(), "eth1.eni-10");
        assert_eq!(instance.look_up(&named, Family::V4), Some(ip("10.0.1.1")));
        // It is attached in another position, and another interface in its own.
        instance.interfaces[1].device_index = 2;
        instance.interfaces.push(Interface { id: "eni-9".into(), ..interface(1, 0, &["10.0.1.9"], &[]) });
        assert_eq!(instance.look_up(&named, Family::V4), Some(ip("10.0.1.1")));
        assert_eq!(instance.look_up(&Address::Interface(1), Family::V4), Some(ip("10.0.1.9")), "the position");
        instance.interfaces.remove(1);
        assert_eq!(instance.look_up(&named, Family::V4), None);
    }

    #[test]
    fn an_ipv6_address_is_named_by_interface_only_if_it_is_marked() {
        let mut instance = instance("i-1");
        instance.interfaces = vec![interface(0, 0, &[], &["2001:db8::1"])];
        let (one, two) = (ip("2001:db8::1"), ip("2001:db8::2"));
        assert_eq!(instance.name_of(one), Some(Address::Literal(one)));
        assert!(instance.can_mean(&Address::ETH0, one));
        instance.interfaces[0].ipv6.push(("2001:db8::2".parse().unwrap(), false));
        assert!(instance.can_mean(&Address::ETH0, one) && instance.can_mean(&Address::ETH0, two));
        instance.interfaces[0].ipv6[1].1 = true;
        assert_eq!((instance.name_of(one), instance.name_of(two)), (Some(Address::Literal(one)), Some(Address::ETH0)));
        assert!(!instance.can_mean(&Address::ETH0, one) && instance.can_mean(&Address::ETH0, two));
    }

    #[test]
    fn a_primary_address_is_named_by_interface_and_a_secondary_one_literally() {
        let mut instance = instance("i-1");
        instance.interfaces =
            vec![interface(0, 0, &["10.0.0.10", "10.0.0.11"], &[]), interface(0, 1, &["10.0.9.9"], &[])];
        assert_eq!(instance.name_of(ip("10.0.0.10")), Some(Address::ETH0));
        assert_eq!(instance.name_of(ip("10.0.0.11")), Some(Address::Literal(ip("10.0.0.11"))));
        assert_eq!(instance.name_of(ip("10.0.9.9")), Some(Address::Literal(ip("10.0.9.9"))), "card 1 has no symbol");
        assert_eq!(instance.name_of(ip("10.0.0.12")), None);
    }

    #[test]
    fn the_interface_with_the_address_tells_near_from_far() {
        let mut instance = instance("i-1");
        let elsewhere = Interface { vpc: Some("vpc-2".into()), ..interface(1, 0, &["10.9.0.10"], &[]) };
        instance.interfaces.push(elsewhere);
        for (address, vpc, side) in [
            ("10.0.0.10", "vpc-1", Some(Side::Near)),
            ("10.0.0.10", "vpc-2", Some(Side::Far)),
            ("10.9.0.10", "vpc-1", Some(Side::Far)),
            ("10.9.0.10", "vpc-2", Some(Side::Near)),
            ("10.9.0.11", "vpc-2", None),
        ] {
            assert_eq!(instance.side(ip(address), Some(&vpc.into())), side, "{address} seen from {vpc}");
        }
    }

    #[test]
    fn every_address_in_a_delegated_prefix_is_owned_and_named_literally() {
        let mut instance = instance("i-1");
        instance.interfaces[0].prefixes =
            vec!["10.0.0.32/28".parse().unwrap(), "2600:1f18::5:0:0:0/80".parse().unwrap()];
        for (address, is_own) in [("10.0.0.40", true), ("10.0.0.48", false), ("2600:1f18::5:0:0:7", true)] {
            let name = is_own.then(|| Address::Literal(ip(address)));
            assert_eq!((instance.owns(ip(address)), instance.name_of(ip(address))), (is_own, name), "{address}");
        }
    }

    #[test]
    fn a_literal_address_counts_only_while_it_is_owned() {
        let instance = instance("i-1");
        assert_eq!(instance.look_up(&Address::Literal(ip("10.0.0.10")), Family::V4), Some(ip("10.0.0.10")));
        assert_eq!(instance.look_up(&Address::Literal(ip("10.0.0.10")), Family::V6), None);
        assert_eq!(instance.look_up(&Address::Literal(ip("10.0.0.99")), Family::V4), None);
    }
}

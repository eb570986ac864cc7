//! The truth in the simulated AWS, read from its own state: the registrations, their owners, and the registrations that tags
//! hold.
//!
//! It shares no code with the library under test; the text form of a place is written here a second time, from docs/tags.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sandbox::{
    Timestamp, World,
    auto_scaling::{self, LifecycleState},
    ec2::{self, InstanceState},
    elb,
    elbv2::{self, Standing, TargetType},
};

/// One entry of a balancer that is not draining.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `clb:NAME` or `tg:NAME/ID`.
    pub balancer: String,
    /// An instance's id or an address.
    pub id: String,
    /// None at a Classic load balancer.
    pub port: Option<u16>,
    /// The zone of an address outside the group's network: `all`, or one by name.
    pub far_zone: Option<String>,
    /// For QUIC.
    pub quic: Option<String>,
}

/// A place of an instance, in the text form of the tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// Its id.
    pub instance: String,
    /// Such as `tg:web/0123456789abcdef:8080=eth0`.
    pub place: String,
}

/// Returns every entry of every balancer.
pub fn entries(world: &World) -> BTreeSet<Entry> {
    let mut entries = BTreeSet::new();
    for name in world.elb.load_balancers.keys() {
        let balancer = format!("clb:{name}");
        entries.extend(elb::members(world, name).into_iter().map(|id| Entry {
            balancer: balancer.clone(),
            id,
            port: None,
            far_zone: None,
            quic: None,
        }));
    }
    for arn in world.elbv2.target_groups.keys() {
        let balancer = group_of_arn(arn);
        let registered = elbv2::targets(world, arn).into_iter().filter(|target| target.state == Standing::Registered);
        let network = network_of(world, &balancer);
        entries.extend(registered.map(|target| Entry {
            balancer: balancer.clone(),
            far_zone: target.zone.filter(|_| network.as_ref().is_some_and(|vpc| is_outside(world, vpc, &target.id))),
            id: target.id,
            port: target.port,
            quic: target.quic,
        }));
    }
    entries
}

/// Returns `tg:NAME/ID` of a target group's ARN.
pub fn group_of_arn(arn: &str) -> String {
    format!("tg:{}", arn.split_once(":targetgroup/").map_or(arn, |(_, rest)| rest))
}

/// Returns the owner of an entry at this time. An entry of another host, or with a free address, has none in the fleet.
pub fn owner(world: &World, entry: &Entry) -> Option<Owned> {
    let (instance, address) = match entry.id.parse::<IpAddr>() {
        Err(_) => (world.ec2.instance(&entry.id)?, None),
        Ok(address) => {
            let network = network_of(world, &entry.balancer)?;
            let mut all = world.ec2.instances.values().map(|history| history.current());
            // The network of the interface counts, and not that of its instance.
            let is_on_side = |own: &&ec2::Interface| (own.vpc_id == network) == entry.far_zone.is_none();
            let find = |i: &ec2::Instance| i.interfaces.iter().filter(is_on_side).any(|own| bears(own, address));
            let instance = all.find(|i| find(i))?;
            (instance, Some(name_of(instance, address)))
        }
    };
    Some(Owned { instance: instance.id.clone(), place: place(entry, address.as_deref()) })
}

/// Returns the last owner of an entry, by the last instance with each primary address, by network.
pub fn last_owner(world: &World, entry: &Entry, had: &BTreeMap<String, BTreeMap<IpAddr, String>>) -> Option<Owned> {
    let address: IpAddr = entry.id.parse().ok()?;
    let network = network_of(world, &entry.balancer).filter(|_| entry.far_zone.is_none())?;
    let instance = had.get(&network)?.get(&address)?.clone();
    Some(Owned { instance, place: place(entry, Some("eth0")) })
}

fn place(entry: &Entry, address: Option<&str>) -> String {
    let mut place = entry.balancer.clone();
    if let Some(port) = entry.port {
        place.push_str(&format!(":{port}"));
    }
    if let Some(address) = address {
        place.push_str(&format!("={address}"));
    }
    if let Some(zone) = &entry.far_zone {
        place.push_str(&format!("@{zone}"));
    }
    if let Some(quic) = &entry.quic {
        place.push_str(&format!("+{quic}"));
    }
    place
}

/// Returns whether an interface has an address, as one of its own or in a delegated prefix.
pub fn bears(interface: &ec2::Interface, address: IpAddr) -> bool {
    interface.has(address) || interface.was_delegated(address)
}

/// An address is the first one of `eth0`, or the first one of an interface in another network, or has no name.
fn name_of(instance: &ec2::Instance, address: IpAddr) -> String {
    let eth0 = instance.eth0();
    let is_primary = match address {
        IpAddr::V4(address) => eth0.is_some_and(|eth0| eth0.ipv4.first() == Some(&address)),
        IpAddr::V6(address) => eth0.is_some_and(|eth0| eth0.ipv6.first().is_some_and(|(first, _)| *first == address)),
    };
    let is_first = |own: &&ec2::Interface| own.ipv4.first().is_some_and(|first| IpAddr::from(*first) == address);
    let far = instance.interfaces.iter().filter(|own| own.vpc_id != instance.vpc_id).find(is_first);
    match (is_primary, far) {
        (true, _) => "eth0".to_owned(),
        (false, Some(far)) => format!("eth1.{}", far.id),
        (false, None) => address.to_string(),
    }
}

/// Returns whether no subnet of a network has an address.
fn is_outside(world: &World, vpc: &str, address: &str) -> bool {
    let Ok(IpAddr::V4(address)) = address.parse() else { return false };
    let is_in = |subnet: &ec2::Subnet| {
        let (base, length) = subnet.cidr;
        let shift = 32 - u32::from(length);
        u32::from(base).checked_shr(shift) == u32::from(address).checked_shr(shift)
    };
    !world.ec2.subnets.values().any(|subnet| subnet.vpc_id == vpc && is_in(subnet))
}

fn network_of(world: &World, balancer: &str) -> Option<String> {
    let group = world.elbv2.target_groups.values().find(|group| group_of_arn(&group.arn) == balancer)?;
    group.spec.vpc_id.clone().filter(|_| group.spec.target_type == TargetType::Ip)
}

/// Returns how many interfaces of the account have the address of an entry, in any network.
pub fn bearers(world: &World, entry: &Entry) -> usize {
    let Ok(address) = entry.id.parse::<IpAddr>() else { return 1 };
    world.ec2.interfaces.values().filter(|interface| interface.has(address)).count()
}

/// Returns whether the balancer of a place is still there.
pub fn is_there(world: &World, balancer: &str) -> bool {
    match balancer.split_once(':') {
        Some(("clb", name)) => world.elb.load_balancers.contains_key(name),
        _ => world.elbv2.target_groups.keys().any(|arn| group_of_arn(arn) == balancer),
    }
}

/// Returns the balancer of a place: `clb:NAME` or `tg:NAME/ID`.
pub fn balancer_of(place: &str) -> &str {
    match place.strip_prefix("tg:") {
        Some(rest) => rest.find(':').map_or(place, |colon| &place[..3 + colon]),
        None => place,
    }
}

/// Returns the literal address of a place, if it names one.
pub fn literal_of(place: &str) -> Option<IpAddr> {
    let (_, address) = place.split_once('=')?;
    address.split(['@', '+']).next()?.parse().ok()
}

/// Returns every place that instances' tags hold.
pub fn held(world: &World) -> BTreeSet<Owned> {
    let mut held = BTreeSet::new();
    for history in world.ec2.instances.values() {
        let instance = history.current();
        for (_, value) in instance.tags.iter().filter(|(key, _)| is_ours(key) && !is_copied(instance, key)) {
            held.extend(value.split(' ').map(|place| Owned { instance: instance.id.clone(), place: place.to_owned() }));
        }
    }
    held
}

/// Returns the tags of all instances that the functions must not write.
pub fn foreign_tags(world: &World) -> BTreeMap<String, BTreeMap<String, String>> {
    let instances = world.ec2.instances.values().map(|history| history.current());
    instances
        .map(|instance| {
            let foreign = instance.tags.iter().filter(|(key, _)| !is_ours(key) || is_copied(instance, key));
            (instance.id.clone(), foreign.map(|(key, value)| (key.clone(), value.clone())).collect())
        })
        .collect()
}

fn is_ours(key: &str) -> bool {
    key.starts_with("elb-registrar:held")
}

/// Returns whether a held tag is older than its instance: it was copied from another one, gives nothing, and is a person's to
/// delete. A tag of the very second is the instance's own.
fn is_copied(instance: &ec2::Instance, key: &str) -> bool {
    let made_at = instance.eth0().and_then(|eth0| eth0.attachment.as_ref()).map(|attachment| attachment.attached_at);
    let stamp = key.strip_prefix("elb-registrar:held.").and_then(|rest| rest.get(..20));
    let taken_at = stamp.and_then(|stamp| stamp.parse::<Timestamp>().ok());
    made_at.zip(taken_at).is_some_and(|(made_at, taken_at)| taken_at.timestamp() < made_at.timestamp())
}

/// Returns whether an instance does not run, nor is about to.
pub fn is_out(state: InstanceState) -> bool {
    !matches!(state, InstanceState::Running | InstanceState::Pending)
}

/// Returns whether an instance is gone for ever, or going.
pub fn is_dying(state: InstanceState) -> bool {
    matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated)
}

/// Returns every place that instances declare, if there is such a balancer and, for an address, if the address is theirs.
pub fn declared(world: &World) -> BTreeSet<Owned> {
    let mut declared = BTreeSet::new();
    for history in world.ec2.instances.values() {
        let instance = history.current();
        let texts = instance.tags.get("elb-registrar:register").map(String::as_str).unwrap_or_default();
        for text in texts.split_whitespace() {
            let place = match text.strip_prefix("tg:").and_then(|rest| rest.split_once(':')) {
                None => Some(text.to_owned()),
                Some((name, rest)) => elbv2::arn_of(world, name).map(|arn| format!("{}:{rest}", group_of_arn(&arn))),
            };
            // An address that has moved away is reported to a person.
            let has = |address: IpAddr| instance.interfaces.iter().any(|interface| interface.has(address));
            let place = place.filter(|place| literal_of(place).is_none_or(has));
            declared.extend(place.map(|place| Owned { instance: instance.id.clone(), place }));
        }
    }
    declared
}

/// Returns whether an instance is on its way out of its group, and therefore taken out while it still runs.
pub fn is_leaving(world: &World, instance: &str) -> bool {
    use auto_scaling::Course::{ReplaceRootVolume, ReturnToPool, Terminate, TerminateWarmed};
    let course = world.auto_scaling.member(instance).and_then(|member| member.course);
    matches!(course, Some(Terminate | TerminateWarmed | ReturnToPool | ReplaceRootVolume))
}

/// Returns whether an instance's Auto Scaling group keeps it out of service for now.
pub fn is_kept_out(world: &World, instance: &str) -> bool {
    let state = world.auto_scaling.member(instance).map(|member| member.lifecycle_state);
    state.is_some_and(|state| state == LifecycleState::Standby || state.is_resting())
}

/// Returns until when entries of an instance, by its id or one of its addresses, drain.
pub fn draining(world: &World, instance: &str) -> Option<Timestamp> {
    let classic = world.elb.load_balancers.keys().filter_map(|name| elb::draining_until(world, name, instance));
    let found = world.ec2.instance(instance);
    let is_its = |id: &str| {
        let has = |address: IpAddr| found.is_some_and(|i| i.interfaces.iter().any(|own| bears(own, address)));
        id == instance || id.parse().is_ok_and(has)
    };
    let targets = world.elbv2.target_groups.keys().flat_map(|arn| elbv2::targets(world, arn));
    let draining = targets.filter(|target| is_its(&target.id)).filter_map(|target| match target.state {
        Standing::Draining { until } => Some(until),
        Standing::Registered => None,
    });
    classic.chain(draining).max().filter(|until| *until > world.now())
}

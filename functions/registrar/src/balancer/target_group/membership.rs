//! Membership in a target group, decided without a call: which instance an entry is, and how a registration stands.

use std::{collections::BTreeMap, net::IpAddr};

use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};
use protocol::{
    address::{Address, Family},
    id::VpcId,
    instance::{Instance, Side},
    network::Block,
    observed::{AddressTarget, Found, Health, Lasting, Reason, Standing, Target, Wanted},
    registration::{Registration, TargetName, ZONE_ALL},
    tag::Owner,
    target_group::{TargetGroup, TargetType},
};

/// The reason of a target that is `unused`: no load balancer uses its group, or the load balancer is not enabled in the
/// target's zone. <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
const NOT_IN_USE: &str = "Target.NotInUse";

/// One entry of a target group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    id: String,
    port: u16,
    zone: Option<String>,
    quic_id: Option<String>,
    pub(super) is_draining: bool,
    health: Health,
}

/// Reads an entry that is a member, or is ceasing to be one. An `unused` target is a member, unless the balancer says
/// that it never was one.
pub(super) fn member(described: &TargetHealthDescription) -> Option<Member> {
    let target = described.target()?;
    let health = described.target_health()?;
    let reason = health.reason().map(|reason| reason.as_str());
    if reason == Some("Target.NotRegistered") {
        return None;
    }
    let text = [reason, health.description()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Some(Member {
        id: target.id()?.to_owned(),
        port: u16::try_from(target.port()?).ok()?,
        zone: target.availability_zone().map(str::to_owned),
        quic_id: target.quic_server_id().map(str::to_owned),
        is_draining: health.state() == Some(&TargetHealthStateEnum::Draining),
        health: Health {
            state: health.state().map_or("unknown", |state| state.as_str()).to_owned(),
            reason: (!text.is_empty()).then_some(text),
            is_in_vain: matches!(reason, Some(NOT_IN_USE | "Target.HealthCheckDisabled")),
        },
    })
}

/// Returns whether a group has to be asked for these instances.
///
/// A group of type `instance` has only instances of its own VPC. A group of type `ip` can have an address from
/// anywhere.
pub(super) fn can_have_one_of(group: &TargetGroup, instances: &[&Instance]) -> bool {
    match group.target_type {
        // EC2 may not tell any more in which VPC a terminated instance was.
        TargetType::Instance => instances.iter().any(|i| i.vpc.is_none() || i.vpc == group.vpc),
        TargetType::Ip(family) => instances.iter().any(|i| {
            i.addresses().any(|address| family.has(address)) || i.prefixes().any(|prefix| prefix.family() == family)
        }),
        TargetType::Other(_) => false,
    }
}

/// Instances, indexed by what a target can be. So a thousand of them are looked up among the targets of hundreds of
/// groups.
pub(super) struct Index<'i> {
    by_id: BTreeMap<&'i str, &'i Instance>,
    /// Several instances have one address if networks overlap.
    by_address: BTreeMap<IpAddr, Vec<&'i Instance>>,
    /// Prefixes, whose addresses are too many to be listed.
    by_prefix: Vec<(&'i Block, &'i Instance)>,
}

impl<'i> Index<'i> {
    pub(super) fn of(instances: &[&'i Instance]) -> Self {
        let mut by_address: BTreeMap<IpAddr, Vec<&Instance>> = BTreeMap::new();
        for instance in instances {
            for address in instance.addresses() {
                by_address.entry(address).or_default().push(instance);
            }
        }
        let by_id = instances.iter().map(|instance| (instance.id.as_str(), *instance)).collect();
        let prefixes = instances.iter().flat_map(|instance| instance.prefixes().map(|prefix| (prefix, *instance)));
        Self { by_id, by_address, by_prefix: prefixes.collect() }
    }

    /// Returns the instances that have an address, each with the side on which it has it, seen from a group's VPC.
    fn with_address(&self, address: IpAddr, vpc: Option<&VpcId>) -> impl Iterator<Item = (&'i Instance, Side)> {
        let listed = self.by_address.get(&address).into_iter().flatten().copied();
        let in_prefix = self.by_prefix.iter().filter(move |(prefix, _)| prefix.contains(address));
        let all = listed.chain(in_prefix.map(|(_, instance)| *instance));
        all.filter_map(move |instance| Some((instance, instance.side(address, vpc)?)))
    }
}

/// Returns the instance that a member is, if it is one of these.
pub(super) fn claim(group: &TargetGroup, member: &Member, index: &Index<'_>) -> Option<Found> {
    let (instance, address, side) = match group.target_type {
        TargetType::Instance => (*index.by_id.get(member.id.as_str())?, None, Side::Near),
        TargetType::Ip(_) => {
            let address: IpAddr = member.id.parse().ok()?;
            let (instance, side) = owner_of(address, group, member, index)?;
            (instance, Some(instance.name_of(address)?), side)
        }
        TargetType::Other(_) => return None,
    };
    // AWS finds the zone of an address inside the group's VPC by itself, and reports it, too. An address outside was
    // registered with its zone, and has to be registered with the same one again.
    let zone = member.zone.clone().filter(|_| side == Side::Far);
    let (port, quic_id) = (Some(member.port), member.quic_id.clone());
    let vpc = group.vpc.clone().filter(|_| address.is_some());
    let target = Target { id: member.id.clone(), port, zone: zone.clone(), quic_id: quic_id.clone(), vpc };
    let registration = Registration::in_group(group.id.clone(), TargetName { port, address, zone, quic_id });
    Some(Found { instance: instance.id.clone(), registration, target, owner: None, doubt: None })
}

/// Returns the instance that an address in a group can be, and the side on which the instance has it.
///
/// An equal address does not make it the instance's target, because networks overlap. The instance with an interface in
/// the group's VPC has it. If there is none, it can be an instance's in another VPC, which is asked for later
/// ([`protocol::decide::doubt`]). AWS refuses the zone `all` for an address inside.
fn owner_of<'i>(
    address: IpAddr,
    group: &TargetGroup,
    member: &Member,
    index: &Index<'i>,
) -> Option<(&'i Instance, Side)> {
    let on = |side: Side| index.with_address(address, group.vpc.as_ref()).find(|(_, its)| *its == side);
    match member.zone.as_deref() {
        None => on(Side::Near),
        Some(ZONE_ALL) => on(Side::Far),
        Some(_) => on(Side::Near).or_else(|| on(Side::Far)),
    }
}

/// Returns whether a draining member is certainly one of these instances': it is an address inside the group's VPC, or
/// says itself that it is outside.
pub(super) fn is_certain(found: &Found) -> bool {
    found.target.zone.as_deref().is_none_or(|zone| zone == ZONE_ALL)
}

/// Returns the address that a member is, if it is one in the VPC of its group. The zone `all` says that it is outside.
pub(super) fn address_target(group: &TargetGroup, member: &Member) -> Option<AddressTarget> {
    let (TargetType::Ip(_), Some(vpc)) = (&group.target_type, &group.vpc) else { return None };
    if member.is_draining || member.zone.as_deref() == Some(ZONE_ALL) {
        return None;
    }
    let address: IpAddr = member.id.parse().ok()?;
    let quic_id = member.quic_id.clone();
    let name = TargetName {
        port: Some(member.port),
        address: Some(Address::Literal(address)),
        zone: None,
        quic_id: quic_id.clone(),
    };
    let registration = Registration::in_group(group.id.clone(), name);
    // Inside the VPC, AWS has found the zone itself, and a target is identified by its id and port alone.
    let target = Target { id: member.id.clone(), port: Some(member.port), zone: None, quic_id, vpc: Some(vpc.clone()) };
    let (group, vpc, health) = (group.id.clone(), vpc.clone(), member.health.clone());
    Some(AddressTarget { group, vpc, address, target, registration, health })
}

/// Returns the health of a wanted registration, if it is in place. A target with another id for QUIC is not: a client
/// that has the wanted one would not reach the instance.
///
/// With the group, which need not be known, an equal address of a host in the group's VPC is told from the instance's own.
pub(super) fn in_place(wanted: Wanted<'_>, members: &[Member], group: Option<&TargetGroup>) -> Option<Health> {
    let is_elsewhere = |vpc: Option<&VpcId>, ip| wanted.instance.side(ip, vpc) == Some(Side::Far);
    let found = member_of(wanted, members).filter(|found| {
        let near = group.filter(|_| wanted.registration.target.zone.is_none()).zip(found.id.parse().ok());
        near.is_none_or(|(group, ip): (_, IpAddr)| !is_elsewhere(group.vpc.as_ref(), ip))
    })?;
    other_quic_id(wanted, found).is_none().then(|| found.health.clone())
}

/// Returns the id for QUIC that a target has, if another one is wanted.
fn other_quic_id<'m>(wanted: Wanted<'_>, member: &'m Member) -> Option<&'m String> {
    let wanted = wanted.registration.target.quic_id.as_ref()?;
    member.quic_id.as_ref().filter(|found| !found.eq_ignore_ascii_case(wanted))
}

/// Returns the target of a wanted registration, whatever its id for QUIC is. The group's type and family need not be
/// known: a group has targets of one sort only, so any target of the instance that is listed there is the one.
fn member_of<'m>(wanted: Wanted<'_>, members: &'m [Member]) -> Option<&'m Member> {
    let TargetName { port, address, zone, .. } = &wanted.registration.target;
    let is_it = |member: &&Member| {
        // AWS finds the zone of an address inside the group's VPC by itself, and refuses `all` for it. So an address with
        // another zone than the wanted one is another host's.
        let is_of_zone = match zone {
            None => member.zone.as_deref() != Some(ZONE_ALL),
            Some(zone) => member.zone.as_ref().is_none_or(|its| its == zone),
        };
        let is_target = match address {
            None => member.id == wanted.instance.id.as_str(),
            Some(address) => {
                is_of_zone && member.id.parse().is_ok_and(|ip: IpAddr| wanted.instance.can_mean(address, ip))
            }
        };
        is_target && Some(member.port) == *port && !member.is_draining
    };
    members.iter().find(is_it)
}

/// Returns whether the group has to be described before a health can be judged. A zone that is not enabled needs a
/// person, and is waited for.
pub(super) fn may_be_of_a_zone(health: &Health) -> bool {
    health.reason.as_deref().is_some_and(|reason| reason.starts_with(NOT_IN_USE))
}

/// Returns how a registration stands that is not in place.
pub(super) fn standing(wanted: Wanted<'_>, group: &TargetGroup, members: &[Member], owner: Option<Owner>) -> Standing {
    let TargetName { port, address, zone, quic_id } = &wanted.registration.target;
    if let Some(owner) = owner {
        return Standing::Foreign(owner.into());
    }
    let instance = wanted.instance;
    let (id, zone, vpc) = match (&group.target_type, address) {
        (TargetType::Instance, None) if instance.vpc == group.vpc => (instance.id.as_str().to_owned(), None, None),
        (TargetType::Instance, None) => {
            return Standing::Never(Lasting::other_vpc(group.vpc.clone(), instance.vpc.clone()));
        }
        (TargetType::Ip(family), Some(address)) => {
            let Some(ip) = instance.look_up(address, *family) else {
                return no_address(wanted, group, address.clone(), *family);
            };
            let zone = match (instance.side(ip, group.vpc.as_ref()), zone) {
                // Inside the VPC, AWS finds the zone itself, and refuses a request that names another one.
                (Some(Side::Near), _) => None,
                (_, Some(zone)) => Some(zone.clone()),
                // Another interface may get the address, or the operator write the zone.
                (_, None) => {
                    let (balancer, instance) = (group.vpc.clone(), instance.vpc_of(ip).cloned());
                    return Standing::Stuck(Reason::OtherVpc { balancer, instance });
                }
            };
            (ip.to_string(), zone, group.vpc.clone())
        }
        (other, _) => return Standing::Never(Lasting::wrong_target_type(other.clone())),
    };
    if let Some(found) = member_of(wanted, members).and_then(|member| other_quic_id(wanted, member)) {
        let wanted = quic_id.clone().unwrap_or_default();
        return Standing::Stuck(Reason::OtherQuicId { found: found.clone(), wanted });
    }
    // "You must wait for the deregistration delay to complete before you can register the same IP address again". The
    // sentence does not mention ports, so any port of the address counts. An instance id need not wait.
    let is_same_address = |member: &Member| address.is_some() && member.is_draining && same_address(&member.id, &id);
    if members.iter().any(is_same_address) {
        return Standing::Draining { delay: None };
    }
    Standing::Absent(Target { id, port: *port, zone, quic_id: quic_id.clone(), vpc })
}

fn no_address(wanted: Wanted<'_>, group: &TargetGroup, address: Address, family: Family) -> Standing {
    let TargetName { port, zone, quic_id, .. } = wanted.registration.target.clone();
    match address {
        Address::Literal(literal) if wanted.instance.owns(literal) || !family.has(literal) => {
            Standing::Never(Lasting::other_family(address, family))
        }
        Address::Literal(literal) => {
            Standing::Away(Target { id: literal.to_string(), port, zone, quic_id, vpc: group.vpc.clone() })
        }
        Address::Attached { ref interface, .. } if !wanted.instance.has_interface(interface) => {
            Standing::Stuck(Reason::InterfaceGone(address))
        }
        Address::Interface(_) | Address::Attached { .. } => Standing::Stuck(Reason::NoAddress { address, family }),
    }
}

/// Returns whether two texts are one address. IPv6 has several texts for one.
fn same_address(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

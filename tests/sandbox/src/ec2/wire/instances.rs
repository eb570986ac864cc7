//! Instances: launched, started, stopped, terminated, rebooted, described.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        AddressAtRestart, Instance, InstanceState, InterfaceSource, Ipv4Wish, Launch, LaunchInterface,
        launch::{self, ADDRESS_AT_RESTART_TAG},
        launch_template,
        lifecycle::{self, check_start, check_stop, not_found},
        reboot::{check as check_reboot, reboot as reboot_one},
        security_group,
    },
    Window, done,
    filter::Filters,
    hides_managed,
    interfaces::new_interface,
    made_before, named,
    networks::tag_values,
    remember_made,
    shape::{self, Order, item},
    spot, tag_specifications,
};
use crate::{
    clock::Timestamp,
    history::History,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// The filters of DescribeInstances that are modelled, apart from `tag:KEY`.
const FILTERS: [&str; 19] = [
    "instance-id",
    "instance-lifecycle",
    "spot-instance-request-id",
    "instance-state-name",
    "instance-state-code",
    "instance-type",
    "image-id",
    "vpc-id",
    "subnet-id",
    "availability-zone",
    "private-ip-address",
    "ipv6-address",
    "reservation-id",
    "client-token",
    "network-interface.addresses.private-ip-address",
    "network-interface.private-ip-address",
    "network-interface.ipv6-addresses.ipv6-address",
    "network-interface.network-interface-id",
    "tag-key",
];

pub(super) fn run(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let token = params.optional("ClientToken");
    let (least, most) = (required_count(params, "MinCount")?, required_count(params, "MaxCount")?);
    if least == 0 || least > most {
        let message = format!("Value ({least}) for parameter minCount is invalid. It must be between 1 and maxCount");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    let mut tags = tag_specifications(params, &["instance", "network-interface"])?;
    let interface_tags = tags.remove("network-interface").unwrap_or_default();
    let launch = read_launch(world, params, tags.remove("instance").unwrap_or_default(), token.as_deref())?;
    if let Some(ids) = made_before(world, token.as_deref(), params)? {
        return reservation_of(world, &ids);
    }
    if most > 1 && !launch.interfaces.iter().all(is_repeatable) {
        let message = "Network interfaces with fixed addresses can be given to one instance only";
        return Err(ApiError::sender("InvalidParameterCombination", message));
    }
    let ids = launch::create(world, launch, most)?;
    for id in &ids {
        let interfaces = world.ec2.instance(id).map(|instance| instance.interfaces.clone()).unwrap_or_default();
        for interface in interfaces.iter().filter(|_| !interface_tags.is_empty()) {
            world.ec2.tags.insert(interface.id.clone(), interface_tags.clone());
        }
        lifecycle::enter_pending(world, id);
    }
    remember_made(world, token, params, &ids);
    reservation_of(world, &ids)
}

fn required_count(params: &Params, name: &str) -> Result<usize, ApiError> {
    params.required(name)?;
    Ok(params.parsed(name)?.unwrap_or_default())
}

fn is_repeatable(interface: &LaunchInterface) -> bool {
    match &interface.source {
        InterfaceSource::Existing(_) => false,
        InterfaceSource::New(_, new) => !matches!(new.ipv4, Ipv4Wish::Exactly(_)) && new.ipv6.is_empty(),
    }
}

fn read_launch(
    world: &World,
    params: &Params,
    tags: BTreeMap<String, String>,
    token: Option<&str>,
) -> Result<Launch, ApiError> {
    let interfaces: Result<Vec<_>, ApiError> = params.list("NetworkInterface").iter().map(read_interface).collect();
    let mut interfaces = interfaces?;
    let (subnet_id, plain) = (params.optional("SubnetId"), new_interface(params)?);
    if interfaces.is_empty() {
        let source = InterfaceSource::New(None, plain);
        interfaces.push(LaunchInterface { device_index: 0, network_card_index: 0, source });
    } else if subnet_id.is_some() || plain.ipv4 != Ipv4Wish::Automatic || plain.ipv6_count > 0 || !plain.ipv6.is_empty()
    {
        let message =
            "Network interfaces and an instance-level subnet ID or address may not be specified on the same request";
        return Err(ApiError::sender("InvalidParameterCombination", message));
    }
    let subnet_id = subnet_id.or_else(|| subnet_of_eth0(world, &interfaces)).ok_or_else(|| {
        ApiError::sender(
            "VPCIdNotSpecified",
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
        )
    })?;
    let security_groups = params.texts("SecurityGroupId");
    if let Some(unknown) = security_groups.iter().find(|id| !world.ec2.security_groups.contains_key(*id)) {
        return Err(security_group::not_found(unknown));
    }
    // What runs in an instance is not modelled, nor how it reads its own metadata.
    let _ = (params.optional("UserData"), params.structure("MetadataOptions").optional("HttpTokens"));
    let renewed = tags.get(ADDRESS_AT_RESTART_TAG).is_some_and(|value| value == "renewed");
    Ok(Launch {
        image_id: launch_template::image_of(params.required("ImageId")?),
        // EC2's own default (botocore, RunInstances).
        instance_type: params.optional("InstanceType").unwrap_or_else(|| "m1.small".to_owned()),
        tags,
        address_at_restart: if renewed { AddressAtRestart::Renewed } else { AddressAtRestart::Kept },
        interfaces,
        client_token: token.unwrap_or_default().to_owned(),
        security_groups,
        market: spot::market(params)?,
        ..Launch::new(&subnet_id)
    })
}

fn read_interface(params: &Params) -> Result<LaunchInterface, ApiError> {
    let device_index = params.parsed("DeviceIndex")?.unwrap_or(0);
    let network_card_index = params.parsed("NetworkCardIndex")?.unwrap_or(0);
    if params.parsed("DeleteOnTermination")? == Some(false) {
        return Err(ApiError::not_modelled("DeleteOnTermination=false of a new interface"));
    }
    let (subnet_id, new) = (params.optional("SubnetId"), new_interface(params)?);
    let source = match params.optional("NetworkInterfaceId") {
        Some(id) => InterfaceSource::Existing(id),
        None => InterfaceSource::New(subnet_id, new),
    };
    Ok(LaunchInterface { device_index, network_card_index, source })
}

fn subnet_of_eth0(world: &World, interfaces: &[LaunchInterface]) -> Option<String> {
    let eth0 = interfaces.iter().find(|i| (i.device_index, i.network_card_index) == (0, 0))?;
    match &eth0.source {
        InterfaceSource::New(subnet_id, _) => subnet_id.clone(),
        InterfaceSource::Existing(id) => world.ec2.interfaces.get(id).map(|interface| interface.subnet_id.clone()),
    }
}

fn reservation_of(world: &mut World, ids: &[String]) -> Result<Element, ApiError> {
    let instances: Vec<_> = ids.iter().filter_map(|id| world.ec2.instance(id).cloned()).collect();
    let reservation_id = ids.first().map(|id| reservation_id(world, id)).unwrap_or_default();
    let mut order = Order::draw(world);
    Ok(Element::result().append(&shape::reservation(world, &reservation_id, &instances, &mut order)))
}

fn reservation_id(world: &World, id: &str) -> String {
    world.ec2.launches.get(id).map(|facts| facts.reservation_id.clone()).unwrap_or_default()
}

pub(super) fn start(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    change_states(world, params, check_start, lifecycle::start)
}

pub(super) fn stop(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    // Hibernation looks the same from outside: stopping, stopped. Force only skips the operating system's shutdown.
    params.parsed::<bool>("Force")?;
    params.parsed::<bool>("Hibernate")?;
    change_states(world, params, check_stop, lifecycle::stop)
}

pub(super) fn terminate(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    params.parsed::<bool>("Force")?;
    change_states(world, params, |_, _| Ok(()), lifecycle::terminate)
}

/// Changes the states of instances. If one id is unknown, or one instance in a wrong state, none is changed.
fn change_states(
    world: &mut World,
    params: &Params,
    check: fn(&World, &str) -> Result<(), ApiError>,
    change: fn(&mut World, &str) -> Result<(), ApiError>,
) -> Result<Element, ApiError> {
    let ids = named(params, "InstanceId", "InstanceId")?;
    refuse_unknown(&ids, |id| world.ec2.instance(id).is_some())?;
    ids.iter().try_for_each(|id| check(world, id))?;
    let mut changes = Vec::new();
    for id in &ids {
        let before = lifecycle::existing(world, id)?.state;
        change(world, id)?;
        let after = lifecycle::existing(world, id)?.state;
        changes.push(
            item()
                .text("instanceId", id)
                .child(shape::state("currentState", after))
                .child(shape::state("previousState", before)),
        );
    }
    Ok(Element::result().list("instancesSet", Order::draw(world).vary(changes)))
}

/// No event tells of it, and the description shows neither another state nor another launch time.
pub(super) fn reboot(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = named(params, "InstanceId", "InstanceId")?;
    refuse_unknown(&ids, |id| world.ec2.instance(id).is_some())?;
    ids.iter().try_for_each(|id| check_reboot(world, id))?;
    ids.iter().try_for_each(|id| reboot_one(world, id))?;
    Ok(done())
}

pub(super) fn describe(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let ids = params.texts("InstanceId");
    let (filters, hides_managed) = (Filters::read(params, &FILTERS)?, hides_managed(world, params)?);
    let window = Window::read(world, params, &ids, "instancesSet")?;
    let is_hidden =
        |id: &str| hides_managed && world.ec2.launches.get(id).is_some_and(|facts| facts.operator.is_some());
    let seen = |history: &History<Instance>| history.seen_at(as_of).filter(|one| !is_hidden(&one.id)).cloned();
    // A stale read answers an instance that it does not see yet as unknown, as EC2 does after a launch.
    refuse_unknown(&ids, |id| world.ec2.instances.get(id).is_some_and(|history| seen(history).is_some()))?;
    let wanted: BTreeSet<_> = ids.iter().collect();
    let instances = world.ec2.instances.iter().filter(|(id, _)| wanted.is_empty() || wanted.contains(id));
    let instances = instances
        .filter_map(|(id, history)| Some((id.clone(), seen(history)?)))
        .filter(|(_, instance)| filters.match_all(|name| attribute(world, instance, name)));
    let page = window.cut(instances.collect())?;
    let mut reservations: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
    for instance in page.elements {
        reservations.entry(reservation_id(world, &instance.id)).or_default().push(instance);
    }
    let mut order = Order::draw(world);
    let reservations: Vec<_> =
        reservations.iter().map(|(id, instances)| shape::reservation(world, id, instances, &mut order)).collect();
    Ok(Element::result().list("reservationSet", order.vary(reservations)).optional("nextToken", page.next))
}

/// Returns an instance's values under a filter's name.
fn attribute(world: &World, instance: &Instance, filter: &str) -> Vec<String> {
    let placed = instance.state != InstanceState::Terminated;
    let facts = world.ec2.launches.get(&instance.id).cloned().unwrap_or_default();
    let interfaces = instance.interfaces.iter();
    match filter {
        "instance-id" => vec![instance.id.clone()],
        "instance-lifecycle" => facts.market.lifecycle().map(str::to_owned).into_iter().collect(),
        "spot-instance-request-id" => facts.spot_request.into_iter().collect(),
        "instance-state-name" => vec![instance.state.name().to_owned()],
        "instance-state-code" => vec![instance.state.code().to_string()],
        "instance-type" => vec![facts.instance_type],
        "image-id" => vec![facts.image_id],
        "reservation-id" => vec![facts.reservation_id],
        "client-token" => vec![facts.client_token],
        "vpc-id" => placed.then(|| instance.vpc_id.clone()).into_iter().collect(),
        "subnet-id" => placed.then(|| instance.subnet_id.clone()).into_iter().collect(),
        "availability-zone" => vec![instance.zone.clone()],
        "private-ip-address" => instance.primary_ipv4().iter().map(ToString::to_string).collect(),
        "network-interface.private-ip-address" => {
            interfaces.filter_map(|one| one.ipv4.first()).map(ToString::to_string).collect()
        }
        "network-interface.addresses.private-ip-address" => {
            interfaces.flat_map(|one| &one.ipv4).map(ToString::to_string).collect()
        }
        "ipv6-address" | "network-interface.ipv6-addresses.ipv6-address" => {
            interfaces.flat_map(|one| &one.ipv6).map(|(address, _)| address.to_string()).collect()
        }
        "network-interface.network-interface-id" => interfaces.map(|one| one.id.clone()).collect(),
        name => tag_values(&instance.tags, name),
    }
}

/// Refuses the whole call if one id is malformed or unknown.
pub(super) fn refuse_unknown(ids: &[String], is_known: impl Fn(&str) -> bool) -> Result<(), ApiError> {
    if let Some(id) = ids.iter().find(|id| !is_well_formed(id)) {
        return Err(ApiError::sender("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let unknown: Vec<_> = ids.iter().map(String::as_str).filter(|id| !is_known(id)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(not_found(&unknown)) }
}

/// `i-` and eight or seventeen hexadecimal digits.
fn is_well_formed(id: &str) -> bool {
    let digits = id.strip_prefix("i-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

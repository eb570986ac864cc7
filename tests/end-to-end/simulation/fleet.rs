//! Sets the stage for a plan: networks, balancers, strangers, instances, and the Auto Scaling group of its members.

use std::{net::Ipv4Addr, time::Duration};

use sandbox::{
    Options, Span, World,
    auto_scaling::{self, AttachedBy, GroupSpec, HookSpec, LifecycleState, TrafficSource, TrafficSourceKind},
    ec2::{self, Ipv4Wish, Launch, NewInterface},
    elb,
    elbv2::{self, Kind, Target, TargetGroupSpec, TargetType},
    wire::ApiError,
};

use super::plan::{Balancer, BalancerKind, Group, Guardian, Instance, Plan, Weather};
use crate::Stage;

/// The first address of the subnet that Amazon Elastic VMware Service has.
const VMWARE_SUBNET: Ipv4Addr = Ipv4Addr::new(10, 0, 200, 0);

/// The name of the Auto Scaling group.
pub const GROUP: &str = "fleet";

/// Seconds that an instance waits at a hook without a heartbeat. A hook "with a heartbeat timeout of less than 12 minutes" may
/// run out if a function was killed (docs/limits.md).
pub const HEARTBEAT: u32 = 900;

/// Returns the stage of a plan, with everything on it.
pub fn stage(plan: &Plan) -> Stage {
    let stage = Stage::with(options(plan.seed, plan.weather), &[]);
    stage.world(|world| set(world, plan, &stage.vpc, &stage.subnet)).expect("a plan draws only what AWS accepts");
    stage
}

fn options(seed: u64, weather: Weather) -> Options {
    let Weather { is_quick, same_address_while_draining, page_size, .. } = weather;
    let usual = Options { seed, same_address_while_draining, page_size, ..Options::default() };
    if !is_quick {
        return usual;
    }
    Options {
        starting: Span::milliseconds(500, 3_000),
        stopping: Span::milliseconds(500, 3_000),
        event_delay: Span::milliseconds(10, 3_000),
        latency: Span::milliseconds(5, 400),
        ..usual
    }
}

fn set(world: &mut World, plan: &Plan, vpc: &str, subnet: &str) -> Result<(), ApiError> {
    let far = ec2::create_vpc(world, "172.16.0.0/16");
    ec2::create_subnet(world, &far, "us-east-1a", "172.16.0.0/24");
    // A network with the same addresses, whose hosts must not be taken for ours.
    let twin = ec2::create_vpc(world, "10.0.0.0/16");
    let twin_subnet = ec2::create_subnet(world, &twin, "us-east-1a", "10.0.0.0/24");
    let mut sources = Vec::new();
    for balancer in &plan.balancers {
        let vpc = if matches!(balancer.kind, BalancerKind::Far | BalancerKind::FarInZone) { &far } else { vpc };
        create(world, balancer, vpc)?;
        sources.extend(source(world, balancer));
    }
    auto_scaling::create_group(world, GroupSpec { traffic_sources: sources, ..group(&plan.group, subnet) })?;
    for (number, instance) in plan.instances.iter().enumerate() {
        // A renewed instance has a subnet of its own, so that the addresses it gives back go to no other.
        let subnet = match instance.is_renewed {
            true => ec2::create_subnet(world, vpc, "us-east-1a", &format!("10.0.{}.0/24", number + 1)),
            false => subnet.to_owned(),
        };
        launch(world, instance, &subnet)?;
    }
    for balancer in plan.balancers.iter().filter(|balancer| balancer.has_strangers) {
        add_strangers(world, balancer, subnet, &twin, &twin_subnet)?;
    }
    Ok(())
}

fn create(world: &mut World, balancer: &Balancer, vpc: &str) -> Result<(), ApiError> {
    let Balancer { name, kind, drains, guardian, .. } = balancer;
    let tag = match guardian {
        Some(Guardian::Operator) => Some("elb-registrar:ignore"),
        Some(Guardian::Kubernetes) if *kind == BalancerKind::Classic => Some("kubernetes.io/cluster/prod"),
        Some(Guardian::Kubernetes) => Some("elbv2.k8s.aws/cluster"),
        Some(Guardian::AutoScaling) | None => None,
    };
    let mut spec = match kind {
        BalancerKind::Classic => {
            elb::create(world, name, vpc, &["us-east-1a"])?;
            elb::drain_for(world, name, (*drains > 0).then(|| Duration::from_secs(*drains)))?;
            if let Some((key, balancer)) = tag.zip(world.elb.load_balancers.get_mut(name)) {
                balancer.spec.tags.insert(key.to_owned(), "prod".to_owned());
            }
            return Ok(());
        }
        BalancerKind::Instances => TargetGroupSpec::instances(name, vpc, 80),
        BalancerKind::Quic => TargetGroupSpec::new(name, TargetType::Instance, Some("QUIC"), Some(443), Some(vpc)),
        BalancerKind::Addresses | BalancerKind::Far | BalancerKind::FarInZone => {
            TargetGroupSpec::addresses(name, vpc, 443)
        }
        BalancerKind::Ipv6 => TargetGroupSpec::addresses(name, vpc, 443).ipv6(),
    };
    if let Some(key) = tag {
        spec = spec.tag(key, "prod");
    }
    let group = elbv2::create_target_group(world, spec)?;
    elbv2::set_deregistration_delay(world, &group, Duration::from_secs(*drains))?;
    let kind = if *kind == BalancerKind::Quic { Kind::Network } else { Kind::Application };
    let front = elbv2::create_load_balancer(world, kind, &format!("{name}-lb"), vpc)?;
    elbv2::attach(world, &group, &front, 443).map(drop)
}

fn source(world: &World, balancer: &Balancer) -> Option<TrafficSource> {
    let is_attached = balancer.guardian == Some(Guardian::AutoScaling);
    let (kind, identifier) = match balancer.kind {
        BalancerKind::Classic => (TrafficSourceKind::Classic, balancer.name.clone()),
        _ => (TrafficSourceKind::TargetGroup, elbv2::arn_of(world, &balancer.name)?),
    };
    is_attached.then_some(TrafficSource { kind, identifier, attached_by: AttachedBy::LoadBalancerOperation })
}

fn group(group: &Group, subnet: &str) -> GroupSpec {
    let spec = GroupSpec::new(GROUP, subnet).tag("elb-registrar:register", &group.declares.join(" "));
    match group.has_hooks {
        true => spec
            .hook(HookSpec::launching("elb-registrar-launch").heartbeat(HEARTBEAT))
            .hook(HookSpec::terminating("elb-registrar-terminate").heartbeat(HEARTBEAT)),
        false => spec,
    }
}

/// Returns a primary interface in a subnet: with an IPv6 address if the subnet has some.
pub fn interface_in(world: &World, subnet: &str) -> NewInterface {
    let has_ipv6 = world.ec2.subnets.get(subnet).is_some_and(|subnet| subnet.ipv6_cidr.is_some());
    NewInterface { ipv6_count: usize::from(has_ipv6), primary_ipv6: has_ipv6, ..NewInterface::default() }
}

fn launch(world: &mut World, instance: &Instance, subnet: &str) -> Result<(), ApiError> {
    let secondary = usize::from(instance.has_floating);
    let new = NewInterface { secondary_ipv4_count: secondary, ..interface_in(world, subnet) };
    let launch = Launch::new(subnet).tag("Name", &instance.name).interface(0, 0, new);
    let launch = match instance.has_other_interfaces {
        true => launch.interface(1, 0, NewInterface::default()).interface(0, 1, NewInterface::default()),
        false => launch,
    };
    let launch = if instance.is_renewed { launch.renewed() } else { launch };
    let launch = if instance.is_ignored { launch.tag("elb-registrar:ignore", "") } else { launch };
    let id = ec2::launch_running(world, launch)?;
    if instance.is_member {
        auto_scaling::add_member(world, GROUP, &id, LifecycleState::InService)?;
    }
    Ok(())
}

/// Adds hosts that are not instances beside ours, and hosts in another network with addresses like ours.
fn add_strangers(
    world: &mut World,
    balancer: &Balancer,
    subnet: &str,
    twin: &str,
    twin_subnet: &str,
) -> Result<(), ApiError> {
    let Balancer { name, kind, .. } = balancer;
    if *kind != BalancerKind::Addresses {
        return Ok(());
    }
    let arn = elbv2::arn_of(world, name).unwrap_or_default();
    let task = ec2::create_interface(world, subnet, NewInterface::default())?;
    let task = world.ec2.interfaces[&task].ipv4[0];
    elbv2::register(world, &arn, Target::new(task))?;
    // A host of VMware, which no interface of EC2 shows.
    let network = world.ec2.subnets[subnet].vpc_id.clone();
    let of_vmware = match world.ec2.subnets.values().find(|subnet| subnet.cidr.0 == VMWARE_SUBNET) {
        Some(subnet) => subnet.id.clone(),
        None => ec2::create_subnet(world, &network, "us-east-1a", &format!("{VMWARE_SUBNET}/24")),
    };
    ec2::use_subnet_for_vmware(world, &of_vmware);
    elbv2::register(world, &arn, Target::new(Ipv4Addr::from(u32::from(VMWARE_SUBNET) + 7)))?;
    let theirs = elbv2::create_target_group(world, TargetGroupSpec::addresses(&format!("{name}-twin"), twin, 443))?;
    let ours: Vec<_> = world.ec2.instances.values().filter_map(|history| history.current().primary_ipv4()).collect();
    let in_subnet = world.ec2.subnets[twin_subnet].cidr.0.octets();
    for address in ours.into_iter().filter(|address| address.octets()[..3] == in_subnet[..3]) {
        let is_taken = world.ec2.interface_with(twin, address.into()).is_some();
        if !is_taken {
            let wish = NewInterface { ipv4: Ipv4Wish::Exactly(address), ..NewInterface::default() };
            ec2::create_interface(world, twin_subnet, wish)?;
        }
        elbv2::register(world, &theirs, Target::new(address))?;
    }
    Ok(())
}

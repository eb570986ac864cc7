//! An address belongs to the interface that has it: near and far of a target, delegated prefixes, addresses that move.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use end_to_end::{Setting, Stage};
use sandbox::{
    auto_scaling::{GroupSpec, HookSpec},
    ec2::{self, Ipv4Wish, Launch, NewInterface, Prefix},
    elbv2::TargetGroupSpec,
};
use serde_json::Value;

/// Creates another network with one subnet, and returns both ids.
fn other_network(stage: &Stage, cidr: &str) -> (String, String) {
    stage.world(|world| {
        let vpc = ec2::create_vpc(world, cidr);
        let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", cidr);
        (vpc, subnet)
    })
}

/// Creates an interface that is attached to nothing.
fn interface(stage: &Stage, subnet: &str, address: [u8; 4]) -> String {
    let new = NewInterface { ipv4: Ipv4Wish::Exactly(Ipv4Addr::from(address)), ..NewInterface::default() };
    stage.world(|world| ec2::create_interface(world, subnet, new)).expect("a free address")
}

/// Creates an interface of an instance at a position.
fn attach(stage: &Stage, instance: &str, index: u32, subnet: &str, address: [u8; 4]) -> String {
    let (eni, id) = (interface(stage, subnet, address), stage.id(instance));
    stage.world(|world| ec2::attach_interface(world, &eni, &id, index, 0)).expect("attachable");
    eni
}

fn eth0(stage: &Stage, instance: &str) -> String {
    let id = stage.id(instance);
    stage.world(|world| world.ec2.instance(&id).and_then(|i| i.eth0()).expect("eth0").id.clone())
}

/// Sets a stage with an instance outside the network of the group `edge`, whose load balancer has cross-zone off.
fn far_away(settings: &[Setting]) -> Stage {
    let stage = Stage::with_settings(settings);
    let (_, subnet) = other_network(&stage, "10.9.0.0/24");
    stage.addresses_group("edge").launch("far-1", Launch::new(&subnet));
    stage
}

/// Returns what a report says of an instance under some keys, as text.
fn said(stage: &Stage, report: &Value, instance: &str) -> String {
    report["instances"][stage.id(instance)].to_string()
}

#[tokio::test(start_paused = true)]
async fn an_outside_target_with_a_named_zone_is_taken_and_given_back() {
    let stage = far_away(&[]);
    stage.registered("far-1", "tg:edge:443=eth0@us-east-1a");
    stage.stop_and_rest("far-1").await;
    assert_eq!(
        (stage.members("tg:edge").len(), stage.held("far-1")),
        (0, vec!["tg:edge:443=eth0@us-east-1a".to_owned()])
    );
    stage.start_and_rest("far-1").await;
    assert_eq!((stage.members("tg:edge"), stage.held("far-1").len()), (vec!["10.9.0.10:443".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_an_outside_target_with_a_named_zone() {
    let stage = far_away(&[]);
    stage.deliver_only(&[]).registered("far-1", "tg:edge:443=eth0@us-east-1a").stop_and_rest("far-1").await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:edge"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_with_a_named_zone_is_taken_out_again() {
    let stage = far_away(&[]);
    stage.tagged("far-1", "elb-registrar:register", "tg:edge:443=eth0@us-east-1a");
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:edge").len(), 1, "{}", stage.describe());
    stage.stop_and_rest("far-1").await;
    assert_eq!(stage.members("tg:edge"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_waits_until_an_outside_member_with_a_zone_is_drained() {
    let stage = Stage::new();
    let (_, subnet) = other_network(&stage, "10.9.0.0/24");
    stage.addresses_group("edge").drains("edge", 60);
    let spec = GroupSpec::new("fleet", &subnet)
        .tag("elb-registrar:register", "tg:edge:443=eth0@us-east-1a")
        .hook(HookSpec::launching("elb-registrar-in").heartbeat(600))
        .hook(HookSpec::terminating("elb-registrar-out").heartbeat(600))
        .desired(1);
    stage.fleet(spec).rest().await;
    assert_eq!(stage.members("tg:edge").len(), 1, "{}", stage.describe());
    stage.wants("fleet", 0).rest().await;
    let ended = stage.ended_actions().last().cloned().expect("an action");
    let waited = (ended.ended - ended.action.begun).num_seconds();
    assert!(
        waited >= 60 && stage.members("tg:edge").is_empty(),
        "let go after {waited} s: {:?}",
        stage.members("tg:edge")
    );
}

#[tokio::test(start_paused = true)]
async fn an_outside_address_that_two_interfaces_have_is_left_alone() {
    let stage = far_away(&[]);
    let (_, twin) = other_network(&stage, "10.9.0.0/24");
    interface(&stage, &twin, [10, 9, 0, 10]);
    stage.deliver_only(&[]).registered("far-1", "tg:edge:443=eth0@us-east-1a").stop_and_rest("far-1").await;
    let report = stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:edge").len(), 1);
    assert!(said(&stage, &report, "far-1").contains("address of another interface, too"), "{report:#}");
}

#[tokio::test(start_paused = true)]
async fn an_outside_address_is_not_given_back_while_another_interface_has_it() {
    let stage = far_away(&[]);
    let (_, twin) = other_network(&stage, "10.9.0.0/24");
    stage.registered("far-1", "tg:edge:443=eth0@us-east-1a").stop_and_rest("far-1").await;
    let other = interface(&stage, &twin, [10, 9, 0, 10]);
    stage.start_and_rest("far-1").await;
    assert_eq!((stage.members("tg:edge").len(), stage.held("far-1").len()), (0, 1), "it may be the other's");
    let report = stage.sweep().await.expect("a report");
    assert!(
        report["instances"][stage.id("far-1")]["needs_a_person"].to_string().contains("another interface"),
        "{report:#}"
    );
    stage.world(|world| ec2::delete_interface(world, &other)).expect("deleted");
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:edge"), ["10.9.0.10:443"]);
}

#[tokio::test(start_paused = true)]
async fn an_equal_address_of_the_groups_own_network_is_another_hosts() {
    for is_alive in [true, false] {
        let stage = Stage::new();
        let (_, twin) = other_network(&stage, "10.0.0.0/24");
        stage.addresses_group("edge").launch("twin-1", Launch::new(&twin)).instance("near-1");
        stage.registered("near-1", "tg:edge:443=eth0").deliver_only(&[]);
        if !is_alive {
            // Nothing but the subnet tells then that the target is not the twin's.
            stage.terminate("near-1").rest().await;
        }
        stage.stop_and_rest("twin-1").await;
        let report = stage.sweep().await.expect("a report");
        assert_eq!(stage.members("tg:edge"), ["10.0.0.10:443"], "alive: {is_alive}");
        assert!(!said(&stage, &report, "twin-1").contains("tg:edge"), "nothing is said of it: {report:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_in_the_groups_network_is_near_wherever_its_instance_is() {
    let stage = Stage::new();
    let (vpc, elsewhere) = other_network(&stage, "10.9.0.0/24");
    stage.group(TargetGroupSpec::addresses("inner", &vpc, 443)).instance("router");
    attach(&stage, "router", 1, &elsewhere, [10, 9, 0, 50]);
    stage.registered("router", "tg:inner:443=10.9.0.50");
    stage.stop_and_rest("router").await;
    assert_eq!((stage.members("tg:inner").len(), stage.held("router").len()), (0, 1), "{:?}", stage.answers().last());
    stage.start_and_rest("router").await;
    assert_eq!((stage.members("tg:inner"), stage.held("router").len()), (vec!["10.9.0.50:443".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_interface_does_not_make_an_equal_address_its_instances() {
    let stage = Stage::new();
    let (_, twin) = other_network(&stage, "10.0.0.0/24");
    stage.addresses_group("edge").instance("router").instance("host");
    // The router's second interface has, in another network, the address of the host.
    let id = stage.id("host");
    let address =
        stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("an address");
    attach(&stage, "router", 1, &twin, address.octets());
    stage.registered("host", "tg:edge:443=eth0").stop_and_rest("router").await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.places("host"), ["tg:edge:443=eth0"]);
}

#[tokio::test(start_paused = true)]
async fn addresses_in_delegated_prefixes_are_taken_and_given_back() {
    let stage = Stage::new();
    stage.addresses_group("edge").group(TargetGroupSpec::addresses("six", &stage.vpc, 443).ipv6()).instance("node");
    let subnet = stage.world(|world| world.ec2.subnets[&stage.subnet].ipv6_cidr.expect("IPv6").0);
    let base = Ipv6Addr::from(u128::from(subnet) | 5 << 48);
    let six = IpAddr::from(Ipv6Addr::from(u128::from(base) | 7));
    let eni = eth0(&stage, "node");
    stage.world(|world| {
        ec2::delegate_prefix(world, &eni, Prefix::V4(Ipv4Addr::new(10, 0, 0, 32), 28)).expect("a prefix");
        ec2::delegate_prefix(world, &eni, Prefix::V6(base, 80)).expect("a prefix");
    });
    stage.registered("node", "tg:edge:443=10.0.0.40").registered("node", &format!("tg:six:443={six}"));
    stage.stop_and_rest("node").await;
    assert_eq!((stage.members("tg:edge").len(), stage.members("tg:six").len()), (0, 0), "{:?}", stage.answers().last());
    assert_eq!(stage.held("node"), ["tg:edge:443=10.0.0.40".to_owned(), format!("tg:six:443={six}")]);
    stage.start_and_rest("node").await;
    assert_eq!((stage.members("tg:edge").len(), stage.members("tg:six").len()), (1, 1), "{:?}", stage.answers().last());
}

#[tokio::test(start_paused = true)]
async fn an_address_beside_a_delegated_prefix_is_another_hosts() {
    let stage = Stage::new();
    stage.addresses_group("edge").instance("node");
    let eni = eth0(&stage, "node");
    let prefix = Prefix::V4(Ipv4Addr::new(10, 0, 0, 32), 28);
    stage.world(|world| ec2::delegate_prefix(world, &eni, prefix)).expect("a prefix");
    interface(&stage, &stage.subnet, [10, 0, 0, 48]);
    stage.registered("node", "tg:edge:443=10.0.0.48").stop_and_rest("node").await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:edge"), ["10.0.0.48:443"]);
}

//! An address belongs to the interface that has it: near and far of a target, delegated prefixes, addresses that move.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use end_to_end::{Setting, Stage};
use sandbox::{
    Verdict, World,
    auto_scaling::{ActionResult, Ending, GroupSpec, HookSpec},
    ec2::{self, Ipv4Wish, Launch, NewInterface, Prefix},
    elbv2::{self, TargetGroupSpec},
    fault::kth,
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
async fn a_launch_is_not_continued_for_another_hosts_equal_address() {
    let stage = Stage::new();
    let (_, twin) = other_network(&stage, "10.0.0.0/24");
    stage.addresses_group("edge").instance("near-1").registered("near-1", "tg:edge:443=eth0");
    let hook = HookSpec::launching("elb-registrar-in").heartbeat(120).metadata(r#"{"register": ["tg:edge:443=eth0"]}"#);
    stage.fleet(GroupSpec::new("fleet", &twin).hook(hook).desired(1));
    stage.until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
    let ended = stage.ended_actions().remove(0);
    let address = stage.world(|world| {
        world.ec2.instance(&ended.action.instance_id).and_then(ec2::Instance::primary_ipv4).map(|ip| ip.to_string())
    });
    assert_eq!(stage.members("tg:edge"), [format!("{}:443", address.unwrap_or_default())], "the addresses are equal");
    assert_eq!(ended.ending, Ending::Completed(ActionResult::Abandon), "{:?}", stage.answers().last());
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

const VIP: [u8; 4] = [10, 0, 0, 99];

/// Sets a stage with two hosts, of which `active` has a floating address that is registered.
fn pair() -> Stage {
    let stage = Stage::new();
    stage.addresses_group("vip").drains("vip", 30).instance("active").instance("standby");
    let active = eth0(&stage, "active");
    stage.world(|world| ec2::assign_address(world, &active, IpAddr::from(VIP))).expect("assigned");
    stage.registered("active", "tg:vip:443=10.0.0.99");
    stage
}

/// Moves the floating address to a host, as fail-over software does.
fn move_to(stage: &Stage, host: &str) {
    let to = eth0(stage, host);
    stage.world(|world| ec2::move_address(world, IpAddr::from(VIP), &to)).expect("moved");
}

fn called(action: &'static str) -> impl Fn(&World) -> bool {
    move |world| world.calls.iter().any(|call| call.action == action)
}

/// Stops the active host, and moves the floating address to the other one as soon as it is deregistered.
async fn fail_over(stage: &Stage) {
    stage.stop("active").until("taken", called("DeregisterTargets")).await;
    move_to(stage, "standby");
    stage.rest().await;
}

async fn sweeps(stage: &Stage) {
    for _ in 0..3 {
        stage.sandbox.advance(Duration::from_secs(900)).await;
        stage.sweep().await.expect("a report");
    }
}

#[tokio::test(start_paused = true)]
async fn a_floating_address_is_served_at_the_host_that_took_it_over() {
    let stage = pair();
    fail_over(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"], "without any sweep\n{:?}", stage.answers().last());
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip"), stage.held("active").len()), (vec!["10.0.0.99:443".to_owned()], 1));
    stage.start_and_rest("active").await;
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip"), stage.held("active").len()), (vec!["10.0.0.99:443".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_floating_address_is_followed_though_a_scan_takes_long() {
    let stage = pair();
    for n in 0..400 {
        stage.addresses_group(&format!("other-{n:03}"));
    }
    fail_over(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"], "{:?}", stage.answers().last());
    stage.forget_calls();
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    assert_eq!(stage.count("DescribeTargetHealth"), 0, "no event comes again and again");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_drains_for_an_hour_costs_few_scans() {
    let stage = pair();
    stage.drains("vip", 3_600);
    for n in 0..30 {
        stage.addresses_group(&format!("other-{n:03}"));
    }
    fail_over(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"], "{:?}", stage.answers().last());
    let scans = stage.count("DescribeTargetHealth") / 31;
    assert!(scans <= 10, "{scans} scans of all groups");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_while_it_takes_over_is_not_served() {
    let stage = pair();
    stage.stop("active").until("taken", called("DeregisterTargets")).await;
    move_to(&stage, "standby");
    let _fault = stage.sandbox.fault(kth("RegisterTargets", 1, Verdict::Delay(Duration::from_secs(8))));
    stage.until("registering", called("RegisterTargets")).await;
    // The only event of this stop finds nothing yet.
    stage.deliver_only(&["stopping"]).stop_and_rest("standby").await;
    assert_eq!(stage.members("tg:vip"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_follows_a_floating_address_whose_events_were_lost() {
    let stage = pair();
    stage.deliver_only(&["stopping"]).stop_and_rest("active").await;
    move_to(&stage, "standby");
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip"), stage.held("active").len()), (vec!["10.0.0.99:443".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_floating_address_is_followed_from_a_host_that_shut_itself_down() {
    let stage = pair();
    let id = stage.id("active");
    stage.world(|world| ec2::shut_itself_down(world, &id)).expect("it runs");
    stage.until("taken", called("DeregisterTargets")).await;
    move_to(&stage, "standby");
    stage.rest().await;
    sweeps(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"], "{:?}", stage.answers().last());
}

#[tokio::test(start_paused = true)]
async fn what_a_person_removes_from_the_new_host_stays_removed() {
    let stage = pair();
    fail_over(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"]);
    stage.sandbox.advance(Duration::from_secs(7_200)).await;
    let arn = stage.world(|world| elbv2::arn_of(world, "vip")).expect("a group");
    let target = elbv2::Target { port: Some(443), ..elbv2::Target::new("10.0.0.99") };
    stage.world(|world| elbv2::deregister(world, &arn, target)).expect("a target");
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip").len(), stage.held("active").len()), (0, 1), "{:?}", stage.answers().last());
}

#[tokio::test(start_paused = true)]
async fn a_floating_address_that_comes_back_is_served_all_the_time() {
    let stage = pair();
    fail_over(&stage).await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    stage.start("active").until_it_is("active", ec2::InstanceState::Running).await;
    stage.sandbox.advance(Duration::from_secs(30)).await;
    move_to(&stage, "active");
    stage.rest().await;
    sweeps(&stage).await;
    assert_eq!(stage.members("tg:vip"), ["10.0.0.99:443"], "held: {:?}", stage.held("active"));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_moves_before_the_call_keeps_its_traffic() {
    let stage = pair();
    let _fault = stage.sandbox.fault(kth("CreateTags", 1, Verdict::Delay(Duration::from_secs(6))));
    stage.stop("active").until("held", called("CreateTags")).await;
    move_to(&stage, "standby");
    stage.rest().await;
    assert_eq!((stage.members("tg:vip"), stage.count("DeregisterTargets")), (vec!["10.0.0.99:443".to_owned()], 0));
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip").len(), stage.held("active").len()), (1, 1), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_moves_during_the_call_gets_its_traffic_back() {
    let stage = pair();
    stage.deliver_only(&["stopping"]);
    let _fault = stage.sandbox.fault(kth("DeregisterTargets", 1, Verdict::Delay(Duration::from_secs(6))));
    stage.stop("active").until("under way", called("DeregisterTargets")).await;
    move_to(&stage, "standby");
    stage.rest().await;
    assert_eq!(
        stage.members("tg:vip"),
        ["10.0.0.99:443"],
        "by the very look that took it\n{:?}",
        stage.answers().last()
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_that_no_interface_has_stays_held_until_it_is_back() {
    let stage = pair();
    stage.stop_and_rest("active").await;
    let active = eth0(&stage, "active");
    stage.world(|world| ec2::unassign_address(world, &active, IpAddr::from(VIP))).expect("unassigned");
    stage.start_and_rest("active").await;
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip").len(), stage.held("active")), (0, vec!["tg:vip:443=10.0.0.99".to_owned()]));
    let report = stage.sweep().await.expect("a report");
    let why = &report["instances"][stage.id("active")]["needs_a_person"];
    assert!(why.to_string().contains("no interface has its address"), "{report:#}");
    stage.world(|world| ec2::assign_address(world, &active, IpAddr::from(VIP))).expect("assigned");
    sweeps(&stage).await;
    assert_eq!((stage.members("tg:vip").len(), stage.held("active").len()), (1, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_free_address_that_another_host_gets_is_not_served_there() {
    // As its primary address; and as a secondary one, of a node of Kubernetes, of a host that was started later, and of one
    // that is stopped.
    for host in ["primary", "node", "later", "stopped"] {
        let stage = pair();
        stage.tagged("standby", if host == "node" { "kubernetes.io/cluster/prod" } else { "Role" }, "owned");
        stage.stop_and_rest("active").await;
        let active = eth0(&stage, "active");
        stage.world(|world| ec2::unassign_address(world, &active, IpAddr::from(VIP))).expect("unassigned");
        match host {
            "primary" => {
                let new = NewInterface { ipv4: Ipv4Wish::Exactly(Ipv4Addr::from(VIP)), ..NewInterface::default() };
                stage.launch("stranger", Launch::new(&stage.subnet).interface(0, 0, new));
            }
            _ => {
                if host == "later" {
                    stage.stop_and_rest("standby").await.start_and_rest("standby").await;
                }
                if host == "stopped" {
                    stage.stop_and_rest("standby").await;
                }
                let standby = eth0(&stage, "standby");
                stage.world(|world| ec2::assign_address(world, &standby, IpAddr::from(VIP))).expect("assigned");
            }
        }
        sweeps(&stage).await;
        assert_eq!((stage.members("tg:vip").len(), stage.held("active").len()), (0, 1), "{host}");
        stage.start_and_rest("active").await;
        assert_eq!((stage.members("tg:vip").len(), stage.held("active").len()), (0, 0), "{host}: let go");
    }
}

#[tokio::test(start_paused = true)]
async fn another_interface_in_the_place_of_eth1_is_not_registered() {
    // Even if it has the same address.
    for address in [[10, 0, 0, 71], [10, 0, 0, 70]] {
        let stage = Stage::new();
        stage.addresses_group("shop").instance("node");
        let eni = attach(&stage, "node", 1, &stage.subnet, [10, 0, 0, 70]);
        stage.registered("node", "tg:shop:443=10.0.0.70").stop_and_rest("node").await;
        assert!(
            stage.tags("node").values().any(|value| value.ends_with(&format!(":443=eth1.{eni}"))),
            "named by its id"
        );
        stage
            .world(|world| ec2::detach_interface(world, &eni).and_then(|()| ec2::delete_interface(world, &eni)))
            .expect("deleted");
        attach(&stage, "node", 1, &stage.subnet, address);
        stage.start_and_rest("node").await;
        let report = stage.sweep().await.expect("a report");
        assert_eq!((stage.members("tg:shop").len(), stage.held("node").len()), (0, 1), "{address:?}");
        let named = report["instances"][stage.id("node")]["needs_a_person"].to_string();
        assert!(named.contains("is not attached to the instance any more"), "{report:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_changes_its_position_is_given_back() {
    let stage = Stage::new();
    stage.addresses_group("shop").instance("node");
    let eni = attach(&stage, "node", 1, &stage.subnet, [10, 0, 0, 70]);
    stage.registered("node", "tg:shop:443=10.0.0.70").stop_and_rest("node").await;
    let id = stage.id("node");
    stage
        .world(|world| ec2::detach_interface(world, &eni).and_then(|()| ec2::attach_interface(world, &eni, &id, 2, 0)))
        .expect("attached again");
    attach(&stage, "node", 1, &stage.subnet, [10, 0, 0, 71]);
    stage.start_and_rest("node").await;
    assert_eq!((stage.members("tg:shop"), stage.held("node").len()), (vec!["10.0.0.70:443".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_holds_a_bare_position_is_read_as_before() {
    let stage = Stage::new();
    stage.addresses_group("shop").instance("node");
    attach(&stage, "node", 1, &stage.subnet, [10, 0, 0, 70]);
    stage.stop_and_rest("node").await;
    let arn = stage.world(|world| elbv2::arn_of(world, "shop")).expect("a group");
    let (_, group) = arn.split_once(":targetgroup/").expect("an ARN");
    stage.tagged("node", "elb-registrar:held.2026-01-05T08:00:00Z.1", &format!("tg:{group}:443=eth1"));
    stage.start_and_rest("node").await;
    assert_eq!((stage.members("tg:shop"), stage.held("node").len()), (vec!["10.0.0.70:443".to_owned()], 0));
}

/// Sets a stage with an instance that has one IPv6 address, which is not marked as primary. Returns its interface, too.
fn six() -> (Stage, String, Ipv6Addr) {
    let stage = Stage::new();
    let new = NewInterface { ipv6_count: 1, ..NewInterface::default() };
    stage.group(TargetGroupSpec::addresses("six", &stage.vpc, 443).ipv6());
    stage.launch("web-1", Launch::new(&stage.subnet).interface(0, 0, new));
    let eni = eth0(&stage, "web-1");
    let address = stage.world(|world| world.ec2.interfaces[&eni].ipv6[0].0);
    (stage, eni, address)
}

/// Assigns an IPv6 address beside another one, before or after it.
fn assign_beside(stage: &Stage, eni: &str, address: Ipv6Addr, by: i128) {
    let beside = IpAddr::from(Ipv6Addr::from(u128::from(address).wrapping_add_signed(by)));
    stage.world(|world| ec2::assign_address(world, eni, beside)).expect("a free address");
}

#[tokio::test(start_paused = true)]
async fn a_second_ipv6_address_does_not_hide_the_one_in_place() {
    for by in [-1, 1] {
        let (stage, eni, address) = six();
        stage.registered("web-1", &format!("tg:six:443={address}")).stop_and_rest("web-1").await;
        assign_beside(&stage, &eni, address, by);
        stage.start_and_rest("web-1").await;
        assert_eq!((stage.members("tg:six"), stage.held("web-1").len()), (vec![format!("{address}:443")], 0), "{by}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_declared_eth0_means_the_ipv6_address_that_was_in_place() {
    let (stage, eni, address) = six();
    stage.tagged("web-1", "elb-registrar:register", "tg:six:443=eth0");
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("tg:six"), [format!("{address}:443")]);
    let is_fine =
        |report: &Value| report["instances"][stage.id("web-1")]["needs_a_person"].as_array().is_none_or(Vec::is_empty);
    // It is assigned while the instance runs, and then there over a stop and a start.
    assign_beside(&stage, &eni, address, 1);
    let report = stage.sweep().await.expect("a report");
    assert!(is_fine(&report), "{report:#}");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.members("tg:six"), [""; 0]);
    stage.start_and_rest("web-1").await;
    let report = stage.sweep().await.expect("a report");
    assert!(is_fine(&report), "{report:#}");
    assert_eq!((stage.members("tg:six"), stage.held("web-1").len()), (vec![format!("{address}:443")], 0));
}

#[tokio::test(start_paused = true)]
async fn several_ipv6_addresses_without_a_primary_one_are_a_persons_choice() {
    let (stage, eni, address) = six();
    assign_beside(&stage, &eni, address, 1);
    stage.tagged("web-1", "elb-registrar:register", "tg:six:443=eth0");
    let report = stage.sweep().await.expect("a report");
    let named = report["instances"][stage.id("web-1")]["needs_a_person"].to_string();
    assert!(named.contains("none is the primary one") && stage.members("tg:six").is_empty(), "{report:#}");
}

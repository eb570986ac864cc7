//! Deregister on stop: every registration, exactly, and only after a tag holds it.

use std::{net::IpAddr, time::Duration};

use end_to_end::{Stage, same_moment, state_change};
use sandbox::{
    Call, Options, Verdict,
    ec2::{self, Ipv4Wish, Launch, NewInterface},
    elbv2::{self, Kind, Target, TargetGroupSpec},
    fault::kth,
    wire::ApiError,
};

/// Returns a small fleet with one instance on every kind of balancer.
fn shop() -> Stage {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1").instance("web-2");
    for instance in ["web-1", "web-2"] {
        for place in ["clb:shop", "tg:web", "tg:web:8080", "tg:edge:443=eth0", "tg:edge:8443=eth0"] {
            stage.registered(instance, place);
        }
    }
    stage
}

#[tokio::test(start_paused = true)]
async fn a_stopped_instance_leaves_every_balancer_and_others_stay() {
    let stage = shop();
    let others = stage.places("web-2");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{}", stage.describe());
    assert_eq!(stage.places("web-2"), others);
    let held = ["clb:shop", "tg:edge:443=eth0", "tg:edge:8443=eth0", "tg:web:80", "tg:web:8080"];
    assert_eq!(stage.held("web-1"), held);
    assert_eq!(stage.held("web-2"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn each_state_on_the_way_down_alone_takes_the_instance_out() {
    for state in [&["stopping"], &["stopped"]] {
        let stage = shop();
        stage.deliver_only(state);
        stage.stop_and_rest("web-1").await;
        assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{state:?}\n{}", stage.describe());
    }
    for state in [&["shutting-down"], &["terminated"]] {
        let stage = shop();
        stage.deliver_only(state);
        stage.terminate("web-1").rest().await;
        let members = (stage.members("clb:shop"), stage.members("tg:web"));
        assert_eq!(members, (vec!["web-2".into()], vec!["web-2:80".into(), "web-2:8080".into()]), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dying_instance_loses_its_targets_and_gets_no_tags() {
    let stage = shop();
    stage.terminate("web-1").rest().await;
    assert_eq!(stage.members("tg:edge"), ["10.0.0.11:443", "10.0.0.11:8443"], "{}", stage.describe());
    assert_eq!(stage.count("CreateTags"), 0);
}

#[tokio::test(start_paused = true)]
async fn tags_are_written_before_the_first_deregistration() {
    let stage = shop();
    stage.stop_and_rest("web-1").await;
    let calls = stage.calls();
    let place = |action: &str| calls.iter().position(|call| call.action == action).expect(action);
    let tags = place("CreateTags");
    assert!(tags < place("DeregisterTargets") && tags < place("DeregisterInstancesFromLoadBalancer"));
}

#[tokio::test(start_paused = true)]
async fn every_target_is_deregistered_with_its_port() {
    let stage = shop();
    stage.stop_and_rest("web-1").await;
    let calls = stage.calls();
    let deregistrations: Vec<_> = calls.iter().filter(|call| call.action == "DeregisterTargets").collect();
    assert_eq!(deregistrations.len(), 2, "one for each group");
    for call in deregistrations {
        let count = |suffix: &str| call.parameters.iter().filter(|(key, _)| key.ends_with(suffix)).count();
        assert_eq!((count(".Id"), count(".Port")), (2, 2), "{:?}", call.parameters);
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_every_listing_are_read() {
    let stage = Stage::with(Options { page_size: Some(2), ..Options::default() }, &[]);
    stage.instance("web-1");
    for number in 0..7 {
        let (classic, group) = (format!("clb-{number}"), format!("tg-{number}"));
        stage.classic(&classic).instances_group(&group);
        stage.registered("web-1", &format!("clb:{classic}")).registered("web-1", &format!("tg:{group}"));
    }
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 14), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn registrations_too_long_for_one_tag_are_held_in_several() {
    let stage = Stage::new();
    stage.instances_group("a-group-with-quite-a-name").instance("web-1");
    let places: Vec<String> =
        (0..40).map(|number| format!("tg:a-group-with-quite-a-name:{}", 8000 + 2 * number)).collect();
    for place in &places {
        stage.registered("web-1", place);
    }
    stage.stop_and_rest("web-1").await;
    let tags: Vec<_> = stage.tags("web-1").into_iter().filter(|(key, _)| key.contains("held")).collect();
    assert!(tags.len() > 5 && tags.iter().all(|(_, value)| value.len() <= 256), "{tags:?}");
    assert_eq!(stage.held("web-1"), places);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), places);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_full_tags_keeps_its_registrations() {
    let stage = shop();
    for number in 0..48 {
        stage.tagged("web-1", &format!("user-{number:02}"), "x");
    }
    let places = stage.places("web-1");
    stage.tagged("web-1", "user-48", "x").stop("web-1");
    stage
        .until("the failure is in the dead letters", |world| {
            world.sqs.queue(sandbox::deployment::DEAD_LETTERS).is_some_and(|queue| queue.messages().count() > 0)
        })
        .await;
    assert_eq!(stage.places("web-1"), places);
    assert!(stage.answers().iter().any(|answer| answer.contains("batchItemFailures")));
}

#[tokio::test(start_paused = true)]
async fn addresses_are_held_by_interface_or_as_they_are() {
    // Each seed lists the interfaces of EC2 in another order.
    for seed in 0..8 {
        addresses_by_interface(Stage::with(Options { seed, ..Options::default() }, &[])).await;
    }
}

async fn addresses_by_interface(stage: Stage) {
    let second =
        NewInterface { ipv4: exactly("10.0.0.50"), secondary_ipv4: vec![ip4("10.0.0.51")], ..Default::default() };
    let efa = NewInterface { ipv4: exactly("10.0.0.60"), ..Default::default() };
    let eth0 = NewInterface::default();
    let launch = Launch::new(&stage.subnet).interface(1, 0, second).interface(0, 1, efa).interface(0, 0, eth0);
    stage.addresses_group("edge").launch("db-1", launch);
    // Each registration has a port of its own, so that no two look alike.
    let places = ["443=eth0", "444=10.0.0.50", "445=10.0.0.51", "446=10.0.0.60"];
    for place in places {
        stage.registered("db-1", &format!("tg:edge:{place}"));
    }
    let before = stage.members("tg:edge");
    stage.stop_and_rest("db-1").await;
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
    let held = ["tg:edge:443=eth0", "tg:edge:444=eth1", "tg:edge:445=10.0.0.51", "tg:edge:446=10.0.0.60"];
    assert_eq!(stage.held("db-1"), held);
    stage.start_and_rest("db-1").await;
    assert_eq!(stage.members("tg:edge"), before, "{}", stage.describe());
}

fn exactly(address: &str) -> Ipv4Wish {
    Ipv4Wish::Exactly(ip4(address))
}

fn ip4(address: &str) -> std::net::Ipv4Addr {
    address.parse().expect("an address")
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_group_gets_back_the_ipv6_address_of_eth0() {
    let stage = Stage::new();
    let dual = NewInterface { ipv6_count: 1, ..Default::default() };
    stage.group(TargetGroupSpec::addresses("edge6", &stage.vpc, 443).ipv6());
    stage.launch("web-1", Launch { interfaces: Vec::new(), ..Launch::new(&stage.subnet) }.interface(0, 0, dual));
    let id = stage.id("web-1");
    let (ipv6, _) = stage.world(|world| world.ec2.instance(&id).unwrap().eth0().unwrap().ipv6[0]);
    stage.registered("web-1", &format!("tg:edge6:443={ipv6}"));
    let before = stage.members("tg:edge6");
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.members("tg:edge6").len(), stage.held("web-1")), (0, vec![format!("tg:edge6:443={ipv6}")]));
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.members("tg:edge6"), before, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_quic_id_is_held_and_given_back() {
    let stage = Stage::new();
    let spec = TargetGroupSpec::new("quic", elbv2::TargetType::Instance, Some("QUIC"), Some(443), Some(&stage.vpc));
    stage.world(|world| {
        let group = elbv2::create_target_group(world, spec).unwrap();
        let balancer = elbv2::create_load_balancer(world, Kind::Network, "quic-nlb", &stage.vpc).unwrap();
        elbv2::attach(world, &group, &balancer, 443).unwrap();
    });
    stage.instance("web-1").registered("web-1", "tg:quic:443+0x0123456789abcdef");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), ["tg:quic:443+0x0123456789abcdef"]);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.members("tg:quic"), ["web-1:443+0x0123456789abcdef"], "{}", stage.describe());
}

/// Creates a second network, peered with the stage's, whose subnet has the given addresses.
fn other_network(stage: &Stage, cidr: &str) -> (String, String) {
    stage.world(|world| {
        let vpc = ec2::create_vpc(world, cidr);
        let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", cidr);
        (vpc, subnet)
    })
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_the_groups_network_keeps_its_zone_all() {
    let stage = Stage::new();
    let (_, subnet) = other_network(&stage, "10.9.0.0/24");
    stage.addresses_group("edge").launch("far-1", Launch::new(&subnet)).registered("far-1", "tg:edge:443=eth0@all");
    stage.stop_and_rest("far-1").await;
    assert_eq!((stage.members("tg:edge").len(), stage.held("far-1")), (0, vec!["tg:edge:443=eth0@all".to_owned()]));
    stage.start_and_rest("far-1").await;
    assert_eq!(stage.members("tg:edge"), ["10.9.0.10:443@all"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_equal_address_of_another_network_is_not_touched() {
    let stage = Stage::new();
    let (_, twin) = other_network(&stage, "10.0.0.0/24");
    stage.addresses_group("edge").instance("near-1").launch("twin-1", Launch::new(&twin));
    stage.registered("near-1", "tg:edge:443=eth0");
    let address = |name: &str| {
        let id = stage.id(name);
        stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4))
    };
    assert_eq!(address("near-1"), address("twin-1"), "the networks overlap");
    stage.stop_and_rest("twin-1").await;
    assert_eq!(stage.members("tg:edge"), ["10.0.0.10:443"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_outside_address_that_two_networks_have_is_left_alone() {
    let stage = Stage::new();
    let (_, one) = other_network(&stage, "10.9.0.0/24");
    let (_, two) = other_network(&stage, "10.9.0.0/24");
    stage.addresses_group("edge").launch("one-1", Launch::new(&one)).launch("two-1", Launch::new(&two));
    stage.registered("one-1", "tg:edge:443=eth0@all");
    stage.stop_and_rest("two-1").await;
    assert_eq!(stage.members("tg:edge"), ["10.9.0.10:443@all"], "{}", stage.describe());
    assert_eq!(stage.held("two-1"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn groups_of_other_types_are_left_alone() {
    let stage = Stage::new();
    stage.instance("web-1").instances_group("web").registered("web-1", "tg:web");
    stage.world(|world| {
        elbv2::create_target_group(world, TargetGroupSpec::function("lambda")).unwrap();
        let alb = elbv2::TargetType::Alb;
        elbv2::create_target_group(world, TargetGroupSpec::new("alb", alb, Some("TCP"), Some(80), Some(&stage.vpc)))
            .unwrap();
    });
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), Vec::<String>::new());
    let asked = stage.calls().iter().filter(|call| call.action == "DescribeTargetHealth").count();
    assert_eq!(asked, stage.count("DescribeTargetGroups"), "only `web` is asked, once in each scan");
}

#[tokio::test(start_paused = true)]
async fn one_group_that_cannot_be_read_does_not_keep_the_others() {
    let stage = shop();
    let web = stage.world(|world| elbv2::arn_of(world, "web")).unwrap();
    let fault = stage.sandbox.fault(move |call: &sandbox::Call| {
        let is_it = call.action == "DescribeTargetHealth" && call.mentions(&web);
        let error = sandbox::wire::ApiError::receiver(500, "HealthUnavailable", "The health is not available.");
        if is_it { sandbox::Verdict::Refuse(error) } else { sandbox::Verdict::Pass }
    });
    stage.stop("web-1");
    stage
        .until("the other groups are left", |world| {
            elbv2::arn_of(world, "edge").is_some_and(|arn| {
                elbv2::targets(world, &arn).iter().filter(|t| t.state == elbv2::Standing::Registered).count() == 2
            })
        })
        .await;
    assert_eq!(stage.places("web-1"), ["tg:web:80", "tg:web:8080"]);
    drop(fault);
    stage.rest().await;
    assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{}", stage.describe());
    assert_eq!(stage.held("web-1").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn instances_that_stop_together_share_one_scan_and_one_tag() {
    let stage = Stage::new();
    stage.instances_group("web").classic("shop");
    let names: Vec<String> = (0..30).map(|number| format!("web-{number}")).collect();
    for name in &names {
        stage.instance(name).registered(name, "tg:web").registered(name, "clb:shop");
    }
    for name in &names {
        stage.stop(name);
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty() && stage.held(name).len() == 2));
    for action in ["CreateTags", "DescribeLoadBalancers", "DescribeTargetHealth", "DeregisterTargets"] {
        let count = stage.all_calls().iter().filter(|call| call.action == action).count();
        assert_eq!(count, 1, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_task_is_never_taken_for_an_instances() {
    let stage = Stage::new();
    stage.addresses_group("edge").instance("web-1");
    let task = stage.world(|world| {
        let id = ec2::create_interface(world, &stage.subnet, NewInterface::default()).unwrap();
        let address = world.ec2.interfaces[&id].ipv4[0];
        let arn = elbv2::arn_of(world, "edge").unwrap();
        elbv2::register(world, &arn, Target::new(IpAddr::V4(address))).unwrap();
        address
    });
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.members("tg:edge"), [format!("{task}:443")]);
}

#[tokio::test(start_paused = true)]
async fn a_bare_event_is_answered_with_what_was_seen_and_done() {
    let stage = shop();
    stage.deliver_only(&[]);
    stage.stop_and_rest("web-1").await;
    let report = stage.invoke(state_change(&stage, "web-1", "stopped")).await.expect("a report");
    let part = &report["instances"][stage.id("web-1")];
    assert_eq!((&report["mode"], &part["state"]), (&"enforce".into(), &"stopped".into()));
    assert_eq!(part["registered"].as_array().unwrap().len(), 5);
    let done: Vec<_> = part["done"].as_array().unwrap().iter().map(|deed| deed["action"].as_str().unwrap()).collect();
    assert_eq!(done, [["hold"; 5], ["deregister"; 5]].concat());
    assert_eq!(part["done"][0]["why"], "the instance is stopped");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_may_not_be_tagged_keeps_no_other_registered() {
    // A policy denies tags for one instance of many; the other refusal is that of an instance with too many tags.
    for (code, message) in [
        ("UnauthorizedOperation", "with an explicit deny in a service control policy"),
        ("TagLimitExceeded", "50 tags"),
    ] {
        for is_told in [true, false] {
            let stage = Stage::with(same_moment(), &[]);
            stage.instances_group("web");
            let names = ["web-1", "web-2", "protected"];
            for name in names {
                stage.instance(name).registered(name, "tg:web");
            }
            let protected = stage.id("protected");
            let _fault = stage.sandbox.fault(move |call: &Call| {
                let is_it = call.action == "CreateTags" && call.parameters.iter().any(|(_, value)| *value == protected);
                if is_it { Verdict::Refuse(ApiError::sender(code, message)) } else { Verdict::Pass }
            });
            if !is_told {
                stage.deliver_only(&[]);
            }
            for name in names {
                stage.stop(name);
            }
            stage.sandbox.advance(Duration::from_secs(60)).await;
            if !is_told {
                let report = stage.sweep().await;
                assert!(report.is_err_and(|why| why.to_string().contains(code)), "the failure is told");
            }
            assert_eq!(stage.members("tg:web"), ["protected:80"], "{code}\n{}", stage.describe());
        }
    }
}

/// Registers an instance in many groups, beside so many tags of its operator. Returns the names of the groups.
fn in_many_groups(stage: &Stage, groups: usize, tags: usize) -> Vec<String> {
    let groups: Vec<String> = (0..groups).map(|n| format!("web-{n:03}")).collect();
    stage.instance("web-1");
    stage.world(|world| world.elbv2.registrations_per_id = 10_000);
    for group in &groups {
        stage.instances_group(group).registered("web-1", &format!("tg:{group}"));
    }
    for n in 0..tags {
        stage.tagged("web-1", &format!("cost-centre-{n}"), "x");
    }
    groups
}

#[tokio::test(start_paused = true)]
async fn what_was_held_before_a_crash_can_be_held_again() {
    // With 48 tags and its name, a single one is left for what is held.
    for (groups, tags, action, kth_call) in [
        (100, 25, "CreateTags", 1),
        (100, 25, "DeregisterTargets", 30),
        (100, 35, "CreateTags", 2),
        (100, 35, "DeregisterTargets", 30),
        (3, 48, "CreateTags", 1),
    ] {
        let stage = Stage::new();
        in_many_groups(&stage, groups, tags);
        let _fault = stage.sandbox.fault(kth(action, kth_call, Verdict::KillAfter));
        // The event comes again after half an hour, and no other one comes.
        stage.deliver_only(&["stopping", "running"]);
        stage.stop("web-1").sandbox.advance(Duration::from_secs(3 * 3_600)).await;
        let context = format!("{groups} groups, {tags} tags, {action} {kth_call}");
        assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{context}\n{:?}", stage.tags("web-1"));
        assert_eq!(stage.held("web-1").len(), groups, "{context}");
        stage.start_and_rest("web-1").await;
        assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (groups, 0), "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn as_much_is_taken_as_there_is_room_to_hold() {
    // Eight of these registrations fit into a tag.
    for (groups, tags, taken) in [(250, 15, 250), (100, 45, 32), (16, 47, 16), (17, 47, 16), (5, 49, 0)] {
        let stage = Stage::new();
        in_many_groups(&stage, groups, tags);
        stage.stop("web-1").sandbox.advance(Duration::from_secs(3 * 3_600)).await;
        let left = stage.places("web-1").len();
        assert_eq!(groups - left, taken, "of {groups} beside {tags} tags: {}", stage.tags("web-1").len());
        assert_eq!(stage.held("web-1").len(), taken, "{groups} beside {tags} tags");
        let report = stage.sweep().await;
        match taken == groups {
            true => drop(report.expect("a report")),
            false => assert!(report.is_err_and(|why| why.to_string().contains("no room for tags")), "it is told"),
        }
        stage.start_and_rest("web-1").await;
        assert_eq!(
            (stage.places("web-1").len(), stage.held("web-1").len()),
            (groups, 0),
            "{groups} beside {tags} tags"
        );
    }
}

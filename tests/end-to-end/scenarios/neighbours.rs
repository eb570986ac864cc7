//! Other teams of the account, each within its own rights: hosts that listings hide, names that change owners, tags and hooks
//! that grow, storms of their own. What they do stays theirs.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use end_to_end::{Setting, Stage, places, same_moment, state_change};
use sandbox::{
    Timestamp, World,
    auto_scaling::{Action, GroupSpec, HookSpec, LifecycleState},
    deployment::{LIFECYCLE, QUEUE, RECONCILE},
    ec2::{self, Ipv4Wish, Launch, NewInterface},
    elb, elbv2,
    options::{ManagedResources, Options},
    sqs,
};
use serde_json::{Value, json};

use super::lifecycle::{event_of, untold};

const REGISTER: &str = "elb-registrar:register";

/// Sets a stage where EC2 shows what services of AWS manage as it is told.
fn showing(managed_resources: ManagedResources, settings: &[Setting]) -> Stage {
    Stage::with(Options { managed_resources, ..Options::default() }, settings)
}

/// Creates an interface that a service of AWS manages, such as that of a node of EKS Auto Mode.
fn managed_interface(stage: &Stage, subnet: &str, address: [u8; 4]) {
    let new = NewInterface { ipv4: Ipv4Wish::Exactly(Ipv4Addr::from(address)), ..NewInterface::default() };
    stage.world(|world| {
        let id = ec2::create_interface(world, subnet, new).expect("a free address");
        ec2::manage(world, &id, "eks.amazonaws.com");
    });
}

/// Creates another network with the addresses of 10.9.0.0/24, and returns its subnet.
fn other_network(stage: &Stage) -> String {
    stage.world(|world| {
        let vpc = ec2::create_vpc(world, "10.9.0.0/24");
        ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24")
    })
}

async fn sweep(stage: &Stage) -> Value {
    stage.sweep().await.unwrap_or_else(|error| panic!("{error}\n{}", stage.describe()))
}

// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyManagedResourceVisibility.html>: "Hidden resources remain
// fully operational".
#[tokio::test(start_paused = true)]
async fn the_address_of_a_hidden_host_is_no_orphan() {
    for (managed, fates) in [
        (ManagedResources::Hidden, vec![]),
        (ManagedResources::Visible, vec![]),
        (ManagedResources::HiddenForAll, vec!["cannot-tell"]),
    ] {
        let stage = showing(managed, &[("PruneOrphans", "true")]);
        stage.addresses_group("edge");
        managed_interface(&stage, &stage.subnet, [10, 0, 0, 77]);
        stage.world(|world| {
            let arn = elbv2::arn_of(world, "edge").expect("a group");
            elbv2::register(world, &arn, elbv2::Target::new("10.0.0.77")).expect("an address that the group takes");
        });
        let report = sweep(&stage).await;
        let orphans = report["orphans"].as_array().cloned().unwrap_or_default();
        let found: Vec<&str> = orphans.iter().filter_map(|orphan| orphan["fate"].as_str()).collect();
        assert_eq!((found, stage.members("tg:edge").len()), (fates, 1), "{managed:?}: {report:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outside_address_that_a_hidden_host_may_have_is_left_alone() {
    for (managed, has_twin, reason) in [
        (ManagedResources::Hidden, true, Some("the address of another interface, too")),
        (ManagedResources::Hidden, false, None),
        (ManagedResources::HiddenForAll, true, Some("EC2 may not show all network interfaces")),
        (ManagedResources::HiddenForAll, false, Some("EC2 may not show all network interfaces")),
    ] {
        let stage = showing(managed, &[]);
        let (far, twin) = (other_network(&stage), other_network(&stage));
        stage.addresses_group("edge").launch("far-1", Launch::new(&far)).deliver_only(&[]);
        if has_twin {
            managed_interface(&stage, &twin, [10, 9, 0, 10]);
        }
        stage.registered("far-1", "tg:edge:443=eth0@all").stop_and_rest("far-1").await;
        let report = sweep(&stage).await;
        let said = report["instances"][stage.id("far-1")].to_string();
        assert_eq!(stage.members("tg:edge").len(), usize::from(reason.is_some()), "{managed:?} {has_twin}: {report:#}");
        assert!(reason.is_none_or(|reason| said.contains(reason)), "{managed:?} {has_twin}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_api_that_knows_no_managed_resources_serves_as_ever() {
    let stage = showing(ManagedResources::HiddenForAll, &[]);
    stage
        .classic("shop")
        .addresses_group("edge")
        .instance("web-1")
        .registered_at("web-1", &["clb:shop", "tg:edge:443=eth0"]);
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 2), "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (2, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn what_a_service_registered_for_its_own_instance_stays() {
    for service in ["eks.amazonaws.com", "ecs.amazonaws.com", "lambda.amazonaws.com"] {
        let stage = Stage::new();
        stage.instances_group("web").addresses_group("edge").instance("node-1");
        let id = stage.id("node-1");
        stage.world(|world| ec2::manage(world, &id, service));
        stage.registered_at("node-1", &["tg:web:32768", "tg:edge:443=eth0"]).stop_and_rest("node-1").await;
        sweep(&stage).await;
        assert_eq!(
            (stage.places("node-1").len(), stage.held("node-1").len()),
            (2, 0),
            "{service}: {}",
            stage.describe()
        );
    }
}

/// Deletes the load balancer `shop`, and lets a stranger create one of that name a minute later.
fn replace_shop(stage: &Stage) {
    stage.world(|world| {
        let vpc = world.ec2.subnets[&stage.subnet].vpc_id.clone();
        elb::delete(world, "shop");
        elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("the name is free");
    });
}

// CreatedTime: <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_LoadBalancerDescription.html>.
#[tokio::test(start_paused = true)]
async fn a_stranger_who_takes_over_a_balancers_name_gets_no_instance() {
    let stage = Stage::new();
    stage.classic("shop").classic("blog").instance("web-1").registered_at("web-1", &["clb:shop", "clb:blog"]);
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    stage.deliver_only(&[]).start_and_rest("web-1").await;
    let report = sweep(&stage).await;
    assert_eq!(stage.places("web-1"), ["clb:blog"], "{report:#}");
    assert!(report.to_string().contains("so it is another one"), "{report:#}");
}

#[tokio::test(start_paused = true)]
async fn a_later_tag_does_not_make_a_strangers_balancer_the_old_one() {
    let stage = Stage::new();
    stage.classic("shop").addresses_group("edge").instance("web-1").registered_at("web-1", &["clb:shop"]);
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    // The stranger lets the tags be written anew.
    stage.registered("web-1", "tg:edge:443=eth0");
    sweep(&stage).await;
    assert_eq!(stage.members("tg:edge").len(), 0, "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!(
        stage.places("web-1").iter().filter(|place| place.starts_with("clb:")).count(),
        0,
        "{}",
        stage.describe()
    );
}

#[tokio::test(start_paused = true)]
async fn a_strangers_balancer_stays_another_one_though_it_was_ignored() {
    let stage = Stage::new();
    stage.classic("shop").classic("blog").instance("web-1").registered_at("web-1", &["clb:shop", "clb:blog"]);
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    stage.tagged("clb:shop", "elb-registrar:ignore", "").start_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    sweep(&stage).await;
    stage.world(|world| world.elb.load_balancers.get_mut("shop").map(|shop| shop.spec.tags.clear()));
    sweep(&stage).await;
    assert_eq!(stage.places("web-1"), ["clb:blog"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_declared_balancer_that_was_made_anew_gets_its_instance() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").tagged("web-1", REGISTER, "clb:shop");
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:shop"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn no_address_is_registered_that_could_not_be_taken_out() {
    for way in ["tagged", "held"] {
        let stage = Stage::new();
        let (far, twin) = (other_network(&stage), other_network(&stage));
        stage.addresses_group("edge").launch("far-1", Launch::new(&far)).launch("other", Launch::new(&twin));
        match way {
            "tagged" => drop(stage.tagged("far-1", REGISTER, "tg:edge:443=eth0@all")),
            _ => {
                let arn = stage.world(|world| elbv2::arn_of(world, "edge")).expect("a group");
                let id = arn.rsplit('/').next().expect("an id");
                stage.tagged("far-1", "elb-registrar:held", &format!("tg:edge/{id}:443=eth0@all"));
            }
        }
        sweep(&stage).await;
        stage.stop_and_rest("far-1").await.start_and_rest("far-1").await;
        assert_eq!(stage.members("tg:edge"), [""; 0], "{way}: {}", stage.describe());
    }
}

/// Gives an instance so many tags of its operator's.
fn with_other_tags(stage: &Stage, instance: &str, tags: usize) {
    for tag in 0..tags {
        stage.tagged(instance, &format!("cost-centre-{tag}"), "x");
    }
}

/// Registers an instance at a stranger's target group on some ports.
fn crowd(stage: &Stage, instance: &str, group: &str, ports: impl Iterator<Item = u16>) {
    for port in ports {
        stage.registered(instance, &format!("tg:{group}:{port}"));
    }
}

// RegisterTargets is authorised on the target group alone
// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html>).
#[tokio::test(start_paused = true)]
async fn a_strangers_hundred_ports_crowd_out_no_balancer_of_ones_own() {
    for (others, groups, per_group) in [(20, 2, 70), (0, 5, 95), (45, 2, 30)] {
        let stage = Stage::new();
        let theirs: Vec<String> = (0..groups).map(|n| format!("a-strangers-group-no-letter{n}")).collect();
        stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1");
        stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
        with_other_tags(&stage, "web-1", others);
        for group in &theirs {
            stage.instances_group(group);
            crowd(&stage, "web-1", group, (0..per_group).map(|n| 1_001 + 2 * n));
        }
        stage.stop("web-1").sandbox.advance(Duration::from_secs(30)).await;
        let left = stage.places("web-1");
        assert!(!left.is_empty() && left.iter().all(|place| place.contains("a-strangers-group")), "{others}: {left:?}");
        let held = stage.held("web-1");
        assert_eq!(held.iter().filter(|held| !held.contains("a-strangers-group")).count(), 3, "{others}: {held:?}");
        let report = sweep_or_error(&stage).await;
        assert!(report.contains("they stay at tg:a-strangers-group"), "{others}: {report}");
        stage.sandbox.advance(Duration::from_secs(30)).await;
        // What was deregistered comes back.
        stage.start_and_rest("web-1").await;
        let back = stage.places("web-1");
        assert_eq!(back.iter().filter(|place| !place.contains("a-strangers-group")).count(), 3, "{back:?}");
        assert_eq!(back.len(), 3 + groups * usize::from(per_group), "{others}: all is back");
    }
}

/// Sweeps, and returns the report or the error.
async fn sweep_or_error(stage: &Stage) -> String {
    match stage.sweep().await {
        Ok(report) => report.to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_ports_in_a_row_are_held_in_few_tags() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1").registered("web-1", "clb:shop");
    with_other_tags(&stage, "web-1", 45);
    crowd(&stage, "web-1", "web", 8_000..8_096);
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 4), "{:?}", stage.tags("web-1"));
    let held = stage.tags("web-1").into_values().filter(|value| value.contains(":8000-8031")).count();
    assert_eq!(held, 1, "{:?}", stage.tags("web-1"));
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (97, 0));
}

/// Writes tags that hold made-up registrations at groups that do not exist.
fn with_made_up_tags(stage: &Stage, instance: &str, kind: &str) {
    for tag in 0..48 {
        let texts: Vec<String> = (0..9)
            .map(|n| match kind {
                "tg" => format!("tg:a/{tag:08x}{n:08x}:1"),
                _ => format!("clb:{instance}-{tag}-{n}"),
            })
            .collect();
        stage.tagged(instance, &format!("elb-registrar:held.{tag}"), &texts.join(" "));
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_names_cost_a_sweep_few_calls() {
    for kind in ["tg", "clb"] {
        let stage = Stage::new();
        stage.instances_group("web").instance("web-1").registered("web-1", "tg:web").instance("hostile-1");
        sweep(&stage).await;
        let usual = stage.sweep_calls().len();
        stage.forget_calls();
        with_made_up_tags(&stage, "hostile-1", kind);
        sweep(&stage).await;
        let now = stage.sweep_calls().len();
        assert!(now <= usual + 12, "{kind}: {now} calls instead of {usual}");
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_tags_of_a_fleet_delay_no_sweep_and_no_restart() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1").registered_at("web-1", &["clb:shop", "tg:web"]);
    stage.stop_and_rest("web-1").await;
    for number in 0..40 {
        let name = format!("hostile-{number}");
        stage.instance(&name);
        with_made_up_tags(&stage, &name, if number % 2 == 0 { "tg" } else { "clb" });
    }
    let begun = stage.world(|world| world.now());
    sweep(&stage).await;
    let swept = stage.world(|world| world.now()) - begun;
    assert!(swept.num_seconds() < 60, "{swept}");
    let (begun, id) = (stage.world(|world| world.now()), stage.id("web-1"));
    stage.start("web-1");
    stage.until("back", |world| places(world, &id).len() == 2).await;
    let took = stage.world(|world| world.now()) - begun;
    assert!(took.num_seconds() < 30, "{took}, of which EC2 takes 10 to 20 s");
}

#[tokio::test(start_paused = true)]
async fn made_up_registrations_beyond_any_number_keep_nothing_from_coming_back() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web").stop_and_rest("web-1").await;
    with_made_up_tags(&stage, "web-1", "tg");
    stage.tagged(
        "web-1",
        "elb-registrar:held.48",
        "tg:a/0123456789abcdef:1-32 tg:a/0123456789abcdef:41-72 tg:b/0123456789abcdef:1-32",
    );
    stage.deliver_only(&[]).start_and_rest("web-1").await;
    let report = sweep(&stage).await;
    assert!(report.to_string().contains("500 are given back at a time"), "{report:#}");
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_strangers_six_hundred_ports_keep_nothing_from_coming_back() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instances_group("api").instance("web-1");
    stage.tagged("web-1", "elb-registrar:register", "tg:api:8080");
    stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:api:8080"]);
    for group in 0..6 {
        stage.instances_group(&format!("theirs-{group}"));
        for port in 1..=100 {
            stage.registered("web-1", &format!("tg:theirs-{group}:{port}"));
        }
    }
    stage.stop_and_rest("web-1").await;
    assert!(stage.places("web-1").is_empty(), "{} are left", stage.places("web-1").len());
    stage.start("web-1");
    let (id, begun) = (stage.id("web-1"), stage.world(|world| world.now()));
    let mine = ["clb:shop", "tg:api:8080", "tg:web:80"];
    stage
        .until("mine are back", |world| mine.iter().all(|place| places(world, &id).contains(&(*place).to_owned())))
        .await;
    let took = stage.world(|world| world.now()) - begun;
    assert!(took.num_seconds() < 60, "{took}");
    stage.rest().await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (603, 0), "and theirs, some minutes later");
}

/// Returns the metadata of a launch hook that declares so many names that nothing has.
fn unknown_names(hook: usize) -> String {
    let names: Vec<String> = (0..90).map(|n| format!("clb:{hook}-{n}")).collect();
    format!(r#"{{"register": ["{}"]}}"#, names.join(" "))
}

#[tokio::test(start_paused = true)]
async fn hooks_with_made_up_names_abandon_no_launch_of_another_group() {
    let stage = Stage::new();
    stage.addresses_group("edge");
    for number in 0..4 {
        let mut group = GroupSpec::new(&format!("hostile-{number}"), &stage.subnet).desired(1);
        for hook in 0..45 {
            let metadata = unknown_names(number * 45 + hook);
            group =
                group.hook(HookSpec::launching(&format!("elb-registrar-{hook}")).heartbeat(7_200).metadata(&metadata));
        }
        stage.fleet(group);
    }
    stage.sandbox.advance(Duration::from_secs(60)).await;
    let hook = HookSpec::launching("elb-registrar-in").heartbeat(300).metadata(r#"{"register": ["tg:edge:443"]}"#);
    stage.fleet(GroupSpec::new("innocent", &stage.subnet).desired(8).hook(hook));
    stage.sandbox.advance(Duration::from_secs(180)).await;
    let states: Vec<LifecycleState> = stage.member_states("innocent").into_iter().map(|(_, state)| state).collect();
    let is_served = states.iter().filter(|state| **state == LifecycleState::InService).count();
    assert_eq!((is_served, stage.members("tg:edge").len()), (8, 8), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_a_neighbours_own_delays_no_lone_termination() {
    let mut took = BTreeMap::new();
    for seed in 0..3 {
        let stage = Stage::with(Options { seed, ..Options::default() }, &[]);
        for number in 0..85 {
            stage.addresses_group(&format!("edge-{number}"));
        }
        stage.instance("web-1").registered_at("web-1", &["tg:edge-3:443=eth0", "tg:edge-4:443=eth0"]);
        let subnet = stage.world(|world| ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.4.0/22"));
        let builders: Vec<String> = (0..300).map(|number| format!("builder-{number}")).collect();
        for builder in &builders {
            stage.launch(builder, Launch::new(&subnet));
        }
        let terminate = |wave: &[String]| wave.iter().for_each(|builder| _ = stage.terminate(builder));
        for wave in builders.chunks(25).take(3) {
            terminate(wave);
            stage.sandbox.advance(Duration::from_secs(5)).await;
        }
        let (id, begun) = (stage.id("web-1"), stage.world(|world| world.now()));
        stage.terminate("web-1");
        for wave in builders.chunks(25).skip(3) {
            terminate(wave);
            stage.sandbox.advance(Duration::from_secs(5)).await;
        }
        stage.rest().await;
        let calls = stage.all_calls();
        let last = calls.iter().filter(|call| call.action == "DeregisterTargets").map(|call| call.at).max();
        assert!(stage.world(|world| places(world, &id).is_empty()), "seed {seed}: {:?}", stage.members("tg:edge-3"));
        took.insert(seed, (last.expect("it is taken out") - begun).num_seconds());
    }
    assert!(took.values().all(|seconds| *seconds <= 20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn invented_ids_delay_neither_a_termination_nor_a_restart() {
    let stage = Stage::new();
    for number in 0..85 {
        stage.addresses_group(&format!("edge-{number}"));
    }
    stage.instance("web-1").registered("web-1", "tg:edge-3:443=eth0");
    stage.drains("edge-4", 0).instance("web-2").registered("web-2", "tg:edge-4:443=eth0").stop_and_rest("web-2").await;
    let sample = state_change(&stage, "web-1", "shutting-down");
    let invent = |wave: u32| {
        for number in 0..25_u32 {
            let mut event = sample.clone();
            let id = format!("i-{:017x}", u64::from(wave * 100 + number) + 0xabc000);
            event["detail"]["instance-id"] = id.as_str().into();
            event["resources"][0] = format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}").into();
            let draft = sqs::Draft { body: event.to_string(), ..Default::default() };
            stage.world(|world| sqs::send(world, QUEUE, draft)).expect("a message");
        }
    };
    for wave in 0..3 {
        invent(wave);
        stage.sandbox.advance(Duration::from_secs(4)).await;
    }
    let (id, back, begun) = (stage.id("web-1"), stage.id("web-2"), stage.world(|world| world.now()));
    stage.terminate("web-1").start("web-2");
    let (mut out_after, mut back_after) = (None, None);
    for wave in 3..40 {
        invent(wave);
        stage.sandbox.advance(Duration::from_secs(4)).await;
        let seconds = stage.world(|world| (world.now() - begun).num_seconds());
        if stage.world(|world| places(world, &id).is_empty()) {
            out_after.get_or_insert(seconds);
        }
        if stage.world(|world| !places(world, &back).is_empty()) {
            back_after.get_or_insert(seconds);
        }
    }
    let is_soon = |after: Option<i64>, most: i64| after.is_some_and(|seconds| seconds <= most);
    assert!(
        is_soon(out_after, 12) && is_soon(back_after, 32),
        "out after {out_after:?} s, back after {back_after:?} s"
    );
}

/// Creates so many target groups, and returns their names.
fn many_groups(stage: &Stage, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("g{n}")).collect();
    names.iter().for_each(|name| _ = stage.instances_group(name));
    names
}

// RegisterTargets and DeregisterTargets: 4 calls a second for the whole account
// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/api-throttling.html>).
#[tokio::test(start_paused = true)]
async fn three_hundred_registrations_of_one_instance_delay_no_other() {
    let stage = Stage::with(same_moment(), &[]);
    let groups = many_groups(&stage, 300);
    stage.instance("crowded");
    groups.iter().for_each(|group| _ = stage.registered("crowded", &format!("tg:{group}")));
    let own = ["web-1", "web-2", "web-3"];
    for name in own {
        stage.instances_group(&format!("of-{name}")).instance(name).registered(name, &format!("tg:of-{name}"));
    }
    let ids = own.map(|name| stage.id(name));
    let is_out = |world: &World| ids.iter().all(|id| places(world, id).is_empty());
    let begun = stage.world(|world| world.now());
    stage.stop("crowded");
    own.iter().for_each(|name| _ = stage.stop(name));
    stage.until("out", is_out).await;
    let out = (stage.world(|world| world.now()) - begun).num_seconds();
    stage.rest().await;
    assert_eq!((stage.places("crowded").len(), stage.held("crowded").len()), (0, 300));
    let begun = stage.world(|world| world.now());
    stage.start("crowded");
    own.iter().for_each(|name| _ = stage.start(name));
    stage.until("back", |world| ids.iter().all(|id| !places(world, id).is_empty())).await;
    let back = (stage.world(|world| world.now()) - begun).num_seconds();
    assert!(out <= 20 && back <= 40, "out after {out} s, back after {back} s");
    stage.rest().await;
    assert_eq!((stage.places("crowded").len(), stage.held("crowded").len()), (300, 0), "{}", stage.describe());
}

/// Lets five instances of a stranger, with 400 registrations each, do something one after the other, and then one's own. Returns after how many
/// seconds its place is as it should be.
async fn seconds_behind_strangers(stage: &Stage, act: impl Fn(&str), is_done: impl Fn(&World) -> bool) -> i64 {
    for number in 0..5 {
        act(&format!("theirs-{number}"));
        stage.sandbox.advance(Duration::from_secs(6)).await;
    }
    let begun = stage.world(|world| world.now());
    act("web-1");
    stage.until("as it should be", is_done).await;
    stage.world(|world| world.now() - begun).num_seconds()
}

#[tokio::test(start_paused = true)]
async fn a_strangers_two_thousand_registrations_delay_no_stop_and_no_start() {
    let stage = Stage::with(same_moment(), &[]);
    let groups = many_groups(&stage, 400);
    for number in 0..5 {
        let name = format!("theirs-{number}");
        stage.instance(&name);
        groups.iter().for_each(|group| _ = stage.registered(&name, &format!("tg:{group}")));
    }
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    let id = stage.id("web-1");
    let out =
        seconds_behind_strangers(&stage, |name| _ = stage.stop(name), |world| places(world, &id).is_empty()).await;
    stage.rest().await;
    let are_all_out = (0..5).all(|number| stage.places(&format!("theirs-{number}")).is_empty());
    let back =
        seconds_behind_strangers(&stage, |name| _ = stage.start(name), |world| !places(world, &id).is_empty()).await;
    stage.rest().await;
    let are_all_back = (0..5).all(|number| stage.places(&format!("theirs-{number}")).len() == 400);
    assert!(out <= 30 && back <= 60, "out after {out} s, back after {back} s");
    assert!(are_all_out && are_all_back, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn orders_of_two_message_groups_do_not_wait_for_each_other() {
    let stage = Stage::with(same_moment(), &[]);
    let groups = many_groups(&stage, 200);
    stage.deliver_only(&[]).instance("theirs").instances_group("web").instance("web-1").registered("web-1", "tg:web");
    groups.iter().for_each(|group| _ = stage.registered("theirs", &format!("tg:{group}")));
    stage.stop("theirs").stop("web-1").rest().await;
    let record = |name: &str, group: &str| {
        let body = json!({ "look_at": [{ "instance": stage.id(name) }] }).to_string();
        json!({
            "messageId": name, "receiptHandle": name, "eventSource": "aws:sqs", "body": body,
            "attributes": { "ApproximateReceiveCount": "1", "MessageGroupId": group },
        })
    };
    let (begun, id) = (stage.world(|world| world.now()), stage.id("web-1"));
    let records = json!({ "Records": [record("theirs", "many"), record("web-1", "named")] });
    let out = async {
        stage.until("out", |world| places(world, &id).is_empty()).await;
        stage.world(|world| world.now() - begun).num_seconds()
    };
    let (answer, out) = tokio::join!(stage.sandbox.invoke(RECONCILE, records), out);
    assert!(out < 20, "{out} s, and {answer:?}");
    assert_eq!(stage.places("theirs").len(), 0, "{answer:?}");
}

/// A batch with the events of a group that has much to register, and of an innocent one with one address.
struct MixedBatch {
    stage: Stage,
    records: Vec<Value>,
    begun: Timestamp,
}

impl MixedBatch {
    /// Lets both groups launch, and makes a batch of their events a minute later. `is_healthy`: the innocent one has nothing to wait for.
    async fn new(is_healthy: bool) -> Self {
        let stage = Stage::with(same_moment(), &[]);
        let groups = many_groups(&stage, 270);
        stage.addresses_group("edge");
        let mut busy = GroupSpec::new("busy", &stage.subnet).desired(1);
        for (number, part) in groups.chunks(90).enumerate() {
            let names: Vec<String> = part.iter().map(|name| format!("tg:{name}")).collect();
            let metadata = format!(r#"{{"register": ["{}"]}}"#, names.join(" "));
            let hook = HookSpec::launching(&format!("elb-registrar-{number}")).heartbeat(3_600);
            busy = busy.hook(hook.metadata(&metadata));
        }
        let hook =
            HookSpec::launching("elb-registrar-in").heartbeat(3_600).metadata(r#"{"register": ["tg:edge:443"]}"#);
        untold(&stage);
        stage.fleet(busy).fleet(GroupSpec::new("innocent", &stage.subnet).desired(1).hook(hook));
        stage.until("all wait", |world| world.auto_scaling.actions.len() == 4).await;
        let actions = stage.world(|world| world.auto_scaling.actions.clone());
        if is_healthy {
            let innocent = actions.iter().find(|action| action.group == "innocent").expect("an action");
            // An earlier look has registered it.
            stage.world(|world| {
                let instance = world.ec2.instance(&innocent.instance_id);
                let address = instance.and_then(ec2::Instance::primary_ipv4).expect("an address");
                let arn = elbv2::arn_of(world, "edge").expect("a group");
                elbv2::register(world, &arn, elbv2::Target::new(address).on(443)).expect("the group takes it");
            });
        }
        stage.sandbox.advance(Duration::from_secs(60)).await;
        let begun = stage.world(|world| world.now());
        let record = |action: &Action| {
            let attributes =
                json!({ "ApproximateReceiveCount": "1", "SentTimestamp": begun.timestamp_millis().to_string() });
            let (id, body) = (format!("{}-{}", action.group, action.hook.name), event_of(action).to_string());
            json!({ "messageId": id, "receiptHandle": id, "eventSource": "aws:sqs", "body": body, "attributes": attributes })
        };
        let records = actions.iter().map(record).collect();
        Self { stage, records, begun }
    }

    async fn serve(&self) {
        self.stage.sandbox.invoke(LIFECYCLE, json!({ "Records": self.records })).await.expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn much_work_for_one_group_holds_up_no_hook_of_another() {
    let batch = MixedBatch::new(true).await;
    batch.serve().await;
    let ended = batch.stage.ended_actions().into_iter().find(|ended| ended.action.group == "innocent");
    let took = (ended.expect("it is done").ended - batch.begun).num_seconds();
    assert!(took <= 10, "{took} s, though it had nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn an_action_that_waits_is_parked_before_another_groups_work_ends() {
    let batch = MixedBatch::new(false).await;
    batch.serve().await;
    let calls = batch.stage.calls_of(LIFECYCLE);
    let parked: Vec<i64> = calls
        .iter()
        .filter(|call| call.action == "ChangeMessageVisibilityBatch" && call.at >= batch.begun)
        .map(|call| (call.at - batch.begun).num_seconds())
        .collect();
    // The first call is for the case that the invocation dies.
    assert!(parked.len() == 3 && parked[1] <= 15 && parked[2] >= 30, "{parked:?}");
}

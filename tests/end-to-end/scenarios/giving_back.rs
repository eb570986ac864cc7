//! Register on `running`: exactly the held registrations, at the instance's present address. A tag is deleted only after the
//! registrations were seen in place.

use std::time::Duration;

use end_to_end::{Stage, same_moment};
use sandbox::{
    Call, Options, SameAddressWhileDraining, Verdict,
    ec2::{self, Launch, NewInterface},
    elb, elbv2,
    fault::kth,
    wire::ApiError,
};

const PLACES: [&str; 4] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80", "tg:web:8080"];

/// Creates an instance on every kind of balancer, and stops it.
async fn stopped_shop(stage: &Stage, launch: Launch) {
    stage.classic("shop").instances_group("web").addresses_group("edge").launch("web-1", launch);
    stage.registered_at("web-1", &PLACES).stop_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), PLACES, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_instance_is_back_on_every_port_it_had() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet)).await;
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), PLACES, "{}", stage.describe());
    assert_eq!(stage.tags("web-1").keys().collect::<Vec<_>>(), ["Name"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_new_address_is_registered_only_there() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet).renewed()).await;
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), PLACES, "{}", stage.describe());
    assert_eq!(stage.members("tg:edge"), ["10.0.0.11:443"]);
}

#[tokio::test(start_paused = true)]
async fn a_draining_address_is_registered_only_after_its_drain() {
    for variant in [SameAddressWhileDraining::Refused, SameAddressWhileDraining::AcceptedAndLost] {
        let stage = Stage::with(Options { same_address_while_draining: variant, ..Options::default() }, &[]);
        stage.addresses_group("edge").drains("edge", 900).instance("web-1").registered("web-1", "tg:edge:443=eth0");
        stage.stop("web-1");
        stage.until_it_is("web-1", ec2::InstanceState::Stopped).await;
        let stopped_at = stage.world(|world| world.now());
        stage.start("web-1");
        stage.until("registered", |world| world.calls.iter().any(|call| call.action == "RegisterTargets")).await;
        let waited = stage.world(|world| world.now() - stopped_at).num_seconds();
        assert!((850..960).contains(&waited), "{variant:?}: {waited} s");
        stage.rest().await;
        assert_eq!(stage.places("web-1"), ["tg:edge:443=eth0"], "{variant:?}\n{}", stage.describe());
        assert_eq!(stage.count("RegisterTargets"), 1, "{variant:?}");
        assert_eq!(stage.held("web-1"), Vec::<String>::new());
        assert!(stage.count("DescribeTargetHealth") < 10, "waiting costs a few looks");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_target_need_not_wait_for_its_draining() {
    let stage = Stage::new();
    stage.instances_group("web").drains("web", 3600).instance("web-1").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    let started = stage.world(|world| world.now());
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
    assert!(stage.world(|world| world.now() - started).num_seconds() < 300);
}

#[tokio::test(start_paused = true)]
async fn the_tag_goes_only_after_everything_was_seen_back() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet)).await;
    stage.forget_calls();
    stage.start_and_rest("web-1").await;
    let calls = stage.calls();
    let last = |action: &str| calls.iter().rposition(|call| call.action == action).expect(action);
    let forgotten = last("DeleteTags");
    assert_eq!((forgotten, stage.count("DeleteTags")), (calls.len() - 1, 1));
    // The look comes after the last registration.
    assert!(last("RegisterTargets") < last("DescribeTargetHealth") && last("DescribeTargetHealth") < forgotten);
    assert!(calls[forgotten].parameters.iter().any(|(key, _)| key == "Tag.1.Value"), "a compare-and-delete");
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_is_gone_spoils_only_itself_and_is_let_go() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet)).await;
    stage.world(|world| {
        elb::delete(world, "shop");
        let web = elbv2::arn_of(world, "web").unwrap();
        let listeners: Vec<String> = world.elbv2.listeners.keys().cloned().collect();
        for listener in listeners {
            let _ = elbv2::delete_listener(world, &listener);
        }
        elbv2::delete_target_group(world, &web).unwrap();
    });
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:edge:443=eth0"], "{}", stage.describe());
    assert_eq!(stage.held("web-1"), Vec::<String>::new(), "a registration that can never succeed is dropped");
}

#[tokio::test(start_paused = true)]
async fn balancers_that_are_described_on_several_pages_are_all_given_back() {
    let stage = Stage::with(Options { page_size: Some(1), ..Options::default() }, &[]);
    stage.classic("old").classic("shop").instances_group("api").instances_group("web").instance("web-1");
    let places = ["clb:old", "clb:shop", "tg:api:80", "tg:web:80"];
    stage.registered_at("web-1", &places).stop_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), places);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), places, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_new_group_under_an_old_name_is_another_group() {
    let stage = Stage::new();
    stage.instances_group("old").instances_group("web").instance("web-1");
    stage.registered("web-1", "tg:old").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    stage.world(|world| {
        let old = elbv2::arn_of(world, "old").unwrap();
        let listeners: Vec<String> = world.elbv2.listeners.keys().cloned().collect();
        for listener in listeners {
            let _ = elbv2::delete_listener(world, &listener);
        }
        elbv2::delete_target_group(world, &old).unwrap();
        let spec = elbv2::TargetGroupSpec::instances("old", &stage.vpc, 80);
        elbv2::create_target_group(world, spec).unwrap();
    });
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stops_in_the_same_moment_spoils_only_itself() {
    let stage = Stage::new();
    stage.instances_group("web").classic("shop");
    for name in ["web-1", "web-2", "web-3"] {
        stage.instance(name).registered(name, "tg:web").registered(name, "clb:shop");
        stage.stop(name);
    }
    stage.rest().await;
    // The three start together, so that they come in one batch. One is stopped again as soon as the function is about to register
    // it.
    stage.world(|world| world.options.starting = sandbox::Span::milliseconds(10_000, 10_001));
    let doomed = stage.id("web-2");
    let sandbox = stage.sandbox.clone();
    let _fault = stage.sandbox.fault(move |call: &sandbox::Call| {
        if call.action.starts_with("Register") {
            let (sandbox, doomed) = (sandbox.clone(), doomed.clone());
            tokio::spawn(async move { sandbox.with(|world| ec2::stop(world, &doomed)) });
            return Verdict::Delay(std::time::Duration::from_millis(50));
        }
        Verdict::Pass
    });
    stage.start("web-1").start("web-2").start("web-3").rest().await;
    let all = vec!["clb:shop".to_owned(), "tg:web:80".to_owned()];
    assert_eq!((stage.places("web-1"), stage.places("web-3")), (all.clone(), all.clone()), "{}", stage.describe());
    assert_eq!((stage.places("web-2").len(), stage.held("web-2")), (0, all));
}

#[tokio::test(start_paused = true)]
async fn a_literal_address_is_given_back_only_while_the_instance_owns_it() {
    let stage = Stage::new();
    stage.addresses_group("edge").instance("web-1").instance("web-2");
    let floating = "10.0.0.77".parse().unwrap();
    let eth0 = |name: &str| {
        let id = stage.id(name);
        stage.world(|world| world.ec2.instance(&id).unwrap().eth0().unwrap().id.clone())
    };
    stage.world(|world| ec2::assign_address(world, &eth0_of(world, 0), floating)).unwrap();
    let owner =
        if eth0("web-1") == stage.world(|world| eth0_of(world, 0)) { ("web-1", "web-2") } else { ("web-2", "web-1") };
    stage.registered(owner.0, "tg:edge:443=10.0.0.77").registered(owner.0, "tg:edge:443=eth0");
    stage.stop_and_rest(owner.0).await;
    assert_eq!(stage.held(owner.0), ["tg:edge:443=10.0.0.77", "tg:edge:443=eth0"]);
    let other = eth0(owner.1);
    stage.world(|world| ec2::move_address(world, floating, &other)).unwrap();
    stage.start_and_rest(owner.0).await;
    assert_eq!(stage.members("tg:edge").len(), 1, "only eth0\n{}", stage.describe());
    assert_eq!(stage.held(owner.0), Vec::<String>::new());
}

fn eth0_of(world: &sandbox::World, index: usize) -> String {
    let history = world.ec2.instances.values().nth(index).expect("an instance");
    history.current().eth0().expect("an interface").id.clone()
}

#[tokio::test(start_paused = true)]
async fn a_missing_address_keeps_the_registration_held() {
    let stage = Stage::new();
    let dual = NewInterface { ipv6_count: 1, ..Default::default() };
    stage.group(elbv2::TargetGroupSpec::addresses("edge6", &stage.vpc, 443).ipv6());
    stage.launch("web-1", Launch { interfaces: Vec::new(), ..Launch::new(&stage.subnet) }.interface(0, 0, dual));
    let id = stage.id("web-1");
    let eth0 = stage.world(|world| world.ec2.instance(&id).unwrap().eth0().unwrap().clone());
    let ipv6 = eth0.ipv6[0].0;
    stage.registered("web-1", &format!("tg:edge6:443={ipv6}"));
    stage.stop_and_rest("web-1").await;
    stage.world(|world| ec2::unassign_address(world, &eth0.id, ipv6.into())).unwrap();
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), [format!("tg:edge6:443={ipv6}")], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_keeps_the_registration_held_until_there_is_room() {
    let stage = Stage::new();
    stage.instances_group("web").classic("shop").instance("web-1").instance("web-2");
    stage.registered("web-1", "tg:web").registered("web-1", "clb:shop");
    stage.stop_and_rest("web-1").await;
    stage.registered("web-2", "tg:web");
    stage.world(|world| world.elbv2.targets_per_group = 1);
    stage.start("web-1");
    stage.until("back at the other balancer", |world| !elb::members(world, "shop").is_empty()).await;
    stage.sandbox.advance(std::time::Duration::from_secs(900)).await;
    assert_eq!(stage.places("web-1"), ["clb:shop"]);
    assert_eq!(stage.held("web-1"), ["clb:shop", "tg:web:80"]);
    stage.world(|world| world.elbv2.targets_per_group = 10);
    stage.rest().await;
    assert_eq!(stage.places("web-1"), ["clb:shop", "tg:web:80"], "{}", stage.describe());
    assert_eq!(stage.held("web-1"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_tag_broken_by_hand_is_named_and_left_as_it_is() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet)).await;
    let broken = "clb:shop tg:web oops";
    stage.tagged("web-1", "elb-registrar:held.mine", broken);
    stage.deliver_only(&[]);
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(std::time::Duration::from_secs(400)).await;
    let report = stage.invoke(end_to_end::state_change(&stage, "web-1", "running")).await.expect("a report");
    let text = report.to_string();
    assert!(text.contains("tag elb-registrar:held.mine"), "{text}");
    assert!(text.contains("`oops` is not a registration") && text.contains("`tg:web` is not"), "{text}");
    assert_eq!(stage.places("web-1"), PLACES);
    stage.sandbox.advance(std::time::Duration::from_secs(400)).await;
    stage.invoke(end_to_end::state_change(&stage, "web-1", "running")).await.expect("a report");
    let tags = stage.tags("web-1");
    assert_eq!(tags.get("elb-registrar:held.mine").map(String::as_str), Some(broken));
    assert_eq!(tags.keys().filter(|key| key.contains("held")).count(), 1, "the good tags are forgotten: {tags:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_a_person_gave_back_already_is_just_forgotten() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    stage.deliver(|_| sandbox::events::Delivery::Late(std::time::Duration::from_secs(30)));
    stage.start("web-1");
    stage.until_it_is("web-1", ec2::InstanceState::Running).await;
    stage.registered("web-1", "tg:web");
    stage.sandbox.advance(std::time::Duration::from_secs(30)).await;
    stage.rest().await;
    assert_eq!((stage.count("RegisterTargets"), stage.held("web-1").len()), (0, 0));
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_aws_accepted_and_lost_is_made_again() {
    // A registration that AWS answered with success, and that is missing at the next look.
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    stage.start("web-1");
    stage
        .until("registered", |world| {
            elbv2::arn_of(world, "web").is_some_and(|arn| {
                elbv2::targets(world, &arn).iter().any(|target| target.state == elbv2::Standing::Registered)
            })
        })
        .await;
    let id = stage.id("web-1");
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "web").unwrap();
        elbv2::deregister(world, &arn, elbv2::Target::new(id)).unwrap();
    });
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (vec!["tg:web:80".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_forgetting_is_repeated() {
    let stage = Stage::new();
    stopped_shop(&stage, Launch::new(&stage.subnet)).await;
    let denied = ApiError::sender("UnauthorizedOperation", "You are not authorized to perform this operation.");
    let _fault = stage.sandbox.fault(kth("DeleteTags", 1, Verdict::Refuse(denied)));
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (4, 0), "{}", stage.describe());
}

/// Stops and starts instances, some of them in one batch, and returns when the last one runs.
async fn restart_together(stage: &Stage, names: &[&str], before_start: impl FnOnce()) {
    for name in names {
        stage.stop(name);
    }
    stage.rest().await;
    before_start();
    stage.sandbox.advance(Duration::from_secs(7_200)).await;
    for name in names {
        stage.start(name);
    }
    for name in names {
        stage.until_it_is(name, ec2::InstanceState::Running).await;
    }
}

/// Adds a text to the tag that holds the registrations of an instance.
fn slip_into_held_tag(stage: &Stage, name: &str, text: &str) {
    let held = stage.tags(name).into_iter().find(|(key, _)| key.starts_with("elb-registrar:held"));
    let (key, value) = held.expect("a tag that holds");
    stage.tagged(name, &key, &format!("{value} {text}"));
}

#[tokio::test(start_paused = true)]
async fn a_slip_in_one_instances_held_tag_delays_no_other() {
    // None of these can be an id or a name. AWS refuses a whole call that has one of them.
    for slip in ["tg:web/0123:80", "tg:web/0123456789ABCDEF:80", "tg:-web/0123456789abcdef:80", "clb:-x", "clb:x-"] {
        for options in [Options::default(), same_moment()] {
            let stage = Stage::with(options, &[]);
            stage.instances_group("web").instance("web-1").instance("web-2");
            stage.registered("web-1", "tg:web").registered("web-2", "tg:web");
            restart_together(&stage, &["web-1", "web-2"], || slip_into_held_tag(&stage, "web-1", slip)).await;
            stage.sandbox.advance(Duration::from_secs(20)).await;
            assert_eq!(stage.places("web-2"), ["tg:web:80"], "{slip}\n{}", stage.describe());
            assert_eq!(stage.places("web-1"), ["tg:web:80"], "{slip}: what can be read of its tag is back, too");
            assert!(stage.tags("web-1").values().any(|value| value.contains(slip)), "the tag is left as it is");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_cannot_be_described_delays_no_other() {
    // The refusal is one that no page describes.
    for odd in ["tg:odd", "clb:odd"] {
        let stage = Stage::with(same_moment(), &[]);
        stage.instances_group("odd").classic("odd").instances_group("web").classic("shop");
        for name in ["web-1", "web-2"] {
            stage.instance(name).registered(name, "tg:web").registered(name, "clb:shop");
        }
        stage.registered("web-1", odd);
        let refused = |call: &Call| {
            let names_it = |(_, value): &(String, String)| value == "odd" || value.contains("targetgroup/odd/");
            let is_refused = call.action.starts_with("Describe") && call.parameters.iter().any(names_it);
            match is_refused {
                true => Verdict::Refuse(ApiError::sender("NotYetDocumented", "for a reason of its own")),
                false => Verdict::Pass,
            }
        };
        let mut fault = None;
        restart_together(&stage, &["web-1", "web-2"], || fault = Some(stage.sandbox.fault(refused))).await;
        stage.sandbox.advance(Duration::from_secs(20)).await;
        assert_eq!(stage.places("web-2"), ["clb:shop", "tg:web:80"], "{odd}\n{}", stage.describe());
        drop(fault);
        stage.rest().await;
        assert_eq!(stage.places("web-1").len(), 3, "{odd}: nothing is lost\n{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_with_room_for_some_gets_some() {
    // "TooManyTargets" refuses the whole call: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html
    let stage = Stage::with(same_moment(), &[]);
    stage.instances_group("web");
    let names = ["web-0", "web-1", "web-2", "web-3"];
    for name in names {
        stage.instance(name).registered(name, "tg:web");
    }
    restart_together(&stage, &names, || stage.world(|world| world.elbv2.targets_per_group = 3)).await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    assert_eq!(stage.members("tg:web").len(), 3, "{}", stage.describe());
    stage.world(|world| world.elbv2.targets_per_group = 1_000);
    stage.rest().await;
    assert_eq!(stage.members("tg:web").len(), 4, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_hits_a_whole_fleet_costs_few_calls() {
    let stage = Stage::new();
    stage.instances_group("web");
    let names: Vec<String> = (0..100).map(|n| format!("web-{n}")).collect();
    for name in &names {
        stage.instance(name).registered(name, "tg:web");
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fault = None;
    let refused = |call: &Call| match call.action.as_str() {
        "RegisterTargets" => Verdict::Refuse(ApiError::sender("ValidationError", "A QUIC server ID must be specified")),
        _ => Verdict::Pass,
    };
    restart_together(&stage, &names, || {
        fault = Some(stage.sandbox.fault(refused));
        stage.forget_calls();
    })
    .await;
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    let is_it = |call: &&Call| call.action == "RegisterTargets";
    let calls = stage.world(|world| world.calls.iter().filter(is_it).count());
    assert!((5..=1_000).contains(&calls), "{calls} calls in an hour for 100 instances");
    drop(fault);
    stage.rest().await;
    assert_eq!(stage.members("tg:web").len(), 100, "{}", stage.describe());
}

const QUIC_ID: &str = "0x0123456789abcdef";
const OTHER_QUIC_ID: &str = "0xfedcba9876543210";

/// Creates an instance in the group `quic`, with a server id.
fn quic(stage: &Stage) {
    let (instances, protocol) = (elbv2::TargetType::Instance, Some("QUIC"));
    let spec = elbv2::TargetGroupSpec::new("quic", instances, protocol, Some(443), Some(&stage.vpc));
    stage
        .world(|world| {
            let group = elbv2::create_target_group(world, spec)?;
            let balancer = elbv2::create_load_balancer(world, elbv2::Kind::Network, "quic-nlb", &stage.vpc)?;
            elbv2::attach(world, &group, &balancer, 443)
        })
        .expect("a group that Elastic Load Balancing accepts");
    stage.instance("web-1").registered("web-1", &format!("tg:quic:443+{QUIC_ID}"));
}

/// "You must deregister the target and then provide a new server ID when you register the target again"
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html>).
#[tokio::test(start_paused = true)]
async fn a_target_with_another_quic_id_is_named_and_left() {
    let stage = Stage::new();
    quic(&stage);
    stage.stop_and_rest("web-1").await.deliver_only(&[]);
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    stage.start("web-1").until_it_is("web-1", ec2::InstanceState::Running).await;
    stage.registered("web-1", &format!("tg:quic:443+{OTHER_QUIC_ID}"));
    for _ in 0..2 {
        let report = stage.sweep().await.expect("a report");
        let named = report["instances"][stage.id("web-1")]["needs_a_person"].to_string();
        assert!(named.contains(QUIC_ID) && named.contains(OTHER_QUIC_ID), "{report:#}");
        stage.sandbox.advance(Duration::from_secs(900)).await;
    }
    let (other, held) = (format!("web-1:443+{OTHER_QUIC_ID}"), format!("tg:quic:443+{QUIC_ID}"));
    assert_eq!((stage.members("tg:quic"), stage.held("web-1")), (vec![other], vec![held]), "{}", stage.describe());
    assert_eq!(stage.count("DeregisterTargets"), 1, "a running instance is never deregistered for it");
}

#[tokio::test(start_paused = true)]
async fn the_quic_id_that_was_registered_last_is_given_back() {
    let stage = Stage::new();
    quic(&stage);
    stage.stop_and_rest("web-1").await.deliver_only(&["stopping", "stopped"]);
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    stage.start("web-1").until_it_is("web-1", ec2::InstanceState::Running).await;
    stage.registered("web-1", &format!("tg:quic:443+{OTHER_QUIC_ID}"));
    stage.sandbox.advance(Duration::from_secs(900)).await;
    stage.stop_and_rest("web-1").await.deliver_only(&["running"]);
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    stage.start_and_rest("web-1").await;
    let other = format!("web-1:443+{OTHER_QUIC_ID}");
    assert_eq!((stage.members("tg:quic"), stage.held("web-1")), (vec![other], Vec::new()), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_declaration_without_a_quic_id_is_met_by_any() {
    let stage = Stage::new();
    quic(&stage);
    stage.tagged("web-1", "elb-registrar:register", "tg:quic:443");
    let report = stage.sweep_with(serde_json::json!({ "report": "all" })).await.expect("a report");
    assert_eq!(report["instances"][stage.id("web-1")]["needs_a_person"], serde_json::Value::Null, "{report:#}");
}

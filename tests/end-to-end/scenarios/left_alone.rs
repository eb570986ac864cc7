//! The functions touch nothing that belongs to others.

use end_to_end::{Stage, state_change};
use sandbox::{
    auto_scaling::{self, GroupSpec, HookSpec, LifecycleState, TrafficSourceKind},
    ec2, elbv2,
};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn an_ignored_instance_keeps_everything() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").tagged("web-1", "elb-registrar:ignore", "");
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.count("CreateTags")), (vec!["clb:shop".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_misspelled_tag_is_named_by_event_sweep_and_status() {
    for key in [
        "elb-registrar:ignored",
        "elb-registar:ignore",
        "Elb-Registrar:Ignore",
        "ELB-REGISTRAR:IGNORE",
        // The sweep finds such a tag with any of its filters in EC2.
        "elb-regstrar:ignore",
        "eb-registrar:ignore",
        "elb-reigstrar:ignore",
        "elb_registrar_ignored",
    ] {
        let stage = Stage::new();
        stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").tagged("web-1", key, "");
        let id = stage.id("web-1");
        let named = format!(
            "tag {key}: the key of this tag means nothing to elb-registrar: did you mean `elb-registrar:ignore`?"
        );
        let is_named = |report: Value| {
            let list = report["instances"][&id]["needs_a_person"].as_array().cloned().unwrap_or_default();
            let sentence = |because: &Value| format!("{}: {}", because["what"], because["why"]).replace('"', "");
            assert!(list.iter().any(|because| sentence(because) == named), "{key}: {report:#}");
        };
        is_named(stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report"));
        is_named(stage.sweep().await.expect("a report"));
        is_named(stage.sweep_with(json!({ "report": "all" })).await.expect("a report"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancers_misspelled_tag_is_named_with_the_balancer() {
    for what in ["clb:shop", "tg:web", "lb:web-alb"] {
        let stage = Stage::new();
        stage.classic("shop").instances_group("web").instance("web-1").registered_at("web-1", &["clb:shop", "tg:web"]);
        stage.tagged(what, "elb-registrar:ignored", "");
        let report = stage.sweep_with(json!({ "report": "all" })).await.expect("a report").to_string();
        assert!(report.contains("did you mean `elb-registrar:ignore`?"), "{what}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ignored_instance_keeps_what_it_holds_until_the_tag_is_gone() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.stop_and_rest("web-1").await;
    stage.tagged("web-1", "elb-registrar:ignore", "").start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 1));
    let id = stage.id("web-1");
    stage.world(|world| sandbox::ec2::remove_tag(world, &id, "elb-registrar:ignore"));
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn balancers_with_an_owner_keep_the_instance_and_others_do_not() {
    for (what, key) in [
        ("clb:mine", "elb-registrar:ignore"),
        ("clb:mine", "kubernetes.io/cluster/prod"),
        ("tg:mine", "elb-registrar:ignore"),
        ("tg:mine", "elbv2.k8s.aws/cluster"),
        ("lb:mine-alb", "elb-registrar:ignore"),
    ] {
        let stage = Stage::new();
        stage.classic("mine").instances_group("mine").classic("shop").instances_group("web").instance("web-1");
        let kept = if what.starts_with("clb") { "clb:mine" } else { "tg:mine:80" };
        stage.registered_at("web-1", &["clb:shop", "tg:web", kept]).tagged(what, key, "x");
        stage.stop_and_rest("web-1").await;
        assert_eq!(stage.places("web-1"), [kept], "{what} {key}\n{}", stage.describe());
        assert_eq!(stage.held("web-1"), ["clb:shop", "tg:web:80"], "{what} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_held_for_an_ignored_balancer_is_dropped() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1");
    stage.registered("web-1", "clb:shop").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    stage.tagged("clb:shop", "elb-registrar:ignore", "").start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"], "{}", stage.describe());
    assert_eq!(stage.held("web-1"), Vec::<String>::new());
}

/// Returns an Auto Scaling group `fleet` with one member. The member is in the target group `attached` and the Classic load balancer
/// `classic` of its group, and in `other` besides.
async fn fleet(state: LifecycleState) -> Stage {
    let stage = Stage::new();
    stage.instances_group("attached").classic("classic").addresses_group("other").instance("web-1");
    let id = stage.id("web-1");
    let arn = stage.world(|world| elbv2::arn_of(world, "attached")).expect("a group");
    create_group(&stage, &arn).await;
    stage.world(|world| auto_scaling::add_member(world, "fleet", &id, state)).expect("a member");
    stage
}

/// Creates the Auto Scaling group `fleet` with a target group and the Classic load balancer `classic`.
pub(crate) async fn create_group(stage: &Stage, target_group: &str) {
    let form = format!(
        "Action=CreateAutoScalingGroup&Version=2011-01-01&AutoScalingGroupName=fleet&MinSize=0&MaxSize=4&DesiredCapacity=0\
         &VPCZoneIdentifier={}&LaunchConfigurationName=any&TargetGroupARNs.member.1={}&LoadBalancerNames.member.1=classic",
        stage.subnet,
        target_group.replace(':', "%3A").replace('/', "%2F"),
    );
    let request = http::Request::post("https://autoscaling.us-east-1.amazonaws.com/")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AKIAOPERATOR/20260105/us-east-1/autoscaling/aws4_request")
        .body(form.into_bytes().into())
        .expect("a request");
    match stage.sandbox.call(request).await {
        sandbox::Reply::Answered(answer) => assert!(answer.status().is_success(), "{:?}", answer.body()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn balancers_that_a_group_attached_are_left_to_the_group() {
    let stage = fleet(LifecycleState::InService).await;
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80"], "the group registers by itself");
    stage.registered("web-1", "tg:other:443=eth0");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80"], "{}", stage.describe());
    assert_eq!(stage.held("web-1"), ["tg:other:443=eth0"]);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80", "tg:other:443=eth0"]);
    assert_eq!(stage.held("web-1"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn another_port_of_an_attached_group_is_not_the_groups_affair() {
    let stage = fleet(LifecycleState::InService).await;
    stage.registered("web-1", "tg:attached:8080").stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80"], "{}", stage.describe());
    assert_eq!(stage.held("web-1"), ["tg:attached:8080"]);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80", "tg:attached:8080"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_another_port_of_an_attached_group() {
    let stage = fleet(LifecycleState::InService).await;
    stage.deliver_only(&[]).registered("web-1", "tg:attached:8080").stop_and_rest("web-1").await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.places("web-1"), ["clb:classic", "tg:attached:80"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn another_port_of_an_attached_group_is_drained_at_the_hook() {
    let stage = Stage::new();
    stage.instances_group("web").drains("web", 60);
    let arn = stage.world(|world| elbv2::arn_of(world, "web")).expect("a group");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .attached(TrafficSourceKind::TargetGroup, &arn)
        .hook(HookSpec::terminating("elb-registrar-out").heartbeat(300))
        .desired(1);
    stage.fleet(spec).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| elbv2::register(world, &arn, elbv2::Target::new(&id).on(8080))).expect("registered");
    stage.wants("fleet", 0);
    stage.until("the end of the action", |world| !world.auto_scaling.ended_actions.is_empty()).await;
    assert_eq!(stage.members("tg:web"), Vec::<String>::new(), "let go, and still served");
}

#[tokio::test(start_paused = true)]
async fn what_a_group_attached_is_left_alone_though_its_tag_lags() {
    for declared in
        [r#"{"register": ["tg:web"]}"#, r#"{"register": ["tg:web:80"]}"#, r#"{"register": ["tg:web:8080"]}"#]
    {
        let stage = Stage::new();
        stage.instances_group("web").drains("web", 30);
        let arn = stage.world(|world| elbv2::arn_of(world, "web")).expect("a group");
        let spec = GroupSpec::new("fleet", &stage.subnet)
            .attached(TrafficSourceKind::TargetGroup, &arn)
            .hook(HookSpec::launching("elb-registrar-in").heartbeat(300).metadata(declared))
            .hook(HookSpec::terminating("elb-registrar-out").heartbeat(300))
            .desired(1);
        stage.fleet(spec);
        // EC2's description of the tag lags.
        stage.until("launched", |world| !world.ec2.instances.is_empty()).await;
        let id = stage.world(|world| world.ec2.instances.keys().next().cloned()).expect("an instance");
        stage.world(|world| ec2::remove_tag(world, &id, "aws:autoscaling:groupName"));
        stage.rest().await;
        assert_eq!(stage.members("tg:web").len(), 1, "{}", stage.describe());
        stage.wants("fleet", 0).rest().await;
        let writes = |call: &sandbox::Call| ["RegisterTargets", "DeregisterTargets"].contains(&call.action.as_str());
        let touched: Vec<String> = stage.all_calls().into_iter().filter(writes).map(|call| call.action).collect();
        assert_eq!(touched, Vec::<String>::new(), "{declared}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_in_standby_or_a_warm_pool_is_not_registered() {
    for state in [LifecycleState::Standby, LifecycleState::WarmedRunning] {
        let stage = fleet(LifecycleState::InService).await;
        stage.registered("web-1", "tg:other:443=eth0").stop_and_rest("web-1").await;
        let id = stage.id("web-1");
        stage.world(|world| auto_scaling::set_lifecycle_state(world, &id, state));
        stage.start_and_rest("web-1").await;
        assert!(!stage.places("web-1").contains(&"tg:other:443=eth0".to_owned()), "{state:?}\n{}", stage.describe());
        assert_eq!(stage.held("web-1"), ["tg:other:443=eth0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_untouched_while_its_group_cannot_be_read() {
    let stage = fleet(LifecycleState::InService).await;
    stage.registered("web-1", "tg:other:443=eth0");
    let denied = sandbox::wire::ApiError::sender("AccessDenied", "User is not authorized");
    let fault =
        stage.sandbox.fault(sandbox::fault::every("DescribeAutoScalingGroups", sandbox::Verdict::Refuse(denied)));
    stage.stop("web-1");
    stage.sandbox.advance(std::time::Duration::from_secs(300)).await;
    assert_eq!(stage.places("web-1").len(), 3, "{}", stage.describe());
    drop(fault);
    stage.rest().await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_a_person_removed_stays_removed() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1");
    stage.registered("web-1", "clb:shop").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    let id = stage.id("web-1");
    stage.world(|world| sandbox::elb::deregister(world, "shop", &id)).expect("a member");
    stage.world(|world| sandbox::events::instance_changed(world, &id, sandbox::ec2::InstanceState::Running));
    stage.rest().await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"], "a running event again, long after the start");
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_only_instances_that_bear_the_tag_are_converged() {
    let stage = Stage::with_settings(&[("Scope", "tagged")]);
    stage.classic("shop").instance("in").instance("out").tagged("in", "elb-registrar:register", "");
    for name in ["in", "out"] {
        stage.registered(name, "clb:shop").stop(name);
    }
    stage.rest().await;
    assert_eq!((stage.places("in").len(), stage.places("out").len()), (0, 1), "{}", stage.describe());
    stage.start("in").start_and_rest("out").await;
    assert_eq!(stage.members("clb:shop"), ["in", "out"]);
}

#[tokio::test(start_paused = true)]
async fn policies_listeners_and_health_checks_are_never_called() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1");
    stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    let writes: std::collections::BTreeSet<String> =
        stage.calls().into_iter().map(|call| call.action).filter(|action| !action.starts_with("Describe")).collect();
    let allowed = [
        "CreateTags",
        "DeleteTags",
        "DeregisterInstancesFromLoadBalancer",
        "DeregisterTargets",
        "RegisterInstancesWithLoadBalancer",
        "RegisterTargets",
        "SendMessageBatch",
    ];
    assert_eq!(writes.into_iter().collect::<Vec<_>>(), allowed);
}

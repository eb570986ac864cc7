//! The functions touch nothing that belongs to others.

use std::time::Duration;

use end_to_end::{Stage, places, state_change};
use sandbox::{
    auto_scaling::{
        self, ActionResult, GroupSpec, HookSpec, Leaving, LifecycleState, PoolState, Process, TrafficSourceKind,
        WarmPool, process,
    },
    ec2::{self, InstanceState, Ipv4Wish, Launch, NewInterface},
    elbv2::{self, TargetGroupSpec},
};
use serde_json::{Value, json};

use super::lifecycle::{LAUNCH, TERMINATE};

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
        // The cloud provider of Kubernetes, the AWS Load Balancer Controller, EKS Auto Mode, and ECS.
        ("clb:mine", "KubernetesCluster"),
        ("tg:mine", "ingress.k8s.aws/stack"),
        ("lb:mine-alb", "service.k8s.aws/stack"),
        ("tg:mine", "eks:eks-cluster-name"),
        ("tg:mine", "service.eks.amazonaws.com/stack"),
        ("lb:mine-alb", "ingress.eks.amazonaws.com/stack"),
        ("lb:mine-alb", "AmazonECSManaged"),
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

/// Keys of instances on which a controller registers what runs there.
const NODES: [&str; 5] = [
    "AmazonECSManaged",
    "kubernetes.io/cluster/prod",
    "eks:nodegroup-name",
    "aws:eks:cluster-name",
    "karpenter.sh/nodepool",
];

/// Returns what a report leaves alone of an instance.
fn left_alone(report: &Value, id: &str) -> usize {
    report["instances"][id]["left_alone"].as_array().map_or(0, Vec::len)
}

/// ECS registers a task of the network mode `bridge` on a port that Docker chooses
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html>, "hostPort").
#[tokio::test(start_paused = true)]
async fn what_a_controller_registers_on_its_node_is_left_to_it() {
    for key in NODES {
        let stage = Stage::new();
        stage.instances_group("svc-a").instances_group("svc-b").addresses_group("edge").instance("node");
        stage.tagged("node", key, "x").registered_at("node", &["tg:svc-a:32768", "tg:edge:443=eth0"]);
        stage.stop_and_rest("node").await;
        assert_eq!(stage.places("node"), ["tg:edge:443=eth0", "tg:svc-a:32768"], "{key}: {:?}", stage.held("node"));
        let (report, id) = (stage.sweep().await.expect("a report"), stage.id("node"));
        assert_eq!(left_alone(&report, &id), 2, "{key}: {report:#}");
        // The controller gives the port to another service.
        let target = || elbv2::Target { port: Some(32_768), ..elbv2::Target::new(&id) };
        let arn = |group: &str| stage.world(|world| elbv2::arn_of(world, group)).expect("a group");
        let (svc_a, svc_b) = (arn("svc-a"), arn("svc-b"));
        stage.world(|world| elbv2::deregister(world, &svc_a, target())).expect("a target");
        stage.start("node").until_it_is("node", InstanceState::Running).await;
        stage.world(|world| elbv2::register(world, &svc_b, target())).expect("a running instance");
        stage.rest().await;
        assert_eq!(stage.places("node"), ["tg:edge:443=eth0", "tg:svc-b:32768"], "{key}\n{}", stage.describe());
        assert_eq!(stage.count("CreateTags"), 0, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_controllers_node_says_what_is_left_alone() {
    for state in ["stopping", "shutting-down"] {
        let stage = Stage::new();
        stage.deliver_only(&[]).classic("shop").instances_group("web").instance("node").tagged(
            "node",
            "AmazonECSManaged",
            "",
        );
        stage.registered_at("node", &["clb:shop", "tg:web:32768"]);
        match state {
            "stopping" => stage.stop("node"),
            _ => stage.terminate("node"),
        };
        stage.sandbox.advance(std::time::Duration::from_secs(5)).await;
        let report = stage.invoke(state_change(&stage, "node", state)).await.expect("a report");
        assert_eq!(left_alone(&report, &stage.id("node")), 2, "{state}: {report:#}");
        assert_eq!((stage.count("DeregisterTargets"), stage.count("CreateTags")), (0, 0), "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_of_a_task_or_a_pod_tells_of_its_controller() {
    for (description, interface_type) in [
        ("arn:aws:ecs:us-east-1:123456789012:attachment/8c1b9c3e", "interface"),
        ("aws-K8S-i-0123456789abcdef0", "interface"),
        ("ECS trunk", "trunk"),
    ] {
        let stage = Stage::new();
        let launch = Launch::new(&stage.subnet).interface(0, 0, NewInterface::default());
        let (description, interface_type) = (description.to_owned(), interface_type.to_owned());
        let ipv4 = Ipv4Wish::Exactly([10, 0, 0, 77].into());
        let of_task =
            NewInterface { description: description.clone(), interface_type, ipv4, ..NewInterface::default() };
        stage.launch("node", launch.interface(1, 0, of_task)).addresses_group("task").instances_group("web");
        stage.registered_at("node", &["tg:task:443=10.0.0.77", "tg:web"]);
        stage.stop_and_rest("node").await;
        let members = (stage.members("tg:task"), stage.members("tg:web"));
        let all = (vec!["10.0.0.77:443".to_owned()], vec!["node:80".to_owned()]);
        assert_eq!(members, all, "{description}\n{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_overrules_a_controller_for_an_instance() {
    for key in NODES {
        let stage = Stage::new();
        stage.instances_group("web").classic("shop").instance("node").registered_at("node", &["tg:web", "clb:shop"]);
        stage.tagged("node", key, "x").tagged("node", "elb-registrar:manage", "").stop_and_rest("node").await;
        assert_eq!((stage.places("node").len(), stage.held("node").len()), (0, 2), "{key}");
        stage.start_and_rest("node").await;
        assert_eq!((stage.places("node").len(), stage.held("node").len()), (2, 0), "{key}\n{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_on_a_controllers_node_is_the_operators() {
    for declared in ["tg:exporter", "tg:exporter:9100"] {
        let stage = Stage::new();
        stage.instances_group("svc-a").group(TargetGroupSpec::instances("exporter", &stage.vpc, 9100)).instance("node");
        stage.tagged("node", "AmazonECSManaged", "").tagged("node", "elb-registrar:register", declared);
        stage.registered_at("node", &["tg:svc-a:32768", "tg:exporter:9100"]);
        stage.stop_and_rest("node").await;
        assert_eq!(stage.places("node"), ["tg:svc-a:32768"], "{declared}\n{}", stage.describe());
        stage.start_and_rest("node").await;
        assert_eq!(stage.places("node"), ["tg:exporter:9100", "tg:svc-a:32768"], "{declared}\n{}", stage.describe());
        assert_eq!(stage.held("node"), Vec::<String>::new());
    }
}

/// The hooks of a capacity provider's group are ended, whatever ECS has registered.
#[tokio::test(start_paused = true)]
async fn hooks_of_a_controllers_nodes_leave_its_registrations_alone() {
    let stage = Stage::new();
    stage.instances_group("svc-a");
    let launch = HookSpec::launching(LAUNCH).heartbeat(300).metadata(r#"{"register": ["tg:svc-a:32769"]}"#);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("AmazonECSManaged", "true")
        .hook(launch.by_default(ActionResult::Abandon))
        .hook(HookSpec::terminating(TERMINATE).heartbeat(300).by_default(ActionResult::Continue))
        .desired(1);
    stage.fleet(spec).rest().await;
    assert_eq!((stage.ended_actions().len(), stage.members("tg:svc-a")), (1, Vec::new()), "{}", stage.describe());
    let id = stage.member_states("fleet").remove(0).0;
    let arn = stage.world(|world| elbv2::arn_of(world, "svc-a")).expect("a group");
    let target = elbv2::Target { port: Some(32_768), ..elbv2::Target::new(&id) };
    stage.world(|world| elbv2::register(world, &arn, target)).expect("a running instance");
    stage.wants("fleet", 0).rest().await;
    assert_eq!((stage.ended_actions().len(), stage.count("DeregisterTargets")), (2, 0), "{}", stage.describe());
}

/// An earlier version held what the controller had registered.
#[tokio::test(start_paused = true)]
async fn what_is_held_on_a_controllers_node_stays_held_until_overruled() {
    let stage = Stage::new();
    stage.instances_group("svc-a").instance("node").registered("node", "tg:svc-a:32768").stop_and_rest("node").await;
    assert_eq!(stage.held("node"), ["tg:svc-a:32768"]);
    stage.tagged("node", "AmazonECSManaged", "").start_and_rest("node").await;
    let report = stage.sweep().await.expect("a report");
    assert_eq!(left_alone(&report, &stage.id("node")), 1, "{report:#}");
    assert_eq!((stage.places("node").len(), stage.held("node").len()), (0, 1), "{}", stage.describe());
    stage.tagged("node", "elb-registrar:manage", "");
    stage.sweep().await.expect("a report");
    stage.rest().await;
    assert_eq!((stage.places("node").len(), stage.held("node").len()), (1, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_an_owned_balancer_stays_held() {
    for (what, key, kept) in [
        ("clb:shop", "elb-registrar:ignore", "clb:shop"),
        ("clb:shop", "kubernetes.io/cluster/prod", "clb:shop"),
        ("tg:web", "elb-registrar:ignore", "tg:web:80"),
        ("tg:web", "elbv2.k8s.aws/cluster", "tg:web:80"),
        ("tg:edge", "elb-registrar:ignore", "tg:edge:443=eth0"),
        ("lb:web-alb", "elb-registrar:ignore", "tg:web:80"),
    ] {
        let stage = Stage::new();
        stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1");
        let all = ["clb:shop", "tg:edge:443=eth0", "tg:web:80"];
        stage.registered_at("web-1", &all).stop_and_rest("web-1").await;
        stage.tagged(what, key, "x").start_and_rest("web-1").await;
        let others: Vec<&str> = all.into_iter().filter(|place| *place != kept).collect();
        let (report, id) = (stage.sweep().await.expect("a report"), stage.id("web-1"));
        assert_eq!(stage.places("web-1"), others, "{what} {key}: {}", stage.describe());
        assert!(stage.held("web-1").contains(&kept.to_owned()), "{what} {key}: {report:#}");
        let why = report["instances"][&id]["left_alone"][0]["why"].as_str().unwrap_or_default().to_owned();
        assert!(why.ends_with("; it stays held until that is over"), "{what} {key}: {report:#}");
        // Another stop and start meanwhile.
        stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
        assert_eq!(stage.places("web-1"), others, "{what} {key}");
        stage.untagged(what, key).sweep().await.expect("a report");
        stage.rest().await;
        stage.sandbox.advance(Duration::from_secs(200)).await;
        stage.sweep().await.expect("a report");
        assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (3, 0), "{what} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_removes_stays_removed_though_another_place_is_left_alone() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1");
    stage.registered_at("web-1", &["clb:shop", "tg:edge:443=eth0", "tg:web"]).stop_and_rest("web-1").await;
    stage.tagged("clb:shop", "elb-registrar:ignore", "").start_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), ["clb:shop"], "{}", stage.describe());
    let (id, arn) = (stage.id("web-1"), stage.world(|world| elbv2::arn_of(world, "web")).expect("a group"));
    let target = elbv2::Target { port: Some(80), ..elbv2::Target::new(&id) };
    stage.world(|world| elbv2::deregister(world, &arn, target)).expect("a target");
    for _ in 0..2 {
        stage.sweep().await.expect("a report");
        stage.rest().await;
    }
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (vec!["tg:edge:443=eth0".to_owned()], 1));
    // Another stop takes what is there, and the ignored place comes back at last.
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    stage.untagged("clb:shop", "elb-registrar:ignore").sweep().await.expect("a report");
    stage.rest().await;
    assert_eq!(stage.places("web-1"), ["clb:shop", "tg:edge:443=eth0"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_balancer_ignored_for_a_minute_of_a_launch_is_not_forgotten() {
    // The instance waits at its launch hook, from a warm pool, with what it had before.
    let stage = crate::lifecycle::running_fleet(1).await;
    let pool = WarmPool { state: PoolState::Stopped, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| ec2::remove_tag(world, &id, "elb-registrar:register"));
    stage.wants("fleet", 0).rest().await;
    stage.tagged("tg:web", "elb-registrar:ignore", "").wants("fleet", 1).rest().await;
    assert_eq!(stage.world(|world| places(world, &id)), ["clb:shop", "tg:edge:443=eth0"]);
    stage.untagged("tg:web", "elb-registrar:ignore").sandbox.advance(Duration::from_secs(200)).await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.world(|world| places(world, &id)), crate::lifecycle::PLACES, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn what_a_group_attached_meanwhile_stays_held_until_detached() {
    let stage = Stage::new();
    stage.instances_group("attached").classic("classic").instance("web-1");
    stage.registered("web-1", "tg:attached").stop_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), ["tg:attached:80"]);
    let (id, arn) = (stage.id("web-1"), stage.world(|world| elbv2::arn_of(world, "attached")).expect("a group"));
    create_group(&stage, &arn).await;
    // Auto Scaling does not register while this process is suspended.
    stage.world(|world| process::suspend(world, "fleet", &[Process::AddToLoadBalancer])).expect("suspended");
    stage.deliver_only(&[]).start_and_rest("web-1").await;
    stage.world(|world| auto_scaling::add_member(world, "fleet", &id, LifecycleState::InService)).expect("a member");
    let report = stage.sweep().await.expect("a report");
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 1), "{report:#}");
    assert_eq!(left_alone(&report, &id), 1, "{report:#}");
    stage
        .world(|world| auto_scaling::detach(world, "fleet", std::slice::from_ref(&id), Leaving::Decrements))
        .expect("detached");
    stage.rest().await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.places("web-1"), ["tg:attached:80"], "{}", stage.describe());
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

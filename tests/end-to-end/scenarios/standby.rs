//! Members that run and that their group keeps out of service (Standby, the warm pool, on their way out) get no traffic.

use std::time::Duration;

use end_to_end::{Stage, places};
use sandbox::{
    Options,
    auto_scaling::{
        self, ActionResult, GroupSpec, HookSpec, Leaving, LifecycleState, PoolState, TrafficSourceKind, WarmPool,
    },
    deployment::LIFECYCLE,
    ec2, elbv2,
};

use crate::lifecycle::{event_of, open_action, untold};

/// Returns a stage with a group of one member that declares an address, and that is in service. No hook is involved.
async fn member_in_service() -> (Stage, String) {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 30).classic("shop").instances_group("attached");
    let arn = stage.world(|world| elbv2::arn_of(world, "attached")).expect("a group");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .attached(TrafficSourceKind::TargetGroup, &arn)
        .tag("elb-registrar:register", "tg:edge:443=eth0 clb:shop")
        .desired(1);
    stage.fleet(spec).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    let all = ["clb:shop", "tg:attached:80", "tg:edge:443=eth0"];
    assert_eq!(stage.world(|world| places(world, &id)), all, "{}", stage.describe());
    (stage, id)
}

fn count_of_sweeps(stage: &Stage, action: &str) -> usize {
    stage.sweep_calls().iter().filter(|call| call.action == action).count()
}

fn enter_standby(stage: &Stage, id: &String) {
    stage
        .world(|world| auto_scaling::enter_standby(world, "fleet", std::slice::from_ref(id), Leaving::Decrements))
        .expect("standby");
}

fn exit_standby(stage: &Stage, id: &String) {
    stage.world(|world| auto_scaling::exit_standby(world, "fleet", std::slice::from_ref(id))).expect("in service");
}

#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_launch_event_registers_no_member_in_standby() {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 30);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:edge:443=eth0")
        .hook(HookSpec::launching("elb-registrar-launch").heartbeat(600))
        .desired(1);
    stage.fleet(spec);
    let action = open_action(&stage).await;
    stage.rest().await;
    let id = action.instance_id.clone();
    enter_standby(&stage, &id);
    stage.sandbox.advance(Duration::from_secs(60)).await;
    // Maintenance: it is stopped and started in Standby.
    stage.world(|world| ec2::stop(world, &id)).expect("stopped");
    stage.rest().await;
    stage.world(|world| ec2::start(world, &id)).expect("started");
    stage.rest().await;
    assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new(), "Standby gets no traffic");
    let copy = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await;
    stage.rest().await;
    assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new(), "{copy:?}");
    exit_standby(&stage, &id);
    stage.sandbox.advance(Duration::from_secs(200)).await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.world(|world| places(world, &id)), ["tg:edge:443=eth0"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_a_member_in_standby_and_gives_it_back() {
    let (stage, id) = member_in_service().await;
    enter_standby(&stage, &id);
    stage.rest().await;
    let report = stage.sweep().await.expect("a sweep");
    assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new(), "{report:#}");
    assert_eq!(stage.held_by(&id), ["clb:shop", "tg:edge:443=eth0"], "what the group attached is not held");
    assert!(report.to_string().contains("keeps it out of service (Standby)"), "{report:#}");
    for _ in 0..3 {
        stage.sandbox.advance(Duration::from_secs(900)).await;
        stage.sweep().await.expect("a sweep");
        assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new(), "{}", stage.describe());
    }
    exit_standby(&stage, &id);
    stage.rest().await;
    stage.sweep().await.expect("a sweep");
    let all = ["clb:shop", "tg:attached:80", "tg:edge:443=eth0"];
    assert_eq!(stage.world(|world| places(world, &id)), all, "{}", stage.describe());
    stage.sandbox.advance(Duration::from_secs(900)).await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.held_by(&id), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_a_member_in_standby_that_bears_no_tag() {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 30);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).desired(1)).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").expect("a group");
        let address = world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4).expect("an address");
        elbv2::register(world, &arn, elbv2::Target::new(address.to_string()).on(443)).expect("registered");
    });
    enter_standby(&stage, &id);
    stage.rest().await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
    exit_standby(&stage, &id);
    stage.rest().await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge").len(), 1, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_reports_a_member_in_standby_and_leaves_it() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop");
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).desired(1)).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| sandbox::elb::register(world, "shop", &id)).expect("registered");
    enter_standby(&stage, &id);
    stage.rest().await;
    let report = stage.sweep().await.expect("a sweep");
    assert_eq!(stage.world(|world| places(world, &id)), ["clb:shop"]);
    assert!(report.to_string().contains("would_do") && report.to_string().contains("Standby"), "{report:#}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_returns_from_standby_during_a_sweep_keeps_its_traffic() {
    // The sweep's reading of the members is followed by a slow reading of the balancers. However slow, it is no proof.
    for seconds in [2, 9] {
        let (stage, id) = member_in_service().await;
        enter_standby(&stage, &id);
        stage.rest().await;
        let fault = stage.sandbox.fault(move |call: &sandbox::Call| match call.action == "DescribeTargetHealth" {
            true => sandbox::Verdict::Delay(Duration::from_secs(seconds)),
            false => sandbox::Verdict::Pass,
        });
        let back = async {
            stage.until("read", |world| world.calls.iter().any(|c| c.action == "DescribeTargetHealth")).await;
            exit_standby(&stage, &id);
        };
        let (report, ()) = tokio::join!(stage.sweep(), back);
        drop(fault);
        stage.rest().await;
        let all = ["clb:shop", "tg:attached:80", "tg:edge:443=eth0"];
        stage.sandbox.advance(Duration::from_secs(60)).await;
        assert_eq!(stage.world(|world| places(world, &id)), all, "{seconds} s: {report:?}\n{}", stage.describe());
        assert_eq!(
            stage.sweep_calls().iter().filter(|call| call.action == "DeregisterTargets").count(),
            0,
            "{seconds} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_of_a_running_warm_pool_gets_no_traffic() {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 30);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:edge:443=eth0")
        .hook(HookSpec::launching("elb-registrar-in").heartbeat(300))
        .hook(HookSpec::terminating("elb-registrar-out").heartbeat(300).by_default(ActionResult::Continue))
        .desired(1);
    stage.fleet(spec).rest().await;
    let pool = WarmPool { state: PoolState::Running, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.rest().await;
    assert_eq!(stage.members("tg:edge").len(), 1);
    untold(&stage);
    stage.wants("fleet", 0).rest().await;
    let states: Vec<LifecycleState> = stage.member_states("fleet").into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [LifecycleState::WarmedRunning]);
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "in the warm pool\n{}", stage.describe());
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.held_by(&id), ["tg:edge:443=eth0"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_a_member_that_waits_at_anothers_terminate_hook() {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 30);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:edge:443=eth0")
        .hook(HookSpec::terminating("of-another-tool").heartbeat(3_600))
        .desired(1);
    stage.fleet(spec).rest().await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge").len(), 1);
    stage.wants("fleet", 0);
    stage.until("waiting", |world| !world.auto_scaling.actions.is_empty()).await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_leaves_a_member_that_its_launch_hook_is_registering() {
    let stage = Stage::with(
        Options { becoming_healthy: sandbox::Span::milliseconds(120_000, 120_000), ..Options::default() },
        &[],
    );
    stage.addresses_group("edge");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .hook(HookSpec::launching("elb-registrar-in").heartbeat(600).metadata(r#"{"register": ["tg:edge"]}"#))
        .desired(1);
    stage.fleet(spec);
    stage.until("registered", |world| world.calls.iter().any(|c| c.action == "RegisterTargets")).await;
    stage.sandbox.advance(Duration::from_secs(20)).await;
    stage.forget_calls();
    stage.sweep().await.expect("a sweep");
    assert_eq!((stage.members("tg:edge").len(), count_of_sweeps(&stage, "DeregisterTargets")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_reads_members_fifty_a_page_and_no_further() {
    let stage = Stage::new();
    stage.sweep().await.expect("a sweep");
    assert_eq!(count_of_sweeps(&stage, "DescribeAutoScalingInstances"), 1, "no group, one page");
    for n in 0..51 {
        stage.instance(&format!("web-{n:02}"));
    }
    stage.fleet(GroupSpec { sizes: (0, 60, None), ..GroupSpec::new("fleet", &stage.subnet) });
    for n in 0..51 {
        let id = stage.id(&format!("web-{n:02}"));
        let state = LifecycleState::InService;
        stage.world(|world| auto_scaling::add_member(world, "fleet", &id, state)).expect("a member");
    }
    stage.forget_calls();
    stage.sweep().await.expect("a sweep");
    let calls = ["DescribeAutoScalingInstances", "DescribeInstances"].map(|action| count_of_sweeps(&stage, action));
    assert_eq!(calls, [2, 2], "the members in service are not described for it");
}

/// A wave has sixteen calls.
#[tokio::test(start_paused = true)]
async fn a_member_back_in_service_between_two_waves_keeps_the_rest() {
    let (stage, id) = member_in_service().await;
    for number in 0..22 {
        let name = format!("other-{number}");
        stage.instances_group(&name);
        stage.world(|world| {
            let arn = elbv2::arn_of(world, &name).expect("a group");
            elbv2::register(world, &arn, elbv2::Target { port: Some(80), ..elbv2::Target::new(&id) })
                .expect("a member");
        });
    }
    enter_standby(&stage, &id);
    stage.rest().await;
    let begun = |world: &sandbox::World| world.calls.iter().filter(|call| call.action == "DeregisterTargets").count();
    let before = stage.world(|world| begun(world));
    let (report, ()) = tokio::join!(stage.sweep(), async {
        stage.until("the first wave", |world| begun(world) > before).await;
        exit_standby(&stage, &id);
    });
    report.expect("a report");
    let taken = stage.world(|world| begun(world)) - before;
    assert!((1..=17).contains(&taken), "the first wave, and no more: {taken}\n{}", stage.describe());
    stage.rest().await;
    stage.sandbox.advance(Duration::from_secs(200)).await;
    stage.sweep().await.expect("a report");
    assert_eq!(stage.world(|world| places(world, &id)).len(), 25, "{}", stage.describe());
}

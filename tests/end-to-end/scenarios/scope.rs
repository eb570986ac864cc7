//! `Scope=tagged`: all functions agree on which instances are theirs.

use std::time::Duration;

use end_to_end::{Setting, Stage, places};
use sandbox::{
    Call,
    auto_scaling::{self, GroupSpec, HookSpec, Leaving},
    deployment::{INSTANCE_STATE, RECONCILE},
    ec2,
    iam::Permission,
};

const TAGGED: Setting = ("Scope", "tagged");

/// Returns a stage with one member that its launch hook has registered, and that bears no tag of ours.
async fn registered_by_its_hook(hook: &str, settings: &[Setting]) -> (Stage, String) {
    let stage = Stage::with_settings(settings);
    stage.addresses_group("edge").drains("edge", 30);
    let metadata = r#"{"register": ["tg:edge"]}"#;
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .hook(HookSpec::launching(hook).heartbeat(300).metadata(metadata))
        .desired(1);
    stage.fleet(spec).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.world(|world| places(world, &id)), ["tg:edge:443=eth0"], "{}", stage.describe());
    (stage, id)
}

/// Puts the member into Standby.
fn enter_standby(stage: &Stage, id: &str) {
    let ids = [id.to_owned()];
    stage.world(|world| auto_scaling::enter_standby(world, "fleet", &ids, Leaving::Decrements)).expect("standby");
}

/// Terminates the member as an operator does, and lets its group have none.
async fn terminate_by_hand(stage: &Stage, id: &str) {
    stage.world(|world| ec2::terminate(world, id)).expect("terminated by an operator");
    stage.world(|world| auto_scaling::set_desired(world, "fleet", 0)).expect("no member");
    stage.rest().await;
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_an_event_takes_out_what_a_hook_declared() {
    let (stage, id) = registered_by_its_hook("elb-registrar-in", &[TAGGED]).await;
    terminate_by_hand(&stage, &id).await;
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_a_sweep_takes_out_what_a_hook_declared() {
    let (stage, id) = registered_by_its_hook("elb-registrar-in", &[TAGGED]).await;
    stage.deliver_only(&[]);
    enter_standby(&stage, &id);
    stage.world(|world| ec2::stop(world, &id)).expect("stopped");
    stage.rest().await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
    assert_eq!(stage.held_by(&id), ["tg:edge:443=eth0"]);
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_a_sweep_takes_out_a_hooks_member_in_standby() {
    let (stage, id) = registered_by_its_hook("elb-registrar-in", &[TAGGED]).await;
    enter_standby(&stage, &id);
    stage.rest().await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn the_prefix_of_hooks_decides_for_all_functions() {
    let settings = [TAGGED, ("LifecycleHookPrefix", "traffic")];
    let (stage, id) = registered_by_its_hook("traffic-in", &settings).await;
    terminate_by_hand(&stage, &id).await;
    assert_eq!(stage.members("tg:edge"), Vec::<String>::new(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_members_of_groups_without_our_hooks_are_left_alone() {
    let stage = Stage::with_settings(&[TAGGED]);
    stage.classic("shop");
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(HookSpec::terminating("of-another-tool").heartbeat(60));
    stage.fleet(spec.desired(1)).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    stage.world(|world| sandbox::elb::register(world, "shop", &id)).expect("registered");
    enter_standby(&stage, &id);
    stage.world(|world| ec2::stop(world, &id)).expect("stopped");
    stage.rest().await;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.members("clb:shop").len(), 1, "{}", stage.describe());
    stage.sandbox.advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_another_deployment_puts_no_member_in_scope() {
    for (others, remaining) in [("elb-registrar-blue", 1), ("", 0)] {
        let stage = Stage::with_settings(&[TAGGED, ("OtherHookPrefixes", others)]);
        stage.classic("shop");
        let hook = HookSpec::terminating("elb-registrar-blue-out").heartbeat(60);
        stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1)).rest().await;
        let id = stage.member_states("fleet").remove(0).0;
        stage.world(|world| sandbox::elb::register(world, "shop", &id)).expect("registered");
        enter_standby(&stage, &id);
        stage.world(|world| ec2::stop(world, &id)).expect("stopped");
        stage.rest().await;
        assert_eq!(stage.members("clb:shop").len(), remaining, "{others}: {}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_are_read_only_in_scope_tagged_and_for_untagged_members() {
    for (settings, expected) in [(&[TAGGED][..], true), (&[], false)] {
        let (stage, id) = registered_by_its_hook("elb-registrar-in", settings).await;
        stage.forget_calls();
        stage.world(|world| ec2::terminate(world, &id)).expect("terminated by an operator");
        stage.rest().await;
        assert_eq!(stage.count("DescribeLifecycleHooks") > 0, expected, "{settings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_scope_tagged_a_missing_permission_to_read_hooks_is_told() {
    for (function, role) in
        [(INSTANCE_STATE, "elb-registrar-InstanceStateRole"), (RECONCILE, "elb-registrar-ReconcileRole")]
    {
        let (stage, id) = registered_by_its_hook("elb-registrar-in", &[TAGGED]).await;
        let all = stage.world(|world| world.iam.permissions());
        let is_meant =
            |found: &&Permission| found.action == "autoscaling:DescribeLifecycleHooks" && found.holder.contains(role);
        let permission = all.iter().find(is_meant).unwrap_or_else(|| panic!("{role}: {all:?}")).clone();
        assert!(stage.world(|world| world.iam.revoke(&permission)));
        if function == RECONCILE {
            // Otherwise the event's function takes the instance out first, and what it holds puts it in scope.
            stage.deliver_only(&[]);
        }
        stage.world(|world| ec2::stop(world, &id)).expect("stopped");
        stage.sandbox.advance(Duration::from_secs(30)).await;
        let _ = stage.sweep().await;
        let calls = stage.calls_of(function);
        let is_denied = |call: &&Call| call.action == "DescribeLifecycleHooks" && matches!(call.outcome, Some(Err(_)));
        assert!(calls.iter().any(|call| is_denied(&call)), "{function}: {}", stage.describe());
    }
}

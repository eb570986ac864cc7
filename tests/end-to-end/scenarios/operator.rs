//! The permissions of people who run the command: the policies of `docs/permissions.md` allow all that it calls, and no more.

use std::{collections::BTreeSet, time::Duration};

use end_to_end::Stage;
use registrar::{
    aws::clients::Clients,
    config::{Mode, Scope},
    engine::Engine,
    workflow::{Given, Restored},
};
use sandbox::{
    World,
    auto_scaling::{self, GroupSpec, HookSpec, LifecycleState},
    ec2::{self, Launch},
    elb, elbv2,
    iam::{Permission, Policy},
};

use crate::{
    command::{Account, Said, deploy},
    restore::restore_from,
};

const PAGE: &str = include_str!("../../../docs/permissions.md");

/// The key and the role of the person.
const KEY: &str = "AKIAOPERATOR";
const ROLE: &str = "person";

/// Returns the policies of the page: the first to look, the second to restore.
fn policies() -> [Policy; 2] {
    let blocks = PAGE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let read = |block: &str| {
        let document = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        Policy::of_role("pasted", &document).expect("a policy that IAM takes")
    };
    let policies: Vec<Policy> = blocks.map(read).collect();
    policies.try_into().unwrap_or_else(|found: Vec<Policy>| panic!("the page has {} policies", found.len()))
}

/// Returns an account that lets `status` read all that it ever reads: each kind of balancer, an instance that is out and one that
/// runs, an address without an owner, and a member that waits at a hook.
async fn account() -> Account {
    let account = Account::new(|world, network| {
        let web = elbv2::TargetGroupSpec::instances("web", &network.vpc, 80);
        let web = elbv2::create_target_group(world, web).expect("a new name");
        let edge = elbv2::TargetGroupSpec::addresses("edge", &network.vpc, 443);
        let edge = elbv2::create_target_group(world, edge).expect("a new name");
        let (runs, out) = (network.launch(world, "web-1", &[]), network.launch(world, "web-2", &[]));
        for instance in [&runs, &out] {
            elb::register(world, "shop", instance).expect("an instance");
            elbv2::register(world, &web, elbv2::Target::new(instance)).expect("an instance");
        }
        elbv2::register(world, &edge, elbv2::Target::new("10.0.77.77")).expect("an address of the VPC");
        ec2::stop(world, &out).expect("a stop");
        let hook = HookSpec::launching("elb-registrar-launch").heartbeat(7_200);
        auto_scaling::create_group(world, GroupSpec::new("fleet", &network.subnet).desired(1).hook(hook))
            .expect("a new name");
        auto_scaling::create_group(world, GroupSpec::new("served", &network.subnet)).expect("a new name");
        auto_scaling::add_member(world, "served", &runs, LifecycleState::InService).expect("a member");
        deploy(world, "reconcile", &[("REGISTRAR_MODE", "observe"), ("REGISTRAR_STACK", "fleet")]);
    });
    for _ in 0..100 {
        if account.run(&["status"]).await.out.contains("Pending:Wait") {
            account.sandbox.with(|world| world.calls.clear());
            return account;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no instance waits");
}

fn permissions(world: &World) -> BTreeSet<Permission> {
    world.iam.permissions().into_iter().filter(|permission| permission.holder == ROLE).collect()
}

/// Returns the denied actions, and the permissions that were not used.
fn denied_and_unused(world: &World) -> (Vec<String>, Vec<String>) {
    let denied = world.iam.denied.iter().map(|denial| format!("{} on {}", denial.action, denial.resource)).collect();
    let unused = permissions(world).into_iter().filter(|permission| !world.iam.used.contains(permission));
    (denied, unused.map(|permission| permission.action).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_plan_need_exactly_the_policy_of_the_page() {
    let account = account().await;
    let [look, _] = policies();
    account.sandbox.with(|world| world.iam.give(KEY, ROLE, look));
    account.run(&["status"]).await.has(&["10.0.77.77", "1 wrong, 1 orphans, 0 not read", "elb-registrar-launch"]);
    account.run(&["plan"]).await.has(&["would deregister", "0 not read"]);
    assert_eq!(account.sandbox.with(|world| denied_and_unused(world)), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_permission_status_names_what_it_could_not_read() {
    let account = account().await;
    let [look, _] = policies();
    account.sandbox.with(|world| world.iam.give(KEY, ROLE, look.clone()));
    for permission in account.sandbox.with(|world| permissions(world)) {
        account.sandbox.with(|world| {
            world.iam.give(KEY, ROLE, look.clone());
            assert!(world.iam.revoke(&permission));
        });
        let Said { code, out, errors } = account.run(&["status"]).await;
        assert!(format!("{out}{errors}").contains(&permission.action), "{}: {out}{errors}", permission.action);
        // Without a mode, and without the health of a member, no registration is missing.
        let is_complete = ["lambda:ListFunctions", "elasticloadbalancing:DescribeInstanceHealth"];
        let expected = if is_complete.contains(&&*permission.action) { 1 } else { 2 };
        assert_eq!(code, expected, "{}: {out}{errors}", permission.action);
    }
}

/// Returns a stage on which two instances run and hold, the one in every kind of balancer, the other in a group of another network.
async fn stage_that_holds() -> Stage {
    let stage = Stage::new();
    let far_subnet = stage.world(|world| {
        let vpc = ec2::create_vpc(world, "10.9.0.0/24");
        ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24")
    });
    stage.classic("shop").instances_group("web").addresses_group("edge").addresses_group("far").drains("edge", 600);
    stage.world(|world| elb::drain_for(world, "shop", Some(Duration::from_secs(600)))).expect("a load balancer");
    stage.instance("web-1").launch("far-1", Launch::new(&far_subnet));
    stage.registered_at("web-1", &["clb:shop", "tg:edge=eth0", "tg:web"]);
    stage.registered("far-1", "tg:far:443=eth0@us-east-1a");
    let id = stage.id("web-1");
    stage.fleet(GroupSpec::new("fleet", &stage.subnet));
    stage.world(|world| auto_scaling::add_member(world, "fleet", &id, LifecycleState::InService)).expect("a member");
    for instance in ["web-1", "far-1"] {
        stage.stop_and_rest(instance).await;
    }
    stage.deliver_only(&[]).start_and_rest("web-1").await.start_and_rest("far-1").await;
    // The address in `far` has drained by then, and the one in `edge` has not.
    stage.sandbox.advance(Duration::from_secs(400)).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn restore_needs_exactly_the_policy_of_the_page() {
    let [_, policy] = policies();
    // What the command reads of functions before it begins is tried with the command itself, below.
    let stage = stage_that_holds().await;
    stage.world(|world| world.iam.give(KEY, ROLE, policy));
    let sdk = stage.operator_sdk();
    let observer = Engine::new(Clients::that_only_read(&sdk).into(), Mode::Observe, Scope::All);
    observer.restore(&Given::default()).await.expect("a report");
    let engine = Engine::new(Clients::new(&sdk).into(), Mode::Enforce, Scope::All);
    let Restored { given, .. } = engine.restore(&Given::default()).await.expect("a report");
    // Both stop when they have what does not drain, so that all of this is taken back.
    assert!(stage.places("web-1").len() >= 2 && stage.places("far-1").len() == 1, "{}", stage.describe());
    stage.stop_and_rest("web-1").await.stop_and_rest("far-1").await;
    restore_from(&stage, &engine, given).await;
    assert!(stage.places("web-1").is_empty() && stage.places("far-1").is_empty(), "{}", stage.describe());
    stage.start_and_rest("web-1").await.start_and_rest("far-1").await;
    restore_from(&stage, &engine, Given::default()).await;
    assert_eq!((stage.places("web-1").len(), stage.places("far-1").len()), (3, 1), "{}", stage.describe());
    assert_eq!((stage.held("web-1").len(), stage.held("far-1").len()), (0, 0), "{}", stage.describe());
    let (denied, unused) = stage.world(|world| denied_and_unused(world));
    assert_eq!((denied, unused), (Vec::new(), vec!["lambda:ListFunctions".to_owned()]), "{}", stage.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_asks_for_the_functions_under_the_policy_of_the_page() {
    let account = account().await;
    let [_, policy] = policies();
    account.sandbox.with(|world| world.iam.give(KEY, ROLE, policy));
    account.run(&["restore", "--dry-run"]).await.has(&["functions fleet: observe"]);
    let (denied, unused) = account.sandbox.with(|world| denied_and_unused(world));
    assert!(denied.is_empty() && !unused.contains(&"lambda:ListFunctions".to_owned()), "{denied:?} {unused:?}");
}

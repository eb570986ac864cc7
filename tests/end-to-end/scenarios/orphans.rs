//! Orphans, which are registered addresses without an owner: sweeps find them, report them, and deregister them if the operator
//! wants it.

use std::{net::Ipv4Addr, time::Duration};

use end_to_end::{Setting, Stage};
use sandbox::{
    Verdict,
    deployment::RECONCILE,
    ec2::{self, InterfaceSource, Ipv4Wish, Launch, LaunchInterface, NewInterface, Prefix},
    elbv2::{self, Target},
    wire::ApiError,
};
use serde_json::{Value, json};

const PRUNING: [Setting; 1] = [("PruneOrphans", "true")];

/// The address that `web-1` had, and that is free now.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

/// Returns an AWS in which `web-1` was terminated, and its event was lost. The group `edge` still lists its address on two ports,
/// and `web-2` as well.
async fn bereft(settings: &[Setting]) -> Stage {
    let stage = Stage::with_settings(settings);
    stage.deliver_only(&[]).addresses_group("edge").drains("edge", 60);
    stage.launch("web-1", Launch::new(&stage.subnet).address(ADDRESS)).instance("web-2");
    stage.registered_at("web-1", &["tg:edge:443=eth0", "tg:edge:8443=eth0"]).registered("web-2", "tg:edge:443=eth0");
    stage.terminate("web-1").rest().await;
    assert_eq!(stage.members("tg:edge").len(), 3, "every event was lost");
    stage
}

/// Creates an interface without an instance, such as a Fargate task's.
fn give_away(stage: &Stage, address: Ipv4Addr) -> String {
    let new = NewInterface { ipv4: Ipv4Wish::Exactly(address), ..NewInterface::default() };
    stage.world(|world| ec2::create_interface(world, &stage.subnet, new)).expect("a free address")
}

fn register(stage: &Stage, address: &str, zone: Option<&str>) {
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").expect("a group");
        let target = Target { zone: zone.map(str::to_owned), ..Target::new(address) };
        elbv2::register(world, &arn, target).expect("an address that the group takes");
    });
}

async fn sweep(stage: &Stage) -> Value {
    stage.sweep().await.unwrap_or_else(|error| panic!("{error}\n{}", stage.describe()))
}

/// Returns the outcome of each orphan in a report.
fn fates(report: &Value) -> Vec<&str> {
    let orphans = report["orphans"].as_array().map(Vec::as_slice).unwrap_or_default();
    orphans.iter().filter_map(|orphan| orphan["fate"].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_address_that_a_terminated_instance_left_behind_is_told_and_stays() {
    let stage = bereft(&[]).await;
    let report = sweep(&stage).await;
    assert_eq!(fates(&report), ["found", "found"], "{report}");
    let orphan = &report["orphans"][0];
    assert!(orphan["registration"].as_str().is_some_and(|text| text.ends_with(":443=10.0.0.77")), "{orphan}");
    assert!(orphan["why"].as_str().is_some_and(|why| why.contains("another host")), "{orphan}");
    assert_eq!(stage.members("tg:edge").len(), 3);
    assert!(stage.sweep_calls().iter().all(|call| call.action.starts_with("Describe")));
}

#[tokio::test(start_paused = true)]
async fn a_pruning_sweep_deregisters_orphans_at_the_second_look() {
    let stage = bereft(&PRUNING).await;
    let before = stage.world(|world| world.now());
    let report = sweep(&stage).await;
    assert_eq!(fates(&report), ["pruned", "pruned"], "{report}");
    let id = stage.id("web-2");
    let web_2 = stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4));
    assert_eq!(stage.members("tg:edge"), [format!("{}:443", web_2.expect("an address"))], "{}", stage.describe());
    let waited = stage.world(|world| world.now()) - before;
    assert!((60..90).contains(&waited.num_seconds()), "{waited}");
    let writes: Vec<String> = stage
        .sweep_calls()
        .into_iter()
        .map(|call| call.action)
        .filter(|action| !action.starts_with("Describe"))
        .collect();
    assert_eq!(writes, ["DeregisterTargets"], "one call for a group");
    assert_eq!(fates(&sweep(&stage).await), Vec::<&str>::new(), "draining now, and gone soon");
}

#[tokio::test(start_paused = true)]
async fn an_observing_sweep_neither_deregisters_orphans_nor_waits() {
    let stage = bereft(&[("Mode", "observe"), ("PruneOrphans", "true")]).await;
    let before = stage.world(|world| world.now());
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["would-prune", "would-prune"], 3), "{report}");
    assert!((stage.world(|world| world.now()) - before).num_seconds() < 10);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_host_has_by_now_is_no_orphan() {
    let stage = bereft(&PRUNING).await;
    give_away(&stage, ADDRESS);
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec![], 3), "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_address_given_away_between_two_looks_stays_registered() {
    let stage = bereft(&PRUNING).await;
    let sandbox = stage.sandbox.clone();
    let swept = tokio::spawn(async move { sandbox.invoke(RECONCILE, json!({})).await });
    stage.sandbox.advance(Duration::from_secs(30)).await;
    give_away(&stage, ADDRESS);
    stage.sandbox.advance(Duration::from_secs(60)).await;
    let report = swept.await.expect("no panic").expect("a report");
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["gone", "gone"], 3), "{report}");
}

#[tokio::test(start_paused = true)]
async fn addresses_in_a_delegated_prefix_are_their_interfaces_and_no_orphans() {
    let stage = bereft(&PRUNING).await;
    let interface = give_away(&stage, Ipv4Addr::new(10, 0, 0, 200));
    let prefix = Prefix::V4(Ipv4Addr::new(10, 0, 0, 64), 28);
    stage.world(|world| ec2::delegate_prefix(world, &interface, prefix)).expect("an interface");
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec![], 3), "{report}");
}

#[tokio::test(start_paused = true)]
async fn in_a_subnet_that_another_account_shares_no_orphan_is_found() {
    let stage = bereft(&PRUNING).await;
    stage.world(|world| ec2::share_subnet_from(world, &stage.subnet, "210987654321"));
    let report = sweep(&stage).await;
    assert_eq!(fates(&report), ["cannot-tell", "cannot-tell"], "{report}");
    assert!(report["orphans"][0]["why"].as_str().is_some_and(|why| why.contains("account 210987654321")), "{report}");
    assert_eq!(stage.members("tg:edge").len(), 3);
}

/// Hosts of Amazon Elastic VMware Service have no interfaces of EC2, and are reached by `ip` targets
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html>, `type`).
#[tokio::test(start_paused = true)]
async fn in_a_subnet_of_vmware_no_orphan_is_found() {
    for settings in [&PRUNING[..], &[("PruneOrphans", "prune-unattached")]] {
        let stage = bereft(settings).await;
        stage.world(|world| ec2::use_subnet_for_vmware(world, &stage.subnet));
        let report = sweep(&stage).await;
        assert_eq!(fates(&report), ["cannot-tell", "cannot-tell"], "{report}");
        assert!(report["orphans"][0]["why"].as_str().is_some_and(|why| why.contains("VMware")), "{report}");
        assert_eq!(stage.members("tg:edge").len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_in_groups_with_a_guardian_are_left_to_it() {
    for (what, key) in [
        ("tg:edge", "elb-registrar:ignore"),
        ("tg:edge", "elbv2.k8s.aws/cluster"),
        ("lb:edge-alb", "elb-registrar:ignore"),
    ] {
        let stage = bereft(&PRUNING).await;
        stage.tagged(what, key, "x");
        let report = sweep(&stage).await;
        assert_eq!(fates(&report), ["left-alone", "left-alone"], "{what} {key}: {report}");
        assert_eq!(stage.members("tg:edge").len(), 3, "{what} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_outside_the_vpc_and_those_that_aws_keeps_are_no_orphans() {
    let stage = Stage::with_settings(&PRUNING);
    stage.addresses_group("edge");
    register(&stage, "10.9.0.5", Some("all"));
    register(&stage, "10.9.0.6", Some("us-east-1a"));
    // The resolver of the VPC.
    register(&stage, "10.0.0.2", None);
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec![], 3), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_instance_keeps_its_address_which_is_held_and_never_pruned() {
    let stage = Stage::with_settings(&PRUNING);
    stage.deliver_only(&[]).addresses_group("edge").instance("web-1").registered("web-1", "tg:edge:443=eth0");
    stage.stop_and_rest("web-1").await;
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.held("web-1")), (vec![], vec!["tg:edge:443=eth0".to_owned()]), "{report}");
}

#[tokio::test(start_paused = true)]
async fn without_time_for_a_second_look_orphans_stay_for_the_next_sweep() {
    let stage = bereft(&PRUNING).await;
    stage.time_limit(RECONCILE, Duration::from_secs(60));
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["not-pruned", "not-pruned"], 3), "{report}");
    stage.time_limit(RECONCILE, Duration::from_secs(900));
    assert_eq!(fates(&sweep(&stage).await), ["pruned", "pruned"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_network_is_a_reported_failure_and_shows_no_orphan() {
    for action in ["DescribeSubnets", "DescribeNetworkInterfaces", "DescribeTags"] {
        let stage = bereft(&PRUNING).await;
        let denied = ApiError::sender("UnauthorizedOperation", "You are not authorized to perform this operation.");
        let fault = stage.sandbox.fault(sandbox::fault::every(action, Verdict::Refuse(denied)));
        let error = stage.sweep().await.expect_err("an error");
        assert_eq!(error["errorType"], "Incomplete", "{error}");
        assert!(error["errorMessage"].as_str().is_some_and(|why| why.contains(action)), "{error}");
        assert_eq!(stage.members("tg:edge").len(), 3, "{action}");
        drop(fault);
    }
}

/// Runs sweeps until one finds no more work, with a verdict over the first one's `k`-th call. Returns the number of its calls.
async fn prune_under(k: usize, verdict: Verdict) -> usize {
    let stage = bereft(&PRUNING).await;
    stage.forget_calls();
    let mut seen = 0;
    let guard = stage.sandbox.fault(move |call: &sandbox::Call| {
        seen += usize::from(call.access_key.starts_with("AKIARECONCILE"));
        if seen == k && call.access_key.starts_with("AKIARECONCILE") { verdict.clone() } else { Verdict::Pass }
    });
    // A killed sweep answers with an error; the schedule brings the next one.
    let _ = stage.sweep().await;
    drop(guard);
    let calls = stage.sweep_calls().len();
    assert!(calls >= k, "call {k}: the fault did not strike");
    sweep(&stage).await;
    assert_eq!(stage.members("tg:edge").len(), 1, "call {k}\n{}", stage.describe());
    calls
}

#[tokio::test(start_paused = true)]
async fn whichever_call_a_sweep_dies_at_the_next_one_prunes_the_same() {
    let calls = prune_under(0, Verdict::Pass).await;
    assert!(calls > 15, "{calls}");
    for k in 1..=calls {
        for verdict in [Verdict::KillBefore, Verdict::KillAfter, Verdict::LoseAnswer] {
            prune_under(k, verdict).await;
        }
    }
}

/// Returns an AWS in which `web-1` was terminated, and its interface is still there. The group `edge` lists its address.
async fn outlived(settings: &[Setting]) -> (Stage, String) {
    let stage = Stage::with_settings(settings);
    stage.deliver_only(&[]).addresses_group("edge").drains("edge", 60);
    let interface = give_away(&stage, ADDRESS);
    let eth0 = LaunchInterface {
        device_index: 0,
        network_card_index: 0,
        source: InterfaceSource::Existing(interface.clone()),
    };
    stage.launch("web-1", Launch { interfaces: vec![eth0], ..Launch::new(&stage.subnet) });
    stage.registered("web-1", "tg:edge:443=eth0").terminate("web-1").rest().await;
    (stage, interface)
}

#[tokio::test(start_paused = true)]
async fn the_address_of_an_interface_that_outlived_its_instance_is_told() {
    for settings in [&[][..], &PRUNING] {
        let (stage, interface) = outlived(settings).await;
        let report = sweep(&stage).await;
        assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["unattached"], 1), "{report}");
        assert!(report["orphans"][0]["why"].to_string().contains(&interface), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unattached_address_is_pruned_only_if_that_is_asked_for() {
    let (stage, _) = outlived(&[("PruneOrphans", "prune-unattached")]).await;
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["pruned"], 0), "{report}");
    let stage = bereft(&[("PruneOrphans", "prune-unattached")]).await;
    assert_eq!(fates(&sweep(&stage).await), ["pruned", "pruned"], "so are orphans");
}

#[tokio::test(start_paused = true)]
async fn an_interface_attached_between_two_looks_keeps_its_address_registered() {
    let (stage, interface) = outlived(&[("PruneOrphans", "prune-unattached")]).await;
    stage.instance("web-2");
    let (sandbox, id) = (stage.sandbox.clone(), stage.id("web-2"));
    let swept = tokio::spawn(async move { sandbox.invoke(RECONCILE, json!({})).await });
    stage.sandbox.advance(Duration::from_secs(30)).await;
    stage.world(|world| ec2::attach_interface(world, &interface, &id, 1, 0)).expect("attachable");
    stage.sandbox.advance(Duration::from_secs(60)).await;
    let report = swept.await.expect("no panic").expect("a report");
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec!["gone"], 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_unattached_interface_of_a_service_is_the_services() {
    // It has been in use all along, and is no instance's.
    let stage = bereft(&[("PruneOrphans", "prune-unattached")]).await;
    give_away(&stage, ADDRESS);
    let report = sweep(&stage).await;
    assert_eq!((fates(&report), stage.members("tg:edge").len()), (vec![], 3), "{report}");
}

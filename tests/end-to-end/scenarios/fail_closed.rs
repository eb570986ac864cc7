//! Launch hooks fail closed: a launch waits for a registration that its instance should have and cannot get, and names it.

use std::time::Duration;

use end_to_end::{Stage, places, state_change};
use sandbox::{
    ACCOUNT, REGION, World,
    auto_scaling::{
        self, Action, ActionResult, Ending, GroupSpec, HookSpec, LifecycleState, PoolState, TrafficSourceKind, WarmPool,
    },
    deployment::LIFECYCLE,
    ec2, elb,
    elbv2::{self, Kind, LoadBalancerSpec, TargetGroupSpec},
};
use serde_json::{Value, json};

use super::lifecycle::{LAUNCH, TERMINATE, untold};

const DECLARES: &str = "elb-registrar:register";
const HOLDS: &str = "elb-registrar:held.2026-01-04T08:00:00Z.0000beef";

/// The heartbeat timeout of the launch hooks, in seconds.
const HEARTBEAT: u32 = 120;

/// How a launch ended, as its report says.
#[derive(Debug)]
struct Launch {
    result: String,
    why: String,
    after: i64,
    report: Value,
}

impl Launch {
    /// Returns whether the launch waited for as long as its hook does.
    fn has_waited(&self) -> bool {
        self.after >= i64::from(HEARTBEAT) - 5
    }

    fn has_reported_success(&self) -> bool {
        self.result == "CONTINUE" && self.why == "all that it should have is registered and healthy"
    }
}

fn launch_event(action: &Action) -> Value {
    json!({
        "source": "aws.autoscaling", "detail-type": "EC2 Instance-launch Lifecycle Action", "account": ACCOUNT, "region": REGION,
        "time": action.begun.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "detail": {
            "LifecycleActionToken": action.token, "AutoScalingGroupName": action.group,
            "LifecycleHookName": action.hook.name, "EC2InstanceId": action.instance_id,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        }
    })
}

async fn open_action(stage: &Stage) -> Action {
    stage.until("an open action", |world| !world.auto_scaling.actions.is_empty()).await;
    let action = stage.world(|world| world.auto_scaling.actions[0].clone());
    let id = action.instance_id.clone();
    stage.until("running", |world| world.ec2.instance(&id).is_some_and(|i| i.state.name() == "running")).await;
    action
}

/// Looks at the open launch every 10 s until it ends.
async fn seen_in(stage: &Stage) -> Launch {
    let action = open_action(stage).await;
    for _ in 0..100 {
        let after = stage.world(|world| (world.now() - action.begun).num_seconds());
        match stage.sandbox.invoke(LIFECYCLE, launch_event(&action)).await {
            Err(report) => {
                let why = report["errorMessage"].as_str().unwrap_or_default().to_owned();
                return Launch { result: "ERROR".to_owned(), why, after, report };
            }
            Ok(answer) => {
                let report = answer["instances"][&action.instance_id].clone();
                let own = &report["lifecycle_actions"][0];
                let why = own["why"].as_str().unwrap_or_default().to_owned();
                if let Some(result) = own["result"].as_str() {
                    return Launch { result: result.to_owned(), why, after, report };
                }
            }
        }
        stage.sandbox.advance(Duration::from_secs(10)).await;
    }
    panic!("the launch hangs: {}", stage.describe());
}

/// Returns a stage on which no function is told of lifecycle actions.
fn shop(settings: &[end_to_end::Setting]) -> Stage {
    let stage = Stage::with_settings(settings);
    stage.classic("shop").instances_group("web").addresses_group("edge");
    untold(&stage);
    stage
}

fn spec(stage: &Stage, metadata: Option<&str>, tags: &[(&str, &str)]) -> GroupSpec {
    let mut hook = HookSpec::launching(LAUNCH).heartbeat(HEARTBEAT);
    hook.notification_metadata = metadata.map(str::to_owned);
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1);
    tags.iter().fold(spec, |spec, (key, value)| spec.tag(key, value))
}

async fn launch_with(metadata: Option<&str>, tags: &[(&str, &str)]) -> Launch {
    let stage = shop(&[]);
    stage.fleet(spec(&stage, metadata, tags));
    seen_in(&stage).await
}

/// A registration that is declared *and* held must not be decided as if it were only held: then it would be dropped, and the
/// launch continued at once.
#[tokio::test(start_paused = true)]
async fn a_launch_whose_declaration_is_held_too_and_gone_waits() {
    let gone = (HOLDS, "clb:gone");
    let in_tag = launch_with(None, &[(DECLARES, "clb:gone"), gone]).await;
    let in_metadata = launch_with(Some(r#"{"register": ["clb:gone"]}"#), &[gone]).await;
    let stage = shop(&[]);
    let arn = stage.world(|world| elbv2::arn_of(world, "edge")).expect("a group");
    let id = arn.rsplit('/').next().unwrap_or_default();
    let held = format!("tg:edge/{id}:443=10.9.9.9");
    stage.fleet(spec(&stage, None, &[(DECLARES, "tg:edge:443=10.9.9.9"), (HOLDS, &held)]));
    let at_address = seen_in(&stage).await;
    let waited = [&in_tag, &in_metadata, &at_address].map(Launch::has_waited);
    assert_eq!(waited, [true; 3], "{in_tag:#?} {in_metadata:#?} {at_address:#?}");
}

/// The same in its real course: out of the warm pool, after the declared load balancer was deleted.
#[tokio::test(start_paused = true)]
async fn a_launch_from_the_warm_pool_waits_for_a_deleted_balancer() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag(DECLARES, "clb:shop")
        .hook(HookSpec::launching(LAUNCH).heartbeat(600))
        .hook(HookSpec::terminating(TERMINATE).heartbeat(300).by_default(ActionResult::Continue))
        .desired(1);
    let pool = WarmPool { state: PoolState::Stopped, min_size: 0, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.fleet(spec).rest().await;
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.rest().await;
    stage.wants("fleet", 0).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.held_by(&id), ["clb:shop"]);
    stage.world(|world| elb::delete(world, "shop"));
    let (before, own) = (stage.ended_actions().len(), id.clone());
    // After that, its replacement waits in vain, too, and so on.
    let is_over = move |world: &World| {
        let mut ended = world.auto_scaling.ended_actions[before..].iter();
        ended.any(|ended| ended.action.instance_id == own)
    };
    stage.wants("fleet", 1).until("the end of its launch", is_over).await;
    let ended = stage.ended_actions();
    let launched =
        |ended: &&auto_scaling::EndedAction| ended.action.hook.name == LAUNCH && ended.action.instance_id == id;
    let last = ended.iter().rev().find(launched).expect("a launch");
    let held_for = (last.ended - last.action.begun).num_seconds();
    assert!(
        held_for >= 600,
        "{:?} after {held_for} s, registered at {:?}",
        last.ending,
        stage.world(|w| places(w, &id))
    );
}

/// A registration that was dropped is missing, so "all that it should have is registered" would be untrue.
#[tokio::test(start_paused = true)]
async fn a_launch_that_drops_a_registration_does_not_report_success() {
    let mut wrong = Vec::new();
    for held in ["clb:gone", "tg:gone/0123456789abcdef:80", "clb:shop"] {
        let stage = shop(&[]);
        stage.tagged("clb:shop", "elb-registrar:ignore", "");
        stage.fleet(spec(&stage, None, &[(HOLDS, held)]));
        if seen_in(&stage).await.has_reported_success() {
            wrong.push(held);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

/// The registration is declared, and no function ever makes it, because another owner looks after the group.
#[tokio::test(start_paused = true)]
async fn a_launch_whose_declaration_is_left_alone_does_not_report_success() {
    let mut wrong = Vec::new();
    for (mark, declared) in [
        ("elb-registrar:ignore", r#"{"register": ["tg:web"]}"#),
        ("elbv2.k8s.aws/cluster", r#"{"register": ["tg:web"]}"#),
        // The group registers its members at the target group's own port, and at no other.
        ("attached", r#"{"register": ["tg:web:9090"]}"#),
    ] {
        let stage = shop(&[]);
        let spec = spec(&stage, Some(declared), &[]);
        match mark {
            "attached" => {
                let arn = stage.world(|world| elbv2::arn_of(world, "web")).expect("a group");
                stage.fleet(spec.attached(TrafficSourceKind::TargetGroup, &arn));
            }
            _ => drop(stage.tagged("tg:web", mark, "c").fleet(spec)),
        }
        if seen_in(&stage).await.has_reported_success() {
            wrong.push(mark);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

/// JSON's last field wins, so the first one would be lost without a word.
#[tokio::test(start_paused = true)]
async fn metadata_with_a_field_twice_is_refused() {
    let launch = launch_with(Some(r#"{"register": ["tg:nope"], "register": []}"#), &[]).await;
    assert_eq!(launch.result, "ERROR", "{launch:#?}");
}

/// A template makes these of a list that it does not have: `split(" ", "")`, and `jsonencode({register = null})`.
#[tokio::test(start_paused = true)]
async fn metadata_whose_declaration_is_nothing_is_refused() {
    let mut wrong = Vec::new();
    for metadata in [r#"{"register": [""]}"#, r#"{"register": ["tg:web", ""]}"#, r#"{"register": null}"#] {
        if launch_with(Some(metadata), &[]).await.result != "ERROR" {
            wrong.push(metadata);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

/// The value shows that it is a declaration, whatever its key.
#[tokio::test(start_paused = true)]
async fn a_launch_waits_if_a_tag_declares_under_an_odd_key() {
    let mut wrong = Vec::new();
    for key in ["elb-registrar:registrations", "elb-registrar:targets", "elb-registrar", "elb_registrar_registered"] {
        if !launch_with(None, &[(key, "tg:web")]).await.has_waited() {
            wrong.push(key);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

/// `Target.NotInUse` also says that the target's zone is not enabled
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>): in such a zone every launch gets no
/// traffic.
#[tokio::test(start_paused = true)]
async fn a_launch_in_a_zone_without_the_load_balancer_waits() {
    let stage = shop(&[]);
    stage.world(|world| {
        let elsewhere = ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.7.0/24");
        let balancer = LoadBalancerSpec {
            name: "front".to_owned(),
            kind: Kind::Application,
            vpc_id: stage.vpc.clone(),
            subnets: Some(vec![elsewhere]),
            security_groups: Vec::new(),
            scheme: "internal".to_owned(),
            ip_address_type: "ipv4".to_owned(),
            tags: Default::default(),
        };
        let balancer = elbv2::create_load_balancer_as(world, balancer).expect("a load balancer");
        let group =
            elbv2::create_target_group(world, TargetGroupSpec::instances("zone", &stage.vpc, 80)).expect("a group");
        elbv2::attach(world, &group, &balancer, 80).expect("a listener");
    });
    stage.fleet(spec(&stage, None, &[(DECLARES, "tg:zone")]));
    let launch = seen_in(&stage).await;
    assert!(launch.has_waited(), "{launch:#?}");
}

/// The state that AWS documents for the end of a replacement
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/replace-root-volume.html>): what the hook declares must not be dropped in it.
#[tokio::test(start_paused = true)]
async fn a_launch_after_a_new_root_volume_registers_what_its_hook_declares() {
    for state in [LifecycleState::PendingWait, LifecycleState::RootVolumeReplaced] {
        let stage = shop(&[]);
        stage.fleet(spec(&stage, Some(r#"{"register": ["tg:web"]}"#), &[]));
        let action = open_action(&stage).await;
        stage.world(|world| {
            let group = world.auto_scaling.groups.get_mut("fleet").expect("a group");
            group.members.get_mut(&action.instance_id).expect("a member").lifecycle_state = state;
        });
        let mut event = launch_event(&action);
        event["detail"]["Action"] = json!("ReplaceRootVolume");
        let answer = stage.sandbox.invoke(LIFECYCLE, event).await.expect("a report");
        assert_eq!(stage.world(|w| places(w, &action.instance_id)), ["tg:web:80"], "{state:?}: {answer:#}");
    }
}

/// If the function refused a tag of a tool with a similar name, the launch would wait, and every new instance would be abandoned.
#[tokio::test(start_paused = true)]
async fn a_tag_of_another_tool_keeps_no_launch_waiting() {
    let mut wrong = Vec::new();
    for key in
        ["ecs-registrar:register", "alb-registrar:register", "eip-registrar:register", "elb-registrar:deregister"]
    {
        if launch_with(None, &[(key, "service/web"), (DECLARES, "tg:web")]).await.result != "CONTINUE" {
            wrong.push(key);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}

/// docs/lifecycle-hooks.md: "In `observe`, and for an instance that is ignored, every action is continued at once."
#[tokio::test(start_paused = true)]
async fn broken_metadata_abandons_no_launch_that_nothing_is_done_with() {
    let mut wrong = Vec::new();
    for case in ["observe", "ignored", "to the warm pool"] {
        let mode = if case == "observe" { "observe" } else { "enforce" };
        let stage = Stage::with_settings(&[("Mode", mode)]);
        stage.instances_group("web");
        let tags: &[(&str, &str)] = if case == "ignored" { &[("elb-registrar:ignore", "")] } else { &[] };
        let spec = spec(&stage, Some(r#"{"registre": ["tg:web"]}"#), tags);
        if case == "to the warm pool" {
            let pool = WarmPool { state: PoolState::Running, min_size: 1, ..WarmPool::default() };
            stage.fleet(spec.desired(0));
            stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
        } else {
            stage.fleet(spec);
        }
        stage.until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
        let ended = stage.ended_actions().remove(0);
        if ended.ending != Ending::Completed(ActionResult::Continue) {
            wrong.push(format!("{case}: {:?}", ended.ending));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// docs/lifecycle-hooks.md: "`timeout_seconds` ... instead of `HealthTimeout`; 0: as long as the hook's heartbeat timeout".
#[tokio::test(start_paused = true)]
async fn a_timeout_of_0_lasts_as_long_as_the_hook() {
    let stage = shop(&[("HealthTimeout", "30")]);
    stage.fleet(spec(&stage, Some(r#"{"register": ["tg:nope"], "timeout_seconds": 0}"#), &[]));
    let launch = seen_in(&stage).await;
    assert!(launch.has_waited(), "{launch:#?}");
}

/// If AWS refuses a registration for ever, a person must act at once: `Failed` rings only after half an hour, when the launch was
/// abandoned long ago.
#[tokio::test(start_paused = true)]
async fn a_declaration_that_aws_refuses_needs_a_person_at_once() {
    for declared in ["tg:web+0x0123456789abcdef", "tg:far@all"] {
        let stage = shop(&[]);
        let other = stage.world(|world| {
            let vpc = ec2::create_vpc(world, "10.9.0.0/16");
            ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24");
            vpc
        });
        stage.group(TargetGroupSpec::instances("far", &other, 80));
        stage.fleet(spec(&stage, None, &[(DECLARES, declared)]));
        let launch = seen_in(&stage).await;
        assert!(launch.report["needs_a_person"].is_array(), "{declared}: {launch:#?}");
    }
}

/// docs/by-hand.md: `events/lifecycle-launch.json` with the id of one of your instances names a group that never existed.
#[tokio::test(start_paused = true)]
async fn an_event_by_hand_of_a_group_that_never_was_says_so() {
    let stage = shop(&[]);
    stage.instance("web-1");
    let mut event: Value = serde_json::from_str(include_str!("../../../events/lifecycle-launch.json")).expect("JSON");
    event["detail"]["EC2InstanceId"] = json!(stage.id("web-1"));
    let report = stage.sandbox.invoke(LIFECYCLE, event).await.expect("a report").to_string();
    assert!(!report.contains("any more"), "{report}");
}

/// "The group tells the way, not the event" (docs/design.md): `events/lifecycle-launch.json` has no `Destination`, and older
/// notifications of hooks have none.
#[tokio::test(start_paused = true)]
async fn a_launch_into_the_warm_pool_is_known_without_a_destination() {
    let stage = shop(&[]);
    stage.fleet(spec(&stage, None, &[]).desired(0));
    let pool = WarmPool { state: PoolState::Running, min_size: 1, ..WarmPool::default() };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    let action = open_action(&stage).await;
    stage.sandbox.advance(Duration::from_secs(70)).await;
    let answer = stage.sandbox.invoke(LIFECYCLE, launch_event(&action)).await.expect("a report");
    let own = &answer["instances"][&action.instance_id]["lifecycle_actions"][0];
    assert_eq!(own["result"], "CONTINUE", "{answer:#}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_declaration_says_what_to_write_instead() {
    const ARN: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef";
    let mut wrong = Vec::new();
    for (declared, words) in
        [(ARN, "tg:web/0123456789abcdef"), ("TG:web", "did you mean `tg:"), ("tg:web,clb:shop", "space")]
    {
        let launch = launch_with(None, &[(DECLARES, declared)]).await;
        if !launch.why.contains(words) {
            wrong.push(launch.why);
        }
    }
    // The address is the instance's own, but of the other family.
    let stage = shop(&[]);
    stage.group(TargetGroupSpec::addresses("six", &stage.vpc, 443).ipv6()).instance("web-1");
    let id = stage.id("web-1");
    let own = stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("an address");
    stage.tagged("web-1", DECLARES, &format!("tg:six:443={own}"));
    let report = stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report").to_string();
    if report.contains("does not belong to the instance") {
        wrong.push(report);
    }
    // A target group of functions is no alternative.
    let stage = shop(&[]);
    stage.world(|world| {
        let group = elbv2::create_target_group(world, TargetGroupSpec::function("fn")).expect("a group");
        let balancer =
            elbv2::create_load_balancer(world, Kind::Application, "front", &stage.vpc).expect("a load balancer");
        elbv2::attach(world, &group, &balancer, 80).expect("a listener");
    });
    stage.instance("web-1").tagged("web-1", DECLARES, "clb:front");
    let report = stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report").to_string();
    if report.contains("name its target group, `tg:fn`") {
        wrong.push(report);
    }
    // `4294967296` is a whole number of seconds, and `?.` is not punctuation.
    for (metadata, words) in [
        (r#"{"timeout_seconds": 4294967296}"#, "is `4294967296`, and has to be a whole number of seconds."),
        (r#"{"registre": []}"#, "?."),
    ] {
        let launch = launch_with(Some(metadata), &[]).await;
        if launch.why.contains(words) {
            wrong.push(launch.why);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

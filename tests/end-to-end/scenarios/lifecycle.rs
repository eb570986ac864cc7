//! Auto Scaling lifecycle hooks: each is held until the drain is over, or the instance healthy, and no longer.

use std::time::Duration;

use end_to_end::{Findings, Stage, places};
use sandbox::{
    ACCOUNT, Call, Options, REGION, Verdict, World,
    auto_scaling::{
        self, Action, ActionResult, Ending, GroupSpec, HookSpec, Leaving, LifecycleState, PoolState, TrafficSourceKind,
        Transition, WarmPool,
    },
    deployment::{LIFECYCLE, LIFECYCLE_DEAD_LETTERS, LIFECYCLE_QUEUE},
    ec2, elb,
    elbv2::{self, Health, Standing, TargetGroupSpec},
    events::Delivery,
    fault::{Rule, every, kth},
    sqs,
    wire::ApiError,
};
use serde_json::{Value, json};

pub(crate) const LAUNCH: &str = "elb-registrar-launch";
pub(crate) const TERMINATE: &str = "elb-registrar-terminate";

/// The registrations that the members of the fleet declare: a Classic load balancer, an instance target on two ports, an ip
/// target.
const DECLARED: &str = "clb:shop tg:web:80 tg:web:8080 tg:edge:443=eth0";
pub(crate) const PLACES: [&str; 4] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80", "tg:web:8080"];

/// Returns a group with both hooks, whose members declare all of that.
pub(crate) fn fleet(stage: &Stage) -> GroupSpec {
    GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", DECLARED)
        .hook(HookSpec::launching(LAUNCH).heartbeat(600))
        .hook(HookSpec::terminating(TERMINATE).heartbeat(300).by_default(ActionResult::Continue))
}

/// Returns a stage with the fleet's balancers.
pub(crate) fn shop(options: Options) -> Stage {
    let stage = Stage::with(options, &[]);
    stage.classic("shop").instances_group("web").addresses_group("edge");
    stage
}

/// Returns a stage with a fleet of some members in service.
pub(crate) async fn running_fleet(members: usize) -> Stage {
    let stage = shop(Options::default());
    let spec = fleet(&stage).desired(members);
    stage.fleet(spec).rest().await;
    stage
}

/// Returns the balancers' reasons why an instance is not healthy everywhere.
pub(crate) fn unhealthy(world: &World, id: &str) -> Vec<String> {
    let targets = targets_of(world, id).into_iter().filter(|(_, target)| target.state == Standing::Registered);
    let sick = targets.filter(|(_, target)| target.health != Health::Healthy);
    let classic = world.elb.load_balancers.keys().filter(|name| elb::members(world, name).contains(id));
    let out = classic.filter(|name| {
        let health = elb::instance_health(world, name, id).expect("a load balancer").expect("a member");
        health.state != "InService"
    });
    sick.map(|(group, target)| format!("{group} {target:?}")).chain(out.cloned()).collect()
}

/// Returns the targets of an instance that still drain.
fn draining(world: &World, id: &str) -> Vec<String> {
    let targets = targets_of(world, id).into_iter().filter(|(_, target)| target.state != Standing::Registered);
    let classic = world.elb.load_balancers.keys();
    let draining = classic.filter(|name| elb::draining_until(world, name, id).is_some_and(|until| until > world.now()));
    targets.map(|(group, target)| format!("{group} {target:?}")).chain(draining.cloned()).collect()
}

fn targets_of(world: &World, id: &str) -> Vec<(String, elbv2::TargetView)> {
    let address = world.ec2.instance(id).and_then(ec2::Instance::primary_ipv4).map(|address| address.to_string());
    let groups = world.elbv2.target_groups.values();
    let targets = groups.flat_map(|group| {
        elbv2::targets(world, &group.arn).into_iter().map(|target| (group.spec.name.clone(), target))
    });
    targets.filter(|(_, target)| target.id == id || Some(&target.id) == address.as_ref()).collect()
}

/// Looks at every completion. A member whose launch is continued has all of these registrations and is healthy. A member whose
/// termination is continued is registered nowhere, and no target of it drains.
pub(crate) fn watch_completions(stage: &Stage, all: &'static [&'static str]) -> Findings {
    stage.watch(|world, call| {
        if call.action != "CompleteLifecycleAction" || call.outcome != Some(Ok(())) {
            return None;
        }
        let ended = world.auto_scaling.ended_actions.last()?;
        let id = &ended.action.instance_id;
        let wrong = match ended.action.hook.transition {
            Transition::Launching if places(world, id).len() < all.len() => places(world, id),
            Transition::Launching => unhealthy(world, id),
            Transition::Terminating => places(world, id).into_iter().chain(draining(world, id)).collect(),
        };
        (!wrong.is_empty() && ended.ending == Ending::Completed(ActionResult::Continue))
            .then(|| format!("{id} was let go too early: {wrong:?}"))
    })
}

pub(crate) fn endings(stage: &Stage) -> Vec<(String, Ending)> {
    stage.world(|world| {
        world.auto_scaling.ended_actions.iter().map(|ended| (ended.action.hook.name.clone(), ended.ending)).collect()
    })
}

pub(crate) fn continued(hook: &str) -> (String, Ending) {
    (hook.to_owned(), Ending::Completed(ActionResult::Continue))
}

#[tokio::test(start_paused = true)]
async fn a_new_member_is_in_service_only_when_healthy_everywhere() {
    let stage = shop(Options::default());
    let findings = watch_completions(&stage, &PLACES);
    let spec = fleet(&stage).desired(2);
    stage.fleet(spec).rest().await;
    let members = stage.member_states("fleet");
    assert_eq!(members.len(), 2);
    for (id, state) in members {
        assert_eq!(state, LifecycleState::InService);
        assert_eq!(stage.world(|world| places(world, &id)), PLACES);
    }
    assert_eq!(endings(&stage), [continued(LAUNCH), continued(LAUNCH)]);
    assert_eq!(findings.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_member_ends_only_when_nothing_of_it_is_drained_any_more() {
    let stage = running_fleet(2).await;
    stage.drains("web", 300).drains("edge", 120);
    let findings = watch_completions(&stage, &PLACES);
    let asked = stage.world(|world| world.now());
    stage.wants("fleet", 1).rest().await;
    assert_eq!(stage.member_states("fleet").len(), 1);
    let ended = stage.world(|world| world.auto_scaling.ended_actions.last().cloned()).expect("an action");
    assert_eq!(ended.ending, Ending::Completed(ActionResult::Continue));
    let held_for = (ended.ended - asked).num_seconds();
    assert!((300..340).contains(&held_for), "the longest draining takes 300 s, and the hook was held for {held_for} s");
    assert_eq!(findings.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_draining_costs_dozens_of_short_invocations() {
    let stage = running_fleet(1).await;
    stage.drains("web", 3_600);
    stage.forget_calls();
    stage.world(|world| world.lambda.log.clear());
    stage.wants("fleet", 0).rest().await;
    assert_eq!(endings(&stage).last(), Some(&continued(TERMINATE)), "the hook's heartbeat timeout is five minutes");
    let (looks, busy) = stage.world(|world| {
        let of_function = world.lambda.log.iter().filter(|ended| ended.function == LIFECYCLE);
        let looks: Vec<i64> = of_function.map(|ended| (ended.at - ended.started).num_milliseconds()).collect();
        (looks.len(), looks.iter().sum::<i64>() / 1_000)
    });
    assert!(looks <= 36, "{looks} looks");
    assert!(busy < 60, "{busy} s of invocations");
}

#[tokio::test(start_paused = true)]
async fn an_instance_terminated_during_its_launch_hook_is_registered_nowhere() {
    let stage = shop(Options::default());
    stage.world(|world| {
        world.events.set_delivery(|event| match event.source.as_str() {
            "aws.ec2" => Delivery::Lost,
            _ => Delivery::Normal,
        });
    });
    // The function stands still again at the end, when it has seen that the member is registered nowhere: it looks at two groups.
    let _faults = [1, 3].map(|number| {
        stage.sandbox.fault(kth("DescribeTargetHealth", number, Verdict::FreezeAfter(Duration::from_secs(55))))
    });
    stage.fleet(fleet(&stage).desired(1));
    stage.until("looked", |world| world.calls.iter().any(|call| call.action == "DescribeTargetHealth")).await;
    stage.wants("fleet", 0).rest().await;
    let registering = stage.calls_of(LIFECYCLE).into_iter().filter(|call| call.action.starts_with("Register"));
    assert_eq!(registering.count(), 0, "{}", stage.describe());
    assert_eq!(endings(&stage).last(), Some(&continued(TERMINATE)));
}

#[tokio::test(start_paused = true)]
async fn a_classic_load_balancer_that_drains_is_waited_for() {
    let stage = member_that_drains_long().await;
    let asked = stage.world(|world| world.now());
    stage.wants("fleet", 0).rest().await;
    let ended = stage.world(|world| world.auto_scaling.ended_actions.last().cloned()).expect("an action");
    let held_for = (ended.ended - asked).num_seconds();
    assert!((200..260).contains(&held_for), "{held_for} s");
}

/// Returns a stage with a member of a group, in a Classic load balancer that drains for 200 s.
async fn member_that_drains_long() -> Stage {
    let stage = Stage::new();
    stage.classic("shop");
    stage.world(|world| elb::drain_for(world, "shop", Some(Duration::from_secs(200)))).expect("a load balancer");
    let spec = GroupSpec { tags: Vec::new(), ..fleet(&stage) }.tag("elb-registrar:register", "clb:shop").desired(1);
    stage.fleet(spec).rest().await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_waited_for_though_descriptions_are_old() {
    // Only the tag tells that a Classic load balancer drains the member.
    let stage = member_that_drains_long().await;
    let findings = watch_completions(&stage, &[]);
    let _fault = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
        "DescribeInstances" => Verdict::Stale(Duration::from_secs(14)),
        _ => Verdict::Pass,
    });
    stage.wants("fleet", 0).rest().await;
    assert_eq!((findings.all(), endings(&stage).last()), (vec![], Some(&continued(TERMINATE))));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_an_event_waits_for_the_drain_that_another_began() {
    // The copy's function reads the instance before the other function holds anything, and the balancers after the other has
    // deregistered it.
    let stage = member_that_drains_long().await;
    let findings = watch_completions(&stage, &[]);
    let _fault = stage.sandbox.fault(kth("DescribeLoadBalancers", 1, Verdict::Delay(Duration::from_secs(6))));
    stage.wants("fleet", 0);
    let action = open_action(&stage).await;
    stage.forget_calls();
    let (copy, _) = tokio::join!(stage.sandbox.invoke(LIFECYCLE, event_of(&action)), stage.rest());
    copy.expect("a report");
    assert_eq!((findings.all(), endings(&stage).last()), (vec![], Some(&continued(TERMINATE))));
}

#[tokio::test(start_paused = true)]
async fn a_network_load_balancers_member_waits_two_minutes_and_the_delay() {
    for (settings, delay, least) in [(&[][..], 0, 120), (&[], 300, 420), (&[("NetworkDrainTime", "30")][..], 0, 30)] {
        let stage = Stage::with_settings(settings);
        stage.network_group("net").drains("net", delay);
        let spec = GroupSpec { tags: Vec::new(), ..fleet(&stage) }.tag("elb-registrar:register", "tg:net").desired(1);
        stage.fleet(spec).rest().await;
        stage.wants("fleet", 0).rest().await;
        let ended = stage.world(|world| world.auto_scaling.ended_actions.last().cloned()).expect("an action");
        let held_for = (ended.ended - ended.action.begun).num_seconds();
        assert!((least..least + 30).contains(&held_for), "{held_for} s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_waits_for_drains_of_balancers_that_the_group_attached() {
    let stage = shop(Options::default());
    stage.instances_group("attached").drains("attached", 400);
    let arn = stage.world(|world| elbv2::arn_of(world, "attached")).expect("a group");
    let spec = fleet(&stage).attached(TrafficSourceKind::TargetGroup, &arn).desired(1);
    stage.fleet(spec).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.world(|world| places(world, &id)).len(), PLACES.len() + 1);
    stage.forget_calls();
    let asked = stage.world(|world| world.now());
    stage.wants("fleet", 0).rest().await;
    let ended = stage.world(|world| world.auto_scaling.ended_actions.last().cloned()).expect("an action");
    assert!((ended.ended - asked).num_seconds() >= 400, "{ended:?}");
    let is_attached = |call: &&Call| call.mentions(&arn);
    let touched: Vec<Call> = stage.calls_of(LIFECYCLE).iter().filter(is_attached).cloned().collect();
    assert!(touched.iter().all(|call| call.action.starts_with("Describe")), "{touched:?}");
}

/// Returns a bare event of an open action, as EventBridge would deliver it.
pub(crate) fn event_of(action: &Action) -> Value {
    let (name, word) = match action.hook.transition {
        Transition::Launching => ("launch", "LAUNCHING"),
        Transition::Terminating => ("terminate", "TERMINATING"),
    };
    let mut event = json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "source": "aws.autoscaling",
        "detail-type": format!("EC2 Instance-{name} Lifecycle Action"), "account": ACCOUNT, "region": REGION,
        "time": action.begun.format("%Y-%m-%dT%H:%M:%SZ").to_string(), "resources": [],
        "detail": {
            "LifecycleActionToken": action.token, "AutoScalingGroupName": action.group,
            "LifecycleHookName": action.hook.name, "EC2InstanceId": action.instance_id,
            "LifecycleTransition": format!("autoscaling:EC2_INSTANCE_{word}"),
        }
    });
    if let Some(metadata) = &action.hook.notification_metadata {
        event["detail"]["NotificationMetadata"] = metadata.as_str().into();
    }
    event
}

/// Waits until some action is open, and returns it.
pub(crate) async fn open_action(stage: &Stage) -> Action {
    stage.until("an open action", |world| !world.auto_scaling.actions.is_empty()).await;
    stage.world(|world| world.auto_scaling.actions[0].clone())
}

/// Loses all events of lifecycle actions.
pub(crate) fn untold(stage: &Stage) {
    stage.world(|world| {
        world.events.set_delivery(|event| match event.source.as_str() {
            "aws.autoscaling" => Delivery::Lost,
            _ => Delivery::Normal,
        });
    });
}

/// Makes an instance or an address fail its health checks.
fn fails_health_checks(stage: &Stage, id: &str) {
    stage.world(|world| {
        let address = world.ec2.instance(id).and_then(ec2::Instance::primary_ipv4).map(|address| address.to_string());
        world.elbv2.failing_health_checks.extend(address.into_iter().chain([id.to_owned()]));
    });
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_launch_ends_by_its_hooks_default_with_the_balancers_reason() {
    for (metadata, settings, result, after) in [
        (None, &[][..], ActionResult::Abandon, 120),
        (None, &[("HealthTimeout", "400")][..], ActionResult::Abandon, 400),
        (Some(r#"{"timeout_seconds": 60, "on_timeout": "CONTINUE"}"#), &[][..], ActionResult::Continue, 60),
    ] {
        let stage = Stage::with_settings(settings);
        stage.instances_group("web");
        let mut hook = HookSpec::launching(LAUNCH).heartbeat(120);
        hook.notification_metadata = metadata.map(str::to_owned);
        let spec = GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:web").hook(hook).desired(1);
        stage.fleet(spec);
        let action = open_action(&stage).await;
        fails_health_checks(&stage, &action.instance_id);
        stage.until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
        let ended = stage.ended_actions().remove(0);
        let held_for = (ended.ended - ended.action.begun).num_seconds();
        assert_eq!(ended.ending, Ending::Completed(result), "{metadata:?}");
        assert!((after..after + 15).contains(&held_for), "{metadata:?}: {held_for} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_another_tool_deregisters_again_and_again_ends() {
    let stage = fleet_that_declares(None, "tg:web", ActionResult::Abandon);
    let (action, arn) = (open_action(&stage).await, stage.world(|world| elbv2::arn_of(world, "web")).expect("a group"));
    let begun = stage.world(|world| world.now());
    while stage.ended_actions().is_empty() {
        let waited = (stage.world(|world| world.now()) - begun).num_seconds();
        assert!(waited < 3_900, "the hook's 120 s, and the longest draining: {waited} s");
        let target = elbv2::Target::new(&action.instance_id);
        stage.world(|world| elbv2::deregister(world, &arn, target)).expect("a target");
        stage.sandbox.advance(Duration::from_secs(3)).await;
    }
    assert_eq!(stage.ended_actions()[0].ending, Ending::Completed(ActionResult::Abandon));
}

#[tokio::test(start_paused = true)]
async fn the_report_of_an_abandoned_launch_has_the_balancers_reason() {
    let stage = Stage::new();
    stage.instances_group("web");
    untold(&stage);
    let hook = HookSpec::launching(LAUNCH).heartbeat(300).metadata(r#"{"timeout_seconds": 60}"#);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:web").hook(hook).desired(1));
    let action = open_action(&stage).await;
    fails_health_checks(&stage, &action.instance_id);
    let id = action.instance_id.clone();
    stage.until("running", |world| world.ec2.instance(&id).is_some_and(|i| i.state.name() == "running")).await;
    let first = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect("a report");
    let part = &first["instances"][&action.instance_id];
    assert!(part["lifecycle_actions"][0]["why"].as_str().is_some_and(|why| why.starts_with("held: ")), "{first:#}");
    assert!(part["look_again_in_seconds"].as_u64().is_some(), "{first:#}");
    stage.sandbox.advance(Duration::from_secs(90)).await;
    let last = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect("a report");
    let report = &last["instances"][&action.instance_id]["lifecycle_actions"][0];
    assert_eq!((&report["result"], &report["is_given_up"]), (&json!("ABANDON"), &json!(true)), "{last:#}");
    let why = report["why"].as_str().unwrap_or_default();
    assert!(why.contains("unhealthy (Target.FailedHealthChecks"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_become_healthy_is_not_waited_for() {
    let stage = Stage::new();
    stage.world(|world| {
        elbv2::create_target_group(world, TargetGroupSpec::instances("idle", &stage.vpc, 80)).expect("a group");
    });
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(HookSpec::launching(LAUNCH).heartbeat(600));
    stage.fleet(spec.tag("elb-registrar:register", "tg:idle").desired(1)).rest().await;
    let ended = stage.ended_actions().remove(0);
    assert_eq!(ended.ending, Ending::Completed(ActionResult::Continue));
    assert!((ended.ended - ended.action.begun).num_seconds() < 60, "{ended:?}");
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.world(|world| places(world, &id)), ["tg:idle:80"]);
}

/// Returns a stage with a fleet whose launch hook waits for 120 s. The Application Load Balancer of its group `web` is `web-alb`.
fn fleet_that_declares(metadata: Option<Value>, tag: &str, default_result: ActionResult) -> Stage {
    let stage = shop(Options::default());
    let mut hook = HookSpec::launching(LAUNCH).heartbeat(120).by_default(default_result);
    hook.notification_metadata = metadata.map(|metadata| metadata.to_string());
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).tag("elb-registrar:register", tag).desired(1));
    stage
}

#[tokio::test(start_paused = true)]
async fn a_launch_whose_declaration_cannot_be_registered_ends_by_the_hooks_default() {
    for (metadata, tag, default_result) in [
        (Some(json!({ "register": ["tg:web", "tg:nope"] })), "", ActionResult::Abandon),
        (Some(json!({ "register": ["tg:web", "clb:web-alb"] })), "", ActionResult::Abandon),
        (Some(json!({ "register": ["tg:web", "tg:web:8080=eth0"] })), "", ActionResult::Abandon),
        (Some(json!({ "register": ["tg:web", "tg:nope"] })), "", ActionResult::Continue),
        (None, "tg:web tg:nope", ActionResult::Abandon),
        (None, "tg:web clb:nope", ActionResult::Abandon),
        (None, "tg:web tg:web:8080=eth0", ActionResult::Abandon),
        (None, "tg:web oops", ActionResult::Abandon),
    ] {
        let stage = fleet_that_declares(metadata.clone(), tag, default_result);
        stage.until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
        let case = format!("{metadata:?} {tag} {default_result:?}");
        let ended = stage.ended_actions().remove(0);
        let held_for = (ended.ended - ended.action.begun).num_seconds();
        assert_eq!(ended.ending, Ending::Completed(default_result), "{case}");
        assert!((120..135).contains(&held_for), "{case}: {held_for} s");
        assert_eq!(stage.members("tg:web").len(), 1, "{case}: the right declarations are registered meanwhile");
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_goes_on_when_a_person_has_corrected_its_declaration() {
    let stage = fleet_that_declares(None, "tg:web tg:late", ActionResult::Abandon);
    let action = open_action(&stage).await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    assert_eq!(stage.ended_actions().len(), 0, "it waits");
    let report = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect("a report");
    let named = &report["instances"][&action.instance_id]["needs_a_person"][0];
    assert_eq!(named["what"], "tg:late", "what the metric NeedsAPerson counts: {report:#}");
    stage.instances_group("late").rest().await;
    assert_eq!(endings(&stage), [continued(LAUNCH)]);
    let id = action.instance_id;
    assert_eq!(stage.world(|world| places(world, &id)), ["tg:late:80", "tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn metadata_declares_registrations_for_the_instance() {
    let stage = shop(Options::default());
    let metadata = json!({ "register": DECLARED.split(' ').collect::<Vec<_>>() }).to_string();
    let hook = HookSpec::launching(LAUNCH).heartbeat(600).metadata(&metadata);
    let findings = watch_completions(&stage, &PLACES);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1)).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    assert_eq!(stage.world(|world| places(world, &id)), PLACES);
    assert_eq!((endings(&stage), findings.all()), (vec![continued(LAUNCH)], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_ours_serves_untagged_instances_but_holds_no_ignored_one() {
    let stage = Stage::with_settings(&[("Scope", "tagged")]);
    stage.instances_group("web").drains("web", 60);
    let hook = HookSpec::launching(LAUNCH).metadata(r#"{"register": ["tg:web"]}"#);
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(hook).hook(HookSpec::terminating(TERMINATE)).desired(1);
    stage.fleet(spec.clone()).rest().await;
    assert_eq!(stage.members("tg:web").len(), 1);
    stage.wants("fleet", 0).rest().await;
    let held_for = |ended: &auto_scaling::EndedAction| (ended.ended - ended.action.begun).num_seconds();
    let ended = stage.ended_actions();
    assert_eq!((endings(&stage), stage.members("tg:web").len()), (vec![continued(LAUNCH), continued(TERMINATE)], 0));
    assert!(held_for(&ended[1]) >= 60, "{ended:?}");
    let ignored = GroupSpec { name: "ignored".to_owned(), ..spec }.tag("elb-registrar:ignore", "");
    stage.fleet(ignored).rest().await;
    let ended = stage.ended_actions().remove(2);
    assert_eq!((ended.ending, stage.members("tg:web").len()), (Ending::Completed(ActionResult::Continue), 0));
    assert!(held_for(&ended) < 10, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_not_understood_leaves_the_hook_to_its_default() {
    let stage = shop(Options::default());
    let hook = HookSpec::launching(LAUNCH).heartbeat(60).by_default(ActionResult::Continue);
    let hook = hook.metadata(r#"{"registre": ["tg:web"]}"#);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1)).rest().await;
    assert_eq!(endings(&stage), [(LAUNCH.to_owned(), Ending::TimedOut(ActionResult::Continue))]);
    let letters = stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS);
    let reason = letters[0].1.clone().unwrap_or_default();
    assert!(
        letters.len() == 1 && reason.contains("`elb-registrar-launch`") && reason.contains("`registre`"),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn metadata_that_an_operator_corrects_counts_when_the_event_comes_again() {
    let stage = shop(Options::default());
    untold(&stage);
    let hook = HookSpec::launching(LAUNCH).metadata(r#"{"registre": ["tg:web"]}"#);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).hook(hook.clone()).desired(1));
    let action = open_action(&stage).await;
    let id = action.instance_id.clone();
    stage.until("running", |world| world.ec2.instance(&id).is_some_and(|i| i.state.name() == "running")).await;
    let error = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect_err("an unknown field");
    assert_eq!(error["errorType"], "EventNotUnderstood");
    let corrected = hook.metadata(r#"{"register": ["tg:web"]}"#);
    stage.world(|world| auto_scaling::put_hook(world, "fleet", corrected)).expect("the hook that was there");
    // The event still has the old metadata.
    stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect("a report");
    assert_eq!(stage.world(|world| places(world, &id)), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_hooks_notification_is_served_and_its_test_is_ignored() {
    let stage = shop(Options::default());
    untold(&stage);
    let hook = HookSpec::launching(LAUNCH).heartbeat(600);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:web").hook(hook).desired(1));
    let action = open_action(&stage).await;
    let test = json!({ "Service": "AWS Auto Scaling", "Event": "autoscaling:TEST_NOTIFICATION", "AccountId": ACCOUNT });
    let notification = json!({
        "Service": "AWS Auto Scaling", "AccountId": ACCOUNT, "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "Time": action.begun.format("%Y-%m-%dT%H:%M:%S.123Z").to_string(), "AutoScalingGroupName": action.group,
        "LifecycleHookName": action.hook.name, "EC2InstanceId": action.instance_id, "LifecycleActionToken": action.token,
    });
    for body in [test, notification] {
        let draft = sandbox::sqs::Draft { body: body.to_string(), ..Default::default() };
        stage.world(|world| sandbox::sqs::send(world, LIFECYCLE_QUEUE, draft)).expect("a message");
    }
    stage.rest().await;
    assert_eq!(endings(&stage), [continued(LAUNCH)]);
    assert_eq!(stage.world(|world| places(world, &action.instance_id)), ["tg:web:80"]);
    assert_eq!(stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_launch_with_a_misspelt_declaration_waits_for_a_person() {
    let stage = shop(Options::default());
    let hook = HookSpec::launching(LAUNCH).heartbeat(120);
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(hook).tag("elb-registar:register", "tg:web").desired(1);
    stage.fleet(spec).until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
    let ended = stage.ended_actions().remove(0);
    assert_eq!(ended.ending, Ending::Completed(ActionResult::Abandon));
    assert!((ended.ended - ended.action.begun).num_seconds() >= 120, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_another_tool_is_neither_completed_nor_kept_alive() {
    let stage = shop(Options::default());
    let hook = HookSpec::launching("ecs-managed-launch").heartbeat(60).by_default(ActionResult::Continue);
    stage.fleet(GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", DECLARED).hook(hook).desired(1));
    let action = open_action(&stage).await;
    let refusal = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect_err("an error");
    let message = refusal["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("`ecs-managed-launch`") && message.contains("`elb-registrar`"), "{message}");
    stage.rest().await;
    let ended = stage.ended_actions().remove(0);
    assert_eq!((ended.ending, ended.action.heartbeats), (Ending::TimedOut(ActionResult::Continue), 0));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_goes_round_through_the_warm_pool_keeps_everything() {
    for state in [PoolState::Stopped, PoolState::Running] {
        let stage = shop(Options::default());
        let findings = watch_completions(&stage, &PLACES);
        let spec = fleet(&stage).desired(1);
        let pool = WarmPool { state, min_size: 0, reuse_on_scale_in: true, ..WarmPool::default() };
        let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
        stage.fleet(spec).rest().await;
        stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
        stage.rest().await;
        let id = stage.member_states("fleet").remove(0).0;
        for round in 0..2 {
            stage.wants("fleet", 0).rest().await;
            let warmed = stage.member_states("fleet");
            assert_eq!(warmed, [(id.clone(), state.member_state())], "{state:?}, round {round}");
            assert_eq!(stage.world(|world| places(world, &id)).len(), 0, "{state:?}\n{}", stage.describe());
            assert_eq!(stage.held_by(&id).len(), PLACES.len(), "{state:?}, round {round}");
            stage.wants("fleet", 1).rest().await;
            assert_eq!(stage.member_states("fleet"), [(id.clone(), LifecycleState::InService)]);
            assert_eq!(stage.world(|world| places(world, &id)), PLACES, "{state:?}, round {round}");
            stage.sweep().await.expect("a sweep");
            assert_eq!(stage.held_by(&id).len(), 0, "{state:?}, round {round}\n{}", stage.describe());
        }
        let timed_out = endings(&stage).into_iter().filter(|(_, ending)| matches!(ending, Ending::TimedOut(_)));
        assert_eq!((timed_out.count(), findings.all()), (0, vec![]), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_enters_the_warm_pool_gets_no_traffic() {
    let stage = shop(Options::default());
    let pool = WarmPool { state: PoolState::Running, min_size: 1, ..WarmPool::default() };
    stage.fleet(fleet(&stage));
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage
        .until("a warm member", |world| {
            world.auto_scaling.groups["fleet"]
                .members
                .values()
                .any(|m| m.lifecycle_state == LifecycleState::WarmedRunning)
        })
        .await;
    assert_eq!(endings(&stage)[0], continued(LAUNCH));
    let id = stage.member_states("fleet").remove(0).0;
    stage.sweep().await.expect("a sweep");
    assert_eq!(stage.world(|world| places(world, &id)), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_late_terminate_event_does_not_touch_an_instance_in_service() {
    let stage = running_fleet(1).await;
    let pool = WarmPool { state: PoolState::Running, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.wants("fleet", 0);
    let action = open_action(&stage).await;
    stage.rest().await;
    stage.wants("fleet", 1).rest().await;
    assert_eq!(stage.member_states("fleet"), [(action.instance_id.clone(), LifecycleState::InService)]);
    stage.forget_calls();
    let report = stage.sandbox.invoke(LIFECYCLE, event_of(&action)).await.expect("a report");
    assert_eq!(stage.world(|world| places(world, &action.instance_id)), PLACES, "{report:#}");
    let calls = stage.calls_of(LIFECYCLE);
    let changes: Vec<&Call> = calls.iter().filter(|call| !call.action.starts_with("Describe")).collect();
    assert!(changes.iter().all(|call| call.action == "DeleteTags"), "only settled tags are forgotten: {changes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_doubled_event_completes_the_action_once() {
    let stage = shop(Options::default());
    stage.world(|world| {
        world.events.set_delivery(|event| match event.source.as_str() {
            "aws.autoscaling" => Delivery::Twice,
            _ => Delivery::Normal,
        });
    });
    let findings = watch_completions(&stage, &PLACES);
    stage.fleet(fleet(&stage).desired(1)).rest().await;
    stage.wants("fleet", 0).rest().await;
    assert_eq!(endings(&stage), [continued(LAUNCH), continued(TERMINATE)]);
    assert_eq!((findings.all(), stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS)), (vec![], vec![]));
}

/// Returns a rule that refuses every call of an action.
pub(crate) fn not_today(action: &str) -> impl Rule + use<> {
    every(action, Verdict::Refuse(ApiError::sender("AccessDenied", "not today")))
}

#[tokio::test(start_paused = true)]
async fn a_failing_balancer_is_reported_and_delays_the_hook_for_a_time() {
    let stage = running_fleet(1).await;
    let _fault = stage.sandbox.fault(not_today("DeregisterTargets"));
    stage.wants("fleet", 0);
    stage.until("its end", |world| world.auto_scaling.ended_actions.len() > 1).await;
    let ended = stage.ended_actions().remove(1);
    let held_for = (ended.ended - ended.action.begun).num_seconds();
    assert_eq!(ended.ending, Ending::Completed(ActionResult::Continue));
    assert!((300..320).contains(&held_for), "the hook's own timeout, 300 s: {held_for}");
    assert_eq!(stage.members("clb:shop").len(), 0, "the others are not stopped by it");
}

#[tokio::test(start_paused = true)]
async fn a_terminate_hook_that_is_given_up_ends_as_it_says() {
    use ActionResult::{Abandon, Continue};
    for (metadata, default_result, result) in [
        (None, Continue, Continue),
        (None, Abandon, Abandon),
        (Some(r#"{"on_timeout": "ABANDON"}"#), Continue, Abandon),
        (Some(r#"{"on_timeout": "CONTINUE"}"#), Abandon, Continue),
    ] {
        let stage = shop(Options::default());
        let mut hook = HookSpec::terminating(TERMINATE).heartbeat(300).by_default(default_result);
        hook.notification_metadata = metadata.map(str::to_owned);
        let spec =
            GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:web").hook(hook).retaining();
        stage.fleet(spec.desired(1)).rest().await;
        stage.sweep().await.expect("a sweep");
        assert_eq!(stage.members("tg:web").len(), 1, "{}", stage.describe());
        let fault = stage.sandbox.fault(not_today("DeregisterTargets"));
        stage.wants("fleet", 0);
        stage.until("its end", |world| !world.auto_scaling.ended_actions.is_empty()).await;
        assert_eq!(stage.ended_actions()[0].ending, Ending::Completed(result), "{metadata:?} {default_result:?}");
        drop(fault);
        stage.rest().await;
        let retained = stage.member_states("fleet").pop().map(|(_, state)| state);
        assert_eq!(retained, (result == Abandon).then_some(LifecycleState::TerminatingRetained), "{metadata:?}");
        // It gets no traffic.
        stage.sweep().await.expect("a sweep");
        assert_eq!(stage.members("tg:web"), Vec::<String>::new(), "{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_is_over_is_not_looked_at_every_few_seconds() {
    let stage = running_fleet(1).await;
    let action = stage.ended_actions().remove(0).action;
    stage.instance("web-1").registered("web-1", "tg:web").deliver_only(&[]).stop_and_rest("web-1").await;
    let _fault = stage.sandbox.fault(not_today("DeregisterTargets"));
    // A person makes up that the stopped instance is launching.
    let event = event_of(&Action { instance_id: stage.id("web-1"), ..action });
    let draft = sqs::Draft { body: event.to_string(), ..sqs::Draft::default() };
    stage.world(|world| sqs::send(world, LIFECYCLE_QUEUE, draft)).expect("sent");
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    let looks = stage.world(|world| world.lambda.log.iter().filter(|ended| ended.function == LIFECYCLE).count());
    assert!((20..=100).contains(&looks), "{looks} looks within an hour");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_gone_is_not_waited_for() {
    for gone in ["instance", "hook", "group"] {
        let stage = running_fleet(1).await;
        stage.drains("web", 1_000);
        stage.wants("fleet", 0);
        let action = open_action(&stage).await;
        stage.sandbox.advance(Duration::from_secs(60)).await;
        stage
            .world(|world| match gone {
                "instance" => ec2::terminate(world, &action.instance_id),
                "hook" => auto_scaling::delete_hook(world, "fleet", TERMINATE),
                _ => auto_scaling::delete_group(world, "fleet", true),
            })
            .expect(gone);
        stage.rest().await;
        assert_eq!(
            stage.world(|world| world.sqs.queue(LIFECYCLE_QUEUE).map(|queue| queue.messages().count())),
            Some(0)
        );
        assert_eq!(stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS), [], "{gone}");
        assert_eq!(stage.members("tg:web").len(), 0, "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_holds_no_fleet_up() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instances_group("web").addresses_group("edge");
    stage.fleet(fleet(&stage).desired(1)).rest().await;
    stage.wants("fleet", 0).rest().await;
    let held_for = |ended: &auto_scaling::EndedAction| (ended.ended - ended.action.begun).num_seconds();
    for ended in stage.ended_actions() {
        assert_eq!(ended.ending, Ending::Completed(ActionResult::Continue));
        assert!(held_for(&ended) < 10, "{ended:?}");
    }
    assert_eq!(stage.ended_actions().len(), 2);
    let changes = stage.calls_of(LIFECYCLE).into_iter().filter(|call| !call.action.starts_with("Describe"));
    let changes: std::collections::BTreeSet<String> = changes.map(|call| call.action).collect();
    assert_eq!(changes.into_iter().collect::<Vec<_>>(), ["ChangeMessageVisibilityBatch", "CompleteLifecycleAction"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_restarted_in_standby_is_back_when_in_service_again() {
    let stage = running_fleet(1).await;
    stage.drains("edge", 60);
    let id = stage.member_states("fleet").remove(0).0;
    stage
        .world(|world| auto_scaling::enter_standby(world, "fleet", std::slice::from_ref(&id), Leaving::Decrements))
        .expect("standby");
    stage.rest().await;
    stage.world(|world| ec2::stop(world, &id)).expect("a stop");
    stage.rest().await;
    assert_eq!((stage.world(|world| places(world, &id)).len(), stage.held_by(&id).len()), (0, PLACES.len()));
    stage.world(|world| ec2::start(world, &id)).expect("a start");
    stage.rest().await;
    assert_eq!(stage.world(|world| places(world, &id)).len(), 0, "Standby gets no traffic");
    stage.world(|world| auto_scaling::exit_standby(world, "fleet", std::slice::from_ref(&id))).expect("in service");
    stage.rest().await;
    stage.sandbox.advance(Duration::from_secs(200)).await;
    let report = stage.sweep().await.expect("a sweep");
    let places = stage.world(|world| places(world, &id));
    assert_eq!(places, PLACES, "no event tells of it, so the sweep gives back: {report:#}");
}

/// Returns a stage with a group of one member, whose launch hook waits for five minutes without a heartbeat. Its address drains for so long.
async fn member_with_an_address(drain: u64) -> Stage {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", drain);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:edge")
        .hook(HookSpec::launching(LAUNCH).heartbeat(300))
        .desired(1);
    stage.fleet(spec).rest().await;
    stage
}

fn endings_since(stage: &Stage, before: usize) -> Vec<String> {
    let ended = stage.ended_actions();
    let since = ended.iter().skip(before);
    since.map(|e| format!("{:?} after {} s", e.ending, (e.ended - e.action.begun).num_seconds())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_launch_from_the_warm_pool_waits_for_its_address_to_drain() {
    let stage = member_with_an_address(900).await;
    let pool = WarmPool { state: PoolState::Stopped, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.rest().await;
    let before = stage.ended_actions().len();
    stage.wants("fleet", 0);
    let is_warm = |state: LifecycleState| state == LifecycleState::WarmedStopped;
    stage
        .until("warm", |world| world.auto_scaling.groups["fleet"].members.values().any(|m| is_warm(m.lifecycle_state)))
        .await;
    stage.sandbox.advance(Duration::from_secs(30)).await;
    stage.wants("fleet", 1);
    stage.sandbox.advance(Duration::from_secs(1500)).await;
    let endings = endings_since(&stage, before);
    assert!(
        !endings.is_empty() && endings.iter().all(|end| end.contains("Continue")),
        "900 s of draining: {endings:?}"
    );
    assert_eq!(stage.members("tg:edge").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_launch_waits_for_its_address_that_an_earlier_host_leaves_draining() {
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 600);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:edge")
        .hook(HookSpec::launching(LAUNCH).heartbeat(120));
    stage.fleet(spec);
    // The next addresses of the subnet were registered, and are drained.
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").expect("a group");
        for last in 4..40 {
            let target = elbv2::Target::new(format!("10.0.0.{last}")).on(443);
            elbv2::register(world, &arn, target.clone()).expect("registered");
            elbv2::deregister(world, &arn, target).expect("deregistered");
        }
    });
    stage.wants("fleet", 1);
    stage.sandbox.advance(Duration::from_secs(1200)).await;
    let endings = endings_since(&stage, 0);
    assert!(!endings.is_empty() && endings.iter().all(|end| end.contains("Continue")), "{endings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_fails_after_a_draining_ends_by_its_hooks_default() {
    let stage = member_with_an_address(400).await;
    let before = stage.ended_actions().len();
    let pool = WarmPool { state: PoolState::Stopped, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    stage.rest().await;
    stage.wants("fleet", 0);
    let is_warm = |state: LifecycleState| state == LifecycleState::WarmedStopped;
    stage
        .until("warm", |world| world.auto_scaling.groups["fleet"].members.values().any(|m| is_warm(m.lifecycle_state)))
        .await;
    let id = stage.member_states("fleet").remove(0).0;
    let address =
        stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("an address");
    fails_health_checks(&stage, &address.to_string());
    stage.wants("fleet", 1);
    stage.sandbox.advance(Duration::from_secs(1200)).await;
    let endings = endings_since(&stage, before);
    assert!(endings.first().is_some_and(|end| end.contains("Abandon")), "{endings:?}");
}

#[tokio::test(start_paused = true)]
async fn launches_for_which_there_is_room_are_not_given_up() {
    let stage = Stage::new();
    stage.instances_group("web");
    stage.world(|world| world.elbv2.targets_per_group = 3);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:web")
        .hook(HookSpec::launching("elb-registrar-in").heartbeat(600).by_default(ActionResult::Continue))
        .desired(4);
    stage.fleet(spec);
    stage.sandbox.advance(Duration::from_secs(120)).await;
    assert_eq!(stage.members("tg:web").len(), 3, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_slip_in_one_members_tag_lets_no_other_go_undrained() {
    let stage = Stage::new();
    stage.instances_group("web").drains("web", 1_200);
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .tag("elb-registrar:register", "tg:web")
        .hook(HookSpec::terminating("elb-registrar-out").heartbeat(300).by_default(ActionResult::Continue))
        .desired(2);
    stage.fleet(spec).rest().await;
    stage.sweep().await.expect("a report");
    let ids: Vec<String> = stage.member_states("fleet").into_iter().map(|(id, _)| id).collect();
    assert_eq!(stage.members("tg:web").len(), 2);
    stage.world(|world| ec2::set_tag(world, &ids[0], "elb-registrar:held.byhand", "tg:old/0123:80"));
    stage.wants("fleet", 0).rest().await;
    for ended in stage.ended_actions() {
        let seconds = (ended.ended - ended.action.begun).num_seconds();
        assert!(seconds >= 1_200, "{} was let go after {seconds} s: {:?}", ended.action.instance_id, ended.ending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_with_a_time_that_lies_ahead_holds_no_hook() {
    let stage = Stage::new();
    stage.network_group("net").drains("net", 0);
    let spec = GroupSpec { tags: Vec::new(), ..fleet(&stage) }.tag("elb-registrar:register", "tg:net").desired(1);
    stage.fleet(spec).rest().await;
    let id = stage.member_states("fleet").remove(0).0;
    let arn = stage.world(|world| elbv2::arn_of(world, "net")).expect("a group");
    let group = arn.split(":targetgroup/").nth(1).expect("an ARN").to_owned();
    let key = "elb-registrar:held.2099-01-01T00:00:00Z.0000beef";
    stage.world(|world| ec2::set_tag(world, &id, key, &format!("tg:{group}:80")));
    stage.wants("fleet", 0).sandbox.advance(Duration::from_secs(600)).await;
    assert_eq!(stage.world(|world| world.auto_scaling.actions.len()), 0, "{}", stage.describe());
    let ended = stage.ended_actions().last().cloned().expect("an action");
    let seconds = (ended.ended - ended.action.begun).num_seconds();
    assert!((120..200).contains(&seconds), "let go after {seconds} s");
}

/// `elb-registrar` is the beginning of `elb-registrar-blue`, and both deployments hear of the second one's hooks.
#[tokio::test(start_paused = true)]
async fn a_hook_of_another_deployment_is_left_to_it() {
    for (others, ending) in [
        ("elb-registrar-blue,other", Ending::TimedOut(ActionResult::Continue)),
        ("", Ending::Completed(ActionResult::Continue)),
    ] {
        let stage = Stage::with_settings(&[("Mode", "observe"), ("OtherHookPrefixes", others)]);
        stage.instances_group("web");
        let hook = HookSpec::launching("elb-registrar-blue-in").heartbeat(60).by_default(ActionResult::Continue);
        stage.fleet(GroupSpec::new("blue", &stage.subnet).hook(hook).desired(1)).rest().await;
        stage.sandbox.advance(Duration::from_secs(120)).await;
        let endings: Vec<Ending> = stage.ended_actions().into_iter().map(|ended| ended.ending).collect();
        assert_eq!(endings, [ending], "{others}");
        assert_eq!(stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS), [], "{others}");
    }
}

//! The powers of a person who may tag instances, put events on the bus, send to the queues or call the functions: one scenario
//! for each bound that docs/security.md names.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use end_to_end::{Stage, places, state_change};
use lambda_runtime::{Context, LambdaEvent};
use registrar::{
    config::{Config, Mode},
    handler::InstanceState,
};
use sandbox::{
    ACCOUNT, REGION, Verdict,
    auto_scaling::{GroupSpec, HookSpec, LifecycleState},
    deployment::LIFECYCLE,
    elbv2,
    events::Delivery,
    fault::every,
    wire::ApiError,
};
use serde_json::{Value, json};

const REGISTER: &str = "elb-registrar:register";

/// A made-up key of the form that the functions write.
const HELD: &str = "elb-registrar:held.2026-01-05T08:00:00Z.00000000";

/// Two instances, of which only one is registered anywhere.
fn shop() -> Stage {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1").instance("mine");
    stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
    stage
}

/// Returns a group with one member in service, and hooks that declare nothing.
async fn fleet() -> (Stage, String) {
    let stage = shop();
    let group = GroupSpec::new("fleet", &stage.subnet).hook(HookSpec::launching("elb-registrar-launch"));
    stage.fleet(group.hook(HookSpec::terminating("elb-registrar-terminate")).desired(1));
    stage.rest().await;
    let (member, state) = stage.member_states("fleet")[0].clone();
    assert_eq!(state, LifecycleState::InService);
    (stage, member)
}

fn launch_action(stage: &Stage, instance: &str, group: &str) -> Value {
    json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "source": "aws.autoscaling", "account": ACCOUNT,
        "detail-type": "EC2 Instance-launch Lifecycle Action", "region": REGION, "resources": [],
        "time": stage.world(|world| world.now()).to_rfc3339(),
        "detail": {
            "LifecycleActionToken": "87654321-4321-4321-4321-210987654321", "AutoScalingGroupName": group,
            "LifecycleHookName": "elb-registrar-launch", "EC2InstanceId": instance,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
            "NotificationMetadata": r#"{"register": ["clb:shop tg:web tg:edge"]}"#,
        },
    })
}

fn terminate_action(stage: &Stage, instance: &str) -> Value {
    let mut action = launch_action(stage, instance, "fleet");
    action["detail-type"] = json!("EC2 Instance-terminate Lifecycle Action");
    action["detail"]["LifecycleHookName"] = json!("elb-registrar-terminate");
    action["detail"]["LifecycleTransition"] = json!("autoscaling:EC2_INSTANCE_TERMINATING");
    action["detail"].as_object_mut().expect("an object").remove("NotificationMetadata");
    action
}

/// Tells the function that an instance runs, and returns the report.
async fn report_of(stage: &Stage, instance: &str) -> String {
    match stage.invoke(state_change(stage, instance, "running")).await {
        Ok(report) => report.to_string(),
        Err(error) => panic!("{error}\n{}", stage.describe()),
    }
}

/// Returns every registration and deregistration that was asked for, as the parameters of its call.
fn changes(stage: &Stage) -> Vec<String> {
    let is_change = |action: &str| action.starts_with("Register") || action.starts_with("Deregister");
    let calls = stage.world(|world| world.calls.clone());
    calls.into_iter().filter(|call| is_change(&call.action)).map(|call| format!("{:?}", call.parameters)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tag_with_another_account_or_region_is_named_and_changes_nothing() {
    let stage = shop();
    let arn = |region: &str, account: &str| {
        format!("arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/web/0123456789abcdef")
    };
    let declared = [
        arn(REGION, "210987654321"),
        arn("eu-west-1", ACCOUNT),
        format!("tg:{}", arn(REGION, "210987654321")),
        "tg:web/fedcba9876543210".to_owned(),
        "clb:210987654321/shop".to_owned(),
        "clb:theirs".to_owned(),
    ];
    for text in declared {
        stage.tagged("mine", REGISTER, &text).tagged("mine", HELD, &text);
        stage.forget_calls();
        let report = report_of(&stage, "mine").await;
        let is_named = ["needs_a_person", "let_go"].iter().any(|word| report.contains(word)) && report.contains(&text);
        assert!(is_named, "{text}: {report}");
        assert_eq!((changes(&stage), stage.places("mine").len()), (Vec::new(), 0), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_with_another_instances_address_changes_nothing_there() {
    let stage = shop();
    let (theirs, arn) = stage.world(|world| {
        let web =
            world.ec2.instances.values().find_map(|history| history.current().primary_ipv4()).expect("an address");
        (web, elbv2::arn_of(world, "edge").expect("a group"))
    });
    let id = arn.rsplit('/').next().expect("an id");
    assert!(stage.members("tg:edge")[0].starts_with(&theirs.to_string()), "the address of web-1");
    for text in [format!("tg:edge/{id}:443={theirs}"), format!("tg:edge/{id}:8443={theirs}@all")] {
        stage.tagged("mine", REGISTER, &text).tagged("mine", HELD, &text);
        stage.forget_calls();
        stage.stop_and_rest("mine").await.start_and_rest("mine").await;
        assert_eq!((changes(&stage), stage.members("tg:edge").len()), (Vec::new(), 1), "{text}\n{}", stage.describe());
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_with_permission_to_tag_an_instance_can_register_only_it() {
    for key in [REGISTER, HELD] {
        let stage = shop();
        let web = stage.world(|world| elbv2::arn_of(world, "web")).expect("a group");
        let id = web.rsplit('/').next().expect("an id").to_owned();
        stage.tagged("mine", key, &format!("clb:shop tg:web/{id}:80"));
        report_of(&stage, "mine").await;
        assert_eq!(stage.places("mine"), ["clb:shop", "tg:web:80"], "{key}: it was never there before");
        assert_eq!(stage.places("web-1").len(), 3, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_made_by_hand_opens_no_balancer_of_another_owner() {
    for owner in ["elb-registrar:ignore", "kubernetes.io/cluster/prod"] {
        for key in [REGISTER, HELD] {
            let stage = shop();
            stage.tagged("clb:shop", owner, "x").tagged("mine", key, "clb:shop");
            report_of(&stage, "mine").await;
            assert_eq!(stage.places("mine"), Vec::<String>::new(), "{owner} {key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_other_accounts_regions_and_sources_change_nothing() {
    let stage = shop();
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    stage.stop_and_rest("web-1").await;
    let before = stage.places("web-1");
    for (field, value) in [("account", "210987654321"), ("region", "eu-west-1"), ("source", "com.example")] {
        let mut event = state_change(&stage, "web-1", "stopped");
        event[field] = json!(value);
        let error = stage.invoke(event).await.expect_err("an error");
        assert_eq!((&error["errorType"], stage.places("web-1")), (&json!("EventNotUnderstood"), before.clone()));
        let mut action = launch_action(&stage, &stage.id("mine"), "fleet");
        action[field] = json!(value);
        let error = stage.sandbox.invoke(LIFECYCLE, action).await.expect_err("an error");
        assert_eq!(error["errorType"], "EventNotUnderstood");
    }
    assert_eq!(changes(&stage), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_state_that_only_an_event_claims_deregisters_no_instance() {
    let stage = shop();
    for state in ["stopping", "stopped", "shutting-down", "terminated"] {
        let mut event = state_change(&stage, "web-1", state);
        event["time"] = json!("2026-01-01T00:00:00Z");
        stage.invoke(event).await.expect("a report");
    }
    assert_eq!((stage.places("web-1").len(), changes(&stage).len()), (3, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_forged_launch_registers_no_instance_that_is_not_launching() {
    let (stage, member) = fleet().await;
    for instance in [member, stage.id("mine")] {
        let before = stage.world(|world| places(world, &instance));
        for group in ["fleet", "another"] {
            let mut action = launch_action(&stage, &instance, group);
            for root_volume in [None, Some("ReplaceRootVolume")] {
                action["detail"]["Action"] = json!(root_volume);
                let _ = stage.sandbox.invoke(LIFECYCLE, action.clone()).await;
                assert_eq!(stage.world(|world| places(world, &instance)), before, "{group} {root_volume:?}");
            }
        }
    }
}

/// Returns a member that waits at the launch hook of its group. The hook declares `tg:web` and no more. All events of it were lost.
async fn arrival() -> (Stage, String) {
    let stage = shop();
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    let launch = HookSpec::launching("elb-registrar-launch").metadata(r#"{"register": ["tg:web"]}"#);
    let group =
        GroupSpec::new("fleet", &stage.subnet).hook(launch).hook(HookSpec::terminating("elb-registrar-terminate"));
    stage.fleet(group.desired(1)).sandbox.advance(Duration::from_secs(60)).await;
    let (member, state) = stage.member_states("fleet")[0].clone();
    assert_eq!(state, LifecycleState::PendingWait);
    (stage, member)
}

#[tokio::test(start_paused = true)]
async fn a_forged_launch_registers_only_what_the_real_hook_declares() {
    for (hook, declared) in
        [("elb-registrar-launch", &["tg:web:80"][..]), ("elb-registrar-terminate", &[]), ("elb-registrar-gone", &[])]
    {
        let (stage, member) = arrival().await;
        let mut action = launch_action(&stage, &member, "fleet");
        action["detail"]["LifecycleHookName"] = json!(hook);
        stage.sandbox.invoke(LIFECYCLE, action).await.expect("a report");
        assert_eq!(stage.world(|world| places(world, &member)), declared, "{hook}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_termination_takes_no_member_out_that_its_group_keeps() {
    let (stage, member) = fleet().await;
    stage.world(|world| sandbox::elb::register(world, "shop", &member)).expect("a member");
    let mut action = terminate_action(&stage, &member);
    action["time"] = json!("2026-01-01T00:00:00Z");
    stage.sandbox.invoke(LIFECYCLE, action).await.expect("a report");
    assert_eq!(stage.world(|world| places(world, &member)), ["clb:shop"]);
    assert_eq!(stage.member_states("fleet")[0].1, LifecycleState::InService);
}

#[tokio::test(start_paused = true)]
async fn an_action_with_an_extreme_time_is_served_like_others() {
    for time in ["-262143-01-01T00:00:00Z", "+262142-12-31T23:59:59Z"] {
        let stage = shop();
        let hook = HookSpec::terminating("elb-registrar-terminate");
        let group = GroupSpec::new("fleet", &stage.subnet).tag(REGISTER, "tg:edge").hook(hook).desired(1);
        stage.fleet(group).rest().await;
        stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
        stage.wants("fleet", 0).sandbox.advance(Duration::from_secs(60)).await;
        let member = stage.member_states("fleet")[0].0.clone();
        let mut action = terminate_action(&stage, &member);
        action["time"] = json!(time);
        // The second look finds that the first one has deregistered everything.
        for _ in 0..2 {
            stage.sandbox.invoke(LIFECYCLE, action.clone()).await.expect("a report");
        }
        assert_eq!(stage.world(|world| places(world, &member)), Vec::<String>::new(), "{time}");
    }
}

/// Keeps everything that is logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_log_nor_error_has_anything_of_the_credentials() {
    let stage = shop();
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    stage.stop_and_rest("web-1").await;
    let secrets = ["wJalrXUtnFEMIEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLETOKEN"];
    let credentials = Credentials::new("AKIAOPERATOR", secrets[0], Some(secrets[1].to_owned()), None, "test");
    let sdk: SdkConfig =
        stage.operator_sdk().into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build();
    let function = InstanceState::new(&sdk, &Config { mode: Mode::Enforce, ..Config::default() });
    let event = state_change(&stage, "web-1", "stopped");
    let denied = ApiError::sender("UnauthorizedOperation", "You are not authorized to perform this operation.");
    // While there is only one dispatcher in the process, tracing asks the *thread* that first reaches a place in the code whether
    // it has a listener there. The threads of other tests have none, and the place would be silent here, too.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    for level in [tracing::Level::INFO, tracing::Level::TRACE] {
        for verdict in [Verdict::Refuse(denied.clone()), Verdict::LoseAnswer, Verdict::Pass] {
            let _fault = stage.sandbox.fault(every("CreateTags", verdict.clone()));
            let log = Log::default();
            let kept = log.clone();
            let subscriber =
                tracing_subscriber::fmt().json().with_max_level(level).with_writer(move || kept.clone()).finish();
            let _guard = tracing::subscriber::set_default(subscriber);
            let answer = function.invoke(LambdaEvent::new(event.clone(), Context::default())).await;
            let said = format!(
                "{} {:?} {}",
                log.text(),
                answer,
                answer.as_ref().err().map(ToString::to_string).unwrap_or_default()
            );
            assert!(said.contains(&stage.id("web-1")), "it says something");
            // Lambda's own setting of the level can ask for this.
            assert_eq!(said.contains("aws_smithy_runtime"), level == tracing::Level::TRACE, "the SDK speaks, too");
            for secret in secrets {
                let at = said.find(secret).map(|at| &said[at.saturating_sub(600)..at]);
                assert_eq!(at, None, "{level} {verdict:?}");
            }
        }
    }
}

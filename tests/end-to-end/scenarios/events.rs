//! The files in `events/`, usable as they are in any account and Region.

use std::{fs, path::Path};

use aws_types::{SdkConfig, region::Region};
use end_to_end::{Stage, delivered};
use lambda_runtime::{Context, LambdaEvent};
use registrar::{
    config::Config,
    handler::{Failure, InstanceState, Lifecycle, Reconcile},
};
use sandbox::deployment::{INSTANCE_STATE, LIFECYCLE, LIFECYCLE_RULE, RECONCILE, RULE};
use serde_json::Value;

fn files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut files: Vec<(String, Value)> = fs::read_dir(folder)
        .expect("the folder events/")
        .map(|entry| entry.expect("a file").path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            (
                path.file_stem().expect("a name").to_string_lossy().into_owned(),
                serde_json::from_str(&text).expect("JSON"),
            )
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

fn state_changes() -> Vec<(String, Value)> {
    files().into_iter().filter(|(name, _)| name.starts_with("instance-")).collect()
}

#[test]
fn there_is_one_file_for_each_documented_state_named_after_it() {
    let names: Vec<String> = state_changes().into_iter().map(|(name, _)| name).collect();
    let states = ["pending", "running", "shutting-down", "stopped", "stopping", "terminated"];
    assert_eq!(names, states.map(|state| format!("instance-{state}")));
    for (name, event) in state_changes() {
        assert_eq!(name, format!("instance-{}", event["detail"]["state"].as_str().expect("a state")));
    }
}

#[tokio::test(start_paused = true)]
async fn each_file_matches_the_rule_for_it_and_no_other() {
    let stage = Stage::new();
    for (name, event) in files() {
        let meant = match name.as_str() {
            // The schedule tells `reconcile` by itself, and an instance that starts is looked at when it runs.
            "scheduled" | "instance-pending" | "report-all" | "widget" => vec![],
            name if name.starts_with("lifecycle-") => vec![LIFECYCLE_RULE],
            _ => vec![RULE],
        };
        assert_eq!(rules_wanting(&stage, &delivered(&event)), meant, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn near_misses_match_no_rule() {
    let stage = Stage::new();
    let files = state_changes();
    let (_, good) = files.iter().find(|(name, _)| name == "instance-stopped").expect("a file");
    let good = delivered(good);
    assert_eq!(rules_wanting(&stage, &good), [RULE]);
    for (pointer, other) in [
        ("/source", "com.example"),
        ("/source", "aws.autoscaling"),
        ("/detail-type", "EC2 Instance Rebalance Recommendation"),
        ("/detail-type", "ec2 instance state-change notification"),
        ("/detail/state", "pending"),
        ("/detail/state", "rebooting"),
        ("/detail/state", "Stopped"),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).expect("a field") = other.into();
        assert_eq!(rules_wanting(&stage, &event), Vec::<String>::new(), "{pointer} {other}");
    }
    let mut event = good.clone();
    event["detail"] = serde_json::json!({});
    assert_eq!(rules_wanting(&stage, &event), Vec::<String>::new());
}

#[test]
fn each_documented_way_of_a_lifecycle_action_has_a_file() {
    let mut ways = Vec::new();
    for (name, event) in files().into_iter().filter(|(name, _)| name.starts_with("lifecycle-")) {
        let detail = &event["detail"];
        let transition = detail["LifecycleTransition"].as_str().expect("a transition");
        let kind = if transition == "autoscaling:EC2_INSTANCE_LAUNCHING" { "launch" } else { "terminate" };
        assert_eq!(event["detail-type"], format!("EC2 Instance-{kind} Lifecycle Action"), "{name}");
        assert!(name.starts_with(&format!("lifecycle-{kind}")), "{name}");
        let place = |field: &str| detail[field].as_str().unwrap_or("-");
        ways.push(format!("{kind}: {} {} {}", place("Origin"), place("Destination"), place("Action")));
    }
    ways.sort();
    assert_eq!(
        ways,
        [
            "launch: - - -",
            "launch: AutoScalingGroup AutoScalingGroup ReplaceRootVolume",
            "launch: EC2 AutoScalingGroup -",
            "launch: EC2 WarmPool -",
            "launch: WarmPool AutoScalingGroup -",
            "terminate: - - -",
            "terminate: AutoScalingGroup AutoScalingGroup ReplaceRootVolume",
            "terminate: AutoScalingGroup EC2 -",
            "terminate: AutoScalingGroup WarmPool -",
            "terminate: WarmPool EC2 -",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_action_of_a_hook_with_another_name_matches_no_rule() {
    let stage = Stage::new();
    let files = files();
    let (_, good) = files.iter().find(|(name, _)| name == "lifecycle-launch").expect("a file");
    let good = delivered(good);
    for (pointer, other) in [
        ("/detail/LifecycleHookName", "ecs-managed-draining-termination-hook"),
        ("/detail/LifecycleHookName", "my-elb-registrar"),
        ("/source", "aws.ec2"),
        ("/detail-type", "EC2 Instance Launch Successful"),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).expect("a field") = other.into();
        assert_eq!(rules_wanting(&stage, &event), Vec::<String>::new(), "{pointer} {other}");
    }
    let stage = Stage::with_settings(&[("LifecycleHookPrefix", "drain")]);
    let mut event = good.clone();
    assert_eq!(rules_wanting(&stage, &event), Vec::<String>::new());
    event["detail"]["LifecycleHookName"] = "drain-and-go".into();
    assert_eq!(rules_wanting(&stage, &event), [LIFECYCLE_RULE]);
}

/// Returns the names of the rules that match an event.
fn rules_wanting(stage: &Stage, event: &Value) -> Vec<String> {
    stage.world(|world| {
        let wanting = |rule: &&sandbox::events::Rule| rule.pattern.as_ref().is_some_and(|p| p.matches(event));
        world.events.rules().filter(wanting).map(|rule| rule.name.clone()).collect()
    })
}

/// Returns the function that a file is for, by the file's name.
fn function_for(name: &str) -> &'static str {
    match name.split_once('-') {
        Some(("instance", _)) => INSTANCE_STATE,
        Some(("lifecycle", _)) => LIFECYCLE,
        _ => RECONCILE,
    }
}

#[tokio::test(start_paused = true)]
async fn each_file_is_understood_by_the_function() {
    let stage = Stage::new();
    for (name, event) in files() {
        for event in [delivered(&event), event] {
            let report = stage.sandbox.invoke(function_for(&name), event).await;
            assert!(report.is_ok(), "{name}: {report:?}");
        }
    }
}

/// Hands an event to a function with this ARN, as a person does with a file of `events/`.
async fn answer(function: &str, sdk: &SdkConfig, arn: &str, event: Value) -> Result<Value, Failure> {
    let mut context = Context::default();
    context.invoked_function_arn = arn.to_owned();
    let (event, config) = (LambdaEvent::new(event, context), Config { has_metrics: false, ..Config::default() });
    match function {
        INSTANCE_STATE => InstanceState::new(sdk, &config).invoke(event).await,
        LIFECYCLE => Lifecycle::new(sdk, &config).invoke(event).await,
        _ => Reconcile::new(sdk, &config).invoke(event).await,
    }
}

#[tokio::test(start_paused = true)]
async fn each_file_is_understood_in_any_account_and_region() {
    let stage = Stage::new();
    for (account, region) in
        [("123456789012", "us-east-1"), ("210987654321", "eu-west-1"), ("012345678912", "ap-south-1")]
    {
        let sdk = stage.operator_sdk().into_builder().region(Region::new(region)).build();
        for (name, event) in files() {
            let function = function_for(&name);
            let arn = format!("arn:aws:lambda:{region}:{account}:function:{function}");
            let report = answer(function, &sdk, &arn, event).await;
            assert!(report.is_ok(), "{name} in {account}, {region}: {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_account_or_region_is_refused_with_a_sentence() {
    let stage = Stage::new();
    let (_, event) = files().into_iter().find(|(name, _)| name == "instance-stopped").expect("a file");
    for (arn, region, words) in [
        ("arn:aws:lambda:us-east-1:210987654321:function:f", "us-east-1", "the event is of account 123456789012"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", "eu-west-1", "the event is of Region us-east-1"),
    ] {
        let sdk = stage.operator_sdk().into_builder().region(Region::new(region)).build();
        let refusal = answer(INSTANCE_STATE, &sdk, arn, delivered(&event)).await.expect_err(arn).to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}

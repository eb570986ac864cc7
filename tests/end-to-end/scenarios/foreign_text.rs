//! Texts that others wrote: tags, names, hooks, events and the sentences of AWS. A text with characters that could move,
//! hide or repaint what stands around it is shown, and does nothing.

use std::time::Duration;

use end_to_end::{Stage, state_change};
use protocol::plain::is_plain;
use registrar::{
    config::{Config, Mode},
    handler::{InstanceState, Lifecycle, Reconcile},
};
use sandbox::{
    ForbiddenCharacters, Options, Verdict,
    auto_scaling::{GroupSpec, HookSpec},
    deployment::LIFECYCLE,
    fault::every,
    wire::ApiError,
};
use serde_json::{Value, json};

use super::{
    lifecycle::{LAUNCH, event_of, open_action, untold},
    security::Log,
};

/// A newline, escape sequences, marks of direction, separators of lines, what is not shown, and the line of a table.
const NASTY: &str = "x\ny\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{2028}\u{85}\u{200b}\u{feff}\u{7f}\r│";

/// The part of it that XML can carry, so that AWS can find what is called so.
const CALLED: &str = "x\u{9b}31m\u{202e}\u{2066}\u{2028}\u{85}\u{200b}\u{feff}\u{7f}│";

/// How a part of both is shown.
const SHOWN: &str = r"\u{9b}31m\u{202e}\u{2066}\u{2028}\u{85}\u{200b}\u{feff}\u{7f}";

/// Returns every text in a document.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| [vec![key.clone()], texts(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

/// Asserts that all texts are plain, and that one of them shows [`NASTY`].
#[track_caller]
fn assert_plain(what: &str, value: &Value) {
    let texts = texts(value);
    let odd: Vec<&String> = texts.iter().filter(|text| !text.chars().all(is_plain)).collect();
    assert!(odd.is_empty(), "{what}: {odd:?}");
    assert!(texts.iter().any(|text| text.contains(SHOWN)), "{what}: {value:#}");
}

/// Returns what the log says, each line as it is read.
fn lines(log: &Log) -> Value {
    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .map(|mut line| {
            // The report stands in the log as a text of its own.
            if let Some(report) = line["fields"]["report"].as_str() {
                line["fields"]["report"] = serde_json::from_str(report).expect("a report");
            }
            line
        })
        .collect()
}

/// Lets a function work with the operator's credentials, and returns its answer, or its error, with what it logs.
async fn said(stage: &Stage, function: &str, event: Value) -> Value {
    let (sdk, config) = (stage.operator_sdk(), Config { mode: Mode::Enforce, ..Config::default() });
    let log = Log::default();
    let kept = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || kept.clone()).finish();
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _guard = tracing::subscriber::set_default(subscriber);
    let event = lambda_runtime::LambdaEvent::new(event, lambda_runtime::Context::default());
    let answer = match function {
        "instance-state" => InstanceState::new(&sdk, &config).invoke(event).await,
        "lifecycle" => Lifecycle::new(&sdk, &config).invoke(event).await,
        _ => Reconcile::new(&sdk, &config).invoke(event).await,
    };
    let answer = answer.unwrap_or_else(|error| json!(error.to_string()));
    json!([answer, lines(&log)])
}

fn shop() -> Stage {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1").registered_at("web-1", &["clb:shop", "tg:web"]);
    stage.world(|world| world.events.set_delivery(|_| sandbox::events::Delivery::Lost));
    stage
}

#[tokio::test(start_paused = true)]
async fn tags_are_shown_and_do_nothing_in_report_and_log() {
    let stage = shop();
    let running = state_change(&stage, "web-1", "running");
    stage.tagged("web-1", "elb-registrar:register", &format!("tg:{NASTY}"));
    stage.tagged("web-1", "elb-registrar:held.by-hand", &format!("clb:{NASTY} oops"));
    stage.tagged("web-1", &format!("elb-registrar:ignored{NASTY}"), NASTY).tagged("web-1", "Name", NASTY);
    for function in ["reconcile", "instance-state"] {
        let event = match function {
            "reconcile" => json!({ "report": "all" }),
            _ => running.clone(),
        };
        assert_plain(function, &said(&stage, function, event).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_or_a_group_is_called_does_nothing() {
    let stage = Stage::new();
    stage.instances_group("web");
    let name = format!("{LAUNCH}{CALLED}");
    let hook = HookSpec::launching(&name).heartbeat(300).metadata(&json!({ "register": [NASTY] }).to_string());
    untold(&stage);
    stage.fleet(GroupSpec::new(&format!("fleet{CALLED}"), &stage.subnet).hook(hook).desired(1));
    let action = open_action(&stage).await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    assert_plain("metadata", &said(&stage, "lifecycle", event_of(&action)).await);
    let fine = HookSpec::launching(&name).heartbeat(300).metadata("{}");
    stage.world(|world| sandbox::auto_scaling::put_hook(world, &action.group, fine)).expect("a hook");
    let said = said(&stage, "lifecycle", event_of(&action)).await;
    assert_plain("names", &said);
    // The names of the calls are those of AWS.
    assert_eq!(stage.ended_actions().len(), 1, "{said:#}");
}

#[tokio::test(start_paused = true)]
async fn what_an_event_says_does_nothing() {
    let stage = shop();
    let good = state_change(&stage, "web-1", "running");
    for pointer in ["/source", "/detail-type", "/region", "/detail/state", "/detail/instance-id"] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).expect("a field") = json!(NASTY);
        assert_plain(pointer, &said(&stage, "instance-state", event).await);
    }
    for order in [json!({ "report": NASTY }), json!({ NASTY: 1 })] {
        let said = said(&stage, "reconcile", order.clone()).await;
        assert!(texts(&said).iter().all(|text| text.chars().all(is_plain)), "{order}: {said:#}");
    }
    let action = json!({
        "source": "aws.autoscaling", "detail-type": "EC2 Instance-launch Lifecycle Action", "time": "2026-01-05T08:00:00Z",
        "detail": {
            "LifecycleActionToken": NASTY, "AutoScalingGroupName": NASTY, "LifecycleHookName": NASTY,
            "EC2InstanceId": "i-0123456789abcdef0", "LifecycleTransition": NASTY,
        },
    });
    assert_plain("hook", &said(&stage, "lifecycle", action.clone()).await);
    let mut of_ours = action.clone();
    of_ours["detail"]["LifecycleHookName"] = json!(LAUNCH);
    assert_plain("transition", &said(&stage, "lifecycle", of_ours).await);
    let error = stage.sandbox.invoke(LIFECYCLE, action).await.expect_err("not understood");
    assert_plain("the deployed function", &error);
}

#[tokio::test(start_paused = true)]
async fn what_aws_says_does_nothing() {
    for action in ["DescribeInstances", "DescribeLoadBalancers", "CreateTags", "DeregisterTargets"] {
        let stage = shop();
        stage.stop_and_rest("web-1").await;
        let refused = ApiError::sender("UnauthorizedOperation", format!("You are not {NASTY}"));
        let _fault = stage.sandbox.fault(every(action, Verdict::Refuse(refused)));
        let event = state_change(&stage, "web-1", "stopped");
        assert_plain(action, &said(&stage, "instance-state", event).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_character_in_one_tag_spoils_no_other_instance() {
    for forbidden_characters in [ForbiddenCharacters::AsTheyAre, ForbiddenCharacters::AsReferences] {
        let stage = Stage::with(Options { forbidden_characters, ..Options::default() }, &[]);
        stage.classic("shop").instances_group("web").addresses_group("edge");
        for name in ["web-1", "web-2", "mine"] {
            stage.instance(name).registered_at(name, &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
        }
        let nasty: String = ('\0'..='\u{1f}').chain(['\u{fffe}', '\u{ffff}', '\u{fffd}']).collect();
        stage.tagged("mine", "Team", &nasty).tagged("mine", &nasty, "x");
        for name in ["web-1", "web-2", "mine"] {
            stage.stop(name);
        }
        stage.rest().await;
        for name in ["web-1", "web-2", "mine"] {
            assert_eq!((stage.places(name).len(), stage.held(name).len()), (0, 3), "{name} {forbidden_characters:?}");
            stage.start(name);
        }
        stage.rest().await;
        let report = stage.sweep().await.expect("a report");
        for name in ["web-1", "web-2", "mine"] {
            assert_eq!(stage.places(name).len(), 3, "{name} {forbidden_characters:?}: {report:#}");
        }
        let id = stage.id("mine");
        assert!(stage.world(|world| world.ec2.instance(&id).is_some_and(|i| i.tags["Team"] == nasty)), "as it was");
    }
}

/// Keys of tags that a team may write in its own language. "Tag keys ... can be up to 127 Unicode characters"
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Tag.html>).
const IN_ANY_LETTERS: [&str; 4] =
    ["elb-registrar:é", "elb_registrar:負荷", "elb-registrar:ünit", "team-elb-registrar:Ämter"];

#[tokio::test(start_paused = true)]
async fn a_tag_in_any_letters_stops_neither_events_nor_sweeps() {
    for key in IN_ANY_LETTERS {
        let stage = Stage::new();
        stage.instance("web-1").instance("theirs").instances_group("web").instances_group("their-group");
        stage.registered_at("web-1", &["tg:web", "tg:their-group"]).tagged("theirs", key, "").tagged(
            "tg:their-group",
            key,
            "",
        );
        stage.stop_and_rest("web-1").await;
        assert!(stage.places("web-1").is_empty(), "{key}");
        stage.start_and_rest("web-1").await;
        assert_eq!(stage.places("web-1").len(), 2, "{key}");
        stage.deliver_only(&[]).stop("web-1");
        stage.sweep().await.expect("a sweep");
        assert!(stage.places("web-1").is_empty(), "{key}");
    }
}

//! Events that a stranger made up: each says what its sender wants of instance, hook, token and time, and of its own
//! length. None may change what becomes of another event.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Verdict,
    auto_scaling::{self, Action, ActionResult, Ending, GroupSpec, HookSpec, Preferences, Strategy, TrafficSourceKind},
    deployment::{DEAD_LETTERS, LIFECYCLE, LIFECYCLE_DEAD_LETTERS, LIFECYCLE_QUEUE, ORDERS, QUEUE},
    elbv2, sqs,
    wire::ApiError,
};
use serde_json::{Value, json};

use super::lifecycle::{LAUNCH, TERMINATE, event_of, open_action, untold};

/// Bytes of the largest message of SQS.
const LARGEST_MESSAGE: usize = 1_048_576;

fn send_to(stage: &Stage, queue: &str, body: &str) {
    let is_fifo = queue.ends_with(".fifo");
    let (group, deduplication_id) = (is_fifo.then(|| "stop".to_owned()), is_fifo.then(|| body.len().to_string()));
    let draft = sqs::Draft { body: body.to_owned(), group, deduplication_id, ..Default::default() };
    stage.world(|world| sqs::send(world, queue, draft)).expect("a message");
}

/// Returns a member that waits at its terminate hook, whose event is lost. Its group has deregistered it from a Network
/// Load Balancer, where it drains for 300 s and gets new connections for two minutes before.
async fn leaving_member() -> (Stage, Action) {
    let stage = Stage::new();
    stage.network_group("net").drains("net", 300);
    let arn = stage.world(|world| elbv2::arn_of(world, "net")).expect("a group");
    let spec = GroupSpec::new("fleet", &stage.subnet)
        .attached(TrafficSourceKind::TargetGroup, &arn)
        .hook(HookSpec::terminating(TERMINATE).heartbeat(300).by_default(ActionResult::Continue))
        .desired(1);
    stage.fleet(spec).rest().await;
    untold(&stage);
    stage.wants("fleet", 0);
    let action = open_action(&stage).await;
    (stage, action)
}

/// What a stranger sends beside the event of an action, each with a word for it.
fn forgeries(real: &Value) -> Vec<(&'static str, Value)> {
    let changed = |changes: &[(&str, Value)]| {
        let mut event = real.clone();
        for (pointer, value) in changes {
            match event.pointer_mut(pointer) {
                Some(field) => *field = value.clone(),
                None => event["detail"][pointer.trim_start_matches("/detail/")] = value.clone(),
            }
        }
        event
    };
    let (old, ahead) = (json!("2020-01-01T00:00:00Z"), json!("2099-01-01T00:00:00Z"));
    let token = ("/detail/LifecycleActionToken", json!("87654321-4321-4321-4321-210987654321"));
    let launch = [
        ("/detail-type", json!("EC2 Instance-launch Lifecycle Action")),
        ("/detail/LifecycleTransition", json!("autoscaling:EC2_INSTANCE_LAUNCHING")),
    ];
    let root_volume = ("/detail/Action", json!("ReplaceRootVolume"));
    let pool = ("/detail/Destination", json!("WarmPool"));
    let hook = |name: &str| ("/detail/LifecycleHookName", json!(name));
    let instance = ("/detail/EC2InstanceId", json!("i-0123456789abcdef0"));
    vec![
        ("an old time", changed(&[("/time", old.clone()), token.clone()])),
        ("a time ahead", changed(&[("/time", ahead.clone()), token.clone()])),
        ("the first possible time", changed(&[("/time", json!("-262143-01-01T00:00:00Z")), token.clone()])),
        ("the action's own token and an old time", changed(&[("/time", old.clone())])),
        ("the action's own token and a time ahead", changed(&[("/time", ahead)])),
        ("another hook", changed(&[("/time", old.clone()), token.clone(), hook("elb-registrar-other")])),
        ("another hook, and the action's own token", changed(&[("/time", old.clone()), hook("elb-registrar-other")])),
        ("another instance, and the action's own token", changed(&[("/time", old.clone()), instance])),
        ("a launch", changed(&[launch[0].clone(), launch[1].clone(), ("/time", old.clone())])),
        ("a launch with a new root volume", changed(&[launch[0].clone(), launch[1].clone(), root_volume.clone()])),
        ("a launch into the warm pool", changed(&[launch[0].clone(), launch[1].clone(), pool.clone()])),
        ("a new root volume", changed(&[("/time", old.clone()), root_volume])),
        ("the warm pool", changed(&[("/time", old), pool])),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_made_up_event_shortens_or_stretches_the_hold_of_another() {
    let (stage, action) = leaving_member().await;
    send_to(&stage, LIFECYCLE_QUEUE, &event_of(&action).to_string());
    stage.rest().await;
    let held_for = |stage: &Stage| {
        let ended = stage.ended_actions().last().cloned().expect("an action");
        assert_eq!(ended.ending, Ending::Completed(ActionResult::Continue));
        (ended.ended - ended.action.begun).num_seconds()
    };
    let alone = held_for(&stage);
    assert!((420..450).contains(&alone), "120 s of new connections, and 300 s for the last of them: {alone} s");
    let words: Vec<&str> = forgeries(&event_of(&action)).into_iter().map(|(word, _)| word).collect();
    for (number, word) in words.into_iter().enumerate() {
        let (stage, action) = leaving_member().await;
        let real = event_of(&action);
        let forged = forgeries(&real).remove(number).1;
        // In one batch with the real one, before and after it, at each look.
        let sent = stage.world(|world| world.now()).timestamp_millis().to_string();
        let record = |id: &str, event: &Value| {
            let attributes = json!({ "ApproximateReceiveCount": "1", "SentTimestamp": sent });
            json!({
                "messageId": id, "receiptHandle": id, "eventSource": "aws:sqs", "body": event.to_string(),
                "attributes": attributes,
            })
        };
        let records = [record("before", &forged), record("real", &real), record("after", &forged)];
        while stage.world(|world| !world.auto_scaling.actions.is_empty()) {
            let answer = stage.sandbox.invoke(LIFECYCLE, json!({ "Records": records })).await.expect("an answer");
            let is_open = stage.world(|world| !world.auto_scaling.actions.is_empty());
            assert!(answer.to_string().contains(r#""real""#) == is_open, "{word}: held, or done: {answer}");
            stage.sandbox.advance(Duration::from_secs(15)).await;
        }
        let with_it = held_for(&stage);
        assert!((alone - 15..alone + 30).contains(&with_it), "{word}: {with_it} s, and {alone} s without it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_sends_again_and_again_changes_no_hold() {
    for number in 0..4 {
        let (stage, action) = leaving_member().await;
        let real = event_of(&action);
        let (word, forged) = forgeries(&real).remove(number);
        send_to(&stage, LIFECYCLE_QUEUE, &real.to_string());
        for _ in 0..20 {
            send_to(&stage, LIFECYCLE_QUEUE, &forged.to_string());
            stage.sandbox.advance(Duration::from_secs(19)).await;
        }
        stage.rest().await;
        let ended = stage.ended_actions().last().cloned().expect("an action");
        let held_for = (ended.ended - ended.action.begun).num_seconds();
        assert!((420..460).contains(&held_for), "{word}: {held_for} s");
        assert_eq!(stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS), [], "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_made_up_launch_registers_no_member_whose_root_volume_is_replaced() {
    let stage = Stage::new();
    stage.instances_group("web").drains("web", 200);
    let hook = |name| match name {
        LAUNCH => HookSpec::launching(LAUNCH),
        _ => HookSpec::terminating(TERMINATE),
    };
    let spec = GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:web").desired(1);
    stage.fleet(spec.hook(hook(LAUNCH)).hook(hook(TERMINATE))).rest().await;
    let preferences = Preferences { min_healthy_percentage: 0, ..Preferences::default() };
    stage
        .world(|world| auto_scaling::start_refresh(world, "fleet", Strategy::ReplaceRootVolume, preferences))
        .expect("a refresh");
    let action = open_action(&stage).await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    assert_eq!(stage.members("tg:web").len(), 0, "{}", stage.describe());
    let mut forged = event_of(&action);
    forged["detail-type"] = json!("EC2 Instance-launch Lifecycle Action");
    forged["detail"]["LifecycleTransition"] = json!("autoscaling:EC2_INSTANCE_LAUNCHING");
    forged["detail"]["LifecycleHookName"] = json!(LAUNCH);
    forged["detail"]["Action"] = json!("ReplaceRootVolume");
    stage.forget_calls();
    let _ = stage.sandbox.invoke(LIFECYCLE, forged).await;
    assert_eq!((stage.members("tg:web").len(), stage.count("RegisterTargets")), (0, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_state_change_dated_ahead_is_looked_at_once() {
    for state in ["stopped", "terminated", "running"] {
        let stage = Stage::new();
        stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
        let mut event = end_to_end::state_change(&stage, "web-1", state);
        for (time, looks) in [("2099-01-01T00:00:00Z", 1), ("+262142-12-31T23:59:59Z", 1)] {
            event["time"] = json!(time);
            stage.forget_calls();
            send_to(&stage, QUEUE, &event.to_string());
            stage.rest().await;
            let told = stage.count("DescribeInstances");
            assert!(told <= looks * 15, "{state} {time}: {told} looks");
            assert_eq!((stage.places("web-1").len(), stage.dead_letters()), (1, vec![]), "{state} {time}");
        }
    }
}

/// Returns a text of so many bytes that no function understands.
fn of_length(length: usize) -> String {
    let head = "{\"detail-type\": \"";
    format!("{head}{}", "x".repeat(length - head.len()))
}

#[tokio::test(start_paused = true)]
async fn a_message_of_any_length_is_buried_with_its_reason_at_once() {
    let long_type = json!({
        "source": "com.example", "detail-type": "y".repeat(600_000), "account": sandbox::ACCOUNT,
        "region": sandbox::REGION, "detail": {},
    });
    let bodies = [
        of_length(LARGEST_MESSAGE),
        of_length(LARGEST_MESSAGE - 20),
        "\u{20ac}".repeat(LARGEST_MESSAGE / 3),
        long_type.to_string(),
        r#"{"source": "a\u0000\u001b[31m\uffff", "detail-type": "\n\u0007\ud83d\ude00"}"#.to_owned(),
    ];
    for (queue, buried_in) in [(QUEUE, DEAD_LETTERS), (LIFECYCLE_QUEUE, LIFECYCLE_DEAD_LETTERS), (ORDERS, DEAD_LETTERS)]
    {
        for body in &bodies {
            let stage = Stage::new();
            send_to(&stage, queue, body);
            stage.sandbox.advance(Duration::from_secs(30)).await;
            let left = stage.world(|world| world.sqs.queue(queue).map(|queue| queue.messages().count()));
            let (length, letters) = (body.len(), stage.dead_letters_in(buried_in));
            assert_eq!((left, letters.len()), (Some(0), 1), "{queue} {length}");
            let (buried, reason) = letters.into_iter().next().expect("a letter");
            let reason = reason.expect("a reason");
            assert!(!reason.is_empty() && reason.chars().all(|c| !c.is_control()), "{queue} {length}: {reason}");
            assert!(body.starts_with(&buried) && buried.len() + 5_000 > length, "{queue} {length}: as it came");
            assert_eq!(buried.len() < length, reason.contains(&format!("the first bytes of {length}")), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_with_a_smaller_limit_gets_the_beginning_of_a_message() {
    let stage = Stage::new();
    let is_long = |call: &sandbox::Call| call.parameters.iter().map(|(_, value)| value.len()).sum::<usize>() > 262_144;
    let too_long = ApiError::sender("InvalidParameterValue", "Message must be shorter than 262144 bytes.");
    let _fault = stage.sandbox.fault(move |call: &sandbox::Call| match call.action == "SendMessage" && is_long(call) {
        true => Verdict::Refuse(too_long.clone()),
        false => Verdict::Pass,
    });
    send_to(&stage, QUEUE, &of_length(400_000));
    stage.sandbox.advance(Duration::from_secs(30)).await;
    let letters = stage.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].1.as_deref().is_some_and(|reason| reason.contains("the first bytes of 400000")), "{letters:?}");
}

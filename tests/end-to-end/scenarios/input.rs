//! The inputs that the functions take, and what they do with the others.

use end_to_end::{Stage, state_change};
use sandbox::{
    ACCOUNT, Verdict,
    deployment::{DEAD_LETTERS, INSTANCE_STATE, LIFECYCLE, QUEUE, RECONCILE},
    fault::every,
    sqs,
    wire::ApiError,
};
use serde_json::{Value, json};

/// Puts messages into the function's queue.
fn send(stage: &Stage, bodies: &[String]) {
    for body in bodies {
        let draft = sqs::Draft { body: body.clone(), ..Default::default() };
        stage.world(|world| sqs::send(world, QUEUE, draft)).expect("a message");
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_of_a_batch_is_decided_by_itself() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.deliver_only(&[]);
    stage.stop_and_rest("web-1").await;
    let good = state_change(&stage, "web-1", "stopped");
    let mut foreign = good.clone();
    foreign["account"] = json!("210987654321");
    let mut other = good.clone();
    other["source"] = json!("com.example");
    send(&stage, &[good.to_string(), foreign.to_string(), "not JSON".to_owned(), other.to_string()]);
    stage.rest().await;
    assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{}", stage.describe());
    let reasons: Vec<String> = stage.dead_letters().into_iter().filter_map(|(_, reason)| reason).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for words in ["account 210987654321", "not an EventBridge event, since it is not JSON", "com.example"] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
    assert!(stage.dead_letters().iter().any(|(body, _)| body == "not JSON"), "as it came");
}

#[tokio::test(start_paused = true)]
async fn without_a_dead_letter_queue_an_event_stays_in_its_own_queue() {
    let stage = Stage::new();
    let buried = ApiError::sender("AccessDenied", "no");
    let _fault = stage.sandbox.fault(every("SendMessage", Verdict::Refuse(buried)));
    send(&stage, &["not JSON".to_owned()]);
    stage
        .until("a dead letter", |world| {
            world.sqs.queue(DEAD_LETTERS).is_some_and(|queue| queue.messages().count() == 1)
        })
        .await;
    assert!(stage.answers()[0].contains("itemIdentifier"), "{:?}", stage.answers()[0]);
}

#[tokio::test(start_paused = true)]
async fn a_bare_event_that_is_not_understood_is_a_named_error() {
    let stage = Stage::new();
    let error = stage.invoke(json!({ "hello": "world" })).await.expect_err("an error");
    assert_eq!(error["errorType"], "EventNotUnderstood");
    assert!(error["errorMessage"].as_str().is_some_and(|text| text.contains("not an EventBridge event")), "{error}");
}

/// The words of a parser, which tell a person nothing.
const PARSERS_WORDS: [&str; 5] = ["missing field", "at line", "expected", "invalid type", "unknown field"];

#[tokio::test(start_paused = true)]
async fn an_event_for_no_function_is_refused_in_plain_words() {
    let stage = Stage::new();
    let of_console = json!({ "key1": "value1", "key2": "value2", "key3": "value3" });
    for (function, sample) in [
        (INSTANCE_STATE, "events/instance-stopped.json"),
        (LIFECYCLE, "events/lifecycle-launch.json"),
        (RECONCILE, "events/scheduled.json"),
    ] {
        for payload in [
            of_console.clone(),
            json!([]),
            json!("x"),
            json!(7),
            json!({ "detail-type": "Unknown" }),
            json!({ "source": 7 }),
        ] {
            let error = stage.sandbox.invoke(function, payload.clone()).await.expect_err("an error");
            let message = error["errorMessage"].as_str().unwrap_or_default();
            assert_eq!(error["errorType"], "EventNotUnderstood", "{function} {payload}");
            assert!(message.contains(&format!("`{function}` takes")) && message.contains(sample), "{message}");
            assert!(!PARSERS_WORDS.iter().any(|words| message.contains(words)), "{message}");
        }
        if function != RECONCILE {
            for (payload, words) in [(json!({}), "it has no `source`"), (Value::Null, "it is empty")] {
                let error = stage.sandbox.invoke(function, payload).await.expect_err("an error");
                assert!(error["errorMessage"].as_str().is_some_and(|why| why.contains(words)), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_another_service_are_an_error_and_not_lost() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    let event = state_change(&stage, "web-1", "stopped").to_string();
    for (record, origin) in [
        (json!({ "EventSource": "aws:sns", "Sns": { "Type": "Notification", "Message": event } }), "aws:sns"),
        (json!({ "eventSource": "aws:s3", "s3": {} }), "aws:s3"),
        (json!({ "eventSource": "aws:kinesis", "kinesis": {} }), "aws:kinesis"),
    ] {
        for function in [INSTANCE_STATE, LIFECYCLE, RECONCILE] {
            let payload = json!({ "Records": [record.clone()] });
            let error = stage.sandbox.invoke(function, payload).await.expect_err("an error");
            let message = error["errorMessage"].as_str().unwrap_or_default();
            assert!(message.contains(&format!("records of {origin}")) && message.contains("SQS queue"), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_in_the_envelope_of_sns_is_served_like_any_other() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.deliver_only(&[]);
    stage.stop_and_rest("web-1").await;
    let event = state_change(&stage, "web-1", "stopped").to_string();
    let envelope =
        json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": event });
    send(&stage, &[envelope.to_string()]);
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1")), (vec![], vec!["clb:shop".to_owned()]));
    assert_eq!(stage.dead_letters().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_empty_message_is_a_dead_letter_with_a_sentence() {
    let stage = Stage::new();
    send(&stage, &[" ".to_owned()]);
    stage.rest().await;
    let reasons: Vec<String> = stage.dead_letters().into_iter().filter_map(|(_, reason)| reason).collect();
    assert!(reasons.len() == 1 && reasons[0].contains("it is empty"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bare_event_whose_work_fails_names_the_action() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.deliver_only(&[]);
    stage.stop_and_rest("web-1").await;
    let denied = ApiError::sender("UnauthorizedOperation", "You are not authorized to perform this operation.");
    let _fault = stage.sandbox.fault(every("CreateTags", Verdict::Refuse(denied)));
    let error = stage.invoke(state_change(&stage, "web-1", "stopped")).await.expect_err("an error");
    assert_eq!(error["errorType"], "Incomplete");
    let message = error["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("add the action ec2:CreateTags to a policy"), "{message}");
    assert_eq!(stage.places("web-1"), ["clb:shop"], "not held, so not taken");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_to_wait_is_parked_in_its_queue() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.stop_and_rest("web-1").await;
    stage.forget_calls();
    stage.start_and_rest("web-1").await;
    let calls = stage.calls();
    let parks: Vec<_> = calls.iter().filter(|call| call.action == "SendMessageBatch").collect();
    assert_eq!(parks.len(), 1);
    let body: Value = serde_json::from_str(&parks[0].parameters[0].1).expect("JSON");
    let seconds = body["Entries"][0]["DelaySeconds"].as_i64().expect("a number");
    assert!((60..=120).contains(&seconds), "until it has settled: {seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_instance_is_no_failure() {
    let stage = Stage::new();
    stage.instance("web-1");
    let mut event = state_change(&stage, "web-1", "terminated");
    event["detail"]["instance-id"] = json!("i-0123456789abcdef0");
    let report = stage.invoke(event).await.expect("a report").to_string();
    assert!(report.contains("EC2 does not know the instance"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_reason_with_characters_that_a_queue_refuses_is_told_without_them() {
    let stage = Stage::new();
    send(&stage, &[r#"{"source": "a\u0000\ufffe\uffffb", "detail-type": "x", "detail": {}}"#.to_owned()]);
    stage.sandbox.advance(std::time::Duration::from_secs(60)).await;
    let reasons: Vec<String> = stage.dead_letters().into_iter().filter_map(|(_, reason)| reason).collect();
    assert!(reasons.len() == 1 && reasons[0].contains("from `ab`"), "{reasons:?}");
}

async fn refusal(stage: &Stage, function: &str, payload: &Value) -> String {
    let error = stage.sandbox.invoke(function, payload.clone()).await.expect_err("a refusal");
    error["errorMessage"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_odd_record_does_not_spoil_its_batch() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.deliver_only(&[]);
    stage.stop_and_rest("web-1").await;
    let event = state_change(&stage, "web-1", "stopped").to_string();
    let payload = json!({ "Records": [
        { "messageId": "1", "eventSource": "aws:sqs", "body": event },
        { "messageId": "2", "eventSource": "aws:sqs", "body": { "a": 1 } },
    ] });
    let answer = stage.invoke(payload).await;
    assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{answer:?}");
}

/// Auto Scaling's own notification to a topic, as people have posted it
/// (<https://gist.github.com/johnnaegle/1203a7aa9a4b74abe3229d0efbbdf118>), and S3's test of a notification.
#[tokio::test(start_paused = true)]
async fn a_notification_is_refused_by_its_name() {
    let stage = Stage::new();
    let launched = json!({
        "Progress": 50, "AccountId": ACCOUNT, "Description": "Launching a new EC2 instance: i-0123456789abcdef0",
        "Service": "AWS Auto Scaling", "Time": "2016-07-05T19:44:17.908Z", "EC2InstanceId": "i-0123456789abcdef0",
        "StatusCode": "InProgress", "AutoScalingGroupName": "fleet", "Event": "autoscaling:EC2_INSTANCE_LAUNCH",
    });
    let said = refusal(&stage, LIFECYCLE, &launched).await;
    assert!(said.contains("autoscaling:EC2_INSTANCE_LAUNCH"), "{said}");
    let s3 =
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "b" });
    for function in [INSTANCE_STATE, LIFECYCLE] {
        let said = refusal(&stage, function, &s3).await;
        assert!(!said.contains("lifecycle hook"), "{function}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_blames_no_unknown_service() {
    let stage = Stage::new();
    for (payload, wrong) in [
        (json!({ "Records": [] }), "an unknown service send"),
        (json!({ "Records": [{ "body": "{}" }] }), "an unknown service send"),
        (json!({ "Type": "AWS::EC2::Instance", "Name": "x" }), "SNS delivered"),
    ] {
        let said = refusal(&stage, INSTANCE_STATE, &payload).await;
        assert!(!said.contains(wrong), "{payload}: {said}");
    }
    // A bucket's events are of no use in any queue of these functions, and the queue's policy lets only the rule send.
    let said = refusal(&stage, RECONCILE, &json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] })).await;
    assert!(!said.contains("let aws:s3 send to that queue"), "{said}");
}

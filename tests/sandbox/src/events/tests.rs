//! From an event to its targets.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{Reply, Sandbox};

/// A policy that lets EventBridge send.
const POLICY: &str = r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}}"#;

async fn call(sandbox: &Sandbox, action: &str, body: Value) -> Result<Value, Value> {
    let request = http::Request::post("/")
        .header("x-amz-target", format!("AWSEvents.{action}"))
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer") };
    let value: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if response.status().is_success() { Ok(value) } else { Err(value["__type"].clone()) }
}

/// Returns a rule for stopped instances, and the queue `q` that it goes to.
async fn with_rule() -> Sandbox {
    let sandbox = Sandbox::in_virtual_time();
    sandbox.with(|world| sqs::create_queue(world, "q", &[("Policy", POLICY)])).unwrap();
    sandbox.with(|world| sqs::create_queue(world, "dead", &[("Policy", POLICY)])).unwrap();
    let pattern = json!({ "source": ["aws.ec2"], "detail": { "state": ["stopped"] } }).to_string();
    call(&sandbox, "PutRule", json!({ "Name": "r", "EventPattern": pattern, "State": "ENABLED" })).await.unwrap();
    let target = json!({ "Id": "t", "Arn": sqs::arn("q"), "DeadLetterConfig": { "Arn": sqs::arn("dead") }, "RetryPolicy": { "MaximumRetryAttempts": 3 } });
    call(&sandbox, "PutTargets", json!({ "Rule": "r", "Targets": [target] })).await.unwrap();
    sandbox
}

fn bodies(sandbox: &Sandbox, queue: &str) -> Vec<Value> {
    sandbox.with(|world| {
        world.sqs.queue(queue).unwrap().messages().map(|m| serde_json::from_str(&m.body).unwrap()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn state_change_reaches_the_queue_as_in_the_documented_sample() {
    let sandbox = with_rule().await;
    let time = sandbox.with(|world| {
        instance_changed(world, "i-abcd1111", InstanceState::Stopping);
        instance_changed(world, "i-abcd1111", InstanceState::Stopped);
        world.now().to_rfc3339_opts(SecondsFormat::Secs, true)
    });
    assert!(bodies(&sandbox, "q").is_empty(), "an event takes its time");
    sandbox.advance(Duration::from_secs(2)).await;
    let mut bodies = bodies(&sandbox, "q");
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["id"].take().as_str().unwrap().len(), 36);
    assert_eq!(
        bodies[0],
        json!({
            "version": "0", "id": null, "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
            "account": "123456789012", "time": time, "region": "us-east-1",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": { "instance-id": "i-abcd1111", "state": "stopped" },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_lost_doubled_and_late_on_demand() {
    for (delivery, after_two_seconds, in_the_end) in [
        (Delivery::Normal, 1, 1),
        (Delivery::Lost, 0, 0),
        (Delivery::Twice, 2, 2),
        (Delivery::Late(Duration::from_secs(60)), 0, 1),
    ] {
        let sandbox = with_rule().await;
        let asked = Arc::new(Mutex::new(0));
        let counted = asked.clone();
        sandbox.with(|world| {
            world.events.set_delivery(move |_| {
                *counted.lock().unwrap() += 1;
                delivery
            });
            instance_changed(world, "i-1", InstanceState::Stopped);
        });
        sandbox.advance(Duration::from_secs(2)).await;
        assert_eq!(bodies(&sandbox, "q").len(), after_two_seconds, "{delivery:?}");
        sandbox.advance(Duration::from_secs(60)).await;
        assert_eq!(bodies(&sandbox, "q").len(), in_the_end, "{delivery:?}");
        assert_eq!(*asked.lock().unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn event_for_a_deleted_queue_goes_to_the_dead_letter_queue() {
    let sandbox = with_rule().await;
    let target = Target::new("t", &sqs::arn("gone")).with_dead_letter_queue(&sqs::arn("dead"));
    sandbox.with(|world| put_target(world, "r", target)).unwrap();
    sandbox.with(|world| instance_changed(world, "i-1", InstanceState::Stopped));
    sandbox.advance(Duration::from_secs(2)).await;
    assert_eq!(bodies(&sandbox, "dead").len(), 1);
    let attributes =
        sandbox.with(|world| world.sqs.queue("dead").unwrap().messages().next().unwrap().attributes.clone());
    assert_eq!(attributes["RULE_ARN"].value, "arn:aws:events:us-east-1:123456789012:rule/r");
}

#[tokio::test(start_paused = true)]
async fn schedule_puts_an_event_on_its_own_targets_each_period() {
    let sandbox = with_rule().await;
    call(&sandbox, "PutRule", json!({ "Name": "s", "ScheduleExpression": "rate(5 minutes)" })).await.unwrap();
    sandbox.with(|world| put_target(world, "s", Target::new("t", &sqs::arn("q")))).unwrap();
    sandbox.advance(Duration::from_secs(902)).await;
    let bodies = bodies(&sandbox, "q");
    assert_eq!(bodies.len(), 3);
    assert_eq!((&bodies[0]["detail-type"], &bodies[0]["detail"]), (&json!("Scheduled Event"), &json!({})));
    assert_eq!(
        call(&sandbox, "PutRule", json!({ "Name": "s", "ScheduleExpression": "rate(1 minutes)" })).await,
        Err(json!("ValidationException"))
    );
}

#[tokio::test(start_paused = true)]
async fn rules_are_listed_and_taken_away() {
    let sandbox = with_rule().await;
    let rules = call(&sandbox, "ListRules", json!({})).await.unwrap();
    assert_eq!(rules["Rules"][0]["Name"], "r");
    let targets = call(&sandbox, "ListTargetsByRule", json!({ "Rule": "r" })).await.unwrap();
    assert_eq!(targets["Targets"][0]["RetryPolicy"]["MaximumRetryAttempts"], 3);
    let delete = json!({ "Name": "r" });
    assert_eq!(call(&sandbox, "DeleteRule", delete.clone()).await, Err(json!("ValidationException")));
    call(&sandbox, "RemoveTargets", json!({ "Rule": "r", "Ids": ["t"] })).await.unwrap();
    call(&sandbox, "DeleteRule", delete).await.unwrap();
    assert_eq!(
        call(&sandbox, "ListTargetsByRule", json!({ "Rule": "r" })).await,
        Err(json!("ResourceNotFoundException"))
    );
    let wrong = json!({ "Name": "w", "EventPattern": "{\"source\":[{\"like\":\"x\"}]}" });
    assert_eq!(call(&sandbox, "PutRule", wrong).await, Err(json!("InvalidEventPatternException")));
}

#[tokio::test(start_paused = true)]
async fn person_can_put_and_test_events() {
    let sandbox = with_rule().await;
    let good =
        json!({ "Source": "aws.ec2", "DetailType": "x", "Detail": "{\"state\":\"stopped\"}", "Time": 1_767_600_000 });
    let entries = json!([good, { "Source": "mine", "DetailType": "x", "Detail": "[]" }]);
    let answer = call(&sandbox, "PutEvents", json!({ "Entries": entries })).await.unwrap();
    assert_eq!(
        (&answer["FailedEntryCount"], &answer["Entries"][1]["ErrorCode"]),
        (&json!(1), &json!("MalformedDetail"))
    );
    sandbox.advance(Duration::from_secs(2)).await;
    let bodies = bodies(&sandbox, "q");
    assert_eq!(bodies[0]["time"], "2026-01-05T08:00:00Z");
    let asked = json!({ "EventPattern": "{\"source\":[\"aws.ec2\"]}", "Event": bodies[0].to_string() });
    assert_eq!(call(&sandbox, "TestEventPattern", asked).await, Ok(json!({ "Result": true })));
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_gets_each_event_once_in_the_rules_group() {
    let sandbox = with_rule().await;
    let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true"), ("Policy", POLICY)];
    sandbox.with(|world| sqs::create_queue(world, "q.fifo", &attributes)).unwrap();
    let target = json!({ "Id": "f", "Arn": sqs::arn("q.fifo"), "SqsParameters": { "MessageGroupId": "g" } });
    call(&sandbox, "PutTargets", json!({ "Rule": "r", "Targets": [target] })).await.unwrap();
    let shown = call(&sandbox, "ListTargetsByRule", json!({ "Rule": "r" })).await.unwrap();
    assert!(shown["Targets"].as_array().unwrap().contains(&target), "{shown}");
    sandbox.with(|world| {
        world.events.set_delivery(|_| Delivery::Twice);
        instance_changed(world, "i-abcd1111", InstanceState::Stopped);
    });
    sandbox.advance(Duration::from_secs(4)).await;
    let group = sandbox.with(|world| {
        let message = world.sqs.queue("q.fifo").unwrap().messages().next().unwrap().clone();
        message.place.unwrap().group
    });
    assert_eq!((bodies(&sandbox, "q").len(), bodies(&sandbox, "q.fifo").len(), group.as_str()), (2, 1, "g"));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_no_event_would_reach_is_refused_as_a_target() {
    let sandbox = with_rule().await;
    sandbox.with(|world| sqs::create_queue(world, "q.fifo", &[("FifoQueue", "true")])).unwrap();
    let put = |target: Target| sandbox.with(|world| put_target(world, "r", target)).unwrap_err().message;
    let fifo = || Target::new("f", &sqs::arn("q.fifo"));
    assert_eq!(put(fifo()), "Parameter(s) SqsParameters must be specified for target: f.");
    assert!(put(fifo().with_message_group("g")).contains("without content-based deduplication"));
    assert!(put(Target::new("q", &sqs::arn("q")).with_message_group("g")).contains("fair queues"));
    let dead = Target::new("q", &sqs::arn("q")).with_dead_letter_queue(&sqs::arn("q.fifo"));
    assert!(put(dead).contains("for the dead letters of a rule"));
}

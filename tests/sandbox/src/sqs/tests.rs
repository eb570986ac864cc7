//! Queues over the wire, and by the simulated clock.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{Reply, Sandbox};

/// Makes a call over the wire. An error is the value of `x-amzn-query-error`.
async fn call(sandbox: &Sandbox, action: &str, body: Value) -> Result<Value, String> {
    let request = http::Request::post("http://localhost:4566/")
        .header("host", "localhost:4566")
        .header("x-amz-target", format!("AmazonSQS.{action}"))
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer") };
    if let Some(error) = response.headers().get("x-amzn-query-error") {
        return Err(error.to_str().unwrap().to_owned());
    }
    Ok(serde_json::from_slice(response.body()).unwrap_or_default())
}

async fn with_queue(attributes: Value) -> (Sandbox, String) {
    let sandbox = Sandbox::in_virtual_time();
    let created = call(&sandbox, "CreateQueue", json!({ "QueueName": "q", "Attributes": attributes })).await.unwrap();
    (sandbox, created["QueueUrl"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn message_comes_back_after_its_visibility_timeout_with_a_new_receipt() {
    let (sandbox, url) = with_queue(json!({ "VisibilityTimeout": "60" })).await;
    assert_eq!(url, "http://localhost:4566/123456789012/q");
    let sent = call(&sandbox, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "hello world" })).await.unwrap();
    assert_eq!(sent["MD5OfMessageBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    let receive =
        json!({ "QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/q", "AttributeNames": ["All"] });
    let first = call(&sandbox, "ReceiveMessage", receive.clone()).await.unwrap();
    assert_eq!(first["Messages"][0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(call(&sandbox, "ReceiveMessage", receive.clone()).await.unwrap(), json!({}));
    sandbox.advance(Duration::from_secs(60)).await;
    let second = call(&sandbox, "ReceiveMessage", receive).await.unwrap();
    assert_eq!(second["Messages"][0]["Attributes"]["ApproximateReceiveCount"], "2");
    // The first receipt is answered 200 and deletes nothing; the second does.
    for (received, left) in [(&first, 1), (&second, 0)] {
        let receipt = &received["Messages"][0]["ReceiptHandle"];
        call(&sandbox, "DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": receipt })).await.unwrap();
        assert_eq!(sandbox.with(|world| world.sqs.queue("q").unwrap().messages().count()), left);
    }
}

#[tokio::test(start_paused = true)]
async fn message_received_too_often_moves_to_the_dead_letter_queue() {
    let (sandbox, dead) = with_queue(json!({})).await;
    let policy = json!({ "deadLetterTargetArn": arn("q"), "maxReceiveCount": "2" }).to_string();
    sandbox
        .with(|world| create_queue(world, "source", &[("RedrivePolicy", &policy), ("VisibilityTimeout", "5")]))
        .unwrap();
    let sent = sandbox.with(|world| send(world, "source", Draft { body: "x".into(), ..Draft::default() })).unwrap();
    for expected in [1, 1, 0] {
        let received = sandbox.with(|world| receive(world, "source", 10, None)).unwrap();
        assert_eq!(received.len(), expected);
        sandbox.advance(Duration::from_secs(6)).await;
    }
    let receive = json!({ "QueueUrl": dead, "MessageSystemAttributeNames": ["DeadLetterQueueSourceArn"] });
    let received = call(&sandbox, "ReceiveMessage", receive).await.unwrap();
    assert_eq!(received["Messages"][0]["MessageId"], json!(sent.message_id));
    assert_eq!(received["Messages"][0]["Attributes"], json!({ "DeadLetterQueueSourceArn": arn("source") }));
}

#[tokio::test(start_paused = true)]
async fn message_is_never_parked_beyond_twelve_hours_from_its_receipt() {
    let (sandbox, url) = with_queue(json!({})).await;
    sandbox.with(|world| send(world, "q", Draft { body: "x".into(), ..Draft::default() })).unwrap();
    let receipt = sandbox.with(|world| receive(world, "q", 1, Some(Duration::from_secs(7_200)))).unwrap()[0]
        .receipt_handle
        .clone();
    let change = |seconds: i64| json!({ "QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": seconds });
    sandbox.advance(Duration::from_secs(3_600)).await;
    for (seconds, expected) in [
        (43_201, Err("InvalidParameterValue;Sender".to_owned())),
        (-1, Err("InvalidParameterValue;Sender".to_owned())),
        (11 * 3_600 + 1, Err("InvalidParameterValue;Sender".to_owned())),
        (11 * 3_600 - 1, Ok(Value::Null)),
        (0, Ok(Value::Null)),
        // Visible again: the answer is 200, and nothing is done.
        (10, Ok(Value::Null)),
    ] {
        assert_eq!(call(&sandbox, "ChangeMessageVisibility", change(seconds)).await, expected, "{seconds} s");
    }
    assert_eq!(sandbox.with(|world| receive(world, "q", 1, None)).unwrap().len(), 1);
    let entry = |id: &str, receipt: &str| json!({ "Id": id, "ReceiptHandle": receipt, "VisibilityTimeout": 5 });
    let gone = receipt.replace("AQEB0", "AQEBf");
    let batch = json!({ "QueueUrl": url, "Entries": [entry("old", &receipt), entry("gone", &gone)] });
    let answer = call(&sandbox, "ChangeMessageVisibilityBatch", batch).await.unwrap();
    assert_eq!(answer["Successful"], json!([{ "Id": "old" }]));
    assert_eq!(answer["Failed"][0]["Code"], "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn errors_have_the_codes_that_clients_match_on() {
    let (sandbox, url) = with_queue(json!({})).await;
    let entry = |id: &str| json!({ "Id": id, "MessageBody": "x" });
    let eleven: Vec<Value> = (0..11).map(|n| entry(&n.to_string())).collect();
    for (action, body, code) in [
        ("GetQueueUrl", json!({ "QueueName": "nope" }), "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        (
            "SendMessage",
            json!({ "QueueUrl": "http://h/999999999999/q", "MessageBody": "x" }),
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ),
        ("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": "junk" }), "ReceiptHandleIsInvalid;Sender"),
        ("ReceiveMessage", json!({ "QueueUrl": url, "MaxNumberOfMessages": 11 }), "InvalidParameterValue;Sender"),
        (
            "SendMessageBatch",
            json!({ "QueueUrl": url, "Entries": eleven }),
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest;Sender",
        ),
        (
            "SendMessageBatch",
            json!({ "QueueUrl": url, "Entries": [entry("a"), entry("a")] }),
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct;Sender",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g" }),
            "NotModelledBySandbox;Receiver",
        ),
        ("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["Wrong"] }), "InvalidAttributeName;Sender"),
        (
            "CreateQueue",
            json!({ "QueueName": "q", "Attributes": { "DelaySeconds": "5" } }),
            "QueueAlreadyExists;Sender",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r", "Attributes": { "RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:123456789012:no\",\"maxReceiveCount\":3}" } }),
            "InvalidParameterValue;Sender",
        ),
    ] {
        assert_eq!(call(&sandbox, action, body.clone()).await, Err(code.to_owned()), "{action} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_attributes_and_batches_are_as_sent() {
    let (sandbox, url) = with_queue(json!({ "KmsMasterKeyId": "alias/aws/sqs" })).await;
    let attributes = json!({ "name": { "DataType": "String", "StringValue": "value" } });
    let entries = json!([{ "Id": "a", "MessageBody": "1", "MessageAttributes": attributes }, { "Id": "b", "MessageBody": "2", "DelaySeconds": 9 }]);
    let sent = call(&sandbox, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await.unwrap();
    assert_eq!(sent["Successful"].as_array().unwrap().len(), 2);
    let receive =
        json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "WaitTimeSeconds": 20 });
    let received = call(&sandbox, "ReceiveMessage", receive).await.unwrap();
    assert_eq!(received["Messages"][0]["MessageAttributes"], attributes);
    assert_eq!(received["Messages"][0]["MD5OfMessageAttributes"], sent["Successful"][0]["MD5OfMessageAttributes"]);
    let asked = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let shown = call(&sandbox, "GetQueueAttributes", asked).await.unwrap()["Attributes"].take();
    for (name, value) in [
        ("ApproximateNumberOfMessages", "0"),
        ("ApproximateNumberOfMessagesNotVisible", "1"),
        ("ApproximateNumberOfMessagesDelayed", "1"),
        ("KmsMasterKeyId", "alias/aws/sqs"),
        ("QueueArn", "arn:aws:sqs:us-east-1:123456789012:q"),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(sandbox.with(|world| deliver_again(world, "q", |m| m.body == "1")), 1);
    call(&sandbox, "PurgeQueue", json!({ "QueueUrl": url })).await.unwrap();
    assert_eq!(sandbox.with(|world| world.sqs.queue("q").unwrap().messages().count()), 0);
}

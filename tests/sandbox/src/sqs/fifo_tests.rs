//! FIFO queues over the wire, and by the simulated clock.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{Reply, Sandbox};

/// Calls an operation over the wire; an error is AWS's code and sentence.
async fn call(sandbox: &Sandbox, action: &str, body: Value) -> Result<Value, String> {
    let request = http::Request::post("http://localhost:4566/")
        .header("host", "localhost:4566")
        .header("x-amz-target", format!("AmazonSQS.{action}"))
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer") };
    let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match response.status().is_success() {
        true => Ok(answer),
        false => Err(format!("{}: {}", answer["__type"].as_str().unwrap(), answer["message"].as_str().unwrap())),
    }
}

fn with_queue(attributes: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::in_virtual_time();
    let attributes: Vec<(&str, &str)> = attributes.iter().copied().chain([("FifoQueue", "true")]).collect();
    sandbox.with(|world| create_queue(world, "q.fifo", &attributes)).unwrap();
    sandbox
}

/// Returns a message of a group. Its text is its deduplication id.
fn order(group: &str, body: &str) -> Draft {
    Draft {
        body: body.to_owned(),
        group: Some(group.to_owned()),
        deduplication_id: Some(body.to_owned()),
        ..Draft::default()
    }
}

fn enter(sandbox: &Sandbox, group: &str, body: &str) -> Sent {
    sandbox.with(|world| send(world, "q.fifo", order(group, body))).unwrap()
}

/// Returns the texts of one receipt's messages, and their handles.
fn take(sandbox: &Sandbox, most: usize) -> (Vec<String>, Vec<String>) {
    let received = sandbox.with(|world| receive(world, "q.fifo", most, None)).unwrap();
    received.into_iter().map(|received| (received.message.body, received.receipt_handle)).unzip()
}

const URL: &str = "http://localhost:4566/123456789012/q.fifo";

#[tokio::test(start_paused = true)]
async fn messages_of_a_group_come_in_the_order_of_sending() {
    let sandbox = with_queue(&[]);
    for number in 0..30 {
        enter(&sandbox, ["a", "b", "c"][number % 3], &number.to_string());
    }
    let mut seen: Vec<usize> = Vec::new();
    while seen.len() < 30 {
        let (bodies, handles) = take(&sandbox, 10);
        assert!(!bodies.is_empty());
        seen.extend(bodies.iter().map(|body| body.parse::<usize>().unwrap()));
        for handle in handles {
            sandbox.with(|world| delete(world, "q.fifo", &handle)).unwrap();
        }
    }
    for group in 0..3 {
        let own: Vec<usize> = seen.iter().copied().filter(|number| number % 3 == group).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_in_flight_blocks_its_group_and_no_other() {
    let sandbox = with_queue(&[("VisibilityTimeout", "60")]);
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        enter(&sandbox, group, body);
    }
    let (first, handles) = take(&sandbox, 1);
    let others = if first == ["a1"] { vec!["b1"] } else { vec!["a1", "a2"] };
    assert_eq!(take(&sandbox, 10).0, others, "as many of a group as there are");
    assert_eq!(take(&sandbox, 10).0, Vec::<String>::new());
    sandbox.with(|world| delete(world, "q.fifo", &handles[0])).unwrap();
    let after = if first == ["a1"] { vec!["a2"] } else { vec![] };
    assert_eq!(take(&sandbox, 10).0, after, "the group goes on when its message is deleted");
    sandbox.advance(Duration::from_secs(61)).await;
    let (mut again, _) = take(&sandbox, 10);
    again.sort();
    let left = if first == ["a1"] { vec!["a2", "b1"] } else { vec!["a1", "a2"] };
    assert_eq!(again, left, "and when its visibility timeout is over");
}

#[tokio::test(start_paused = true)]
async fn second_copy_within_five_minutes_is_accepted_and_not_delivered() {
    let sandbox = with_queue(&[]);
    let first = enter(&sandbox, "a", "x");
    let (_, handles) = take(&sandbox, 10);
    sandbox.with(|world| delete(world, "q.fifo", &handles[0])).unwrap();
    sandbox.advance(Duration::from_secs(299)).await;
    assert_eq!(enter(&sandbox, "b", "x"), first, "in another group, and after the first was deleted");
    assert_eq!(take(&sandbox, 10).0, Vec::<String>::new());
    sandbox.advance(Duration::from_secs(1)).await;
    assert_ne!(enter(&sandbox, "a", "x"), first);
    assert_eq!(take(&sandbox, 10).0, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn content_based_deduplication_goes_by_the_text_alone() {
    let sandbox = with_queue(&[("ContentBasedDeduplication", "true")]);
    let message = |body: &str, id: Option<&str>| {
        let mut message = json!({ "QueueUrl": URL, "MessageBody": body, "MessageGroupId": "g" });
        if let Some(id) = id {
            message["MessageDeduplicationId"] = id.into();
        }
        message
    };
    let first = call(&sandbox, "SendMessage", message("hello world", None)).await.unwrap();
    assert_eq!(call(&sandbox, "SendMessage", message("hello world", None)).await.unwrap(), first);
    let other = call(&sandbox, "SendMessage", message("hello world", Some("mine"))).await.unwrap();
    assert!(other["SequenceNumber"].as_str() > first["SequenceNumber"].as_str(), "{first} {other}");
    let receive = json!({ "QueueUrl": URL, "MaxNumberOfMessages": 10, "AttributeNames": ["All"] });
    let received = call(&sandbox, "ReceiveMessage", receive).await.unwrap()["Messages"].take();
    let attributes = &received[0]["Attributes"];
    // The SHA-256 sum that any client computes.
    let sum = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    assert_eq!((&attributes["MessageDeduplicationId"], &attributes["MessageGroupId"]), (&json!(sum), &json!("g")));
    assert_eq!(attributes["SequenceNumber"], first["SequenceNumber"]);
    assert_eq!(received[1]["Attributes"]["MessageDeduplicationId"], "mine");
}

#[tokio::test(start_paused = true)]
async fn a_new_queue_delay_holds_for_waiting_messages() {
    let sandbox = with_queue(&[("DelaySeconds", "5")]);
    enter(&sandbox, "a", "1");
    sandbox.advance(Duration::from_secs(4)).await;
    assert_eq!(take(&sandbox, 10).0, Vec::<String>::new());
    sandbox.with(|world| set_attributes(world, "q.fifo", &[("DelaySeconds", "60")])).unwrap();
    sandbox.advance(Duration::from_secs(50)).await;
    assert_eq!(take(&sandbox, 10).0, Vec::<String>::new());
    sandbox.advance(Duration::from_secs(6)).await;
    assert_eq!(take(&sandbox, 10).0, ["1"]);
    let zero = json!({ "QueueUrl": URL, "MessageBody": "2", "MessageGroupId": "a", "MessageDeduplicationId": "2", "DelaySeconds": 0 });
    call(&sandbox, "SendMessage", zero).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn receipt_whose_time_is_over_deletes_nothing_and_is_refused() {
    let sandbox = with_queue(&[("VisibilityTimeout", "10")]);
    enter(&sandbox, "a", "x");
    let (_, handles) = take(&sandbox, 1);
    sandbox.advance(Duration::from_secs(10)).await;
    let refused = call(&sandbox, "DeleteMessage", json!({ "QueueUrl": URL, "ReceiptHandle": handles[0] })).await;
    assert!(refused.is_err_and(|why| why.ends_with("Reason: The receipt handle has expired.")));
    assert_eq!(take(&sandbox, 1).0, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn message_moved_to_a_fifo_dead_letter_queue_is_young_again() {
    let sandbox = Sandbox::in_virtual_time();
    let policy = json!({ "deadLetterTargetArn": arn("dead.fifo"), "maxReceiveCount": 2 }).to_string();
    sandbox
        .with(|world| {
            create_queue(world, "dead.fifo", &[("FifoQueue", "true")])?;
            let attributes = [("FifoQueue", "true"), ("VisibilityTimeout", "5"), ("RedrivePolicy", &policy)];
            create_queue(world, "q.fifo", &attributes)
        })
        .unwrap();
    enter(&sandbox, "a", "bad");
    enter(&sandbox, "a", "good");
    for _ in 0..2 {
        assert_eq!(take(&sandbox, 1).0, ["bad"], "it blocks its group until it is given up");
        sandbox.advance(Duration::from_secs(6)).await;
    }
    assert_eq!(take(&sandbox, 10).0, ["good"]);
    let (now, moved) = sandbox.with(|world| {
        let moved = world.sqs.queue("dead.fifo").unwrap().messages().next().unwrap().clone();
        (world.now(), moved)
    });
    assert_eq!((moved.body.as_str(), moved.sent, moved.place.map(|place| place.group)), ("bad", now, Some("a".into())));
}

#[tokio::test(start_paused = true)]
async fn parameters_for_the_other_kind_of_queue_are_refused() {
    let sandbox = with_queue(&[]);
    sandbox.with(|world| create_queue(world, "plain", &[])).unwrap();
    let dead = |queue: &str| json!({ "deadLetterTargetArn": arn(queue), "maxReceiveCount": 3 }).to_string();
    let plain = "http://localhost:4566/123456789012/plain";
    let name = "must end with .fifo suffix and be 1 to 80 in length";
    let long = format!("{}.fifo", "q".repeat(76));
    for (action, body, words) in [
        ("CreateQueue", json!({ "QueueName": "r", "Attributes": { "FifoQueue": "true" } }), name),
        ("CreateQueue", json!({ "QueueName": ".fifo", "Attributes": { "FifoQueue": "true" } }), name),
        ("CreateQueue", json!({ "QueueName": long, "Attributes": { "FifoQueue": "true" } }), name),
        ("CreateQueue", json!({ "QueueName": "r.fifo" }), "Can only include alphanumeric characters"),
        (
            "CreateQueue",
            json!({ "QueueName": "r", "Attributes": { "FifoQueue": "false" } }),
            "Unknown Attribute FifoQueue.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r", "Attributes": { "ContentBasedDeduplication": "true" } }),
            "Unknown Attribute ContentBasedDeduplication.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r", "Attributes": { "DeduplicationScope": "queue" } }),
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r.fifo", "Attributes": { "FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId" } }),
            "does not model high throughput",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r.fifo", "Attributes": { "FifoQueue": "true", "RedrivePolicy": dead("plain") } }),
            "Dead-letter queue must be same type of queue as the source.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "r", "Attributes": { "RedrivePolicy": dead("q.fifo") } }),
            "Dead-letter queue must be same type of queue as the source.",
        ),
        (
            "SetQueueAttributes",
            json!({ "QueueUrl": URL, "Attributes": { "FifoQueue": "false" } }),
            "Modifying queue type is not supported.",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": "x", "MessageDeduplicationId": "d" }),
            "MissingParameter: The request must contain the parameter MessageGroupId.",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": "x", "MessageGroupId": "g" }),
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 1 }),
            "Value 1 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": "x", "MessageGroupId": "two words", "MessageDeduplicationId": "d" }),
            "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": plain, "MessageBody": "x", "MessageDeduplicationId": "d" }),
            "The request includes a parameter that is not valid for this queue type.",
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": plain, "MessageBody": "x", "MessageGroupId": "g" }),
            "does not model fair queues",
        ),
        ("PurgeQueue", json!({ "QueueUrl": URL }), "does not model PurgeQueue"),
    ] {
        let refused = call(&sandbox, action, body.clone()).await;
        assert!(refused.as_ref().is_err_and(|why| why.contains(words)), "{action} {body}: {refused:?}");
    }
    let shown =
        call(&sandbox, "GetQueueAttributes", json!({ "QueueUrl": URL, "AttributeNames": ["All"] })).await.unwrap();
    for (attribute, value) in [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "false"),
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
    ] {
        assert_eq!(shown["Attributes"][attribute], value, "{attribute}");
    }
}

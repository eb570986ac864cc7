//! Mappings, answers, limits and deaths, with handlers in-process and with real sockets.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{Clock, Options, Reply, events, sqs};

/// Returns a function `f` with a timeout of ten seconds, and a queue `q` with a dead-letter queue, mapped to the function.
fn with_mapping(settings: BatchSettings) -> Sandbox {
    let sandbox = Sandbox::in_virtual_time();
    sandbox.with(|world| {
        let policy = json!({ "deadLetterTargetArn": sqs::arn("dead"), "maxReceiveCount": 3 }).to_string();
        sqs::create_queue(world, "dead", &[]).unwrap();
        sqs::create_queue(world, "q", &[("VisibilityTimeout", "60"), ("RedrivePolicy", &policy)]).unwrap();
        create_function(world, FunctionSpec { timeout: Duration::from_secs(10), ..FunctionSpec::new("f") });
        map_queue(world, "q", "f", settings).unwrap();
    });
    sandbox
}

fn send(sandbox: &Sandbox, body: &str) -> String {
    let draft = sqs::Draft { body: body.to_owned(), ..Default::default() };
    sandbox.with(|world| sqs::send(world, "q", draft)).unwrap().message_id
}

fn left(sandbox: &Sandbox, queue: &str) -> usize {
    sandbox.with(|world| world.sqs.queue(queue).unwrap().messages().count())
}

/// Returns the sizes of the batches so far.
fn batches(sandbox: &Sandbox) -> Vec<usize> {
    let size = |ended: &Ended| ended.payload["Records"].as_array().map_or(0, Vec::len);
    sandbox.with(|world| world.lambda.log.iter().map(size).collect())
}

fn answer_always(sandbox: &Sandbox, answer: Result<Value, Value>) {
    run_in_process(sandbox, "f", move |_| futures::future::ready(answer.clone()).boxed());
}

#[tokio::test(start_paused = true)]
async fn messages_become_the_records_that_lambda_makes() {
    let sandbox = with_mapping(BatchSettings::default());
    answer_always(&sandbox, Ok(Value::Null));
    let id = send(&sandbox, "hello world");
    sandbox.advance(Duration::from_secs(1)).await;
    let payload = sandbox.with(|world| world.lambda.log[0].payload.clone());
    let record = &payload["Records"][0];
    assert_eq!(
        (&record["messageId"], &record["body"], &record["eventSource"]),
        (&json!(id), &json!("hello world"), &json!("aws:sqs"))
    );
    assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:123456789012:q");
    assert_eq!(record["md5OfBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(record["attributes"]["SentTimestamp"], "1767600000000");
    assert_eq!(left(&sandbox, "q"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_function_sends_to_itself_invokes_it_sixteen_times() {
    for may_loop in [false, true] {
        let sandbox = with_mapping(BatchSettings::default());
        sandbox.with(|world| create_function(world, FunctionSpec { may_loop, ..FunctionSpec::new("f") }));
        let world = sandbox.clone();
        run_in_process(&sandbox, "f", move |invocation: Invocation| {
            let sent = world.with(|world| {
                let chain = chain_of_caller(world, &invocation.access_key);
                sqs::send(world, "q", sqs::Draft { body: "again".to_owned(), chain, ..Default::default() })
            });
            futures::future::ready(sent.map(|_| Value::Null).map_err(|error| json!(error.message))).boxed()
        });
        send(&sandbox, "first");
        sandbox.advance(Duration::from_secs(1)).await;
        let ran = batches(&sandbox).len();
        let dropped = |sandbox: &Sandbox| sandbox.with(|world| world.lambda.dropped.len());
        match may_loop {
            true => assert!(ran > 20 && dropped(&sandbox) == 0, "{ran}"),
            false => {
                assert_eq!((ran, dropped(&sandbox)), (16, 1));
                // It is dropped at each receipt, and is a dead letter after three.
                sandbox.advance(Duration::from_secs(200)).await;
                assert_eq!((batches(&sandbox).len(), dropped(&sandbox), left(&sandbox, "dead")), (16, 3, 1));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn batch_waits_for_its_window_or_until_it_is_full() {
    let settings = BatchSettings { batch_size: 12, window: Duration::from_secs(5), ..BatchSettings::default() };
    let sandbox = with_mapping(settings);
    answer_always(&sandbox, Ok(json!({ "batchItemFailures": [] })));
    (0..15).for_each(|n| drop(send(&sandbox, &n.to_string())));
    sandbox.advance(Duration::from_secs(1)).await;
    assert_eq!(batches(&sandbox), [12]);
    sandbox.advance(Duration::from_secs(18)).await;
    assert_eq!(batches(&sandbox), [12], "it does not fill, and Lambda may take 20 s however small the window is");
    sandbox.advance(Duration::from_secs(2)).await;
    assert_eq!(batches(&sandbox), [12, 3]);
    assert_eq!(left(&sandbox, "q"), 0);
}

#[tokio::test(start_paused = true)]
async fn lone_message_waits_for_a_window_and_without_one_not_at_all() {
    for (window, seconds) in [(0, 0), (1, 20), (20, 20), (300, 300)] {
        let settings = BatchSettings { window: Duration::from_secs(window), ..BatchSettings::default() };
        let (sandbox, sent) = (with_mapping(settings), Duration::from_secs(7));
        answer_always(&sandbox, Ok(Value::Null));
        sandbox.advance(sent).await;
        let begun = sandbox.clock().now();
        send(&sandbox, "alone");
        sandbox.advance(Duration::from_secs(301)).await;
        let started = sandbox.with(|world| world.lambda.log[0].started);
        assert_eq!((started - begun).num_seconds(), seconds, "a window of {window} s");
    }
}

#[tokio::test(start_paused = true)]
async fn batch_ends_at_six_megabytes_and_the_rest_begins_the_next_one() {
    let settings = BatchSettings { batch_size: 10_000, window: Duration::from_secs(5), ..BatchSettings::default() };
    let sandbox = with_mapping(settings);
    answer_always(&sandbox, Ok(Value::Null));
    // Five messages of a mebibyte fit into six megabytes with their records; a sixth does not.
    (0..8).for_each(|_| drop(send(&sandbox, &"x".repeat(1_048_576))));
    sandbox.advance(Duration::from_secs(1)).await;
    assert_eq!(batches(&sandbox), [5]);
    sandbox.advance(Duration::from_secs(20)).await;
    assert_eq!((batches(&sandbox), left(&sandbox, "q")), (vec![5, 3], 0));
    let payloads = sandbox.with(|world| world.lambda.log.iter().map(|ended| ended.payload.to_string().len()).max());
    assert!(payloads.is_some_and(|largest| largest <= 6 * 1024 * 1024), "{payloads:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_beyond_a_full_payload_wait_for_an_invocation_to_end() {
    let settings = BatchSettings {
        batch_size: 10_000,
        window: Duration::from_secs(1),
        maximum_concurrency: Some(2),
        ..BatchSettings::default()
    };
    let sandbox = with_mapping(settings);
    sandbox.with(|world| {
        sqs::set_attributes(world, "q", &[("VisibilityTimeout", "600")]).unwrap();
        create_function(world, FunctionSpec { timeout: Duration::from_secs(60), ..FunctionSpec::new("f") });
    });
    let clock = sandbox.clock().clone();
    run_in_process(&sandbox, "f", move |_| {
        let clock = clock.clone();
        async move {
            clock.sleep(Duration::from_secs(40)).await;
            Ok(Value::Null)
        }
        .boxed()
    });
    (0..20).for_each(|_| drop(send(&sandbox, &"x".repeat(1_048_576))));
    sandbox.advance(Duration::from_secs(5)).await;
    assert_eq!(sandbox.with(|world| world.lambda.running("f")), 2);
    sandbox.advance(Duration::from_secs(120)).await;
    // The eleventh message began a batch of its own, whose window was over long before there was room for it.
    assert_eq!((batches(&sandbox), left(&sandbox, "q")), (vec![5, 5, 1, 5, 4], 0));
}

#[tokio::test(start_paused = true)]
async fn answers_decide_over_messages_as_the_guide_says() {
    // The id that is replaced is that of the first of two messages.
    let table = [
        (Ok(Value::Null), 0),
        (Ok(json!({})), 0),
        (Ok(json!({ "batchItemFailures": null })), 0),
        (Ok(json!({ "batchItemFailures": [] })), 0),
        (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "FIRST" }] })), 1),
        (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "" }] })), 2),
        (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": null }] })), 2),
        (Ok(json!({ "batchItemFailures": [{ "id": "FIRST" }] })), 2),
        (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "unknown" }] })), 2),
        (Ok(json!({ "batchItemFailures": "FIRST" })), 2),
        (Ok(json!("fine")), 2),
        (Err(json!({ "errorType": "Oops" })), 2),
    ];
    for (answer, expected) in table {
        let sandbox = with_mapping(BatchSettings { window: Duration::from_secs(1), ..BatchSettings::default() });
        let first = send(&sandbox, "first");
        send(&sandbox, "second");
        let text = json!(answer.as_ref().unwrap_or(&Value::Null)).to_string().replace("FIRST", &first);
        answer_always(&sandbox, answer.clone().map(|_| serde_json::from_str(&text).unwrap()));
        sandbox.advance(Duration::from_secs(21)).await;
        assert_eq!((left(&sandbox, "q"), batches(&sandbox)), (expected, vec![2]), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_messages_come_back_until_the_dead_letter_queue_has_them() {
    let sandbox = with_mapping(BatchSettings::default());
    answer_always(&sandbox, Err(json!({ "errorType": "Oops" })));
    send(&sandbox, "poison");
    sandbox.advance(Duration::from_secs(185)).await;
    assert_eq!(batches(&sandbox), [1, 1, 1]);
    assert_eq!((left(&sandbox, "q"), left(&sandbox, "dead")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn message_parked_by_the_function_comes_back_when_it_said() {
    let sandbox = with_mapping(BatchSettings::default());
    let inner = sandbox.clone();
    run_in_process(&sandbox, "f", move |invocation| {
        let sandbox = inner.clone();
        async move {
            let record = &invocation.payload["Records"][0];
            if record["attributes"]["ApproximateReceiveCount"] != "1" {
                return Ok(Value::Null);
            }
            let receipt = record["receiptHandle"].as_str().unwrap();
            sandbox.with(|world| sqs::change_visibility(world, "q", receipt, 600)).unwrap();
            Ok(json!({ "batchItemFailures": [{ "itemIdentifier": record["messageId"] }] }))
        }
        .boxed()
    });
    send(&sandbox, "later");
    sandbox.advance(Duration::from_secs(599)).await;
    assert_eq!((left(&sandbox, "q"), batches(&sandbox)), (1, vec![1]));
    sandbox.advance(Duration::from_secs(2)).await;
    assert_eq!((left(&sandbox, "q"), batches(&sandbox)), (0, vec![1, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_message_group_is_served_in_order_by_one_invocation() {
    let sandbox = Sandbox::in_virtual_time();
    sandbox.with(|world| {
        sqs::create_queue(world, "q.fifo", &[("FifoQueue", "true"), ("VisibilityTimeout", "60")]).unwrap();
        create_function(world, FunctionSpec { timeout: Duration::from_secs(10), ..FunctionSpec::new("f") });
        map_queue(world, "q.fifo", "f", BatchSettings { batch_size: 1, ..BatchSettings::default() }).unwrap();
    });
    let (clock, begun) = (sandbox.clock().clone(), sandbox.clock().now());
    run_in_process(&sandbox, "f", move |_| {
        let clock = clock.clone();
        async move {
            clock.sleep(Duration::from_secs(5)).await;
            Ok(Value::Null)
        }
        .boxed()
    });
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        let (group, deduplication_id) = (Some(group.to_owned()), Some(body.to_owned()));
        let draft = sqs::Draft { body: body.to_owned(), group, deduplication_id, ..Default::default() };
        sandbox.with(|world| sqs::send(world, "q.fifo", draft)).unwrap();
    }
    sandbox.advance(Duration::from_secs(30)).await;
    let served = sandbox.with(|world| {
        let log = world.lambda.log.iter();
        let served = log.map(|ended| {
            let record = &ended.payload["Records"][0];
            assert_eq!(record["attributes"]["MessageDeduplicationId"], record["body"]);
            (record["body"].as_str().unwrap().to_owned(), (ended.started - begun).num_seconds())
        });
        served.collect::<BTreeMap<_, _>>()
    });
    let expected = [("a1", 0), ("a2", 5), ("a3", 10), ("b1", 0)].map(|(body, at)| (body.to_owned(), at));
    assert_eq!(served, BTreeMap::from(expected));
    assert_eq!(left(&sandbox, "q.fifo"), 0);
}

#[tokio::test(start_paused = true)]
async fn mappings_that_lambda_refuses_are_refused() {
    let sandbox = Sandbox::in_virtual_time();
    let refusal = |queue: &'static str, batch_size: usize, window: u64| {
        let settings = BatchSettings { batch_size, window: Duration::from_secs(window), ..BatchSettings::default() };
        sandbox.with(|world| map_queue(world, queue, "f", settings)).unwrap_err().message
    };
    sandbox.with(|world| {
        sqs::create_queue(world, "q", &[]).unwrap();
        sqs::create_queue(world, "q.fifo", &[("FifoQueue", "true")]).unwrap();
        create_function(world, FunctionSpec::new("f"));
    });
    let many = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
    assert_eq!(refusal("q", 11, 0), many);
    assert_eq!(refusal("q.fifo", 10, 1), "Batching window is not supported for FIFO queues");
    assert_eq!(refusal("q.fifo", 11, 0), "BatchSize of a FIFO queue must be from 1 to 10");
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_a_time_than_the_mapping_allows() {
    let settings = BatchSettings { batch_size: 1, maximum_concurrency: Some(2), ..BatchSettings::default() };
    let sandbox = with_mapping(settings);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let keys = Arc::new(Mutex::new(BTreeSet::new()));
    let (clock, seen, highest, used) = (sandbox.clock().clone(), now.clone(), most.clone(), keys.clone());
    run_in_process(&sandbox, "f", move |invocation| {
        let (clock, now, most, keys) = (clock.clone(), seen.clone(), highest.clone(), used.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            keys.lock().unwrap().insert(invocation.access_key);
            clock.sleep(Duration::from_secs(2)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(Value::Null)
        }
        .boxed()
    });
    (0..7).for_each(|n| drop(send(&sandbox, &n.to_string())));
    sandbox.advance(Duration::from_secs(9)).await;
    assert_eq!((left(&sandbox, "q"), most.load(Ordering::Relaxed)), (0, 2));
    assert_eq!(*keys.lock().unwrap(), BTreeSet::from(["AKIAF0001".to_owned(), "AKIAF0002".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn reserved_concurrency_throttles_synchronous_callers() {
    let sandbox = Sandbox::in_virtual_time();
    let spec = FunctionSpec { reserved_concurrency: Some(1), ..FunctionSpec::new("f") };
    sandbox.with(|world| create_function(world, spec));
    let clock = sandbox.clock().clone();
    run_in_process(&sandbox, "f", move |_| {
        let clock = clock.clone();
        async move {
            clock.sleep(Duration::from_secs(1)).await;
            Ok(json!("done"))
        }
        .boxed()
    });
    let (first, second) = tokio::join!(sandbox.invoke("f", json!({})), sandbox.invoke("f", json!({})));
    assert_eq!(first, Ok(json!("done")));
    assert_eq!(second.unwrap_err()["errorType"], "TooManyRequestsException");
    // Lambda keeps asynchronous ones until there is room.
    (0..2).for_each(|_| drop(sandbox.with(|world| invoke_async(world, "f", json!({})))));
    sandbox.advance(Duration::from_secs(3)).await;
    assert_eq!(sandbox.with(|world| world.lambda.log.len()), 3);
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_the_handler_and_its_environment() {
    let sandbox = with_mapping(BatchSettings::default());
    let clock = sandbox.clock().clone();
    let late = Arc::new(AtomicUsize::new(0));
    let counted = late.clone();
    run_in_process(&sandbox, "f", move |_| {
        let (clock, late) = (clock.clone(), counted.clone());
        async move {
            clock.sleep(Duration::from_secs(11)).await;
            late.fetch_add(1, Ordering::Relaxed);
            Ok(Value::Null)
        }
        .boxed()
    });
    let error = sandbox.invoke("f", json!({})).await.unwrap_err();
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    send(&sandbox, "slow");
    sandbox.advance(Duration::from_secs(50)).await;
    assert_eq!((left(&sandbox, "q"), late.load(Ordering::Relaxed)), (1, 0));
    let keys: Vec<String> = sandbox.with(|world| world.lambda.log.iter().map(|e| e.access_key.clone()).collect());
    assert_eq!(keys, ["AKIAF0001", "AKIAF0002"]);
}

/// Returns a call by an environment.
fn list_queues(access_key: &str) -> http::Request<bytes::Bytes> {
    http::Request::post("/")
        .header("x-amz-target", "AmazonSQS.ListQueues")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={access_key}/d/r/sqs/aws4_request"))
        .body(bytes::Bytes::from_static(b"{}"))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_timers_of_a_frozen_process_end_when_it_goes_on() {
    let sandbox = with_mapping(BatchSettings::default());
    let _fault = sandbox.fault(crate::fault::kth("ListQueues", 1, crate::Verdict::FreezeAfter(Duration::from_secs(8))));
    let told: Arc<Mutex<Vec<(&str, i64)>>> = Arc::default();
    let (inner, heard, begun) = (sandbox.clone(), told.clone(), sandbox.clock().now());
    run_in_process(&sandbox, "f", move |invocation| {
        let (sandbox, heard) = (inner.clone(), heard.clone());
        async move {
            let clock = sandbox.clock().clone();
            let note = |what| heard.lock().unwrap().push((what, (clock.now() - begun).num_seconds()));
            let timer = clock.sleep(Duration::from_secs(2)).map(|()| note("timer"));
            let call = sandbox.call(list_queues(&invocation.access_key)).map(|_| note("answer"));
            futures::join!(timer, call);
            clock.sleep(Duration::from_secs(1)).await;
            note("after it");
            Ok(Value::Null)
        }
        .boxed()
    });
    sandbox.invoke("f", json!({})).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [("timer", 8), ("answer", 8), ("after it", 9)]);
    let error = {
        let longer = crate::fault::kth("ListQueues", 1, crate::Verdict::FreezeAfter(Duration::from_secs(20)));
        let _fault = sandbox.fault(longer);
        sandbox.invoke("f", json!({})).await.unwrap_err()
    };
    assert_eq!(error["errorType"], "Sandbox.Timedout", "Lambda's clock does not stand still");
}

#[tokio::test(start_paused = true)]
async fn kill_hits_the_invocation_that_made_the_call_and_no_other() {
    let sandbox = with_mapping(BatchSettings { batch_size: 1, ..BatchSettings::default() });
    let _fault = sandbox.fault(|call: &crate::Call| match call.access_key.as_str() {
        "AKIAF0001" => crate::Verdict::KillAfter,
        _ => crate::Verdict::Pass,
    });
    let inner = sandbox.clone();
    run_in_process(&sandbox, "f", move |invocation| {
        let sandbox = inner.clone();
        async move {
            match sandbox.call(list_queues(&invocation.access_key)).await {
                Reply::CallerKilled => std::future::pending().await,
                _ => Ok(Value::Null),
            }
        }
        .boxed()
    });
    send(&sandbox, "1");
    send(&sandbox, "2");
    sandbox.advance(Duration::from_secs(5)).await;
    let endings: Vec<(String, Ending)> =
        sandbox.with(|world| world.lambda.log.iter().map(|e| (e.access_key.clone(), e.ending.clone())).collect());
    assert!(endings.contains(&("AKIAF0001".to_owned(), Ending::Died)), "{endings:?}");
    assert!(endings.contains(&("AKIAF0002".to_owned(), Ending::Answered(Value::Null))), "{endings:?}");
    assert_eq!(left(&sandbox, "q"), 1);
    sandbox.advance(Duration::from_secs(60)).await;
    assert_eq!(left(&sandbox, "q"), 0, "it came back, to an environment that lives");
}

#[tokio::test(start_paused = true)]
async fn asynchronous_failure_is_retried_twice_and_then_told() {
    let sandbox = with_mapping(BatchSettings::default());
    let statement = json!({
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
        "Action": "lambda:InvokeFunction", "Resource": arn("f"),
    });
    let policy = Policy::of_resource("f", &json!({ "Statement": statement })).unwrap();
    let spec = FunctionSpec { failure_queue: Some("dead".into()), policy: Some(policy), ..FunctionSpec::new("f") };
    sandbox.with(|world| create_function(world, spec));
    answer_always(&sandbox, Err(json!({ "errorType": "Oops" })));
    sandbox.with(|world| {
        let pattern = json!({ "source": ["aws.ec2"] }).to_string();
        events::put_rule(world, "r", Some(&pattern), None, true).unwrap();
        events::put_target(world, "r", events::Target::new("t", &arn("f"))).unwrap();
        events::emit(world, "aws.ec2", "x", Vec::new(), json!({}));
    });
    sandbox.advance(Duration::from_secs(3)).await;
    let payload = sandbox.with(|world| world.lambda.log[0].payload.clone());
    assert_eq!(payload["source"], "aws.ec2", "a rule's function gets the bare event");
    sandbox.advance(Duration::from_secs(182)).await;
    let ids: BTreeSet<String> = sandbox.with(|world| world.lambda.log.iter().map(|e| e.request_id.clone()).collect());
    assert_eq!((sandbox.with(|world| world.lambda.log.len()), ids.len()), (3, 1));
    assert_eq!(left(&sandbox, "dead"), 1);
    assert_eq!(sandbox.with(|world| world.lambda.open_invocations()), 0);
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_handler_fails_one_invocation() {
    let sandbox = with_mapping(BatchSettings::default());
    run_in_process(&sandbox, "f", |invocation| {
        async move { if invocation.payload["panic"] == true { panic!("as asked") } else { Ok(json!("fine")) } }.boxed()
    });
    assert!(sandbox.invoke("f", json!({ "panic": true })).await.is_err());
    assert_eq!(sandbox.invoke("f", json!({})).await, Ok(json!("fine")));
}

/// Makes one request on a connection of its own, and returns head and body.
async fn http(address: std::net::SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_lowercase(), body.to_owned())
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a process compares the deadline with the wall's clock")]
async fn real_process_works_over_the_runtime_api() {
    let sandbox = Sandbox::new(Clock::scaled(20.0), Options::default());
    sandbox.with(|world| {
        create_function(world, FunctionSpec { timeout: Duration::from_secs(2), ..FunctionSpec::new("f") });
    });
    let aws = crate::server::serve(&sandbox, ([127, 0, 0, 1], 0)).await.unwrap();
    let runtime = serve_runtime(&sandbox, "f").await.unwrap();
    let invoke = |payload: &'static str| {
        let address = aws.address();
        tokio::spawn(async move { http(address, "POST", "/2015-03-31/functions/f/invocations", "", payload).await })
    };
    let port = runtime.address();
    let next = || http(port, "GET", "/2018-06-01/runtime/invocation/next", "", "");
    let post = |id: String, what: &'static str, body: &'static str| async move {
        let path = format!("/2018-06-01/runtime/invocation/{id}/{what}");
        http(port, "POST", &path, "", body).await.0
    };

    let answer = invoke("{\"n\":1}");
    let (head, payload) = next().await;
    assert_eq!(payload, "{\"n\":1}");
    assert_eq!(header(&head, "lambda-runtime-invoked-function-arn"), arn("f"));
    let deadline: i64 = header(&head, "lambda-runtime-deadline-ms").parse().unwrap();
    assert!((deadline - chrono::Utc::now().timestamp_millis()).abs() <= 2_000, "the wall's clock, not the sandbox's");
    let id = header(&head, "lambda-runtime-aws-request-id");
    assert!(post(id, "response", "{\"ok\":true}").await.starts_with("http/1.1 202"));
    assert_eq!(answer.await.unwrap().1, "{\"ok\":true}");

    let answer = invoke("{}");
    let id = header(&next().await.0, "lambda-runtime-aws-request-id");
    post(id, "error", "{\"errorType\":\"Oops\"}").await;
    let (head, body) = answer.await.unwrap();
    assert_eq!(
        (header(&head, "x-amz-function-error").as_str(), body.as_str()),
        ("unhandled", "{\"errorType\":\"Oops\"}")
    );

    let answer = invoke("{}");
    let id = header(&next().await.0, "lambda-runtime-aws-request-id");
    assert!(answer.await.unwrap().1.contains("Sandbox.Timedout"));
    assert!(post(id, "response", "{}").await.starts_with("http/1.1 400"), "too late");

    // The fault kills the process at an AWS call: it gets no answer, and the invocation has failed.
    let _fault = sandbox.fault(crate::fault::every("ListQueues", crate::Verdict::KillBefore));
    let answer = invoke("{}");
    next().await;
    let signed = format!(
        "x-amz-target: AmazonSQS.ListQueues\r\nauthorization: AWS4-HMAC-SHA256 Credential={}/d/r/sqs/aws4_request\r\n",
        runtime.access_key()
    );
    assert_eq!(http(aws.address(), "POST", "/", &signed, "{}").await, (String::new(), String::new()));
    assert!(answer.await.unwrap().1.contains("Runtime.ExitError"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_is_replaced_and_its_lines_are_heard() {
    let sandbox = Sandbox::new(Clock::scaled(20.0), Options::default());
    let environment = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    sandbox.with(|world| create_function(world, FunctionSpec { environment, ..FunctionSpec::new("f") }));
    let launch = process::Launch {
        function: "f".into(),
        binary: "/usr/bin/env".into(),
        endpoint_url: "http://127.0.0.1:1".into(),
        environment: BTreeMap::new(),
    };
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let process =
        process::spawn(&sandbox, launch.clone(), move |line| drop(sender.send(line.to_owned()))).await.unwrap();
    let mut starts = 0;
    while starts < 2 {
        let line = tokio::time::timeout(Duration::from_secs(10), lines.recv()).await.unwrap().unwrap();
        starts += usize::from(line == "GREETING=hello");
        assert!(!line.starts_with("HOME="), "the test's own environment is not handed on");
    }
    assert_eq!(process.access_key(), "AKIAF0001");
    drop(process);
    let launch = process::Launch { binary: "/no/such/file".into(), ..launch };
    assert!(process::spawn(&sandbox, launch, |_| ()).await.is_err());
}

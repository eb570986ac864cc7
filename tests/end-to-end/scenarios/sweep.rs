//! The sweep repairs whatever no event told.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Call, Verdict,
    deployment::INSTANCE_STATE,
    deployment::{FAILED_SWEEPS, RECONCILE, RESTS},
    elbv2::{self, TargetGroupSpec},
    lambda::Origin,
};
use serde_json::{Value, json};

const PLACES: [&str; 3] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80"];

/// Returns an AWS in which no event is ever delivered.
fn silent() -> Stage {
    let stage = Stage::new();
    stage.deliver_only(&[]);
    stage.classic("shop").instances_group("web").addresses_group("edge").drains("edge", 60);
    stage.instance("web-1").instance("web-2").registered_at("web-1", &PLACES).registered_at("web-2", &PLACES);
    stage
}

#[tokio::test(start_paused = true)]
async fn without_any_event_sweeps_take_out_and_give_back() {
    let stage = silent();
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1").len(), 3, "every event was lost");
    stage.sweep().await.expect("a report");
    assert_eq!((stage.places("web-1").len(), stage.held("web-1")), (0, PLACES.map(str::to_owned).to_vec()));
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    stage.sweep().await.expect("a report");
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 3));
    stage.sandbox.advance(Duration::from_secs(120)).await;
    stage.sweep().await.expect("a report");
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
    assert_eq!(stage.places("web-2"), PLACES);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_sweep_changes_nothing_and_reads_each_address_group_once() {
    let stage = silent();
    let report = stage.sweep().await.expect("a report");
    assert_eq!(report, json!({ "mode": "enforce", "instances": {} }));
    let mut actions: Vec<String> = stage.sweep_calls().into_iter().map(|call| call.action).collect();
    actions.sort();
    let expected = [
        "DescribeAutoScalingInstances",
        "DescribeInstances",
        "DescribeInstances",
        "DescribeLoadBalancers",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "DescribeTargetGroups",
        "DescribeTargetHealth",
    ];
    assert_eq!(actions, expected);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_says_nothing_of_stopped_instances_that_have_nothing() {
    let stage = silent();
    stage.instance("idle-1").instance("idle-2").stop("idle-1").stop("idle-2").stop_and_rest("web-1").await;
    let report = stage.sweep().await.expect("a report");
    let told: Vec<&String> = report["instances"].as_object().expect("instances").keys().collect();
    assert_eq!(told, [&stage.id("web-1")]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_registers_what_is_declared() {
    let stage = silent();
    stage.instance("web-3").tagged("web-3", "elb-registrar:register", "tg:web clb:shop");
    stage.sweep().await.expect("a report");
    assert_eq!(stage.places("web-3"), ["clb:shop", "tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_leaves_an_instance_that_is_starting_to_its_event() {
    let stage = silent();
    stage.stop_and_rest("web-1").await;
    stage.sweep().await.expect("a report");
    stage.start("web-1");
    let report = stage.sweep().await.expect("a report");
    assert_eq!(report["instances"][stage.id("web-1")]["state"], "pending");
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_and_events_at_once_lose_nothing() {
    let stage = silent();
    stage.world(|world| world.events.reset_delivery());
    let findings = stage.watch_losses("web-1", &PLACES);
    let sandbox = stage.sandbox.clone();
    let sweeps = tokio::spawn(async move {
        for _ in 0..120 {
            sandbox.advance(Duration::from_secs(3)).await;
            sandbox.invoke("reconcile", json!({})).await.expect("a report");
        }
    });
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    sweeps.await.expect("sweeps");
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
    assert_eq!(findings.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn of_two_messages_to_the_sweep_the_unreadable_one_comes_again() {
    let stage = silent();
    let record = |id: &str, body: &str| json!({ "messageId": id, "eventSource": "aws:sqs", "body": body });
    let payload = json!({ "Records": [record("1", "{}"), record("2", "not JSON")] });
    let answer = stage.sandbox.invoke("reconcile", payload).await.expect("an answer");
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "2" }] }));
}

#[tokio::test(start_paused = true)]
async fn only_a_scheduler_starts_a_sweep_by_a_scheduled_event() {
    let stage = silent();
    let scheduled = |source: &str| json!({ "detail-type": "Scheduled Event", "source": source });
    for source in ["aws.events", "aws.scheduler"] {
        assert!(stage.sandbox.invoke("reconcile", scheduled(source)).await.is_ok(), "{source}");
    }
    for payload in [scheduled("com.example"), json!({ "part": 0 })] {
        assert!(stage.sandbox.invoke("reconcile", payload.clone()).await.is_err(), "{payload}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_event_does_not_start_a_sweep() {
    let stage = silent();
    let event = end_to_end::state_change(&stage, "web-1", "running");
    let error = stage.sandbox.invoke("reconcile", event).await.expect_err("an error");
    assert_eq!(error["errorType"], "EventNotUnderstood");
}

/// Returns the texts of a report's list about an instance.
fn whys(report: &Value, id: &str, list: &str) -> Vec<String> {
    let list = report["instances"][id][list].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|because| because["why"].as_str()).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_sweep_says_what_was_wrong_and_the_possible_cause() {
    let stage = silent();
    let id = stage.id("web-1");
    stage.stop_and_rest("web-1").await;
    let early = stage.sweep().await.expect("a report");
    let wrong = whys(&early, &id, "wrong");
    assert!(wrong.len() == 3 && wrong.iter().all(|why| why.contains("may still be under way")), "{wrong:?}");
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let held = stage.sweep().await.expect("a report");
    let wrong = whys(&held, &id, "wrong");
    let is_missed =
        |why: &String| why.starts_with("held (taken at 2026-01-05T08:") && why.contains("its event was missed");
    assert!(wrong.len() == 3 && wrong.iter().all(is_missed), "{wrong:?}");
    assert_eq!(stage.sweep().await.expect("a report")["instances"], json!({}), "nothing is wrong any more");
    // The sweep has what it registered looked at once more, after 15 s.
    stage.sandbox.advance(Duration::from_secs(60)).await;
    stage.stop_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let late = stage.sweep().await.expect("a report");
    let wrong = whys(&late, &id, "wrong");
    let is_missed = |why: &String| why.starts_with("registered though stopped since 2026-01-05T08:");
    assert!(wrong.len() == 3 && wrong.iter().all(is_missed), "{wrong:?}");
    // A person gives it back, and no function forgets it.
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    stage.registered_at("web-1", &PLACES);
    let settled = stage.sweep().await.expect("a report");
    let wrong = whys(&settled, &id, "wrong");
    assert!(wrong.len() == 3 && wrong.iter().all(|why| why.starts_with("still held, taken at ")), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_report_its_own_work_as_wrong() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").stop_and_rest("web-1").await;
    assert!(stage.answers().iter().all(|answer| !answer.contains("wrong")), "{:?}", stage.answers());
}

/// Returns an AWS without events. Its reading takes far longer than an invocation may last: every answer about a group takes 8 s.
async fn vast(groups: usize) -> Stage {
    let stage = Stage::new();
    stage.deliver_only(&[]).time_limit(RECONCILE, Duration::from_secs(300));
    stage.classic("shop").instance("web-1").instance("web-2").registered("web-1", "clb:shop");
    for number in 0..groups {
        let vpc = stage.vpc.clone();
        stage.world(|world| {
            let spec = TargetGroupSpec::instances(&format!("group-{number:04}"), &vpc, 80);
            sandbox::elbv2::create_target_group(world, spec).map(drop).expect("a new name");
        });
    }
    stage
}

fn slow_groups(call: &Call) -> Verdict {
    match call.action.as_str() {
        "DescribeTargetHealth" => Verdict::Delay(Duration::from_secs(8)),
        _ => Verdict::Pass,
    }
}

/// Returns the payloads of the sweeps so far, one for each part.
fn parts(stage: &Stage) -> Vec<String> {
    stage.world(|world| {
        let sweeps = world.lambda.log.iter().filter(|ended| ended.function == RECONCILE);
        sweeps
            .map(|ended| match &ended.origin {
                Origin::Queue { .. } => ended.payload["Records"][0]["body"].as_str().unwrap_or_default().to_owned(),
                _ => ended.payload.to_string(),
            })
            .collect()
    })
}

async fn until_done(stage: &Stage) {
    stage
        .until("all parts are done", |world| {
            let is_empty = world.sqs.queue(RESTS).is_some_and(|queue| queue.messages().count() == 0);
            is_empty && world.lambda.open_invocations() == 0
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_runs_out_of_time_goes_on_where_it_stopped() {
    let stage = vast(500).await;
    for number in [0, 150, 499] {
        stage.registered("web-1", &format!("tg:group-{number:04}"));
    }
    stage.stop_and_rest("web-1").await;
    let fault = stage.sandbox.fault(slow_groups);
    let report = stage.sweep().await.expect("a report");
    let left = report["left"]["what"].as_str().expect("something is left");
    assert!(left.starts_with("tg:group-0"), "{report}");
    assert!(!stage.places("web-1").is_empty(), "not all are visited yet");
    until_done(&stage).await;
    drop(fault);
    assert_eq!(stage.places("web-1"), Vec::<String>::new(), "{:?}", parts(&stage));
    assert_eq!(stage.held("web-1"), ["clb:shop", "tg:group-0000:80", "tg:group-0150:80", "tg:group-0499:80"]);
    let parts = parts(&stage);
    assert!(parts.len() > 2 && parts[1].contains(left) && parts[1].contains(r#""part":2"#), "{parts:?}");
    let calls = stage.sweep_calls();
    let mut asked: Vec<&String> = calls
        .iter()
        .filter(|call| call.action == "DescribeTargetHealth")
        .flat_map(|call| call.parameters.iter().filter(|(name, _)| name == "TargetGroupArn").map(|(_, arn)| arn))
        .collect();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    // A sweep does not look again at the group of a target that was deregistered: all stay out.
    assert_eq!((asked.len(), all), (500, 500), "each group once in all parts together");
    let is_in_time = |ended: &sandbox::lambda::Ended| ended.result.is_ok();
    assert!(stage.world(|world| world.lambda.log.iter().all(is_in_time)), "no part was cut short");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_over_more_targets_than_memory_holds_comes_in_parts() {
    // "Targets per Target Group: 1,000", and no address of them needs a host.
    let stage = Stage::new();
    stage.instance("web-1");
    for number in 0..260 {
        let name = format!("group-{number:03}");
        stage.addresses_group(&name);
        stage.world(|world| {
            world.elbv2.registrations_per_id = 10_000;
            let arn = elbv2::arn_of(world, &name).expect("a group");
            let target = |port| elbv2::Target::new("10.0.0.200").on(port);
            let targets: Vec<elbv2::Target> = (1..=1_000).map(target).collect();
            if number < 259 {
                elbv2::register_all(world, &arn, &targets).expect("registered");
            }
        });
    }
    stage.registered("web-1", "tg:group-259:443=eth0").deliver_only(&[]).stop_and_rest("web-1").await;
    let report = stage.sweep().await.expect("a report");
    let left = report["left"]["what"].as_str().expect("something is left");
    assert!(left.starts_with("tg:group-"), "{left}");
    until_done(&stage).await;
    assert_eq!((parts(&stage).len(), stage.places("web-1").len()), (2, 0));
}

/// Returns an AWS without events, with so many instances that declare something and are registered nowhere. An invocation has less time
/// than is kept for work that has begun: each part of a sweep does one chunk, and orders the rest.
fn declaring_instances(count: usize) -> Stage {
    let stage = Stage::new();
    stage.deliver_only(&[]).time_limit(RECONCILE, Duration::from_secs(120)).classic("shop");
    for number in 0..count {
        let name = format!("web-{number}");
        stage.instance(&name).tagged(&name, "elb-registrar:register", "clb:shop");
    }
    stage
}

#[tokio::test(start_paused = true)]
async fn instances_that_hold_something_are_visited_in_parts_too() {
    let stage = declaring_instances(230);
    stage.sweep().await.expect("a report");
    assert_eq!(stage.members("clb:shop").len(), 100, "the first chunk");
    until_done(&stage).await;
    assert_eq!(stage.members("clb:shop").len(), 230, "{:?}", parts(&stage));
    let after: Vec<String> = parts(&stage).iter().map(|part| part.chars().take(14).collect()).collect();
    assert_eq!(after, ["{}", r#"{"after":"i-00"#, r#"{"after":"i-00"#, r#"{"after":"bala"#]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_reports_all_gets_past_its_first_instances() {
    let stage = declaring_instances(230);
    stage.sweep_with(json!({ "report": "all" })).await.expect("a report");
    until_done(&stage).await;
    assert_eq!((stage.members("clb:shop").len(), parts(&stage).len()), (230, 4), "{:?}", parts(&stage));
}

#[tokio::test(start_paused = true)]
async fn what_no_sweep_gets_to_is_another_part_each_time() {
    let stage = vast(1_200).await;
    for number in 0..12 {
        stage.registered("web-1", &format!("tg:group-{:04}", number * 100));
    }
    stage.stop_and_rest("web-1").await.time_limit(RECONCILE, Duration::from_secs(120));
    let mut left = Vec::new();
    while !stage.places("web-1").is_empty() {
        assert!(left.len() < 20, "some are never reached: {left:?}");
        stage.sweep().await.expect("a report");
        until_done(&stage).await;
        left.push(stage.places("web-1").len());
    }
    assert!(left.len() > 1, "one sweep gets to eight hundred");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_never_ends_is_given_up_and_told() {
    let stage = vast(900).await;
    stage.stop_and_rest("web-1").await.time_limit(RECONCILE, Duration::from_secs(120));
    stage.sweep().await.expect("a report");
    until_done(&stage).await;
    let (count, last) = stage.world(|world| {
        let sweeps: Vec<_> = world.lambda.log.iter().filter(|ended| ended.function == RECONCILE).collect();
        (sweeps.len(), format!("{:?}", sweeps.last().map(|ended| &ended.result)))
    });
    // Its report is in the log and its failure in the metrics; the queue of failed sweeps is for those that broke.
    assert_eq!((count, last.contains("batchItemFailures")), (8, true), "{last}");
    assert_eq!(stage.world(|world| world.sqs.queue(FAILED_SWEEPS).map_or(0, |queue| queue.messages().count())), 0);
}

#[tokio::test(start_paused = true)]
async fn a_part_whose_process_dies_is_done_again() {
    let stage = vast(300).await;
    stage.registered("web-1", "tg:group-0299").stop_and_rest("web-1").await;
    let fault = stage.sandbox.fault(slow_groups);
    stage.sweep().await.expect("a report");
    let kill = stage.sandbox.fault(sandbox::fault::kth("DescribeInstances", 1, Verdict::KillAfter));
    until_done(&stage).await;
    drop((fault, kill));
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 2), "{:?}", parts(&stage));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_can_report_the_places_and_health_of_every_instance() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instances_group("web").instances_group("mine").addresses_group("edge");
    stage.instance("web-1").instance("web-2").instance("idle");
    stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:mine", "tg:edge:443=eth0"]);
    stage.registered("web-2", "tg:web").tagged("web-2", "elb-registrar:register", "clb:shop");
    stage.tagged("tg:mine", "elb-registrar:ignore", "");
    stage.sandbox.advance(Duration::from_secs(120)).await;
    let order = serde_json::from_str(include_str!("../../../events/report-all.json")).expect("JSON");
    let report = stage.sweep_with(order).await.expect("a report");
    let told = |name: &str| report["instances"][stage.id(name)].clone();
    assert_eq!(told("idle"), Value::Null);
    let (web_1, web_2) = (told("web-1"), told("web-2"));
    assert_eq!((&web_1["name"], &web_1["state"]), (&json!("web-1"), &json!("running")));
    let registered = web_1["registered"].as_array().expect("a list");
    assert_eq!((registered.len(), web_1["health"].as_object().expect("a map").len()), (4, 4), "{web_1}");
    let health = web_1["health"].as_object().expect("a map");
    assert!(health.values().all(|state| state == "healthy" || state == "InService"), "{health:?}");
    assert!(web_1["left_alone"][0]["what"].as_str().is_some_and(|what| what.starts_with("tg:mine/")), "{web_1}");
    assert_eq!((&web_2["declared"], &web_2["would_do"][0]["registration"]), (&json!(["clb:shop"]), &json!("clb:shop")));
    assert!(stage.sweep_calls().iter().all(|call| call.action.starts_with("Describe")));
}

#[tokio::test(start_paused = true)]
async fn an_order_with_a_misspelled_field_is_an_error_that_names_it() {
    let error = silent().sweep_with(json!({ "reprot": "all" })).await.expect_err("an error");
    assert_eq!(error["errorType"], "EventNotUnderstood");
    assert!(error["errorMessage"].as_str().is_some_and(|why| why.contains("reprot")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_aws_refuses_costs_a_sweep_no_message() {
    let stage = silent();
    stage.world(|world| world.elbv2.targets_per_group = 1);
    stage.instances_group("full").instance("web-2").registered("web-2", "tg:full");
    stage.tagged("web-1", "elb-registrar:register", "tg:full");
    for _ in 0..5 {
        let refused = stage.sweep().await.expect_err("a failure");
        assert!(refused.to_string().contains("TooManyTargets"), "{refused}");
        stage.sandbox.advance(Duration::from_secs(900)).await;
    }
    assert_eq!(stage.calls_of(INSTANCE_STATE).len(), 0, "it is told by the sweep, and looked at by the next one");
    assert!(stage.dead_letters().is_empty(), "{:?}", stage.dead_letters());
}

/// A rule invokes asynchronously, and nothing reads the answer.
#[tokio::test(start_paused = true)]
async fn a_scheduled_sweep_answers_with_figures() {
    let stage = silent();
    stage.stop_and_rest("web-1").await;
    let scheduled = json!({ "detail-type": "Scheduled Event", "source": "aws.events" });
    let answer = stage.sandbox.invoke("reconcile", scheduled).await.expect("an answer");
    assert_eq!(
        (&answer["counts"]["TakenOut"], &answer["mode"], &answer["instances"]),
        (&json!(3), &json!("enforce"), &Value::Null)
    );
    assert!(
        answer["looked_at"].as_str().is_some_and(|text| text.starts_with("1 instances that are out, 0 that run")),
        "{answer}"
    );
    let answer = stage.sweep_with(json!({ "answer": "summary" })).await.expect("an answer");
    assert_eq!((&answer["counts"], &answer["instances"]), (&json!({}), &Value::Null));
    let order = stage.sweep_with(json!({ "answer": "nothing" })).await.expect_err("an error");
    assert!(order["errorMessage"].as_str().is_some_and(|why| why.contains("`summary`")), "{order}");
}

/// Lambda makes a failure of an answer of more than 6 MB, and starts the sweep again.
#[tokio::test(start_paused = true)]
async fn a_report_that_is_too_large_is_cut_and_its_sweep_succeeds() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.deliver_only(&[]);
    // Three bytes each. A person has to put each of these tags right, so each is in the report.
    let long = "\u{8a9e}".repeat(256);
    for number in 0..220 {
        let name = format!("web-{number}");
        stage.instance(&name);
        for tag in 0..45 {
            stage.tagged(&name, &format!("elb-registrar:held.{tag}"), &long);
        }
    }
    let report = stage.sweep().await.expect("a report");
    let (told, size) = (report["instances"].as_object().expect("a map").len(), report.to_string().len());
    assert!((5_900_000..=6_000_000).contains(&size) && told < 220, "{told} {size}");
    let why = report["cut"].as_str().expect("a sentence");
    assert!(why.starts_with(&format!("{} entries are left out", 220 - told)), "{why}");
}

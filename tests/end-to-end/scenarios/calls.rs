//! Cost follows the change: these scenarios count calls.

use std::{collections::BTreeMap, time::Duration};

use end_to_end::{Stage, state_change};
use registrar::aws::{call_watch::Counted, clients::Clients};
use sandbox::{Call, Verdict, wire::ApiError};
use tokio::time::Instant;

/// Only these events are delivered, so that one event's cost is counted.
const ONE_EVENT_EACH_WAY: &[&str] = &["stopped", "running"];

/// How long a nightly schedule stops instances.
pub(crate) const A_NIGHT: Duration = Duration::from_secs(8 * 3600);

/// Returns an account with many target groups, and an instance that is in a few of them. No other instance stops or starts with it.
async fn account(groups: usize, used: usize) -> Stage {
    let stage = Stage::new();
    stage.deliver_only(ONE_EVENT_EACH_WAY);
    for number in 0..groups {
        stage.instances_group(&format!("group-{number}"));
    }
    stage.instance("web-1");
    for number in 0..used {
        stage.registered("web-1", &format!("tg:group-{number}"));
    }
    stage
}

pub(crate) fn calls_by_action(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in stage.all_calls() {
        // Calls to queues count against no limit of the load balancers, so that parking and ordering are counted apart.
        if !call.action.starts_with("ChangeMessageVisibility") && !call.action.starts_with("SendMessage") {
            *counts.entry(call.action).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_stop_among_500_target_groups_costs_one_scan_and_a_handful() {
    let stage = account(500, 1).await;
    stage.stop_and_rest("web-1").await;
    let expected = [
        ("CreateTags", 1),
        ("DeregisterTargets", 1),
        ("DescribeInstances", 2),
        ("DescribeLoadBalancers", 1),
        ("DescribeTags", 1),
        // Two pages of 400.
        ("DescribeTargetGroups", 2),
        ("DescribeTargetHealth", 500),
    ];
    let expected: BTreeMap<String, usize> = expected.map(|(action, count)| (action.to_owned(), count)).into();
    let counted = calls_by_action(&stage);
    let read_again = counted["DescribeInstances"] - 2;
    assert!(read_again <= 1, "the reading is renewed at most once");
    let counted: BTreeMap<String, usize> =
        counted.into_iter().map(|(a, n)| if a == "DescribeInstances" { (a, n - read_again) } else { (a, n) }).collect();
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn the_second_event_of_a_stop_costs_one_call() {
    let stage = account(500, 1).await;
    stage.deliver_only(&["stopping", "stopped"]);
    stage.stop("web-1");
    stage.until("the stop is seen through", |world| world.lambda.log.len() == 1).await;
    let scanned = stage.count("DescribeTargetHealth");
    stage.forget_calls();
    stage.rest().await;
    assert_eq!((scanned, calls_by_action(&stage)), (500, [("DescribeInstances".to_owned(), 1)].into()));
    assert!(
        stage.answers().iter().all(|answer| answer.contains("\"batchItemFailures\": Array []")),
        "{:?}",
        stage.answers()
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_is_scanned_again_and_so_is_a_sent_event() {
    let stage = account(10, 1).await;
    for _ in 0..2 {
        stage.forget_calls();
        stage.stop_and_rest("web-1").await;
        assert_eq!(stage.count("DescribeTargetHealth"), 10, "{}", stage.describe());
        stage.start_and_rest("web-1").await;
    }
    stage.stop_and_rest("web-1").await;
    stage.addresses_group("edge").registered("web-1", "tg:edge:443=eth0");
    stage.invoke(state_change(&stage, "web-1", "stopped")).await.expect("a report");
    assert_eq!(stage.places("web-1"), Vec::<String>::new());
}

/// Returns the number of calls that give back an instance after it was stopped for a time.
async fn calls_of_a_restart(stage: &Stage, stopped_for: Duration) -> usize {
    stage.stop_and_rest("web-1").await;
    stage.sandbox.advance(stopped_for).await;
    let had = stage.held("web-1");
    stage.forget_calls();
    stage.start_and_rest("web-1").await;
    assert!(!had.is_empty() && stage.places("web-1") == had && stage.held("web-1").is_empty(), "{}", stage.describe());
    calls_by_action(stage).values().sum()
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_night_costs_5_calls_and_2_a_balancer() {
    for (groups, used, calls) in [(10, 1, 7), (500, 1, 7), (500, 2, 9), (500, 5, 15)] {
        let stage = account(groups, used).await;
        assert_eq!(calls_of_a_restart(&stage, A_NIGHT).await, calls, "{:?}", calls_by_action(&stage));
    }
}

#[tokio::test(start_paused = true)]
async fn registering_an_address_costs_7_calls_or_8_while_it_may_drain() {
    for (stopped_for, calls) in [(A_NIGHT, 7), (Duration::from_secs(900), 8)] {
        let stage = Stage::new();
        stage.deliver_only(ONE_EVENT_EACH_WAY);
        stage.addresses_group("edge").instance("web-1").registered("web-1", "tg:edge:443=eth0");
        assert_eq!(calls_of_a_restart(&stage, stopped_for).await, calls, "{:?}", calls_by_action(&stage));
    }
}

#[tokio::test(start_paused = true)]
async fn behind_classic_load_balancers_a_restart_costs_6_calls_and_1_each() {
    for (used, calls) in [(1, 7), (3, 9)] {
        let stage = Stage::new();
        stage.deliver_only(ONE_EVENT_EACH_WAY);
        stage.instance("web-1");
        for number in 0..used {
            let name = format!("classic-{number}");
            stage.classic(&name).registered("web-1", &format!("clb:{name}"));
        }
        assert_eq!(calls_of_a_restart(&stage, A_NIGHT).await, calls, "{:?}", calls_by_action(&stage));
    }
}

#[tokio::test(start_paused = true)]
async fn an_immediate_restart_costs_6_calls_and_3_for_each_balancer() {
    // The tag may still be relied on by another function, so a later look has to forget it.
    for (used, calls) in [(1, 9), (2, 12), (5, 21)] {
        let stage = account(500, used).await;
        assert_eq!(calls_of_a_restart(&stage, Duration::ZERO).await, calls, "{:?}", calls_by_action(&stage));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_holds_and_declares_nothing_costs_one_call() {
    let stage = account(500, 0).await;
    let id = stage.id("web-1");
    stage.world(|world| sandbox::events::instance_changed(world, &id, sandbox::ec2::InstanceState::Running));
    stage.rest().await;
    assert_eq!(calls_by_action(&stage), [("DescribeInstances".to_owned(), 1)].into());
}

/// Returns the calls of a start. A start belongs to no invocation, so the key of an operator signs them.
fn calls_of_start(stage: &Stage) -> Vec<String> {
    let mut actions: Vec<String> = stage.world(|world| world.calls.iter().map(|call| call.action.clone()).collect());
    actions.sort();
    actions
}

/// One of EC2, and one of the host that both kinds of load balancers share.
const CALLS_OF_START: [&str; 2] = ["DescribeInstances", "DescribeLoadBalancers"];

#[tokio::test(start_paused = true)]
async fn a_start_connects_to_each_host_and_counts_no_call() {
    let stage = Stage::new();
    let clients = Clients::new(&stage.operator_sdk());
    clients.connect().await;
    assert_eq!(calls_of_start(&stage), CALLS_OF_START);
    assert_eq!(clients.counts.take(), Counted::default());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_connect_neither_repeats_nor_counts_nor_waits() {
    for verdict in [Verdict::NeverAnswer, Verdict::Refuse(ApiError::sender("AccessDenied", "not authorized"))] {
        let stage = Stage::new();
        let clients = Clients::new(&stage.operator_sdk());
        let _fault = stage.sandbox.fault(move |_: &Call| verdict.clone());
        let begun = Instant::now();
        clients.connect().await;
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(calls_of_start(&stage), CALLS_OF_START);
        assert_eq!(clients.counts.take(), Counted::default());
    }
}

//! Cost follows the change: calls are counted.

use std::{collections::BTreeMap, time::Duration};

use end_to_end::Stage;
use registrar::{call_watch::Counted, clients::Clients};
use sandbox::{Call, Verdict, wire::ApiError};
use tokio::time::Instant;

/// Only these are delivered: what one event costs.
const ONE_EVENT_EACH_WAY: &[&str] = &["stopped", "running"];

/// An account with many target groups, and an instance that is in a few of them, alone on their way down and up.
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

fn calls_by_action(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in stage.calls() {
        // The queue is not AWS's account of load balancers: parking is counted apart.
        if !call.action.starts_with("ChangeMessageVisibility") {
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
async fn a_restart_among_500_target_groups_costs_8_calls_and_3_for_each_further_balancer() {
    let mut totals = Vec::new();
    for used in [1, 2, 5] {
        let stage = account(500, used).await;
        stage.stop_and_rest("web-1").await;
        stage.forget_calls();
        stage.start_and_rest("web-1").await;
        assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (used, 0), "{}", stage.describe());
        let total: usize = calls_by_action(&stage).values().sum();
        assert!(total <= 8 + 3 * (used - 1), "{used}: {:?}", calls_by_action(&stage));
        totals.push(total);
    }
    assert_eq!(totals, [8, 11, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_behind_a_classic_load_balancer_costs_8_calls_and_2_for_each_further_one() {
    for used in [1, 3] {
        let stage = Stage::new();
        stage.deliver_only(ONE_EVENT_EACH_WAY);
        stage.instance("web-1");
        for number in 0..used {
            let name = format!("classic-{number}");
            stage.classic(&name).registered("web-1", &format!("clb:{name}"));
        }
        stage.stop_and_rest("web-1").await;
        stage.forget_calls();
        stage.start_and_rest("web-1").await;
        let total: usize = calls_by_action(&stage).values().sum();
        assert_eq!(total, 8 + 2 * (used - 1), "{:?}", calls_by_action(&stage));
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

#[tokio::test(start_paused = true)]
async fn a_night_of_a_hundred_instances_costs_one_invocation_each() {
    // What README's costs are worked out from: 100 instances in 20 target groups stop within a minute, and start within one.
    let stage = Stage::new();
    for number in 0..20 {
        stage.instances_group(&format!("group-{number}"));
    }
    let names: Vec<String> = (0..100).map(|number| format!("web-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        stage.instance(name).registered(name, &format!("tg:group-{}", number % 20));
    }
    for name in &names {
        stage.stop(name);
        stage.sandbox.advance(std::time::Duration::from_millis(600)).await;
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).is_empty()));
    for name in &names {
        stage.start(name);
        stage.sandbox.advance(std::time::Duration::from_millis(600)).await;
    }
    stage.rest().await;
    assert!(names.iter().all(|name| stage.places(name).len() == 1 && stage.held(name).is_empty()));
    let (invocations, busy) = stage.world(|world| {
        let busy: i64 = world.lambda.log.iter().map(|ended| (ended.at - ended.started).num_milliseconds()).sum();
        (world.lambda.log.len(), busy)
    });
    let calls: usize = calls_by_action(&stage).values().sum();
    println!("{invocations} invocations, {} s in all, {calls} calls", busy / 1000);
    assert!(invocations <= 120 && calls <= 2_000, "{invocations} invocations, {calls} calls");
}

/// The calls of a start: of nobody's invocation, so by the key of an operator.
fn calls_of_start(stage: &Stage) -> Vec<String> {
    let mut actions: Vec<String> = stage.world(|world| world.calls.iter().map(|call| call.action.clone()).collect());
    actions.sort();
    actions
}

/// One of EC2, and one of the host that both kinds of load balancers share.
const CALLS_OF_START: [&str; 2] = ["DescribeInstances", "DescribeLoadBalancers"];

#[tokio::test(start_paused = true)]
async fn a_start_costs_a_call_of_each_host_that_every_event_needs_and_counts_none() {
    let stage = Stage::new();
    let clients = Clients::new(&stage.operator_sdk());
    clients.connect().await;
    assert_eq!(calls_of_start(&stage), CALLS_OF_START);
    assert_eq!(clients.counts.take(), Counted::default());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_connect_neither_repeats_nor_counts_it_nor_waits_for_long() {
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

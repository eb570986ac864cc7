//! The sweep repairs what no event told.

use std::time::Duration;

use end_to_end::Stage;
use serde_json::json;

const PLACES: [&str; 3] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80"];

/// An AWS in which no event is ever delivered.
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
    assert_eq!(stage.places("web-1").len(), 3, "nobody was told");
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
async fn a_sweep_in_a_quiet_account_changes_nothing_and_costs_two_calls() {
    let stage = silent();
    let report = stage.sweep().await.expect("a report");
    assert_eq!(report["instances"], json!({}));
    assert_eq!(stage.world(|world| world.calls.iter().filter(|c| c.access_key.contains("RECONCILE")).count()), 2);
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
async fn another_event_does_not_start_a_sweep() {
    let stage = silent();
    let event = end_to_end::state_change(&stage, "web-1", "running");
    let error = stage.sandbox.invoke("reconcile", event).await.expect_err("an error");
    assert_eq!(error["errorType"], "EventNotUnderstood");
}

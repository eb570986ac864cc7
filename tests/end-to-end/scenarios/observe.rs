//! `Mode=observe` changes nothing, and reports the changes that it would make.

use std::time::Duration;

use end_to_end::{Stage, state_change};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn observing_a_stop_reports_everything_and_changes_nothing() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instances_group("web").instance("web-1");
    stage.registered("web-1", "clb:shop").registered("web-1", "tg:web");
    stage.stop_and_rest("web-1").await;
    assert!(stage.calls().iter().all(|call| call.action.starts_with("Describe")), "{}", stage.describe());
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (2, 0));
    let report = stage.invoke(state_change(&stage, "web-1", "stopped")).await.expect("a report");
    let would = &report["instances"][stage.id("web-1")]["would_do"];
    let actions: Vec<_> = would.as_array().expect("a list").iter().map(|deed| deed["action"].clone()).collect();
    assert_eq!(actions, ["hold", "hold", "deregister", "deregister"]);
    assert_eq!(report["mode"], "observe");
}

#[tokio::test(start_paused = true)]
async fn observing_a_start_reports_what_would_be_given_back() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instance("web-1").tagged("web-1", "elb-registrar:held", "clb:shop");
    let report = stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report");
    let would = &report["instances"][stage.id("web-1")]["would_do"];
    assert_eq!((&would[0]["action"], &would[0]["registration"]), (&"register".into(), &"clb:shop".into()));
    assert!(stage.calls().iter().all(|call| call.action.starts_with("Describe")));
}

#[tokio::test(start_paused = true)]
async fn observing_waits_for_nothing() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instance("web-1").tagged("web-1", "elb-registrar:held", "clb:shop");
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    assert!(stage.answers().iter().all(|answer| !answer.contains("itemIdentifier")), "{:?}", stage.answers());
    assert_eq!(stage.dead_letters(), []);
}

/// After an upgrade that turned `enforce` off, what was stopped at that moment does not come back.
#[tokio::test(start_paused = true)]
async fn what_observe_leaves_held_while_running_is_counted() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").classic("till").instance("web-1").instance("web-2").instance("web-3");
    stage.tagged("web-1", "elb-registrar:held", "clb:shop clb:till").tagged("web-2", "elb-registrar:held", "clb:shop");
    stage.tagged("web-3", "elb-registrar:held", "clb:shop").registered("web-3", "clb:shop");
    stage.stop_and_rest("web-2").await;
    let held =
        |report: &serde_json::Value, name: &str| report["instances"][stage.id(name)]["held_while_running"].clone();
    let early = Stage::with_settings(&[("Mode", "observe")]);
    early.classic("shop").instance("web-1").tagged("web-1", "elb-registrar:held", "clb:shop");
    let report = early.sweep().await.expect("a report");
    assert_eq!(report["instances"][early.id("web-1")]["held_while_running"], json!(null), "its event may be under way");
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let report = stage.sweep().await.expect("a report");
    let found = ["web-1", "web-2", "web-3"].map(|name| held(&report, name));
    assert_eq!(found, [json!(2), json!(null), json!(null)], "one is stopped, and one has everything: {report:#}");
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_gives_back_is_not_held_while_running() {
    let stage = Stage::new();
    stage.deliver_only(&[]).classic("shop").instance("web-1").tagged("web-1", "elb-registrar:held", "clb:shop");
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let given = stage.sweep().await.expect("a report");
    assert_eq!(
        (stage.places("web-1"), given.to_string().contains("held_while_running")),
        (vec!["clb:shop".into()], false)
    );
}

#[tokio::test(start_paused = true)]
async fn in_observe_the_mode_is_given_as_the_cause() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    stage.classic("shop").instance("web-1").instance("web-2").registered("web-1", "clb:shop");
    stage.tagged("web-2", "elb-registrar:held", "clb:shop");
    stage.stop_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let report = stage.sweep().await.expect("a report");
    for name in ["web-1", "web-2"] {
        let why = report["instances"][stage.id(name)]["wrong"][0]["why"].as_str().unwrap_or_default();
        assert!(why.contains("the mode is `observe`") && !why.contains("missed"), "{name}: {why}");
    }
}

//! `Mode=observe` changes nothing, and reports the changes that it would make.

use end_to_end::{Stage, state_change};

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

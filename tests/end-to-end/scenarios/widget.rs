//! The widget of the dashboard: a console asks `reconcile`, and nothing changes.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    auto_scaling::{GroupSpec, HookSpec},
    deployment::RECONCILE,
    fault::{Verdict, every},
    wire::ApiError,
};
use serde_json::{Value, json};

fn sample() -> Value {
    serde_json::from_str(include_str!("../../../events/widget.json")).expect("JSON")
}

async fn shown(stage: &Stage) -> String {
    let answer = stage.sweep_with(sample()).await.expect("an answer");
    answer.as_str().expect("HTML is answered as a text").to_owned()
}

/// Returns a stage on which an event was lost, so that a sweep would have something to do.
async fn stage_with_work() -> Stage {
    let stage = Stage::new();
    stage.deliver_only(&[]).classic("shop").classic("till").instance("web-1").instance("web-2");
    stage.registered("web-1", "clb:shop").tagged("web-2", "elb-registrar:held", "clb:till");
    stage.stop_and_rest("web-1").await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_widget_shows_what_a_sweep_would_do_and_does_nothing() {
    let stage = stage_with_work().await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    let calls = stage.calls_of(RECONCILE).len();
    let html = shown(&stage).await;
    for words in [
        "<dd>123456789012</dd>",
        "<dd>us-east-1</dd>",
        "<dd>enforce</dd>",
        "clb:shop: registered though stopped since",
        "its event was missed or could not be served",
        "<span class=\"kind\">would</span> hold: clb:shop",
        "<span class=\"kind\">would</span> register: clb:till",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
    for forbidden in ["<script", "<iframe", "<use", "javascript:", "https:", "@import", "url("] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    let made = stage.calls_of(RECONCILE)[calls..].to_vec();
    assert!(!made.is_empty() && made.iter().all(|call| call.action.starts_with("Describe")), "{}", stage.describe());
    assert_eq!((stage.places("web-1"), stage.places("web-2").len()), (vec!["clb:shop".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_widget_is_shown_again_for_some_seconds_without_a_call() {
    let stage = stage_with_work().await;
    let first = shown(&stage).await;
    let calls = stage.calls_of(RECONCILE).len();
    assert_eq!((shown(&stage).await, stage.calls_of(RECONCILE).len()), (first, calls));
    stage.sandbox.advance(Duration::from_secs(16)).await;
    shown(&stage).await;
    assert!(stage.calls_of(RECONCILE).len() > calls);
}

#[tokio::test(start_paused = true)]
async fn a_console_is_told_what_the_widget_is_without_a_call() {
    let stage = stage_with_work().await;
    let calls = stage.calls_of(RECONCILE).len();
    let told = stage.sweep_with(json!({ "describe": true })).await.expect("an answer");
    assert!(told.as_str().is_some_and(|text| text.starts_with("## elb-registrar") && text.contains("changes nothing")));
    assert_eq!(stage.calls_of(RECONCILE).len(), calls);
}

#[tokio::test(start_paused = true)]
async fn what_a_widget_cannot_read_stands_on_it() {
    let stage = stage_with_work().await;
    let refusal = || ApiError::receiver(403, "AccessDenied", "<b>not authorized</b>");
    let fault = stage.sandbox.fault(every("DescribeTargetGroups", Verdict::Refuse(refusal())));
    let html = shown(&stage).await;
    assert!(html.contains("<h2>Not read</h2>") && html.contains("&#60;b&#62;not authorized"), "{html}");
    drop(fault);
    stage.sandbox.advance(Duration::from_secs(16)).await;
    let _fault = stage.sandbox.fault(every("DescribeInstances", Verdict::Refuse(refusal())));
    let html = shown(&stage).await;
    assert!(html.contains("<p>Nothing could be read: ") && !html.contains("<b>not"), "{html}");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_takes_too_long_ends_and_says_so() {
    let stage = stage_with_work().await;
    let _fault = stage.sandbox.fault(every("DescribeInstances", Verdict::NeverAnswer));
    let begun = stage.world(|world| world.now());
    let html = shown(&stage).await;
    let took = (stage.world(|world| world.now()) - begun).num_seconds();
    assert!(html.contains("Nothing could be read: ") && took <= 51, "{took} s: {html}");
}

#[tokio::test(start_paused = true)]
async fn a_large_account_is_shown_in_part_and_in_bounded_size() {
    let stage = Stage::new();
    stage.deliver_only(&[]).classic("shop");
    let name = "<script>&\"'".repeat(20);
    for number in 0..200 {
        let instance = format!("web-{number}");
        stage.instance(&instance).registered(&instance, "clb:shop").stop(&instance).tagged(&instance, "Name", &name);
    }
    stage.sandbox.advance(Duration::from_secs(120)).await;
    let html = shown(&stage).await;
    assert!(html.contains("140 more are left out: <code>elb-registrar status</code> shows them."), "{}", html.len());
    assert!(html.len() < 500_000 && !html.contains("<script"), "{}", html.len());
}

#[tokio::test(start_paused = true)]
async fn a_look_begins_no_group_after_twenty_seconds_and_says_so() {
    let stage = stage_with_work().await;
    for number in 0..250 {
        stage.instances_group(&format!("group-{number:03}"));
    }
    let _fault = stage.sandbox.fault(every("DescribeTargetHealth", Verdict::Delay(Duration::from_secs(2))));
    let begun = stage.world(|world| world.now());
    let html = shown(&stage).await;
    let took = (stage.world(|world| world.now()) - begun).num_seconds();
    assert!(html.contains("the time of this invocation is up; what comes after this is left"), "{html}");
    assert!((20..50).contains(&took), "{took} s");
    let read = stage.calls_of(RECONCILE).iter().filter(|call| call.action == "DescribeTargetHealth").count();
    assert!((1..250).contains(&read), "{read} groups were read");
}

#[tokio::test(start_paused = true)]
async fn a_widget_shows_who_waits_at_a_hook_without_another_permission() {
    let stage = Stage::with_settings(&[("LifecycleHookPrefix", "of-another-stack")]);
    let hook = HookSpec::launching("another-tool").heartbeat(7_200);
    stage.fleet(GroupSpec::new("web", &stage.subnet).desired(1).hook(hook));
    stage.sandbox.advance(Duration::from_secs(120)).await;
    let html = shown(&stage).await;
    assert!(html.contains("at a lifecycle hook of the Auto Scaling group web, as Pending:Wait"), "{html}");
    assert!(html.contains("<b>0</b> not read"), "{html}");
}

//! Promises 1 and 2 under crashes: a stop and a restart, with one fault at every single call in turn.
//!
//! After every call, every registration that the instance had is in place or held. In the end, after the events have come
//! again, everything is back and nothing is held.

use std::sync::{Arc, Mutex};

use end_to_end::Stage;
use sandbox::{Call, Options, Verdict, wire::ApiError};

const PLACES: [&str; 4] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80", "tg:web:8080"];

fn shop(seed: u64) -> Stage {
    let stage = Stage::with(Options { seed, ..Options::default() }, &[]);
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1").instance("web-2");
    for place in PLACES {
        stage.registered("web-1", place).registered("web-2", place);
    }
    stage
}

/// Stops and starts the instance under a fault; answers how many calls of the function there were.
async fn restart_under(stage: &Stage, what: &str, fault: impl FnMut(&Call) -> Verdict + Send + 'static) -> usize {
    let others = stage.places("web-2");
    let findings = stage.watch_losses("web-1", &PLACES);
    let guard = stage.sandbox.fault(fault);
    stage.stop_and_rest("web-1").await;
    let all = PLACES.map(str::to_owned).to_vec();
    assert_eq!((stage.places("web-1").len(), stage.held("web-1")), (0, all), "{what}\n{}", stage.describe());
    stage.start_and_rest("web-1").await;
    drop(guard);
    assert_eq!(stage.places("web-1"), PLACES, "{what}\n{}", stage.describe());
    assert_eq!(stage.held("web-1"), Vec::<String>::new(), "{what}\n{}", stage.describe());
    assert_eq!(stage.places("web-2"), others, "{what}");
    assert_eq!(findings.all(), Vec::<String>::new(), "{what}");
    stage.calls().len()
}

/// A rule that strikes the function's `k`-th call, and says whether it did.
fn at_call(k: usize, verdict: Verdict) -> (impl FnMut(&Call) -> Verdict + Send, Arc<Mutex<Option<String>>>) {
    let struck = Arc::new(Mutex::new(None));
    let (mut seen, told) = (0, struck.clone());
    let rule = move |call: &Call| {
        if !call.access_key.starts_with("AKIAINSTANCESTATE") {
            return Verdict::Pass;
        }
        seen += 1;
        if seen != k {
            return Verdict::Pass;
        }
        *told.lock().expect("no panic in between") = Some(call.action.clone());
        verdict.clone()
    };
    (rule, struck)
}

/// Runs the scenario once for each call, with a verdict over that one.
async fn sweep(name: &str, verdict: Verdict) {
    let calls = restart_under(&shop(0x5eed), "without a fault", |_| Verdict::Pass).await;
    assert!(calls > 30, "{calls}");
    for k in 1..=calls {
        let (rule, struck) = at_call(k, verdict.clone());
        let what = format!("{name} at call {k}");
        restart_under(&shop(0x5eed), &what, rule).await;
        assert!(struck.lock().expect("no panic in between").is_some(), "{what}: the fault did not strike");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_function_dies_before_any_call() {
    sweep("killed before", Verdict::KillBefore).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_function_dies_after_any_call() {
    sweep("killed after", Verdict::KillAfter).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_any_call_is_refused() {
    sweep("refused", Verdict::Refuse(ApiError::sender("AccessDenied", "not today"))).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_any_answer_is_lost() {
    sweep("answer lost", Verdict::LoseAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_any_call_is_throttled() {
    sweep("throttled", Verdict::Refuse(ApiError::throttled(sandbox::wire::Service::ElbV2))).await;
}

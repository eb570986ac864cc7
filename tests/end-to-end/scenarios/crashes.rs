//! Promises 1, 2 and 4 under crashes: a stop and a restart, and a member's way out of its group and back, with one fault at
//! every single call in turn.
//!
//! After every call, every registration of the instance is in place or held. In the end, after the events have come again, every
//! registration is back and no tag holds any. No hook was completed too early, or left to run out of time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use end_to_end::{Stage, is_by, places};
use sandbox::{
    Call, Options, Span, Verdict,
    auto_scaling::{self, ActionResult, Ending, GroupSpec, HookSpec, LifecycleState, PoolState, WarmPool},
    deployment::{INSTANCE_STATE, LIFECYCLE},
    elb,
    wire::ApiError,
};

use crate::lifecycle::watch_completions;

const PLACES: [&str; 4] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80", "tg:web:8080"];

fn shop(seed: u64) -> Stage {
    let stage = Stage::with(Options { seed, ..Options::default() }, &[]);
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1").instance("web-2");
    for place in PLACES {
        stage.registered("web-1", place).registered("web-2", place);
    }
    stage
}

/// Stops and starts the instance under a fault, and returns the number of the function's calls.
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

/// Returns a rule that strikes the `k`-th call of a function, and a record of the struck call.
fn at_call(
    function: &'static str,
    k: usize,
    verdict: Verdict,
) -> (impl FnMut(&Call) -> Verdict + Send, Arc<Mutex<Option<String>>>) {
    let struck = Arc::new(Mutex::new(None));
    let (mut seen, told) = (0, struck.clone());
    let rule = move |call: &Call| {
        if !is_by(call, function) {
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
        let (rule, struck) = at_call(INSTANCE_STATE, k, verdict.clone());
        let what = format!("{name} at call {k}");
        restart_under(&shop(0x5eed), &what, rule).await;
        assert!(struck.lock().expect("no panic in between").is_some(), "{what}: the fault did not strike");
    }
    let calls = round_under("without a fault", |_| Verdict::Pass).await;
    assert!(calls > 50, "{calls}");
    for k in 1..=calls {
        let (rule, struck) = at_call(LIFECYCLE, k, verdict.clone());
        let what = format!("{name} at call {k} of a member's round");
        round_under(&what, rule).await;
        assert!(struck.lock().expect("no panic in between").is_some(), "{what}: the fault did not strike");
    }
}

/// Moves a member into its group, back to the warm pool without a stop, and into the group again, under a fault. Returns the
/// number of the function's calls.
async fn round_under(what: &str, fault: impl FnMut(&Call) -> Verdict + Send + 'static) -> usize {
    const PLACES: [&str; 2] = ["clb:shop", "tg:edge:443=eth0"];
    // Short waits mean few looks, and each call is struck in a run of its own.
    let becoming_healthy = Span::milliseconds(3_000, 4_000);
    let stage = Stage::with(Options { seed: 0x5eed, becoming_healthy, ..Options::default() }, &[]);
    stage.classic("shop").addresses_group("edge").drains("edge", 10);
    stage.world(|world| elb::drain_for(world, "shop", Some(Duration::from_secs(10)))).expect("a load balancer");
    let early = watch_completions(&stage, &PLACES);
    let guard = stage.sandbox.fault(fault);
    let declared = PLACES.join(" ");
    // A function that dies before its first call keeps its message for the queue's visibility timeout of 720 s.
    let hooks = [HookSpec::launching("elb-registrar-in"), HookSpec::terminating("elb-registrar-out")];
    let hooks = hooks.map(|hook| hook.heartbeat(900)).to_vec();
    let spec = GroupSpec { hooks, ..GroupSpec::new("fleet", &stage.subnet) }.desired(1);
    let spec = spec.tag("elb-registrar:register", &declared);
    stage.fleet(spec).rest().await;
    let pool = WarmPool { state: PoolState::Running, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "fleet", pool)).expect("a pool");
    let members = stage.member_states("fleet");
    let [(id, LifecycleState::InService)] = &members[..] else { panic!("{what}: {members:?}\n{}", stage.describe()) };
    let losses = stage.watch_losses_of(id.clone(), &PLACES);
    stage.wants("fleet", 0).rest().await;
    let (places, held) = (stage.world(|world| places(world, id)), stage.held_by(id));
    assert_eq!((places.len(), held.len()), (0, PLACES.len()), "{what}\n{}", stage.describe());
    stage.wants("fleet", 1).rest().await;
    assert_eq!(stage.world(|world| end_to_end::places(world, id)), PLACES, "{what}\n{}", stage.describe());
    drop(guard);
    let ended = stage.ended_actions();
    assert!(
        ended.iter().all(|ended| matches!(ended.ending, Ending::Completed(ActionResult::Continue))),
        "{what}: {ended:?}"
    );
    assert_eq!((ended.len(), early.all(), losses.all()), (3, vec![], vec![]), "{what}");
    stage.calls_of(LIFECYCLE).len()
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

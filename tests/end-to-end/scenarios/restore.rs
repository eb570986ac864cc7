//! Giving back everything that is held: for leaving, or in an emergency.

use std::{collections::BTreeSet, time::Duration};

use end_to_end::Stage;
use registrar::{
    aws::clients::Clients,
    config::{Mode, Scope},
    engine::Engine,
    workflow::{Given, Restored},
};
use sandbox::{
    Call, elbv2,
    fault::{Verdict, kth},
    wire::ApiError,
};

use super::lifecycle::not_today;

/// What web-1 holds on the stage.
const HELD: [&str; 3] = ["clb:shop", "tg:edge=eth0", "tg:web"];

/// Returns a stage on which functions observe, as after a deployment for leaving: web-1 runs and holds, web-2 is stopped and holds, web-3
/// is ignored and holds.
async fn stage() -> Stage {
    let stage = Stage::new();
    stage.classic("shop").classic("till").instances_group("web").addresses_group("edge");
    stage.instance("web-1").instance("web-2").instance("web-3");
    stage.registered_at("web-1", &HELD).registered("web-2", "clb:shop").registered("web-3", "clb:shop");
    for instance in ["web-1", "web-2", "web-3"] {
        stage.stop_and_rest(instance).await;
        assert!(!stage.held(instance).is_empty() && stage.places(instance).is_empty(), "{}", stage.describe());
    }
    stage.deliver_only(&[]);
    stage.start_and_rest("web-1").await.start_and_rest("web-3").await;
    stage.tagged("web-3", "elb-registrar:ignore", "").tagged("web-1", "elb-registrar:register", "clb:till");
    stage.sandbox.advance(Duration::from_secs(600)).await;
    stage
}

fn engine(stage: &Stage, mode: Mode) -> Engine {
    Engine::new(Clients::new(&stage.operator_sdk()).into(), mode, Scope::All)
}

/// Runs until nothing is left that time brings, as the command does.
async fn restore(stage: &Stage) -> Restored {
    restore_from(stage, &engine(stage, Mode::Enforce), Given::default()).await
}

/// Goes on so, after a run that gave something.
pub(crate) async fn restore_from(stage: &Stage, engine: &Engine, mut given: Given) -> Restored {
    for _ in 0..20 {
        let restored = engine.restore(&given).await.expect("a report");
        let Some(wait) = restored.again else { return restored };
        given.clone_from(&restored.given);
        stage.sandbox.advance(wait).await;
    }
    panic!("it never ends: {}", stage.describe());
}

/// Returns the calls that change something.
fn writes(stage: &Stage, from: usize) -> Vec<Call> {
    let is_write = |call: &&Call| !call.action.starts_with("Describe");
    stage.world(|world| world.calls[from..].iter().filter(is_write).cloned().collect())
}

#[tokio::test(start_paused = true)]
async fn what_runs_gets_back_what_it_holds_and_no_more() {
    let stage = stage().await;
    let before = stage.world(|world| world.calls.len());
    let Restored { report, has_failed, .. } = restore(&stage).await;
    assert_eq!(
        (stage.places("web-1").len(), stage.held("web-1").len(), has_failed),
        (3, 0, false),
        "{}",
        stage.describe()
    );
    assert!(!stage.places("web-1").contains(&"clb:till".to_owned()), "it is declared, and not held");
    for (instance, words) in [("web-2", "the instance is stopped: its tags keep"), ("web-3", "elb-registrar:ignore")] {
        assert!(stage.places(instance).is_empty() && !stage.held(instance).is_empty(), "{}", stage.describe());
        let part = serde_json::to_string(&report.instances[stage.id(instance).as_str()]).expect("JSON");
        assert!(part.contains(words), "{part}");
    }
    let kinds: BTreeSet<String> = writes(&stage, before).into_iter().map(|call| call.action).collect();
    assert!(kinds.iter().all(|action| action.starts_with("Register") || action == "DeleteTags"), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_tells_what_would_be_given_back() {
    let stage = stage().await;
    let before = stage.world(|world| world.calls.len());
    let Restored { report, again, .. } =
        engine(&stage, Mode::Observe).restore(&Given::default()).await.expect("a report");
    let would = &report.instances[stage.id("web-1").as_str()].would_do;
    assert_eq!((would.len(), again), (3, None), "{would:?}");
    assert!(writes(&stage, before).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_loses_nothing_and_the_next_run_finishes() {
    let (first, made) = {
        let stage = stage().await;
        let first = stage.world(|world| world.calls.len());
        restore(&stage).await;
        (first, stage.world(|world| world.calls[first..].iter().map(|call| call.action.clone()).collect::<Vec<_>>()))
    };
    assert!(first > 0 && made.len() > 8, "{made:?}");
    for number in 0..made.len() {
        // Which of the calls of its kind it is.
        let k = made[..=number].iter().filter(|action| **action == made[number]).count();
        for verdict in [Verdict::Refuse(ApiError::receiver(403, "AccessDenied", "for a moment")), Verdict::LoseAnswer] {
            let stage = stage().await;
            let fault = stage.sandbox.fault(kth(&made[number], k, verdict.clone()));
            let run = engine(&stage, Mode::Enforce).restore(&Given::default()).await;
            let known = |place: &str| {
                let all = stage.held("web-1").into_iter().chain(stage.places("web-1"));
                all.into_iter().any(|known| known.starts_with(place.trim_end_matches("=eth0")))
            };
            let case = format!("{verdict:?} at call {k} of {}", made[number]);
            assert!(HELD.iter().all(|place| known(place)), "{case}: {run:?} {}", stage.describe());
            drop(fault);
            restore(&stage).await;
            assert_eq!(
                (stage.places("web-1").len(), stage.held("web-1").len()),
                (3, 0),
                "{case}: {}",
                stage.describe()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_to_an_instance_that_stops_meanwhile_is_taken_back() {
    let stage = stage().await;
    let (engine, id) = (engine(&stage, Mode::Enforce), stage.id("web-1"));
    let Restored { given, .. } = engine.restore(&Given::default()).await.expect("a report");
    assert_eq!((stage.places("web-1").len(), given.instances().count()), (3, 1));
    // Functions that observe leave that alone, and so must an operator who only gives back.
    stage.instances_group("own").registered("web-1", "tg:own");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1").len(), 4, "no function heard of it");
    let fault = stage.sandbox.fault(not_today("DeregisterTargets"));
    let Restored { given, again, .. } = engine.restore(&given).await.expect("a report");
    assert!(again.is_some() && given.instances().count() == 1, "what could not be taken back is not forgotten");
    drop(fault);
    let Restored { given, .. } = engine.restore(&given).await.expect("a report");
    assert_eq!(given.instances().count(), 0);
    assert_eq!(
        (stage.places("web-1"), stage.held("web-1").len()),
        (vec!["tg:own:80".to_owned()], 3),
        "{}",
        stage.describe()
    );
    stage
        .world(|world| elbv2::deregister(world, &elbv2::arn_of(world, "own").unwrap(), elbv2::Target::new(&id)))
        .unwrap();
    stage.start_and_rest("web-1").await;
    restore(&stage).await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (3, 0), "{}", stage.describe());
}

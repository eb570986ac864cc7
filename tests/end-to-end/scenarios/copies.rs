//! A copy of an instance that has all tags of its original, ours included: made from a backup, an image, or "launch more like
//! this" (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-more-like-this.html>).

use std::time::Duration;

use end_to_end::{Stage, state_change};
use sandbox::{
    auto_scaling::{ActionResult, GroupSpec, HookSpec},
    ec2::{self, Launch},
};
use serde_json::Value;

use super::lifecycle::LAUNCH;

/// Returns a launch with the tags of an instance that are ours.
fn copy_of(stage: &Stage, original: &str) -> Launch {
    let ours = stage.tags(original).into_iter().filter(|(key, _)| key.starts_with("elb-registrar:"));
    ours.fold(Launch::new(&stage.subnet), |launch, (key, value)| launch.tag(&key, &value))
}

/// Returns whether a report names an instance's copied tag for a person.
fn is_named(stage: &Stage, name: &str, report: &Value) -> bool {
    let named = report["instances"][stage.id(name)]["needs_a_person"].as_array().cloned().unwrap_or_default();
    named.iter().any(|because| because["why"].as_str().is_some_and(|why| why.contains("is older than the instance")))
}

/// Creates an instance with two registrations, stops it, and makes a copy of it some seconds later.
async fn stopped_and_copied(stage: &Stage, seconds: u64) {
    stage.instances_group("web").classic("shop").instance("web-1").registered_at("web-1", &["clb:shop", "tg:web"]);
    stage.stop_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(seconds)).await;
    stage.launch("copy", copy_of(stage, "web-1"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_stopped_instance_gets_no_traffic() {
    for seconds in [0, 5, 86_400] {
        let stage = Stage::new();
        stopped_and_copied(&stage, seconds).await;
        let tags = stage.tags("copy");
        let report = stage.invoke(state_change(&stage, "copy", "running")).await.expect("a report");
        assert!(is_named(&stage, "copy", &report), "{report:#}");
        let report = stage.sweep().await.expect("a report");
        assert!(is_named(&stage, "copy", &report), "{report:#}");
        stage.rest().await;
        assert_eq!((stage.places("copy"), stage.tags("copy")), (Vec::new(), tags), "{}", stage.describe());
        stage.start_and_rest("web-1").await;
        assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (2, 0), "{}", stage.describe());
        assert_eq!(stage.members("tg:web"), ["web-1:80"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_gets_its_own_registrations_back_and_no_others() {
    let stage = Stage::new();
    stopped_and_copied(&stage, 60).await;
    let copied = stage.tags("copy");
    stage.instances_group("staging").registered("copy", "tg:staging");
    for _ in 0..2 {
        stage.stop_and_rest("copy").await;
        assert_eq!(stage.places("copy"), Vec::<String>::new());
        stage.sandbox.advance(Duration::from_secs(3_600)).await;
        stage.start_and_rest("copy").await;
        assert_eq!((stage.places("copy"), stage.tags("copy")), (vec!["tg:staging:80".to_owned()], copied.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_from_before_its_originals_stop_holds_only_its_own() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    stage.launch("copy", copy_of(&stage, "web-1")).registered("copy", "tg:web:8080");
    for name in ["web-1", "copy"] {
        stage.sandbox.advance(Duration::from_secs(600)).await;
        stage.stop_and_rest(name).await;
    }
    stage.start_and_rest("copy").await;
    assert_eq!(stage.members("tg:web"), ["copy:8080"], "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.members("tg:web"), ["copy:8080", "web-1:80"], "{}", stage.describe());
    assert_eq!((stage.held("copy"), stage.held("web-1")), (Vec::new(), Vec::new()));
}

/// A launch template that was made from an instance has its tags, too.
#[tokio::test(start_paused = true)]
async fn launches_with_copied_tags_are_neither_registered_nor_abandoned() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web").stop_and_rest("web-1").await;
    let hook = HookSpec::launching(LAUNCH).heartbeat(300).by_default(ActionResult::Abandon);
    let spec = GroupSpec::new("fleet", &stage.subnet).hook(hook).desired(1);
    let ours = stage.tags("web-1").into_iter().filter(|(key, _)| key.starts_with("elb-registrar:"));
    stage.fleet(ours.fold(spec, |spec, (key, value)| spec.tag(&key, &value))).rest().await;
    let ended = stage.ended_actions();
    assert_eq!(ended.len(), 1, "the first launch is not abandoned: {ended:?}");
    assert_eq!(stage.members("tg:web"), Vec::<String>::new(), "{}", stage.describe());
    let id = stage.member_states("fleet").remove(0).0;
    assert!(stage.held_by(&id).len() == 1, "the tag stays");
    assert!(stage.world(|world| world.ec2.instance(&id).map(|i| i.state)) == Some(ec2::InstanceState::Running));
}

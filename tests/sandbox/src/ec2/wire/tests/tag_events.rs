//! The bus is told of changed tags.

use super::*;
use crate::{
    events::{self, Delivery, Event, Target},
    sqs,
};

/// A policy that lets EventBridge send.
const POLICY: &str = r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}}"#;

/// Returns a world with a rule for the keys of one prefix.
fn with_rule() -> Fixture {
    let aws = Fixture::new();
    let pattern = r#"{"source": ["aws.tag"], "detail-type": ["Tag Change on Resource"], "detail": {
        "service": ["ec2"], "resource-type": ["instance"], "changed-tag-keys": [{"prefix": "app:"}]}}"#;
    aws.sandbox.with(|world| {
        sqs::create_queue(world, "q", &[("Policy", POLICY)]).unwrap();
        events::put_rule(world, "tags", Some(pattern), None, true).unwrap();
        events::put_target(world, "tags", Target::new("q", &sqs::arn("q"))).unwrap();
    });
    aws
}

impl Fixture {
    fn told(&self) -> Vec<Event> {
        self.sandbox.with(|world| world.events.log.clone())
    }

    fn queued(&self) -> usize {
        self.sandbox.with(|world| world.sqs.queue("q").unwrap().messages().count())
    }
}

#[tokio::test(start_paused = true)]
async fn the_bus_is_told_of_changed_tags_with_all_of_now() {
    let aws = with_rule();
    let id = aws.running();
    let create =
        format!("CreateTags&ResourceId.1={id}&Tag.1.Key=app:drain&Tag.1.Value=1&Tag.2.Key=Name&Tag.2.Value=web");
    aws.ok(&create).await;
    let [event] = aws.told().try_into().unwrap();
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("aws.tag", "Tag Change on Resource"));
    assert_eq!(event.resources, [format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}")]);
    let detail = serde_json::json!({
        "changed-tag-keys": ["Name", "app:drain"], "service": "ec2", "resource-type": "instance", "version": 1,
        "tags": { "Name": "web", "app:drain": "1" },
    });
    assert_eq!(event.detail, detail);
    aws.ok(&create).await;
    assert_eq!(aws.told().len(), 1, "what is as it was is no change");
    aws.ok(&format!("DeleteTags&ResourceId.1={id}&Tag.1.Key=app:drain&Tag.1.Value=2")).await;
    assert_eq!(aws.told().len(), 1, "nothing was deleted");
    aws.ok(&format!("DeleteTags&ResourceId.1={id}&Tag.1.Key=app:drain")).await;
    let told = aws.told();
    assert_eq!((told.len(), &told[1].detail["version"]), (2, &2.into()));
    assert_eq!(told[1].detail["tags"], serde_json::json!({ "Name": "web" }));
    aws.seconds(2).await;
    assert_eq!(aws.queued(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_for_a_prefix_gets_no_other_keys() {
    let aws = with_rule();
    let (one, other) = (aws.running(), aws.running());
    aws.ok(&format!("CreateTags&ResourceId.1={one}&ResourceId.2={other}&Tag.1.Key=other:key&Tag.1.Value=1")).await;
    aws.ok(&format!("CreateTags&ResourceId.1={}&Tag.1.Key=app:key&Tag.1.Value=1", aws.subnet)).await;
    assert!(aws.told().is_empty());
    aws.ok(&format!("CreateTags&ResourceId.1={one}&ResourceId.2={other}&Tag.1.Key=app:key&Tag.1.Value=1")).await;
    assert_eq!(aws.told().len(), 2, "one for each resource");
}

#[tokio::test(start_paused = true)]
async fn an_event_about_tags_can_be_lost_or_come_twice() {
    for (delivery, queued) in [(Delivery::Lost, 0), (Delivery::Twice, 2)] {
        let aws = with_rule();
        let id = aws.running();
        aws.sandbox.with(|world| world.events.set_delivery(move |_| delivery));
        aws.ok(&format!("CreateTags&ResourceId.1={id}&Tag.1.Key=app:key&Tag.1.Value=1")).await;
        aws.seconds(2).await;
        assert_eq!(aws.queued(), queued);
    }
}

//! Amazon EventBridge: the default bus, its rules, and the way of an event to their targets.
//!
//! Delivery is best effort, as AWS says of the events that we live on. Each event takes its own time, so that two may swap
//! places. A test can lose, double and delay them ([`State::set_delivery`]).

mod pattern;
mod rule;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    ec2::{self, InstanceState},
    iam::{self, Access},
    lambda, sqs,
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

pub use pattern::Pattern;
pub use rule::{Rule, Schedule, Target, delete_rule, put_rule, put_target, rule_arn};
pub use wire::answer;

/// The sender, for the policies of queues and functions.
const SERVICE: &str = "events.amazonaws.com";

type DeliveryRule = Box<dyn FnMut(&Event) -> Delivery + Send>;

/// The bus, and the delivery of its events.
#[derive(Default)]
pub struct State {
    rules: BTreeMap<String, Rule>,
    delivery: Option<DeliveryRule>,
    dice: Option<fastrand::Rng>,
    /// Every event that was put on the bus, delivered or not; of those about tags only the ones that a rule wants.
    pub log: Vec<Event>,
    /// How many events about tags there were.
    about_tags: u64,
}

/// An event on the bus.
#[derive(Clone, Debug)]
pub struct Event {
    /// In the form of a UUID.
    pub id: String,
    /// Such as `EC2 Instance State-change Notification`.
    pub detail_type: String,
    /// Such as `aws.ec2`.
    pub source: String,
    /// When it happened. Events show whole seconds.
    pub time: Timestamp,
    /// ARNs.
    pub resources: Vec<String>,
    /// The facts of the event.
    pub detail: Value,
}

/// The delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It reaches every target once, after the usual delay.
    Normal,
    /// It reaches no target.
    Lost,
    /// It reaches every target twice, each time after a delay of its own.
    Twice,
    /// It reaches every target, this much later than usual.
    Late(Duration),
}

impl State {
    /// Decides over every event from now on.
    pub fn set_delivery(&mut self, decide: impl FnMut(&Event) -> Delivery + Send + 'static) {
        self.delivery = Some(Box::new(decide));
    }

    /// Lets every event come once from now on.
    pub fn reset_delivery(&mut self) {
        self.delivery = None;
    }

    /// Returns the rules, by name.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }
}

impl Event {
    /// Returns the document that patterns are matched against and that targets get.
    pub fn to_json(&self) -> Value {
        json!({
            "version": "0",
            "id": self.id,
            "detail-type": self.detail_type,
            "source": self.source,
            "account": ACCOUNT,
            "time": self.time.to_rfc3339_opts(SecondsFormat::Secs, true),
            "region": REGION,
            "resources": self.resources,
            "detail": self.detail,
        })
    }
}

/// Does the service's work when an instance has reached a state.
pub fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    let detail = json!({ "instance-id": instance_id, "state": state.name() });
    let arn = ec2::instance_arn(instance_id);
    emit(world, "aws.ec2", "EC2 Instance State-change Notification", vec![arn], detail);
}

/// Puts the event of a change of tags on the bus, if a rule wants it. A fleet writes tags by the thousand, and each event has all
/// tags of its instance: events that no target gets take no memory, no decision of a test about their delivery, and no number.
pub(crate) fn tags_changed(world: &mut World, arn: String, detail: Value) {
    world.events.about_tags += 1;
    let event = Event {
        // Numbered apart, so that a write of a tag shifts the id of nothing else.
        id: format!("00000000-0000-4000-9000-{:012x}", world.events.about_tags),
        detail_type: "Tag Change on Resource".to_owned(),
        source: "aws.tag".to_owned(),
        time: world.now(),
        resources: vec![arn],
        detail,
    };
    let document = event.to_json();
    if world.events.rules.values().any(|rule| rule.wants(&document)) {
        put(world, event);
    }
}

/// Puts an event of this time on the bus, and returns its id.
pub fn emit(world: &mut World, source: &str, detail_type: &str, resources: Vec<String>, detail: Value) -> String {
    let event = Event {
        id: world.invent_uuid(),
        detail_type: detail_type.to_owned(),
        source: source.to_owned(),
        time: world.now(),
        resources,
        detail,
    };
    let id = event.id.clone();
    put(world, event);
    id
}

fn put(world: &mut World, event: Event) {
    let delivery = match &mut world.events.delivery {
        Some(decide) => decide(&event),
        None => Delivery::Normal,
    };
    let document = event.to_json();
    let wanting = world.events.rules.values().filter(|rule| rule.wants(&document));
    let targets: Vec<(String, Target)> =
        wanting.flat_map(|rule| rule.targets.values().map(|target| (rule.name.clone(), target.clone()))).collect();
    world.events.log.push(event);
    let (times, later) = match delivery {
        Delivery::Normal => (1, Duration::ZERO),
        Delivery::Lost => (0, Duration::ZERO),
        Delivery::Twice => (2, Duration::ZERO),
        Delivery::Late(later) => (1, later),
    };
    for (rule, target) in targets {
        for _ in 0..times {
            send_later(world, rule.clone(), target.clone(), document.clone(), later);
        }
    }
}

fn send_later(world: &mut World, rule: String, target: Target, document: Value, later: Duration) {
    let seed = world.options.seed;
    let dice = world.events.dice.get_or_insert_with(|| World::dice(seed, "events"));
    let wait = world.options.event_delay.draw(dice) + later;
    world.after(wait, move |world| deliver(world, &rule, &target, &document));
}

/// Hands an event to a target. If that fails, it goes to the target's dead-letter queue.
///
/// EventBridge retries for 24 hours if a target is busy. Targets of the sandbox never are, and EventBridge gives up a target that
/// is gone at once, too.
fn deliver(world: &mut World, rule: &str, target: &Target, document: &Value) {
    let document = target.input.as_ref().unwrap_or(document);
    let outcome = match (sqs::name_of_arn(&target.arn), lambda::name_of_arn(&target.arn)) {
        (Some(queue), _) => {
            let group = target.message_group.clone();
            send(world, rule, queue, sqs::Draft { body: document.to_string(), group, ..Default::default() })
        }
        (_, Some(function)) => invoke(world, rule, function, document),
        (None, None) => Ok(()),
    };
    let Err(error) = outcome else { return };
    let Some(queue) = target.dead_letter_queue.as_deref().and_then(sqs::name_of_arn) else { return };
    let attributes = [
        ("RULE_ARN", rule_arn(rule)),
        ("TARGET_ARN", target.arn.clone()),
        ("ERROR_CODE", "NO_PERMISSIONS_OR_RESOURCE".to_owned()),
        ("ERROR_MESSAGE", error.message),
    ];
    let text = |value| sqs::Attribute { data_type: "String".to_owned(), value };
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    // If that queue is gone as well, the event is lost, as at AWS.
    let _ = send(world, rule, queue, sqs::Draft { body: document.to_string(), attributes, ..Default::default() });
}

/// Returns the facts about EventBridge that a resource's policy can check when EventBridge acts for a rule.
fn access(action: &str, resource: &str, rule: &str) -> Access {
    let access = Access::new(action, resource).knowing("aws:SourceArn", [rule_arn(rule)]);
    access.knowing("aws:SourceAccount", [ACCOUNT.to_owned()])
}

fn invoke(world: &mut World, rule: &str, function: &str, document: &Value) -> Result<(), ApiError> {
    let policy = world.lambda.function(function).and_then(|spec| spec.policy.clone());
    let access = access("lambda:InvokeFunction", &lambda::arn(function), rule);
    if world.lambda.function(function).is_some()
        && !iam::service_may(world, SERVICE, function, policy.as_ref(), &access)
    {
        return Err(not_permitted(&access));
    }
    lambda::invoke_async(world, function, document.clone()).map(drop)
}

fn not_permitted(access: &Access) -> ApiError {
    let Access { action, resource, .. } = access;
    let message = format!("{SERVICE} is not authorized to perform: {action} on resource: {resource}");
    ApiError::receiver(403, "AccessDenied", message)
}

fn send(world: &mut World, rule: &str, queue: &str, draft: sqs::Draft) -> Result<(), ApiError> {
    let policy = world.sqs.queue(queue).map(|found| found.settings.policy.clone());
    let access = access("sqs:SendMessage", &sqs::arn(queue), rule);
    if policy.is_some_and(|policy| !iam::service_may(world, SERVICE, queue, policy.as_ref(), &access)) {
        return Err(not_permitted(&access));
    }
    sqs::send(world, queue, sqs::Draft { sender: "AIDAEVENTBRIDGE00000A".to_owned(), ..draft }).map(drop)
}

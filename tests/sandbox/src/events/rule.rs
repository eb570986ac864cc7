//! Rules of the bus: which events go to which targets, and events on a schedule.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Event, Pattern, send_later};
use crate::{
    lambda, sqs,
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

/// The most targets of a rule.
const MOST_TARGETS: usize = 5;

/// A rule of the default bus.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The pattern of its events, as written.
    pub pattern_text: Option<String>,
    /// The pattern of its events.
    pub pattern: Option<Pattern>,
    /// The schedule on which it acts by itself.
    pub schedule: Option<Schedule>,
    /// Whether it acts at all.
    pub enabled: bool,
    /// For people.
    pub description: Option<String>,
    /// By id.
    pub targets: BTreeMap<String, Target>,
    /// The number of the PutRule that made it: the ticks of an older schedule stop.
    version: u64,
}

/// `rate(5 minutes)`; cron expressions are not modelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As written.
    pub text: String,
    /// The time between two events.
    pub every: Duration,
}

/// A target of a rule's events.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name within the rule.
    pub id: String,
    /// Of a queue or a function.
    pub arn: String,
    /// Its input instead of the event.
    pub input: Option<Value>,
    /// The ARN of the queue for events that cannot be handed over.
    pub dead_letter_queue: Option<String>,
    /// The message group in a FIFO queue.
    pub message_group: Option<String>,
    /// The target as the caller put it, for ListTargetsByRule.
    pub(super) shown: Value,
}

impl Rule {
    pub(super) fn wants(&self, document: &Value) -> bool {
        self.enabled && self.pattern.as_ref().is_some_and(|pattern| pattern.matches(document))
    }
}

impl Target {
    /// Returns a target that gets the bare event.
    pub fn new(id: &str, arn: &str) -> Self {
        let shown = json!({ "Id": id, "Arn": arn });
        Self {
            id: id.to_owned(),
            arn: arn.to_owned(),
            input: None,
            dead_letter_queue: None,
            message_group: None,
            shown,
        }
    }

    /// Sends events to a FIFO queue as messages of a group.
    #[must_use]
    pub fn with_message_group(mut self, group: &str) -> Self {
        self.shown["SqsParameters"] = json!({ "MessageGroupId": group });
        self.message_group = Some(group.to_owned());
        self
    }

    /// Sends events that cannot be handed over to a queue.
    #[must_use]
    pub fn with_dead_letter_queue(mut self, arn: &str) -> Self {
        self.shown["DeadLetterConfig"] = json!({ "Arn": arn });
        self.dead_letter_queue = Some(arn.to_owned());
        self
    }

    /// Gives the target a constant as its input.
    #[must_use]
    pub fn with_input(mut self, input: Value) -> Self {
        self.shown["Input"] = input.to_string().into();
        self.input = Some(input);
        self
    }
}

impl Schedule {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::sender("ValidationException", "Parameter ScheduleExpression is not valid.");
        if text.starts_with("cron(") {
            return Err(ApiError::not_modelled("cron expressions"));
        }
        let rate = text.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
        let (number, unit) = rate.split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        // AWS insists on the singular for one, and on the plural for more.
        let seconds = match (unit, number) {
            ("minute", 1) | ("minutes", 2..) => 60,
            ("hour", 1) | ("hours", 2..) => 3_600,
            ("day", 1) | ("days", 2..) => 86_400,
            _ => return Err(wrong()),
        };
        Ok(Self { text: text.to_owned(), every: Duration::from_secs(number * seconds) })
    }
}

/// Makes a rule, or changes one and keeps its targets.
///
/// # Errors
/// Returns the errors of PutRule.
pub fn put_rule(
    world: &mut World,
    name: &str,
    pattern: Option<&str>,
    schedule: Option<&str>,
    enabled: bool,
) -> Result<(), ApiError> {
    if pattern.is_none() && schedule.is_none() {
        let message = "Parameter(s) EventPattern or ScheduleExpression must be specified.";
        return Err(ApiError::sender("ValidationException", message));
    }
    let version = world.invent_number();
    let schedule = schedule.map(Schedule::parse).transpose()?;
    let every = schedule.as_ref().filter(|_| enabled).map(|schedule| schedule.every);
    let rule = Rule {
        name: name.to_owned(),
        pattern_text: pattern.map(str::to_owned),
        pattern: pattern.map(Pattern::parse).transpose()?,
        schedule,
        enabled,
        description: None,
        targets: world.events.rules.get(name).map(|old| old.targets.clone()).unwrap_or_default(),
        version,
    };
    world.events.rules.insert(name.to_owned(), rule);
    if let Some(every) = every {
        let name = name.to_owned();
        world.after(every, move |world| tick(world, &name, version, every));
    }
    Ok(())
}

/// Gives a rule a target, or changes the one of this id.
///
/// # Errors
/// Returns the errors of PutTargets.
pub fn put_target(world: &mut World, rule: &str, target: Target) -> Result<(), ApiError> {
    if sqs::name_of_arn(&target.arn).is_none() && lambda::name_of_arn(&target.arn).is_none() {
        return Err(ApiError::not_modelled(format!("the target {}", target.arn)));
    }
    check_queues_of(world, &target)?;
    let found = world.events.rules.get_mut(rule).ok_or_else(|| no_such_rule(rule))?;
    if found.targets.len() >= MOST_TARGETS && !found.targets.contains_key(&target.id) {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ApiError::sender("LimitExceededException", message));
    }
    found.targets.insert(target.id.clone(), target);
    Ok(())
}

/// Refuses a FIFO queue that no event would reach, and a FIFO queue for dead letters ("a standard Amazon SQS queue": EventBridge
/// guide, "Using dead-letter queues to process undelivered events",
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html>).
///
/// "If you specify an SQS FIFO queue as a target, the queue must have content-based deduplication enabled" (API reference,
/// SqsParameters, <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_SqsParameters.html>). The fate of an event
/// without it is not known.
fn check_queues_of(world: &World, target: &Target) -> Result<(), ApiError> {
    let queue = |arn: &str| sqs::name_of_arn(arn).and_then(|name| world.sqs.queue(name));
    if target.dead_letter_queue.as_deref().is_some_and(|arn| arn.ends_with(sqs::FIFO_SUFFIX)) {
        return Err(ApiError::not_modelled("a FIFO queue for the dead letters of a rule, which takes standard queues"));
    }
    let is_fifo = target.arn.ends_with(sqs::FIFO_SUFFIX);
    match &target.message_group {
        None if is_fifo => {
            let message = format!("Parameter(s) SqsParameters must be specified for target: {}.", target.id);
            Err(ApiError::sender("ValidationException", message))
        }
        Some(_) if !is_fifo => Err(ApiError::not_modelled("fair queues (SqsParameters of a standard queue)")),
        Some(_) => match queue(&target.arn).and_then(|queue| queue.settings.fifo.as_ref()) {
            Some(fifo) if !fifo.content_based_deduplication => {
                Err(ApiError::not_modelled("a FIFO queue without content-based deduplication as a rule's target"))
            }
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

/// Deletes a rule. A missing one is no error.
///
/// # Errors
/// Returns the errors of DeleteRule.
pub fn delete_rule(world: &mut World, name: &str) -> Result<(), ApiError> {
    if world.events.rules.get(name).is_some_and(|rule| !rule.targets.is_empty()) {
        let message = "Rule can't be deleted since it has targets.";
        return Err(ApiError::sender("ValidationException", message));
    }
    world.events.rules.remove(name);
    Ok(())
}

/// Returns the ARN of a rule.
pub fn rule_arn(name: &str) -> String {
    format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}")
}

pub(super) fn no_such_rule(name: &str) -> ApiError {
    let message = format!("Rule {name} does not exist on EventBus default.");
    ApiError::sender("ResourceNotFoundException", message)
}

/// Sends the event of a schedule to the rule's own targets, and not over the bus.
fn tick(world: &mut World, name: &str, version: u64, every: Duration) {
    let Some(rule) = world.events.rules.get(name).filter(|rule| rule.version == version) else { return };
    let targets: Vec<Target> = rule.targets.values().cloned().collect();
    let event = Event {
        id: world.invent_uuid(),
        detail_type: "Scheduled Event".to_owned(),
        source: "aws.events".to_owned(),
        time: world.now(),
        resources: vec![rule_arn(name)],
        detail: json!({}),
    };
    for target in targets {
        send_later(world, name.to_owned(), target, event.to_json(), Duration::ZERO);
    }
    world.events.log.push(event);
    let name = name.to_owned();
    world.after(every, move |world| tick(world, &name, version, every));
}

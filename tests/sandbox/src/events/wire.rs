//! EventBridge's operations (`awsJson1.1`, API 2015-10-07), on the default bus.

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Event, Pattern, Rule, put,
    rule::{Target, delete_rule, no_such_rule, put_rule, put_target, rule_arn},
};
use crate::{
    wire::{Answer, ApiError, Request},
    world::{ACCOUNT, World},
};

/// Does a call's work.
pub fn answer(world: &mut World, request: &Request) -> Result<Answer, ApiError> {
    let value = match request.action.as_str() {
        "PutEvents" => put_events(world, request),
        "PutRule" => make_rule(world, request),
        "PutTargets" => put_targets(world, request),
        "RemoveTargets" => remove_targets(world, request),
        "DeleteRule" => {
            let input: RuleInput = request.read()?;
            on_default_bus(input.event_bus_name.as_deref())?;
            delete_rule(world, &input.name).map(|()| Value::Null)
        }
        "ListRules" => list_rules(world, request),
        "DescribeRule" => {
            let input: RuleInput = request.read()?;
            on_default_bus(input.event_bus_name.as_deref())?;
            world.events.rules.get(&input.name).map(rule_json).ok_or_else(|| no_such_rule(&input.name))
        }
        "ListTargetsByRule" => {
            let input: ListTargetsByRule = request.read()?;
            on_default_bus(input.event_bus_name.as_deref())?;
            let rule = world.events.rules.get(&input.rule).ok_or_else(|| no_such_rule(&input.rule))?;
            Ok(json!({ "Targets": rule.targets.values().map(|target| &target.shown).collect::<Vec<_>>() }))
        }
        "TestEventPattern" => test_event_pattern(request),
        action => Err(ApiError::not_modelled(format!("the operation {action} of EventBridge"))),
    };
    value.map(Answer::Json)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    /// Seconds since 1970, as this protocol writes times.
    time: Option<f64>,
    source: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
}

fn put_events(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: PutEvents = request.read()?;
    if !(1..=10).contains(&input.entries.len()) {
        let message = "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10";
        return Err(ApiError::sender("ValidationException", message));
    }
    let mut entries = Vec::new();
    for entry in input.entries {
        on_default_bus(entry.event_bus_name.as_deref())?;
        entries.push(match read_entry(world, entry) {
            Ok(event) => {
                let id = event.id.clone();
                put(world, event);
                json!({ "EventId": id })
            }
            Err(reason) => json!({ "ErrorCode": reason.0, "ErrorMessage": reason.1 }),
        });
    }
    let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    Ok(json!({ "FailedEntryCount": failed, "Entries": entries }))
}

fn read_entry(world: &mut World, entry: Entry) -> Result<Event, (&'static str, &'static str)> {
    let required = |value: Option<String>, message| value.filter(|v| !v.is_empty()).ok_or(("InvalidArgument", message));
    // EventBridge refuses a source that begins with `aws.`. Here a person can send an event in the name of a service.
    let source = required(entry.source, "Parameter Source is not valid. Reason: Source is a required argument.")?;
    let detail_type =
        required(entry.detail_type, "Parameter DetailType is not valid. Reason: DetailType is a required argument.")?;
    let detail = required(entry.detail, "Parameter Detail is not valid. Reason: Detail is a required argument.")?;
    let detail: Value = serde_json::from_str(&detail)
        .ok()
        .filter(Value::is_object)
        .ok_or(("MalformedDetail", "Detail is malformed."))?;
    let time = entry.time.and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1_000.0) as i64));
    let id = world.invent_uuid();
    Ok(Event { id, detail_type, source, time: time.unwrap_or(world.now()), resources: entry.resources, detail })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutRule {
    name: String,
    event_pattern: Option<String>,
    schedule_expression: Option<String>,
    state: Option<String>,
    description: Option<String>,
    event_bus_name: Option<String>,
}

fn make_rule(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: PutRule = request.read()?;
    on_default_bus(input.event_bus_name.as_deref())?;
    let enabled = match input.state.as_deref() {
        None | Some("ENABLED") => true,
        Some("DISABLED") => false,
        Some(state) => return Err(ApiError::not_modelled(format!("the rule state {state}"))),
    };
    put_rule(world, &input.name, input.event_pattern.as_deref(), input.schedule_expression.as_deref(), enabled)?;
    if let Some(rule) = world.events.rules.get_mut(&input.name) {
        rule.description = input.description;
    }
    Ok(json!({ "RuleArn": rule_arn(&input.name) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutTargets {
    rule: String,
    targets: Vec<Value>,
    event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TargetInput {
    id: String,
    arn: String,
    input: Option<String>,
    sqs_parameters: Option<SqsParameters>,
    dead_letter_config: Option<DeadLetterConfig>,
    /// A target of the sandbox takes its event, or is gone: the sandbox never retries.
    #[serde(rename = "RetryPolicy")]
    _retry_policy: Option<Value>,
    /// Permissions are not checked.
    #[serde(rename = "RoleArn")]
    _role_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqsParameters {
    message_group_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeadLetterConfig {
    arn: Option<String>,
}

fn put_targets(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: PutTargets = request.read()?;
    on_default_bus(input.event_bus_name.as_deref())?;
    for shown in input.targets {
        let read: TargetInput = serde_json::from_value(shown.clone())
            .map_err(|e| ApiError::not_modelled(format!("a target of PutTargets: {e}")))?;
        let constant = read.input.map(|text| {
            serde_json::from_str(&text).map_err(|_| {
                ApiError::sender("ValidationException", format!("JSON syntax error in input for target {}", read.id))
            })
        });
        let dead_letter_queue = read.dead_letter_config.and_then(|config| config.arn);
        let message_group = read.sqs_parameters.map(|parameters| parameters.message_group_id);
        let constant = constant.transpose()?;
        let target = Target { id: read.id, arn: read.arn, input: constant, dead_letter_queue, message_group, shown };
        put_target(world, &input.rule, target)?;
    }
    Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RemoveTargets {
    rule: String,
    ids: Vec<String>,
    event_bus_name: Option<String>,
    /// For managed rules only. The sandbox has none.
    #[serde(rename = "Force")]
    _force: Option<bool>,
}

fn remove_targets(world: &mut World, request: &Request) -> Result<Value, ApiError> {
    let input: RemoveTargets = request.read()?;
    on_default_bus(input.event_bus_name.as_deref())?;
    let rule = world.events.rules.get_mut(&input.rule).ok_or_else(|| no_such_rule(&input.rule))?;
    rule.targets.retain(|id, _| !input.ids.contains(id));
    Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleInput {
    name: String,
    event_bus_name: Option<String>,
    /// For managed rules only. The sandbox has none.
    #[serde(rename = "Force")]
    _force: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListRules {
    #[serde(default)]
    name_prefix: String,
    event_bus_name: Option<String>,
    /// One page holds 100, more than a test has.
    #[serde(rename = "Limit")]
    _limit: Option<u32>,
}

fn list_rules(world: &World, request: &Request) -> Result<Value, ApiError> {
    let input: ListRules = request.read()?;
    on_default_bus(input.event_bus_name.as_deref())?;
    let rules = world.events.rules().filter(|rule| rule.name.starts_with(&input.name_prefix));
    Ok(json!({ "Rules": rules.map(rule_json).collect::<Vec<_>>() }))
}

fn rule_json(rule: &Rule) -> Value {
    let mut shown = Map::new();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value.into());
        }
    };
    add("Name", Some(&rule.name));
    add("Arn", Some(&rule_arn(&rule.name)));
    add("EventPattern", rule.pattern_text.as_deref());
    add("ScheduleExpression", rule.schedule.as_ref().map(|schedule| schedule.text.as_str()));
    add("State", Some(if rule.enabled { "ENABLED" } else { "DISABLED" }));
    add("Description", rule.description.as_deref());
    add("EventBusName", Some("default"));
    Value::Object(shown)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListTargetsByRule {
    rule: String,
    event_bus_name: Option<String>,
    /// One page holds 100, and a rule has 5 targets at most.
    #[serde(rename = "Limit")]
    _limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TestEventPattern {
    event_pattern: String,
    event: String,
}

fn test_event_pattern(request: &Request) -> Result<Value, ApiError> {
    let input: TestEventPattern = request.read()?;
    let event: Value = serde_json::from_str(&input.event)
        .map_err(|e| ApiError::sender("InvalidEventPatternException", format!("Event is not valid. Reason: {e}")))?;
    // EventBridge wants a whole event, and names the missing field.
    for field in ["id", "account", "source", "time", "region", "resources", "detail-type"] {
        if event.get(field).is_none() {
            let message = format!("Parameter Event is not valid. Reason: {field} is a required argument.");
            return Err(ApiError::sender("ValidationException", message));
        }
    }
    Ok(json!({ "Result": Pattern::parse(&input.event_pattern)?.matches(&event) }))
}

fn on_default_bus(name: Option<&str>) -> Result<(), ApiError> {
    let arn = format!("arn:aws:events:{}:{ACCOUNT}:event-bus/default", crate::REGION);
    match name {
        None | Some("default") => Ok(()),
        Some(name) if name == arn => Ok(()),
        Some(name) => Err(ApiError::not_modelled(format!("the event bus {name}"))),
    }
}

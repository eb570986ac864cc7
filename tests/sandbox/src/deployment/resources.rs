//! Creating resources: each type reads all of its properties, and creates its resource in the sandbox.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    DeployError, Resource, function,
    properties::{Properties, text_of},
};
use crate::{
    events::{self, Target},
    iam::{BadPolicy, Policy, Role},
    lambda::{self, BatchSettings},
    sqs,
    wire::ApiError,
    world::{ACCOUNT, World},
};

/// Types that have no effect on the functions.
const WITHOUT_EFFECT: [&str; 4] =
    ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::Logs::LogGroup", "AWS::Logs::QueryDefinition"];

/// Customer managed policies that were created so far, by ARN.
pub(super) type Policies = BTreeMap<String, Policy>;

/// Creates a resource.
pub(super) fn create(
    world: &mut World,
    policies: &mut Policies,
    id: &str,
    resource: &Resource,
) -> Result<(), DeployError> {
    let (kind, name) = (resource.kind.as_str(), resource.identity.name.as_str());
    let mut properties = Properties::new(&format!("{id} ({kind})"), &resource.properties)?;
    match kind {
        "AWS::SQS::Queue" => queue(world, name, &mut properties)?,
        "AWS::SQS::QueuePolicy" => queue_policy(world, &mut properties)?,
        "AWS::Events::Rule" => rule(world, name, &mut properties)?,
        "AWS::IAM::ManagedPolicy" => {
            let document = properties.any("PolicyDocument").unwrap_or_default();
            properties.without_effect(&["Description", "ManagedPolicyName", "Path"]);
            policies.insert(resource.identity.reference.clone(), Policy::of_role(name, &document)?);
        }
        "AWS::IAM::Role" => role(world, policies, name, &mut properties)?,
        "AWS::Lambda::EventSourceMapping" => {
            let queue = properties.required("EventSourceArn")?;
            let function = properties.required("FunctionName")?;
            let function = lambda::name_of_arn(&function).unwrap_or(&function).to_owned();
            mapping(world, &queue, &function, &mut properties)?;
        }
        "AWS::Lambda::Permission" => permission(world, &mut properties)?,
        "AWS::Serverless::Function" => function::create(world, id, name, &mut properties)?,
        kind if WITHOUT_EFFECT.contains(&kind) => return Ok(()),
        kind => return Err(DeployError(format!("resources of the type {kind} are not modelled by the sandbox"))),
    }
    properties.finish()
}

fn queue(world: &mut World, name: &str, properties: &mut Properties) -> Result<(), DeployError> {
    let mut attributes = Vec::new();
    for (property, attribute) in [
        ("ContentBasedDeduplication", "ContentBasedDeduplication"),
        ("DeduplicationScope", "DeduplicationScope"),
        ("DelaySeconds", "DelaySeconds"),
        ("FifoQueue", "FifoQueue"),
        ("FifoThroughputLimit", "FifoThroughputLimit"),
        ("KmsDataKeyReusePeriodSeconds", "KmsDataKeyReusePeriodSeconds"),
        ("KmsMasterKeyId", "KmsMasterKeyId"),
        ("MaximumMessageSize", "MaximumMessageSize"),
        ("MessageRetentionPeriod", "MessageRetentionPeriod"),
        ("ReceiveMessageWaitTimeSeconds", "ReceiveMessageWaitTimeSeconds"),
        ("SqsManagedSseEnabled", "SqsManagedSseEnabled"),
        ("VisibilityTimeout", "VisibilityTimeout"),
    ] {
        attributes.extend(properties.text(property)?.map(|value| (attribute, value)));
    }
    for property in ["RedrivePolicy", "RedriveAllowPolicy"] {
        attributes.extend(properties.any(property).map(|policy| (property, policy.to_string())));
    }
    properties.without_effect(&["QueueName", "Tags"]);
    let attributes: Vec<(&str, &str)> = attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(sqs::create_queue(world, name, &attributes)?)
}

fn queue_policy(world: &mut World, properties: &mut Properties) -> Result<(), DeployError> {
    let document = properties.any("PolicyDocument").unwrap_or_default();
    let text = document.to_string();
    for url in properties.texts("Queues")? {
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        sqs::set_attributes(world, &name, &[("Policy", text.as_str())])?;
    }
    Ok(())
}

fn rule(world: &mut World, name: &str, properties: &mut Properties) -> Result<(), DeployError> {
    let pattern = properties.any("EventPattern").map(|pattern| pattern.to_string());
    let schedule = properties.text("ScheduleExpression")?;
    let is_enabled = match properties.text("State")?.as_deref() {
        None | Some("ENABLED") => true,
        Some("DISABLED") => false,
        Some(_) => return Err(properties.wrong("State", "ENABLED or DISABLED")),
    };
    if properties.text("EventBusName")?.is_some_and(|bus| bus != "default") {
        return Err(properties.wrong("EventBusName", "default"));
    }
    properties.without_effect(&["Description", "Name", "Tags"]);
    events::put_rule(world, name, pattern.as_deref(), schedule.as_deref(), is_enabled)?;
    for (index, target) in properties.list("Targets")?.iter().enumerate() {
        let mut target = Properties::new(&format!("target {} of {name}", index + 1), target)?;
        let made = self::target(&mut target)?;
        events::put_target(world, name, made)?;
        target.finish()?;
    }
    Ok(())
}

fn target(properties: &mut Properties) -> Result<Target, DeployError> {
    let target = Target::new(&properties.required("Id")?, &properties.required("Arn")?);
    let target = dead_letter_config(properties, target)?;
    let target = match properties.structure("SqsParameters")? {
        None => target,
        Some(mut parameters) => {
            let group = parameters.required("MessageGroupId")?;
            parameters.finish()?;
            target.with_message_group(&group)
        }
    };
    let input = properties.text("Input")?;
    retry_policy(properties)?;
    match input {
        None => Ok(target),
        Some(input) => {
            let constant = serde_json::from_str(&input).map_err(|_| properties.wrong("Input", "JSON"))?;
            Ok(target.with_input(constant))
        }
    }
}

/// Sends events that cannot be handed over to a queue.
pub(super) fn dead_letter_config(properties: &mut Properties, target: Target) -> Result<Target, DeployError> {
    let Some(mut config) = properties.structure("DeadLetterConfig")? else { return Ok(target) };
    let queue = config.required("Arn")?;
    config.finish()?;
    Ok(target.with_dead_letter_queue(&queue))
}

/// The sandbox never retries (see [`events::Target`]), but it refuses whatever EventBridge refuses.
pub(super) fn retry_policy(properties: &mut Properties) -> Result<(), DeployError> {
    let Some(mut policy) = properties.structure("RetryPolicy")? else { return Ok(()) };
    if policy.number("MaximumRetryAttempts")?.is_some_and(|attempts| attempts > 185) {
        return Err(policy.wrong("MaximumRetryAttempts", "at most 185"));
    }
    if policy.number("MaximumEventAgeInSeconds")?.is_some_and(|age| !(60..=86_400).contains(&age)) {
        return Err(policy.wrong("MaximumEventAgeInSeconds", "from 60 to 86400"));
    }
    policy.finish()
}

/// Lets a queue's messages invoke a function, by the properties of a mapping or of SAM's event.
pub(super) fn mapping(
    world: &mut World,
    queue_arn: &str,
    function: &str,
    properties: &mut Properties,
) -> Result<(), DeployError> {
    let queue = sqs::name_of_arn(queue_arn).ok_or_else(|| DeployError(format!("{queue_arn} is no queue")))?.to_owned();
    let mut settings = BatchSettings { report_item_failures: false, ..BatchSettings::default() };
    if let Some(size) = properties.number("BatchSize")? {
        settings.batch_size = usize::try_from(size).unwrap_or(usize::MAX);
    }
    if let Some(window) = properties.number("MaximumBatchingWindowInSeconds")? {
        settings.window = Duration::from_secs(window);
    }
    for answer in properties.texts("FunctionResponseTypes")? {
        match answer.as_str() {
            "ReportBatchItemFailures" => settings.report_item_failures = true,
            _ => return Err(properties.wrong("FunctionResponseTypes", "ReportBatchItemFailures")),
        }
    }
    if let Some(mut scaling) = properties.structure("ScalingConfig")? {
        settings.maximum_concurrency = scaling.number("MaximumConcurrency")?.and_then(|most| most.try_into().ok());
        scaling.finish()?;
    }
    properties.without_effect(&["Tags"]);
    match properties.flag("Enabled")? {
        Some(false) => Ok(()),
        _ => Ok(lambda::map_queue(world, &queue, function, settings)?),
    }
}

fn permission(world: &mut World, properties: &mut Properties) -> Result<(), DeployError> {
    let function = properties.required("FunctionName")?;
    let function = lambda::name_of_arn(&function).unwrap_or(&function).to_owned();
    let (action, service) = (properties.required("Action")?, properties.required("Principal")?);
    let source = properties.text("SourceArn")?;
    let account = properties.text("SourceAccount")?;
    let conditions = [("aws:SourceArn", source), ("aws:SourceAccount", account)];
    let conditions = conditions.into_iter().filter_map(|(key, value)| Some((key, value?)));
    permit(world, &function, &action, &service, conditions.collect())
}

/// Lets a service invoke a function.
pub(super) fn permit(
    world: &mut World,
    function: &str,
    action: &str,
    service: &str,
    conditions: Vec<(&str, String)>,
) -> Result<(), DeployError> {
    let missing = || DeployError(format!("Function not found: {}", lambda::arn(function)));
    let mut spec = world.lambda.function(function).ok_or_else(missing)?.clone();
    // An account's id matches only itself.
    let conditions: serde_json::Map<String, Value> =
        conditions.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let mut statement = json!({
        "Effect": "Allow", "Principal": { "Service": service }, "Action": action, "Resource": lambda::arn(function),
    });
    if !conditions.is_empty() {
        statement["Condition"] = json!({ "StringLike": conditions });
    }
    let added = Policy::of_resource(function, &json!({ "Statement": [statement] }))?;
    match &mut spec.policy {
        Some(policy) => policy.statements.extend(added.statements),
        none => *none = Some(added),
    }
    lambda::create_function(world, spec);
    Ok(())
}

fn role(world: &mut World, policies: &Policies, name: &str, properties: &mut Properties) -> Result<(), DeployError> {
    let trust = properties.any("AssumeRolePolicyDocument").unwrap_or_default();
    if !trusts_lambda(&trust) {
        return Err(properties.wrong("AssumeRolePolicyDocument", "such that Lambda can assume the role"));
    }
    let mut role = Role::default();
    for arn in properties.texts("ManagedPolicyArns")? {
        let policy = policies.get(&arn).cloned().or_else(|| function::managed_policy(&arn));
        role.policies
            .push(policy.ok_or_else(|| DeployError(format!("the policy {arn} is not modelled by the sandbox")))?);
    }
    for policy in properties.list("Policies")? {
        let mut policy = Properties::new(&format!("a policy of {name}"), &policy)?;
        let (its_name, document) = (policy.required("PolicyName")?, policy.any("PolicyDocument").unwrap_or_default());
        policy.finish()?;
        role.policies.push(Policy::of_role(&its_name, &document)?);
    }
    // A boundary only takes away, and nothing says here what. So the sandbox takes it for one that allows what the role needs.
    if properties.text("PermissionsBoundary")?.is_some_and(|arn| !arn.contains(":policy/")) {
        return Err(properties.wrong("PermissionsBoundary", "the ARN of a managed policy"));
    }
    // The path is in the role's ARN: see `identity`.
    properties.without_effect(&["Description", "MaxSessionDuration", "Path", "RoleName", "Tags"]);
    world.iam.roles.insert(name.to_owned(), role);
    Ok(())
}

/// Returns whether a trust policy names Lambda, in this account. It has no resources, so it cannot be a [`Policy`].
fn trusts_lambda(document: &Value) -> bool {
    let has = |value: &Value, wanted: &str| match value {
        Value::Array(values) => values.iter().filter_map(text_of).any(|text| text == wanted),
        value => value == wanted,
    };
    // Lambda says for which account it assumes the role. Another condition is not modelled, so it counts as not met.
    let is_met = |condition: &Value| match condition {
        Value::Null => true,
        condition => *condition == json!({ "StringEquals": { "aws:SourceAccount": ACCOUNT } }),
    };
    let statements = document["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    statements.iter().any(|statement| {
        statement["Effect"] == "Allow"
            && has(&statement["Action"], "sts:AssumeRole")
            && has(&statement["Principal"]["Service"], "lambda.amazonaws.com")
            && is_met(&statement["Condition"])
    })
}

/// Returns the name of a role that a template made, from its ARN, which may have a path.
pub(super) fn role_in(world: &World, arn: &str) -> Result<String, DeployError> {
    let name = arn.rsplit('/').next().filter(|_| arn.starts_with(&format!("arn:aws:iam::{ACCOUNT}:role/")));
    let known = name.filter(|name| world.iam.roles.contains_key(*name));
    known.map(str::to_owned).ok_or_else(|| DeployError(format!("there is no role {arn}")))
}

impl From<ApiError> for DeployError {
    fn from(error: ApiError) -> Self {
        Self(error.to_string())
    }
}

impl From<BadPolicy> for DeployError {
    fn from(BadPolicy(why): BadPolicy) -> Self {
        Self(why)
    }
}

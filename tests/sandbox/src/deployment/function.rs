//! SAM's functions: the resources that `AWS::Serverless::Function` becomes (SAM specification, "Generated AWS CloudFormation
//! resources").

use std::{path::Path, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    DeployError, STACK,
    intrinsic::function_in,
    properties::{Properties, text_of},
    resources::{dead_letter_config, mapping, permit, retry_policy, role_in},
};
use crate::{
    events::{self, Target, rule_arn},
    iam::{self, Policy, Role},
    lambda::{self, FunctionSpec, LogSettings},
    sqs,
    world::World,
};

/// The caller of a function by a rule or a schedule.
const EVENTS: &str = "events.amazonaws.com";

/// Returns the name of the function's binary, by which the sandbox calls the function: the name that cargo-lambda is told to
/// build, otherwise the handler, otherwise the folder of the code.
pub(super) fn binary(id: &str, resource: &Value) -> Result<String, DeployError> {
    let properties = &resource["Properties"];
    let built = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
    // Every function of the custom runtime has this handler.
    let handler = properties["Handler"].as_str().filter(|handler| *handler != "bootstrap");
    let folder = properties["CodeUri"].as_str().and_then(|folder| Path::new(folder).file_name()?.to_str());
    let name = built.or(handler).or(folder).map(str::to_owned);
    name.ok_or_else(|| DeployError(format!("{id}: neither BuildProperties nor Handler nor CodeUri names its binary")))
}

/// Returns a function's properties together with those that all functions have: structures are merged, lists joined, and of two
/// other values the function's own counts.
pub(super) fn with_globals(globals: &Value, properties: &Value) -> Result<Value, DeployError> {
    let sections = globals.as_object().cloned().unwrap_or_default();
    match sections.keys().find(|name| *name != "Function") {
        Some(name) => Err(DeployError(format!("Globals.{name} is not modelled by the sandbox"))),
        None => Ok(merge(&globals["Function"], properties)),
    }
}

fn merge(global: &Value, own: &Value) -> Value {
    let is_call = |fields: &Map<String, Value>| function_in(fields).is_some();
    match (global, own) {
        (global, Value::Null) => global.clone(),
        (Value::Object(global), Value::Object(own)) if !is_call(global) && !is_call(own) => {
            let mut merged = global.clone();
            for (name, value) in own {
                let value = merge(global.get(name).unwrap_or(&Value::Null), value);
                merged.insert(name.clone(), value);
            }
            merged.into()
        }
        (Value::Array(global), Value::Array(own)) => global.iter().chain(own).cloned().collect::<Vec<_>>().into(),
        (_, own) => own.clone(),
    }
}

/// Creates a function, its role if it has none of its own, and the sources of its events.
pub(super) fn create(world: &mut World, id: &str, name: &str, properties: &mut Properties) -> Result<(), DeployError> {
    let mut spec = FunctionSpec::new(name);
    spec.timeout = Duration::from_secs(properties.number("Timeout")?.unwrap_or(3));
    if !(1..=900).contains(&spec.timeout.as_secs()) {
        return Err(properties.wrong("Timeout", "from 1 to 900"));
    }
    spec.memory = properties.number("MemorySize")?.unwrap_or(128);
    if !(128..=10_240).contains(&spec.memory) {
        return Err(properties.wrong("MemorySize", "from 128 to 10240"));
    }
    spec.reserved_concurrency = properties.number("ReservedConcurrentExecutions")?.and_then(|n| n.try_into().ok());
    spec.is_traced = match properties.text("Tracing")?.as_deref() {
        None | Some("PassThrough" | "Disabled") => false,
        Some("Active") => true,
        Some(_) => return Err(properties.wrong("Tracing", "Active, PassThrough or Disabled")),
    };
    spec.may_loop = match properties.text("RecursiveLoop")?.as_deref() {
        None | Some("Terminate") => false,
        Some("Allow") => true,
        Some(_) => return Err(properties.wrong("RecursiveLoop", "Allow or Terminate")),
    };
    spec.environment = environment(properties)?;
    spec.log = log(name, properties)?;
    // The architecture and the code have no effect here.
    properties.without_effect(&["Architectures", "CodeUri", "Description", "Handler", "Runtime", "Tags"]);
    let destination = event_invoke_config(&mut spec, properties)?;
    let events = properties.any("Events").unwrap_or_default().as_object().cloned().unwrap_or_default();
    let policies = properties.any("Policies");
    spec.role = Some(match properties.text("Role")? {
        // SAM adds nothing to a role that it did not make.
        Some(arn) => role_in(world, &arn)?,
        None => generated_role(world, id, &spec, policies, &events, destination.as_deref())?,
    });
    network(world, &spec, properties)?;
    lambda::create_function(world, spec);
    for (event, declaration) in &events {
        let of = format!("the event {event} of {id}");
        let mut declaration = Properties::new(&of, declaration)?;
        let kind = declaration.required("Type")?;
        let mut settings =
            declaration.structure("Properties")?.ok_or_else(|| declaration.wrong("Properties", "there"))?;
        declaration.finish()?;
        match kind.as_str() {
            "SQS" => {
                let queue = settings.required("Queue")?;
                mapping(world, &queue, name, &mut settings)?;
            }
            "Schedule" => schedule(world, name, &format!("{STACK}-{id}{event}"), &mut settings)?,
            _ => return Err(DeployError(format!("{of}: the type {kind} is not modelled by the sandbox"))),
        }
        settings.finish()?;
    }
    Ok(())
}

/// The permissions without which Lambda refuses a function in subnets (Lambda guide, "Giving Lambda functions access to resources in an
/// Amazon VPC", <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions>).
const OF_INTERFACES: [&str; 3] = ["CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface"];

/// Refuses subnets without security groups, and a role with which Lambda cannot make interfaces there. A call's way to AWS is not
/// modelled.
fn network(world: &mut World, spec: &FunctionSpec, properties: &mut Properties) -> Result<(), DeployError> {
    let Some(mut config) = properties.structure("VpcConfig")? else { return Ok(()) };
    for list in ["SubnetIds", "SecurityGroupIds"] {
        if config.texts(list)?.iter().all(String::is_empty) {
            return Err(config.wrong(list, "a list of ids"));
        }
    }
    config.finish()?;
    for action in OF_INTERFACES {
        if !iam::role_may(world, spec.role.as_deref(), &format!("ec2:{action}"), "*") {
            let why = format!("The provided execution role does not have permissions to call {action} on EC2");
            return Err(DeployError(why));
        }
    }
    Ok(())
}

fn environment(properties: &mut Properties) -> Result<std::collections::BTreeMap<String, String>, DeployError> {
    let Some(mut environment) = properties.structure("Environment")? else { return Ok(Default::default()) };
    let variables = environment.any("Variables").unwrap_or_default();
    environment.finish()?;
    let variables = variables.as_object().cloned().unwrap_or_default();
    let text = |(name, value): (String, Value)| {
        let text = text_of(&value).ok_or_else(|| DeployError(format!("the variable {name} is no text")))?;
        // Lambda sets these itself, and refuses a function that does (Lambda guide, "Reserved environment variables").
        match name.starts_with("AWS_") {
            true => Err(DeployError(format!("the variable {name} is reserved for Lambda"))),
            false => Ok((name, text)),
        }
    };
    variables.into_iter().map(text).collect()
}

fn log(function: &str, properties: &mut Properties) -> Result<LogSettings, DeployError> {
    let mut settings = LogSettings::of(function);
    let Some(mut config) = properties.structure("LoggingConfig")? else { return Ok(settings) };
    let group = config.text("LogGroup")?;
    let level = config.text("ApplicationLogLevel")?;
    let is_json = match config.text("LogFormat")?.as_deref() {
        None | Some("Text") => false,
        Some("JSON") => true,
        Some(_) => return Err(config.wrong("LogFormat", "JSON or Text")),
    };
    if level.is_some() && !is_json {
        return Err(config.wrong("ApplicationLogLevel", "left out, where LogFormat is Text"));
    }
    config.without_effect(&["SystemLogLevel"]);
    config.finish()?;
    settings.group = group.unwrap_or(settings.group);
    // INFO is the default of the format JSON.
    settings.level = is_json.then(|| level.unwrap_or_else(|| "INFO".to_owned()));
    Ok(settings)
}

/// Sets how asynchronous invocations are retried. Returns the ARN of the destination of those that fail.
fn event_invoke_config(spec: &mut FunctionSpec, properties: &mut Properties) -> Result<Option<String>, DeployError> {
    let Some(mut config) = properties.structure("EventInvokeConfig")? else { return Ok(None) };
    if let Some(retries) = config.number("MaximumRetryAttempts")? {
        let retries = u32::try_from(retries).ok().filter(|retries| *retries <= 2);
        spec.async_retries = retries.ok_or_else(|| config.wrong("MaximumRetryAttempts", "at most 2"))?;
    }
    if let Some(age) = config.number("MaximumEventAgeInSeconds")? {
        if !(60..=21_600).contains(&age) {
            return Err(config.wrong("MaximumEventAgeInSeconds", "from 60 to 21600"));
        }
        spec.async_age = Duration::from_secs(age);
    }
    let mut destination = None;
    if let Some(mut destinations) = config.structure("DestinationConfig")? {
        if let Some(mut on_failure) = destinations.structure("OnFailure")? {
            let arn = on_failure.required("Destination")?;
            if on_failure.text("Type")?.is_some_and(|kind| kind != "SQS") {
                return Err(on_failure.wrong("Type", "SQS"));
            }
            on_failure.finish()?;
            let queue = sqs::name_of_arn(&arn).ok_or_else(|| DeployError(format!("{arn} is no queue")))?;
            // "Amazon SQS – A standard SQS queue" (Lambda guide, "Capturing records of Lambda asynchronous invocations",
            // <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>).
            if queue.ends_with(sqs::FIFO_SUFFIX) {
                return Err(DeployError(format!("{arn} has to be a standard queue")));
            }
            spec.failure_queue = Some(queue.to_owned());
            destination = Some(arn);
        }
        destinations.finish()?;
    }
    config.finish()?;
    Ok(destination)
}

/// Returns the role that SAM makes for a function without one.
fn generated_role(
    world: &mut World,
    id: &str,
    spec: &FunctionSpec,
    policies: Option<Value>,
    events: &Map<String, Value>,
    destination: Option<&str>,
) -> Result<String, DeployError> {
    let mut role = Role::default();
    let mut managed = |name: &str| role.policies.extend(managed_policy(name));
    managed("AWSLambdaBasicExecutionRole");
    if events.values().any(|event| event["Type"] == "SQS") {
        managed("AWSLambdaSQSQueueExecutionRole");
    }
    if spec.is_traced {
        managed("AWSXRayDaemonWriteAccess");
    }
    if let Some(queue) = destination {
        let statement = json!({ "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue });
        let policy = Policy::of_role("OnFailure", &json!({ "Statement": [statement] }))?;
        role.policies.push(Policy { is_managed: true, ..policy });
    }
    let own = match policies {
        None => Vec::new(),
        Some(Value::Array(own)) => own,
        Some(one) => vec![one],
    };
    for (index, policy) in own.iter().enumerate() {
        let name = format!("{id}RolePolicy{index}");
        role.policies.push(match policy {
            Value::String(managed) => managed_policy(managed)
                .ok_or_else(|| DeployError(format!("the policy {managed} is not modelled by the sandbox")))?,
            Value::Object(fields) if fields.contains_key("Statement") => Policy::of_role(&name, policy)?,
            other => return Err(DeployError(format!("the policy template {other} is not modelled by the sandbox"))),
        });
    }
    let name = format!("{STACK}-{id}Role");
    world.iam.roles.insert(name.clone(), role);
    Ok(name)
}

/// Returns a policy of AWS's own, by its ARN or its name.
pub(super) fn managed_policy(name: &str) -> Option<Policy> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];
    let actions: Vec<&str> = match name {
        "AWSLambdaBasicExecutionRole" => logs.to_vec(),
        "AWSLambdaSQSQueueExecutionRole" => {
            logs.into_iter().chain(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]).collect()
        }
        "AWSXRayDaemonWriteAccess" => vec!["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
        _ => return None,
    };
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    let policy = Policy::of_role(name, &json!({ "Version": "2012-10-17", "Statement": [statement] })).ok()?;
    Some(Policy { is_managed: true, ..policy })
}

/// Creates a rule that invokes the function on a schedule, and the permission to do so.
fn schedule(world: &mut World, function: &str, rule: &str, properties: &mut Properties) -> Result<(), DeployError> {
    let rule = properties.text("Name")?.unwrap_or_else(|| rule.to_owned());
    let expression = properties.required("Schedule")?;
    let is_enabled = match (properties.flag("Enabled")?, properties.text("State")?.as_deref()) {
        (Some(is_enabled), None) => is_enabled,
        (None, None | Some("ENABLED")) => true,
        (None, Some("DISABLED")) => false,
        _ => return Err(properties.wrong("State", "ENABLED or DISABLED")),
    };
    let target = dead_letter_config(properties, Target::new("function", &lambda::arn(function)))?;
    let input = properties.text("Input")?;
    let input =
        input.map(|text| serde_json::from_str(&text).map_err(|_| properties.wrong("Input", "JSON"))).transpose()?;
    retry_policy(properties)?;
    properties.without_effect(&["Description"]);
    events::put_rule(world, &rule, None, Some(&expression), is_enabled)?;
    let target = match input {
        Some(input) => target.with_input(input),
        None => target,
    };
    events::put_target(world, &rule, target)?;
    permit(world, function, "lambda:InvokeFunction", EVENTS, vec![("aws:SourceArn", rule_arn(&rule))])
}

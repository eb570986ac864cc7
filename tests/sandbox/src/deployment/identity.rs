//! The identity of a resource once it exists: its name, the answer of `Ref`, and the answers of `Fn::GetAtt`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{DeployError, STACK, function, intrinsic::Resolver, properties::text_of};
use crate::{
    events, lambda, sqs,
    world::{ACCOUNT, REGION},
};

/// The view that other parts of the template have of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name, or its id if it has no name.
    pub name: String,
    /// The answer of `Ref`.
    pub reference: String,
    /// The answers of `Fn::GetAtt`.
    pub attributes: BTreeMap<String, String>,
}

/// Returns the property with the name of a resource of this type, if it can have one.
fn name_property(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::CloudWatch::Alarm" => "AlarmName",
        "AWS::CloudWatch::Dashboard" => "DashboardName",
        "AWS::Events::Rule" => "Name",
        "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
        "AWS::IAM::Role" => "RoleName",
        "AWS::Logs::LogGroup" => "LogGroupName",
        "AWS::Logs::QueryDefinition" => "Name",
        "AWS::SQS::Queue" => "QueueName",
        _ => return None,
    })
}

impl Identity {
    /// Returns the identity of a resource that is about to be created, and whose name contains no names of other resources.
    pub(super) fn of(id: &str, resource: &Value, resolver: &Resolver) -> Result<Self, DeployError> {
        let kind = resource["Type"].as_str().unwrap_or_default();
        let given = name_property(kind).map(|property| &resource["Properties"][property]);
        let given = given.filter(|name| !name.is_null()).map(|name| resolver.resolve(name)).transpose()?.flatten();
        let name = match kind {
            "AWS::Serverless::Function" => function::binary(id, resource)?,
            _ => given.as_ref().and_then(text_of).unwrap_or_else(|| format!("{STACK}-{id}{}", suffix(resource))),
        };
        let path = resource["Properties"].get("Path").map(|path| resolver.resolve(path)).transpose()?.flatten();
        let path = path.as_ref().and_then(text_of).unwrap_or_else(|| "/".to_owned());
        let arn = |service: &str, rest: String| format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}");
        let (reference, attributes) = match kind {
            "AWS::SQS::Queue" => {
                let (url, arn) = (queue_url(&name), sqs::arn(&name));
                (url.clone(), vec![("Arn", arn), ("QueueName", name.clone()), ("QueueUrl", url)])
            }
            "AWS::Serverless::Function" => (name.clone(), vec![("Arn", lambda::arn(&name))]),
            "AWS::Events::Rule" => (name.clone(), vec![("Arn", events::rule_arn(&name))]),
            "AWS::IAM::Role" => (
                name.clone(),
                vec![("Arn", format!("arn:aws:iam::{ACCOUNT}:role{path}{name}")), ("RoleId", role_id(&name))],
            ),
            "AWS::IAM::ManagedPolicy" => {
                let arn = format!("arn:aws:iam::{ACCOUNT}:policy{path}{name}");
                (arn.clone(), vec![("PolicyArn", arn)])
            }
            // The ARN ends with an asterisk for the streams in it.
            "AWS::Logs::LogGroup" => (name.clone(), vec![("Arn", arn("logs", format!("log-group:{name}:*")))]),
            "AWS::CloudWatch::Alarm" => (name.clone(), vec![("Arn", arn("cloudwatch", format!("alarm:{name}")))]),
            "AWS::Logs::QueryDefinition" => {
                let id = format!("query-{id}");
                (id.clone(), vec![("QueryDefinitionId", id)])
            }
            "AWS::CloudWatch::Dashboard"
            | "AWS::Lambda::EventSourceMapping"
            | "AWS::Lambda::Permission"
            | "AWS::SQS::QueuePolicy" => (name.clone(), vec![]),
            kind => {
                return Err(DeployError(format!("{id}: resources of the type {kind} are not modelled by the sandbox")));
            }
        };
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Self { name, reference, attributes })
    }
}

/// Returns the end of a name that CloudFormation makes up: that of a FIFO queue must have it (localstack's test of this template
/// is checked against AWS:
/// <https://github.com/localstack/localstack/blob/main/tests/aws/services/sqs/resource_providers/templates/sqs_fifo_queue_required_properties.yml>).
fn suffix(resource: &Value) -> &'static str {
    let is_fifo = resource["Properties"].get("FifoQueue").and_then(text_of).is_some_and(|text| text == "true");
    if is_fifo { sqs::FIFO_SUFFIX } else { "" }
}

/// Returns the URL of a queue. The sandbox ignores its host.
fn queue_url(name: &str) -> String {
    format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}")
}

fn role_id(name: &str) -> String {
    format!("AROA{}", name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase())
}

//! AWS Resource Groups Tagging API: the tags of resources of several services, by ARN.
//!
//! Cloud Custodian reads the tags of Classic load balancers here. Only the form that names ARNs is modelled, and of the resources
//! only load balancers and target groups.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    wire::{Answer, ApiError, Request},
    world::{ACCOUNT, REGION, World},
};

/// ARNs in one call (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>).
const MOST: usize = 100;

/// Does a call's work.
///
/// # Errors
/// Returns the errors of the Resource Groups Tagging API.
pub fn answer(world: &mut World, request: &Request) -> Result<Answer, ApiError> {
    match request.action.as_str() {
        "GetResources" => get_resources(world, &request.read::<GetResources>()?.resource_arn_list).map(Answer::Json),
        action => Err(ApiError::not_modelled(format!("the operation {action} of the Resource Groups Tagging API"))),
    }
}

/// Filters and pages cannot be combined with ARNs ("you get an Invalid Parameter exception"), and are not modelled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetResources {
    #[serde(rename = "ResourceARNList")]
    resource_arn_list: Vec<String>,
}

/// Returns the tags of resources. "If a resource specified by this parameter doesn't exist, it doesn't generate an error", and
/// "GetResources does not return untagged resources".
fn get_resources(world: &World, arns: &[String]) -> Result<Value, ApiError> {
    if !(1..=MOST).contains(&arns.len()) {
        let message = format!("From 1 to {MOST} ARNs can be specified");
        return Err(ApiError::sender("InvalidParameterException", message));
    }
    let mut found = Vec::new();
    for arn in arns {
        let tags = tags_of(world, arn)?;
        if !tags.is_empty() {
            let tags: Vec<_> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
            found.push(json!({ "ResourceARN": arn, "Tags": tags }));
        }
    }
    Ok(json!({ "PaginationToken": "", "ResourceTagMappingList": found }))
}

fn tags_of(world: &World, arn: &str) -> Result<Vec<(String, String)>, ApiError> {
    let prefix = format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:");
    let resource = arn.strip_prefix(&prefix);
    let resource = resource.ok_or_else(|| ApiError::not_modelled(format!("the tags of {arn} in GetResources")))?;
    let tags = match resource.split('/').collect::<Vec<_>>().as_slice() {
        ["loadbalancer", name] => world.elb.load_balancers.get(*name).map(|balancer| &balancer.spec.tags),
        ["loadbalancer", ..] => world.elbv2.load_balancers.get(arn).map(|balancer| &balancer.spec.tags),
        ["targetgroup", ..] => world.elbv2.target_groups.get(arn).map(|group| &group.tags),
        _ => return Err(ApiError::not_modelled(format!("the tags of {arn} in GetResources"))),
    };
    Ok(tags.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Reply, Sandbox, ec2, elb,
        elbv2::{self, TargetGroupSpec},
    };

    async fn ask(sandbox: &Sandbox, input: &Value) -> (u16, Value) {
        let request = http::Request::post("/")
            .header("x-amz-target", "ResourceGroupsTaggingAPI_20170126.GetResources")
            .body(Bytes::from(input.to_string()))
            .unwrap();
        let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer") };
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn tags_are_found_by_arn_and_untagged_resources_left_out() {
        let sandbox = Sandbox::in_virtual_time();
        let group = sandbox.with(|world| {
            let vpc = ec2::create_vpc(world, "10.0.0.0/16");
            ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
            for name in ["shop", "plain"] {
                elb::create(world, name, &vpc, &["us-east-1a"]).unwrap();
            }
            let tags = &mut world.elb.load_balancers.get_mut("shop").unwrap().spec.tags;
            tags.insert("team".to_owned(), "blue".to_owned());
            let spec = TargetGroupSpec::instances("web", &vpc, 80).tag("team", "red");
            elbv2::create_target_group(world, spec).unwrap()
        });
        let classic = |name| format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/{name}");
        let arns = [classic("shop"), classic("plain"), classic("gone"), group.clone()];
        let (status, body) = ask(&sandbox, &json!({ "ResourceARNList": arns })).await;
        let mapping = |arn: &str, value| json!({ "ResourceARN": arn, "Tags": [{ "Key": "team", "Value": value }] });
        let found = json!([mapping(&classic("shop"), "blue"), mapping(&group, "red")]);
        assert_eq!((status, &body["ResourceTagMappingList"]), (200, &found));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_modelled_fails_loudly() {
        let sandbox = Sandbox::in_virtual_time();
        let bucket = json!({ "ResourceARNList": ["arn:aws:s3:::bucket"] });
        let filters = json!({ "ResourceARNList": ["arn:aws:s3:::bucket"], "TagFilters": [] });
        for input in [bucket, filters] {
            let (status, body) = ask(&sandbox, &input).await;
            assert_eq!((status, &body["__type"]), (501, &json!("NotModelledBySandbox")), "{input}");
        }
        let (_, body) = ask(&sandbox, &json!({ "ResourceARNList": [] })).await;
        assert_eq!(body["__type"], "InvalidParameterException");
    }
}

//! The needs of a call: the actions, the resources that it touches, and the facts that conditions can check (Service
//! Authorization Reference, pages of EC2, ELB, ELB v2, EC2 Auto Scaling and SQS).

use std::collections::BTreeMap;

use super::Context;
use crate::{
    ec2, sqs,
    wire::{ApiError, Body, Request, Service},
    world::{ACCOUNT, REGION, World},
};

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Such as `ec2:CreateTags`.
    pub action: String,
    /// An ARN, or `*` for an action without resources.
    pub resource: String,
    /// Keys in small letters, and their values.
    pub context: Context,
}

impl Access {
    /// Returns an action on a resource, with only the facts that every call has.
    pub fn new(action: &str, resource: &str) -> Self {
        let context = [
            ("aws:securetransport", "true"),
            ("aws:requestedregion", REGION),
            ("aws:resourceaccount", ACCOUNT),
            ("ec2:region", REGION),
        ];
        let context = context.into_iter().map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
        Self { action: action.to_owned(), resource: resource.to_owned(), context: context.collect() }
    }

    /// Adds a fact for conditions.
    #[must_use]
    pub fn knowing(mut self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        self.context.insert(key.to_lowercase(), values.into_iter().collect());
        self
    }
}

/// Returns everything that a call needs.
///
/// # Errors
/// If its needs are not written down here: a function that begins to make a new call needs an arm here.
pub(super) fn of_call(world: &World, request: &Request) -> Result<Vec<Access>, ApiError> {
    let action = format!("{}:{}", request.service.iam_prefix(), request.action);
    let accesses = match (request.service, &request.body) {
        // Of the four services, no Describe action that is modelled here has resources.
        (Service::Ec2 | Service::Elb | Service::ElbV2 | Service::AutoScaling, _)
            if request.action.starts_with("Describe") =>
        {
            vec![Access::new(&action, "*")]
        }
        // It has no resource, either
        // (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html>).
        (Service::Lambda, _) if request.action == "ListFunctions" => vec![Access::new(&action, "*")],
        (Service::Ec2, Body::Query(params)) if matches!(&*request.action, "CreateTags" | "DeleteTags") => {
            let fields = Fields(params.fields());
            let of_resource = |id: &str| on_tags_of(world, &action, id, &fields);
            fields.list("ResourceId").map(of_resource).collect()
        }
        (Service::Elb, Body::Query(params))
            if matches!(
                &*request.action,
                "RegisterInstancesWithLoadBalancer" | "DeregisterInstancesFromLoadBalancer"
            ) =>
        {
            let name = Fields(params.fields()).text("LoadBalancerName");
            let arn = format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/{name}");
            let tags = world.elb.load_balancers.get(&name).map(|balancer| &balancer.spec.tags);
            vec![with_tags(Access::new(&action, &arn), &["elasticloadbalancing"], tags)]
        }
        (Service::ElbV2, Body::Query(params))
            if matches!(&*request.action, "RegisterTargets" | "DeregisterTargets") =>
        {
            let arn = Fields(params.fields()).text("TargetGroupArn");
            let tags = world.elbv2.target_groups.get(&arn).map(|group| &group.tags);
            vec![with_tags(Access::new(&action, &arn), &["elasticloadbalancing"], tags)]
        }
        (Service::AutoScaling, Body::Query(params)) => vec![on_group(world, &action, &Fields(params.fields()))],
        (Service::Sqs, Body::Json(document)) => {
            let queue = document["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
            let queue = queue.or(document["QueueName"].as_str()).unwrap_or("*");
            // A batch needs the permissions of its parts: there is no permission of its name (SQS guide, "API permissions").
            let action = action.strip_suffix("Batch").unwrap_or(&action);
            vec![Access::new(action, &sqs::arn(queue))]
        }
        _ => return Err(ApiError::not_modelled(format!("which permissions {action} needs"))),
    };
    Ok(accesses)
}

/// Returns the need of an Auto Scaling call that changes something. All of these have the group as their resource (Service
/// Authorization Reference): the named group, or the group of the named instance.
fn on_group(world: &World, action: &str, fields: &Fields<'_>) -> Access {
    let groups = &world.auto_scaling.groups;
    let name = fields.text("AutoScalingGroupName");
    let of_member = || world.auto_scaling.group_of(&fields.text("InstanceId"));
    let group = groups.get(&name).or_else(|| of_member().filter(|_| name.is_empty()));
    // A group that is gone, or not there yet, has no ARN to name.
    let unknown = || format!("arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{name}");
    let arn = group.map_or_else(unknown, |group| group.arn.clone());
    let tags = group.map(|group| group.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect());
    with_tags(Access::new(action, &arn), &["autoscaling"], tags.as_ref())
}

/// Returns the need of CreateTags or DeleteTags on one resource. Without tags in a DeleteTags the keys are absent, not empty.
fn on_tags_of(world: &World, action: &str, id: &str, fields: &Fields<'_>) -> Access {
    let arn = format!("arn:aws:ec2:{REGION}:{ACCOUNT}:{}/{id}", ec2::resource_type(id));
    let mut access = Access::new(action, &arn);
    let keys: Vec<String> = fields.members("Tag", "Key").map(|(_, key)| key.to_owned()).collect();
    for (number, key) in fields.members("Tag", "Key") {
        // A tag of DeleteTags may come without a value.
        if let Some(value) = fields.0.get(&format!("Tag.{number}.Value")) {
            access = access.knowing(&format!("aws:RequestTag/{key}"), [value.clone()]);
        }
    }
    if !keys.is_empty() {
        access = access.knowing("aws:TagKeys", keys);
    }
    let tags = world.ec2.instance(id).map(|instance| &instance.tags);
    with_tags(access, &["ec2"], tags)
}

/// Adds the tags that a resource has already, for conditions.
fn with_tags(mut access: Access, services: &[&str], tags: Option<&BTreeMap<String, String>>) -> Access {
    for (key, value) in tags.into_iter().flatten() {
        for service in services.iter().chain(&["aws"]) {
            access = access.knowing(&format!("{service}:ResourceTag/{key}"), [value.clone()]);
        }
    }
    access
}

/// A form's fields, read without a note that they were read: the code that does the work takes that note.
struct Fields<'a>(&'a BTreeMap<String, String>);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Returns the values of `NAME.1`, `NAME.2`...
    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let start = format!("{name}.");
        self.0.iter().filter(move |(key, _)| key.starts_with(&start)).map(|(_, value)| value.as_str())
    }

    /// Returns the numbers and values of `NAME.1.FIELD`, `NAME.2.FIELD`...
    fn members(&self, name: &str, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (start, end) = (format!("{name}."), format!(".{field}"));
        let number = move |key: &'a str| key.strip_prefix(&start)?.strip_suffix(&end);
        self.0.iter().filter_map(move |(key, value)| Some((number(key)?, value.as_str())))
    }
}

//! EC2's operations: form fields in, elements out. The modules beside this one do the work; fixtures call these, too.
//!
//! Names of fields and elements are those of botocore's model of 2016-11-15. Of `DryRun` only `false` is modelled.

mod filter;
mod instances;
mod interfaces;
mod launch_templates;
mod networks;
mod security_groups;
mod shape;
mod spot;
mod statuses;
mod tags;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    paging::{Page, page},
    tags as rules,
};
use crate::{
    clock::Timestamp,
    options::ManagedResources,
    wire::{Answer, ApiError, Request, query::Params, xml::Element},
    world::World,
};

/// The most elements on a page, and in an answer to a call without pages (botocore: at most 1,000).
const MAX_RESULTS: usize = 1_000;

/// The fewest elements that a caller can ask for (botocore: at least 5).
const MIN_RESULTS: usize = 5;

/// The resources that a call with a client token has made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// The request's parameters: the same token with others is refused.
    parameters: BTreeMap<String, String>,
    ids: Vec<String>,
}

/// Does a call's work. Reads see the world as it was at `as_of`; writes act on the truth.
///
/// # Errors
/// Returns the errors of EC2.
pub fn answer(world: &mut World, request: &Request, as_of: Timestamp) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // The decoder has read them already; here they count as read.
    params.optional("Action");
    params.optional("Version");
    if params.parsed::<bool>("DryRun")? == Some(true) {
        return Err(ApiError::not_modelled("DryRun"));
    }
    let result = match request.action.as_str() {
        "RunInstances" => instances::run(world, params),
        "StartInstances" => instances::start(world, params),
        "StopInstances" => instances::stop(world, params),
        "TerminateInstances" => instances::terminate(world, params),
        "RebootInstances" => instances::reboot(world, params),
        "DescribeInstances" => instances::describe(world, params, as_of),
        "DescribeInstanceStatus" => statuses::describe(world, params, as_of),
        "DescribeSpotInstanceRequests" => spot::describe(world, params, as_of),
        "CreateTags" => tags::create(world, params),
        "DeleteTags" => tags::delete(world, params),
        "DescribeTags" => tags::describe(world, params, as_of),
        "CreateVpc" => networks::create_vpc(world, params),
        "DescribeVpcs" => networks::describe_vpcs(world, params),
        "CreateSubnet" => networks::create_subnet(world, params),
        "DescribeSubnets" => networks::describe_subnets(world, params),
        "DeleteSubnet" => networks::delete_subnet(world, params),
        "DeleteVpc" => networks::delete_vpc(world, params),
        "DescribeAvailabilityZones" => zones::describe_zones(world, params),
        "DescribeInstanceTypeOfferings" => zones::describe_offerings(world, params),
        "CreateSecurityGroup" => security_groups::create(world, params),
        "AuthorizeSecurityGroupIngress" => security_groups::authorize_ingress(world, params),
        "DescribeSecurityGroups" => security_groups::describe(world, params),
        "DeleteSecurityGroup" => security_groups::delete(world, params),
        "CreateLaunchTemplate" => launch_templates::create(world, params),
        "DescribeLaunchTemplates" => launch_templates::describe(world, params),
        "DeleteLaunchTemplate" => launch_templates::delete(world, params),
        "CreateNetworkInterface" => interfaces::create(world, params),
        "DescribeNetworkInterfaces" => interfaces::describe(world, params, as_of),
        "AttachNetworkInterface" => interfaces::attach(world, params),
        "DetachNetworkInterface" => interfaces::detach(world, params),
        "DeleteNetworkInterface" => interfaces::delete(world, params),
        "AssignPrivateIpAddresses" => interfaces::assign_ipv4(world, params),
        "UnassignPrivateIpAddresses" => interfaces::unassign_ipv4(world, params),
        "AssignIpv6Addresses" => interfaces::assign_ipv6(world, params),
        "UnassignIpv6Addresses" => interfaces::unassign_ipv6(world, params),
        other => Err(ApiError::not_modelled(format!("the operation {other}"))),
    };
    result.map(Answer::Xml)
}

/// Returns whether a description leaves out a resource that a service of AWS manages, as its caller asked for it.
fn hides_managed(world: &World, params: &Params) -> Result<bool, ApiError> {
    let are_asked_for = params.parsed::<bool>("IncludeManagedResources")?;
    match (world.options.managed_resources, are_asked_for) {
        (ManagedResources::HiddenForAll, Some(_)) => {
            Err(ApiError::sender("UnknownParameter", "The parameter IncludeManagedResources is not recognized"))
        }
        (ManagedResources::Visible, _) | (_, Some(true)) => Ok(false),
        (ManagedResources::Hidden | ManagedResources::HiddenForAll, _) => Ok(true),
    }
}

/// Returns the answer of operations without a result of their own.
fn done() -> Element {
    Element::result().text("return", true)
}

/// The part of a description that a caller asks for.
struct Window {
    size: usize,
    token: Option<String>,
}

impl Window {
    /// Reads the window of a call. `ids` are the resources that the call names: with any, it cannot be paged.
    fn read(world: &World, params: &Params, ids: &[String], ids_parameter: &str) -> Result<Self, ApiError> {
        let token = params.optional("NextToken");
        let size = params.parsed::<usize>("MaxResults")?;
        if !ids.is_empty() {
            if size.is_some() {
                let message = format!("The parameter {ids_parameter} cannot be used with the parameter maxResults");
                return Err(ApiError::sender("InvalidParameterCombination", message));
            }
            return Ok(Self { size: usize::MAX, token });
        }
        if let Some(size) = size.filter(|size| !(MIN_RESULTS..=MAX_RESULTS).contains(size)) {
            let message = format!(
                "Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {MIN_RESULTS} and {MAX_RESULTS}."
            );
            return Err(ApiError::sender("InvalidParameterValue", message));
        }
        let size = size.unwrap_or(MAX_RESULTS).min(world.options.page_size.unwrap_or(MAX_RESULTS));
        Ok(Self { size, token })
    }

    fn cut<T>(&self, elements: Vec<(String, T)>) -> Result<Page<T>, ApiError> {
        page(elements, self.token.as_deref(), self.size)
    }
}

/// Tags to be written, from `Tag.N`.
fn read_tags(params: &Params) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for tag in params.list("Tag") {
        // "Specify the parameter with no value, and we set the value to an empty string" (botocore, CreateTags).
        let (key, value) = (tag.required("Key")?, tag.optional("Value").unwrap_or_default());
        if tags.insert(key.clone(), value).is_some() {
            let message = format!("Duplicate tag key '{key}' specified.");
            return Err(ApiError::sender("InvalidParameterValue", message));
        }
    }
    Ok(tags)
}

/// Returns the tags for resources that are about to be created, by the kind of resource.
fn tag_specifications(
    params: &Params,
    allowed: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, ApiError> {
    let mut specifications = BTreeMap::new();
    for specification in params.list("TagSpecification") {
        let resource_type = specification.required("ResourceType")?;
        if !allowed.contains(&resource_type.as_str()) {
            return Err(ApiError::not_modelled(format!("tags of a {resource_type} in this operation")));
        }
        let tags = read_tags(&specification)?;
        rules::check(&tags)?;
        rules::check_count(&tags)?;
        specifications.insert(resource_type, tags);
    }
    Ok(specifications)
}

/// Returns the resources that an earlier call with this token has made.
fn made_before(world: &World, token: Option<&str>, params: &Params) -> Result<Option<Vec<String>>, ApiError> {
    match token.and_then(|token| world.ec2.client_tokens.get(token)) {
        None => Ok(None),
        Some(made) if made.parameters == *params.fields() => Ok(Some(made.ids.clone())),
        Some(_) => Err(ApiError::sender(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )),
    }
}

fn remember_made(world: &mut World, token: Option<String>, params: &Params, ids: &[String]) {
    if let Some(token) = token {
        world.ec2.client_tokens.insert(token, Made { parameters: params.fields().clone(), ids: ids.to_vec() });
    }
}

/// Returns the resources that a call names, in order and each once. `what` is the parameter, as AWS names it in its message.
fn named(params: &Params, name: &str, what: &str) -> Result<Vec<String>, ApiError> {
    let mut seen = BTreeSet::new();
    let ids: Vec<_> = params.texts(name).into_iter().filter(|id| seen.insert(id.clone())).collect();
    if ids.is_empty() {
        let message = format!("The request must contain the parameter {what}");
        return Err(ApiError::sender("MissingParameter", message));
    }
    Ok(ids)
}

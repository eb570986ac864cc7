//! CreateTags, DeleteTags, DescribeTags.

use super::{
    super::tags::{self as rules, Doomed, resource_type},
    Window, done,
    filter::Filters,
    named, read_tags,
    shape::{Order, item},
};
use crate::{
    clock::Timestamp,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Resources in a call (botocore, CreateTags: "Up to 1000 resource IDs").
const MAX_RESOURCES: usize = 1_000;

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (ids, tags) = (resources(params)?, read_tags(params)?);
    if tags.is_empty() {
        return Err(ApiError::sender("MissingParameter", "The request must contain the parameter tagSet"));
    }
    rules::create(world, &ids, &tags)?;
    Ok(done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let ids = resources(params)?;
    let named: Result<Vec<_>, ApiError> =
        params.list("Tag").iter().map(|tag| Ok((tag.required("Key")?, tag.optional("Value")))).collect();
    // "If you omit this parameter, we delete all user-defined tags" (botocore, DeleteTags): an empty list is omitted, too.
    let doomed = match named? {
        named if named.is_empty() => Doomed::All,
        named => Doomed::Named(named),
    };
    rules::delete(world, &ids, &doomed)?;
    Ok(done())
}

fn resources(params: &Params) -> Result<Vec<String>, ApiError> {
    let ids = named(params, "ResourceId", "resourceIdSet")?;
    if ids.len() > MAX_RESOURCES {
        // The code is not verified.
        let message = format!("The maximum number of resources in a request is {MAX_RESOURCES}");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    Ok(ids)
}

pub(super) fn describe(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let filters = Filters::read(params, &["key", "value", "resource-id", "resource-type"])?;
    let window = Window::read(world, params, &[], "")?;
    let instances = world.ec2.instances.iter().filter_map(|(id, instance)| Some((id, &instance.seen_at(as_of)?.tags)));
    let tags = instances.chain(&world.ec2.tags).flat_map(|(id, tags)| tags.iter().map(move |tag| (id, tag)));
    let tags = tags.filter(|(id, (key, value))| {
        filters.match_all(|name| match name {
            "key" => vec![(*key).clone()],
            "value" => vec![(*value).clone()],
            "resource-id" => vec![(*id).clone()],
            "resource-type" => vec![resource_type(id).to_owned()],
            name if name.strip_prefix("tag:") == Some(key) => vec![(*value).clone()],
            _ => Vec::new(),
        })
    });
    let tags = tags.map(|(id, (key, value))| {
        let element =
            item().text("resourceId", id).text("resourceType", resource_type(id)).text("key", key).text("value", value);
        (format!("{id} {key}"), element)
    });
    let page = window.cut(tags.collect())?;
    let tags = Order::draw(world).vary(page.elements);
    Ok(Element::result().list("tagSet", tags).optional("nextToken", page.next))
}

//! Tags of groups. Members that a group has launched keep the tags that they got then.

use super::{
    super::membership,
    cut,
    groups::{read_tag, tag_element},
    invalid,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Tags of a group (Auto Scaling guide, "Tag Auto Scaling groups and instances").
const MOST: usize = 50;

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateOrUpdateTags.html>
pub(super) fn create_or_update(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    for asked in tags(params)? {
        let name = asked.required("ResourceId")?;
        let tag = read_tag(&asked, &name)?;
        if tag.key.starts_with("aws:") {
            return Err(invalid("Tag keys beginning with aws: are reserved".to_owned()));
        }
        let group = membership::existing_mut(world, &name)?;
        group.tags.retain(|present| present.key != tag.key);
        if group.tags.len() >= MOST {
            return Err(ApiError::sender("LimitExceeded", format!("A group has at most {MOST} tags")));
        }
        group.tags.push(tag);
    }
    Ok(Element::result())
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteTags.html>
pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    for asked in tags(params)? {
        let name = asked.required("ResourceId")?;
        let tag = read_tag(&asked, &name)?;
        membership::existing_mut(world, &name)?.tags.retain(|present| present.key != tag.key);
    }
    Ok(Element::result())
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeTags.html>
pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let filters =
        params.list("Filters").into_iter().map(|filter| Ok((filter.required("Name")?, filter.texts("Values"))));
    let filters = filters.collect::<Result<Vec<_>, ApiError>>()?;
    let known = ["auto-scaling-group", "key", "value", "propagate-at-launch"];
    if let Some((name, _)) = filters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(invalid(format!("The filter name {name} is not valid")));
    }
    let groups = world.auto_scaling.groups.values();
    let tags = groups.flat_map(|group| group.tags.iter().map(move |tag| (group, tag)));
    let tags = tags.filter(|(group, tag)| {
        filters.iter().all(|(name, values)| match name.as_str() {
            "auto-scaling-group" => values.contains(&group.name),
            "key" => values.contains(&tag.key),
            "value" => values.contains(&tag.value),
            _ => values.contains(&tag.propagate_at_launch.to_string()),
        })
    });
    let tags =
        tags.map(|(group, tag)| (format!("{} {}", group.name, tag.key), tag_element(&group.name, tag))).collect();
    let Page { elements, next } = cut(world, params, tags, 50, 100)?;
    Ok(Element::result().list("Tags", elements).optional("NextToken", next))
}

/// Returns the tags of a call, which has to name one at least.
fn tags(params: &Params) -> Result<Vec<Params>, ApiError> {
    match params.list("Tags") {
        tags if tags.is_empty() => Err(invalid("At least one tag must be specified.".to_owned())),
        tags => Ok(tags),
    }
}

//! Instance refreshes.

use super::{
    super::{Preferences, Refresh, Strategy, membership, refresh},
    cut, invalid, member,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

pub(super) fn start(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    let strategy = match params.optional("Strategy").as_deref() {
        None | Some("Rolling") => Strategy::Rolling,
        Some("ReplaceRootVolume") => Strategy::ReplaceRootVolume,
        Some(other) => return Err(invalid(format!("The strategy {other} is invalid"))),
    };
    read_images(params, strategy)?;
    let preferences = read_preferences(params)?;
    let id = refresh::start_refresh(world, &group, strategy, preferences)?;
    Ok(Element::result().text("InstanceRefreshId", id))
}

/// "You must start the instance refresh with a desired configuration having a mixed instances policy containing `ImageId`
/// overrides" (Auto Scaling guide, "Replace root volumes"). The policy of the group itself is not modelled, nor is another launch
/// template than the group's.
fn read_images(params: &Params, strategy: Strategy) -> Result<(), ApiError> {
    if strategy == Strategy::Rolling {
        return Ok(());
    }
    let template =
        params.structure("DesiredConfiguration").structure("MixedInstancesPolicy").structure("LaunchTemplate");
    let specification = template.structure("LaunchTemplateSpecification");
    for field in ["LaunchTemplateId", "LaunchTemplateName", "Version"] {
        specification.optional(field);
    }
    let overrides = template.list("Overrides");
    let has_image = |one: &Params| {
        one.optional("InstanceType");
        one.optional("ImageId").is_some()
    };
    match overrides.is_empty() || !overrides.iter().all(has_image) {
        true => Err(invalid("All overrides of the desired configuration must specify an ImageId".to_owned())),
        false => Ok(()),
    }
}

fn read_preferences(params: &Params) -> Result<Preferences, ApiError> {
    let given = params.structure("Preferences");
    if given.parsed("SkipMatching")?.unwrap_or(false) {
        return Err(ApiError::not_modelled("a refresh that skips members that match"));
    }
    let default = Preferences::default();
    let preferences = Preferences {
        min_healthy_percentage: given.parsed("MinHealthyPercentage")?.unwrap_or(default.min_healthy_percentage),
        max_healthy_percentage: given.parsed("MaxHealthyPercentage")?.unwrap_or(default.max_healthy_percentage),
        instance_warmup: given.parsed("InstanceWarmup")?,
    };
    let (least, most) = (preferences.min_healthy_percentage, preferences.max_healthy_percentage);
    if least > 100 || !(100..=200).contains(&most) || most - least > 100 {
        let message = "MinHealthyPercentage must be between 0 and 100, MaxHealthyPercentage between 100 and 200, and the \
                       difference between them at most 100";
        return Err(invalid(message.to_owned()));
    }
    Ok(preferences)
}

pub(super) fn cancel(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = params.required("AutoScalingGroupName")?;
    // It always waits for those under way; the other choice is not modelled.
    if params.parsed("WaitForTransitioningInstances")? == Some(false) {
        return Err(ApiError::not_modelled("a cancellation that does not wait for members under way"));
    }
    let id = refresh::cancel_refresh(world, &group)?;
    Ok(Element::result().text("InstanceRefreshId", id))
}

/// Describes the refreshes, the latest first.
pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = membership::existing(world, &params.required("AutoScalingGroupName")?)?;
    let ids = params.texts("InstanceRefreshIds");
    let refreshes = group.refreshes.iter().rev().filter(|refresh| ids.is_empty() || ids.contains(&refresh.id));
    let elements = refreshes.enumerate().map(|(n, refresh)| (format!("{n:08}"), element(&group.name, refresh)));
    let Page { elements, next } = cut(world, params, elements.collect(), 50, 100)?;
    Ok(Element::result().list("InstanceRefreshes", elements).optional("NextToken", next))
}

fn element(group: &str, refresh: &Refresh) -> Element {
    let time = |at: crate::Timestamp| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let preferences = &refresh.preferences;
    let preferences = Element::new("Preferences")
        .text("MinHealthyPercentage", preferences.min_healthy_percentage)
        .text("MaxHealthyPercentage", preferences.max_healthy_percentage)
        .optional("InstanceWarmup", preferences.instance_warmup);
    member()
        .text("InstanceRefreshId", &refresh.id)
        .text("AutoScalingGroupName", group)
        .text("Status", refresh.status.name())
        .text("StartTime", time(refresh.started))
        .optional("EndTime", refresh.ended.map(time))
        .text("PercentageComplete", refresh.percentage_complete())
        .text("InstancesToUpdate", refresh.outdated.len())
        .child(preferences)
        .text("Strategy", refresh.strategy.name())
}

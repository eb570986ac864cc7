//! The zones of the Region, and the instance types that they offer: every zone offers every type.

use super::{
    filter::Filters,
    shape::{Order, item},
};
use crate::{
    wire::{ApiError, query::Params, xml::Element},
    world::{REGION, World},
};

/// The last letters of the zones' names.
const LETTERS: [&str; 3] = ["a", "b", "c"];

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AvailabilityZone.html>
pub(super) fn describe_zones(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let filters = Filters::read(params, &["zone-type", "state", "zone-name"])?;
    let zones = LETTERS.iter().enumerate().filter(|(_, letter)| {
        filters.match_all(|name| match name {
            "zone-type" => vec!["availability-zone".to_owned()],
            "state" => vec!["available".to_owned()],
            "zone-name" => vec![format!("{REGION}{letter}")],
            _ => Vec::new(),
        })
    });
    let zones: Vec<_> = zones
        .map(|(index, letter)| {
            item()
                .text("zoneName", format!("{REGION}{letter}"))
                .text("zoneId", format!("use1-az{}", index + 1))
                .text("zoneState", "available")
                .text("zoneType", "availability-zone")
                .text("regionName", REGION)
                .text("groupName", format!("{REGION}-zg-1"))
                .text("groupLongName", "US East (N. Virginia) 1")
                .text("networkBorderGroup", REGION)
                .text("optInStatus", "opt-in-not-required")
                .list("messageSet", [])
        })
        .collect();
    Ok(Element::result().list("availabilityZoneInfo", Order::draw(world).vary(zones)))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>. Only the form that names types is
/// modelled.
pub(super) fn describe_offerings(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    if params.optional("LocationType").as_deref() != Some("availability-zone") {
        return Err(ApiError::not_modelled("offerings by anything but availability-zone"));
    }
    let types: Vec<String> = match params.list("Filter").as_slice() {
        [filter] if filter.optional("Name").as_deref() == Some("instance-type") => filter.texts("Value"),
        _ => return Err(ApiError::not_modelled("offerings without the one filter instance-type")),
    };
    let offerings: Vec<_> = types
        .iter()
        .flat_map(|kind| LETTERS.iter().map(move |letter| (kind, letter)))
        .map(|(kind, letter)| {
            item()
                .text("instanceType", kind)
                .text("locationType", "availability-zone")
                .text("location", format!("{REGION}{letter}"))
        })
        .collect();
    Ok(Element::result().list("instanceTypeOfferingSet", Order::draw(world).vary(offerings)))
}

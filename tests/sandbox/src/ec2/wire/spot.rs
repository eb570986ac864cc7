//! Spot requests: asked for by RunInstances, described by DescribeSpotInstanceRequests.

use super::{
    super::{Market, Spot, SpotAction, SpotRequest},
    Window,
    filter::Filters,
    shape::{Order, item, time},
};
use crate::{
    clock::Timestamp,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// The filters that are modelled.
const FILTERS: [&str; 6] =
    ["instance-id", "spot-instance-request-id", "state", "status-code", "type", "launch.instance-type"];

/// Reads `InstanceMarketOptions` of RunInstances.
pub(super) fn market(params: &Params) -> Result<Market, ApiError> {
    let options = params.structure("InstanceMarketOptions");
    match options.optional("MarketType").as_deref() {
        None => return Ok(Market::OnDemand),
        Some("spot") => {}
        Some(other) => return Err(ApiError::not_modelled(format!("instances of the market {other}"))),
    }
    let options = options.structure("SpotOptions");
    let on_interruption = options.optional("InstanceInterruptionBehavior").unwrap_or_else(|| "terminate".to_owned());
    let on_interruption = SpotAction::of_name(&on_interruption).ok_or_else(|| {
        invalid(format!("Value ({on_interruption}) for parameter instanceInterruptionBehavior is invalid"))
    })?;
    let kind = options.optional("SpotInstanceType").unwrap_or_else(|| "one-time".to_owned());
    let is_persistent = match kind.as_str() {
        "one-time" => false,
        "persistent" => true,
        _ => return Err(invalid(format!("Value ({kind}) for parameter spotInstanceType is invalid"))),
    };
    // "Persistent Spot Instance requests are only supported when the instance interruption behavior is either hibernate or stop"
    // (botocore, SpotMarketOptions), and these need one ("Interruption behavior" in the EC2 guide).
    if is_persistent == (on_interruption == SpotAction::Terminate) {
        let message = format!("A {kind} request cannot have the interruption behavior {}", on_interruption.name());
        return Err(ApiError::sender("InvalidParameterCombination", message));
    }
    Ok(Market::Spot(Spot { is_persistent, on_interruption }))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotInstanceRequests.html>: unlike with instances, nothing
/// forbids pages beside ids.
pub(super) fn describe(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let ids = params.texts("SpotInstanceRequestId");
    let filters = Filters::read(params, &FILTERS)?;
    let window = Window::read(world, params, &[], "")?;
    let seen = |id: &String| world.ec2.spot_requests.get(id).and_then(|request| request.seen_at(as_of));
    if let Some(unknown) = ids.iter().find(|id| seen(id).is_none()) {
        let message = format!("The spot instance request ID '{unknown}' does not exist");
        return Err(ApiError::sender("InvalidSpotInstanceRequestID.NotFound", message));
    }
    let requests = world.ec2.spot_requests.keys().filter(|id| ids.is_empty() || ids.contains(id)).filter_map(seen);
    let requests = requests.filter(|request| filters.match_all(|name| attribute(world, request, name)));
    let page = window.cut(requests.map(|request| (request.id.clone(), element(world, request))).collect())?;
    let requests = Order::draw(world).vary(page.elements);
    Ok(Element::result().list("spotInstanceRequestSet", requests).optional("nextToken", page.next))
}

fn attribute(world: &World, request: &SpotRequest, filter: &str) -> Vec<String> {
    let value = match filter {
        "instance-id" => request.instance_id.clone(),
        "spot-instance-request-id" => request.id.clone(),
        "state" => request.state.name().to_owned(),
        "status-code" => request.status_code.to_owned(),
        "type" => request.spot.kind().to_owned(),
        "launch.instance-type" => {
            world.ec2.launches.get(&request.instance_id).map(|facts| facts.instance_type.clone()).unwrap_or_default()
        }
        // A request has no tags here.
        _ => return Vec::new(),
    };
    vec![value]
}

fn element(world: &World, request: &SpotRequest) -> Element {
    let instance = world.ec2.instance(&request.instance_id);
    let facts = world.ec2.launches.get(&request.instance_id);
    let zone = instance.map(|instance| &instance.zone);
    let launch = Element::new("launchSpecification")
        .optional("imageId", facts.map(|facts| &facts.image_id))
        .optional("instanceType", facts.map(|facts| &facts.instance_type))
        .child(Element::new("placement").optional("availabilityZone", zone).text("tenancy", "default"))
        .child(Element::new("monitoring").text("enabled", false));
    let status = Element::new("status")
        .text("code", request.status_code)
        .text("message", message(request.status_code))
        .text("updateTime", time(request.updated));
    item()
        .text("spotInstanceRequestId", &request.id)
        .text("state", request.state.name())
        .child(status)
        .text("type", request.spot.kind())
        .text("instanceId", &request.instance_id)
        .text("createTime", time(request.created))
        .text("productDescription", "Linux/UNIX")
        .optional("launchedAvailabilityZone", zone)
        .child(launch)
        .text("instanceInterruptionBehavior", request.spot.on_interruption.name())
}

/// Returns the words of the EC2 guide, "Spot request status codes", where it has them.
fn message(code: &str) -> &'static str {
    match code {
        "fulfilled" => "Your Spot request is fulfilled.",
        "marked-for-stop" => "The Spot Instance is marked for stopping.",
        "marked-for-termination" => "The Spot Instance is marked for termination.",
        "instance-stopped-by-price" => "Your instance was stopped because the Spot price exceeded your maximum price.",
        "instance-stopped-by-user" => "Your instance was stopped because a user stopped the instance.",
        "instance-stopped-no-capacity" => "Your instance was stopped due to EC2 capacity management needs.",
        "instance-terminated-by-price" => {
            "Your instance was terminated because the Spot price exceeded your maximum price."
        }
        "instance-terminated-no-capacity" => {
            "Your instance was terminated due to standard capacity management processes."
        }
        "instance-terminated-by-user" => "You terminated a Spot Instance that had been fulfilled.",
        _ => "Your Spot request has been submitted for review, and is pending evaluation.",
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::sender("InvalidParameterValue", message)
}

//! DescribeInstanceStatus: whether instances are well, and what AWS has scheduled for them.

use super::{
    super::{Instance, InstanceState, ScheduledEvent},
    Window,
    filter::Filters,
    hides_managed,
    instances::refuse_unknown,
    shape::{self, Order, item, time},
};
use crate::{
    clock::Timestamp,
    history::History,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// Ids in a call (botocore: "Maximum 100 explicitly specified instance IDs").
const MAX_IDS: usize = 100;

/// The filters that are modelled. There is none for ids: an id is named by `InstanceId`, and then the answer has no pages.
const FILTERS: [&str; 10] = [
    "availability-zone",
    "event.code",
    "event.description",
    "event.instance-event-id",
    "event.not-after",
    "event.not-before",
    "instance-state-code",
    "instance-state-name",
    "instance-status.status",
    "system-status.status",
];

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceStatus.html>
pub(super) fn describe(world: &mut World, params: &Params, as_of: Timestamp) -> Result<Element, ApiError> {
    let ids = params.texts("InstanceId");
    if ids.len() > MAX_IDS {
        let message = format!("The maximum number of instance IDs in a request is {MAX_IDS}");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    let (filters, hides_managed) = (Filters::read(params, &FILTERS)?, hides_managed(world, params)?);
    let shows_all = params.parsed("IncludeAllInstances")?.unwrap_or(false);
    let window = Window::read(world, params, &ids, "instancesSet")?;
    let is_hidden =
        |id: &str| hides_managed && world.ec2.launches.get(id).is_some_and(|facts| facts.operator.is_some());
    let seen = |history: &History<Instance>| history.seen_at(as_of).filter(|one| !is_hidden(&one.id)).cloned();
    refuse_unknown(&ids, |id| world.ec2.instances.get(id).is_some_and(|history| seen(history).is_some()))?;
    let instances = world.ec2.instances.iter().filter(|(id, _)| ids.is_empty() || ids.contains(id));
    let instances = instances
        .filter_map(|(id, history)| Some((id.clone(), seen(history)?)))
        // "When false, includes the health status for running instances only", also of instances that are named.
        .filter(|(_, instance)| shows_all || instance.state == InstanceState::Running)
        .map(|(id, instance)| (id.clone(), (instance, events_of(world, &id, as_of))))
        .filter(|(_, (instance, events))| filters.match_all(|name| attribute(instance, events, name)));
    let page = window.cut(instances.collect())?;
    let mut order = Order::draw(world);
    let statuses: Vec<_> =
        page.elements.iter().map(|(instance, events)| element(instance, events, &mut order)).collect();
    Ok(Element::result().list("instanceStatusSet", order.vary(statuses)).optional("nextToken", page.next))
}

fn events_of(world: &World, instance_id: &str, as_of: Timestamp) -> Vec<ScheduledEvent> {
    let seen = world.ec2.scheduled_events.values().filter_map(|event| event.seen_at(as_of));
    seen.filter(|event| event.instance_id == instance_id).cloned().collect()
}

fn attribute(instance: &Instance, events: &[ScheduledEvent], filter: &str) -> Vec<String> {
    let of_events = |value: fn(&ScheduledEvent) -> Option<String>| events.iter().filter_map(value).collect();
    match filter {
        "availability-zone" => vec![instance.zone.clone()],
        "event.code" => of_events(|event| Some(event.code.name().to_owned())),
        "event.description" => of_events(|event| Some(event.description())),
        "event.instance-event-id" => of_events(|event| Some(event.id.clone())),
        "event.not-after" => of_events(|event| event.not_after.map(time)),
        "event.not-before" => of_events(|event| Some(time(event.not_before))),
        "instance-state-code" => vec![instance.state.code().to_string()],
        "instance-state-name" => vec![instance.state.name().to_owned()],
        "instance-status.status" | "system-status.status" => vec![summary(instance.state).0.to_owned()],
        _ => Vec::new(),
    }
}

fn element(instance: &Instance, events: &[ScheduledEvent], order: &mut Order) -> Element {
    let (word, detail) = summary(instance.state);
    let status = |name: &str| {
        let details = detail.map(|detail| item().text("name", "reachability").text("status", detail));
        let status = Element::new(name).text("status", word);
        if details.is_some() { status.list("details", details) } else { status }
    };
    let events = events.iter().map(|event| {
        item()
            .text("instanceEventId", &event.id)
            .text("code", event.code.name())
            .text("description", event.description())
            .text("notBefore", time(event.not_before))
            .optional("notAfter", event.not_after.map(time))
    });
    let events = order.vary(events);
    let shown = item()
        .text("instanceId", &instance.id)
        .text("availabilityZone", &instance.zone)
        .child(shape::state("instanceState", instance.state))
        .child(status("systemStatus"))
        .child(status("instanceStatus"));
    // An instance without events does not even have an empty list, as in the AWS CLI's own example.
    if events.is_empty() { shown } else { shown.list("eventsSet", events) }
}

/// Returns the status of the checks, in sum and of reachability. What EC2 says during a reboot is not modelled.
fn summary(state: InstanceState) -> (&'static str, Option<&'static str>) {
    match state {
        InstanceState::Running => ("ok", Some("passed")),
        InstanceState::Pending => ("initializing", Some("initializing")),
        _ => ("not-applicable", None),
    }
}

//! Calls to EC2: instances are described, tags are written, and deleted if they still have the value that was read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_ec2::{
    Client,
    operation::describe_instances::DescribeInstancesOutput,
    types::{Filter, Tag},
};
use aws_smithy_types::DateTime as SdkDateTime;
use chrono::{DateTime, NaiveDateTime};
use protocol::{
    call_error::CallError,
    controller::Controller,
    id::InstanceId,
    instance::{Instance, Interface, State},
    network::Block,
    tag,
    time::Timestamp,
};

use crate::aws::{
    account::Account,
    budget::{ApiSet, Budget},
    call_watch::CallWatch,
    parts::{in_parts, of_each},
};

/// Values in one filter of a Describe call, a limit of EC2.
pub(crate) const FILTER_VALUES_MAX: usize = 200;

/// Elements of a page, the most that EC2 allows. Without a page size EC2 tries to answer with everything at once. That
/// times out in large accounts, and has a token bucket of half the size.
pub(crate) const PAGE_SIZE: i32 = 1_000;

/// Resources in one CreateTags or DeleteTags call, a limit of EC2.
pub(crate) const RESOURCES_PER_CALL_MAX: usize = 1_000;

/// States of instances that should be registered nowhere.
const OUT_STATES: [State; 4] = [State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated];

/// All states. They are asked for by name, because DescribeInstances without a filter has a token bucket of half the
/// size.
const STATES: [State; 6] =
    [State::Pending, State::Running, State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated];

/// EC2 of one Region.
#[derive(Clone)]
pub struct Ec2 {
    pub(crate) client: Client,
    watch: CallWatch,
    pub(crate) budget: Arc<Budget>,
    pub(crate) account: Account,
    /// Whether EC2 can be asked for what services of AWS manage in the account.
    shows_all: Arc<AtomicBool>,
}

/// EC2's code for a parameter that it does not know.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const UNKNOWN_PARAMETER: &str = "UnknownParameter";

/// What EC2 describes of some instances.
#[derive(Debug)]
pub struct Described {
    /// When EC2 answered, by its own clock. The same clock wrote `LaunchTime`, whatever ours says.
    pub at: Timestamp,
    /// The instances that were asked for and that EC2 knows.
    pub instances: BTreeMap<InstanceId, Instance>,
}

impl Ec2 {
    /// Creates EC2 behind a client, with the watch over that client's calls, their budget, and the account that EC2
    /// names.
    pub(crate) fn new(client: Client, watch: CallWatch, budget: Arc<Budget>, account: Account) -> Self {
        Self { client, watch, budget, account, shows_all: Arc::new(AtomicBool::new(true)) }
    }

    /// Returns whether descriptions have all interfaces and instances of the account, those that services of AWS manage
    /// (nodes of EKS Auto Mode, managed instances of ECS and Lambda) among them.
    ///
    /// EC2 leaves these out by default, and shows them to callers who ask
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html>,
    /// `IncludeManagedResources`). An API that does not know the parameter may leave out some.
    pub(super) fn shows_all(&self) -> bool {
        self.shows_all.load(Ordering::Relaxed)
    }

    /// Returns whether EC2 has refused to be asked for all, and remembers it.
    pub(super) fn does_not_show_all(&self, error: &CallError) -> bool {
        let is_unknown = error.code() == Some(UNKNOWN_PARAMETER);
        if is_unknown {
            tracing::warn!(why = error.to_sentence(), "EC2 may leave out what services of AWS manage");
            self.shows_all.store(false, Ordering::Relaxed);
        }
        is_unknown
    }

    /// Describes instances. Those that EC2 does not know are left out.
    ///
    /// # Errors
    /// If a call fails. An unknown id is no failure, because the ids go into a filter. As `InstanceIds`, one unknown id
    /// would fail the whole call.
    pub async fn read(&self, ids: &BTreeSet<InstanceId>) -> Result<Described, CallError> {
        let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        let filters = ids.chunks(FILTER_VALUES_MAX).map(|chunk| vec![filter("instance-id", chunk.to_vec())]);
        self.describe(filters.collect()).await
    }

    /// Describes the instances that a sweep has to look at: those that are out, those that hold or declare something,
    /// and those with a tag that is nearly one of ours.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn read_for_sweep(&self) -> Result<Described, CallError> {
        let keys = LIKE_OURS.map(str::to_owned).to_vec();
        let mut reading = self.describe(vec![vec![in_states(&OUT_STATES)], vec![filter("tag-key", keys)]]).await?;
        let is_ours = |key: &String| key == tag::REGISTER || key.starts_with(tag::HELD) || tag::odd(key).is_some();
        reading
            .instances
            .retain(|_, instance| OUT_STATES.contains(&instance.state) || instance.tags.keys().any(is_ours));
        Ok(reading)
    }

    /// Describes every instance there is.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn read_all(&self) -> Result<Described, CallError> {
        self.describe(vec![vec![in_states(&STATES)]]).await
    }

    /// Describes the instances that are out.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn read_out(&self) -> Result<Described, CallError> {
        self.describe(vec![vec![in_states(&OUT_STATES)]]).await
    }

    /// Describes the instances that are stopping or shutting down at present. That takes EC2 a minute or so, so they
    /// are few outside a storm.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn read_on_their_way_out(&self) -> Result<Described, CallError> {
        self.describe(vec![vec![in_states(&[State::Stopping, State::ShuttingDown])]]).await
    }

    /// Describes the instances that hold something and are starting or running.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn read_holders_up(&self) -> Result<Described, CallError> {
        let up = in_states(&[State::Pending, State::Running]);
        self.describe(vec![vec![up, filter("tag-key", held_keys().into())]]).await
    }

    /// Describes the instances that match any of some sets of filters. An instance matches a set if it matches all
    /// filters of it.
    async fn describe(&self, filters: Vec<Vec<Filter>>) -> Result<Described, CallError> {
        let mut instances = BTreeMap::new();
        let mut at: Option<Timestamp> = None;
        for filters in filters {
            let call = self.client.describe_instances().set_filters(Some(filters)).max_results(PAGE_SIZE);
            loop {
                let asked = self.shows_all();
                let call = call.clone().set_include_managed_resources(asked.then_some(true));
                let page = |token| call.clone().set_next_token(token).send();
                let see = |page: DescribeInstancesOutput| {
                    let answered_at = self.watch.service_time();
                    at = Some(at.map_or(answered_at, |earlier| earlier.min(answered_at)));
                    for reservation in page.reservations() {
                        self.account.learn(reservation.owner_id());
                        let described = reservation.instances().iter().filter_map(instance);
                        instances.extend(described.map(|instance| (instance.id.clone(), instance)));
                    }
                };
                let next = DescribeInstancesOutput::next_token;
                match self.budget.pages(ApiSet::Ec2Describe, "ec2:DescribeInstances", page, next, see).await {
                    Err(error) if asked && self.does_not_show_all(&error) => {}
                    read => break read?,
                }
            }
        }
        Ok(Described { at: at.unwrap_or_else(|| self.watch.service_time()), instances })
    }

    /// Writes the same tags on some instances. EC2 does all of it or nothing.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the tags may have been written.
    pub async fn tag(&self, ids: &[InstanceId], tags: &[(String, String)]) -> Result<(), CallError> {
        let call = self.client.create_tags().set_resources(Some(resources(ids))).set_tags(Some(sdk_tags(tags)));
        self.budget.call(ApiSet::CreateTags, "ec2:CreateTags", || call.clone().send()).await.map(drop)
    }

    /// Writes the same tags on some instances, so that one that cannot be tagged spoils only itself. Returns the result of
    /// each.
    pub(crate) async fn tag_each(
        &self,
        ids: Vec<InstanceId>,
        tags: &[(String, String)],
    ) -> Vec<(InstanceId, Result<(), CallError>)> {
        let call = async |part: Vec<InstanceId>| self.tag(&part, tags).await;
        of_each(in_parts(ids, RESOURCES_PER_CALL_MAX, CallError::is_of_one, call).await)
    }

    /// Deletes tags from some instances, each only if it still has the given value.
    ///
    /// # Errors
    /// If the call fails. If it was not answered, the tags may have been deleted.
    pub async fn untag(&self, ids: &[InstanceId], tags: &[(String, String)]) -> Result<(), CallError> {
        assert!(!tags.is_empty(), "DeleteTags without tags deletes all of them");
        let call = self.client.delete_tags().set_resources(Some(resources(ids))).set_tags(Some(sdk_tags(tags)));
        self.budget.call(ApiSet::DeleteTags, "ec2:DeleteTags", || call.clone().send()).await.map(drop)
    }
}

fn in_states(states: &[State]) -> Filter {
    filter("instance-state-name", states.iter().map(|state| state.name().to_owned()).collect())
}

/// Patterns that find all keys of ours, and those that are nearly one. A filter's values may have `*`, and their case
/// counts. <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>
const LIKE_OURS: [&str; 5] = ["elb-registrar*", "*egistr*", "*EGISTR*", "*lb?r*", "*LB?R*"];

/// Returns the keys of tags that hold something.
fn held_keys() -> [String; 2] {
    [tag::HELD.to_owned(), format!("{}.*", tag::HELD)]
}

pub(crate) fn filter(name: &str, values: Vec<String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values)).build()
}

fn resources(ids: &[InstanceId]) -> Vec<String> {
    ids.iter().map(|id| id.as_str().to_owned()).collect()
}

fn sdk_tags(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn instance(found: &aws_sdk_ec2::types::Instance) -> Option<Instance> {
    let state = found.state().and_then(|state| state.name()).map_or("", |name| name.as_str());
    let tags = found.tags().iter();
    Some(Instance {
        id: found.instance_id()?.into(),
        state: State::from_name(state),
        launch_time: found.launch_time().and_then(timestamp),
        made_at: found.network_interfaces().iter().find_map(attached_at_launch),
        stop_time: found.state_transition_reason().and_then(time_in_reason),
        vpc: found.vpc_id().map(Into::into),
        interfaces: found.network_interfaces().iter().filter_map(|one| interface(one, found)).collect(),
        tags: tags
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
            .collect(),
    })
}

/// Returns when an interface was attached, if it is `eth0`, which is attached by the launch.
fn attached_at_launch(found: &aws_sdk_ec2::types::InstanceNetworkInterface) -> Option<Timestamp> {
    let attachment = found.attachment()?;
    let is_eth0 = attachment.device_index() == Some(0) && attachment.network_card_index().unwrap_or(0) == 0;
    attachment.attach_time().filter(|_| is_eth0).and_then(timestamp)
}

/// Reads an interface of an instance. `eth0` is in the instance's VPC, and any other one may be in another.
fn interface(
    found: &aws_sdk_ec2::types::InstanceNetworkInterface,
    of: &aws_sdk_ec2::types::Instance,
) -> Option<Interface> {
    let operators = [found.operator(), of.operator()].into_iter().flatten();
    let operator = operators.filter(|operator| operator.managed() == Some(true)).map(|operator| operator.principal());
    let by_operator = operator.map(|principal| Controller::of_operator(principal.unwrap_or_default())).next();
    let attachment = found.attachment()?;
    let ipv4 = found.private_ip_addresses().iter();
    let ipv6 = found.ipv6_addresses().iter();
    let ipv4_prefixes = found.ipv4_prefixes().iter().map(|prefix| prefix.ipv4_prefix());
    let ipv6_prefixes = found.ipv6_prefixes().iter().map(|prefix| prefix.ipv6_prefix());
    Some(Interface {
        id: found.network_interface_id()?.into(),
        vpc: found.vpc_id().or(of.vpc_id()).map(Into::into),
        controller: by_operator.or_else(|| {
            let description = found.description().unwrap_or_default();
            Controller::of_interface(description, found.interface_type().unwrap_or_default())
        }),
        prefixes: blocks(ipv4_prefixes.chain(ipv6_prefixes)).collect(),
        device_index: u32::try_from(attachment.device_index()?).ok()?,
        // Instance types with one card may leave the index out.
        network_card_index: u32::try_from(attachment.network_card_index().unwrap_or(0)).ok()?,
        ipv4: ipv4.filter_map(|a| Some((a.private_ip_address()?.parse().ok()?, a.primary() == Some(true)))).collect(),
        ipv6: ipv6.filter_map(|a| Some((a.ipv6_address()?.parse().ok()?, a.is_primary_ipv6() == Some(true)))).collect(),
    })
}

/// Returns the prefixes that were delegated to an interface.
pub(super) fn blocks<'p>(prefixes: impl Iterator<Item = Option<&'p str>>) -> impl Iterator<Item = Block> {
    prefixes.flatten().filter_map(|text| text.parse().ok())
}

fn timestamp(time: &SdkDateTime) -> Option<Timestamp> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

/// Returns the time in `User initiated (2026-01-05 08:00:00 GMT)`, if there is one.
fn time_in_reason(reason: &str) -> Option<Timestamp> {
    let (_, time) = reason.rsplit_once('(')?;
    let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S GMT)").ok()?;
    Some(time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn the_time_of_a_stop_is_read_where_there_is_one() {
        let time = at(0).format("User initiated (%Y-%m-%d %H:%M:%S GMT)").to_string();
        assert_eq!(time_in_reason(&time), Some(at(0)));
        for reason in ["", "Server.SpotInstanceTermination", "User initiated", "User initiated (today)"] {
            assert_eq!(time_in_reason(reason), None, "{reason}");
        }
    }
}

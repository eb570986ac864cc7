//! EC2 at the edge: instances are read, tags are written and compared away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_ec2::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    error::BoxError,
    types::{Filter, Tag},
};
use aws_smithy_types::date_time::{DateTime as SdkDateTime, Format};
use chrono::{DateTime, NaiveDateTime, Utc};

use crate::{
    error::CallError,
    id::InstanceId,
    instance::{Instance, Interface, State, Timestamp},
};

/// Values that a filter of a Describe call takes, a limit of EC2.
const FILTER_VALUES_MAX: usize = 200;

/// Resources that CreateTags and DeleteTags take, a limit of EC2.
pub(crate) const RESOURCES_PER_CALL_MAX: usize = 1_000;

/// EC2 of one Region.
#[derive(Clone)]
pub struct Ec2 {
    client: Client,
    clock: ServiceClock,
}

/// What one reading of EC2 showed.
#[derive(Debug)]
pub struct Reading {
    /// When EC2 answered, by its own clock: the same that wrote `LaunchTime`, whatever ours says.
    pub at: Timestamp,
    /// Those of the instances asked for that EC2 knows.
    pub instances: BTreeMap<InstanceId, Instance>,
}

impl Ec2 {
    /// EC2 behind an SDK configuration.
    pub fn new(sdk: &aws_config::SdkConfig) -> Self {
        let clock = ServiceClock::default();
        let config = aws_sdk_ec2::config::Builder::from(sdk).interceptor(clock.clone()).build();
        Self { client: Client::from_conf(config), clock }
    }

    /// Describes instances. Those that EC2 does not know are left out.
    ///
    /// # Errors
    /// Where a call fails. An unknown id is no failure, since the ids go into a filter: as `InstanceIds`, one of them would
    /// fail the whole call.
    pub async fn read(&self, ids: &BTreeSet<InstanceId>) -> Result<Reading, CallError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut instances = BTreeMap::new();
        let mut at: Option<Timestamp> = None;
        for chunk in ids.chunks(FILTER_VALUES_MAX) {
            let filter = Filter::builder().name("instance-id").set_values(Some(chunk.to_vec())).build();
            let mut pages = self.client.describe_instances().filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| CallError::new("DescribeInstances", e))?;
                let answered_at = self.clock.now();
                at = Some(at.map_or(answered_at, |earlier| earlier.min(answered_at)));
                for reservation in page.reservations() {
                    let account = reservation.owner_id().unwrap_or_default();
                    let described = reservation.instances().iter().filter_map(|found| instance(found, account));
                    instances.extend(described.map(|instance| (instance.id.clone(), instance)));
                }
            }
        }
        Ok(Reading { at: at.unwrap_or_else(|| self.clock.now()), instances })
    }

    /// Counts the interfaces that have each of some addresses, in whatever network of the account.
    ///
    /// # Errors
    /// Where a call fails.
    pub async fn count_interfaces(&self, addresses: &BTreeSet<IpAddr>) -> Result<BTreeMap<IpAddr, usize>, CallError> {
        let mut counts = BTreeMap::new();
        let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
        let filters = [("addresses.private-ip-address", ipv4), ("ipv6-addresses.ipv6-address", ipv6)];
        for (name, addresses) in filters {
            for chunk in addresses.chunks(FILTER_VALUES_MAX) {
                let values = chunk.iter().map(ToString::to_string).collect();
                let filter = Filter::builder().name(name).set_values(Some(values)).build();
                let mut pages =
                    self.client.describe_network_interfaces().filters(filter).into_paginator().items().send();
                while let Some(found) = pages.next().await {
                    let found = found.map_err(|e| CallError::new("DescribeNetworkInterfaces", e))?;
                    let ipv4 = found.private_ip_addresses().iter().filter_map(|a| a.private_ip_address());
                    let ipv6 = found.ipv6_addresses().iter().filter_map(|a| a.ipv6_address());
                    for address in ipv4.chain(ipv6).filter_map(|text| text.parse().ok()) {
                        *counts.entry(address).or_default() += 1;
                    }
                }
            }
        }
        Ok(counts)
    }

    /// Writes the same tags on some instances, of which EC2 does all or none.
    ///
    /// # Errors
    /// Where the call fails; not answered, the tags may be there.
    pub async fn tag(&self, ids: &[InstanceId], tags: &[(String, String)]) -> Result<(), CallError> {
        let call = self.client.create_tags().set_resources(Some(resources(ids))).set_tags(Some(sdk_tags(tags)));
        call.send().await.map(drop).map_err(|e| CallError::new("CreateTags", e))
    }

    /// Deletes tags from some instances, each only where it still has the value given.
    ///
    /// # Errors
    /// Where the call fails; not answered, the tags may be gone.
    pub async fn untag(&self, ids: &[InstanceId], tags: &[(String, String)]) -> Result<(), CallError> {
        assert!(!tags.is_empty(), "DeleteTags without tags deletes all of them");
        let call = self.client.delete_tags().set_resources(Some(resources(ids))).set_tags(Some(sdk_tags(tags)));
        call.send().await.map(drop).map_err(|e| CallError::new("DeleteTags", e))
    }
}

fn resources(ids: &[InstanceId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn sdk_tags(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn instance(found: &aws_sdk_ec2::types::Instance, account: &str) -> Option<Instance> {
    let state = found.state().and_then(|state| state.name()).map_or("", |name| name.as_str());
    let tags = found.tags().iter();
    Some(Instance {
        id: found.instance_id()?.into(),
        account: account.to_owned(),
        state: State::from_name(state),
        launch_time: found.launch_time().and_then(timestamp),
        stop_time: found.state_transition_reason().and_then(time_in_reason),
        vpc: found.vpc_id().map(Into::into),
        interfaces: found.network_interfaces().iter().filter_map(interface).collect(),
        tags: tags
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
            .collect(),
    })
}

fn interface(found: &aws_sdk_ec2::types::InstanceNetworkInterface) -> Option<Interface> {
    let attachment = found.attachment()?;
    let ipv4 = found.private_ip_addresses().iter();
    let ipv6 = found.ipv6_addresses().iter();
    Some(Interface {
        device_index: u32::try_from(attachment.device_index()?).ok()?,
        // Instance types with one card may leave it out.
        network_card_index: u32::try_from(attachment.network_card_index().unwrap_or(0)).ok()?,
        ipv4: ipv4.filter_map(|a| Some((a.private_ip_address()?.parse().ok()?, a.primary() == Some(true)))).collect(),
        ipv6: ipv6.filter_map(|a| Some((a.ipv6_address()?.parse().ok()?, a.is_primary_ipv6() == Some(true)))).collect(),
    })
}

fn timestamp(time: &SdkDateTime) -> Option<Timestamp> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

/// The time in `User initiated (2026-01-05 08:00:00 GMT)`, where there is one.
fn time_in_reason(reason: &str) -> Option<Timestamp> {
    let (_, time) = reason.rsplit_once('(')?;
    let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S GMT)").ok()?;
    Some(time.and_utc())
}

/// The clock of the service behind a client, from the `Date` of its last answer.
///
/// `LaunchTime` and the times in tags are compared with it. Our own clock may be off, and a machine in the sandbox has
/// another one altogether.
#[derive(Clone, Debug, Default)]
struct ServiceClock {
    last: Arc<Mutex<Option<Timestamp>>>,
}

impl ServiceClock {
    #[expect(clippy::disallowed_methods, reason = "an answer without `Date` leaves nothing but our own clock")]
    fn now(&self) -> Timestamp {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Utc::now)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context
            .response()
            .headers()
            .get("date")
            .and_then(|date| SdkDateTime::from_str(date, Format::HttpDate).ok());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = date.as_ref().and_then(timestamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::at;

    #[test]
    fn the_time_of_a_stop_is_read_where_there_is_one() {
        let time = at(0).format("User initiated (%Y-%m-%d %H:%M:%S GMT)").to_string();
        assert_eq!(time_in_reason(&time), Some(at(0)));
        for reason in ["", "Server.SpotInstanceTermination", "User initiated", "User initiated (today)"] {
            assert_eq!(time_in_reason(reason), None, "{reason}");
        }
    }
}

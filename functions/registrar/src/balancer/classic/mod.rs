//! Classic load balancers. Their listing has the instances of each, so one paged call is a whole scan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aws_sdk_elasticloadbalancing::{
    Client,
    operation::describe_load_balancers::DescribeLoadBalancersOutput,
    types::{Instance as Member, LoadBalancerDescription, TagDescription},
};
use chrono::DateTime;
use futures::{FutureExt, StreamExt, stream};
use protocol::{
    balancer::BalancerId,
    balancer_kind::BalancerKind,
    call_error::CallError,
    id::{InstanceId, LoadBalancerName},
    instance::Instance,
    names::Name,
    observed::{Deregistration, Drain, Found, Health, Lasting, Standing, Target, Wanted},
    registration::Registration,
};

use super::{ByName, Kind, Marks, Owners, Part, Scan, ScannedPart, by_name, by_name_or_listing, marks};
use crate::aws::{
    CALLS_IN_FLIGHT_MAX,
    budget::{ApiSet, Budget},
    call::once,
    clients::Clients,
};

/// All Classic load balancers of an account in a Region.
pub(super) struct ClassicLoadBalancers {
    client: Client,
    budget: Arc<Budget>,
}

/// Load balancers that exist, or of which that is not known.
type Described = BTreeMap<LoadBalancerName, Result<LoadBalancerDescription, CallError>>;

/// A registration that is asked for, with its load balancer.
type Question<'w> = (&'w LoadBalancerName, Wanted<'w>);

/// An instance as a member of a load balancer.
type Membership = (LoadBalancerName, InstanceId);

impl Kind for ClassicLoadBalancers {
    type Id = LoadBalancerName;

    fn id_of(balancer: &BalancerId) -> Option<&LoadBalancerName> {
        match balancer {
            BalancerId::Classic(name) => Some(name),
            _ => None,
        }
    }

    fn balancer(name: LoadBalancerName) -> BalancerId {
        BalancerId::Classic(name)
    }
}

impl ClassicLoadBalancers {
    /// Creates the load balancers that some clients see.
    pub(super) fn new(clients: &Clients) -> Self {
        Self { client: clients.classic.clone(), budget: clients.budget.clone() }
    }

    async fn list(&self) -> Result<Vec<LoadBalancerDescription>, CallError> {
        self.describe_all(None).await
    }

    /// Describes load balancers by their names, or all of them, page by page in both cases. A load balancer that is on
    /// a later page would otherwise be taken for deleted, and what tags hold for it would be given up.
    async fn describe_all(&self, names: Option<Vec<String>>) -> Result<Vec<LoadBalancerDescription>, CallError> {
        let call = self.client.describe_load_balancers().set_load_balancer_names(names);
        let page = |marker| call.clone().set_marker(marker).send();
        let next = DescribeLoadBalancersOutput::next_marker;
        let mut balancers = Vec::new();
        let see = |page: DescribeLoadBalancersOutput| {
            balancers.extend(page.load_balancer_descriptions.unwrap_or_default());
        };
        self.budget
            .pages(ApiSet::ClassicDescribe, "elasticloadbalancing:DescribeLoadBalancers", page, next, see)
            .await?;
        Ok(balancers)
    }

    /// Describes those of some load balancers that exist.
    async fn describe(&self, names: &BTreeSet<LoadBalancerName>) -> Described {
        let asked: Vec<String> = names.iter().map(|id| id.as_str().to_owned()).collect();
        let named = |names| self.describe_all(Some(names)).boxed();
        let ByName { existing, unread } = by_name_or_listing(&asked, named, self.list().boxed()).boxed().await;
        let existing = existing.into_iter().filter_map(|found| Some((found.load_balancer_name()?.into(), Ok(found))));
        let existing = existing.filter(|(name, _)| names.contains(name));
        existing.chain(unread.into_iter().map(|(name, error)| (name.into(), Err(error)))).collect()
    }

    /// Reads the tags of load balancers. Those that do not exist any more have none.
    async fn marks(&self, names: &BTreeSet<LoadBalancerName>) -> Marks<LoadBalancerName> {
        let names: Vec<String> = names.iter().map(|id| id.as_str().to_owned()).collect();
        let ByName { existing, unread } = by_name(&names, |names| self.describe_tags(names).boxed()).await;
        let tagged = existing.iter().filter_map(|found| {
            let keys = found.tags().iter().map(|tag| tag.key().to_owned()).collect();
            Some((found.load_balancer_name()?.into(), Ok(keys)))
        });
        marks(tagged.chain(unread.into_iter().map(|(name, error)| (name.into(), Err(error)))))
    }

    async fn describe_tags(&self, names: Vec<String>) -> Result<Vec<TagDescription>, CallError> {
        let call = self.client.describe_tags().set_load_balancer_names(Some(names));
        let answer = self
            .budget
            .call(ApiSet::ClassicDescribe, "elasticloadbalancing:DescribeTags", || call.clone().send())
            .await?;
        Ok(answer.tag_descriptions.unwrap_or_default())
    }

    /// Reads what a load balancer still does for an instance that is not a member any more.
    ///
    /// Only while it drains, it says `InService`, "Instance deregistration currently in progress.", of an instance that
    /// is no member.
    async fn drain(&self, found: &LoadBalancerDescription, id: &InstanceId) -> Result<Drain, CallError> {
        let name = found.load_balancer_name().unwrap_or_default();
        let member = Member::builder().instance_id(id.as_str()).build();
        let call = self.client.describe_instance_health().load_balancer_name(name).instances(member);
        let is_under_way = match self
            .budget
            .call(ApiSet::ClassicDescribe, "elasticloadbalancing:DescribeInstanceHealth", || call.clone().send())
            .await
        {
            Ok(answer) => answer.instance_states().iter().any(|state| state.state() == Some("InService")),
            // The instance was never a member, or EC2 does not know it any more, or the load balancer was deleted just
            // now.
            Err(error) if error.is_gone() || error.is_of_no_member() => false,
            Err(error) => return Err(error),
        };
        let delay = if is_under_way { self.draining_timeout(name).await } else { None };
        Ok(Drain { is_under_way, delay, ..Drain::default() })
    }

    /// Reads how long a load balancer drains at most.
    async fn draining_timeout(&self, name: &str) -> Option<Duration> {
        let call = self.client.describe_load_balancer_attributes().load_balancer_name(name);
        let answer = self
            .budget
            .call(ApiSet::ClassicDescribe, "elasticloadbalancing:DescribeLoadBalancerAttributes", || {
                call.clone().send()
            })
            .await;
        // Without it the wait is only less exact. So a failure (a missing permission, say) is no reason to stop.
        let answer = answer.inspect_err(|error| tracing::warn!(why = error.to_sentence(), "delay unknown")).ok()?;
        let draining = answer.load_balancer_attributes()?.connection_draining()?;
        u64::try_from(draining.timeout()?).ok().map(Duration::from_secs)
    }

    /// Reads how healthy members are, with one call for each load balancer.
    ///
    /// This is for the report only: a failure is part of it and stops nothing.
    async fn health(&self, members: BTreeMap<LoadBalancerName, Vec<InstanceId>>) -> BTreeMap<Membership, Health> {
        let ask = async |(name, ids): (LoadBalancerName, Vec<InstanceId>)| {
            let members = ids.iter().map(|id| Member::builder().instance_id(id.as_str()).build()).collect();
            let call = self.client.describe_instance_health().load_balancer_name(name.as_str());
            let call = call.set_instances(Some(members));
            match self
                .budget
                .call(ApiSet::ClassicDescribe, "elasticloadbalancing:DescribeInstanceHealth", || call.clone().send())
                .await
            {
                Ok(answer) => {
                    let states = answer.instance_states().iter().filter_map(|found| {
                        let reason = found.description().filter(|text| *text != "N/A").map(str::to_owned);
                        let state = found.state().unwrap_or("unknown").to_owned();
                        Some(((name.clone(), found.instance_id()?.into()), Health { state, reason, is_in_vain: false }))
                    });
                    states.collect::<Vec<_>>()
                }
                Err(error) => {
                    let unknown =
                        Health { state: "unknown".to_owned(), reason: Some(error.to_sentence()), is_in_vain: false };
                    ids.into_iter().map(|id| ((name.clone(), id), unknown.clone())).collect()
                }
            }
        };
        let asked = stream::iter(members.into_iter().map(ask)).buffer_unordered(CALLS_IN_FLIGHT_MAX);
        asked.concat().await.into_iter().collect()
    }

    /// Reads the names of all load balancers.
    pub(super) async fn names(&self) -> Result<Vec<Name>, CallError> {
        let balancers = self.list().await?;
        Ok(balancers
            .iter()
            .filter_map(|found| Some(Name::Balancer(BalancerKind::Classic, found.load_balancer_name()?.to_owned())))
            .collect())
    }

    /// Reads all load balancers for what instances are registered with.
    pub(super) async fn scan(&self, instances: &[&Instance]) -> Scan {
        let balancers = match self.list().await {
            Ok(balancers) => balancers,
            Err(error) => return Scan { failures: vec![error], ..Scan::default() },
        };
        let by_id: BTreeMap<&str, &Instance> = instances.iter().map(|i| (i.id.as_str(), *i)).collect();
        let mut members: Vec<(LoadBalancerName, &Instance)> = Vec::new();
        for balancer in &balancers {
            let Some(name) = balancer.load_balancer_name() else { continue };
            let ours = balancer.instances().iter().filter_map(|member| by_id.get(member.instance_id()?));
            members.extend(ours.map(|instance| (name.into(), *instance)));
        }
        let Marks { owners, odd_tags } = self.marks(&members.iter().map(|(name, _)| name.clone()).collect()).await;
        let mut scan = Scan { read: balancers.len(), ..Scan::default() };
        for (name, instance) in members {
            let owner = match owners.get(&name) {
                // Without the tags it is not known whether it is foreign. So it is not touched.
                Some(Err(_)) => continue,
                Some(Ok(owner)) => Some(*owner),
                None => None,
            };
            let (instance, target) = (instance.id.clone(), target(&instance.id));
            scan.found.push(Found { instance, owner, registration: Registration::classic(name), target, doubt: None });
        }
        scan.failures.extend(owners.into_values().filter_map(Result::err));
        scan.odd_tags.extend(odd_tags.into_iter().map(|(name, key)| (BalancerId::Classic(name), key)));
        scan
    }

    /// Reads all load balancers with the first part of a sweep: one listing is the whole scan.
    pub(super) async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        match &part.after {
            None => self.scan(instances).await.into(),
            Some(_) => ScannedPart::default(),
        }
    }

    /// Reads how registrations stand.
    pub(super) async fn look<'w>(&self, wanted: Vec<Question<'w>>) -> Vec<(Wanted<'w>, Standing)> {
        let described = self.describe(&names_of(&wanted)).await;
        let (there, open): (Vec<Question<'_>>, Vec<Question<'_>>) =
            wanted.iter().partition(|asked| is_in_place(asked, &described));
        let open = open.iter().map(|(name, _)| *name).filter(|name| described.get(*name).is_some_and(Result::is_ok));
        let owners = self.marks(&open.cloned().collect()).await.owners;
        let mut present: BTreeMap<LoadBalancerName, Vec<InstanceId>> = BTreeMap::new();
        for (name, wanted) in there {
            present.entry(name.clone()).or_default().push(wanted.instance.id.clone());
        }
        let health = self.health(present).await;
        wanted.into_iter().map(|asked| (asked.1, standing(&asked, &described, &owners, &health))).collect()
    }

    /// Reads whether registrations that were just made are in place.
    pub(super) async fn sees<'w>(&self, given: Vec<Question<'w>>) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        let described = self.describe(&names_of(&given)).await;
        let seen = |given: &Question<'_>| match described.get(given.0) {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(is_in_place(given, &described)),
        };
        given.iter().map(|given| (given.1, seen(given))).collect()
    }

    /// Reads whether load balancers still drain an instance.
    pub(super) async fn drains<'p>(
        &self,
        asked: Vec<(&'p LoadBalancerName, Deregistration<'p>)>,
    ) -> Vec<(Deregistration<'p>, Result<Drain, CallError>)> {
        let names: BTreeSet<_> = asked.iter().map(|(name, _)| (*name).clone()).collect();
        let described = &self.describe(&names).await;
        let mut calls = Vec::new();
        for (name, asked) in asked {
            // Boxed: the compiler cannot see that a future with these borrows is `Send`.
            let call = async move {
                let drain = match described.get(name) {
                    // The load balancer is deleted, with its connections, or the instance is (again) a member: then
                    // nothing is draining.
                    Some(Ok(found)) if !has_member(found, &asked.instance.id) => {
                        self.drain(found, &asked.instance.id).await
                    }
                    Some(Err(error)) => Err(error.clone()),
                    _ => Ok(Drain::default()),
                };
                (asked, drain)
            };
            calls.push(call.boxed());
        }
        stream::iter(calls).buffered(CALLS_IN_FLIGHT_MAX).collect().await
    }

    /// Reads again which of some load balancers have another owner.
    pub(super) async fn owners(&self, names: BTreeSet<LoadBalancerName>) -> Owners<LoadBalancerName> {
        self.marks(&names).await.owners
    }

    /// Waits for the turn of one more registration or deregistration.
    pub(super) async fn turn(&self) {
        self.budget.spend(ApiSet::ClassicRegister).await;
    }

    /// Registers instances.
    pub(super) async fn register(&self, name: &LoadBalancerName, targets: &[Target]) -> Result<(), CallError> {
        let call = self.client.register_instances_with_load_balancer().load_balancer_name(name.as_str());
        let call = call.set_instances(Some(members(targets)));
        once("elasticloadbalancing:RegisterInstancesWithLoadBalancer", call.send()).await.map(drop)
    }

    /// Deregisters instances.
    pub(super) async fn deregister(&self, name: &LoadBalancerName, targets: &[Target]) -> Result<(), CallError> {
        let call = self.client.deregister_instances_from_load_balancer().load_balancer_name(name.as_str());
        let call = call.set_instances(Some(members(targets)));
        once("elasticloadbalancing:DeregisterInstancesFromLoadBalancer", call.send()).await.map(drop)
    }
}

/// Returns how one registration stands.
fn standing(
    (name, wanted): &Question<'_>,
    described: &Described,
    owners: &Owners<LoadBalancerName>,
    health: &BTreeMap<Membership, Health>,
) -> Standing {
    let found = match described.get(*name) {
        None => return Standing::Never(Lasting::BALANCER_GONE),
        Some(Err(error)) => return Standing::Unreadable(error.clone()),
        Some(Ok(found)) => found,
    };
    if has_member(found, &wanted.instance.id) {
        let known = health.get(&((*name).clone(), wanted.instance.id.clone())).cloned();
        return Standing::InPlace(known.unwrap_or_else(|| Health {
            state: "unknown".to_owned(),
            reason: None,
            is_in_vain: false,
        }));
    }
    let by_name = absent(name, wanted, found, owners);
    // Two load balancers can have one name, one after the other: this time tells whether the tag means this one.
    let created_at = found.created_time().and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
    let held_since = || wanted.instance.held().since(wanted.registration);
    match created_at.filter(|created_at| held_since().is_some_and(|since| since < *created_at)) {
        Some(created_at) => Standing::Replaced { created_at, by_name: Box::new(by_name) },
        None => by_name,
    }
}

/// Returns how a registration stands that is absent from the load balancer of its name.
fn absent(
    name: &LoadBalancerName,
    wanted: &Wanted<'_>,
    found: &LoadBalancerDescription,
    owners: &Owners<LoadBalancerName>,
) -> Standing {
    match owners.get(name) {
        Some(Err(error)) => return Standing::Unreadable(error.clone()),
        Some(Ok(owner)) => return Standing::Foreign((*owner).into()),
        None => {}
    }
    // A load balancer of EC2-Classic has no VPC. AWS decides whether it accepts the instance.
    let instance_vpc = &wanted.instance.vpc;
    match found.vpc_id() {
        Some(vpc) if instance_vpc.as_ref().is_some_and(|own| own.as_str() != vpc) => {
            Standing::Never(Lasting::other_vpc(Some(vpc.into()), instance_vpc.clone()))
        }
        _ => Standing::Absent(target(&wanted.instance.id)),
    }
}

fn is_in_place((name, wanted): &Question<'_>, described: &Described) -> bool {
    let found = described.get(*name).and_then(|found| found.as_ref().ok());
    found.is_some_and(|found| has_member(found, &wanted.instance.id))
}

fn names_of(asked: &[Question<'_>]) -> BTreeSet<LoadBalancerName> {
    asked.iter().map(|(name, _)| (*name).clone()).collect()
}

fn has_member(found: &LoadBalancerDescription, id: &InstanceId) -> bool {
    found.instances().iter().any(|member| member.instance_id() == Some(id.as_str()))
}

fn target(instance: &InstanceId) -> Target {
    Target { id: instance.as_str().to_owned(), port: None, zone: None, quic_id: None, vpc: None }
}

fn members(targets: &[Target]) -> Vec<Member> {
    targets.iter().map(|target| Member::builder().instance_id(&target.id).build()).collect()
}

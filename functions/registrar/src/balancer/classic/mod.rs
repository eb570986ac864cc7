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
use futures::{FutureExt, StreamExt, stream};
use protocol::{
    balancer::BalancerId,
    balancer_kind::BalancerKind,
    call_error::CallError,
    id::{InstanceId, LoadBalancerName},
    instance::Instance,
    names::Name,
    observed::{Deregistration, Drain, Found, Health, Reason, Standing, Target, Wanted},
    registration::Registration,
    tag::Owner,
};

use super::{Kind, Marks, Part, Scan, ScannedPart, marks, of_existing};
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

type Described = BTreeMap<LoadBalancerName, LoadBalancerDescription>;

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
    async fn describe(&self, names: &BTreeSet<LoadBalancerName>) -> Result<Described, CallError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let described = of_existing(&names, |names| self.describe_all(Some(names.to_vec())).boxed()).await?;
        Ok(described.into_iter().filter_map(|found| Some((found.load_balancer_name()?.into(), found))).collect())
    }

    /// Reads the tags of load balancers. Those that do not exist any more have none.
    async fn marks(&self, names: &BTreeSet<LoadBalancerName>) -> Result<Marks<LoadBalancerName>, CallError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let tagged = of_existing(&names, |names| self.describe_tags(names).boxed()).await?;
        Ok(marks(tagged.iter().filter_map(|found| {
            let keys = found.tags().iter().map(aws_sdk_elasticloadbalancing::types::Tag::key).collect();
            Some((found.load_balancer_name()?.into(), keys))
        })))
    }

    async fn describe_tags(&self, names: &[String]) -> Result<Vec<TagDescription>, CallError> {
        let call = self.client.describe_tags().set_load_balancer_names(Some(names.to_vec()));
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
            Err(error) if error.is_gone() || error.is_spoilt() => false,
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
        match self.marks(&members.iter().map(|(name, _)| name.clone()).collect()).await {
            Ok(Marks { owners, odd_tags }) => {
                let found = members.into_iter().map(|(name, instance)| Found {
                    instance: instance.id.clone(),
                    owner: owners.get(&name).copied(),
                    registration: Registration::classic(name),
                    target: target(&instance.id),
                    doubt: None,
                });
                let odd_tags = odd_tags.into_iter().map(|(name, key)| (BalancerId::Classic(name), key)).collect();
                Scan { found: found.collect(), odd_tags, ..Scan::default() }
            }
            // Without the tags it is not known what is foreign. So no registration here is touched.
            Err(error) => Scan { failures: vec![error], ..Scan::default() },
        }
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
        let described = match self.describe(&names_of(&wanted)).await {
            Ok(described) => described,
            Err(error) => {
                return wanted.into_iter().map(|(_, wanted)| (wanted, Standing::Unreadable(error.clone()))).collect();
            }
        };
        let (there, open): (Vec<Question<'_>>, Vec<Question<'_>>) =
            wanted.iter().partition(|asked| is_in_place(asked, &described));
        let open = open.iter().map(|(name, _)| *name).filter(|name| described.contains_key(*name));
        let marks = self.marks(&open.cloned().collect()).await;
        let owners = marks.map(|marks| marks.owners);
        let mut present: BTreeMap<LoadBalancerName, Vec<InstanceId>> = BTreeMap::new();
        for (name, wanted) in there {
            present.entry(name.clone()).or_default().push(wanted.instance.id.clone());
        }
        let health = self.health(present).await;
        wanted.into_iter().map(|asked| (asked.1, standing(&asked, &described, &owners, &health))).collect()
    }

    /// Reads whether registrations that were just made are in place.
    pub(super) async fn sees<'w>(&self, given: Vec<Question<'w>>) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        match self.describe(&names_of(&given)).await {
            Ok(described) => given.into_iter().map(|given| (given.1, Ok(is_in_place(&given, &described)))).collect(),
            Err(error) => given.into_iter().map(|(_, given)| (given, Err(error.clone()))).collect(),
        }
    }

    /// Reads whether load balancers still drain an instance.
    pub(super) async fn drains<'p>(
        &self,
        asked: Vec<(&'p LoadBalancerName, Deregistration<'p>)>,
    ) -> Vec<(Deregistration<'p>, Result<Drain, CallError>)> {
        let names: BTreeSet<_> = asked.iter().map(|(name, _)| (*name).clone()).collect();
        let described = match self.describe(&names).await {
            Ok(described) => described,
            Err(error) => return asked.into_iter().map(|(_, asked)| (asked, Err(error.clone()))).collect(),
        };
        let described = &described;
        let mut calls = Vec::new();
        for (name, asked) in asked {
            // Boxed: the compiler cannot see that a future with these borrows is `Send`.
            let call = async move {
                let drain = match described.get(name) {
                    // The load balancer is deleted, with its connections, or the instance is (again) a member: then
                    // nothing is draining.
                    Some(found) if !has_member(found, &asked.instance.id) => {
                        self.drain(found, &asked.instance.id).await
                    }
                    _ => Ok(Drain::default()),
                };
                (asked, drain)
            };
            calls.push(call.boxed());
        }
        stream::iter(calls).buffered(CALLS_IN_FLIGHT_MAX).collect().await
    }

    /// Reads again which of some load balancers have another owner.
    pub(super) async fn owners(
        &self,
        names: BTreeSet<LoadBalancerName>,
    ) -> Result<BTreeMap<LoadBalancerName, Owner>, CallError> {
        Ok(self.marks(&names).await?.owners)
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
    owners: &Result<BTreeMap<LoadBalancerName, Owner>, CallError>,
    health: &BTreeMap<Membership, Health>,
) -> Standing {
    let Some(found) = described.get(*name) else { return Standing::Never(Reason::BalancerGone) };
    if has_member(found, &wanted.instance.id) {
        let known = health.get(&((*name).clone(), wanted.instance.id.clone())).cloned();
        return Standing::InPlace(known.unwrap_or_else(|| Health {
            state: "unknown".to_owned(),
            reason: None,
            is_in_vain: false,
        }));
    }
    match owners {
        Err(error) => return Standing::Unreadable(error.clone()),
        Ok(owners) => {
            if let Some(owner) = owners.get(*name) {
                return Standing::Never((*owner).into());
            }
        }
    }
    // A load balancer of EC2-Classic has no VPC. AWS decides whether it accepts the instance.
    let instance_vpc = &wanted.instance.vpc;
    match found.vpc_id() {
        Some(vpc) if instance_vpc.as_ref().is_some_and(|own| own.as_str() != vpc) => {
            Standing::Never(Reason::OtherVpc { balancer: Some(vpc.into()), instance: instance_vpc.clone() })
        }
        _ => Standing::Absent(target(&wanted.instance.id)),
    }
}

fn is_in_place((name, wanted): &Question<'_>, described: &Described) -> bool {
    described.get(*name).is_some_and(|found| has_member(found, &wanted.instance.id))
}

fn names_of(asked: &[Question<'_>]) -> BTreeSet<LoadBalancerName> {
    asked.iter().map(|(name, _)| (*name).clone()).collect()
}

fn has_member(found: &LoadBalancerDescription, id: &InstanceId) -> bool {
    found.instances().iter().any(|member| member.instance_id() == Some(id.as_str()))
}

fn target(instance: &InstanceId) -> Target {
    Target { id: instance.to_string(), port: None, zone: None, quic_id: None, vpc: None }
}

fn members(targets: &[Target]) -> Vec<Member> {
    targets.iter().map(|target| Member::builder().instance_id(&target.id).build()).collect()
}

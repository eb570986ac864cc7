//! Classic load balancers. Their listing bears every one's instances, so one paged call is a whole scan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::{
    Client,
    types::{Instance as Member, LoadBalancerDescription, TagDescription},
};
use futures::{FutureExt, StreamExt, stream};
use protocol::{
    call_error::CallError,
    declaration::Declaration,
    id::{InstanceId, LoadBalancerName},
    instance::Instance,
    names::Name,
    observed::{Drain, Found, Health, Parting, Reason, Standing, Target, Unresolved, Wanted},
    registration::{BalancerId, Registration},
    tag::Owner,
};

use super::{Kind, Marks, Scan, marks, of_existing};
use crate::aws::{
    CALLS_IN_FLIGHT_MAX,
    budget::{ApiSet, Budget},
    call::call_error,
    ec2::following,
};

/// All Classic load balancers of an account in a Region.
pub struct ClassicLoadBalancers {
    client: Client,
    budget: Arc<Budget>,
}

type Described = BTreeMap<LoadBalancerName, LoadBalancerDescription>;

/// An instance's place at a load balancer.
type Membership = (LoadBalancerName, InstanceId);

impl ClassicLoadBalancers {
    /// The load balancers that a client sees.
    pub fn new(client: Client, budget: Arc<Budget>) -> Self {
        Self { client, budget }
    }

    async fn list(&self) -> Result<Vec<LoadBalancerDescription>, CallError> {
        self.describe_all(None).await
    }

    /// Describes load balancers by their names, or every one. By their names, too, page by page: whoever is not on the first
    /// one would be taken for gone, and what is held for it let go.
    async fn describe_all(&self, names: Option<Vec<String>>) -> Result<Vec<LoadBalancerDescription>, CallError> {
        let call = self.client.describe_load_balancers().set_load_balancer_names(names);
        let mut balancers = Vec::new();
        let mut next = Some(None);
        while let Some(marker) = next {
            let page = async || {
                let page = call.clone().set_marker(marker.clone()).send().await;
                page.map_err(|e| call_error("elasticloadbalancing:DescribeLoadBalancers", e))
            };
            let page = self.budget.call(ApiSet::ClassicDescribe, page).await?;
            next = following(page.next_marker());
            balancers.extend(page.load_balancer_descriptions.unwrap_or_default());
        }
        Ok(balancers)
    }

    /// Describes those that exist.
    async fn describe(&self, names: &BTreeSet<LoadBalancerName>) -> Result<Described, CallError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let described = of_existing(&names, |names| self.describe_all(Some(names.to_vec())).boxed()).await?;
        Ok(described.into_iter().filter_map(|found| Some((found.load_balancer_name()?.into(), found))).collect())
    }

    /// What the tags of load balancers say. Those that are gone have none.
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
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeTags", e))
        };
        let answer = self.budget.call(ApiSet::ClassicDescribe, call).await?;
        Ok(answer.tag_descriptions.unwrap_or_default())
    }

    /// What a load balancer still does for an instance that is not a member any more.
    ///
    /// While it drains, it says `InService`, "Instance deregistration currently in progress."; only then, of one that is no member.
    async fn drain(&self, found: &LoadBalancerDescription, id: &InstanceId) -> Result<Drain, CallError> {
        let name = found.load_balancer_name().unwrap_or_default();
        let member = Member::builder().instance_id(id.as_str()).build();
        let call = self.client.describe_instance_health().load_balancer_name(name).instances(member);
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeInstanceHealth", e))
        };
        let is_under_way = match self.budget.call(ApiSet::ClassicDescribe, call).await {
            Ok(answer) => answer.instance_states().iter().any(|state| state.state() == Some("InService")),
            // An instance that it never had, or that EC2 has forgotten, and a load balancer deleted just now.
            Err(error) if error.is_gone() || error.is_spoilt() => false,
            Err(error) => return Err(error),
        };
        let delay = if is_under_way { self.draining_timeout(name).await } else { None };
        Ok(Drain { is_under_way, delay, ..Drain::default() })
    }

    /// How long a load balancer drains at the most.
    async fn draining_timeout(&self, name: &str) -> Option<Duration> {
        let call = self.client.describe_load_balancer_attributes().load_balancer_name(name);
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeLoadBalancerAttributes", e))
        };
        let answer = self.budget.call(ApiSet::ClassicDescribe, call).await;
        // Without it the wait is only less exact, so a failure (a permission, say) is no reason to stop.
        let answer = answer.inspect_err(|error| tracing::warn!(why = error.to_sentence(), "delay unknown")).ok()?;
        let draining = answer.load_balancer_attributes()?.connection_draining()?;
        u64::try_from(draining.timeout()?).ok().map(Duration::from_secs)
    }

    /// How healthy members are, with one call for each load balancer.
    ///
    /// It is for the report only: a failure is part of it and stops nothing.
    async fn health(&self, members: BTreeMap<LoadBalancerName, Vec<InstanceId>>) -> BTreeMap<Membership, Health> {
        let ask = async |(name, ids): (LoadBalancerName, Vec<InstanceId>)| {
            let members = ids.iter().map(|id| Member::builder().instance_id(id.as_str()).build()).collect();
            let call = self.client.describe_instance_health().load_balancer_name(name.as_str());
            let call = call.set_instances(Some(members));
            let call = async || {
                let answer = call.clone().send().await;
                answer.map_err(|e| call_error("elasticloadbalancing:DescribeInstanceHealth", e))
            };
            match self.budget.call(ApiSet::ClassicDescribe, call).await {
                Ok(answer) => {
                    let states = answer.instance_states().iter().filter_map(|found| {
                        let reason = found.description().filter(|text| *text != "N/A").map(str::to_owned);
                        let state = found.state().unwrap_or("unknown").to_owned();
                        Some(((name.clone(), found.instance_id()?.into()), Health { state, reason }))
                    });
                    states.collect::<Vec<_>>()
                }
                Err(error) => {
                    let unknown = Health { state: "unknown".to_owned(), reason: Some(error.to_sentence()) };
                    ids.into_iter().map(|id| ((name.clone(), id), unknown.clone())).collect()
                }
            }
        };
        let asked = stream::iter(members.into_iter().map(ask)).buffer_unordered(CALLS_IN_FLIGHT_MAX);
        asked.concat().await.into_iter().collect()
    }
}

#[async_trait]
impl Kind for ClassicLoadBalancers {
    fn serves(&self, balancer: &BalancerId) -> bool {
        matches!(balancer, BalancerId::Classic(_))
    }

    async fn resolve(&self, declaration: &Declaration) -> Option<Result<Registration, Unresolved>> {
        match declaration {
            Declaration::Classic(name) => Some(Ok(Registration::Classic(name.clone()))),
            Declaration::Target { .. } => None,
        }
    }

    async fn names(&self) -> Result<Vec<Name>, CallError> {
        let balancers = self.list().await?;
        Ok(balancers.iter().filter_map(|found| Some(Name::Classic(found.load_balancer_name()?.to_owned()))).collect())
    }

    async fn scan(&self, instances: &[&Instance]) -> Scan {
        let balancers = match self.list().await {
            Ok(balancers) => balancers,
            Err(error) => return Scan { failures: vec![error], ..Scan::default() },
        };
        let by_id: BTreeMap<&str, &Instance> = instances.iter().map(|i| (i.id.as_str(), *i)).collect();
        let mut found: Vec<Found> = Vec::new();
        for balancer in &balancers {
            let Some(name) = balancer.load_balancer_name() else { continue };
            let members = balancer.instances().iter().filter_map(|member| by_id.get(member.instance_id()?));
            found.extend(members.map(|instance| Found {
                instance: instance.id.clone(),
                registration: Registration::Classic(name.into()),
                target: target(&instance.id),
                owner: None,
                is_far: false,
            }));
        }
        let names = found.iter().filter_map(|found| name_of(&found.registration)).cloned().collect();
        match self.marks(&names).await {
            Ok(Marks { owners, odd_tags }) => {
                for found in &mut found {
                    found.owner = name_of(&found.registration).and_then(|name| owners.get(name).copied());
                }
                let odd_tags = odd_tags.into_iter().map(|(name, key)| (BalancerId::Classic(name), key)).collect();
                Scan { found, odd_tags, ..Scan::default() }
            }
            // Without the tags nobody knows what is foreign, so nothing of it is touched.
            Err(error) => Scan { failures: vec![error], ..Scan::default() },
        }
    }

    async fn look(&self, wanted: &[Wanted<'_>]) -> Vec<Standing> {
        let names: BTreeSet<_> = wanted.iter().filter_map(|wanted| name_of(wanted.registration)).cloned().collect();
        let described = match self.describe(&names).await {
            Ok(described) => described,
            Err(error) => return wanted.iter().map(|_| Standing::Unreadable(error.clone())).collect(),
        };
        let is_open = |wanted: &&Wanted<'_>| !is_in_place(**wanted, &described);
        let open = wanted.iter().filter(is_open).filter_map(|wanted| name_of(wanted.registration));
        let marks = self.marks(&open.filter(|name| described.contains_key(*name)).cloned().collect()).await;
        let owners = marks.map(|marks| marks.owners);
        let mut present: BTreeMap<LoadBalancerName, Vec<InstanceId>> = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| is_in_place(**wanted, &described)) {
            let members = name_of(wanted.registration).map(|name| present.entry(name.clone()).or_default());
            members.into_iter().for_each(|members| members.push(wanted.instance.id.clone()));
        }
        let health = self.health(present).await;
        wanted.iter().map(|wanted| standing(*wanted, &described, &owners, &health)).collect()
    }

    async fn sees(&self, given: &[Wanted<'_>]) -> Vec<Result<bool, CallError>> {
        let names = given.iter().filter_map(|given| name_of(given.registration)).cloned().collect();
        match self.describe(&names).await {
            Ok(described) => given.iter().map(|given| Ok(is_in_place(*given, &described))).collect(),
            Err(error) => given.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn drains(&self, asked: &[Parting<'_>]) -> Vec<Result<Drain, CallError>> {
        let names: BTreeSet<_> = asked.iter().filter_map(|asked| classic(asked.balancer)).cloned().collect();
        let described = match self.describe(&names).await {
            Ok(described) => described,
            Err(error) => return asked.iter().map(|_| Err(error.clone())).collect(),
        };
        let drain = async |asked: &Parting<'_>| match classic(asked.balancer).and_then(|name| described.get(name)) {
            // Gone with its connections, or a member still (again): then nothing is drained.
            Some(found) if !has_member(found, &asked.instance.id) => self.drain(found, &asked.instance.id).await,
            _ => Ok(Drain::default()),
        };
        stream::iter(asked.iter().map(drain)).buffered(CALLS_IN_FLIGHT_MAX).collect().await
    }

    async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, Owner>, CallError> {
        let names = balancers.iter().filter_map(|balancer| match balancer {
            BalancerId::Classic(name) => Some(name.clone()),
            BalancerId::TargetGroup(_) => None,
        });
        let owners = self.marks(&names.collect()).await?.owners;
        Ok(owners.into_iter().map(|(name, owner)| (BalancerId::Classic(name), owner)).collect())
    }

    async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        let BalancerId::Classic(name) = balancer else { return Ok(()) };
        let call = self.client.register_instances_with_load_balancer().load_balancer_name(name.as_str());
        let answer = call.set_instances(Some(members(targets))).send().await;
        answer.map(drop).map_err(|e| call_error("elasticloadbalancing:RegisterInstancesWithLoadBalancer", e))
    }

    async fn turn(&self) {
        self.budget.spend(ApiSet::ClassicRegister).await;
    }

    async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        let BalancerId::Classic(name) = balancer else { return Ok(()) };
        let call = self.client.deregister_instances_from_load_balancer().load_balancer_name(name.as_str());
        let answer = call.set_instances(Some(members(targets))).send().await;
        answer.map(drop).map_err(|e| call_error("elasticloadbalancing:DeregisterInstancesFromLoadBalancer", e))
    }
}

/// How one registration stands.
fn standing(
    wanted: Wanted<'_>,
    described: &Described,
    owners: &Result<BTreeMap<LoadBalancerName, Owner>, CallError>,
    health: &BTreeMap<Membership, Health>,
) -> Standing {
    let Some((name, found)) = name_of(wanted.registration).and_then(|name| described.get_key_value(name)) else {
        return Standing::Never(Reason::BalancerGone);
    };
    if is_in_place(wanted, described) {
        let known = health.get(&(name.clone(), wanted.instance.id.clone())).cloned();
        return Standing::InPlace(known.unwrap_or_else(|| Health { state: "unknown".to_owned(), reason: None }));
    }
    match owners {
        Err(error) => return Standing::Unreadable(error.clone()),
        Ok(owners) => {
            if let Some(owner) = owners.get(name) {
                return Standing::Never((*owner).into());
            }
        }
    }
    // A load balancer of EC2-Classic has no VPC: whether it takes the instance, AWS says.
    let instance_vpc = &wanted.instance.vpc;
    match found.vpc_id() {
        Some(vpc) if instance_vpc.as_ref().is_some_and(|own| own.as_str() != vpc) => {
            Standing::Never(Reason::OtherVpc { balancer: Some(vpc.into()), instance: instance_vpc.clone() })
        }
        _ => Standing::Absent(target(&wanted.instance.id)),
    }
}

fn is_in_place(wanted: Wanted<'_>, described: &Described) -> bool {
    let found = name_of(wanted.registration).and_then(|name| described.get(name));
    found.is_some_and(|found| has_member(found, &wanted.instance.id))
}

fn has_member(found: &LoadBalancerDescription, id: &InstanceId) -> bool {
    found.instances().iter().any(|member| member.instance_id() == Some(id.as_str()))
}

fn classic(balancer: &BalancerId) -> Option<&LoadBalancerName> {
    match balancer {
        BalancerId::Classic(name) => Some(name),
        BalancerId::TargetGroup(_) => None,
    }
}

fn name_of(registration: &Registration) -> Option<&LoadBalancerName> {
    match registration {
        Registration::Classic(name) => Some(name),
        Registration::Target { .. } => None,
    }
}

fn target(instance: &InstanceId) -> Target {
    Target { id: instance.to_string(), port: None, zone: None, quic_id: None }
}

fn members(targets: &[Target]) -> Vec<Member> {
    targets.iter().map(|target| Member::builder().instance_id(&target.id).build()).collect()
}

//! Target groups of Application, Network and Gateway Load Balancers.
//!
//! No call tells the groups of an instance, so a scan asks every group that could have it. A target is its id *and* its
//! port, and is always named by both.

mod membership;
mod scan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::{
    Client,
    operation::{
        describe_load_balancers::DescribeLoadBalancersOutput, describe_target_groups::DescribeTargetGroupsOutput,
    },
    types::{TagDescription, TargetDescription, TargetGroupIpAddressTypeEnum, TargetTypeEnum},
};
use futures::{FutureExt, Stream, StreamExt, stream};
use protocol::{
    address::Family,
    balancer::{BalancerId, DeclaredGroup, TargetGroupId},
    balancer_kind::BalancerKind,
    call_error::CallError,
    instance::Instance,
    names::Name,
    observed::{Deregistration, Drain, Health, Lasting, Reason, Standing, Target, Unresolved, Wanted},
    registration::{Registration, TargetName},
    target_group::{TargetGroup, TargetType},
};

use super::{ByName, Kind, Marks, NAMES_ASKED_MAX, Owners, by_name, by_name_or_listing, marks};
use crate::aws::{
    CALLS_IN_FLIGHT_MAX,
    account::Account,
    budget::{ApiSet, Budget},
    call::once,
    clients::Clients,
};

use membership::{Index, Member, claim, in_place, may_be_of_a_zone, member, standing};

/// All target groups of one account in one Region.
pub struct TargetGroups {
    client: Client,
    budget: Arc<Budget>,
    region: String,
    account: Account,
    /// What this reading has described so far.
    described: Mutex<Described>,
    /// Whether members are read only once, too.
    remembers: bool,
}

#[derive(Default)]
struct Described {
    /// Groups by id; `None` for a group that does not exist any more.
    groups: BTreeMap<TargetGroupId, Option<TargetGroup>>,
    /// Names that no group has.
    unknown_names: BTreeSet<String>,
    /// How many names were asked for one by one.
    names_asked: usize,
    /// Whether all groups were listed, because many names were asked for.
    is_listed: bool,
    /// All groups, listed to be counted: for the scan that follows.
    counted: Option<Vec<TargetGroup>>,
    /// Members by group, if they are remembered.
    members: BTreeMap<TargetGroupId, Vec<Member>>,
}

/// A registration that is asked for, with its group.
type Question<'w> = (&'w TargetGroupId, Wanted<'w>);

type Members = Result<Vec<Member>, CallError>;

/// Groups that could not be read, each with why.
type Unread = BTreeMap<TargetGroupId, CallError>;

impl Kind for TargetGroups {
    type Id = TargetGroupId;

    fn id_of(balancer: &BalancerId) -> Option<&TargetGroupId> {
        match balancer {
            BalancerId::TargetGroup(group) => Some(group),
            _ => None,
        }
    }

    fn balancer(group: TargetGroupId) -> BalancerId {
        BalancerId::TargetGroup(group)
    }
}

impl TargetGroups {
    /// Creates the groups that some clients see.
    pub fn new(clients: &Clients) -> Self {
        Self {
            client: clients.target_groups.clone(),
            budget: clients.budget.clone(),
            region: clients.region.clone(),
            account: clients.account.clone(),
            described: Mutex::default(),
            remembers: false,
        }
    }

    /// Returns the same groups, whose members are read only once. A sweep needs the groups of an account several times,
    /// and each reading costs a call for each group.
    ///
    /// Their answers are as old as the first look. The caller must have read the instances before that.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { remembers: true, ..self }
    }

    fn arn(&self, group: &TargetGroupId) -> String {
        group.arn(&self.region, self.account.id())
    }

    fn described(&self) -> MutexGuard<'_, Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, group: TargetGroup) {
        self.described().groups.insert(group.id.clone(), Some(group));
    }

    fn recall(&self, group: &TargetGroupId) -> Option<Option<TargetGroup>> {
        self.described().groups.get(group).cloned()
    }

    /// Returns a group by its name, if it was asked for already: `Some(None)` if it does not exist.
    fn recall_named(&self, name: &str) -> Option<Option<TargetGroup>> {
        let described = self.described();
        if described.unknown_names.contains(name) {
            return Some(None);
        }
        let known = described.groups.values().flatten().find(|group| group.id.name == name);
        known.cloned().map(Some).or(described.is_listed.then_some(None))
    }

    async fn list(&self) -> Result<Vec<TargetGroup>, CallError> {
        let listed = self.described().counted.take();
        match listed {
            Some(groups) => Ok(groups),
            None => self.describe_all(None).await,
        }
    }

    /// Describes groups by their ARNs, or all of them, page by page in both cases. A group that is on a later page
    /// would otherwise be taken for deleted, and what tags hold for it would be given up.
    async fn describe_all(&self, arns: Option<Vec<String>>) -> Result<Vec<TargetGroup>, CallError> {
        let call = self.client.describe_target_groups().set_target_group_arns(arns);
        let page = |marker| call.clone().set_marker(marker).send();
        let next = DescribeTargetGroupsOutput::next_marker;
        let mut groups = Vec::new();
        let see = |page: DescribeTargetGroupsOutput| {
            for group in page.target_groups() {
                self.account.learn(group.target_group_arn().and_then(|arn| arn.split(':').nth(4)));
                groups.extend(target_group(group));
            }
        };
        self.budget.pages(ApiSet::Describe, "elasticloadbalancing:DescribeTargetGroups", page, next, see).await?;
        Ok(groups)
    }

    /// Reads the load balancers that could have target groups, by their ARNs.
    async fn load_balancers(&self) -> Result<Vec<(String, Name)>, CallError> {
        let call = self.client.describe_load_balancers();
        let page = |marker| call.clone().set_marker(marker).send();
        let next = DescribeLoadBalancersOutput::next_marker;
        let mut balancers = Vec::new();
        let see = |page: DescribeLoadBalancersOutput| {
            balancers.extend(page.load_balancers().iter().filter_map(|found| {
                let kind = found.r#type().map(|kind| kind.as_str().to_owned()).unwrap_or_default();
                let name = found.load_balancer_name()?.to_owned();
                Some((found.load_balancer_arn()?.to_owned(), Name::LoadBalancer { name, kind, groups: Vec::new() }))
            }));
        };
        self.budget.pages(ApiSet::Describe, "elasticloadbalancing:DescribeLoadBalancers", page, next, see).await?;
        Ok(balancers)
    }

    async fn describe_named(&self, name: &str) -> Result<Option<TargetGroup>, CallError> {
        if let Some(known) = self.recall_named(name) {
            return Ok(known);
        }
        if self.described().names_asked >= NAMES_ASKED_MAX {
            self.list().await?.into_iter().for_each(|group| self.remember(group));
            self.described().is_listed = true;
            return Ok(self.recall_named(name).flatten());
        }
        self.described().names_asked += 1;
        let call = self.client.describe_target_groups().names(name);
        match self
            .budget
            .call(ApiSet::Describe, "elasticloadbalancing:DescribeTargetGroups", || call.clone().send())
            .await
        {
            Ok(answer) => {
                let group = answer.target_groups().first().and_then(target_group);
                if let Some(group) = &group {
                    self.remember(group.clone());
                }
                Ok(group)
            }
            Err(error) if error.is_gone() => {
                self.described().unknown_names.insert(name.to_owned());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Describes those of some groups that exist and were not described yet. Returns those that could not be described.
    async fn describe(&self, groups: &BTreeSet<TargetGroupId>) -> Unread {
        let unknown = groups.iter().filter(|group| self.recall(group).is_none());
        let unknown: BTreeMap<String, &TargetGroupId> = unknown.map(|group| (self.arn(group), group)).collect();
        let arns: Vec<String> = unknown.keys().cloned().collect();
        let named = |arns| self.describe_all(Some(arns)).boxed();
        let ByName { existing, unread } = by_name_or_listing(&arns, named, self.list().boxed()).boxed().await;
        existing.into_iter().for_each(|group| self.remember(group));
        let mut described = self.described();
        let answered = unknown.iter().filter(|(arn, _)| !unread.contains_key(*arn));
        for (_, group) in answered {
            described.groups.entry((*group).clone()).or_insert(None);
        }
        unread.into_iter().map(|(arn, error)| (unknown[&arn].clone(), error)).collect()
    }

    async fn members(&self, group: &TargetGroupId) -> Members {
        if let Some(known) = self.described().members.get(group) {
            return Ok(known.clone());
        }
        let members = self.members_now(group).await?;
        if self.remembers {
            self.described().members.insert(group.clone(), members.clone());
        }
        Ok(members)
    }

    async fn members_now(&self, group: &TargetGroupId) -> Members {
        let call = self.client.describe_target_health().target_group_arn(self.arn(group));
        let answer = self
            .budget
            .call(ApiSet::Describe, "elasticloadbalancing:DescribeTargetHealth", || call.clone().send())
            .await?;
        Ok(answer.target_health_descriptions().iter().filter_map(member).collect())
    }

    /// Reads the members of groups, as long as there is time, one group after the other: all of an account may not fit into
    /// memory. Groups that are known not to exist have none.
    fn members_of_each(&self, groups: BTreeSet<TargetGroupId>) -> impl Stream<Item = (TargetGroupId, Members)> + Send {
        stream::iter(groups).map(|group| self.with_members(group)).buffer_unordered(CALLS_IN_FLIGHT_MAX)
    }

    async fn with_members(&self, group: TargetGroupId) -> (TargetGroupId, Members) {
        let members = match (self.recall(&group), self.budget.has_time()) {
            (Some(None), _) => Ok(Vec::new()),
            (_, true) => self.members(&group).await,
            (_, false) => Err(CallError::NoTime { action: "elasticloadbalancing:DescribeTargetHealth" }),
        };
        (group, members)
    }

    /// Reads the members of some groups.
    async fn members_of_all(&self, groups: BTreeSet<TargetGroupId>) -> BTreeMap<TargetGroupId, Members> {
        self.members_of_each(groups).collect().await
    }

    /// Reads how long groups drain. Groups whose delay could not be read are left out.
    async fn deregistration_delays(&self, groups: BTreeSet<TargetGroupId>) -> BTreeMap<TargetGroupId, Duration> {
        let ask = async |group: TargetGroupId| {
            let delay = self.deregistration_delay(&group).await?;
            Some((group, delay))
        };
        let asked = stream::iter(groups.into_iter().map(ask)).buffer_unordered(CALLS_IN_FLIGHT_MAX);
        asked.filter_map(std::future::ready).collect().await
    }

    async fn deregistration_delay(&self, group: &TargetGroupId) -> Option<Duration> {
        let call = self.client.describe_target_group_attributes().target_group_arn(self.arn(group));
        // Without it the wait is only less exact. So a failure (a missing permission, say) is no reason to stop.
        let answer = self
            .budget
            .call(ApiSet::Describe, "elasticloadbalancing:DescribeTargetGroupAttributes", || call.clone().send())
            .await;
        let answer = answer.inspect_err(|error| tracing::warn!(why = error.to_sentence(), "delay unknown")).ok()?;
        let mut attributes = answer.attributes().iter();
        let delay = attributes.find(|attribute| attribute.key() == Some("deregistration_delay.timeout_seconds"))?;
        delay.value()?.parse().ok().map(Duration::from_secs)
    }

    /// Returns what a group still does for an instance, by its members. A group that does not exist any more does
    /// nothing.
    fn drain(
        &self,
        group: &TargetGroupId,
        instance: &Instance,
        members: &BTreeMap<TargetGroupId, Members>,
    ) -> Result<Drain, CallError> {
        let Some(group) = self.recall(group).flatten() else { return Ok(Drain::default()) };
        let members = match members.get(&group.id) {
            Some(Ok(members)) => members,
            Some(Err(error)) if !error.is_gone() => return Err(error.clone()),
            _ => return Ok(Drain::default()),
        };
        let index = Index::of(&[instance]);
        let mut draining = members.iter().filter(|member| member.is_draining);
        let is_under_way = draining.any(|member| claim(&group, member, &index).is_some());
        // "loadbalancer/net/NAME/ID" (ELB user guide, the ARNs of load balancers).
        let is_network = group.load_balancer_arns.iter().any(|arn| arn.contains(":loadbalancer/net/"));
        // Draining lasts for all of its delay, even if the connections end earlier.
        Ok(Drain { is_under_way, delay: None, is_exact: true, is_network })
    }

    /// Adds to standings how long their groups drain, if that matters.
    async fn complete_draining(&self, standings: &mut [(Question<'_>, Standing)]) {
        let draining = standings.iter().filter(|(_, standing)| matches!(standing, Standing::Draining { .. }));
        let delays = self.deregistration_delays(draining.map(|((group, _), _)| (*group).clone()).collect()).await;
        for ((group, _), standing) in standings {
            if let Standing::Draining { delay } = standing {
                *delay = delays.get(*group).copied();
            }
        }
    }

    /// Returns those of some groups that exist, and those that could not be read.
    async fn existing(&self, groups: &BTreeSet<TargetGroupId>) -> (Vec<TargetGroup>, Unread) {
        let unread = self.describe(groups).await;
        (groups.iter().filter_map(|group| self.recall(group).flatten()).collect(), unread)
    }

    /// Reads the tags of groups, and those of the load balancers in front of them.
    async fn marks(&self, groups: &[&TargetGroup]) -> Marks<TargetGroupId> {
        let arns = groups.iter().flat_map(|g| g.load_balancer_arns.iter().cloned().chain([self.arn(&g.id)]));
        let arns: Vec<String> = arns.collect::<BTreeSet<_>>().into_iter().collect();
        let ByName { existing, unread } = by_name(&arns, |arns| self.describe_tags(arns).boxed()).await;
        let keys = |found: &'_ TagDescription| {
            found.tags().iter().filter_map(|tag| tag.key().map(str::to_owned)).collect::<Vec<String>>()
        };
        let keys: BTreeMap<String, Vec<String>> =
            existing.iter().filter_map(|found| Some((found.resource_arn()?.to_owned(), keys(found)))).collect();
        marks(groups.iter().map(|group| {
            let mut of_group = Ok(Vec::new());
            for arn in [self.arn(&group.id)].iter().chain(&group.load_balancer_arns) {
                match (unread.get(arn), &mut of_group) {
                    (Some(error), _) => of_group = Err(error.clone()),
                    (None, Ok(of_group)) => of_group.extend(keys.get(arn).into_iter().flatten().cloned()),
                    (None, Err(_)) => {}
                }
            }
            (group.id.clone(), of_group)
        }))
    }

    async fn describe_tags(&self, arns: Vec<String>) -> Result<Vec<TagDescription>, CallError> {
        let call = self.client.describe_tags().set_resource_arns(Some(arns));
        let answer =
            self.budget.call(ApiSet::Describe, "elasticloadbalancing:DescribeTags", || call.clone().send()).await?;
        Ok(answer.tag_descriptions.unwrap_or_default())
    }

    /// Completes a declaration with what the group of its name has.
    pub(super) async fn resolve(
        &self,
        declared: &DeclaredGroup,
        target: &TargetName,
    ) -> Result<Registration, Unresolved> {
        match self.describe_named(&declared.name).await {
            Ok(Some(group)) => {
                declared.resolve(target, &group).map_err(|why| Unresolved::Reason(Reason::DoesNotFit(why)))
            }
            Ok(None) => Err(Unresolved::Reason(Reason::NoSuchBalancer {
                sought: BalancerKind::TargetGroup,
                name: declared.name.clone(),
                hint: String::new(),
            })),
            Err(error) => Err(Unresolved::Unreadable(error)),
        }
    }

    /// Reads the ports of groups, on which they register targets that name none.
    pub(super) async fn own_ports(
        &self,
        groups: BTreeSet<TargetGroupId>,
    ) -> Result<BTreeMap<BalancerId, u16>, CallError> {
        let (groups, unread) = self.existing(&groups).await;
        match unread.into_values().next() {
            Some(error) => Err(error),
            None => Ok(groups
                .into_iter()
                .filter_map(|group| Some((BalancerId::TargetGroup(group.id), group.port?)))
                .collect()),
        }
    }

    /// Reads the names of groups, and of the load balancers in front of them.
    pub(super) async fn names(&self) -> Result<Vec<Name>, CallError> {
        let groups = self.list().await?;
        let mut names = self.load_balancers().await?;
        for name in &mut names {
            if let (arn, Name::LoadBalancer { groups: its, .. }) = name {
                // Groups of functions and of load balancers take no targets here.
                let in_front = |group: &&TargetGroup| {
                    group.load_balancer_arns.contains(arn) && !matches!(group.target_type, TargetType::Other(_))
                };
                its.extend(groups.iter().filter(in_front).map(|group| group.id.name.clone()));
            }
        }
        let names = names.into_iter().map(|(_, name)| name);
        Ok(names
            .chain(groups.into_iter().map(|group| Name::Balancer(BalancerKind::TargetGroup, group.id.name)))
            .collect())
    }

    /// Reads how registrations stand.
    pub(super) async fn look<'w>(&self, wanted: Vec<Question<'w>>) -> Vec<(Wanted<'w>, Standing)> {
        let seen = wanted.iter().filter(|(_, wanted)| !wanted.is_surely_absent);
        let seen: BTreeSet<TargetGroupId> = seen.map(|(group, _)| (*group).clone()).collect();
        if seen.len() > NAMES_ASKED_MAX {
            // What cannot be described is asked for its members, which says the same.
            self.describe(&seen).await;
        }
        let members = self.members_of_all(seen).await;
        let no_members = Ok(Vec::new());
        let members_of = |group: &TargetGroupId| members.get(group).unwrap_or(&no_members);
        // A restart whose registrations are all in place costs nothing more than this.
        let is_open = |(group, wanted): &&Question<'_>| {
            let of_group = self.recall(group).flatten();
            let is_open = |members: &Vec<Member>| {
                in_place(*wanted, members, of_group.as_ref()).is_none_or(|health| may_be_of_a_zone(&health))
            };
            members_of(group).as_ref().is_ok_and(is_open)
        };
        let open: BTreeSet<TargetGroupId> = wanted.iter().filter(is_open).map(|(group, _)| (*group).clone()).collect();
        let owners = self.owners(open).await;
        let standing_of = |id: &TargetGroupId, wanted: Wanted<'_>| {
            let members = match members_of(id) {
                Ok(members) => members,
                Err(error) if error.is_gone() => return Standing::Never(Lasting::BALANCER_GONE),
                Err(error) => return Standing::Unreadable(error.clone()),
            };
            let group = self.recall(id).flatten();
            match (in_place(wanted, members, group.as_ref()), owners.get(id), group) {
                (Some(health), _, group) => {
                    let is_used = group.is_some_and(|found| !found.load_balancer_arns.is_empty());
                    let is_in_vain = health.is_in_vain && !(is_used && may_be_of_a_zone(&health));
                    Standing::InPlace(Health { is_in_vain, ..health })
                }
                (None, Some(Err(error)), _) => Standing::Unreadable(error.clone()),
                (None, _, None) => Standing::Never(Lasting::BALANCER_GONE),
                (None, owner, Some(found)) => {
                    standing(wanted, &found, members, owner.and_then(|owner| owner.as_ref().ok()).copied())
                }
            }
        };
        let mut standings: Vec<(Question<'_>, Standing)> =
            wanted.into_iter().map(|(group, wanted)| ((group, wanted), standing_of(group, wanted))).collect();
        self.complete_draining(&mut standings).await;
        standings.into_iter().map(|((_, wanted), standing)| (wanted, standing)).collect()
    }

    /// Reads whether registrations that were just made are in place.
    pub(super) async fn sees<'w>(&self, given: Vec<Question<'w>>) -> Vec<(Wanted<'w>, Result<bool, CallError>)> {
        let groups: BTreeSet<TargetGroupId> = given.iter().map(|(group, _)| (*group).clone()).collect();
        // Remembered members were read before the registrations.
        groups.iter().for_each(|group| drop(self.described().members.remove(group)));
        let members = self.members_of_all(groups).await;
        let is_seen = |(group, given): Question<'w>| match members.get(group) {
            Some(Ok(members)) => (given, Ok(in_place(given, members, self.recall(group).flatten().as_ref()).is_some())),
            Some(Err(error)) => (given, Err(error.clone())),
            None => (given, Ok(false)),
        };
        given.into_iter().map(is_seen).collect()
    }

    /// Reads whether groups still drain an instance.
    pub(super) async fn drains<'p>(
        &self,
        asked: Vec<(&'p TargetGroupId, Deregistration<'p>)>,
    ) -> Vec<(Deregistration<'p>, Result<Drain, CallError>)> {
        let groups: BTreeSet<TargetGroupId> = asked.iter().map(|(group, _)| (*group).clone()).collect();
        let (existing, unread) = self.existing(&groups).await;
        let members = self.members_of_all(existing.into_iter().map(|group| group.id).collect()).await;
        let drain = |(group, asked): (&'p TargetGroupId, Deregistration<'p>)| {
            let drain = match unread.get(group) {
                Some(error) => Err(error.clone()),
                None => self.drain(group, asked.instance, &members),
            };
            (group, asked, drain)
        };
        let mut drains: Vec<_> = asked.into_iter().map(drain).collect();
        let lasts = |drain: &Drain| drain.is_under_way || drain.is_network;
        let lasting = drains.iter().filter(|(_, _, drain)| drain.as_ref().is_ok_and(lasts));
        let delays = self.deregistration_delays(lasting.map(|(group, _, _)| (*group).clone()).collect()).await;
        for (group, _, drain) in &mut drains {
            if let Ok(drain) = drain {
                drain.delay = delays.get(*group).copied();
            }
        }
        drains.into_iter().map(|(_, asked, drain)| (asked, drain)).collect()
    }

    /// Reads which of some groups have another owner, by their own tags, or by those of the load balancers in front of
    /// them.
    pub(super) async fn owners(&self, groups: BTreeSet<TargetGroupId>) -> Owners<TargetGroupId> {
        let (existing, unread) = self.existing(&groups).await;
        let mut owners = self.marks(&existing.iter().collect::<Vec<_>>()).await.owners;
        owners.extend(unread.into_iter().map(|(group, error)| (group, Err(error))));
        owners
    }

    /// Waits for the turn of one more registration or deregistration.
    pub(crate) async fn turn(&self) {
        self.budget.spend(ApiSet::Register).await;
    }

    /// Registers targets.
    pub(super) async fn register(&self, group: &TargetGroupId, targets: &[Target]) -> Result<(), CallError> {
        let targets = targets.iter().map(description).collect();
        let call = self.client.register_targets().target_group_arn(self.arn(group)).set_targets(Some(targets));
        once("elasticloadbalancing:RegisterTargets", call.send()).await.map(drop)
    }

    /// Deregisters targets, each with its port.
    pub(crate) async fn deregister(&self, group: &TargetGroupId, targets: &[Target]) -> Result<(), CallError> {
        let targets = targets.iter().map(description).collect();
        let call = self.client.deregister_targets().target_group_arn(self.arn(group)).set_targets(Some(targets));
        once("elasticloadbalancing:DeregisterTargets", call.send()).await.map(drop)
    }
}

fn description(target: &Target) -> TargetDescription {
    TargetDescription::builder()
        .id(&target.id)
        .set_port(target.port.map(i32::from))
        .set_availability_zone(target.zone.clone())
        .set_quic_server_id(target.quic_id.clone())
        .build()
}

fn target_group(group: &aws_sdk_elasticloadbalancingv2::types::TargetGroup) -> Option<TargetGroup> {
    let target_type = match group.target_type()? {
        TargetTypeEnum::Instance => TargetType::Instance,
        TargetTypeEnum::Ip => TargetType::Ip(match group.ip_address_type() {
            Some(TargetGroupIpAddressTypeEnum::Ipv6) => Family::V6,
            _ => Family::V4,
        }),
        other => TargetType::Other(other.as_str().to_owned()),
    };
    Some(TargetGroup {
        id: TargetGroupId::from_arn(group.target_group_arn()?)?,
        port: group.port().and_then(|port| u16::try_from(port).ok()),
        vpc: group.vpc_id().map(Into::into),
        target_type,
        load_balancer_arns: group.load_balancer_arns().to_vec(),
    })
}

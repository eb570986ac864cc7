//! Target groups of Application, Network and Gateway Load Balancers.
//!
//! There is no reverse lookup from an instance to its groups, so a scan asks every group that could have it. A target is
//! its id *and* its port, and is always named by both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{TagDescription, TargetDescription, TargetGroupIpAddressTypeEnum, TargetTypeEnum},
};
use futures::{FutureExt, StreamExt, stream};
use protocol::{
    address::Family,
    call_error::CallError,
    declaration::Declaration,
    instance::Instance,
    names::{Name, Sought},
    observed::{AddressTarget, Drain, Parting, Reason, Standing, Target, Unresolved, Wanted},
    registration::{BalancerId, Registration, TargetGroupId},
    tag::Owner,
    target_group::{TargetGroup, TargetType},
};
use tokio::time::Instant as MonotonicTime;

use super::{
    Kind, Marks, Part, Scan, ScannedPart, marks,
    membership::{Index, Member, address_target, can_have_one_of, claim, in_place, member, standing},
    of_existing,
};
use crate::aws::{
    CALLS_IN_FLIGHT_MAX,
    budget::{ApiSet, Budget},
    call::call_error,
    ec2::following,
};

/// Groups that a sweep reads before it looks at the clock. At AWS's older limits that is ten seconds' worth.
const GROUPS_A_LOOK: usize = 100;

/// All target groups of one account in one Region.
pub struct TargetGroups {
    client: Client,
    budget: Arc<Budget>,
    region: String,
    /// Whose they are; learned from the first listing where nobody knew it before.
    account: OnceLock<String>,
    /// What this reading has described so far.
    described: Mutex<Described>,
    /// Whether members are read only once, too.
    remembers: bool,
}

#[derive(Default)]
struct Described {
    /// `None` for a group that is gone.
    groups: BTreeMap<TargetGroupId, Option<TargetGroup>>,
    /// Names that no group has.
    unknown_names: BTreeSet<String>,
    /// Only where members are remembered.
    members: BTreeMap<TargetGroupId, Vec<Member>>,
}

/// What was read of some groups again, for a second opinion.
#[derive(Debug, Default)]
pub(crate) struct SecondLook {
    pub(crate) addresses: Vec<AddressTarget>,
    pub(crate) owners: BTreeMap<TargetGroupId, Owner>,
}

type Members = Result<Vec<Member>, CallError>;

impl TargetGroups {
    /// The groups of one account in one Region.
    pub fn new(client: Client, budget: Arc<Budget>, region: &str, account: &str) -> Self {
        let known = OnceLock::new();
        if !account.is_empty() {
            // A new one is empty.
            let _ = known.set(account.to_owned());
        }
        let region = region.to_owned();
        Self { client, budget, region, account: known, described: Mutex::default(), remembers: false }
    }

    /// The same, with the members of each group read only once: a sweep goes several times through the groups of an account,
    /// each of which costs a call.
    ///
    /// What it answers is as old as its first look. Whoever asks it must have read the instances before that.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { remembers: true, ..self }
    }

    fn arn(&self, group: &TargetGroupId) -> String {
        group.arn(&self.region, self.account())
    }

    fn account(&self) -> &str {
        self.account.get().map_or("", String::as_str)
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

    /// A group by its name, if that was asked for already: `Some(None)` where there is none.
    fn recall_named(&self, name: &str) -> Option<Option<TargetGroup>> {
        let described = self.described();
        if described.unknown_names.contains(name) {
            return Some(None);
        }
        described.groups.values().flatten().find(|group| group.id.name == name).cloned().map(Some)
    }

    async fn list(&self) -> Result<Vec<TargetGroup>, CallError> {
        self.describe_all(None).await
    }

    /// The groups that may have any of some instances.
    async fn candidates(&self, instances: &[&Instance]) -> Result<Vec<TargetGroup>, CallError> {
        let groups = self.list().await?;
        Ok(groups.into_iter().filter(|group| can_have_one_of(group, instances)).collect())
    }

    /// How many groups may have any of some instances.
    pub(crate) async fn count(&self, instances: &[&Instance]) -> Result<usize, CallError> {
        self.candidates(instances).await.map(|candidates| candidates.len())
    }

    /// Describes groups by their ARNs, or every one. By their ARNs, too, page by page: whoever is not on the first one would
    /// be taken for gone, and what is held for it let go.
    async fn describe_all(&self, arns: Option<Vec<String>>) -> Result<Vec<TargetGroup>, CallError> {
        let call = self.client.describe_target_groups().set_target_group_arns(arns);
        let mut groups = Vec::new();
        let mut next = Some(None);
        while let Some(marker) = next {
            let page = async || {
                let page = call.clone().set_marker(marker.clone()).send().await;
                page.map_err(|e| call_error("elasticloadbalancing:DescribeTargetGroups", e))
            };
            let page = self.budget.call(ApiSet::Describe, page).await?;
            for group in page.target_groups() {
                if let Some(account) = group.target_group_arn().and_then(|arn| arn.split(':').nth(4)) {
                    self.account.get_or_init(|| account.to_owned());
                }
                groups.extend(target_group(group));
            }
            next = following(page.next_marker());
        }
        Ok(groups)
    }

    /// The load balancers that could have target groups, by their ARNs.
    async fn load_balancers(&self) -> Result<Vec<(String, Name)>, CallError> {
        let call = self.client.describe_load_balancers();
        let mut balancers = Vec::new();
        let mut next = Some(None);
        while let Some(marker) = next {
            let page = async || {
                let page = call.clone().set_marker(marker.clone()).send().await;
                page.map_err(|e| call_error("elasticloadbalancing:DescribeLoadBalancers", e))
            };
            let page = self.budget.call(ApiSet::Describe, page).await?;
            balancers.extend(page.load_balancers().iter().filter_map(|found| {
                let kind = found.r#type().map(|kind| kind.as_str().to_owned()).unwrap_or_default();
                let name = found.load_balancer_name()?.to_owned();
                Some((found.load_balancer_arn()?.to_owned(), Name::LoadBalancer { name, kind, groups: Vec::new() }))
            }));
            next = following(page.next_marker());
        }
        Ok(balancers)
    }

    async fn describe_named(&self, name: &str) -> Result<Option<TargetGroup>, CallError> {
        if let Some(known) = self.recall_named(name) {
            return Ok(known);
        }
        let call = self.client.describe_target_groups().names(name);
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeTargetGroups", e))
        };
        match self.budget.call(ApiSet::Describe, call).await {
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

    /// Describes groups that were not described yet, those of them that exist.
    async fn describe(&self, groups: &BTreeSet<TargetGroupId>) -> Result<(), CallError> {
        let unknown: Vec<&TargetGroupId> = groups.iter().filter(|group| self.recall(group).is_none()).collect();
        let arns: Vec<String> = unknown.iter().map(|group| self.arn(group)).collect();
        let found = of_existing(&arns, |arns| self.describe_all(Some(arns.to_vec())).boxed()).await?;
        found.into_iter().for_each(|group| self.remember(group));
        let mut described = self.described();
        for group in unknown {
            described.groups.entry(group.clone()).or_insert(None);
        }
        Ok(())
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
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeTargetHealth", e))
        };
        let answer = self.budget.call(ApiSet::Describe, call).await?;
        Ok(answer.target_health_descriptions().iter().filter_map(member).collect())
    }

    async fn members_of_all(&self, groups: BTreeSet<TargetGroupId>) -> BTreeMap<TargetGroupId, Members> {
        let ask = async |group: TargetGroupId| {
            let members = self.members(&group).await;
            (group, members)
        };
        stream::iter(groups.into_iter().map(ask)).buffer_unordered(CALLS_IN_FLIGHT_MAX).collect().await
    }

    /// How long groups drain; those of which nobody could tell are left out.
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
        // Without it the wait is only less exact, so a failure (a permission, say) is no reason to stop.
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeTargetGroupAttributes", e))
        };
        let answer = self.budget.call(ApiSet::Describe, call).await;
        let answer = answer.inspect_err(|error| tracing::warn!(why = error.to_sentence(), "delay unknown")).ok()?;
        let mut attributes = answer.attributes().iter();
        let delay = attributes.find(|attribute| attribute.key() == Some("deregistration_delay.timeout_seconds"))?;
        delay.value()?.parse().ok().map(Duration::from_secs)
    }

    /// What a group still does for an instance, by its members; a group that is gone does nothing.
    fn drain(&self, asked: &Parting<'_>, members: &BTreeMap<TargetGroupId, Members>) -> Result<Drain, CallError> {
        let group = target_group_of(asked.balancer).and_then(|group| self.recall(&group).flatten());
        let Some(group) = group else { return Ok(Drain::default()) };
        let members = match members.get(&group.id) {
            Some(Ok(members)) => members,
            Some(Err(error)) if !error.is_gone() => return Err(error.clone()),
            _ => return Ok(Drain::default()),
        };
        let index = Index::of(&[asked.instance]);
        let mut draining = members.iter().filter(|member| member.is_draining);
        let is_under_way = draining.any(|member| claim(&group, member, &index).is_some());
        // "loadbalancer/net/NAME/ID" (ELB user guide, the ARNs of load balancers).
        let is_network = group.load_balancer_arns.iter().any(|arn| arn.contains(":loadbalancer/net/"));
        // Draining lasts for all of its delay, even where the connections end earlier.
        Ok(Drain { is_under_way, delay: None, is_exact: true, is_network })
    }

    /// Adds to standings how long their groups drain, where that matters.
    async fn complete_draining(&self, wanted: &[Wanted<'_>], standings: &mut [Standing]) {
        let groups: Vec<Option<TargetGroupId>> = wanted.iter().map(|wanted| group_of(wanted.registration)).collect();
        let mut draining = BTreeSet::new();
        for (group, standing) in groups.iter().zip(standings.iter()) {
            if matches!(standing, Standing::Draining { .. }) {
                draining.extend(group.clone());
            }
        }
        let delays = self.deregistration_delays(draining).await;
        for (group, standing) in groups.iter().zip(standings) {
            if let (Some(group), Standing::Draining { delay }) = (group, standing) {
                *delay = delays.get(group).copied();
            }
        }
    }

    /// Those of some groups that exist.
    async fn existing(&self, groups: &BTreeSet<TargetGroupId>) -> Result<Vec<TargetGroup>, CallError> {
        self.describe(groups).await?;
        Ok(groups.iter().filter_map(|group| self.recall(group).flatten()).collect())
    }

    /// Who else looks after groups: by their own tags, or by those of the load balancers in front of them.
    async fn owners_of(&self, groups: &[&TargetGroup]) -> Result<BTreeMap<TargetGroupId, Owner>, CallError> {
        Ok(self.marks(groups).await?.owners)
    }

    /// What the tags of groups say, or those of the load balancers in front of them.
    async fn marks(&self, groups: &[&TargetGroup]) -> Result<Marks<TargetGroupId>, CallError> {
        let arns = groups.iter().flat_map(|g| g.load_balancer_arns.iter().cloned().chain([self.arn(&g.id)]));
        let arns: Vec<String> = arns.collect::<BTreeSet<_>>().into_iter().collect();
        let tagged = of_existing(&arns, |arns| self.describe_tags(arns).boxed()).await?;
        let keys = |found: &'_ TagDescription| {
            found.tags().iter().filter_map(|tag| tag.key().map(str::to_owned)).collect::<Vec<String>>()
        };
        let keys: BTreeMap<String, Vec<String>> =
            tagged.iter().filter_map(|found| Some((found.resource_arn()?.to_owned(), keys(found)))).collect();
        Ok(marks(groups.iter().map(|group| {
            let arns = [self.arn(&group.id)].into_iter().chain(group.load_balancer_arns.iter().cloned());
            let of_group = arns.filter_map(|arn| keys.get(&arn)).flatten().map(String::as_str);
            (group.id.clone(), of_group.collect())
        })))
    }

    /// Asks groups for their members: which of them are these instances', and which addresses there are.
    async fn scan_groups(&self, groups: &[TargetGroup], instances: &[&Instance]) -> ScannedPart {
        let by_id: BTreeMap<&TargetGroupId, &TargetGroup> = groups.iter().map(|group| (&group.id, group)).collect();
        let index = Index::of(instances);
        let mut scanned = ScannedPart::default();
        for (id, members) in self.members_of_all(by_id.keys().map(|id| (*id).clone()).collect()).await {
            match members {
                Ok(members) => {
                    let present = || members.iter().filter(|member| !member.is_draining);
                    let group = by_id[&id];
                    scanned.scan.found.extend(present().filter_map(|member| claim(group, member, &index)));
                    scanned.addresses.extend(present().filter_map(|member| address_target(group, member)));
                    let draining = members.iter().filter(|member| member.is_draining);
                    let draining = draining.filter_map(|member| claim(group, member, &index));
                    let balancer = BalancerId::TargetGroup(id.clone());
                    scanned.scan.draining.extend(draining.map(|found| (found.instance, balancer.clone())));
                }
                Err(error) if error.is_gone() => {}
                Err(error) => scanned.scan.failures.push(error),
            }
        }
        self.add_owners(&mut scanned.scan, &by_id).await;
        scanned
    }

    /// Adds to what a scan found who else looks after it.
    async fn add_owners(&self, scan: &mut Scan, groups: &BTreeMap<&TargetGroupId, &TargetGroup>) {
        let with_ours: Vec<&TargetGroup> = scan
            .found
            .iter()
            .filter_map(|found| match found.registration.balancer() {
                BalancerId::TargetGroup(id) => groups.get(&id).copied(),
                BalancerId::Classic(_) => None,
            })
            .collect();
        match self.marks(&with_ours).await {
            Ok(Marks { owners, odd_tags }) => {
                scan.found.iter_mut().for_each(|found| {
                    if let BalancerId::TargetGroup(id) = found.registration.balancer() {
                        found.owner = owners.get(&id).copied();
                    }
                });
                scan.odd_tags = odd_tags.into_iter().map(|(id, key)| (BalancerId::TargetGroup(id), key)).collect();
            }
            // Without the tags nobody knows what is foreign, so nothing of it is touched.
            Err(error) => {
                scan.found.clear();
                scan.failures.push(error);
            }
        }
    }

    /// Reads which addresses some groups list now, and who else looks after those groups.
    ///
    /// # Errors
    /// Where a call fails: then nothing is known.
    pub(crate) async fn look_again(&self, groups: &BTreeSet<TargetGroupId>) -> Result<SecondLook, CallError> {
        let existing = self.existing(groups).await?;
        let owners = self.owners_of(&existing.iter().collect::<Vec<_>>()).await?;
        let by_id: BTreeMap<&TargetGroupId, &TargetGroup> = existing.iter().map(|group| (&group.id, group)).collect();
        let mut look = SecondLook { owners, ..SecondLook::default() };
        for (id, members) in self.members_of_all(by_id.keys().map(|id| (*id).clone()).collect()).await {
            match members {
                Ok(members) => {
                    look.addresses.extend(members.iter().filter_map(|member| address_target(by_id[&id], member)));
                }
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(look)
    }

    async fn describe_tags(&self, arns: &[String]) -> Result<Vec<TagDescription>, CallError> {
        let call = self.client.describe_tags().set_resource_arns(Some(arns.to_vec()));
        let call = async || {
            let answer = call.clone().send().await;
            answer.map_err(|e| call_error("elasticloadbalancing:DescribeTags", e))
        };
        let answer = self.budget.call(ApiSet::Describe, call).await?;
        Ok(answer.tag_descriptions.unwrap_or_default())
    }
}

impl From<Scan> for ScannedPart {
    fn from(scan: Scan) -> Self {
        Self { scan, ..Self::default() }
    }
}

#[async_trait]
impl Kind for TargetGroups {
    fn serves(&self, balancer: &BalancerId) -> bool {
        matches!(balancer, BalancerId::TargetGroup(_))
    }

    async fn resolve(&self, declaration: &Declaration) -> Option<Result<Registration, Unresolved>> {
        let Declaration::Target { group: name, .. } = declaration else { return None };
        Some(match self.describe_named(name).await {
            Ok(Some(group)) => declaration.resolve(&group).map_err(|why| Unresolved::Reason(Reason::DoesNotFit(why))),
            Ok(None) => Err(Unresolved::Reason(Reason::NoSuchBalancer {
                sought: Sought::TargetGroup,
                name: name.clone(),
                hint: String::new(),
            })),
            Err(error) => Err(Unresolved::Unreadable(error)),
        })
    }

    async fn names(&self) -> Result<Vec<Name>, CallError> {
        let groups = self.list().await?;
        let mut names = self.load_balancers().await?;
        for name in &mut names {
            if let (arn, Name::LoadBalancer { groups: its, .. }) = name {
                let in_front = |group: &&TargetGroup| group.load_balancer_arns.contains(arn);
                its.extend(groups.iter().filter(in_front).map(|group| group.id.name.clone()));
            }
        }
        let names = names.into_iter().map(|(_, name)| name);
        Ok(names.chain(groups.into_iter().map(|group| Name::TargetGroup(group.id.name))).collect())
    }

    async fn scan(&self, instances: &[&Instance]) -> Scan {
        match self.candidates(instances).await {
            Ok(candidates) => self.scan_groups(&candidates, instances).await.scan,
            Err(error) => Scan { failures: vec![error], ..Scan::default() },
        }
    }

    async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        let mut groups = match self.list().await {
            Ok(groups) => groups,
            Err(error) => return Scan { failures: vec![error], ..Scan::default() }.into(),
        };
        let is_left = |group: &TargetGroup| part.after.as_ref().is_none_or(|after| group.id > *after);
        let may_matter =
            |group: &TargetGroup| matches!(group.target_type, TargetType::Ip(_)) || can_have_one_of(group, instances);
        groups.retain(|group| is_left(group) && may_matter(group));
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        let mut whole = ScannedPart { account: self.account().to_owned(), ..ScannedPart::default() };
        for chunk in groups.chunks(GROUPS_A_LOOK) {
            if whole.stopped_after.is_some() && part.until.is_some_and(|until| MonotonicTime::now() >= until) {
                return whole;
            }
            let ScannedPart { scan, addresses, .. } = self.scan_groups(chunk, instances).await;
            whole.scan.found.extend(scan.found);
            whole.scan.failures.extend(scan.failures);
            whole.scan.odd_tags.extend(scan.odd_tags);
            whole.addresses.extend(addresses);
            whole.stopped_after = chunk.last().map(|group| group.id.clone());
        }
        ScannedPart { stopped_after: None, ..whole }
    }

    async fn look(&self, wanted: &[Wanted<'_>]) -> Vec<Standing> {
        let seen = wanted.iter().filter(|wanted| !wanted.is_surely_absent);
        let groups = seen.filter_map(|wanted| group_of(wanted.registration)).collect();
        let members = self.members_of_all(groups).await;
        let nobody = Ok(Vec::new());
        let members_of = |group: &TargetGroupId| members.get(group).unwrap_or(&nobody);
        // A restart whose registrations are all back costs nothing more than this.
        let open: BTreeSet<TargetGroupId> = wanted
            .iter()
            .filter_map(|wanted| {
                let group = group_of(wanted.registration)?;
                let members = members_of(&group).as_ref().ok()?;
                in_place(*wanted, members).is_none().then_some(group)
            })
            .collect();
        let described = self.describe(&open).await;
        let existing: Vec<TargetGroup> = open.iter().filter_map(|group| self.recall(group).flatten()).collect();
        let owners = match described {
            Ok(()) => self.owners_of(&existing.iter().collect::<Vec<_>>()).await,
            Err(error) => Err(error),
        };
        let mut standings = Vec::new();
        for wanted in wanted {
            let Some(group) = group_of(wanted.registration) else { continue };
            standings.push(match (members_of(&group), &owners) {
                (Err(error), _) if error.is_gone() => Standing::Never(Reason::BalancerGone),
                (Err(error), _) => Standing::Unreadable(error.clone()),
                (Ok(members), owners) => match (in_place(*wanted, members), owners) {
                    (Some(health), _) => Standing::InPlace(health),
                    (None, Err(error)) => Standing::Unreadable(error.clone()),
                    (None, Ok(owners)) => match self.recall(&group).flatten() {
                        None => Standing::Never(Reason::BalancerGone),
                        Some(found) => standing(*wanted, &found, members, owners.get(&group).copied()),
                    },
                },
            });
        }
        self.complete_draining(wanted, &mut standings).await;
        standings
    }

    async fn sees(&self, given: &[Wanted<'_>]) -> Vec<Result<bool, CallError>> {
        let groups: BTreeSet<TargetGroupId> = given.iter().filter_map(|given| group_of(given.registration)).collect();
        // What is remembered was read before.
        groups.iter().for_each(|group| drop(self.described().members.remove(group)));
        let members = self.members_of_all(groups).await;
        let is_seen = |given: &Wanted<'_>| match group_of(given.registration).and_then(|group| members.get(&group)) {
            Some(Ok(members)) => Ok(in_place(*given, members).is_some()),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(false),
        };
        given.iter().map(is_seen).collect()
    }

    async fn drains(&self, asked: &[Parting<'_>]) -> Vec<Result<Drain, CallError>> {
        let groups: BTreeSet<TargetGroupId> =
            asked.iter().filter_map(|asked| target_group_of(asked.balancer)).collect();
        if let Err(error) = self.describe(&groups).await {
            return asked.iter().map(|_| Err(error.clone())).collect();
        }
        let existing = groups.into_iter().filter(|group| self.recall(group).flatten().is_some()).collect();
        let members = self.members_of_all(existing).await;
        let mut drains: Vec<Result<Drain, CallError>> = asked.iter().map(|asked| self.drain(asked, &members)).collect();
        let lasts = |drain: &Drain| drain.is_under_way || drain.is_network;
        let lasting = drains.iter().zip(asked).filter(|(drain, _)| drain.as_ref().is_ok_and(lasts));
        let lasting = lasting.filter_map(|(_, asked)| target_group_of(asked.balancer)).collect();
        let delays = self.deregistration_delays(lasting).await;
        for (drain, asked) in drains.iter_mut().zip(asked) {
            if let (Ok(drain), Some(group)) = (drain, target_group_of(asked.balancer)) {
                drain.delay = delays.get(&group).copied();
            }
        }
        drains
    }

    async fn owners(&self, balancers: &BTreeSet<BalancerId>) -> Result<BTreeMap<BalancerId, Owner>, CallError> {
        let groups: BTreeSet<TargetGroupId> = balancers
            .iter()
            .filter_map(|balancer| match balancer {
                BalancerId::TargetGroup(group) => Some(group.clone()),
                BalancerId::Classic(_) => None,
            })
            .collect();
        let existing = self.existing(&groups).await?;
        let owners = self.owners_of(&existing.iter().collect::<Vec<_>>()).await?;
        Ok(owners.into_iter().map(|(group, owner)| (BalancerId::TargetGroup(group), owner)).collect())
    }

    async fn register(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        let BalancerId::TargetGroup(group) = balancer else { return Ok(()) };
        let targets = targets.iter().map(description).collect();
        let call = self.client.register_targets().target_group_arn(self.arn(group)).set_targets(Some(targets));
        call.send().await.map(drop).map_err(|e| call_error("elasticloadbalancing:RegisterTargets", e))
    }

    async fn turn(&self) {
        self.budget.spend(ApiSet::Register).await;
    }

    async fn deregister(&self, balancer: &BalancerId, targets: &[Target]) -> Result<(), CallError> {
        let BalancerId::TargetGroup(group) = balancer else { return Ok(()) };
        let targets = targets.iter().map(description).collect();
        let call = self.client.deregister_targets().target_group_arn(self.arn(group)).set_targets(Some(targets));
        let answer = call.send().await;
        answer.map(drop).map_err(|e| call_error("elasticloadbalancing:DeregisterTargets", e))
    }
}

fn group_of(registration: &Registration) -> Option<TargetGroupId> {
    target_group_of(&registration.balancer())
}

fn target_group_of(balancer: &BalancerId) -> Option<TargetGroupId> {
    match balancer {
        BalancerId::TargetGroup(group) => Some(group.clone()),
        BalancerId::Classic(_) => None,
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

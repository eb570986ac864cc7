//! Scans: every group that could have an instance is asked for its members, because no call tells the groups of an
//! instance.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures::StreamExt;
use protocol::{
    balancer::{BalancerId, TargetGroupId},
    call_error::CallError,
    instance::Instance,
    observed::{AddressTarget, Found},
    registration::Registration,
    tag::Owner,
    target_group::{TargetGroup, TargetType},
};
use tokio::time::Instant as MonotonicTime;

use super::{
    TargetGroups,
    membership::{Index, address_target, can_have_one_of, claim, is_certain},
};
use crate::balancer::{Kind, Marks, Part, Scan, ScannedPart};

/// Groups that a sweep reads between two looks at the clock. At AWS's older limits, that takes ten seconds.
///
/// Too small: more round trips are waited for. Too large: a part of a sweep ends too late.
const GROUPS_A_LOOK: usize = 100;

/// Targets that a part of a sweep reads, and a chunk more: it remembers each, with about a kilobyte. An account may have 3,000
/// groups of 1,000 targets (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>),
/// and a function 512 MB.
///
/// Too small: a sweep of a large account takes more invocations. Too large: the targets of a part do not fit into memory.
const TARGETS_A_PART: usize = 150_000;

/// What was read of some groups a second time.
#[derive(Debug, Default)]
pub(crate) struct SecondLook {
    pub(crate) addresses: Vec<AddressTarget>,
    pub(crate) owners: BTreeMap<TargetGroupId, Owner>,
}

impl TargetGroups {
    /// Reads every group that could have any of some instances.
    pub(crate) async fn scan(&self, instances: &[&Instance]) -> Scan {
        match self.candidates(instances).await {
            Ok(candidates) => self.scan_groups(&candidates, instances, false).await.scan,
            Err(error) => Scan { failures: vec![error], ..Scan::default() },
        }
    }

    /// Reads a part of the groups for a sweep: those that could have an instance, and all that list addresses.
    pub(crate) async fn scan_part(&self, instances: &[&Instance], part: &Part) -> ScannedPart {
        let mut groups = match self.list().await {
            Ok(groups) => groups,
            Err(error) => return Scan { failures: vec![error], ..Scan::default() }.into(),
        };
        let is_left =
            |group: &TargetGroup| part.after.as_ref().is_none_or(|after| part.turn.cmp(&group.id, after).is_gt());
        let may_matter =
            |group: &TargetGroup| matches!(group.target_type, TargetType::Ip(_)) || can_have_one_of(group, instances);
        groups.retain(|group| is_left(group) && may_matter(group));
        groups.sort_by(|a, b| part.turn.cmp(&a.id, &b.id));
        let mut whole = ScannedPart::default();
        for chunk in groups.chunks(GROUPS_A_LOOK) {
            let is_late = part.until.is_some_and(|until| MonotonicTime::now() >= until);
            if whole.stopped_after.is_some() && (is_late || whole.targets >= TARGETS_A_PART) {
                return whole;
            }
            let next = self.scan_groups(chunk, instances, true).await;
            whole.scan = whole.scan.and(next.scan);
            whole.addresses.extend(next.addresses);
            whole.targets += next.targets;
            whole.stopped_after = chunk.last().map(|group| group.id.clone());
        }
        ScannedPart { stopped_after: None, ..whole }
    }

    /// Reads the groups that could have any of some instances.
    async fn candidates(&self, instances: &[&Instance]) -> Result<Vec<TargetGroup>, CallError> {
        let groups = self.list().await?;
        Ok(groups.into_iter().filter(|group| can_have_one_of(group, instances)).collect())
    }

    /// Counts the groups that could have any of some instances. The next listing is this one: the scan follows at once.
    pub(crate) async fn count(&self, instances: &[&Instance]) -> Result<usize, CallError> {
        let groups = self.list().await?;
        let count = groups.iter().filter(|group| can_have_one_of(group, instances)).count();
        self.described().counted = Some(groups);
        Ok(count)
    }

    /// Reads the members of groups: which of them are these instances, and, if that is asked for, which addresses there are.
    async fn scan_groups(
        &self,
        groups: &[TargetGroup],
        instances: &[&Instance],
        are_addresses_asked_for: bool,
    ) -> ScannedPart {
        let by_id: BTreeMap<&TargetGroupId, &TargetGroup> = groups.iter().map(|group| (&group.id, group)).collect();
        let index = Index::of(instances);
        let mut scanned =
            ScannedPart { scan: Scan { read: groups.len(), ..Scan::default() }, ..ScannedPart::default() };
        let mut each = pin!(self.members_of_each(by_id.keys().map(|id| (*id).clone()).collect()));
        while let Some((id, members)) = each.next().await {
            match members {
                Ok(members) => {
                    let present = || members.iter().filter(|member| !member.is_draining);
                    let group = by_id[&id];
                    scanned.targets += members.len();
                    scanned.scan.found.extend(present().filter_map(|member| claim(group, member, &index)));
                    if are_addresses_asked_for {
                        scanned.addresses.extend(present().filter_map(|member| address_target(group, member)));
                    }
                    let draining = members.iter().filter(|member| member.is_draining);
                    let draining = draining.filter_map(|member| claim(group, member, &index)).filter(is_certain);
                    let balancer = BalancerId::TargetGroup(id.clone());
                    scanned.scan.draining.extend(draining.map(|found| (found.instance, balancer.clone())));
                }
                Err(error) if error.is_gone() => {}
                Err(error) => scanned.scan.fail(error),
            }
        }
        self.add_owners(&mut scanned.scan, &by_id).await;
        scanned
    }

    /// Adds to what a scan found which of it has another owner.
    async fn add_owners(&self, scan: &mut Scan, groups: &BTreeMap<&TargetGroupId, &TargetGroup>) {
        let with_ours: Vec<&TargetGroup> =
            scan.found.iter().filter_map(|found| groups.get(group_of(&found.registration)?).copied()).collect();
        let Marks { owners, odd_tags } = self.marks(&with_ours).await;
        scan.odd_tags = odd_tags.into_iter().map(|(id, key)| (BalancerId::TargetGroup(id), key)).collect();
        // Without the tags it is not known whether a group is foreign. So no registration there is touched.
        let is_known =
            |found: &Found| group_of(&found.registration).is_none_or(|id| !matches!(owners.get(id), Some(Err(_))));
        scan.found.retain(is_known);
        for found in &mut scan.found {
            let owner = group_of(&found.registration).and_then(|group| owners.get(group));
            found.owner = owner.and_then(|owner| owner.as_ref().ok()).copied();
        }
        scan.failures.extend(owners.into_values().filter_map(Result::err));
    }

    /// Reads which addresses some groups list now, and which of these groups have another owner.
    ///
    /// # Errors
    /// If a call fails: then nothing is known.
    pub(crate) async fn look_again(&self, groups: &BTreeSet<TargetGroupId>) -> Result<SecondLook, CallError> {
        let (existing, unread) = self.existing(groups).await;
        if let Some(error) = unread.into_values().next() {
            return Err(error);
        }
        let owners = self.marks(&existing.iter().collect::<Vec<_>>()).await.owners;
        let owners = owners.into_iter().map(|(id, owner)| Ok((id, owner?))).collect::<Result<_, CallError>>()?;
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
}

fn group_of(registration: &Registration) -> Option<&TargetGroupId> {
    TargetGroups::id_of(&registration.balancer)
}

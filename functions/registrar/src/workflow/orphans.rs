//! Orphans: found in what a sweep has read, confirmed, reported, and deregistered if the operator says so.
//!
//! The sweep reads targets, then the interfaces, and decides ([`protocol::decide::orphan`]). Then it reads both again:
//! what it read of a group may be minutes old, and a target may have gone with its host since. Before it deregisters
//! anything, it waits for a minute and looks once more. By then EC2 shows an interface that is new, and a controller
//! has deregistered its dead host. If the process dies anywhere here, the next sweep finds the same.
//!
//! Between the last reading of the interfaces and the deregistration, the subnet may give an address to a new host.
//! That time is [`PRUNE_WITHIN`] at most, and the new host would also have to be registered by then, with the very same
//! port.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    balancer::TargetGroupId,
    call_error::CallError,
    decide::orphan::{self, Fate, Orphan},
    network::Whose,
    observed::{AddressTarget, Target},
    tag::Owner,
    timing::{PRUNE_WITHIN, SECOND_LOOK_AFTER, TIME_TO_PRUNE},
};
use tokio::time::Instant as MonotonicTime;

use super::sweep::Order;
use crate::{
    aws::parts::{in_parts, of_each},
    config::Mode,
    engine::{Look, parts::TARGETS_PER_CALL_MAX},
};

/// What identifies a target among those of all groups.
type Place = (TargetGroupId, Target);

/// What a look has confirmed.
struct Confirmed {
    orphans: Vec<(AddressTarget, Whose)>,
    owners: BTreeMap<TargetGroupId, Owner>,
}

impl Look<'_> {
    /// Reports which of some addresses are orphans, and deregisters them if the operator wants that.
    pub(super) async fn report_orphans(&mut self, listed: &[AddressTarget], order: &Order) {
        if listed.is_empty() {
            return;
        }
        let networks = match self.engine.clients.ec2.read_networks(&orphan::places(listed)).await {
            Ok(networks) => networks,
            Err(error) => return self.notes.sweep_call_failed(Some(&"orphans"), &error),
        };
        let suspects: BTreeSet<Place> =
            orphan::among(listed, &networks).into_iter().map(|(target, _)| place(target)).collect();
        let Some(confirmed) = self.confirm(&suspects).await else { return };
        let mut to_prune = Vec::new();
        for (target, whose) in &confirmed.orphans {
            let found = orphan::judge(target, whose, &confirmed.owners);
            match (self.engine.orphans.prunes(found.fate), self.engine.mode) {
                (true, Mode::Enforce) => to_prune.push((place(target), whose.clone(), found)),
                (true, Mode::Observe) => self.notes.journal.orphan(Orphan { fate: Fate::WouldPrune, ..found }),
                (false, _) => self.notes.journal.orphan(found),
            }
        }
        self.prune(to_prune, order).await;
    }

    /// Deregisters what is still an orphan at a second look.
    async fn prune(&mut self, found: Vec<(Place, Whose, Orphan)>, order: &Order) {
        if found.is_empty() {
            return;
        }
        let before: BTreeMap<Place, Whose> =
            found.iter().map(|(place, whose, _)| (place.clone(), whose.clone())).collect();
        let found: Vec<(Place, Orphan)> = found.into_iter().map(|(place, _, orphan)| (place, orphan)).collect();
        if !order.has_time_for(TIME_TO_PRUNE) {
            return self.end(
                found,
                Fate::NotPruned,
                "there is no time left for a second look: the next sweep takes it out",
            );
        }
        tokio::time::sleep(SECOND_LOOK_AFTER).await;
        let Some(confirmed) = self.confirm(&found.iter().map(|(place, _)| place.clone()).collect()).await else {
            return self.end(found, Fate::NotPruned, "the second look failed: the next sweep tries again");
        };
        let seen_at = MonotonicTime::now();
        // An interface that was attached to nothing a minute ago still has to be, and to have the address.
        let is_ours = |(target, whose): &&(AddressTarget, Whose)| {
            before.get(&place(target)) == Some(whose) && !confirmed.owners.contains_key(&target.group)
        };
        let still: BTreeSet<Place> =
            confirmed.orphans.iter().filter(is_ours).map(|(target, _)| place(target)).collect();
        let (still, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|(place, _)| still.contains(place));
        self.end(gone, Fate::Gone, "at a second look it is no orphan any more");
        let mut by_group: BTreeMap<TargetGroupId, Vec<(Place, Orphan)>> = BTreeMap::new();
        for orphan in still {
            by_group.entry(orphan.0.0.clone()).or_default().push(orphan);
        }
        for (group, orphans) in by_group {
            self.deregister_orphans(group, orphans, seen_at).await;
        }
    }

    async fn deregister_orphans(
        &mut self,
        group: TargetGroupId,
        orphans: Vec<(Place, Orphan)>,
        seen_at: MonotonicTime,
    ) {
        let groups = self.engine.target_groups();
        let call = async |part: Vec<(Place, Orphan)>| {
            groups.turn().await;
            if seen_at.elapsed() > PRUNE_WITHIN {
                return Ok(false);
            }
            let targets: Vec<Target> = part.into_iter().map(|((_, target), _)| target).collect();
            groups.deregister(&group, &targets).await.map(|()| true)
        };
        for ((place, orphan), result) in
            of_each(in_parts(orphans, TARGETS_PER_CALL_MAX, CallError::is_of_one, call).await)
        {
            match result {
                Ok(true) => self.notes.journal.orphan(Orphan { fate: Fate::Pruned, ..orphan }),
                Ok(false) => {
                    let why = "the second look is too old by now: the next sweep takes it out";
                    self.end(vec![(place, orphan)], Fate::NotPruned, why);
                }
                Err(error) if error.is_gone() => {
                    self.end(vec![(place, orphan)], Fate::Gone, "its target group was deleted just now");
                }
                Err(error) => {
                    self.notes.sweep_call_failed(Some(&orphan.registration), &error);
                    self.end(vec![(place, orphan)], Fate::NotPruned, "the call failed: the next sweep tries again");
                }
            }
        }
    }

    /// Reads the groups of suspects again, and then whose the addresses are. Returns `None` if that failed, and notes
    /// it.
    async fn confirm(&mut self, suspects: &BTreeSet<Place>) -> Option<Confirmed> {
        if suspects.is_empty() {
            return None;
        }
        let groups = suspects.iter().map(|(group, _)| group.clone()).collect();
        let confirmed = async {
            let mut look = self.engine.target_groups().look_again(&groups).await?;
            look.addresses.retain(|target| suspects.contains(&place(target)));
            let networks = self.engine.clients.ec2.read_networks(&orphan::places(&look.addresses)).await?;
            let orphans = orphan::among(&look.addresses, &networks).into_iter();
            let orphans = orphans.map(|(target, whose)| (target.clone(), whose)).collect();
            Ok(Confirmed { orphans, owners: look.owners })
        };
        match confirmed.await {
            Ok(confirmed) => Some(confirmed),
            Err(error) => {
                self.notes.sweep_call_failed(Some(&"orphans"), &error);
                None
            }
        }
    }

    fn end(&mut self, orphans: Vec<(Place, Orphan)>, fate: Fate, why: &str) {
        for (_, orphan) in orphans {
            self.notes.journal.orphan(Orphan { fate, why: why.into(), ..orphan });
        }
    }
}

fn place(target: &AddressTarget) -> Place {
    (target.group.clone(), target.target.clone())
}

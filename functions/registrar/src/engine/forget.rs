//! Tags whose registrations are settled are deleted.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    call_error::CallError,
    decide::GiveBack,
    held::{HeldTag, Stamp, room, tags_to_hold},
    id::InstanceId,
    instance::Instance,
    registration::Registration,
    timing::AT_ONCE,
};
use tokio::time::timeout_at;

use super::{Look, giving::is_same_run, reading::Age};
use crate::{
    aws::{
        ec2::RESOURCES_PER_CALL_MAX,
        parts::{in_parts, of_each},
    },
    report::Action,
};

impl Look<'_> {
    /// Deletes tags whose registrations are settled, if they still have the value that was read.
    ///
    /// As for every other act, a reading entitles to this for a short time only. An instance that is out by now may
    /// soon lose the address by which its registrations are known.
    pub(super) async fn forget(&mut self, decisions: &mut [(&Instance, GiveBack)]) {
        let has_time = self.engine.clients.budget.has_time();
        if has_time {
            self.hold_apart(decisions).await;
        }
        if has_time && self.reading.running.is_to_be_renewed() {
            self.keep_tags_unless_running(decisions).await;
        }
        let tags =
            decisions.iter().map(|(instance, decision)| (instance.id.clone(), decision.forget.clone())).collect();
        let instances: BTreeMap<InstanceId, &Instance> = decisions.iter().map(|(i, _)| (i.id.clone(), *i)).collect();
        let decisions: BTreeMap<&InstanceId, &GiveBack> =
            decisions.iter().map(|(i, decision)| (&i.id, decision)).collect();
        let results = match has_time {
            true => timeout_at(self.reading.running.ends_at(), self.untag(tags)).await.ok(),
            false => None,
        };
        // What may be deleted counts as deleted, whatever the answer was.
        let mut forgotten: BTreeMap<InstanceId, BTreeSet<Registration>> = BTreeMap::new();
        if results.is_none() {
            for (id, decision) in decisions.iter().filter(|(_, decision)| !decision.forget.is_empty()) {
                self.notes.look_again(id, AT_ONCE);
                let of_tags = decision.forget.iter().flat_map(|tag| tag.registrations.iter().cloned());
                forgotten.entry((*id).clone()).or_default().extend(of_tags.filter(|_| has_time));
            }
        }
        for (id, mut registrations, result) in results.into_iter().flatten() {
            registrations.retain(|registration| !decisions[&id].keeps(registration));
            match result {
                Ok(()) => {
                    for registration in &registrations {
                        let why = forget_why(decisions[&id], registration);
                        self.notes.journal.deed(&id, Action::Forget, registration, why);
                    }
                }
                Err(error) => self.notes.call_failed(&id, None, &error),
            }
            forgotten.entry(id).or_default().extend(registrations);
        }
        self.hold_again_unless_running(forgotten, &instances).await;
    }

    /// Writes into tags of its own what stays held for longer of tags whose other registrations are settled. Those tags can
    /// be deleted then. Without room for one more, they stay.
    async fn hold_apart(&self, decisions: &mut [(&Instance, GiveBack)]) {
        let stamp = Stamp { taken_at: self.reading.at, nonce: fastrand::u32(..) };
        let mut by_content: BTreeMap<Vec<(String, String)>, Vec<InstanceId>> = BTreeMap::new();
        for (instance, decision) in decisions.iter_mut().filter(|(_, decision)| !decision.split.is_empty()) {
            let tags = tags_to_hold(&decision.hold_apart, stamp);
            match tags.len() {
                0 => decision.forget.append(&mut decision.split),
                needed if needed > room(&instance.tags) => {}
                _ => by_content.entry(tags).or_default().push(instance.id.clone()),
            }
        }
        let mut written: BTreeSet<InstanceId> = BTreeSet::new();
        for (tags, ids) in by_content {
            // If they cannot be written, the tags stay as they are, and the next look tries again.
            let outcomes = self.engine.clients.ec2.tag_each(ids, &tags).await;
            written.extend(outcomes.into_iter().filter(|(_, outcome)| outcome.is_ok()).map(|(id, _)| id));
        }
        for (_, decision) in decisions.iter_mut().filter(|(instance, _)| written.contains(&instance.id)) {
            decision.forget.append(&mut decision.split);
        }
    }

    /// Reads again the instances whose tags had registrations at addresses, and holds those registrations anew if an
    /// instance does not run as it did. It may have lost the address before the event of its stop was served, and then
    /// no scan finds what the tag had.
    ///
    /// A registration by instance id is found at any time.
    async fn hold_again_unless_running(
        &mut self,
        mut forgotten: BTreeMap<InstanceId, BTreeSet<Registration>>,
        then: &BTreeMap<InstanceId, &Instance>,
    ) {
        forgotten.retain(|_, registrations| {
            registrations.retain(|registration| registration.target.address.is_some());
            !registrations.is_empty()
        });
        let ids: BTreeSet<InstanceId> = forgotten.keys().cloned().collect();
        if ids.is_empty() || !self.reading.running.may_be_of_before_a_stop() {
            return;
        }
        let Some(reading) = self.read_again(&ids).await else { return };
        for (id, registrations) in forgotten {
            // An instance that is gone gets nothing back.
            let Some(now) = reading.instances.get(&id).filter(|now| !now.state.is_dying()) else { continue };
            if is_same_run(then[&id], now) {
                continue;
            }
            let tags = tags_to_hold(&registrations, Stamp { taken_at: reading.at, nonce: fastrand::u32(..) });
            match self.engine.clients.ec2.tag(std::slice::from_ref(&id), &tags).await {
                Ok(()) => {
                    let why = "it was stopped while its tag was deleted";
                    let held = registrations.iter();
                    held.for_each(|registration| self.notes.journal.deed(&id, Action::Hold, registration, why));
                    self.notes.look_again(&id, AT_ONCE);
                }
                Err(error) => self.notes.call_failed(&id, None, &error),
            }
        }
    }

    /// Reads again the instances whose tags are to be deleted, and keeps the tags of those that do not run as they did.
    async fn keep_tags_unless_running(&mut self, decisions: &mut [(&Instance, GiveBack)]) {
        let is_due = |decision: &GiveBack| !decision.forget.is_empty();
        let due = decisions.iter().filter(|(_, decision)| is_due(decision));
        let ids: BTreeSet<InstanceId> = due.map(|(instance, _)| instance.id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let running = Age::new();
        let reading = self.read_again(&ids).await;
        for (instance, decision) in decisions.iter_mut().filter(|(_, decision)| is_due(decision)) {
            match &reading {
                Some(reading) if reading.instances.get(&instance.id).is_some_and(|now| is_same_run(instance, now)) => {
                    continue;
                }
                Some(_) => self.notes.look_again(&instance.id, AT_ONCE),
                None => {}
            }
            decision.forget.clear();
        }
        self.reading.running = running;
    }

    /// Deletes held tags, with one call for all instances that have the same.
    pub(crate) async fn untag(
        &self,
        tags: BTreeMap<InstanceId, Vec<HeldTag>>,
    ) -> Vec<(InstanceId, Vec<Registration>, Result<(), CallError>)> {
        let mut by_content: BTreeMap<Vec<(String, String)>, Vec<InstanceId>> = BTreeMap::new();
        for (id, tags) in tags.iter().filter(|(_, tags)| !tags.is_empty()) {
            let content = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
            by_content.entry(content).or_default().push(id.clone());
        }
        let mut results = Vec::new();
        for (content, ids) in by_content {
            let ec2 = &self.engine.clients.ec2;
            let call = async |ids: Vec<InstanceId>| ec2.untag(&ids, &content).await;
            for (id, outcome) in of_each(in_parts(ids, RESOURCES_PER_CALL_MAX, CallError::is_of_one, call).await) {
                let registrations = tags[&id].iter().flat_map(|tag| tag.registrations.iter().cloned()).collect();
                results.push((id, registrations, outcome));
            }
        }
        results
    }
}

/// Returns why the tag of a registration is deleted.
pub(super) fn forget_why(decision: &GiveBack, registration: &Registration) -> &'static str {
    match decision.let_go.iter().any(|(let_go, _)| let_go == registration) {
        true => "it is let go",
        false => "it is back in place",
    }
}

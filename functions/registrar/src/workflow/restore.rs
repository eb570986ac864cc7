//! Giving back everything that is held, for an operator who leaves, or in an emergency.
//!
//! It is the engine's own giving back, asked for all instances whose tags hold anything, and for nothing else: what is only declared
//! is not registered, and of instances that are out nothing is touched. They keep their tags. So the order is the same, too: a
//! registration is made, the instance is read again, and only then its tag is deleted. If the process dies anywhere, the tags have
//! what is not registered, and the next run goes on.
//!
//! A tag that was written a moment ago settles first, and an address may still drain. So the caller runs it again, as an event
//! comes again to a function. What it registered for an instance that is out by then is taken back, as the functions do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::FutureExt;
use protocol::{
    because::Because,
    call_error::CallError,
    id::InstanceId,
    instance::Instance,
    timing::{FAILED_RETRY_MIN, SHOWS_WITHIN},
};

use crate::{
    config::{Mode, Scope},
    engine::{Asked, Engine, Item, reading::Age},
    report::Report,
    workflow::sweep::INSTANCES_A_LOOK,
};

/// What a run came to.
#[derive(Debug)]
pub struct Restored {
    /// The report, for people.
    pub report: Report,
    /// What was registered. The next run has to know it.
    pub given: Given,
    /// How soon the next run has something to do; `None` if it has nothing.
    pub again: Option<Duration>,
    /// Whether anything failed that another run tries again.
    pub has_failed: bool,
}

/// What a run registered, or may have. The next run looks whether its instances still run.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The instances, as they were when they ran.
    instances: BTreeMap<InstanceId, Instance>,
    items: Vec<Item>,
}

impl Given {
    /// Returns the instances that something was registered for.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.instances.keys()
    }

    /// Adds what was registered for an instance.
    fn add(&mut self, instance: &Instance, items: &[Item]) {
        self.instances.insert(instance.id.clone(), instance.clone());
        self.items.extend(items.iter().filter(|(id, _, _)| *id == instance.id).cloned());
    }
}

impl Engine {
    /// Gives back what is held, as far as it can be at present. `given` is what the run before returned. What was given to
    /// an instance that is out by now is taken back, and nothing else that it has.
    ///
    /// # Errors
    /// If the instances cannot be read: nothing was done.
    pub async fn restore(&self, given: &Given) -> Result<Restored, CallError> {
        let age = Age::new();
        let mut described = self.clients.ec2.read_for_sweep().await?;
        described.instances.retain(|id, instance| !instance.held().is_empty() || given.instances.contains_key(id));
        let (read_at, as_read) = (described.at, described.instances.clone());
        let ids: BTreeSet<InstanceId> = described.instances.keys().cloned().collect();
        // An instance in Standby or in a warm pool gets no traffic, and is out.
        let members = match ids.is_empty() {
            true => BTreeMap::new(),
            false => self.clients.auto_scaling.members(&ids).await?,
        };
        // What is held was ours when it was held, whatever the scope is now.
        let asked = Asked { scope: Scope::All, only_held: true, ..Asked::default() };
        let mut look = self.look(self.reading_of(age, &mut described), asked);
        look.reading.set_members(&ids, members);
        let instances: Vec<&Instance> = described.instances.values().collect();
        instances.iter().for_each(|instance| look.notes.journal.seen(instance));
        let (out, running) = look.sort_by_state(&instances);
        for instance in &out {
            let why = format!("{}: its tags keep what they hold until it runs", look.why_out(instance));
            look.notes.journal.waiting(&instance.id, Because::all(why));
        }
        let in_vain = out.iter().filter_map(|now| Some((given.instances.get(&now.id)?, &as_read[&now.id])));
        let in_vain: Vec<(&Instance, &Instance)> = in_vain.collect();
        if self.mode == Mode::Enforce && !in_vain.is_empty() {
            let balancers = self.balancers();
            look.take_back(&balancers, (age, read_at), &given.items, &in_vain).boxed().await;
        }
        let mut now_given = Given::default();
        for (then, _) in in_vain.iter().filter(|(then, _)| !look.notes.again().of(&then.id).is_nothing()) {
            now_given.add(then, &given.items);
        }
        for chunk in running.chunks(INSTANCES_A_LOOK) {
            let current = look.still_running(chunk).await;
            let given_back = look.give_back(&current.iter().collect::<Vec<_>>()).boxed().await;
            for instance in current.iter().filter(|instance| given_back.due.contains_key(&instance.id)) {
                now_given.add(instance, &given_back.items);
            }
        }
        let waits = look.notes.again().waits().map(|(_, wait)| wait);
        let again = waits.chain((!now_given.instances.is_empty()).then_some(SHOWS_WITHIN)).min();
        let (report, has_failed) = look.notes.into_report();
        let again = again.or(has_failed.then_some(FAILED_RETRY_MIN)).filter(|_| self.mode == Mode::Enforce);
        Ok(Restored { report, given: now_given, again, has_failed })
    }
}

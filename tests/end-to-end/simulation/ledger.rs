//! The checkers' memory from one look to the next: the registrations, the promises to each instance, and the times when instances
//! were out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chrono::TimeDelta;
use sandbox::{Call, Timestamp, World, ec2::InstanceState};

use super::view::{self, Entry, Owned};

/// How long a function may still act on a reading: a reading entitles for 45 s, a call may last 30 s, and the reading may have
/// been 15 s old. The rest is latency. (docs/design.md, "Why forgetting is safe".)
pub const ACTS_LATE: TimeDelta = TimeDelta::seconds(100);

/// The state at the last look.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every entry and its owner.
    pub entries: BTreeMap<Entry, Known>,
    /// The last owner of each entry, even if the entry is gone.
    pub owners: BTreeMap<Entry, Owned>,
    /// The last instance with each primary address, by network: a stop may take the address away.
    pub had: BTreeMap<String, BTreeMap<IpAddr, String>>,
    /// The tags that are not ours.
    pub foreign_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The registrations that tags held.
    pub held: BTreeSet<Owned>,
    /// When a place was last held or declared: until then the functions may register it, and a little longer.
    pub promised: BTreeMap<Owned, Timestamp>,
    /// Registrations that the functions took, that were not seen back since, and whose tag is forgotten.
    pub owed: BTreeSet<Owned>,
    /// Registrations that the functions took from instances that had come back meanwhile.
    pub taken_while_running: BTreeSet<Owned>,
    /// When instances were last seen out.
    pub out: BTreeMap<String, Timestamp>,
    /// When instances were last seen running.
    pub running: BTreeMap<String, Timestamp>,
    /// When instances were last seen on their way out of their Auto Scaling group.
    pub leaving: BTreeMap<String, Timestamp>,
    /// Since when Auto Scaling groups have kept members out of service: in Standby, or at rest in the warm pool.
    pub kept_out: BTreeMap<String, Timestamp>,
    /// When members were last seen kept out of service: a sweep takes out those that run.
    pub kept_out_at: BTreeMap<String, Timestamp>,
    /// Since when instances and balancers have been marked to be left alone.
    pub guarded: BTreeMap<String, Timestamp>,
    /// Places that an instance got together with an address of another, and when.
    pub inherited: BTreeMap<Owned, Timestamp>,
    /// When addresses were given to another instance: for a while, functions may mistake one for the other.
    pub moved: BTreeMap<String, Timestamp>,
}

/// The owner of an entry.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The owner, or the last one that was known: the address may be free by now.
    pub owner: Option<Owned>,
    /// Whether the entry still belongs to this owner.
    pub is_current: bool,
}

/// The differences of a look from the one before.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries that are gone, with their last known owner.
    pub removed: Vec<(Entry, Option<Owned>)>,
    /// Entries that are new.
    pub added: Vec<Entry>,
}

impl Changes {
    /// Keeps the changes that a call can have made: of the targets and the balancer that it names. Auto Scaling, or a balancer by
    /// itself, made the other changes since the last look.
    #[must_use]
    pub fn by(mut self, call: &Call) -> Self {
        let is_write = call.action.starts_with("Register") || call.action.starts_with("Deregister");
        let parameter =
            |key: &str| call.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let group = parameter("TargetGroupArn").map(view::group_of_arn);
        let balancer = group.or_else(|| parameter("LoadBalancerName").map(|name| format!("clb:{name}")));
        let is_its = |entry: &Entry| is_write && balancer.as_ref() == Some(&entry.balancer) && call.mentions(&entry.id);
        self.removed.retain(|(entry, _)| is_its(entry));
        self.added.retain(is_its);
        self
    }
}

impl Ledger {
    /// Looks at the world, and remembers it.
    pub fn look(&mut self, world: &World, declared: &BTreeSet<Owned>) -> Changes {
        let now = world.now();
        self.look_at_instances(world);
        // A registration that was held at the last look was held until now, even if it is not any more.
        self.promised.extend(self.held.iter().map(|owned| (owned.clone(), now)));
        let entries = view::entries(world);
        let mut changes = Changes::default();
        let gone: Vec<Entry> = self.entries.keys().filter(|entry| !entries.contains(entry)).cloned().collect();
        for entry in gone {
            let known = self.entries.remove(&entry).unwrap_or_default();
            changes.removed.push((entry, known.owner));
        }
        for entry in entries {
            let owner = view::owner(world, &entry);
            let is_current = owner.is_some();
            if let Some(owner) = &owner {
                self.owners.insert(entry.clone(), owner.clone());
            }
            match self.entries.get_mut(&entry) {
                Some(known) => {
                    // It may have had none, if it was registered for the first time after its instance was dead.
                    if let Some(owner) = owner.as_ref().filter(|owner| known.owner.as_ref() != Some(*owner)) {
                        self.inherited.insert(owner.clone(), now);
                    }
                    *known = Known { owner: owner.or(known.owner.take()), is_current };
                }
                None => {
                    changes.added.push(entry.clone());
                    // It was registered late, when its instance was dead or had lost the address. It belongs to that instance,
                    // and to no other host.
                    let owner = owner.or_else(|| self.owners.get(&entry).cloned());
                    let owner = owner.or_else(|| view::last_owner(world, &entry, &self.had));
                    self.entries.insert(entry, Known { owner, is_current });
                }
            }
        }
        self.held = view::held(world);
        self.promised.extend(self.held.iter().chain(declared).map(|owned| (owned.clone(), now)));
        changes
    }

    /// Remembers the registrations that a call took too late.
    pub fn remember_late(&mut self, world: &World, changes: &Changes) {
        let runs = |owned: &&Owned| {
            world.ec2.instance(&owned.instance).is_some_and(|instance| instance.state == InstanceState::Running)
        };
        let owners = changes.removed.iter().filter_map(|(_, owner)| owner.as_ref());
        self.taken_while_running.extend(owners.filter(runs).cloned());
    }

    /// Returns every place that is in place.
    pub fn in_place(&self) -> impl Iterator<Item = &Owned> {
        self.entries.values().filter(|known| known.is_current).filter_map(|known| known.owner.as_ref())
    }

    /// Returns whether a place is in place.
    pub fn is_in_place(&self, owned: &Owned) -> bool {
        self.in_place().any(|other| other == owned)
    }

    /// Returns whether a place was promised within a time.
    pub fn was_promised(&self, owned: &Owned, now: Timestamp, within: TimeDelta) -> bool {
        self.promised.get(owned).is_some_and(|at| now - *at <= within)
    }

    /// Returns whether the address of an entry was moved so lately that a function may not know the owner.
    pub fn was_moved_lately(&self, entry: &Entry, now: Timestamp) -> bool {
        self.moved.get(&entry.id).is_some_and(|moved| now - *moved <= ACTS_LATE)
    }

    /// Returns whether an instance got a place with its address so lately that a function may take the place for a dead
    /// instance's.
    pub fn was_inherited_lately(&self, owned: &Owned, now: Timestamp) -> bool {
        self.inherited.get(owned).is_some_and(|inherited| now - *inherited <= ACTS_LATE)
    }

    /// Returns whether an instance was on its way out of its group so lately that a function may still take it out.
    pub fn was_leaving_lately(&self, instance: &str, now: Timestamp) -> bool {
        self.leaving.get(instance).is_some_and(|leaving| now - *leaving <= ACTS_LATE)
    }

    /// Returns whether an instance's group kept it out of service so lately that a sweep may still take it out.
    pub fn was_kept_out_lately(&self, instance: &str, now: Timestamp) -> bool {
        self.kept_out_at.get(instance).is_some_and(|kept_out| now - *kept_out <= ACTS_LATE)
    }

    /// Looks only at the instances that run: that is cheap enough for every moment at which nothing else can have changed.
    pub fn look_at_instances(&mut self, world: &World) {
        let now = world.now();
        for history in world.ec2.instances.values() {
            let instance = history.current();
            // Between two looks more than one change may have happened; these times tell of it.
            let out = if view::is_out(instance.state) { now } else { instance.launch_time };
            self.out.insert(instance.id.clone(), out);
            if let Some(address) = instance.primary_ipv4() {
                // It is seldom new, and this is looked at at every moment.
                let is_known = |had: &BTreeMap<IpAddr, String>| had.get(&address.into()) == Some(&instance.id);
                if !self.had.get(&instance.vpc_id).is_some_and(is_known) {
                    let had = self.had.entry(instance.vpc_id.clone()).or_default();
                    had.insert(address.into(), instance.id.clone());
                }
            }
            if view::is_leaving(world, &instance.id) {
                self.leaving.insert(instance.id.clone(), now);
            }
            if view::is_kept_out(world, &instance.id) {
                self.kept_out_at.insert(instance.id.clone(), now);
            }
            match view::is_kept_out(world, &instance.id) {
                true => drop(self.kept_out.entry(instance.id.clone()).or_insert(now)),
                false => drop(self.kept_out.remove(&instance.id)),
            }
            let running = match instance.state {
                InstanceState::Running => Some(now),
                InstanceState::Stopping => Some(instance.since),
                _ => None,
            };
            self.running.extend(running.map(|running| (instance.id.clone(), running)));
        }
    }
}

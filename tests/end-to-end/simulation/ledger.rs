//! What the checkers remember from one look to the next: who was registered where, what was promised to whom, and when
//! instances were out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chrono::TimeDelta;
use sandbox::{Call, Timestamp, World, ec2::InstanceState};

use super::view::{self, Entry, Owned};

/// How long a function may still act on what it read: a reading entitles for 45 s, a call may last 30 s, and what was read may
/// have been 15 s old. The rest is latency. (docs/design.md, "Why forgetting is safe".)
pub const ACTS_LATE: TimeDelta = TimeDelta::seconds(100);

/// What was true at the last look.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every entry, and whose it is.
    pub entries: BTreeMap<Entry, Known>,
    /// Whose entries were last, whether they are there or not.
    pub owners: BTreeMap<Entry, Owned>,
    /// Whose primary address each one was last, by network: a stop may take it away.
    pub had: BTreeMap<String, BTreeMap<IpAddr, String>>,
    /// The tags that are not ours.
    pub foreign_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// What tags held.
    pub held: BTreeSet<Owned>,
    /// When a place was last held or declared: until then the functions may give it, and a little longer.
    pub promised: BTreeMap<Owned, Timestamp>,
    /// What the functions took and nobody has seen back since, forgotten.
    pub owed: BTreeSet<Owned>,
    /// What the functions took from instances that had come back meanwhile.
    pub taken_while_running: BTreeSet<Owned>,
    /// When instances were last seen out.
    pub out: BTreeMap<String, Timestamp>,
    /// When instances were last seen running.
    pub running: BTreeMap<String, Timestamp>,
    /// When instances were last seen on their way out of their Auto Scaling group.
    pub leaving: BTreeMap<String, Timestamp>,
    /// Since when Auto Scaling groups have kept members out of service: in Standby, or at rest in the warm pool.
    pub kept_out: BTreeMap<String, Timestamp>,
    /// Since when instances and balancers are to be left alone.
    pub guarded: BTreeMap<String, Timestamp>,
    /// Places that instances came to have with an address that was another's before, and when.
    pub inherited: BTreeMap<Owned, Timestamp>,
    /// When addresses were given to another instance: for a while, functions may take the one for the other.
    pub moved: BTreeMap<String, Timestamp>,
}

/// Whose an entry is.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The owner, or the last one that was known: an address may be nobody's by now.
    pub owner: Option<Owned>,
    /// Whether it is the owner's now.
    pub is_current: bool,
}

/// What a look found different from the one before.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries that are gone, with their last known owner.
    pub removed: Vec<(Entry, Option<Owned>)>,
    /// Entries that are new.
    pub added: Vec<Entry>,
}

impl Changes {
    /// Those that a call can have made: of what it names, at the balancer that it registers at or deregisters from. What else has
    /// changed since the last look, Auto Scaling did, or a balancer by itself.
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
        // What was held at the last look was held until now, whatever has become of it.
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
                    // It may have had none: registered for the first time, and when its instance was dead.
                    if let Some(owner) = owner.as_ref().filter(|owner| known.owner.as_ref() != Some(*owner)) {
                        self.inherited.insert(owner.clone(), now);
                    }
                    *known = Known { owner: owner.or(known.owner.take()), is_current };
                }
                None => {
                    changes.added.push(entry.clone());
                    // Registered late, when its instance was dead or had lost the address: it is that one's, and no other host's.
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

    /// Remembers what a call took that came too late.
    pub fn remember_late(&mut self, world: &World, changes: &Changes) {
        let runs = |owned: &&Owned| {
            world.ec2.instance(&owned.instance).is_some_and(|instance| instance.state == InstanceState::Running)
        };
        let owners = changes.removed.iter().filter_map(|(_, owner)| owner.as_ref());
        self.taken_while_running.extend(owners.filter(runs).cloned());
    }

    /// Every place that is in place.
    pub fn in_place(&self) -> impl Iterator<Item = &Owned> {
        self.entries.values().filter(|known| known.is_current).filter_map(|known| known.owner.as_ref())
    }

    /// Whether a place is in place.
    pub fn is_in_place(&self, owned: &Owned) -> bool {
        self.in_place().any(|other| other == owned)
    }

    /// Whether a place was promised within a time.
    pub fn was_promised(&self, owned: &Owned, now: Timestamp, within: TimeDelta) -> bool {
        self.promised.get(owned).is_some_and(|at| now - *at <= within)
    }

    /// Whether the address of an entry was moved so lately that a function may not know whose it is.
    pub fn was_moved_lately(&self, entry: &Entry, now: Timestamp) -> bool {
        self.moved.get(&entry.id).is_some_and(|moved| now - *moved <= ACTS_LATE)
    }

    /// Whether an instance came to have a place with its address so lately that a function may take it for another's, which is dead.
    pub fn was_inherited_lately(&self, owned: &Owned, now: Timestamp) -> bool {
        self.inherited.get(owned).is_some_and(|inherited| now - *inherited <= ACTS_LATE)
    }

    /// Whether an instance was on its way out of its group so lately that a function may still take it out.
    pub fn was_leaving_lately(&self, instance: &str, now: Timestamp) -> bool {
        self.leaving.get(instance).is_some_and(|leaving| now - *leaving <= ACTS_LATE)
    }

    /// Looks only at who runs: cheap enough for every moment at which nothing else can have changed.
    pub fn look_at_instances(&mut self, world: &World) {
        let now = world.now();
        for history in world.ec2.instances.values() {
            let instance = history.current();
            // Between two looks more than one change may have happened, of which these times tell.
            let out = if view::is_out(instance.state) { now } else { instance.launch_time };
            self.out.insert(instance.id.clone(), out);
            if let Some(address) = instance.primary_ipv4() {
                // Seldom anything new, and this is looked at at every moment.
                let is_known = |had: &BTreeMap<IpAddr, String>| had.get(&address.into()) == Some(&instance.id);
                if !self.had.get(&instance.vpc_id).is_some_and(is_known) {
                    let had = self.had.entry(instance.vpc_id.clone()).or_default();
                    had.insert(address.into(), instance.id.clone());
                }
            }
            if view::is_leaving(world, &instance.id) {
                self.leaving.insert(instance.id.clone(), now);
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

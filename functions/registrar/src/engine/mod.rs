//! The engine converges a batch of instances: read, decide, act, read again. Every function ends here.
//!
//! *Actual* is what the balancers list. *Wanted* is nothing for an instance that is out, and what its tags hold and
//! declare for one that runs. An event, its redelivery and a sweep all take this path, so that the rare path is used
//! every day. If an event never comes, the instance's next event replaces it, or the sweep.
//!
//! # Why nothing is lost
//!
//! A registration is written into the instance's tags before it is deregistered. Its tag is deleted only after it was
//! seen in place, at a time when no invocation can deregister it any more. What is true if the process dies:
//!
//! | after | state | repaired by |
//! |---|---|---|
//! | reading | nothing has changed | the event's redelivery |
//! | holding | in the tag, and in place | the redelivery, which deregisters it; or the restart, which finds it in place |
//! | deregistering | in the tag | the restart |
//! | registering | in place, and in the tag | the redelivery, which deletes the tag |
//! | deleting the tag | in place | nothing to repair |
//!
//! Two invocations may work on one instance at once:
//!
//! - *Both hold.* Each writes keys of its own (see [`protocol::held`]).
//! - *One deregisters while another registers*, because it saw the instance stopped and acts after the start. It acts
//!   only while its reading is fresh. Then it looks again, and registers what it deregistered if the instance runs by
//!   now. If it dies before that, its redelivery finds the registration missing and still has the tag.
//! - *One registers while another deregisters*, because the instance is stopped meanwhile. An invocation that has
//!   registered looks again, too, before it deletes a tag.
//! - *One deregisters while another deletes the tag.* The second deletes only tags that it has read, once no invocation
//!   relies on them ([`protocol::timing::SETTLE`]). The first has written a younger one.

pub(crate) mod arrival;
pub(crate) mod desired;
mod forget;
pub(crate) mod give_back;
mod giving;
mod guards;
mod hints;
mod last_seen;
pub(crate) mod notes;
mod ownership;
pub(crate) mod parts;
pub(crate) mod reading;
mod served;
mod storms;
pub(crate) mod take_out;
mod waves;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{
    balancer::BalancerId,
    because::Because,
    decide::Attached,
    declaration::Declaration,
    hook::is_own,
    id::{AutoScalingGroupName, InstanceId},
    instance::Instance,
    member::AttachedBalancers,
    observed::Target,
    presence::{Facts, Hooks, Membership, Presence, WhyOut},
    registration::Registration,
    tag,
};

use crate::{
    aws::{clients::Clients, ec2::Described},
    balancer::{Balancers, TargetGroups},
    config::{Config, Mode, Orphans, Scope},
    report::Journal,
};

use desired::{broken_tags, copied_tags};
use last_seen::LastSeen;
use notes::Notes;
use reading::{Age, Reading};
use served::Served;
use storms::Storms;

/// Deregisters instances of one account and Region that are out, and registers those that run. It is built once, and
/// keeps nothing on which a promise depends.
pub struct Engine {
    pub(crate) clients: Arc<Clients>,
    pub(crate) mode: Mode,
    /// The mode of the deployed functions, from which follows what can have caused something. An operator who looks has another
    /// mode.
    pub(crate) functions_mode: Mode,
    pub(crate) scope: Scope,
    pub(crate) orphans: Orphans,
    pub(crate) hook_prefix: String,
    other_hook_prefixes: Vec<String>,
    pub(crate) served: Served,
    pub(crate) storms: Storms,
    pub(crate) last_seen: LastSeen,
}

/// A registration that was made or removed, or is to be.
pub(crate) type Item = (InstanceId, Registration, Target);

impl Engine {
    /// Creates an engine that calls AWS through some clients.
    pub fn new(clients: Arc<Clients>, mode: Mode, scope: Scope) -> Self {
        let (served, storms, last_seen) = (Served::default(), Storms::default(), LastSeen::default());
        let (orphans, hook_prefix) = (Orphans::Report, Config::default().lifecycle_hook_prefix);
        let other_hook_prefixes = Vec::new();
        let functions_mode = mode;
        Self {
            clients,
            mode,
            functions_mode,
            scope,
            orphans,
            hook_prefix,
            other_hook_prefixes,
            served,
            storms,
            last_seen,
        }
    }

    /// Returns an engine with the settings of a function.
    pub fn of(config: &Config, clients: Arc<Clients>, mode: Mode) -> Self {
        let engine = Self::new(clients, mode, config.scope).with_orphans(config.orphans);
        let engine = engine.with_functions_mode(config.mode).with_hook_prefix(config.lifecycle_hook_prefix.clone());
        engine.with_other_hook_prefixes(config.other_hook_prefixes.clone())
    }

    /// Returns the same engine, with the mode of the functions whose work it looks at.
    #[must_use]
    pub fn with_functions_mode(self, functions_mode: Mode) -> Self {
        Self { functions_mode, ..self }
    }

    /// Returns the same engine, with what it should do about orphans.
    #[must_use]
    pub fn with_orphans(self, orphans: Orphans) -> Self {
        Self { orphans, ..self }
    }

    /// Returns the same engine, with the beginning of the names of lifecycle hooks that are ours.
    #[must_use]
    pub fn with_hook_prefix(self, hook_prefix: String) -> Self {
        Self { hook_prefix, ..self }
    }

    /// Returns the same engine, with such beginnings that belong to other deployments.
    #[must_use]
    pub fn with_other_hook_prefixes(self, other_hook_prefixes: Vec<String>) -> Self {
        Self { other_hook_prefixes, ..self }
    }

    fn is_our_hook(&self, name: &str) -> bool {
        is_own(name, &self.hook_prefix, &self.other_hook_prefixes)
    }

    /// Forgets which stops, starts and storms it has worked on, so that the next event of each is worked on again.
    pub fn forget_stops(&self) {
        self.served.forget();
        self.storms.forget();
    }

    /// Returns the reading of some instances that were just described. Instances that are out and have lost their
    /// addresses get those of their last description.
    pub(crate) fn reading_of(&self, age: Age, described: &mut Described) -> Reading {
        let remembered = self.last_seen.complete(described);
        Reading::new(age, described).with_remembered(remembered)
    }

    /// Begins a look: some instances were read for it, and something is asked of it.
    pub(crate) fn look(&self, reading: Reading, asked: Asked) -> Look<'_> {
        let journal = if asked.is_sweep { Journal::of_sweep(self.mode) } else { Journal::new(self.mode) };
        Look { engine: self, reading, asked, notes: Notes::new(journal) }
    }

    /// Returns balancers of which nothing was read yet. They serve one reading, because they remember what they have
    /// described.
    pub(crate) fn balancers(&self) -> Balancers {
        Balancers::new(&self.clients)
    }

    pub(crate) fn target_groups(&self) -> TargetGroups {
        TargetGroups::new(&self.clients)
    }
}

/// What is asked of a look.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Which instances are converged.
    pub(crate) scope: Scope,
    /// Whether all instances are looked at, and not only those that events name.
    pub(crate) is_sweep: bool,
    /// Whether a sweep tells of everything, also of what is in order.
    pub(crate) tells_all: bool,
    /// Whether instances with many registrations are left to a sweep of their own.
    pub(crate) leaves_many: bool,
    /// Whether only what is held is registered, and not what is declared besides.
    pub(crate) only_held: bool,
    /// Instances for which a terminate hook asks that they be deregistered.
    pub(crate) leaving: BTreeSet<InstanceId>,
    /// Instances for which a launch hook asks that they be registered, whatever state their group has for them, with
    /// what the hook declares for them.
    pub(crate) entering: BTreeMap<InstanceId, Vec<Declaration>>,
}

/// A look at some instances: its engine, what was read for it, what is asked of it, and what it notes.
pub(crate) struct Look<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) reading: Reading,
    pub(crate) asked: Asked,
    pub(crate) notes: Notes,
}

impl Look<'_> {
    /// Reads instances again. Notes for each of them if that fails.
    pub(crate) async fn read_again(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Described> {
        match self.engine.clients.ec2.read(ids).await {
            Ok(described) => Some(described),
            Err(error) => {
                ids.iter().for_each(|id| self.notes.call_failed(id, None, &error));
                None
            }
        }
    }

    /// Reads instances again, and begins anew with them: all that is known of balancers and members is as old as the
    /// reading before.
    pub(crate) async fn begin_anew(&mut self, ids: &BTreeSet<InstanceId>) -> Option<Described> {
        self.reading.forget_what_followed();
        let age = Age::new();
        let described = self.read_again(ids).await?;
        self.reading.renew(age, described.at);
        for (id, instance) in &described.instances {
            self.notes.journal.state(id, Some(instance.state));
        }
        Some(described)
    }

    /// Returns the sweep's balancers. Without a sweep, these are new ones, of which nothing was read yet.
    pub(crate) fn balancers(&self) -> Arc<Balancers> {
        self.reading.balancers.clone().unwrap_or_else(|| self.engine.balancers().into())
    }

    /// Sorts instances into those that are out and those that run.
    pub(crate) fn sort_by_state<'i>(&mut self, instances: &[&'i Instance]) -> (Vec<&'i Instance>, Vec<&'i Instance>) {
        for instance in instances {
            self.notes.journal.held(instance);
            self.name_wrong_tags(instance);
        }
        let (mut out, mut running) = (Vec::new(), Vec::new());
        for instance in instances.iter().copied() {
            if !self.is_ours(instance) {
                continue;
            }
            match self.presence(instance) {
                Presence::Out(_) => out.push(instance),
                Presence::In => running.push(instance),
                // A sweep also reads instances that are starting, or whose state this version does not know.
                Presence::Undecided(_) => {}
            }
        }
        (out, running)
    }

    /// Returns whether an instance is in or out, by its description, by what was read of its group, and by what its
    /// hooks ask for.
    pub(crate) fn presence(&self, instance: &Instance) -> Presence {
        let membership = self.reading.membership(&instance.id);
        let hooks = Hooks {
            register_it: self.asked.entering.contains_key(&instance.id),
            deregister_it: self.asked.leaving.contains(&instance.id),
        };
        Facts::of(instance).with_membership(membership).with_hooks(hooks).presence()
    }

    /// Returns whether an instance is ours to converge, by its own tags.
    pub(crate) fn is_ours(&mut self, instance: &Instance) -> bool {
        if instance.is_ignored() {
            let held = instance.held().registrations().len();
            let why = match held {
                0 => format!("it bears the tag {}", tag::IGNORE),
                _ => {
                    format!("it bears the tag {}; its tags hold {held} registration(s), which stay there", tag::IGNORE)
                }
            };
            self.notes.journal.left_alone(&instance.id, Because::all(why));
            return false;
        }
        let in_scope = self.is_in_scope(instance);
        match in_scope {
            true => drop(self.reading.in_scope.insert(instance.id.clone())),
            false => {
                let why = format!(
                    "the scope is `tagged`, it does not bear the tag {}, and it is in no group with a hook {}...",
                    tag::REGISTER,
                    self.engine.hook_prefix
                );
                match self.asked.tells_all {
                    true => self.notes.journal.left_alone(&instance.id, Because::all(why)),
                    false => self.notes.journal.nothing_to_do(&instance.id, &why),
                }
            }
        }
        in_scope
    }

    /// Returns whether an instance is one of those that the operator has chosen: by a tag, or by a hook of ours on the
    /// instance's group. What is held was ours when it was held, even if the scope has changed.
    pub(crate) fn is_in_scope(&self, instance: &Instance) -> bool {
        let was_in_scope = || instance.state.is_dying() && self.reading.in_scope.contains(&instance.id);
        let has_hook = || self.group_of(instance).is_some_and(|group| self.reading.hooked.get(&group) == Some(&true));
        match self.asked.scope {
            Scope::All => true,
            Scope::Tagged => is_tagged(instance) || has_hook() || was_in_scope(),
        }
    }

    /// Reads whether the groups of some instances have a hook of ours. What the hook's metadata declares for them is
    /// registered without any tag, and all functions have to agree on what is theirs.
    ///
    /// Reads nothing if a tag says it already, or if all instances are in scope.
    pub(crate) async fn read_scope(&mut self, instances: impl Iterator<Item = &Instance>) {
        if self.asked.scope == Scope::All {
            return;
        }
        let untagged: Vec<&Instance> = instances.filter(|i| !i.is_ignored() && !is_tagged(i)).collect();
        let groups: BTreeSet<AutoScalingGroupName> =
            untagged.iter().filter_map(|instance| self.group_of(instance)).collect();
        // One after the other: Auto Scaling says nothing of how many calls it allows.
        for group in groups {
            if self.reading.hooked.contains_key(&group) {
                continue;
            }
            match self.engine.clients.auto_scaling.has_hook(&group, |name| self.engine.is_our_hook(name)).await {
                Ok(has_hook) => drop(self.reading.hooked.insert(group, has_hook)),
                Err(error) => {
                    let its = |instance: &&&Instance| self.group_of(instance).as_ref() == Some(&group);
                    let its: Vec<InstanceId> = untagged.iter().filter(its).map(|i| i.id.clone()).collect();
                    its.iter().for_each(|id| self.notes.call_failed(id, Some(&group), &error));
                }
            }
        }
    }

    /// Names what a person should correct in an instance's tags: texts that are no registrations, tags that were copied
    /// from another instance, and keys that are nearly one of ours.
    pub(crate) fn name_wrong_tags(&mut self, instance: &Instance) {
        for because in broken_tags(instance).into_iter().chain(copied_tags(instance)) {
            self.notes.journal.needs_a_person(&instance.id, because);
        }
        for key in instance.tags.keys() {
            self.name_odd_tag(&instance.id, key, key);
        }
    }

    fn name_odd_tag(&mut self, id: &InstanceId, what: &str, key: &str) {
        if let Some(odd) = tag::odd(key) {
            self.notes.journal.needs_a_person(id, Because::of(&format!("tag {what}"), odd));
        }
    }

    /// Returns the group that an instance is a member of: by what Auto Scaling says, if that was read, and else by the
    /// tag that Auto Scaling writes. EC2's description of the tag may lag.
    pub(crate) fn group_of(&self, instance: &Instance) -> Option<AutoScalingGroupName> {
        self.reading.group(&instance.id).cloned().or_else(|| instance.auto_scaling_group())
    }

    /// Reads which of some balancers Auto Scaling looks after, and on which port, for the instances that are in a
    /// group.
    ///
    /// An instance is left out and marked as failed if its group could not be read, or the port of what is attached
    /// there: it is not known which registrations are foreign to it.
    pub(crate) async fn attached<'i>(
        &mut self,
        balancers: &Balancers,
        instances: &[&'i Instance],
        concerned: &BTreeSet<BalancerId>,
    ) -> Vec<(&'i Instance, Attached)> {
        let known = self.attached_balancers(instances).await;
        let attached = known.iter().flat_map(|(_, _, attached)| attached).filter(|id| concerned.contains(*id));
        let attached: BTreeSet<BalancerId> = attached.cloned().collect();
        let ports = match attached.is_empty() {
            true => Ok(BTreeMap::new()),
            false => balancers.own_ports(&attached).await,
        };
        let mut with_ports = Vec::new();
        for (instance, group, balancers) in known {
            let concerns_it = |id: &BalancerId| attached.contains(id);
            match &ports {
                Err(error) if balancers.iter().any(concerns_it) => {
                    self.notes.call_failed(&instance.id, group.as_ref().map(|name| name as _), error);
                }
                ports => {
                    let port = |id: &BalancerId| ports.as_ref().ok().and_then(|ports| ports.get(id).copied());
                    let balancers = balancers.into_iter().map(|id| (id.clone(), port(&id))).collect();
                    with_ports.push((instance, Attached { group, balancers }));
                }
            }
        }
        with_ports
    }

    /// Reads the balancers that are attached to the groups of some instances. Instances whose group could not be read
    /// are left out, and marked as failed.
    pub(crate) async fn attached_balancers<'i>(
        &mut self,
        instances: &[&'i Instance],
    ) -> Vec<(&'i Instance, Option<AutoScalingGroupName>, AttachedBalancers)> {
        let names = instances.iter().filter_map(|instance| self.group_of(instance));
        let unknown: BTreeSet<AutoScalingGroupName> =
            names.filter(|name| !self.reading.groups.contains_key(name)).collect();
        let mut failure = None;
        if !unknown.is_empty() {
            match self.engine.clients.auto_scaling.attached_balancers(&unknown).await {
                // Nothing is attached to a group that does not exist any more.
                Ok(mut found) => self.reading.groups.extend(unknown.into_iter().map(|name| {
                    let attached = found.remove(&name).unwrap_or_default();
                    (name, attached)
                })),
                Err(error) => failure = Some(error),
            }
        }
        let mut known = Vec::new();
        for instance in instances {
            match (self.group_of(instance), &failure) {
                (None, _) => known.push((*instance, None, AttachedBalancers::new())),
                (Some(name), failure) => match (self.reading.groups.get(&name), failure) {
                    (Some(balancers), _) => {
                        let balancers = balancers.clone();
                        known.push((*instance, Some(name), balancers));
                    }
                    (None, Some(error)) => self.notes.call_failed(&instance.id, Some(&name), error),
                    (None, None) => {}
                },
            }
        }
        known
    }

    /// Leaves out instances that their groups keep out of service. They wait for another event, or for the sweep.
    /// Instances whose group could not be read wait, too.
    ///
    /// Of a new instance, EC2 may not show the tag yet that tells of a group, and may show a declaration already.
    pub(crate) async fn in_service<'i>(&mut self, instances: Vec<&'i Instance>) -> Vec<&'i Instance> {
        let is_open = |instance: &&&Instance| {
            let may_be_member = instance.auto_scaling_group().is_some()
                || self.reading.was_member(&instance.id)
                || (instance.is_new(self.reading.at) && instance.tags.contains_key(tag::REGISTER));
            may_be_member && matches!(self.reading.membership(&instance.id), Membership::NotRead)
        };
        let asked: BTreeSet<InstanceId> = instances.iter().filter(is_open).map(|i| i.id.clone()).collect();
        let members = match asked.is_empty() {
            true => Ok(BTreeMap::new()),
            false => self.engine.clients.auto_scaling.members(&asked).await,
        };
        let failure = match members {
            Ok(members) => {
                self.reading.set_members(&asked, members);
                None
            }
            Err(error) => Some(error),
        };
        let mut in_service = Vec::new();
        for instance in instances {
            if let Some(error) = failure.as_ref().filter(|_| asked.contains(&instance.id)) {
                let group = self.group_of(instance);
                self.notes.call_failed(&instance.id, group.as_ref().map(|name| name as _), error);
                continue;
            }
            match self.presence(instance) {
                Presence::In => in_service.push(instance),
                Presence::Out(why @ WhyOut::KeptOutOfService(_)) => {
                    self.notes.waiting(&instance.id, Because::all(why));
                }
                // This very look deregisters the instance.
                Presence::Out(_) => {}
                Presence::Undecided(why) => self.notes.waiting(&instance.id, Because::all(why)),
            }
        }
        in_service
    }

    /// Returns why an instance is registered nowhere, or should not be.
    pub(crate) fn why_out(&self, instance: &Instance) -> String {
        match self.presence(instance) {
            Presence::Out(why) => why.to_string(),
            Presence::In | Presence::Undecided(_) => format!("the instance is {}", instance.state.name()),
        }
    }
}

/// Returns whether the operator has chosen an instance by a tag, or whether its tags hold anything.
fn is_tagged(instance: &Instance) -> bool {
    instance.tags.contains_key(tag::REGISTER) || !instance.held().is_empty()
}

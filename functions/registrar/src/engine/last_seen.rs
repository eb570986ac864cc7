//! What instances had that were on their way out: their last description with addresses.
//!
//! EC2 takes the addresses of an instance away when it is `terminated`, and some instances lose them when they are
//! `stopped`. Then no description tells any more which ip targets were theirs. A storm can outlast that. So a process
//! remembers the last description of each instance that was on its way out. Before anything is deregistered by it, EC2
//! is asked whether another interface has the address by now ([`super::take_out`]).
//!
//! No promise depends on this memory: it saves what would be an orphan otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use protocol::{
    id::InstanceId,
    instance::{Instance, State},
    presence::Facts,
    timing::SERVED_REMEMBERED_FOR,
};
use tokio::time::Instant as MonotonicTime;

use crate::aws::ec2::Described;

/// The last descriptions of instances that were on their way out, or that a function has just registered.
#[derive(Debug, Default)]
pub(crate) struct LastSeen(Mutex<BTreeMap<InstanceId, (Instance, MonotonicTime)>>);

impl LastSeen {
    /// Remembers the instances of a reading that are on their way out and still have addresses.
    pub(crate) fn note(&self, described: &Described) {
        let is_leaving = |instance: &&Instance| matches!(instance.state, State::Stopping | State::ShuttingDown);
        self.remember(described.instances.values().filter(is_leaving));
    }

    /// Remembers some instances, if they have addresses.
    pub(crate) fn remember<'i>(&self, instances: impl Iterator<Item = &'i Instance>) {
        let now = MonotonicTime::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (_, at)| at.elapsed() < SERVED_REMEMBERED_FOR);
        let with_any = instances.filter(|instance| instance.addresses().next().is_some());
        seen.extend(with_any.map(|instance| (instance.id.clone(), (instance.clone(), now))));
    }

    /// Notes a reading, and completes its instances that are out and have lost their addresses. Returns those.
    pub(crate) fn complete(&self, described: &mut Described) -> BTreeSet<InstanceId> {
        self.note(described);
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut completed = BTreeSet::new();
        for (id, now) in &mut described.instances {
            let Some((before, at)) = seen.get(id) else { continue };
            let is_same_run = before.launch_time == now.launch_time;
            if at.elapsed() < SERVED_REMEMBERED_FOR && is_same_run && has_lost_addresses(now) {
                *now = with_what_it_had(before, now);
                completed.insert(id.clone());
            }
        }
        completed
    }
}

fn has_lost_addresses(now: &Instance) -> bool {
    Facts::of(now).presence().is_out() && now.addresses().next().is_none()
}

/// Returns an instance that is out, with the network that it had before. The tags of a terminated instance fade away,
/// too: a tag of the operator's counts until the end.
///
/// Prefixes are left out. Another interface can have one by now, and no call finds it by an address in the prefix.
pub(super) fn with_what_it_had(before: &Instance, now: &Instance) -> Instance {
    let tags = if now.state.is_dying() { before.tags.clone() } else { now.tags.clone() };
    let mut interfaces = before.interfaces.clone();
    interfaces.iter_mut().for_each(|interface| interface.prefixes.clear());
    Instance { vpc: before.vpc.clone(), interfaces, tags, ..now.clone() }
}

#[cfg(test)]
mod tests {
    use protocol::instance::Interface;

    use super::*;
    use crate::testing::{at, instance};

    #[tokio::test(start_paused = true)]
    async fn a_remembered_prefix_is_not_the_instances_any_more() {
        let eth0 = Interface {
            id: "eni-00".into(),
            vpc: Some("vpc-1".into()),
            device_index: 0,
            network_card_index: 0,
            ipv4: vec![("10.0.0.10".parse().unwrap(), true)],
            ipv6: Vec::new(),
            controller: None,
            prefixes: vec!["10.0.0.32/28".parse().unwrap()],
        };
        let leaving = Instance { state: State::ShuttingDown, interfaces: vec![eth0], ..instance("i-1") };
        let of = |instance: Instance| Described { at: at(0), instances: [(instance.id.clone(), instance)].into() };
        let seen = LastSeen::default();
        seen.note(&of(leaving.clone()));
        let mut ended = of(Instance { state: State::Terminated, interfaces: Vec::new(), ..leaving });
        assert_eq!(seen.complete(&mut ended), ["i-1".into()].into());
        let now = &ended.instances["i-1"];
        let (own, delegated) = ("10.0.0.10".parse().unwrap(), "10.0.0.35".parse().unwrap());
        // Another interface can have the prefix by now, and no call finds it by an address in it.
        assert!(now.owns(own) && !now.owns(delegated), "{now:?}");
    }
}

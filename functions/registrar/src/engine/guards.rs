//! Guards: the owners of balancers are read again if registering or deregistering takes long, because they may have
//! changed.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    balancer::BalancerId,
    because::Because,
    call_error::CallError,
    decide::Attached,
    id::InstanceId,
    instance::{Instance, State},
    observed::Reason,
    presence::{Facts, Hooks},
};

use super::{Item, Look};
use crate::balancer::Balancers;

impl Look<'_> {
    /// Reads the owners of some items' balancers again, and leaves out the items whose balancer has another owner by
    /// now.
    pub(crate) async fn without_guarded(
        &mut self,
        balancers: &Balancers,
        items: Vec<Item>,
        instances: &BTreeMap<&InstanceId, &Instance>,
    ) -> Vec<Item> {
        let of_items: BTreeSet<BalancerId> =
            items.iter().map(|(_, registration, _)| registration.balancer.clone()).collect();
        let owners = balancers.owners(&of_items).await;
        let ids: BTreeSet<&InstanceId> = items.iter().map(|(id, _, _)| id).collect();
        let instances: Vec<&Instance> = ids.into_iter().map(|id| instances[id]).collect();
        self.reading.groups.clear();
        let attached = self.attached(balancers, &instances, &of_items).await;
        let attached: BTreeMap<InstanceId, Attached> =
            attached.into_iter().map(|(i, attached)| (i.id.clone(), attached)).collect();
        let mut left = Vec::new();
        for item in items {
            let (id, registration, _) = &item;
            // An instance whose group could not be read was marked as failed.
            let Some(attached) = attached.get(id) else { continue };
            let owner = match owners.get(&registration.balancer) {
                Some(Err(error)) => {
                    self.notes.call_failed(id, Some(registration), error);
                    continue;
                }
                Some(Ok(owner)) => Some(Reason::from(*owner)),
                None => None,
            };
            match owner.or_else(|| attached.reason(registration)) {
                Some(reason) => self.notes.journal.left_alone(id, Because::of(registration, reason)),
                None => left.push(item),
            }
        }
        left
    }

    /// Reads again what their groups say of the instances at terminate hooks, and of those whose groups were read.
    pub(crate) async fn renew_leaving(&mut self) -> Result<(), CallError> {
        // A member that its group keeps out of service may be back by now.
        let is_kept_out = |id: &&InstanceId| {
            let membership = self.reading.membership(id);
            Facts { state: State::Running, membership, hooks: Hooks::default() }.presence().is_out()
        };
        let kept_out = self.reading.members().filter(is_kept_out);
        let ids: BTreeSet<InstanceId> = self.asked.leaving.iter().chain(kept_out).cloned().collect();
        if !ids.is_empty() {
            let members = self.engine.clients.auto_scaling.members(&ids).await?;
            self.reading.set_members(&ids, members);
        }
        Ok(())
    }
}

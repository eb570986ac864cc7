//! Whose some targets are: asked of EC2 before anything is deregistered, and before anything is registered
//! ([`protocol::decide::doubt`]).

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    because::Because,
    call_error::CallError,
    decide,
    holder::Holders,
    id::InstanceId,
    instance::Instance,
    observed::{Found, Reason, Standing, Target},
    registration::{Registration, ZONE_ALL},
};

use super::{Item, Look};

impl Look<'_> {
    /// Reads which interfaces have the addresses of some targets. Without any target, there is no call.
    async fn holders<'t>(&self, targets: impl IntoIterator<Item = &'t Target>) -> Result<Holders, CallError> {
        let (mut addresses, mut places) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let (Some(address), Some(vpc)) = (target.address(), &target.vpc) else { continue };
            addresses.insert(address);
            // AWS refuses `all` for an address inside the group's VPC, so that nothing has to be asked.
            if target.zone.as_deref().is_some_and(|zone| zone != ZONE_ALL) {
                places.insert((vpc.clone(), address));
            }
        }
        match addresses.is_empty() {
            true => Ok(Holders::default()),
            false => self.engine.clients.ec2.read_holders(&addresses, &places).await,
        }
    }

    /// Notes in what a scan found why a target is not the instance's, or may not be. Leaves out what is another host's
    /// for certain, and what could not be asked.
    pub(super) async fn without_other_hosts(&mut self, found: Vec<Found>, instances: &[&Instance]) -> Vec<Found> {
        let instances: BTreeMap<&InstanceId, &Instance> = instances.iter().map(|i| (&i.id, *i)).collect();
        let is_doubtful = |found: &&Found| {
            let instance = instances.get(&found.instance);
            instance.is_some_and(|instance| decide::is_doubtful(instance, &found.registration, &found.target))
        };
        let holders = self.holders(found.iter().filter(is_doubtful).map(|found| &found.target)).await;
        let (doubtful, mut certain): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|found| is_doubtful(&found));
        for found in doubtful {
            match &holders {
                Ok(holders) => match decide::doubt(instances[&found.instance], &found.target, holders) {
                    Some(Reason::AddressOfGroupsVpc(_)) => {}
                    doubt => certain.push(Found { doubt, ..found }),
                },
                // It is not known whose it is. So it is left alone, and looked at again.
                Err(error) => self.notes.call_failed(&found.instance, Some(&found.registration), error),
            }
        }
        certain.sort_by(|a, b| (&a.instance, &a.registration).cmp(&(&b.instance, &b.registration)));
        certain
    }

    /// Returns those of some items whose target is not the instance's any more, or may not be, and notes why not.
    pub(super) async fn not_owned(
        &mut self,
        doubtful: Vec<Item>,
        instances: &BTreeMap<InstanceId, &Instance>,
    ) -> Vec<(InstanceId, Registration)> {
        let holders = self.holders(doubtful.iter().map(|(_, _, target)| target)).await;
        let mut lost = Vec::new();
        for (id, registration, target) in doubtful {
            match &holders {
                Ok(holders) => match decide::doubt(instances[&id], &target, holders) {
                    None => continue,
                    Some(reason) => self.notes.journal.left_alone(&id, Because::of(&registration, reason)),
                },
                Err(error) => self.notes.call_failed(&id, Some(&registration), error),
            }
            lost.push((id, registration));
        }
        lost
    }

    /// Asks whose the targets are that are about to be registered. One that may be another host's waits for a person.
    pub(super) async fn question(
        &self,
        standings: &mut BTreeMap<InstanceId, Vec<(Registration, Standing)>>,
        instances: &BTreeMap<&InstanceId, &Instance>,
    ) {
        let doubtful = |id: &InstanceId, registration: &Registration, standing: &Standing| match standing {
            Standing::Absent(target) => instances
                .get(id)
                .filter(|instance| decide::is_doubtful(instance, registration, target))
                .map(|instance| (*instance, target.clone())),
            _ => None,
        };
        let all = standings.iter().flat_map(|(id, own)| own.iter().map(move |(r, standing)| (id, r, standing)));
        let targets: Vec<Target> =
            all.filter_map(|(id, r, standing)| doubtful(id, r, standing)).map(|(_, target)| target).collect();
        let holders = self.holders(&targets).await;
        for (id, own) in standings {
            for (registration, standing) in own {
                let Some((instance, target)) = doubtful(id, registration, standing) else { continue };
                match &holders {
                    Ok(holders) => {
                        if let Some(reason) = decide::doubt(instance, &target, holders) {
                            *standing = Standing::Stuck(reason);
                        }
                    }
                    Err(error) => *standing = Standing::Unreadable(error.clone()),
                }
            }
        }
    }
}

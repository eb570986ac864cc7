//! Whose some targets are: asked of EC2 before anything is deregistered, and before anything is registered
//! ([`protocol::decide::doubt`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    address::Address,
    because::Because,
    call_error::CallError,
    decide::{self, GiveBack},
    holder::Holders,
    id::InstanceId,
    instance::Instance,
    observed::{Found, Lasting, Reason, Standing, Target},
    registration::{Registration, ZONE_ALL},
};

use super::{Item, Look, give_back::look};
use crate::{balancer::Balancers, config::Mode};

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

    /// Asks whose the targets are that are about to be registered, or that name an address which their instance does
    /// not have. One that may be another host's waits for a person. An address that another interface has by now is
    /// not the instance's any more.
    pub(super) async fn question(
        &self,
        standings: &mut BTreeMap<InstanceId, Vec<(Registration, Standing)>>,
        instances: &BTreeMap<&InstanceId, &Instance>,
    ) {
        let doubtful = |id: &InstanceId, registration: &Registration, standing: &Standing| match standing {
            Standing::Away(target) => instances.get(id).map(|instance| (*instance, target.clone())),
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
                        let doubt = decide::doubt(instance, &target, holders);
                        match (doubt, matches!(standing, Standing::Away(_))) {
                            (None, _) => {}
                            (Some(Reason::AddressMoved { address, interface }), true) => {
                                *standing = Standing::Never(Lasting::address_moved(address, interface));
                            }
                            (Some(reason), _) => *standing = Standing::Stuck(reason),
                        }
                    }
                    Err(error) => *standing = Standing::Unreadable(error.clone()),
                }
            }
        }
    }

    /// Registers again what instances that are out hold at addresses which running instances have taken over: a
    /// secondary address moves to the standby host when the active one stops. Such a target was deregistered because its
    /// host was stopped, and has another host now.
    pub(super) async fn follow_moved(&mut self, balancers: &Balancers, out: &[&Instance]) {
        let wanted: Vec<(&Instance, BTreeSet<Registration>)> = out
            .iter()
            .filter(|instance| !instance.state.is_dying() && decide::may_be_followed(instance, self.reading.at))
            .map(|instance| (*instance, decide::lost_addresses(instance)))
            .filter(|(_, registrations)| !registrations.is_empty())
            .collect();
        if wanted.is_empty() {
            return;
        }
        let standings = look(balancers, &wanted, None).await;
        let mut away: Vec<(&Instance, Registration, Target)> = Vec::new();
        for (instance, _) in &wanted {
            let own = standings.get(&instance.id).into_iter().flatten();
            away.extend(own.filter_map(|(registration, standing)| match standing {
                Standing::Away(target) => Some((*instance, registration.clone(), target.clone())),
                _ => None,
            }));
        }
        let heirs = match self.heirs(&away).await {
            Ok(heirs) => heirs,
            Err(error) => {
                away.iter().for_each(|(instance, registration, _)| {
                    self.notes.call_failed(&instance.id, Some(registration), &error);
                });
                return;
            }
        };
        let ours: Vec<&Instance> = heirs.iter().filter(|heir| self.is_ours(heir)).collect();
        let mut asked: Vec<(&Instance, BTreeSet<Registration>)> = Vec::new();
        for (instance, registration, target) in &away {
            let heir = ours.iter().copied().find(|heir| decide::is_heir(heir, target, instance));
            asked.extend(heir.map(|heir| (heir, BTreeSet::from([registration.clone()]))));
        }
        let standings = look(balancers, &asked, None).await;
        let concerned = standings.values().flatten().map(|(registration, _)| registration.balancer.clone()).collect();
        let instances: Vec<&Instance> = heirs.iter().filter(|heir| standings.contains_key(&heir.id)).collect();
        let mut decisions = Vec::new();
        for (heir, attached) in self.attached(balancers, &instances, &concerned).await {
            let mut decision = GiveBack { is_followed: true, ..GiveBack::default() };
            for (registration, standing) in &standings[&heir.id] {
                match (standing, attached.reason_if_declared(registration)) {
                    (Standing::Absent(target), None) => decision.register.push((registration.clone(), target.clone())),
                    (Standing::Draining { delay }, None) => self.wait_for_heir(&away, registration, *delay),
                    _ => {}
                }
            }
            decisions.push((heir, decision));
        }
        match self.engine.mode {
            // The held tag stays until its own instance runs again, and is let go then.
            Mode::Enforce => {
                let given = self.register(balancers, &mut decisions).await;
                self.look_after_giving(balancers, &given, &mut decisions).await;
            }
            Mode::Observe => self.rehearse_give_back(&decisions),
        }
    }

    /// Notes that an address still drains which another instance has by now. The event of the one that held it comes
    /// again.
    fn wait_for_heir(
        &mut self,
        away: &[(&Instance, Registration, Target)],
        registration: &Registration,
        delay: Option<Duration>,
    ) {
        for (instance, _, _) in away.iter().filter(|(_, other, _)| other == registration) {
            let why = "its address has another host by now, and is still being drained";
            self.notes.waiting(&instance.id, Because::of(registration, why));
            let drained = decide::drained(&instance.held(), registration, delay, self.reading.at);
            self.notes.look_again(&instance.id, drained.look_again);
        }
    }

    /// Reads the instances that may have taken over some addresses, without those that their groups keep out of service.
    async fn heirs(&mut self, away: &[(&Instance, Registration, Target)]) -> Result<Vec<Instance>, CallError> {
        let holders = self.holders(away.iter().map(|(_, _, target)| target)).await?;
        let heirs = away.iter().filter_map(|(instance, _, target)| decide::heir(instance, target, &holders));
        let heirs: BTreeSet<InstanceId> = heirs.cloned().collect();
        match heirs.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let read = self.engine.clients.ec2.read(&heirs).await?.instances;
                Ok(self.in_service(read.values().collect()).await.into_iter().cloned().collect())
            }
        }
    }
}

/// Returns whether an instance holds anything at a literal address. The address can move to another interface while the
/// instance is out.
pub(crate) fn can_move(found: &BTreeSet<Registration>) -> bool {
    found.iter().any(|registration| matches!(registration.target.address, Some(Address::Literal(_))))
}

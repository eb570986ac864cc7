//! The registrations and their standing: read from the simulated AWS itself, not from the function's log.

use std::{collections::BTreeMap, net::IpAddr};

use sandbox::{
    World, elb, elbv2,
    fleet::{self, Fleet, Place},
};

/// The standing of a registration. The words are those of target groups, for Classic load balancers too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Healthy,
    Initial,
    Draining,
    /// Registered, and without traffic: AWS's word for its state.
    Down(&'static str),
}

/// The place, the member, and the address if the address is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Index in [`Fleet::places`].
    pub(crate) place: usize,
    /// Index in [`Fleet::members`].
    pub(crate) member: usize,
    pub(crate) address: Option<IpAddr>,
}

/// All of it, at one time.
pub(crate) type Snapshot = BTreeMap<Key, Standing>;

/// Reads snapshots.
#[derive(Debug, Default)]
pub(crate) struct Register {
    /// The owner of an address, or its last one: a draining address may be free already.
    owners: BTreeMap<IpAddr, usize>,
}

impl Standing {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Initial => "initial",
            Self::Draining => "draining",
            Self::Down(word) => word,
        }
    }
}

impl Register {
    /// Looks at the world.
    pub(crate) fn read(&mut self, world: &World, fleet: &Fleet) -> Snapshot {
        for (index, member) in fleet.members.iter().enumerate() {
            self.owners.extend(fleet::primary_address(world, &member.id).map(|address| (address, index)));
        }
        let places = fleet.places.iter().enumerate();
        places.flat_map(|(index, place)| self.of_place(world, fleet, index, place)).collect()
    }

    fn of_place(&self, world: &World, fleet: &Fleet, index: usize, place: &Place) -> Vec<(Key, Standing)> {
        let key = |member, address| Key { place: index, member, address };
        let member_with = |id: &str| fleet.members.iter().position(|member| member.id == id);
        match place {
            Place::Classic { name } => {
                let members = fleet.members.iter().enumerate();
                members.filter_map(|(member, m)| Some((key(member, None), of_classic(world, name, &m.id)?))).collect()
            }
            Place::Instances { arn, port, .. } => on_port(world, arn, *port)
                .filter_map(|target| Some((key(member_with(&target.id)?, None), of_target(&target))))
                .collect(),
            Place::Addresses { arn, port, .. } => on_port(world, arn, *port)
                .filter_map(|target| {
                    let address = target.id.parse().ok()?;
                    Some((key(*self.owners.get(&address)?, Some(address)), of_target(&target)))
                })
                .collect(),
        }
    }
}

/// Returns a member's standing. A Classic load balancer reports a draining instance as `InService`, and tells the rest in
/// sentences.
fn of_classic(world: &World, name: &str, instance_id: &str) -> Option<Standing> {
    if elb::draining_until(world, name, instance_id).is_some() {
        return Some(Standing::Draining);
    }
    if !elb::members(world, name).contains(instance_id) {
        return None;
    }
    let health = elb::instance_health(world, name, instance_id).ok()??;
    Some(match (health.state, health.description) {
        ("InService", _) => Standing::Healthy,
        (_, "Instance registration is still in progress.") => Standing::Initial,
        _ => Standing::Down("OutOfService"),
    })
}

fn on_port(world: &World, arn: &str, port: u16) -> impl Iterator<Item = elbv2::TargetView> {
    elbv2::targets(world, arn).into_iter().filter(move |target| target.port == Some(port))
}

fn of_target(target: &elbv2::TargetView) -> Standing {
    match target.health.state() {
        "healthy" => Standing::Healthy,
        "initial" => Standing::Initial,
        "draining" => Standing::Draining,
        word => Standing::Down(word),
    }
}

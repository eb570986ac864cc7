//! Promises 1 and 2 when all is quiet and the sweeps have run: no dead instance is served, every registration is back, no tag is
//! left.

use std::{collections::BTreeSet, net::IpAddr};

use sandbox::{
    World,
    auto_scaling::LifecycleState,
    ec2::{Instance, InstanceState},
};

use super::{Promise, Violation};
use crate::simulation::{
    ledger::{Known, Ledger},
    reference::Reference,
    view::{self, Entry, Owned},
};

/// Returns the first thing that is not as it should be at rest.
pub fn at_rest(world: &World, ledger: &Ledger, reference: &Reference) -> Option<Violation> {
    served(world, ledger, reference)
        .or_else(|| world.ec2.instances.values().find_map(|i| of_instance(world, ledger, reference, i.current())))
}

/// Promise 1.
fn served(world: &World, ledger: &Ledger, reference: &Reference) -> Option<Violation> {
    for (entry, known) in &ledger.entries {
        let Some(owned) = &known.owner else { continue };
        let instance = world.ec2.instance(&owned.instance);
        let is_out =
            instance.is_none_or(|instance| view::is_out(instance.state)) || view::is_kept_out(world, &owned.instance);
        if is_out && !may_stay(world, ledger, reference, (entry, known), owned) {
            let state = instance.map_or("gone", |instance| instance.state.name());
            let what = format!("{} is {state} and still at {}", owned.instance, owned.place);
            return Some(Violation::of(Promise::NothingDeadIsServed, world, what));
        }
    }
    None
}

/// Returns whether an entry may stay although its instance is out.
pub(super) fn may_stay(
    world: &World,
    ledger: &Ledger,
    reference: &Reference,
    (entry, known): (&Entry, &Known),
    owned: &Owned,
) -> bool {
    let is_address = entry.id.parse::<IpAddr>().is_ok();
    is_guarded(world, ledger, owned)
        || reference.given_up.contains(&entry.balancer)
        // "An ip target whose instance is terminated before anybody looked has no owner any more", and in EC2-Classic style the
        // address is gone with `stopped` (docs/limits.md).
        || (is_address && !known.is_current)
        // An address outside a group's VPC is taken for the instance's "only while no other interface *of the account* has it"
        // (the same).
        || (entry.far_zone.is_some() && view::bearers(world, entry) > 1)
}

/// Promise 2.
fn of_instance(world: &World, ledger: &Ledger, reference: &Reference, instance: &Instance) -> Option<Violation> {
    let violation = |what: String| Some(Violation::of(Promise::NothingIsLost, world, what));
    if view::is_dying(instance.state) || ledger.guarded.contains_key(&instance.id) {
        return None;
    }
    let id = &instance.id;
    let is_its = |owned: &&Owned| owned.instance == *id && !is_guarded(world, ledger, owned);
    let in_place: BTreeSet<&Owned> = ledger.in_place().filter(is_its).collect();
    let held: BTreeSet<&Owned> = ledger.held.iter().filter(is_its).collect();
    for owned in reference.expected.iter().filter(is_its) {
        if !in_place.contains(owned) && !held.contains(owned) {
            return violation(format!("{id} has lost {}", owned.place));
        }
    }
    if instance.state != InstanceState::Running || is_out_of_service(world, id) {
        return None;
    }
    for owned in reference.expected.iter().chain(&reference.declared).filter(is_its) {
        if !in_place.contains(owned) && !is_ambiguous(world, owned) {
            return violation(format!("{id} runs and is not at {}", owned.place));
        }
    }
    let left: Vec<&&Owned> = held.iter().filter(|owned| !reference.doubtful.contains(**owned)).collect();
    if let Some(owned) = left.first() {
        return violation(format!("{id} runs and its tags still hold {}", owned.place));
    }
    let is_wanted = |owned: &Owned| {
        reference.expected.contains(owned) || reference.declared.contains(owned) || reference.doubtful.contains(owned)
    };
    let extra = in_place.iter().find(|owned| !is_wanted(owned))?;
    violation(format!("{id} is at {}, where a person removed it", extra.place))
}

/// Returns whether an instance's group keeps it out of service: then it is not given back.
pub fn is_out_of_service(world: &World, instance: &str) -> bool {
    world.auto_scaling.member(instance).is_some_and(|member| member.lifecycle_state != LifecycleState::InService)
}

/// A far place is left alone while another interface has the same address.
pub(super) fn is_ambiguous(world: &World, owned: &Owned) -> bool {
    let Some(instance) = world.ec2.instance(&owned.instance) else { return false };
    let Some(address) = instance.primary_ipv4().filter(|_| owned.place.contains('@')) else { return false };
    let bearers = world.ec2.interfaces.values().filter(|interface| interface.has(address.into()));
    bearers.count() > 1
}

pub(super) fn is_guarded(world: &World, ledger: &Ledger, owned: &Owned) -> bool {
    let balancer = view::balancer_of(&owned.place);
    let attached = world.auto_scaling.group_of(&owned.instance).is_some_and(|group| {
        group.traffic_sources.iter().any(|source| {
            format!("clb:{}", source.identifier) == balancer || view::group_of_arn(&source.identifier) == balancer
        })
    });
    attached || ledger.guarded.contains_key(balancer) || ledger.guarded.contains_key(&owned.instance)
}

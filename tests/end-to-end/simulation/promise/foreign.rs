//! Promise 3, after every call: an instance that was taken out was out, an instance that was given a registration had a right to
//! it, and whatever belongs to others is as it was.

use sandbox::World;

use super::{Promise, Violation};
use crate::simulation::{
    ledger::{ACTS_LATE, Changes, Ledger},
    view::{self, Entry, Owned},
};

/// Returns an entry that a call took away although its instance is not out, and was not out a moment ago.
pub fn taken_without_right(world: &World, ledger: &Ledger, changes: &Changes) -> Option<Violation> {
    let violation = |entry: &Entry, why: &str| {
        let what = format!("{} port {:?} was taken out of {}: {why}", entry.id, entry.port, entry.balancer);
        Some(Violation::of(Promise::NothingForeignIsTouched, world, what))
    };
    for (entry, owner) in &changes.removed {
        // A balancer does this by itself when an instance's life ends, or its own.
        let is_gone = owner.as_ref().is_some_and(|owned| world.ec2.instance(&owned.instance).is_none_or(is_terminated));
        if is_gone || !view::is_there(world, &entry.balancer) || ledger.was_moved_lately(entry, world.now()) {
            continue;
        }
        let Some(owned) = owner else { return violation(entry, "it is another host's") };
        if let Some(guard) = guard_of(world, ledger, owned) {
            return violation(entry, &guard);
        }
        if ledger.was_leaving_lately(&owned.instance, world.now())
            || ledger.was_kept_out_lately(&owned.instance, world.now())
        {
            continue;
        }
        let was_out = ledger.out.get(&owned.instance).is_some_and(|out| world.now() - *out <= ACTS_LATE);
        if !was_out {
            return violation(entry, "its instance has been running for long");
        }
    }
    None
}

/// Returns an entry that a call made although no tag held or declared it.
pub fn given_without_right(world: &World, ledger: &Ledger, changes: &Changes) -> Option<Violation> {
    let violation = |entry: &Entry, why: &str| {
        let what = format!("{} port {:?} was registered at {}: {why}", entry.id, entry.port, entry.balancer);
        Some(Violation::of(Promise::NothingForeignIsTouched, world, what))
    };
    for entry in &changes.added {
        // It was gone a moment ago, while the call was under way.
        let Some(owned) = view::owner(world, entry) else { continue };
        if ledger.was_moved_lately(entry, world.now()) {
            continue;
        }
        if let Some(guard) = guard_of(world, ledger, &owned) {
            return violation(entry, &guard);
        }
        // A floating address takes along what its last host, which is out, still holds.
        let is_floating = view::literal_of(&owned.place).is_some();
        let is_held_by_last = is_floating && ledger.held.iter().any(|held| held.place == owned.place);
        if !is_held_by_last && !ledger.was_promised(&owned, world.now(), ACTS_LATE) {
            return violation(entry, "it was neither held nor declared");
        }
        if ledger.kept_out.get(&owned.instance).is_some_and(|since| world.now() - *since > ACTS_LATE) {
            return violation(entry, "its Auto Scaling group keeps it out of service");
        }
        let was_running = ledger.running.get(&owned.instance).is_some_and(|at| world.now() - *at <= ACTS_LATE);
        if !was_running {
            return violation(entry, "its instance has not been running for long");
        }
    }
    None
}

/// Returns a tag that a call changed, and that does not belong to the functions.
pub fn foreign_tags_touched(world: &World, ledger: &Ledger) -> Option<Violation> {
    let tags = view::foreign_tags(world);
    let touched = tags.iter().find(|(id, tags)| {
        let is_alive = world.ec2.instance(id).is_some_and(|instance| !is_terminated(instance));
        is_alive && ledger.foreign_tags.get(*id).is_some_and(|before| before != *tags)
    });
    let (id, tags) = touched?;
    let what = format!("tags of {id} that are not ours were changed: {:?} became {tags:?}", ledger.foreign_tags[id]);
    Some(Violation::of(Promise::NothingForeignIsTouched, world, what))
}

/// Returns the owner of a balancer, or the wish to leave an instance alone, if it is so old that every function must know it.
fn guard_of(world: &World, ledger: &Ledger, owned: &Owned) -> Option<String> {
    let since = |what: &str| ledger.guarded.get(what).filter(|since| world.now() - **since > ACTS_LATE);
    if since(&owned.instance).is_some() {
        return Some(format!("{} is to be left alone", owned.instance));
    }
    let balancer = view::balancer_of(&owned.place);
    if since(balancer).is_some() {
        return Some(format!("{balancer} has another owner"));
    }
    let group = world.auto_scaling.group_of(&owned.instance)?;
    let is_attached = group.traffic_sources.iter().any(|source| {
        format!("clb:{}", source.identifier) == balancer || view::group_of_arn(&source.identifier) == balancer
    });
    is_attached.then(|| format!("{balancer} is the Auto Scaling group's"))
}

fn is_terminated(instance: &sandbox::ec2::Instance) -> bool {
    instance.state == sandbox::ec2::InstanceState::Terminated
}

//! Promise 2, after every call: whatever the functions took from an instance is in place or in its tags.

use std::collections::BTreeSet;

use sandbox::World;

use super::{Promise, Violation};
use crate::simulation::{
    ledger::{Changes, Ledger},
    reference::Reference,
    view::{self, Owned},
};

/// Returns a registration that a call took from an instance that may run again, and that is not in the instance's tags at that
/// very moment.
pub fn taken_and_not_held(world: &World, ledger: &Ledger, changes: &Changes) -> Option<Violation> {
    let certain = changes.removed.iter().filter(|(entry, _)| !ledger.was_moved_lately(entry, world.now()));
    let owners = certain.filter_map(|(_, owner)| owner.as_ref());
    // This instance never had the registration: it got the address of a dead host, and the registration was taken as that host's.
    let owners = owners.filter(|owned| !ledger.was_inherited_lately(owned, world.now()));
    let lost = owners.filter(|owned| can_run_again(world, owned)).find(|owned| !ledger.held.contains(owned))?;
    let what = format!("{} was taken from {} and is not in its tags", lost.place, lost.instance);
    Some(Violation::of(Promise::NothingIsLost, world, what))
}

/// Brings the functions' debts up to date with a look. Returns a debt that is neither in place nor held, and that no reason
/// allows to drop.
pub fn lost(world: &World, ledger: &mut Ledger, reference: &Reference, changes: &Changes) -> Option<Violation> {
    let taken = changes.removed.iter().filter_map(|(_, owner)| owner.clone());
    ledger.owed.extend(taken);
    let mut owed = std::mem::take(&mut ledger.owed);
    owed.retain(|owned| can_run_again(world, owned) && !may_be_let_go(world, ledger, reference, owned));
    // It is back in place and forgotten, so nothing is owed any more.
    owed.retain(|owned| ledger.held.contains(owned) || !ledger.is_in_place(owned));
    let lost: BTreeSet<&Owned> = owed.iter().filter(|owned| !ledger.held.contains(owned)).collect();
    let violation = lost.first().map(|owned| {
        let what = format!("{} of {} is neither in place nor in its tags", owned.place, owned.instance);
        Violation::of(Promise::NothingIsLost, world, what)
    });
    ledger.owed = owed;
    violation
}

fn can_run_again(world: &World, owned: &Owned) -> bool {
    world.ec2.instance(&owned.instance).is_some_and(|instance| !view::is_dying(instance.state))
}

/// Returns whether a debt may be dropped, because its registration "can never succeed" (docs/design.md, "Failures"): the balancer is
/// gone, or an operator wants it left alone by now, or a literal address does not belong to the instance any more.
fn may_be_let_go(world: &World, ledger: &Ledger, reference: &Reference, owned: &Owned) -> bool {
    let balancer = view::balancer_of(&owned.place);
    let has_moved = view::literal_of(&owned.place).is_some_and(|address| {
        let instance = world.ec2.instance(&owned.instance);
        !instance.is_some_and(|instance| instance.interfaces.iter().any(|own| view::bears(own, address)))
    });
    !view::is_there(world, balancer)
        || ledger.guarded.contains_key(balancer)
        || reference.given_up.contains(balancer)
        || has_moved
        || reference.doubtful.contains(owned)
}

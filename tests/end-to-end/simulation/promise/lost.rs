//! Promise 2, after every call: what the functions took from an instance is in place or in its tags.

use std::collections::BTreeSet;

use sandbox::World;

use super::{Promise, Violation};
use crate::simulation::{
    ledger::{Changes, Ledger},
    reference::Reference,
    view::{self, Owned},
};

/// What a call took from instances that may run again, and is not in their tags at that very moment.
pub fn taken_and_not_held(world: &World, ledger: &Ledger, changes: &Changes) -> Option<Violation> {
    let certain = changes.removed.iter().filter(|(entry, _)| !ledger.was_moved_lately(entry, world.now()));
    let owners = certain.filter_map(|(_, owner)| owner.as_ref());
    // Nobody gave it to this one: it came with the address of a host that is dead, and was taken as that one's.
    let owners = owners.filter(|owned| !ledger.was_inherited_lately(owned, world.now()));
    let lost = owners.filter(|owned| can_run_again(world, owned)).find(|owned| !ledger.held.contains(owned))?;
    let what = format!("{} was taken from {} and is not in its tags", lost.place, lost.instance);
    Some(Violation::of(Promise::NothingIsLost, world, what))
}

/// What the functions owe, brought up to date with a look; and what of it is neither in place nor held, without a reason
/// for which it may be let go.
pub fn lost(world: &World, ledger: &mut Ledger, reference: &Reference, changes: &Changes) -> Option<Violation> {
    let taken = changes.removed.iter().filter_map(|(_, owner)| owner.clone());
    ledger.owed.extend(taken);
    let mut owed = std::mem::take(&mut ledger.owed);
    owed.retain(|owned| can_run_again(world, owned) && !may_be_let_go(world, ledger, reference, owned));
    // Back in place and forgotten: nothing is owed any more.
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

/// "What can never succeed is let go" (docs/design.md, "Failures"): a balancer that is gone, or an operator's by now, and
/// a literal address that is not the instance's any more.
fn may_be_let_go(world: &World, ledger: &Ledger, reference: &Reference, owned: &Owned) -> bool {
    let balancer = view::balancer_of(&owned.place);
    let has_moved = view::literal_of(&owned.place).is_some_and(|address| {
        let instance = world.ec2.instance(&owned.instance);
        !instance.is_some_and(|instance| instance.interfaces.iter().any(|interface| interface.has(address)))
    });
    !view::is_there(world, balancer)
        || ledger.guarded.contains_key(balancer)
        || reference.given_up.contains(balancer)
        || has_moved
        || reference.doubtful.contains(owned)
}

//! Promises 1 and 2 when all is quiet and no sweep has come yet: the events' functions leave nothing to the sweep.

use sandbox::{World, ec2::InstanceState};

use super::{
    Promise, Violation,
    rest::{is_ambiguous, is_guarded, may_stay},
};
use crate::simulation::{ledger::Ledger, reference::Reference, view};

/// The changes that events told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Names of instances whose changes all came as events: no person declared, ignored or moved anything without an event.
    pub instances: &'a [&'a str],
    /// Whether a description was older than the changes. "The look after taking can get an old description after the event of the
    /// restart was served. Then what was taken is given back by the next sweep, and no earlier" (docs/design.md, "What was
    /// model-checked").
    pub is_stale: bool,
}

/// Returns the first thing that is not as it should be, although every event has come.
pub fn left_to_a_sweep(world: &World, ledger: &Ledger, reference: &Reference, told: Told<'_>) -> Option<Violation> {
    let name_of = |id: &str| world.ec2.instance(id)?.tags.get("Name").map(String::as_str);
    let is_told = |id: &str| {
        name_of(id).is_some_and(|name| told.instances.contains(&name))
            // Other events, or none, tell what a group does with its members.
            && world.auto_scaling.group_of(id).is_none()
    };
    for (entry, known) in &ledger.entries {
        let Some(owned) = known.owner.as_ref().filter(|owned| is_told(&owned.instance)) else { continue };
        let is_out = world.ec2.instance(&owned.instance).is_some_and(|instance| view::is_out(instance.state));
        if is_out && !may_stay(world, ledger, reference, (entry, known), owned) {
            let what = format!("{} is out and at {}, although every event has come", owned.instance, owned.place);
            return Some(Violation::of(Promise::NothingDeadIsServed, world, what));
        }
    }
    let runs = |id: &str| world.ec2.instance(id).is_some_and(|instance| instance.state == InstanceState::Running);
    let is_excused = |owned: &view::Owned| {
        is_guarded(world, ledger, owned)
            || is_ambiguous(world, owned)
            || (told.is_stale && ledger.taken_while_running.contains(owned))
    };
    let mut absent = reference.expected.iter().filter(|owned| !ledger.is_in_place(owned) && !is_excused(owned));
    let missing = absent.find(|owned| is_told(&owned.instance) && runs(&owned.instance))?;
    let what = format!("{} runs and is not at {}, although every event has come", missing.instance, missing.place);
    Some(Violation::of(Promise::NothingIsLost, world, what))
}

//! Promise 4: a hook is held until the work is done and no longer.

use chrono::TimeDelta;
use sandbox::{
    World,
    auto_scaling::{ActionResult, EndedAction, Ending, Transition},
    ec2::InstanceState,
};

use super::{
    Promise, Violation,
    rest::{is_ambiguous, is_guarded},
};
use crate::simulation::{ledger::Ledger, reference::Reference, view};

/// How old the last look before the completion of an action may be: "the last look may have missed" a registration that a person
/// made since (docs/limits.md).
const LAST_LOOK: TimeDelta = TimeDelta::seconds(60);

/// Returns an action that the call just made has completed before its work was done, although it had not waited for long.
///
/// A drain "ends by itself". Health, or a balancer that fails, "may never come", and is waited for up to the hook's heartbeat
/// timeout (docs/design.md, "Lifecycle actions"). After that the action ends with a warning, and is not judged here.
pub fn completed_too_early(world: &World, ledger: &Ledger, reference: &Reference) -> Option<Violation> {
    let EndedAction { action, ended, ending } = world.auto_scaling.ended_actions.last()?;
    let has_waited_long = *ended - action.begun >= TimeDelta::seconds(action.hook.heartbeat_timeout.into());
    if *ending != Ending::Completed(ActionResult::Continue) || has_waited_long {
        return None;
    }
    let id = &action.instance_id;
    let is_its = |owned: &&view::Owned| owned.instance == *id && !is_guarded(world, ledger, owned);
    let violation = |what: String| Some(Violation::of(Promise::AHookIsHeld, world, what));
    // The instance left the address behind, or another got it, or a host in another network has the same: no function can know.
    let is_certain = |owned: &&view::Owned| !reference.doubtful.contains(*owned) && !is_ambiguous(world, owned);
    match action.hook.transition {
        Transition::Terminating if ledger.guarded.contains_key(id) => None,
        Transition::Terminating if world.ec2.instance(id).is_none_or(|i| i.state == InstanceState::Terminated) => None,
        Transition::Terminating => {
            let is_new = |owned: &&view::Owned| reference.added.get(*owned).is_some_and(|at| *ended - *at <= LAST_LOOK);
            let missed = |owned: &&view::Owned| !is_new(owned) && is_certain(owned);
            if let Some(owned) = ledger.in_place().filter(is_its).find(missed) {
                return violation(format!("{id} was let go, and is still at {}", owned.place));
            }
            // It was killed or stopped: its connections end with it, although its balancers may still drain by themselves.
            let has_ended = |state| state == InstanceState::Stopped || view::is_dying(state);
            let has_ended = world.ec2.instance(id).is_some_and(|instance| has_ended(instance.state));
            let until = view::draining(world, id).filter(|_| !has_ended)?;
            violation(format!("{id} was let go, and is being drained until {until}"))
        }
        Transition::Launching if ledger.guarded.contains_key(id) => None,
        Transition::Launching => {
            let is_missing = |owned: &&view::Owned| !ledger.is_in_place(owned);
            let missing = reference.declared.iter().filter(is_its).filter(is_missing).find(is_certain)?;
            violation(format!("{id} was let in, and is not at {}", missing.place))
        }
    }
}

/// Returns an action that was not completed in time.
pub fn ran_out(world: &World) -> Option<Violation> {
    let mut ended = world.auto_scaling.ended_actions.iter();
    let EndedAction { action, .. } = ended.find(|ended| matches!(ended.ending, Ending::TimedOut(_)))?;
    let what = format!("{} of {} ran out of time", action.hook.name, action.instance_id);
    Some(Violation::of(Promise::AHookIsHeld, world, what))
}

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

/// How long the last look may have been made before an action is completed: what a person registers since, "the last look may have
/// missed" (README.md, "Limits").
const LAST_LOOK: TimeDelta = TimeDelta::seconds(60);

/// An action that the call just made has completed before its work was done, although it had not waited for long.
///
/// "What drains ends by itself ...; what may never come (health, a balancer that fails)" is waited for up to the hook's
/// heartbeat timeout (docs/design.md), after which the action ends with a warning: such a one is not judged.
pub fn completed_too_early(world: &World, ledger: &Ledger, reference: &Reference) -> Option<Violation> {
    let EndedAction { action, ended, ending } = world.auto_scaling.ended_actions.last()?;
    let has_waited_long = *ended - action.begun >= TimeDelta::seconds(action.hook.heartbeat_timeout.into());
    if *ending != Ending::Completed(ActionResult::Continue) || has_waited_long {
        return None;
    }
    let id = &action.instance_id;
    let is_its = |owned: &&view::Owned| owned.instance == *id && !is_guarded(world, ledger, owned);
    let violation = |what: String| Some(Violation::of(Promise::AHookIsHeld, world, what));
    // A host that left the address behind, or whom it was moved to, or who has the same in another network: nobody can know.
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
            // Somebody kills it, or has stopped it: its connections end with it, whatever its balancers still drain by themselves.
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

/// An action that nobody completed in time.
pub fn ran_out(world: &World) -> Option<Violation> {
    let mut ended = world.auto_scaling.ended_actions.iter();
    let EndedAction { action, .. } = ended.find(|ended| matches!(ended.ending, Ending::TimedOut(_)))?;
    let what = format!("{} of {} ran out of time", action.hook.name, action.instance_id);
    Some(Violation::of(Promise::AHookIsHeld, world, what))
}

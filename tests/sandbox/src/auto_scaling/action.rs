//! Lifecycle actions: the waits of members at hooks, and how each ended. What has ended is kept, for tests to judge.

use std::time::Duration;

use chrono::TimeDelta;

use super::{
    course::Course,
    event,
    hook::{ActionResult, Hook},
    journey,
    membership::{existing, invalid},
};
use crate::{
    clock::{Timestamp, delta},
    wire::ApiError,
    world::World,
};

/// A member's wait at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// In the form of a UUID; each hook has its own.
    pub token: String,
    /// The group.
    pub group: String,
    /// The hook as it was when the wait began.
    pub hook: Hook,
    /// The member that waits.
    pub instance_id: String,
    /// The course that it is on.
    pub course: Course,
    /// When the wait began.
    pub begun: Timestamp,
    /// When the wait ends unless a heartbeat comes before.
    pub deadline: Timestamp,
    /// How often a heartbeat was recorded.
    pub heartbeats: usize,
}

/// An action that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedAction {
    /// The action.
    pub action: Action,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub ending: Ending,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By CompleteLifecycleAction.
    Completed(ActionResult),
    /// It was not completed in time: the hook's default result.
    TimedOut(ActionResult),
    /// The hook was deleted.
    HookDeleted(ActionResult),
    /// Another hook's action on the same course was abandoned: "abandon stops any remaining actions, such as other lifecycle
    /// hooks" (Auto Scaling guide).
    Stopped,
    /// The member left the course: it was chosen for termination while it waited, or its group or pool was deleted.
    Overtaken,
}

impl Ending {
    /// Returns the result, if the action itself came to one.
    pub fn result(self) -> Option<ActionResult> {
        match self {
            Self::Completed(result) | Self::TimedOut(result) | Self::HookDeleted(result) => Some(result),
            Self::Stopped | Self::Overtaken => None,
        }
    }
}

impl Action {
    /// Returns how long it has been open.
    pub fn age(&self, now: Timestamp) -> TimeDelta {
        now - self.begun
    }

    /// Returns the last moment to which heartbeats can extend the wait.
    fn limit(&self) -> Timestamp {
        self.begun + seconds(self.hook.global_timeout())
    }
}

/// The way in which a caller names an action.
#[derive(Clone, Debug)]
pub enum ActionKey {
    /// Its token.
    Token(String),
    /// The instance that waits.
    Instance(String),
}

/// Opens an action of a hook for a member that begins to wait, and sends the event of it.
pub(super) fn open(world: &mut World, group: &str, hook: Hook, instance_id: &str, course: Course) {
    let begun = world.now();
    let deadline = begun + seconds(hook.heartbeat_timeout);
    let action = Action {
        token: world.invent_uuid(),
        group: group.to_owned(),
        hook,
        instance_id: instance_id.to_owned(),
        course,
        begun,
        deadline,
        heartbeats: 0,
    };
    event::member_waits(world, &action);
    let token = action.token.clone();
    world.auto_scaling.actions.push(action);
    watch_deadline(world, token, begun, deadline);
}

/// Ends an action at its deadline, which a heartbeat may have moved meanwhile.
fn watch_deadline(world: &mut World, token: String, now: Timestamp, deadline: Timestamp) {
    let wait = (deadline - now).to_std().unwrap_or(Duration::ZERO);
    world.after(wait, move |world| {
        let found = world.auto_scaling.actions.iter().find(|action| action.token == token);
        let Some((deadline, result)) = found.map(|action| (action.deadline, action.hook.default_result)) else {
            return;
        };
        let now = world.now();
        if now >= deadline {
            end(world, &token, Ending::TimedOut(result));
        } else {
            watch_deadline(world, token, now, deadline);
        }
    });
}

/// CompleteLifecycleAction.
///
/// # Errors
/// If no such action is open: it never was, it was completed before, or it has timed out.
pub fn complete(
    world: &mut World,
    group: &str,
    hook: &str,
    key: &ActionKey,
    result: ActionResult,
) -> Result<(), ApiError> {
    let token = find(world, group, hook, key)?;
    end(world, &token, Ending::Completed(result));
    Ok(())
}

/// RecordLifecycleActionHeartbeat: the timeout begins again, up to the global limit.
///
/// # Errors
/// Returns the errors of [`complete`].
pub fn record_heartbeat(world: &mut World, group: &str, hook: &str, key: &ActionKey) -> Result<(), ApiError> {
    let token = find(world, group, hook, key)?;
    let now = world.now();
    if let Some(action) = world.auto_scaling.actions.iter_mut().find(|action| action.token == token) {
        action.deadline = (now + seconds(action.hook.heartbeat_timeout)).min(action.limit());
        action.heartbeats += 1;
    }
    Ok(())
}

/// Returns the token of an open action. The words are AWS's (spacelift-io/terraform-aws-spacelift-workerpool-on-ec2 pull request 197
/// for a token, convox/rack issue 2432 for an instance).
fn find(world: &World, group: &str, hook: &str, key: &ActionKey) -> Result<String, ApiError> {
    existing(world, group)?;
    let is_meant = |action: &&Action| {
        let is_keyed = match key {
            ActionKey::Token(token) => action.token == *token,
            ActionKey::Instance(id) => action.instance_id == *id,
        };
        action.group == group && action.hook.name == hook && is_keyed
    };
    let found = world.auto_scaling.actions.iter().find(is_meant).map(|action| action.token.clone());
    found.ok_or_else(|| {
        invalid(match key {
            ActionKey::Token(token) => format!("No active Lifecycle Action found with token {token}"),
            ActionKey::Instance(id) => format!("No active Lifecycle Action found with instance ID {id}"),
        })
    })
}

/// Ends an action. After the last one of its course, or the first one that is abandoned, the member goes on.
pub(super) fn end(world: &mut World, token: &str, ending: Ending) {
    let Some(action) = close(world, token, ending) else { return };
    let Some(result) = ending.result() else { return };
    if result == ActionResult::Abandon {
        close_all_of(world, &action.instance_id, Ending::Stopped);
    }
    if !world.auto_scaling.actions.iter().any(|other| other.instance_id == action.instance_id) {
        journey::proceed(world, &action.instance_id, result);
    }
}

/// Closes the open actions of a member that leaves its course.
pub(super) fn close_all_of(world: &mut World, instance_id: &str, ending: Ending) {
    let open = world.auto_scaling.actions.iter().filter(|action| action.instance_id == instance_id);
    let tokens: Vec<_> = open.map(|action| action.token.clone()).collect();
    for token in tokens {
        close(world, &token, ending);
    }
}

fn close(world: &mut World, token: &str, ending: Ending) -> Option<Action> {
    let place = world.auto_scaling.actions.iter().position(|action| action.token == token)?;
    let action = world.auto_scaling.actions.remove(place);
    let ended = world.now();
    world.auto_scaling.ended_actions.push(EndedAction { action: action.clone(), ended, ending });
    Some(action)
}

/// Returns the tokens of a hook's open actions.
pub(super) fn open_of_hook(world: &World, group: &str, hook: &str) -> Vec<String> {
    let at_hook = world.auto_scaling.actions.iter().filter(|action| action.group == group && action.hook.name == hook);
    at_hook.map(|action| action.token.clone()).collect()
}

fn seconds(seconds: u32) -> TimeDelta {
    delta(Duration::from_secs(u64::from(seconds)))
}

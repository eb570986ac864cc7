//! Lifecycle hooks of a group: they let a member wait on its course.

use super::{
    action::{self, Ending},
    course::Transition,
    membership::{existing, existing_mut, invalid},
};
use crate::{wire::ApiError, world::World};

/// Hooks a group can have (botocore, PutLifecycleHook).
const MAX_HOOKS: usize = 50;

/// Seconds that a hook's heartbeat timeout can be (botocore, PutLifecycleHook).
const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u32> = 30..=7_200;

/// Seconds, if the caller says nothing.
const DEFAULT_HEARTBEAT_SECONDS: u32 = 3_600;

/// The most heartbeat timeouts that a member can be kept waiting, and the most seconds.
const GLOBAL_TIMEOUT: (u32, u32) = (100, 48 * 3_600);

/// A lifecycle hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Unique in the group.
    pub name: String,
    /// When it lets a member wait.
    pub transition: Transition,
    /// Seconds without a heartbeat after which the wait ends.
    pub heartbeat_timeout: u32,
    /// The result of a wait that timed out.
    pub default_result: ActionResult,
    /// The metadata in its events.
    pub notification_metadata: Option<String>,
}

/// The result of a lifecycle action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// The course goes on.
    Continue,
    /// A launch is given up; a termination goes on without the other hooks.
    Abandon,
}

/// A caller's specification of a new hook, or of changes to an old one: a field that is `None` stays, or becomes the default.
#[derive(Clone, Debug, Default)]
pub struct HookSpec {
    /// Its name.
    pub name: String,
    /// Required for a new one.
    pub transition: Option<Transition>,
    /// Seconds.
    pub heartbeat_timeout: Option<u32>,
    /// `ABANDON`, if the caller says nothing.
    pub default_result: Option<ActionResult>,
    /// See [`Hook::notification_metadata`].
    pub notification_metadata: Option<String>,
}

impl ActionResult {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }

    /// Returns the result of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Continue, Self::Abandon].into_iter().find(|result| result.name() == name)
    }
}

impl HookSpec {
    /// Returns a hook on launches, with defaults in all else.
    pub fn launching(name: &str) -> Self {
        Self { name: name.to_owned(), transition: Some(Transition::Launching), ..Self::default() }
    }

    /// Returns a hook on terminations, with defaults in all else.
    pub fn terminating(name: &str) -> Self {
        Self { name: name.to_owned(), transition: Some(Transition::Terminating), ..Self::default() }
    }

    /// Sets the heartbeat timeout, in seconds.
    #[must_use]
    pub fn heartbeat(mut self, seconds: u32) -> Self {
        self.heartbeat_timeout = Some(seconds);
        self
    }

    /// Sets the default result.
    #[must_use]
    pub fn by_default(mut self, result: ActionResult) -> Self {
        self.default_result = Some(result);
        self
    }

    /// Sets the metadata of its events.
    #[must_use]
    pub fn metadata(mut self, metadata: &str) -> Self {
        self.notification_metadata = Some(metadata.to_owned());
        self
    }
}

impl Hook {
    /// Returns the seconds for which heartbeats can keep a member waiting: "48 hours or 100 times the heartbeat timeout,
    /// whichever is smaller" (Auto Scaling guide, "Considerations and limitations for lifecycle hooks").
    pub fn global_timeout(&self) -> u32 {
        let (times, most) = GLOBAL_TIMEOUT;
        self.heartbeat_timeout.saturating_mul(times).min(most)
    }
}

/// Creates a hook or changes one. Actions under way keep the timeouts that they began with.
///
/// # Errors
/// Returns the errors of PutLifecycleHook.
pub fn put_hook(world: &mut World, group_name: &str, spec: HookSpec) -> Result<(), ApiError> {
    let hooks = &mut existing_mut(world, group_name)?.hooks;
    let old = hooks.get(&spec.name);
    if old.is_none() && hooks.len() >= MAX_HOOKS {
        let message = format!("You cannot have more than {MAX_HOOKS} lifecycle hooks on an AutoScalingGroup");
        return Err(ApiError::sender("LimitExceeded", message));
    }
    let hook = checked(spec, old)?;
    hooks.insert(hook.name.clone(), hook);
    Ok(())
}

/// Returns the hook that a specification makes, out of an old one or of none.
pub(super) fn checked(spec: HookSpec, old: Option<&Hook>) -> Result<Hook, ApiError> {
    let transition = spec.transition.or(old.map(|hook| hook.transition));
    let transition = transition
        .ok_or_else(|| invalid(format!("A lifecycle transition is required to create lifecycle hook {}", spec.name)))?;
    let heartbeat = spec.heartbeat_timeout.or(old.map(|hook| hook.heartbeat_timeout));
    let heartbeat_timeout = heartbeat.unwrap_or(DEFAULT_HEARTBEAT_SECONDS);
    if !HEARTBEAT_SECONDS.contains(&heartbeat_timeout) {
        let (least, most) = (HEARTBEAT_SECONDS.start(), HEARTBEAT_SECONDS.end());
        return Err(invalid(format!("HeartbeatTimeout must be between {least} and {most} seconds")));
    }
    let default_result = spec.default_result.or(old.map(|hook| hook.default_result)).unwrap_or(ActionResult::Abandon);
    let metadata = spec.notification_metadata.or(old.and_then(|hook| hook.notification_metadata.clone()));
    let notification_metadata = metadata.filter(|text| !text.is_empty());
    Ok(Hook { name: spec.name, transition, heartbeat_timeout, default_result, notification_metadata })
}

/// Deletes a hook. "If there are any outstanding lifecycle actions, they are completed first (`ABANDON` for launching
/// instances, `CONTINUE` for terminating instances)" (botocore, DeleteLifecycleHook).
///
/// # Errors
/// If there is no such group or hook.
pub fn delete_hook(world: &mut World, group_name: &str, name: &str) -> Result<(), ApiError> {
    let hook = existing(world, group_name)?.hooks.get(name).cloned();
    let hook = hook.ok_or_else(|| invalid(format!("No Lifecycle Hook found with name {name}")))?;
    let result = match hook.transition {
        Transition::Launching => ActionResult::Abandon,
        Transition::Terminating => ActionResult::Continue,
    };
    for token in action::open_of_hook(world, group_name, name) {
        action::end(world, &token, Ending::HookDeleted(result));
    }
    existing_mut(world, group_name)?.hooks.remove(name);
    Ok(())
}

//! Heartbeats: lifecycle actions are kept alive while a look works on their instances.
//!
//! A look may take longer than a hook waits. So it records a heartbeat before its work begins, and again each time when
//! a third of the heartbeat timeout has passed. A short look makes one call for that, and needs none at its end.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::join_all, future::select};
use protocol::{
    call_error::CallError,
    decide::hook::is_young,
    event::{ActionKey, LifecycleAction},
    time::Timestamp,
    timing::{LOOK_MIN, NEXT_LOOK_WITHIN},
};
use tokio::time::{Instant as MonotonicTime, sleep_until};

use crate::aws::auto_scaling::AutoScaling;

/// How much a look may last until its first heartbeat is no fresh one at its end.
const SHORT_LOOK: Duration = Duration::from_secs(1);

/// The heartbeats of the actions of a look.
pub(super) struct Heartbeats<'a> {
    auto_scaling: AutoScaling,
    beats: Mutex<BTreeMap<ActionKey<'a>, Beat<'a>>>,
}

/// An action, and its last heartbeat.
#[derive(Clone, Debug)]
struct Beat<'a> {
    action: &'a LifecycleAction,
    /// Whether Auto Scaling may not know it yet.
    is_young: bool,
    heartbeat_timeout: Duration,
    /// When the last call was made that succeeded.
    recorded_at: Option<MonotonicTime>,
    /// What the last call said: whether the action is still there.
    answer: Result<bool, CallError>,
    /// When the next call is due.
    due_at: MonotonicTime,
}

impl<'a> Heartbeats<'a> {
    /// Records the first heartbeat of some actions, each with its hook's heartbeat timeout. Their instances were read at `read_at`.
    pub(super) async fn begin(
        auto_scaling: AutoScaling,
        read_at: Timestamp,
        actions: impl Iterator<Item = (&'a LifecycleAction, Duration)>,
    ) -> Self {
        let now = MonotonicTime::now();
        let beats = actions.map(|(action, heartbeat_timeout)| {
            let is_young = is_young(action, read_at);
            let beat = Beat { action, is_young, heartbeat_timeout, recorded_at: None, answer: Ok(true), due_at: now };
            (action.key(), beat)
        });
        let heartbeats = Self { auto_scaling, beats: Mutex::new(beats.collect()) };
        heartbeats.record_due().await;
        heartbeats
    }

    /// Returns whether Auto Scaling said that an action is over, or that there never was one.
    pub(super) fn is_unknown(&self, action: &LifecycleAction) -> bool {
        self.lock().get(&action.key()).is_some_and(|beat| matches!(beat.answer, Ok(false)))
    }

    /// Works, and keeps the actions alive meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T> + Send) -> T {
        let (work, beating) = (work.boxed(), self.keep_alive().boxed());
        match select(work, beating).await {
            futures::future::Either::Left((done, _)) => done,
            futures::future::Either::Right((never, _)) => match never {},
        }
    }

    /// Returns whether an action is still there, for a look that leaves it alone for this long. Records another
    /// heartbeat if the last one is too old for that.
    ///
    /// # Errors
    /// If the heartbeat could not be recorded.
    pub(super) async fn leave_alone(
        &self,
        action: &LifecycleAction,
        wait: Duration,
        heartbeat_timeout: Duration,
    ) -> Result<bool, CallError> {
        let last = self.lock().get(&action.key()).cloned();
        let is_fresh = |at: MonotonicTime| at.elapsed() + wait + NEXT_LOOK_WITHIN <= heartbeat_timeout + SHORT_LOOK;
        match last {
            Some(beat) if !beat.may_be_there() => return Ok(false),
            Some(Beat { answer: Ok(true), recorded_at: Some(at), .. }) if is_fresh(at) => return Ok(true),
            _ => {}
        }
        self.auto_scaling.record_heartbeat(action).await
    }

    async fn keep_alive(&self) -> std::convert::Infallible {
        loop {
            let next = self.lock().values().filter(|beat| beat.may_be_there()).map(|beat| beat.due_at).min();
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
            self.record_due().await;
        }
    }

    /// Records the heartbeats that are due, all at once.
    async fn record_due(&self) {
        let now = MonotonicTime::now();
        let due: Vec<&'a LifecycleAction> = {
            let beats = self.lock();
            beats.values().filter(|beat| beat.may_be_there() && beat.due_at <= now).map(|beat| beat.action).collect()
        };
        let calls =
            due.into_iter().map(|action| async move { (action, self.auto_scaling.record_heartbeat(action).await) });
        for (action, answer) in join_all(calls).await {
            if let Some(beat) = self.lock().get_mut(&action.key()) {
                beat.note(answer, now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ActionKey<'a>, Beat<'a>>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat<'_> {
    fn may_be_there(&self) -> bool {
        self.is_young || !matches!(self.answer, Ok(false))
    }

    fn note(&mut self, answer: Result<bool, CallError>, called_at: MonotonicTime) {
        self.due_at = match answer {
            Ok(true) => called_at + self.heartbeat_timeout / 3,
            Ok(false) | Err(_) => MonotonicTime::now() + LOOK_MIN,
        };
        // By the time of the call, because the hook's clock begins anew with it or later.
        if matches!(answer, Ok(true)) {
            self.recorded_at = Some(called_at);
        }
        self.answer = answer;
    }
}

//! How far running instances have come with what they should have: what is registered, healthy, or still missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{because::Because, decide::GiveBack, id::InstanceId, observed::Reason, registration::Registration};
use tokio::time::Instant as MonotonicTime;

use super::Item;

/// How far an instance has come with what it should have. The report has what failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    /// What is not registered or not healthy yet, with why. It includes what only a person can put right. If a launch
    /// went on without it, an instance would be in service that gets no traffic.
    pub(crate) unready: Vec<Because>,
    /// What waits until the same address is drained no more, each with how long that lasts, if it is known.
    pub(crate) draining: Vec<(Because, Option<Duration>)>,
    /// What is registered, and waits for its balancer's first health checks. They end by themselves.
    pub(crate) being_checked: Vec<Because>,
    /// What this look has registered. A look that changed something never ends an action.
    pub(crate) registered: Vec<Because>,
    /// What is not as it should be, and is not waited for: it can never be healthy, is given up, or has another owner.
    pub(crate) unwaited: Vec<Because>,
    /// Whether anything was in place before this look.
    pub(crate) is_in_place: bool,
}

/// What registering came to for some instances.
#[derive(Debug, Default)]
pub(crate) struct GivenBack {
    /// How far each instance has come that should have anything.
    pub(crate) arrivals: BTreeMap<InstanceId, Arrival>,
    /// Instances for which registrations were due, and when. They may be out by now, or may have been out all the time.
    pub(crate) due: BTreeMap<InstanceId, MonotonicTime>,
    /// What was registered for them, or may have been.
    pub(crate) items: Vec<Item>,
}

impl GivenBack {
    /// Returns the instances of which anything was in place.
    pub(crate) fn in_place(&self) -> BTreeSet<InstanceId> {
        let in_place = self.arrivals.iter().filter(|(_, arrival)| arrival.is_in_place);
        in_place.map(|(id, _)| id.clone()).collect()
    }

    /// Adds what another step came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.arrivals.extend(other.arrivals);
        self.due.extend(other.due);
        self.items.extend(other.items);
    }
}

impl Arrival {
    /// Sums up a decision, with the texts that do not name a registration. Some of what was `absent` is `given` by now:
    /// registered.
    pub(super) fn of(
        decision: &GiveBack,
        unnamed: Vec<Because>,
        absent: &[Registration],
        is_given: impl Fn(&Registration) -> bool,
    ) -> Self {
        let because = |(registration, reason): &(Registration, Reason)| Because::of(registration, reason);
        let is_in_place = !decision.in_place.is_empty();
        let mut arrival = Self { unready: unnamed, is_in_place, ..Self::default() };
        for (registration, health) in decision.in_place.iter().filter(|(_, health)| !health.is_healthy()) {
            let list = match health {
                health if health.is_in_vain => &mut arrival.unwaited,
                health if health.is_first_check() => &mut arrival.being_checked,
                _ => &mut arrival.unready,
            };
            list.push(Because::of(registration, health));
        }
        let (given, absent): (Vec<&Registration>, Vec<&Registration>) =
            absent.iter().partition(|registration| is_given(registration));
        arrival.registered.extend(given.into_iter().map(|registration| Because::of(registration, "just registered")));
        let absent = absent.into_iter();
        arrival.unready.extend(absent.map(|registration| Because::of(registration, "it is not registered yet")));
        let draining = decision.draining.iter();
        let drained =
            draining.map(|(registration, left)| (Because::of(registration, drained_for(left.left)), left.left));
        arrival.draining.extend(drained);
        arrival.unready.extend(decision.stuck.iter().map(because));
        let is_stuck = |registration: &Registration| decision.stuck.iter().any(|(stuck, _)| stuck == registration);
        let given_up = decision.let_go.iter().chain(&decision.left_alone).chain(&decision.away);
        arrival.unwaited.extend(given_up.filter(|(registration, _)| !is_stuck(registration)).map(because));
        arrival
    }
}

/// Returns why a registration waits for the end of a draining, which may be known.
pub(super) fn drained_for(left: Option<Duration>) -> String {
    let for_about = left.map(|left| format!(", for about {} s", left.as_secs())).unwrap_or_default();
    format!("the same address is still being drained{for_about}")
}

//! Promise 4: a bound on the calls of a run, by what changed in it and what went wrong.

use sandbox::World;

use super::{Promise, Violation};

/// What a run was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls of the functions, each attempt.
    pub calls: usize,
    /// Events that were put on the bus, and deliveries beyond one of each.
    pub events: usize,
    /// Sweeps.
    pub sweeps: usize,
    /// Seconds that instances waited at hooks, which are looked at every few seconds.
    pub waited: usize,
    /// Balancers.
    pub balancers: usize,
    /// Calls that something went wrong with: each may be repeated, and everything that came before it in its invocation.
    pub struck: usize,
}

/// Calls of one look at the fleet, beside those for each balancer: instances, tags, groups, interfaces, queue.
const CALLS_A_LOOK: usize = 10;

/// Calls for each balancer of one look: its members, tags and draining; taken or given, and looked at again.
const CALLS_A_BALANCER: usize = 6;

/// Looks that an event may lead to: at once, when its description is not stale any more, after draining, when settled.
const LOOKS_AN_EVENT: usize = 5;

/// The time between two looks at a hook.
const SECONDS_A_LOOK: usize = 5;

impl Cost {
    /// The most calls that such a run may make.
    pub fn bound(&self) -> usize {
        let look = CALLS_A_LOOK + CALLS_A_BALANCER * self.balancers;
        look * (LOOKS_AN_EVENT * self.events + self.waited / SECONDS_A_LOOK + self.sweeps + 1 + self.struck)
    }

    /// Whether it made more.
    pub fn violation(&self, world: &World) -> Option<Violation> {
        let what = || format!("{} calls, and {} are the most for {self:?}", self.calls, self.bound());
        (self.calls > self.bound()).then(|| Violation::of(Promise::CostFollowsTheChange, world, what()))
    }
}

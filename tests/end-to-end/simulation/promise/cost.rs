//! Promise 4: a bound on the calls of a run, by its changes and faults. No call may be one that can do nothing.

use std::net::IpAddr;

use chrono::TimeDelta;
use sandbox::{
    Call, World,
    elbv2::{self, Standing, TargetView},
};

use super::{Promise, Violation};
use crate::simulation::ledger::ACTS_LATE;

/// The parts of a run that calls depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls of the functions, each attempt.
    pub calls: usize,
    /// Events that were put on the bus or made up, and deliveries beyond one of each.
    pub events: usize,
    /// Sweeps.
    pub sweeps: usize,
    /// Seconds that instances waited at hooks, which are looked at every few seconds.
    pub waited: usize,
    /// Balancers.
    pub balancers: usize,
    /// Calls with a fault: each may be repeated, and so may everything that came before it in its invocation.
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
    /// Returns the most calls that such a run may make.
    pub fn bound(&self) -> usize {
        let look = CALLS_A_LOOK + CALLS_A_BALANCER * self.balancers;
        look * (LOOKS_AN_EVENT * self.events + self.waited / SECONDS_A_LOOK + self.sweeps + 1 + self.struck)
    }

    /// Returns a violation if it made more.
    pub fn violation(&self, world: &World) -> Option<Violation> {
        let what = || format!("{} calls, and {} are the most for {self:?}", self.calls, self.bound());
        (self.calls > self.bound()).then(|| Violation::of(Promise::CostFollowsTheChange, world, what()))
    }
}

/// Returns a call that can do nothing: it registers an address that its group has been draining for so long that every function
/// must know. A target that is registered by its id need not wait.
pub fn registered_in_vain(world: &World, call: &Call) -> Option<Violation> {
    if call.action != "RegisterTargets" {
        return None;
    }
    let parameter = |name: &str| call.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let group = parameter("TargetGroupArn")?;
    let delay = elbv2::deregistration_delay(world, group).ok().and_then(|delay| TimeDelta::from_std(delay).ok())?;
    let has_drained_for_long = |target: &TargetView| match target.state {
        Standing::Draining { until } if target.id.parse::<IpAddr>().is_ok() => {
            delay - (until - world.now()) > ACTS_LATE
        }
        _ => false,
    };
    let draining: Vec<TargetView> = elbv2::targets(world, group).into_iter().filter(has_drained_for_long).collect();
    let mut asked = (1..).map_while(|number| {
        let id = parameter(&format!("Targets.member.{number}.Id"))?;
        Some((id, parameter(&format!("Targets.member.{number}.Port")).and_then(|port| port.parse::<u16>().ok())))
    });
    let (id, _) = asked.find(|(id, port)| draining.iter().any(|target| target.id == *id && target.port == *port))?;
    let what = format!("{id} was to be registered in a group that has been draining it for long");
    Some(Violation::of(Promise::CostFollowsTheChange, world, what))
}

//! The beliefs of a balancer's routing about its members. They differ from the truth, because the routing learns late.
//!
//! - A member comes into service when the service reports it healthy, not before.
//! - A member that dies goes on getting requests until that is noticed: from EC2 after a few seconds if the service knows the
//!   instance, otherwise by as many failing health checks as the threshold says.
//! - A member that is deregistered gets no new requests from then on; from a Network Load Balancer it does, for two minutes. "If
//!   the deregistered instance stays healthy [...] the load balancer can continue to send traffic" (Network guide,
//!   "Deregistration delay"): so its health is watched on.
//!
//! Requests are spread evenly over all members that get any, in all zones: a single node's view is not modelled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Timestamp, delta},
    wire::ApiError,
    world::World,
};

use super::{
    arrival::{answers, becomes_ready, host_at},
    pool::{Balancing, Destination, Member, Pool, Report},
};

/// The beliefs about all members of one balancer.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// By name. A member that has left stays for as long as requests are still sent to it.
    beliefs: BTreeMap<Arc<str>, Belief>,
    /// The members that requests are sent to.
    pub(super) chosen: Vec<(Arc<str>, Destination)>,
    /// The reason, if there are none.
    pub(super) why_none: Arc<str>,
    /// The members that were found unhealthy just now.
    just_out: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Belief {
    member: Member,
    /// Whether new requests may be sent to it.
    is_in_service: bool,
    /// When the routing will have noticed that it is not well.
    out_at: Option<Timestamp>,
    /// Since when it has not been registered.
    left: Option<Timestamp>,
    /// Whether it is registered or draining.
    is_present: bool,
}

impl Routing {
    /// Learns the news of a time, chooses the members that get requests, and returns the next time at which the clock alone
    /// changes this.
    pub(super) fn observe(
        &mut self,
        world: &World,
        name: &str,
        pool: Result<&Pool, &ApiError>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let pool = match pool {
            Ok(pool) => pool,
            Err(error) => {
                *self = Self { why_none: error.message.as_str().into(), ..Self::default() };
                return None;
            }
        };
        self.beliefs.values_mut().for_each(|belief| belief.is_present = false);
        for member in &pool.members {
            self.meet(world, member);
        }
        self.just_out.clear();
        let linger = delta(pool.linger(world));
        for belief in self.beliefs.values_mut() {
            if !belief.is_present || matches!(belief.member.report, Report::Draining { .. }) {
                belief.left.get_or_insert(now);
            }
            if belief.learn(world, name, pool, now) {
                self.just_out.insert(belief.member.name.clone());
            }
        }
        self.beliefs.retain(|_, belief| belief.is_present || belief.left.is_some_and(|left| left + linger > now));
        self.choose(pool, now, linger);
        let ahead = self.beliefs.values().flat_map(|belief| belief.turns(world, now, linger)).flatten();
        ahead.filter(|at| *at > now).min()
    }

    /// Takes note of a member that is registered or draining. The owner of an address at its registration is its rightful owner.
    fn meet(&mut self, world: &World, member: &Member) {
        match self.beliefs.get_mut(&member.name) {
            Some(belief) if belief.member.since == member.since => {
                belief.is_present = true;
                belief.member.report = member.report;
                let destination = &mut belief.member.destination;
                if destination.owner.is_none() {
                    destination.owner = host_at(world, destination);
                }
            }
            _ => {
                let mut member = member.clone();
                if member.destination.owner.is_none() {
                    member.destination.owner = host_at(world, &member.destination);
                }
                let is_in_service = matches!(member.report, Report::Draining { .. });
                let belief = Belief { is_in_service, out_at: None, left: None, is_present: true, member };
                self.beliefs.insert(belief.member.name.clone(), belief);
            }
        }
    }

    /// Fail-open: "if a target group contains only unhealthy registered targets, the load balancer routes requests to all those
    /// targets" (Application guide, "Health checks"; the Network guide says the same). It is *not verified* that members which
    /// EC2 says do not run, `unused`, are not among them; no request is served either way.
    fn choose(&mut self, pool: &Pool, now: Timestamp, linger: chrono::TimeDelta) {
        let registered = || self.beliefs.values().filter(|belief| belief.left.is_none());
        let fails_open = pool.balancing != Balancing::Classic && !registered().any(|belief| belief.is_in_service);
        let is_chosen = |belief: &&Belief| match belief.left {
            None if fails_open => !matches!(belief.member.report, Report::Unused | Report::NotRunning),
            None => belief.is_in_service,
            Some(left) => belief.is_in_service && left + linger > now,
        };
        let chosen = self.beliefs.values().filter(is_chosen).filter(|_| pool.is_in_use);
        self.chosen = chosen.map(|belief| (belief.member.name.clone(), belief.member.destination.clone())).collect();
        self.why_none =
            if pool.is_in_use { "no member is in service" } else { "no load balancer uses the group" }.into();
    }

    /// Returns whether a member is registered or draining.
    pub(super) fn is_present(&self, name: &str) -> bool {
        self.beliefs.get(name).is_some_and(|belief| belief.is_present)
    }

    /// Returns whether a member was found unhealthy just now, and others are in service.
    pub(super) fn has_lost(&self, name: &str) -> bool {
        let has_service = || self.beliefs.values().any(|belief| belief.left.is_none() && belief.is_in_service);
        self.just_out.contains(name) && has_service()
    }
}

/// The reason why a member must get no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The configuration tells it.
    Unused,
    /// EC2 tells it.
    NotRunning,
    /// Health checks will find it.
    Failing,
}

impl Belief {
    /// Learns the member's state, and returns whether it was just found unhealthy.
    fn learn(&mut self, world: &World, name: &str, pool: &Pool, now: Timestamp) -> bool {
        let Some(trouble) = self.trouble(world, pool) else {
            // A member that has left never comes into service by itself.
            self.is_in_service |= self.left.is_none();
            self.out_at = None;
            return false;
        };
        if !self.is_in_service {
            return false;
        }
        let out_at =
            *self.out_at.get_or_insert_with(|| now + delta(notice(world, pool, name, &self.member, trouble, now)));
        if out_at > now {
            return false;
        }
        (self.is_in_service, self.out_at) = (false, None);
        true
    }

    fn trouble(&self, world: &World, pool: &Pool) -> Option<Trouble> {
        let destination = &self.member.destination;
        let by_id = destination.is_known_by_id(pool.balancing);
        match self.member.report {
            _ if self.left.is_some() => {
                let trouble = if by_id { Trouble::NotRunning } else { Trouble::Failing };
                (!answers(world, destination)).then_some(trouble)
            }
            Report::Healthy => None,
            Report::NotRunning => Some(Trouble::NotRunning),
            Report::Unused => Some(Trouble::Unused),
            Report::Initial { .. } | Report::Failing | Report::Draining { .. } => Some(Trouble::Failing),
        }
    }

    /// Returns when the clock alone changes something about it.
    fn turns(&self, world: &World, now: Timestamp, linger: chrono::TimeDelta) -> [Option<Timestamp>; 4] {
        let by_itself = match self.member.report {
            Report::Initial { until } | Report::Draining { until } => Some(until),
            _ => None,
        };
        let ready = becomes_ready(world, &self.member.destination, now);
        [by_itself, ready, self.out_at, self.left.map(|left| left + linger)]
    }
}

/// Returns how long the routing takes to notice that a member is in trouble from now on. It is drawn from the seed and the
/// member, as the report's own times are.
fn notice(world: &World, pool: &Pool, name: &str, member: &Member, trouble: Trouble, now: Timestamp) -> Duration {
    let lag = world.options.routing_lag;
    let text = format!("notice {name} {} {}", member.name, now.timestamp_millis());
    let mut dice = World::dice(world.options.seed, &text);
    let control_plane = match (trouble, lag.instance_stop) {
        (Trouble::Unused, _) => return Duration::ZERO,
        (Trouble::NotRunning, Some(span)) => span.draw(&mut dice),
        // The first check to fail is up to an interval away, and each check without an answer lasts until its timeout.
        (Trouble::NotRunning | Trouble::Failing, _) => {
            let checks = pool.checks;
            let first = checks.interval.mul_f64(dice.f64());
            first + checks.interval * checks.threshold.saturating_sub(1) + checks.timeout
        }
    };
    match pool.balancing {
        Balancing::Network => control_plane + lag.network_unhealthy.draw(&mut dice),
        Balancing::Classic | Balancing::Application => control_plane,
    }
}

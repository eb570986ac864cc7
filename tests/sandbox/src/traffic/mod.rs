//! Clients that send requests through the balancers, and count the outcomes: the view of a fleet's users.
//!
//! A balancer sends by its beliefs (`routing.rs`). The request goes to an address, and the host with that address takes it up, if
//! there is one (`arrival.rs`). It may last, and be broken off. The functions under test contribute nothing to these counts.
//!
//! Requests are not deeds of the agenda. Between two deeds only the clock changes the world, so all requests of that time are
//! reckoned at once, each at its own instant, when the world's time moves on (`catch_up`). A million of them cost no more than a
//! loop.

mod arrival;
mod pool;
mod routing;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Timestamp, delta},
    wire::ApiError,
    world::World,
};

use arrival::{Arrival, arrive, is_up};

pub(crate) use pool::{Balancing, Checks, Destination, Host, Member, Pool, Report};
use routing::Routing;
pub use tally::{Loss, Outcome, Tally};

/// A client that sends requests.
#[derive(Clone, Debug)]
pub struct Client {
    /// The balancer that it sends through: `clb:NAME` or `tg:NAME`.
    pub balancer: String,
    /// The time from one request to the next.
    pub every: Duration,
    /// How long a request is under way. A download of ten seconds can be broken off, an answer of a moment hardly.
    pub takes: Duration,
}

/// The number of a client that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(u64);

/// All clients.
#[derive(Debug, Default)]
pub struct State {
    senders: BTreeMap<ClientId, Sender>,
    /// By balancer: clients of one balancer share its beliefs.
    routings: BTreeMap<Arc<str>, Routing>,
    /// The time up to which all requests are reckoned.
    until: Option<Timestamp>,
    numbered: u64,
}

#[derive(Debug)]
struct Sender {
    balancer: Arc<str>,
    every: Duration,
    takes: Duration,
    /// When the next request is sent; `None` once the client is stopped.
    next: Option<Timestamp>,
    /// Draws the target of the next request. Many nodes spread their requests each in its own order, and one client sees none of
    /// these.
    dice: fastrand::Rng,
    /// The times at which the requests under way were sent, by target and by host, oldest first.
    flows: BTreeMap<(Arc<str>, Host), VecDeque<Timestamp>>,
    tally: Tally,
}

impl Client {
    /// Returns a client that sends a request every 100 ms, which takes 50 ms.
    pub fn to(balancer: &str) -> Self {
        let (every, takes) = (Duration::from_millis(100), Duration::from_millis(50));
        Self { balancer: balancer.to_owned(), every, takes }
    }

    /// Returns the same with another time from one request to the next.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Returns the same with requests that last.
    #[must_use]
    pub fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }
}

impl From<&str> for Client {
    fn from(balancer: &str) -> Self {
        Self::to(balancer)
    }
}

/// Lets a client send from now on. A target that is registered now is taken to belong to the present owner of its address.
///
/// # Errors
/// If the balancer does not exist or its routing is not modelled; for requests without any time between them.
pub fn send(world: &mut World, client: Client) -> Result<ClientId, ApiError> {
    let now = world.now();
    let pool = Pool::of(world, &client.balancer, now)?;
    if client.every.is_zero() {
        return Err(ApiError::sender("ValidationError", "there must be some time between two requests"));
    }
    let seed = world.options.seed;
    let balancer: Arc<str> = client.balancer.into();
    // The balancer looks now, and not only when time moves on: a change in this very moment is news to it.
    if !world.traffic.routings.contains_key(&balancer) {
        let mut routing = Routing::default();
        routing.observe(world, &balancer, Ok(&pool), now);
        world.traffic.routings.insert(balancer.clone(), routing);
    }
    let state = &mut world.traffic;
    state.until.get_or_insert(now);
    state.numbered += 1;
    let id = ClientId(state.numbered);
    let sender = Sender {
        balancer,
        every: client.every,
        takes: client.takes,
        next: Some(now + delta(client.every)),
        dice: World::dice(seed, &format!("traffic {}", id.0)),
        flows: BTreeMap::new(),
        tally: Tally::default(),
    };
    state.senders.insert(id, sender);
    Ok(id)
}

/// Stops a client. Its requests under way go on.
pub fn stop(world: &mut World, id: ClientId) {
    if let Some(sender) = world.traffic.senders.get_mut(&id) {
        sender.next = None;
    }
}

/// Returns the outcomes of all requests so far.
pub fn tally(world: &World) -> Tally {
    let mut all = Tally::default();
    world.traffic.senders.values().for_each(|sender| all.add(&sender.tally));
    all
}

/// Returns the outcomes of one client's requests so far. If there is no such client, it returns none.
pub fn tally_of(world: &World, id: ClientId) -> Tally {
    world.traffic.senders.get(&id).map(|sender| sender.tally.clone()).unwrap_or_default()
}

/// Reckons all requests up to a time. The world must not have changed since the last deed, nor be about to before that time.
pub(crate) fn catch_up(world: &mut World, until: Timestamp) {
    let Some(mut now) = world.traffic.until else { return };
    if now >= until {
        return;
    }
    let mut state = std::mem::take(&mut world.traffic);
    while now < until {
        now = state.step(world, now, until);
    }
    state.until = Some(now);
    world.traffic = state;
}

impl State {
    /// Reckons from a time to the next one at which the clock changes something, and returns that.
    fn step(&mut self, world: &World, now: Timestamp, until: Timestamp) -> Timestamp {
        let mut end = until;
        let mut cuts = BTreeMap::new();
        for (balancer, routing) in &mut self.routings {
            let pool = Pool::of(world, balancer, now);
            end = end.min(routing.observe(world, balancer, pool.as_ref(), now).unwrap_or(until));
            cuts.insert(balancer.clone(), pool.map(|pool| (pool.cuts_when_left, pool.cuts_when_unhealthy)));
        }
        for sender in self.senders.values_mut() {
            let (routing, cuts) = (&self.routings[&sender.balancer], &cuts[&sender.balancer]);
            sender.break_off(world, now, |target| match cuts {
                Err(_) => Some("the balancer is gone"),
                Ok((true, _)) if !routing.is_present(target) => Some("the balancer cut it when the draining was over"),
                // A Network Load Balancer does not reset connections when it fails open (its guide, "Health checks").
                Ok((_, true)) if routing.has_lost(target) => Some("the balancer cut it when the target was unhealthy"),
                Ok(_) => None,
            });
            sender.send(world, routing, now, end);
            sender.finish(end);
        }
        end
    }
}

impl Sender {
    /// Breaks off the requests that cannot go on from now.
    fn break_off(&mut self, world: &World, now: Timestamp, cut: impl Fn(&str) -> Option<&'static str>) {
        self.flows.retain(|(target, host), sent| {
            let why = if is_up(world, host) { cut(target) } else { Some("its host went down") };
            let Some(why) = why else { return !sent.is_empty() };
            let why: Arc<str> = why.into();
            for sent in sent.drain(..) {
                let (balancer, target) = (self.balancer.clone(), Some(target.clone()));
                let outcome = Outcome::BrokenOff;
                self.tally.lose(Loss { sent, lost: now, balancer, target, outcome, why: why.clone() });
            }
            false
        });
    }

    /// Sends all requests from one time until before another. Nothing changes between the two.
    fn send(&mut self, world: &World, routing: &Routing, from: Timestamp, end: Timestamp) {
        let Some(mut next) = self.next.filter(|next| *next < end) else { return };
        let arrivals: Vec<_> = routing.chosen.iter().map(|(_, destination)| arrive(world, destination, from)).collect();
        let mut taken_up = vec![Vec::new(); arrivals.len()];
        let mut lose = |sent, target: Option<&Arc<str>>, outcome, why: &Arc<str>| {
            let (balancer, target, why) = (self.balancer.clone(), target.cloned(), why.clone());
            self.tally.lose(Loss { sent, lost: sent, balancer, target, outcome, why });
        };
        while next < end {
            if arrivals.is_empty() {
                lose(next, None, Outcome::Unrouted, &routing.why_none);
            } else {
                let choice = self.dice.usize(..arrivals.len());
                match &arrivals[choice] {
                    Arrival::TakenUp(_) => taken_up[choice].push(next),
                    Arrival::Lost(outcome, why) => lose(next, Some(&routing.chosen[choice].0), *outcome, why),
                }
            }
            next += delta(self.every);
        }
        self.next = Some(next);
        for (((name, _), arrival), sent) in routing.chosen.iter().zip(arrivals).zip(taken_up) {
            if let Arrival::TakenUp(host) = arrival {
                self.flows.entry((name.clone(), host)).or_default().extend(sent);
            }
        }
    }

    /// Counts the requests that have come to their end by a time.
    fn finish(&mut self, by: Timestamp) {
        let latest = by - delta(self.takes);
        let (mut served, mut in_flight) = (0, 0);
        for sent in self.flows.values_mut() {
            let done = sent.partition_point(|at| *at <= latest);
            sent.drain(..done);
            served += done as u64;
            in_flight += sent.len() as u64;
        }
        self.tally.serve(served);
        self.tally.in_flight = in_flight;
    }
}

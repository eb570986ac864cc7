//! The outcomes of requests.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::clock::Timestamp;

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The registered host answered it.
    Served,
    /// The balancer had no member to send it to: 503, or a refused connection.
    Unrouted,
    /// It reached an instance that was gone.
    Gone,
    /// It reached an instance that runs, and was not ready yet, or was rebooting.
    Refused,
    /// It was under way when the instance stopped or the balancer cut it.
    BrokenOff,
    /// It reached another host than the registered one.
    Misdelivered,
}

/// A request that was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the request was sent.
    pub sent: Timestamp,
    /// When it was lost: later than that if it was broken off.
    pub lost: Timestamp,
    /// The balancer that it went through: `clb:NAME` or `tg:NAME`.
    pub balancer: Arc<str>,
    /// The target: an instance's id or an address, with the port if it has one; `None` if the request was not routed.
    pub target: Option<Arc<str>>,
    /// The way in which it was lost.
    pub outcome: Outcome,
    /// The reason in words.
    pub why: Arc<str>,
}

/// All requests of some clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By outcome.
    pub counts: BTreeMap<Outcome, u64>,
    /// The requests without an outcome yet.
    pub in_flight: u64,
    /// All requests that were not served, by client and then in the order of their loss.
    pub losses: Vec<Loss>,
}

impl Tally {
    /// Returns how many requests had an outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// Returns how many were served.
    pub fn served(&self) -> u64 {
        self.count(Outcome::Served)
    }

    /// Returns how many were not.
    pub fn lost(&self) -> u64 {
        self.counts.iter().filter(|(outcome, _)| **outcome != Outcome::Served).map(|(_, count)| count).sum()
    }

    /// Returns how many were sent.
    pub fn sent(&self) -> u64 {
        self.served() + self.lost() + self.in_flight
    }

    pub(super) fn serve(&mut self, count: u64) {
        if count > 0 {
            *self.counts.entry(Outcome::Served).or_default() += count;
        }
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        *self.counts.entry(loss.outcome).or_default() += 1;
        self.losses.push(loss);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (outcome, count) in &other.counts {
            *self.counts.entry(*outcome).or_default() += count;
        }
        self.in_flight += other.in_flight;
        self.losses.extend(other.losses.iter().cloned());
    }
}

impl Outcome {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Unrouted => "not routed",
            Self::Gone => "reached an instance that was gone",
            Self::Refused => "refused",
            Self::BrokenOff => "broken off",
            Self::Misdelivered => "misdelivered",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_deref().unwrap_or("no target");
        let (lost, sent) = (self.lost.format("%H:%M:%S%.3f"), self.sent.format("%H:%M:%S%.3f"));
        write!(f, "{lost} {} to {target}: {}: {} (sent {sent})", self.balancer, self.outcome.name(), self.why)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent", self.sent())?;
        self.counts.iter().try_for_each(|(outcome, count)| write!(f, ", {count} {}", outcome.name()))
    }
}

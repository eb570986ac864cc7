//! What became of the requests.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::clock::Timestamp;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered by who was registered.
    Served,
    /// The balancer had nobody to send it to: 503, or a refused connection.
    Unrouted,
    /// It reached an instance that was gone.
    Gone,
    /// It reached an instance that runs, and was not ready yet.
    Refused,
    /// It was under way when the instance stopped or the balancer cut it.
    BrokenOff,
    /// It reached another host than the one that was registered.
    Misdelivered,
}

/// A request that was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the request was sent.
    pub sent: Timestamp,
    /// When it was lost: later than that where it was broken off.
    pub lost: Timestamp,
    /// Through which balancer: `clb:NAME` or `tg:NAME`.
    pub balancer: Arc<str>,
    /// To whom: an instance's id or an address, with the port where there is one; nobody, where it was not routed.
    pub target: Option<Arc<str>>,
    /// In which way.
    pub outcome: Outcome,
    /// In words.
    pub why: Arc<str>,
}

/// All requests of some clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By what became of them.
    pub counts: BTreeMap<Outcome, u64>,
    /// Those of which it is not known yet.
    pub in_flight: u64,
    /// All that were not served, by client and then in the order of their loss.
    pub losses: Vec<Loss>,
}

impl Tally {
    /// How many requests came to an end in a way.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// How many were served.
    pub fn served(&self) -> u64 {
        self.count(Outcome::Served)
    }

    /// How many were not.
    pub fn lost(&self) -> u64 {
        self.counts.iter().filter(|(outcome, _)| **outcome != Outcome::Served).map(|(_, count)| count).sum()
    }

    /// How many were sent.
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
    /// The word for it.
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
        let target = self.target.as_deref().unwrap_or("nobody");
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

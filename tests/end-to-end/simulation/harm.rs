//! The faults of a run, as the plan says: of the functions' calls, and of the events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sandbox::{
    Call, Timestamp, Verdict,
    clock::delta,
    deployment::ORDERS,
    events::{Delivery, Event},
    fault::Rule,
    wire::{ApiError, Service},
};

use super::plan::{EventFault, Harm, Sort, Strike};

/// How often a fault struck, by its kind.
#[derive(Clone, Debug, Default)]
pub struct Struck(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Struck {
    /// Counts one more.
    pub fn count(&self, kind: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// Returns all of it.
    pub fn all(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The strikes of a plan, as a rule over the functions' calls: in a simulation only functions call.
pub struct Strikes {
    strikes: Vec<Strike>,
    start: Timestamp,
    /// Calls so far.
    seen: usize,
    /// Calls of each spell, or of a strike's action, so far.
    of_spell: Vec<usize>,
    /// The ids of instances that may not be tagged.
    untaggable: Vec<String>,
    struck: Struck,
}

impl Strikes {
    /// Returns the strikes of a plan that begins at a time, with the ids of instances that may not be tagged.
    pub fn new(strikes: &[Strike], start: Timestamp, untaggable: Vec<String>, struck: Struck) -> Self {
        Self { strikes: strikes.to_vec(), start, seen: 0, of_spell: vec![0; strikes.len()], untaggable, struck }
    }

    /// Returns the refusal of a call that is refused for as long as the faults last.
    fn lasting(&self, call: &Call) -> Option<ApiError> {
        if call.action == "CreateTags" && self.untaggable.iter().any(|id| call.mentions(id)) {
            return Some(ApiError::receiver(403, "UnauthorizedOperation", "not this one"));
        }
        let parameter = |(name, value): &(String, String), group: &str| {
            name == "TargetGroupArn" && value.contains(&format!(":targetgroup/{group}/"))
        };
        let is_full = |strike: &Strike| match strike {
            Strike::Full(group) => call.parameters.iter().any(|given| parameter(given, group)),
            _ => false,
        };
        let is_refused = call.action == "RegisterTargets" && self.strikes.iter().any(is_full);
        is_refused.then(|| ApiError::sender("TooManyTargets", "The maximum number of targets has been reached"))
    }

    fn harm(&mut self, call: &Call) -> Option<Harm> {
        let second = u64::try_from((call.at - self.start).num_seconds()).unwrap_or_default();
        for (strike, of_spell) in self.strikes.iter().zip(&mut self.of_spell) {
            match strike {
                Strike::Call(number, harm) if *number == self.seen => return Some(*harm),
                Strike::Of(action, number, harm) if *action == call.action => {
                    *of_spell += 1;
                    if of_spell == number {
                        return Some(*harm);
                    }
                }
                Strike::Spell { from, until, sort, one_in, harm }
                    if (*from..*until).contains(&second) && is_of(call, *sort) =>
                {
                    *of_spell += 1;
                    if (*of_spell).is_multiple_of(*one_in) {
                        return Some(*harm);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl Rule for Strikes {
    fn verdict(&mut self, call: &Call) -> Verdict {
        self.seen += 1;
        if let Some(refusal) = self.lasting(call) {
            self.struck.count("lasting");
            return Verdict::Refuse(refusal);
        }
        let Some(harm) = self.harm(call) else { return Verdict::Pass };
        let verdict = verdict(harm, call);
        if verdict != Verdict::Pass {
            self.struck.count(name(harm));
        }
        verdict
    }
}

fn is_read(call: &Call) -> bool {
    call.action.starts_with("Describe")
}

fn is_of(call: &Call, sort: Sort) -> bool {
    match sort {
        Sort::Reads => is_read(call),
        Sort::Writes => !is_read(call),
        Sort::Action(action) => call.action == action,
        Sort::Any => true,
    }
}

fn verdict(harm: Harm, call: &Call) -> Verdict {
    let is_ec2 = call.service == Service::Ec2;
    match harm {
        Harm::Slow(seconds) => Verdict::Delay(Duration::from_secs(seconds)),
        Harm::AnswerLost => Verdict::LoseAnswer,
        Harm::NoAnswer => Verdict::NeverAnswer,
        Harm::Unavailable if is_ec2 => Verdict::Refuse(ApiError::receiver(503, "Unavailable", "not for now")),
        Harm::Unavailable => Verdict::Refuse(ApiError::receiver(500, "InternalFailure", "not for now")),
        Harm::Throttled => Verdict::Refuse(ApiError::throttled(call.service)),
        Harm::Denied if is_ec2 => Verdict::Refuse(ApiError::receiver(403, "UnauthorizedOperation", "not for now")),
        Harm::Denied => Verdict::Refuse(ApiError::receiver(403, "AccessDenied", "not for now")),
        Harm::Stale(seconds) if is_read(call) => Verdict::Stale(Duration::from_secs(seconds)),
        Harm::Stale(_) => Verdict::Pass,
        Harm::Frozen(seconds) => Verdict::FreezeAfter(Duration::from_secs(seconds)),
        Harm::KilledBefore => Verdict::KillBefore,
        Harm::KilledAfter => Verdict::KillAfter,
    }
}

fn name(harm: Harm) -> &'static str {
    match harm {
        Harm::Slow(_) => "slow",
        Harm::AnswerLost => "answer lost",
        Harm::NoAnswer => "no answer",
        Harm::Unavailable => "5xx",
        Harm::Throttled => "throttled",
        Harm::Denied => "denied",
        Harm::Stale(_) => "stale",
        Harm::Frozen(_) => "frozen",
        Harm::KilledBefore | Harm::KilledAfter => "killed",
    }
}

/// Also counts the refusals by the published limits.
pub fn counted(mut rule: impl Rule, struck: Struck) -> impl Rule {
    move |call: &Call| {
        let verdict = rule.verdict(call);
        if verdict != Verdict::Pass {
            struck.count("over the limits");
        }
        verdict
    }
}

/// Decides over events by their number.
pub fn deliver(faults: &[(usize, EventFault)], struck: Struck) -> impl FnMut(&Event) -> Delivery + Send + 'static {
    let mut by_number = by_number(faults, struck, ["event lost", "event twice", "event late"]);
    move |_| by_number()
}

/// Decides over orders by their number. Messages to other queues arrive.
pub fn arrive(faults: &[(usize, EventFault)], struck: Struck) -> impl FnMut(&str) -> Delivery + Send + 'static {
    let mut by_number = by_number(faults, struck, ["order lost", "order twice", "order late"]);
    move |queue| if queue == ORDERS { by_number() } else { Delivery::Normal }
}

fn by_number(
    faults: &[(usize, EventFault)],
    struck: Struck,
    [lost, twice, late]: [&'static str; 3],
) -> impl FnMut() -> Delivery + Send + 'static {
    let faults: BTreeMap<usize, EventFault> = faults.iter().copied().collect();
    let mut number = 0;
    move || {
        let fault = faults.get(&number);
        number += 1;
        let (kind, delivery) = match fault {
            None => return Delivery::Normal,
            Some(EventFault::Lost) => (lost, Delivery::Lost),
            Some(EventFault::Twice) => (twice, Delivery::Twice),
            Some(EventFault::Late(seconds)) => (late, Delivery::Late(Duration::from_secs(*seconds))),
        };
        struck.count(kind);
        delivery
    }
}

/// Returns how late the latest event comes.
pub fn longest_delay(faults: &[(usize, EventFault)]) -> Duration {
    let delays = faults.iter().map(|(_, fault)| match fault {
        EventFault::Late(seconds) => *seconds,
        EventFault::Lost | EventFault::Twice => 0,
    });
    Duration::from_secs(delays.max().unwrap_or_default())
}

/// Returns when the last spell is over, in seconds from the beginning.
pub fn end(strikes: &[Strike]) -> Duration {
    let ends = strikes.iter().map(|strike| match strike {
        Strike::Call(..) | Strike::Of(..) | Strike::Untaggable(_) | Strike::Full(_) => 0,
        Strike::Spell { until, .. } => *until,
    });
    Duration::from_secs(ends.max().unwrap_or_default())
}

/// Returns the time of a second of a plan.
pub fn time_of(start: Timestamp, second: u64) -> Timestamp {
    start + delta(Duration::from_secs(second))
}

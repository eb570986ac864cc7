//! The measurements as tables, as a plot, and as sentences about their faults.

use std::collections::BTreeSet;

use benchmarks::{
    plot::{Curve, Plot},
    whole,
};
use sandbox::throttle::Era;

use crate::{
    course::{Limits, Phase, Stops, Storm},
    plan::{GOAL, Results, StormCase},
    table::{Table, seconds},
};

/// The most that a storm of the goal's size takes, in times of the bound: if all instances stop at once, and start; and if they stop over a minute.
const TIMES_THE_BOUND: [f64; 2] = [1.4, 1.5];

/// The most calls that it makes, if all stop at once, and start: 1.2 times 1,926 and 1,375, which it made before sweeps were ordered
/// (`docs/storm.md` of commit 7619128).
const CALLS: [usize; 2] = [2_311, 1_650];

/// A shorter bound says nothing: events and batches take longer to arrive.
const BOUND_LEAST: f64 = 1.0;

impl Results {
    /// Returns all tables.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.out(), self.back(), self.costs()];
        tables.extend(self.storms.iter().any(|(case, _)| case.limits != Limits::TODAY).then(|| self.shared()));
        tables.extend(self.calls());
        tables.push(self.restarts());
        tables
    }

    /// Returns the faults, which must not be there whatever the figures are.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (case, storm) in &self.storms {
            let mut fault = |is_one: bool, what: &str| {
                if is_one {
                    faults.push(format!("{case:?}: {what}"));
                }
            };
            fault(storm.stop.changed.is_none(), "not all instances were taken out");
            fault(storm.start.changed.is_none(), "not all registrations came back");
            fault(storm.start.forgotten.is_none(), "tags still hold what was given back");
            fault(storm.stop.rest.is_none() || storm.start.rest.is_none(), "it never came to rest");
            let is_early = |phase: &Phase| phase.changed.is_some_and(|seconds| seconds < phase.bound);
            fault(is_early(&storm.stop) || is_early(&storm.start), "it took less than the bound: the bound is wrong");
            let is_cheap = |phase: &Phase| phase.made() < phase.least_calls;
            fault(
                is_cheap(&storm.stop) || is_cheap(&storm.start),
                "there were fewer calls than the least: the bound is wrong",
            );
        }
        for (case, storm) in self.of_today() {
            let timed_out = storm.stop.timed_out + storm.start.timed_out;
            if timed_out > 0 {
                faults.push(format!("{case:?}: {timed_out} invocation(s) timed out"));
            }
        }
        faults.extend(self.of_today().filter(|(case, _)| case.size == GOAL).flat_map(missed_goals));
        for (case, phase) in self.restarts.iter().filter(|(_, phase)| phase.changed.is_none()) {
            faults.push(format!("{case:?}: not all registrations came back: {phase:?}"));
        }
        faults
    }

    /// Returns the plot of the time until instances that stop at once are out, over their number.
    pub(crate) fn plot(&self) -> Plot {
        let groups: BTreeSet<usize> = self.of_today().map(|(case, _)| case.size.groups).collect();
        let curves = groups.into_iter().map(|groups| {
            let own = self.of_today().filter(|(case, _)| case.size.groups == groups && case.stops == Stops::AtOnce);
            let points = own.map(|(case, storm)| (case.size.instances as f64, &storm.stop));
            let measured = points.clone().filter_map(|(size, stop)| Some((size, stop.changed?))).collect();
            let bound = points.map(|(size, stop)| (size, stop.bound)).filter(|point| point.1 >= BOUND_LEAST).collect();
            Curve { name: format!("{} target groups", whole(groups)), measured, bound }
        });
        Plot {
            title: "Seconds until instances that stop at once are registered nowhere",
            reading: "The closer a line is to its dashed bound, the less time is lost. No program can be below its bound.",
            sizes: "instances",
            times: "seconds",
            curves: curves.collect(),
        }
    }

    fn of_today(&self) -> impl Iterator<Item = &(StormCase, Storm)> + Clone {
        self.storms.iter().filter(|(case, _)| case.limits == Limits::TODAY)
    }

    /// Returns the storms of today's limits, each with the one over a minute.
    fn pairs(&self) -> impl Iterator<Item = (&(StormCase, Storm), Option<&Storm>)> {
        self.of_today().filter(|(case, _)| case.stops == Stops::AtOnce).map(|at_once| {
            let is_same = |case: &StormCase| case.size == at_once.0.size && case.stops == Stops::OverAMinute;
            (at_once, self.of_today().find(|(case, _)| is_same(case)).map(|(_, storm)| storm))
        })
    }

    fn out(&self) -> Table {
        let title = "Seconds from the first stop until every instance is registered nowhere, when all stop at once, and one after \
                     the other over a minute; beside it the bound; and a scan for each instance, computed.";
        let header =
            ["instances x groups", "at once", "bound", "times", "over a minute", "bound", "times", "a scan for each"];
        let mut table = Table::new(title, &header);
        for ((case, at_once), over_a_minute) in self.pairs() {
            let mut cells = vec![size(case)];
            cells.extend(beside_bound(&at_once.stop));
            cells.extend(over_a_minute.map_or(["-"; 3].map(str::to_owned), |storm| beside_bound(&storm.stop)));
            cells.push(seconds(Some(at_once.scan_for_each)));
            table.row(cells);
        }
        table
    }

    fn back(&self) -> Table {
        let title = "Seconds from the start of all at once until every registration is back, healthy, and held no more. EC2 takes 10 \
                     to 20 of them until an instance runs, which the bound includes. *Later*: healthy after the functions were at rest.";
        let header = ["instances x groups", "back", "bound", "times", "healthy", "forgotten", "at rest"];
        let mut table = Table::new(title, &header);
        for ((case, storm), _) in self.pairs() {
            let start = &storm.start;
            let mut cells = vec![size(case)];
            cells.extend(beside_bound(start));
            // The watch ends when the functions are at rest.
            cells.push(start.healthy.map_or_else(|| "later".to_owned(), |healthy| seconds(Some(healthy))));
            cells.extend([start.forgotten, start.rest].map(seconds));
            table.row(cells);
        }
        table
    }

    fn costs(&self) -> Table {
        let title = "What it costs, when all stop at once and start at once: calls (those to queues left out), the least of calls that \
                     the bound counts, calls refused for coming too fast, invocations, and seconds that they ran.";
        let header = [
            "instances x groups",
            "stop: calls",
            "least",
            "refused",
            "invocations",
            "ran",
            "start: calls",
            "least",
            "refused",
            "invocations",
            "ran",
        ];
        let mut table = Table::new(title, &header);
        for ((case, storm), _) in self.pairs() {
            let cells = [&storm.stop, &storm.start].into_iter().flat_map(costs);
            table.row([size(case)].into_iter().chain(cells));
        }
        table
    }

    /// Returns the goal's size under other limits.
    fn shared(&self) -> Table {
        let title = "The same where others use up a part of every bucket, and by the limits until early 2026 (all stop at once).";
        let header =
            ["instances x groups, limits", "out", "bound", "times", "refused", "back", "bound", "times", "refused"];
        let mut table = Table::new(title, &header);
        for (case, storm) in self.storms.iter().filter(|(case, _)| case.limits != Limits::TODAY) {
            let era = if case.limits.era == Era::Until2026 { "until 2026, " } else { "" };
            let limits = format!("{era}others use {} %", case.limits.others);
            let mut cells = vec![format!("{}, {limits}", size(case))];
            for phase in [&storm.stop, &storm.start] {
                cells.extend(beside_bound(phase));
                cells.push(whole(phase.throttled()));
            }
            table.row(cells);
        }
        table
    }

    /// Returns the calls by action, at the goal's size; if that was not measured, at the largest.
    fn calls(&self) -> Option<Table> {
        let of_goal = self.of_today().find(|(case, _)| case.size == GOAL && case.stops == Stops::AtOnce);
        let at_once = || self.of_today().filter(|(case, _)| case.stops == Stops::AtOnce);
        let (case, storm) = of_goal.or_else(|| at_once().max_by_key(|(case, _)| case.size))?;
        let title = format!(
            "Calls by action, {}, all at once: made, of them refused for coming too fast, of them failed.",
            size(case)
        );
        let header = ["action", "stop", "refused", "failed", "start", "refused", "failed"];
        let mut table = Table::new(title, &header);
        let actions: BTreeSet<&String> = storm.stop.calls.keys().chain(storm.start.calls.keys()).collect();
        for action in actions {
            let cells = [&storm.stop, &storm.start].into_iter().flat_map(|phase| {
                let count = phase.calls.get(action).copied().unwrap_or_default();
                [count.made, count.throttled, count.failed].map(whole)
            });
            table.row([action.clone()].into_iter().chain(cells));
        }
        Some(table)
    }

    fn restarts(&self) -> Table {
        let title = "Calls of the start of one instance, eight hours after its stop, by the registrations that it has.";
        let mut table = Table::new(title, &["target groups in the account", "1", "2", "5"]);
        let all: BTreeSet<usize> = self.restarts.iter().map(|(case, _)| case.groups).collect();
        for groups in all {
            let own = self.restarts.iter().filter(|(case, _)| case.groups == groups);
            table.row([whole(groups)].into_iter().chain(own.map(|(_, phase)| whole(phase.made()))));
        }
        table
    }
}

/// What a storm of the goal's size takes more than it should.
fn missed_goals((case, storm): &(StormCase, Storm)) -> Vec<String> {
    let [at_once, over_a_minute] = TIMES_THE_BOUND;
    let is_at_once = case.stops == Stops::AtOnce;
    let out_within = if is_at_once { at_once } else { over_a_minute };
    let mut missed = Vec::new();
    for (what, phase, times, calls) in
        [("stop", &storm.stop, out_within, CALLS[0]), ("start", &storm.start, at_once, CALLS[1])]
    {
        if phase.changed.is_none_or(|seconds| seconds > times * phase.bound) {
            missed.push(format!("{case:?}: the {what} takes more than {times} times its bound"));
        }
        // Stops over a minute have more to write: the groups lose their instances one by one.
        if is_at_once && phase.made() > calls {
            missed.push(format!("{case:?}: the {what} makes {} calls, and {calls} is the most", whole(phase.made())));
        }
    }
    missed
}

fn size(case: &StormCase) -> String {
    format!("{} x {}", whole(case.size.instances), whole(case.size.groups))
}

/// Returns the measured time, the bound, and the ratio of the two.
fn beside_bound(phase: &Phase) -> [String; 3] {
    let times = match phase.changed {
        Some(changed) if phase.bound >= BOUND_LEAST => format!("{:.2}", changed / phase.bound),
        _ => "-".to_owned(),
    };
    [seconds(phase.changed), seconds(Some(phase.bound)), times]
}

fn costs(phase: &Phase) -> [String; 5] {
    let invocations = match phase.timed_out {
        0 => whole(phase.invocations),
        timed_out => format!("{} ({} timed out)", whole(phase.invocations), whole(timed_out)),
    };
    let [made, least, throttled] = [phase.made(), phase.least_calls, phase.throttled()].map(whole);
    [made, least, throttled, invocations, seconds(Some(phase.lambda_seconds))]
}

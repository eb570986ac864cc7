//! The plan of the measurements: the storms, their accounts, and their limits.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use sandbox::throttle::Era;

use crate::{
    account::{Account, Size},
    course::{Limits, Phase, Stops, Storm, play},
};

/// The size of the goal, which is also measured under other limits.
pub(crate) const GOAL: Size = Size { instances: 1_000, groups: 500 };

/// Everything that is measured in one run.
pub(crate) struct Plan {
    storms: Vec<StormCase>,
    restarts: Vec<RestartCase>,
}

/// A storm to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StormCase {
    /// How large the account is.
    pub(crate) size: Size,
    /// How its instances stop.
    pub(crate) stops: Stops,
    /// The functions' share of its limits.
    pub(crate) limits: Limits,
}

/// The restart of one instance, after a night.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RestartCase {
    /// Target groups of the account.
    pub(crate) groups: usize,
    /// The target groups that the instance is in.
    pub(crate) used: usize,
}

/// The measurements, in the plan's order.
pub(crate) struct Results {
    /// Storms.
    pub(crate) storms: Vec<(StormCase, Storm)>,
    /// Restarts.
    pub(crate) restarts: Vec<(RestartCase, Phase)>,
}

impl Plan {
    /// Returns all sizes. The goal's size also comes under the older limits, and with others using up half and nine tenths.
    pub(crate) fn full() -> Self {
        let mut plan = Self::of(&[1, 10, 100, 1_000, 10_000], &[10, 100, 500, 3_000]);
        plan.add_limits(GOAL, &[(Era::Today, 50), (Era::Today, 90), (Era::Until2026, 0)]);
        plan
    }

    /// Returns small sizes, so that a run takes seconds and shows whether everything still works.
    pub(crate) fn quick() -> Self {
        let mut plan = Self::of(&[1, 40], &[10, 60]);
        plan.add_limits(Size { instances: 40, groups: 60 }, &[(Era::Until2026, 50)]);
        plan
    }

    /// Returns one size alone.
    pub(crate) fn one(size: Size) -> Self {
        Self::of(&[size.instances], &[size.groups])
    }

    fn of(instances: &[usize], groups: &[usize]) -> Self {
        let sizes = groups
            .iter()
            .flat_map(|groups| instances.iter().map(|instances| Size { instances: *instances, groups: *groups }));
        let both = [Stops::AtOnce, Stops::OverAMinute];
        let storms = sizes.flat_map(|size| both.map(|stops| StormCase { size, stops, limits: Limits::TODAY }));
        let restarts = groups.iter().flat_map(|groups| [1, 2, 5].map(|used| RestartCase { groups: *groups, used }));
        Self { storms: storms.collect(), restarts: restarts.collect() }
    }

    fn add_limits(&mut self, size: Size, limits: &[(Era, u8)]) {
        let limits = limits.iter().map(|(era, others)| Limits { era: *era, others: *others });
        self.storms.extend(limits.map(|limits| StormCase { size, stops: Stops::AtOnce, limits }));
    }

    /// Measures everything, a number of cases at a time. The result depends on neither that number nor the machine.
    pub(crate) fn run(self, jobs: usize) -> Results {
        let Self { storms, restarts } = self;
        Results {
            restarts: side_by_side(jobs, restarts, RestartCase::run),
            storms: side_by_side(jobs, storms, StormCase::run),
        }
    }
}

impl StormCase {
    fn run(&self) -> Storm {
        let storm = in_virtual_time(async || play(&Account::new(self.size), self.stops, self.limits).await);
        let changed = [&storm.stop, &storm.start].map(|phase| phase.changed.map(f64::round));
        eprintln!("{self:?}: out, and back: {changed:?}");
        storm
    }
}

impl RestartCase {
    fn run(&self) -> Phase {
        in_virtual_time(async || {
            play(&Account::of_one(self.groups, self.used), Stops::AtOnce, Limits::TODAY).await.start
        })
    }
}

fn in_virtual_time<R>(course: impl AsyncFnOnce() -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing but memory").block_on(course())
}

/// Runs cases, the last ones first, which are the largest, and returns the results in the order of the cases.
fn side_by_side<C: Sync, R: Send>(jobs: usize, cases: Vec<C>, run: fn(&C) -> R) -> Vec<(C, R)> {
    let (taken, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(index) = cases.len().checked_sub(1 + taken.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(&cases[index]);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    cases.into_iter().zip(results.into_iter().map(|(_, result)| result)).collect()
}

//! The course of a storm: everything stops, everything starts again, and the watch takes the times.

use std::{collections::BTreeMap, time::Duration};

use end_to_end::Stage;
use sandbox::{
    Throttle, World,
    clock::{Timestamp, delta},
    ec2,
    elbv2::{self, Health},
    lambda::Ending,
    throttle::Era,
};

use crate::{
    account::Account,
    bound::Work,
    ledger::{Count, Ledger},
};

/// How long after a storm the account has to be at rest. It is so long that a message that always fails is a dead letter by then.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

/// For how many seconds nothing must have happened before a phase is over: longer than any event is under way.
const QUIET: usize = 5;

/// The time between the stop and the start, so that the start begins without leftovers of the stop.
const NIGHT: Duration = Duration::from_secs(8 * 3600);

/// How the stops are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    /// All by one call of an operator's, or because a zone fails.
    AtOnce,
    /// One after the other, over a minute: a nightly schedule.
    OverAMinute,
}

/// How much of the account's limits is left to the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Which limits are in force.
    pub(crate) era: Era,
    /// The share of the other controllers in the account, in parts of a hundred.
    pub(crate) others: u8,
}

impl Limits {
    /// The limits that are published today, with no other controller.
    pub(crate) const TODAY: Self = Self { era: Era::Today, others: 0 };

    fn throttle(self) -> Throttle {
        Throttle::shared(self.era, self.others)
    }
}

/// The result of a storm.
#[derive(Debug)]
pub(crate) struct Storm {
    /// From the first stop on.
    pub(crate) stop: Phase,
    /// From the start on, of all at once.
    pub(crate) start: Phase,
    /// How many seconds it would take to scan all target groups again for each instance, by the same buckets. Computed.
    pub(crate) scan_for_each: f64,
}

/// One half of a storm. Times are in seconds since it began, and `None` if it did not come to that.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    /// By service and operation.
    pub(crate) calls: BTreeMap<String, Count>,
    /// Until no instance was registered any more, or all of them again.
    pub(crate) changed: Option<f64>,
    /// The bound for that.
    pub(crate) bound: f64,
    /// Until every instance that was given back was healthy in every target group.
    pub(crate) healthy: Option<f64>,
    /// Until all tags were forgotten.
    pub(crate) forgotten: Option<f64>,
    /// Until no work was under way any more.
    pub(crate) rest: Option<f64>,
    /// Of all functions.
    pub(crate) invocations: usize,
    /// Those that Lambda ended.
    pub(crate) timed_out: usize,
    /// The sum of the invocations' times.
    pub(crate) lambda_seconds: f64,
    /// The least number of calls.
    pub(crate) least_calls: usize,
}

/// Plays a storm.
pub(crate) async fn play(account: &Account, stops: Stops, limits: Limits) -> Storm {
    let watch = Watch { account, ledger: Ledger::of(account), limits };
    let _in_force = account.stage.sandbox.fault(limits.throttle());
    let stop = watch.stop(stops).await;
    account.stage.sandbox.advance(NIGHT).await;
    watch.begin();
    let start = watch.start().await;
    let scan_for_each = Work::of_repeated_scans(account).seconds(&limits.throttle());
    Storm { stop, start, scan_for_each }
}

/// The watcher of a storm.
struct Watch<'a> {
    account: &'a Account,
    ledger: Ledger,
    limits: Limits,
}

impl Watch<'_> {
    fn stage(&self) -> &Stage {
        &self.account.stage
    }

    fn begin(&self) {
        self.ledger.turn_over();
        self.stage().world(|world| {
            world.calls.clear();
            world.lambda.log.clear();
        });
    }

    async fn stop(&self, stops: Stops) -> Phase {
        let ids = &self.account.instances;
        let step = match stops {
            Stops::AtOnce => Duration::ZERO,
            Stops::OverAMinute => Duration::from_secs(60).div_f64(ids.len() as f64),
        };
        let times: Vec<Duration> = (0..ids.len()).map(|number| step.mul_f64(number as f64)).collect();
        self.stage().world(|world| {
            for (time, id) in times.iter().zip(ids.iter().cloned()) {
                let stop = move |world: &mut World| ec2::stop(world, &id).expect("an instance that runs");
                world.after(*time, stop);
            }
        });
        let (phase, begun) = self.settle(times.iter().copied().max().unwrap_or_default()).await;
        let changed = self.ledger.pages().out.map(|at| (at - begun).as_seconds_f64());
        let times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        let work = Work::of_taking_out(self.account, &times);
        Phase { changed, bound: work.seconds(&self.limits.throttle()), least_calls: work.calls(), ..phase }
    }

    async fn start(&self) -> Phase {
        self.stage().world(|world| {
            for id in &self.account.instances {
                ec2::start(world, id).expect("an instance that is stopped");
            }
        });
        let (phase, begun) = self.settle(Duration::ZERO).await;
        let changed = self.ledger.pages().back.map(|at| (at - begun).as_seconds_f64());
        let work = Work::of_giving_back(self.account, &self.ran(begun));
        Phase { changed, bound: work.seconds(&self.limits.throttle()), least_calls: work.calls(), ..phase }
    }

    /// Returns how many seconds after the beginning of the phase each instance came to run.
    fn ran(&self, begun: Timestamp) -> Vec<f64> {
        self.stage().world(|world| {
            let since = |id: &String| world.ec2.instance(id).expect("an instance of the account").since;
            self.account.instances.iter().map(|id| (since(id) - begun).as_seconds_f64()).collect()
        })
    }

    /// Lets time pass until all is at rest, and looks every second. Returns the phase and its beginning. `deeds` is how long an
    /// operator goes on.
    async fn settle(&self, deeds: Duration) -> (Phase, Timestamp) {
        let begun = self.stage().world(|world| world.now());
        let mut phase = Phase::default();
        let mut unhealthy: Vec<String> = self.account.used().flat_map(|service| service.groups.clone()).collect();
        let mut quiet = 0;
        while quiet <= QUIET {
            self.stage().sandbox.advance(Duration::from_secs(1)).await;
            let is_back = self.ledger.pages().back.is_some();
            let now = self.stage().world(|world| {
                phase.add_invocations(world);
                // The ledger has counted them, and ten thousand instances make hundreds of thousands.
                world.calls.clear();
                unhealthy.retain(|group| !(is_back && is_healthy(world, group)));
                world.now()
            });
            let seconds = (now - begun).as_seconds_f64();
            if unhealthy.is_empty() {
                phase.healthy.get_or_insert(seconds);
            }
            phase.forgotten = phase.forgotten.or(Some(seconds)).filter(|_| !self.is_anything_held());
            if now < begun + delta(deeds) || self.stage().is_busy() {
                (quiet, phase.rest) = (0, None);
            } else {
                quiet += 1;
                phase.rest.get_or_insert(seconds);
            }
            if now > begun + delta(PATIENCE) {
                break;
            }
        }
        phase.calls = self.ledger.pages().calls.clone();
        (phase, begun)
    }

    fn is_anything_held(&self) -> bool {
        let holds = |instance: &ec2::Instance| instance.tags.keys().any(|key| key.starts_with("elb-registrar:held"));
        self.stage().world(|world| self.account.instances.iter().any(|id| world.ec2.instance(id).is_some_and(holds)))
    }
}

impl Phase {
    fn add_invocations(&mut self, world: &mut World) {
        for ended in std::mem::take(&mut world.lambda.log) {
            self.invocations += 1;
            self.lambda_seconds += (ended.at - ended.started).as_seconds_f64();
            self.timed_out += usize::from(ended.ending == Ending::TimedOut);
        }
    }

    /// Returns how many calls were made, without those to queues, which no other controller shares.
    pub(crate) fn made(&self) -> usize {
        self.of_account().map(|count| count.made).sum()
    }

    /// Returns how many of them were refused because they came too fast.
    pub(crate) fn throttled(&self) -> usize {
        self.of_account().map(|count| count.throttled).sum()
    }

    fn of_account(&self) -> impl Iterator<Item = &Count> {
        self.calls.iter().filter(|(action, _)| !is_of_queue(action)).map(|(_, count)| count)
    }
}

/// Returns whether an operation is one of SQS.
pub(crate) fn is_of_queue(action: &str) -> bool {
    action.starts_with("ChangeMessageVisibility") || action.starts_with("SendMessage")
}

fn is_healthy(world: &World, group: &str) -> bool {
    elbv2::targets(world, group).iter().all(|target| target.health == Health::Healthy)
}

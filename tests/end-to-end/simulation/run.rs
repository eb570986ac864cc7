//! One run of a plan. The stage is set, the steps are done in their time while the faults last, all comes to rest, and the sweeps
//! come. Then the world is compared with the promises.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sandbox::{
    Call, Throttle, Timestamp, World,
    clock::delta,
    deployment::{DEAD_LETTERS, DEAD_ORDERS, LIFECYCLE_DEAD_LETTERS, RECONCILE, UNDELIVERED},
    elbv2,
};

use super::{
    deed, fleet, harm,
    harm::{Strikes, Struck},
    ledger::Ledger,
    log,
    plan::{Deed, EventFault, Guardian, Plan, Strike},
    promise::{self, Cost, Promise, Told, Violation},
    reference::Reference,
    view,
};
use crate::Stage;

/// How long the world may take to come to rest once the faults have stopped: some times the longest wait of the functions (a
/// killed one's messages come back after twelve minutes, a failed one's after ten).
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// How often the world is looked at while nothing is due.
const TICK: Duration = Duration::from_secs(10);

/// Looks without any activity, after which all is quiet.
const QUIET: u32 = 2;

/// How long the faults last after the last step, at least: until an instance that the step started is settled, and its tag
/// forgotten.
const FAULTS_LAST: Duration = Duration::from_secs(200);

/// Sweeps at the end. The first one repairs whatever no event told. The second one gives back what was draining then. The third
/// one forgets what is settled by then.
const SWEEPS: usize = 3;

/// The time between two of them: the template's own.
const SWEEP_EVERY: Duration = Duration::from_secs(900);

/// A run that ended well.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Everything that happened, in order.
    pub log: String,
    /// In simulated time.
    pub duration: Duration,
    /// The parts of it that calls depend on.
    pub cost: Cost,
    /// Calls while faults could strike.
    pub exposed: usize,
    /// The faults that struck, by kind.
    pub struck: BTreeMap<&'static str, usize>,
}

/// A run that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The promise, and how it was broken.
    pub violation: Violation,
    /// Everything that happened until then.
    pub log: String,
}

/// Runs a plan, on a runtime of its own with virtual time.
///
/// # Errors
/// If a promise is broken.
///
/// # Panics
/// If the plan asks for a setup that AWS refuses: a fault of the code that drew it.
pub fn run(plan: &Plan) -> Result<Outcome, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing but memory").block_on(async { Run::new(plan).play().await })
}

/// The watcher's knowledge of a run.
#[derive(Debug, Default)]
struct Known {
    ledger: Ledger,
    reference: Reference,
    violation: Option<Violation>,
    deeds: Vec<(Timestamp, String)>,
    /// Calls and events at the last look: without a new one, only time has passed.
    seen: (usize, usize),
}

struct Run<'p> {
    plan: &'p Plan,
    stage: Stage,
    start: Timestamp,
    known: Arc<Mutex<Known>>,
    struck: Struck,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan) -> Self {
        let stage = fleet::stage(plan);
        let start = stage.world(|world| world.now());
        let run = Self { plan, stage, start, known: Arc::default(), struck: Struck::default() };
        run.begin();
        run
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the instances as planned, tells the reference, and begins to watch.
    fn begin(&self) {
        let mut known = self.known();
        let Known { ledger, reference, .. } = &mut *known;
        self.stage.world(|world| {
            for balancer in self
                .plan
                .balancers
                .iter()
                .filter(|balancer| matches!(balancer.guardian, Some(Guardian::Operator | Guardian::Kubernetes)))
            {
                let classic = format!("clb:{}", balancer.name);
                let group = elbv2::arn_of(world, &balancer.name).map(|arn| view::group_of_arn(&arn));
                ledger.guarded.insert(group.unwrap_or(classic), Timestamp::UNIX_EPOCH);
            }
            for instance in &self.plan.instances {
                for place in &instance.places {
                    let owned = deed::register(world, &instance.name, place);
                    reference.planted(owned.unwrap_or_else(|| panic!("{} cannot be at {place}", instance.name)));
                }
                for place in &instance.declares {
                    deed::declare(world, &instance.name, place);
                }
                let id = deed::id_of(world, &instance.name).filter(|_| instance.is_ignored);
                ledger.guarded.extend(id.map(|id| (id, Timestamp::UNIX_EPOCH)));
            }
            absorb(world, ledger, reference);
            let known = self.known.clone();
            world.watchers.push(Box::new(move |world, call| {
                known.lock().unwrap_or_else(PoisonError::into_inner).judge(world, call);
            }));
        });
    }

    async fn play(self) -> Result<Outcome, Box<Failure>> {
        let verdict = self.play_through().await;
        let log = self.stage.world(|world| log::of(world, &self.known().deeds));
        match verdict {
            Err(violation) => Err(Box::new(Failure { violation, log })),
            Ok(exposed) => {
                let duration = self.stage.world(|world| world.now() - self.start).to_std().unwrap_or_default();
                Ok(Outcome { log, duration, cost: self.cost(), exposed, struck: self.struck.all() })
            }
        }
    }

    /// Returns the number of calls that faults could strike.
    async fn play_through(&self) -> Result<usize, Violation> {
        let limits = self.plan.weather.throttle.map(|(era, percent)| {
            self.stage.sandbox.fault(harm::counted(Throttle::shared(era, percent), self.struck.clone()))
        });
        let untaggable = self.plan.strikes.iter().filter_map(|strike| match strike {
            Strike::Untaggable(number) => self.stage.world(|world| deed::id_of(world, &format!("web-{number}"))),
            _ => None,
        });
        let untaggable = untaggable.collect();
        let strikes = Strikes::new(&self.plan.strikes, self.start, untaggable, self.struck.clone());
        let faults = self.stage.sandbox.fault(strikes);
        let deliver = harm::deliver(&self.plan.deliveries, self.struck.clone());
        let arrive = harm::arrive(&self.plan.orders, self.struck.clone());
        self.stage.world(|world| world.events.set_delivery(deliver));
        self.stage.world(|world| world.sqs.set_arrival(arrive));
        for step in &self.plan.steps {
            self.pass_until(harm::time_of(self.start, step.at)).await?;
            self.perform(&step.deed);
        }
        let last = self.plan.steps.last().map_or(0, |step| step.at);
        let faulty = harm::end(&self.plan.strikes).max(Duration::from_secs(last) + FAULTS_LAST);
        self.pass_until(harm::time_of(self.start, faulty.as_secs())).await?;
        drop(faults);
        let exposed = self.stage.world(|world| world.calls.len());
        self.stage.world(|world| world.events.reset_delivery());
        self.stage.world(|world| world.sqs.reset_arrival());
        self.rest().await?;
        // An event that is still on its way keeps no function busy.
        if self.struck.all().contains_key("event late") {
            self.pass_until(self.stage.world(|world| world.now()) + delta(harm::longest_delay(&self.plan.deliveries)))
                .await?;
            self.rest().await?;
        }
        self.judge_before_sweeps()?;
        for _ in 0..SWEEPS {
            self.pass_until(self.stage.world(|world| world.now()) + SWEEP_EVERY).await?;
            self.perform(&Deed::Sweep);
            self.rest().await?;
        }
        drop(limits);
        self.judge_at_rest().map(|()| exposed)
    }

    fn perform(&self, deed: &Deed) {
        let mut known = self.known();
        let Known { ledger, reference, deeds, .. } = &mut *known;
        self.stage.world(|world| {
            absorb(world, ledger, reference);
            deed::perform(world, deed, ledger, reference);
            absorb(world, ledger, reference);
            deeds.push((world.now(), format!("{deed:?}")));
        });
    }

    async fn pass_until(&self, at: Timestamp) -> Result<(), Violation> {
        loop {
            let left = self.stage.world(|world| (at - world.now()).to_std().unwrap_or_default());
            if left.is_zero() {
                return Ok(());
            }
            self.stage.sandbox.advance(left.min(TICK)).await;
            self.look()?;
        }
    }

    async fn rest(&self) -> Result<(), Violation> {
        let (mut quiet, mut passed) = (0, Duration::ZERO);
        while quiet < QUIET {
            self.stage.sandbox.advance(TICK).await;
            self.look()?;
            quiet = if self.stage.is_busy() { 0 } else { quiet + 1 };
            passed += TICK;
            if passed > PATIENCE {
                return Err(self.violation(Promise::ItComesToRest, "not at rest for hours"));
            }
        }
        Ok(())
    }

    /// Looks at the changes that happened by themselves, and at whether a call has broken a promise meanwhile.
    fn look(&self) -> Result<(), Violation> {
        let mut known = self.known();
        let Known { ledger, reference, violation, seen, .. } = &mut *known;
        self.stage.world(|world| {
            let by_now = (world.calls.len(), world.events.log.len());
            match std::mem::replace(seen, by_now) == by_now {
                true => ledger.look_at_instances(world),
                false => absorb(world, ledger, reference),
            }
        });
        violation.take().map_or(Ok(()), Err)
    }

    /// If all events came, judges whether they alone have brought everything about.
    fn judge_before_sweeps(&self) -> Result<(), Violation> {
        let struck = self.struck.all();
        let is_struck = |kind| struck.contains_key(kind);
        let (is_stale, is_lost) = (is_struck("stale"), is_struck("event lost") || is_struck("order lost"));
        // A description that is older than a whole stop and start looks like one of an instance that never stopped. Only the
        // simulation starts and stops within seconds.
        let is_started = self.plan.steps.iter().any(|step| matches!(step.deed, Deed::Start(_) | Deed::InService(_)));
        if is_lost || (is_stale && self.plan.weather.is_quick && is_started) {
            return Ok(());
        }
        let names = self.plan.instances.iter().map(|instance| instance.name.as_str());
        let instances: Vec<&str> = names.filter(|name| !self.plan.is_changed_silently(name)).collect();
        let told = Told { instances: &instances, is_stale };
        let known = self.known();
        let violation =
            self.stage.world(|world| promise::left_to_a_sweep(world, &known.ledger, &known.reference, told));
        violation.map_or(Ok(()), Err)
    }

    fn judge_at_rest(&self) -> Result<(), Violation> {
        let (cost, known) = (self.cost(), self.known());
        let violation = self.stage.world(|world| {
            promise::at_rest(world, &known.ledger, &known.reference)
                .or_else(|| dead_letters(world))
                .or_else(|| failed_sweep(world))
                .or_else(|| promise::ran_out(world).filter(|_| self.are_hooks_certain()))
                .or_else(|| cost.violation(world))
        });
        violation.map_or(Ok(()), Err)
    }

    /// Returns whether no hook may run out. "A lifecycle action whose event EventBridge never delivers ends by its hook's own clock"
    /// (docs/limits.md), as may one whose calls all fail for a quarter of an hour.
    fn are_hooks_certain(&self) -> bool {
        let Plan { deliveries, strikes, weather, .. } = self.plan;
        let is_single = |strike: &Strike| matches!(strike, Strike::Call(..) | Strike::Of(..));
        let all_come = deliveries.iter().all(|(_, fault)| *fault == EventFault::Twice);
        let are_few = strikes.len() <= usize::from(!self.plan.has_short_hooks());
        all_come && strikes.iter().all(is_single) && are_few && weather.throttle.is_none()
    }

    fn violation(&self, promise: Promise, what: impl Into<String>) -> Violation {
        self.stage.world(|world| Violation::of(promise, world, what))
    }

    fn cost(&self) -> Cost {
        let struck = self.struck.all();
        let made_up = self.plan.steps.iter().filter(|step| matches!(step.deed, Deed::MakeUpEvents(_))).count();
        self.stage.world(|world| Cost {
            calls: world.calls.len(),
            events: world.events.log.len()
                + made_up * deed::MADE_UP_EVENTS
                + ["event twice", "order twice"].iter().filter_map(|kind| struck.get(kind)).sum::<usize>(),
            sweeps: world.lambda.log.iter().filter(|ended| ended.function == RECONCILE).count(),
            waited: waited(world),
            balancers: self.plan.balancers.len(),
            struck: struck
                .iter()
                .filter(|(kind, _)| !kind.starts_with("event") && !kind.starts_with("order"))
                .map(|(_, count)| count)
                .sum(),
        })
    }
}

impl Known {
    /// Judges a call right after its work was done.
    fn judge(&mut self, world: &World, call: &Call) {
        let Self { ledger, reference, violation, .. } = self;
        let changes = ledger.look(world, &reference.declared).by(call);
        ledger.remember_late(world, &changes);
        let found = promise::taken_without_right(world, ledger, &changes)
            .or_else(|| promise::given_without_right(world, ledger, &changes))
            .or_else(|| promise::foreign_tags_touched(world, ledger))
            .or_else(|| promise::taken_and_not_held(world, ledger, &changes))
            .or_else(|| promise::lost(world, ledger, reference, &changes))
            .or_else(|| promise::completed_too_early(world, ledger, reference).filter(|_| is_completion(call)))
            .or_else(|| promise::registered_in_vain(world, call));
        reference.look(world, ledger);
        ledger.foreign_tags = view::foreign_tags(world);
        if violation.is_none() {
            *violation = found.map(|found| Violation {
                what: format!("{} (call {}, {} by {})", found.what, call.number, call.action, call.access_key),
                ..found
            });
        }
    }
}

/// Returns the seconds that instances have waited at hooks, all together.
fn waited(world: &World) -> usize {
    let ended = world.auto_scaling.ended_actions.iter().map(|ended| ended.ended - ended.action.begun);
    ended.map(|waited| usize::try_from(waited.num_seconds()).unwrap_or_default()).sum()
}

fn is_completion(call: &Call) -> bool {
    call.action == "CompleteLifecycleAction" && call.outcome == Some(Ok(()))
}

/// Takes over the changes that no function's call made.
fn absorb(world: &World, ledger: &mut Ledger, reference: &mut Reference) {
    ledger.look(world, &reference.declared);
    reference.look(world, ledger);
    ledger.foreign_tags = view::foreign_tags(world);
}

/// Returns a message that failed for as long as its queue allows, or that no function understood. (A sweep that failed while the
/// faults lasted goes to a queue of its own, and the next one comes by itself.)
fn dead_letters(world: &World) -> Option<Violation> {
    let mut queues = [DEAD_LETTERS, DEAD_ORDERS, UNDELIVERED, LIFECYCLE_DEAD_LETTERS]
        .into_iter()
        .filter_map(|name| world.sqs.queue(name));
    let message = queues.find_map(|queue| queue.messages().next())?;
    Some(Violation::of(Promise::ItComesToRest, world, format!("a dead letter: {}", message.body)))
}

/// Returns the last sweep if it failed at its last attempt: only the published limits can have disturbed it.
fn failed_sweep(world: &World) -> Option<Violation> {
    let last = world.lambda.log.iter().rfind(|ended| ended.function == RECONCILE)?;
    let error = last.result.as_ref().err()?;
    Some(Violation::of(Promise::ItComesToRest, world, format!("the last sweep failed: {error}")))
}

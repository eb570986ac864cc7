//! A simulated AWS that misbehaves as AWS does: the part of EC2, Elastic Load Balancing, Auto Scaling, SQS, EventBridge and
//! Lambda that elb-registrar meets.
//!
//! Layers, from the inside out:
//! - the state of the services ([`World`]; one module a service, each with its state and, in `wire.rs`, its operations);
//! - wire: requests in, bytes out ([`wire`]), in-process ([`connector`]) or over a socket ([`server`]);
//! - permissions: what a function's role and a queue's policy allow ([`iam`]);
//! - delivery: time ([`clock`], [`agenda`]), events to queues to functions ([`events`], [`sqs`], [`lambda`]);
//! - faults ([`fault`]), and the limits on calls ([`throttle`]);
//! - checkers: clients whose requests go through the balancers, and the outcome of each ([`traffic`]).
//!
//! The sandbox refuses whatever AWS refuses, in AWS's words. Unverified behaviour is a switch in [`Options`]. An operation or
//! parameter that is not modelled fails loudly. Nothing that runs in AWS depends on this crate.

pub mod agenda;
pub mod auto_scaling;
pub mod call;
pub mod clock;
pub mod cloudformation;
pub mod connector;
pub mod deployment;
pub mod ec2;
pub mod elb;
pub mod elbv2;
pub mod events;
pub mod fault;
pub mod fleet;
pub mod history;
pub mod iam;
pub mod lambda;
pub mod log_line;
pub mod options;
pub mod quotas;
pub mod server;
pub mod sqs;
pub mod sts;
pub mod tagging;
pub mod throttle;
pub mod traffic;
pub mod wire;
pub mod world;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, task::JoinSet};

pub use call::Call;
pub use clock::{Clock, Timestamp};
pub use fault::{Rule, Verdict};
pub use options::{
    ForbiddenCharacters, Options, ReservationWarning, RoutingLag, SameAddressWhileDraining, Span, SpotReclaim,
};
pub use throttle::Throttle;
pub use world::{ACCOUNT, REGION, World};

use wire::{Answer, ApiError, Request, Service};

/// A handle on a simulated AWS. Clones are the same AWS.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    clock: Clock,
    /// Notified whenever a deed was entered in the agenda, perhaps earlier than the next one.
    changed: Arc<Notify>,
    latency_dice: Mutex<fastrand::Rng>,
}

/// The caller's view of an answer.
#[derive(Debug)]
pub enum Reply {
    /// A response.
    Answered(http::Response<Bytes>),
    /// The connection broke after the work was done.
    Lost,
    /// The caller's process ends, and gets no answer.
    CallerKilled,
}

/// Takes a fault away again when dropped.
#[must_use = "the fault ends when this is dropped"]
pub struct FaultGuard {
    sandbox: Sandbox,
    number: u64,
}

impl Sandbox {
    /// Returns a new, empty AWS, and starts the task that lets things happen in it by themselves.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(clock: Clock, options: Options) -> Self {
        let latency_dice = Mutex::new(World::dice(options.seed, "latency"));
        let world = Mutex::new(World::new(&clock, options));
        let sandbox = Self { shared: Arc::new(Shared { world, clock, changed: Arc::default(), latency_dice }) };
        tokio::spawn(let_things_happen(Arc::downgrade(&sandbox.shared)));
        sandbox
    }

    /// Returns a new AWS on virtual time, with the default choices.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn in_virtual_time() -> Self {
        Self::new(Clock::virtual_time(), Options::default())
    }

    /// Returns the simulation's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Looks at the world or changes it, after everything that is due has happened.
    pub fn with<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        world.advance_to(self.shared.clock.now());
        let result = look(&mut world);
        drop(world);
        self.shared.changed.notify_one();
        result
    }

    /// Lets simulated time pass.
    pub async fn advance(&self, duration: Duration) {
        self.shared.clock.sleep(duration).await;
        self.with(|_| ());
    }

    /// Puts a fault in force, after the present ones.
    pub fn fault(&self, rule: impl Rule + 'static) -> FaultGuard {
        let number = self.with(|world| {
            let number = world.invent_number();
            world.rules.push((number, Box::new(rule)));
            number
        });
        FaultGuard { sandbox: self.clone(), number }
    }

    /// Serves one request. A call on its way takes effect even if its caller stands still meanwhile, but not after the caller has
    /// given up or is gone.
    ///
    /// # Panics
    /// If a watcher or a rule of a fault panics.
    pub async fn call(&self, request: http::Request<Bytes>) -> Reply {
        let sandbox = self.clone();
        // It aborts its tasks when it is dropped.
        let mut under_way = JoinSet::new();
        under_way.spawn(async move { sandbox.serve(request).await });
        match under_way.join_next().await {
            Some(Ok(reply)) => reply,
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            _ => std::future::pending().await,
        }
    }

    /// Decodes a request, lets a fault strike, does the work, logs the call, encodes the answer.
    async fn serve(&self, request: http::Request<Bytes>) -> Reply {
        self.wait_a_latency().await;
        let request = match Request::decode(&request) {
            Ok(request) => request,
            Err(error) => {
                return Reply::Answered(wire::encode(&Request::undecoded(&request), &Err(error), "undecoded"));
            }
        };
        let (number, verdict) = self.with(|world| log_call(world, &request));
        if let Verdict::Delay(delay) = verdict {
            self.shared.clock.sleep(delay).await;
        }
        if verdict == Verdict::KillBefore {
            self.with(|world| lambda::kill_caller(world, &request.access_key));
            return Reply::CallerKilled;
        }
        let (outcome, date) = self.with(|world| {
            let outcome = match &verdict {
                Verdict::Refuse(error) => Err(error.clone()),
                Verdict::Stale(age) => permitted_answer(world, &request, *age),
                _ => permitted_answer(world, &request, Duration::ZERO),
            };
            // A test may have emptied the log since.
            if let Some(call) = world.calls.iter_mut().rev().find(|call| call.number == number) {
                call.outcome = Some(outcome.as_ref().map(|_| ()).map_err(|e| e.code.clone()));
                let call = call.clone();
                world.show_to_watchers(&call);
            }
            (outcome, world.now())
        });
        self.wait_a_latency().await;
        match verdict {
            Verdict::LoseAnswer => Reply::Lost,
            Verdict::NeverAnswer => std::future::pending().await,
            Verdict::FreezeAfter(duration) => {
                self.with(|world| lambda::freeze_caller(world, &request.access_key, duration));
                Reply::Answered(self.answer_at(&request, &outcome, number, date))
            }
            Verdict::KillAfter => {
                self.with(|world| lambda::kill_caller(world, &request.access_key));
                Reply::CallerKilled
            }
            _ => Reply::Answered(self.answer_at(&request, &outcome, number, date)),
        }
    }

    /// Encodes an answer, with the time at which it was given.
    fn answer_at(
        &self,
        request: &Request,
        outcome: &Result<Answer, ApiError>,
        number: u64,
        date: Timestamp,
    ) -> http::Response<Bytes> {
        let mut response = wire::encode(request, outcome, &format!("{number:08x}-sandbox"));
        if self.with(|world| world.options.forbidden_characters) == ForbiddenCharacters::AsReferences {
            response = response.map(wire::with_references);
        }
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = http::HeaderValue::from_str(&date) {
            response.headers_mut().insert(http::header::DATE, date);
        }
        response
    }

    async fn wait_a_latency(&self) {
        let span = self.lock().options.latency;
        let latency = span.draw(&mut self.shared.latency_dice.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.clock.sleep(latency).await;
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic of one test's look at the world is that test's failure; the world is still good for its message.
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lock().fmt(f)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        let number = self.number;
        self.sandbox.with(|world| world.rules.retain(|(n, _)| *n != number));
    }
}

/// Runs until the last handle on the sandbox is gone, and keeps none itself while it waits.
async fn let_things_happen(shared: std::sync::Weak<Shared>) {
    loop {
        let Some(sandbox) = shared.upgrade().map(|shared| Sandbox { shared }) else { return };
        let (clock, changed) = (sandbox.shared.clock.clone(), sandbox.shared.changed.clone());
        let next = {
            let mut world = sandbox.lock();
            world.advance_to(clock.now());
            world.agenda.next()
        };
        drop(sandbox);
        match next {
            Some(at) => {
                tokio::select! {
                    () = clock.sleep_until(at) => {}
                    () = changed.notified() => {}
                }
            }
            None => changed.notified().await,
        }
    }
}

fn log_call(world: &mut World, request: &Request) -> (u64, Verdict) {
    let number = world.calls.last().map_or(1, |last| last.number + 1);
    let call = Call::new(number, world.now(), request);
    let verdict = world
        .rules
        .iter_mut()
        .map(|(_, rule)| rule.verdict(&call))
        .find(|verdict| *verdict != Verdict::Pass)
        .unwrap_or(Verdict::Pass);
    world.calls.push(call);
    (number, verdict)
}

/// Does a call's work, if its caller may do it.
fn permitted_answer(world: &mut World, request: &Request, age: Duration) -> Result<Answer, ApiError> {
    iam::check_call(world, request)?;
    answer(world, request, age)
}

/// Does a call's work. A reading call sees the world of `age` ago.
fn answer(world: &mut World, request: &Request, age: Duration) -> Result<Answer, ApiError> {
    let as_of = world.now() - clock::delta(age);
    let answer = match request.service {
        Service::Ec2 => ec2::answer(world, request, as_of),
        Service::Elb => elb::answer(world, request, as_of),
        Service::ElbV2 => elbv2::answer(world, request, as_of),
        Service::AutoScaling => auto_scaling::answer(world, request, as_of),
        Service::Sqs => sqs::answer(world, request),
        Service::Events => events::answer(world, request),
        Service::Sts => sts::answer(request),
        Service::CloudFormation => cloudformation::answer(world, request),
        Service::Lambda => lambda::answer(world, request),
        Service::Tagging => tagging::answer(world, request),
        Service::Quotas => quotas::answer(request),
    }?;
    if let wire::Body::Query(params) = &request.body
        && let Some(field) = params.unread().first()
    {
        return Err(ApiError::not_modelled(format!("the parameter {field} of {}", request.action)));
    }
    Ok(answer)
}

//! The state of the simulated AWS: one account, one Region, all services, and what will happen next.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    agenda::Agenda,
    auto_scaling,
    call::Call,
    clock::{Clock, Timestamp, delta},
    deployment::Stack,
    ec2, elb, elbv2, events,
    fault::Rule,
    iam, lambda,
    options::Options,
    sqs, traffic,
};

/// The account that everything belongs to: AWS's own example.
pub const ACCOUNT: &str = "123456789012";

/// The Region that everything is in.
pub const REGION: &str = "us-east-1";

/// Looks at the world as it is right after a call. It must not panic: it runs within the function that made the call.
pub type Watcher = Box<dyn FnMut(&World, &Call) + Send>;

/// Everything there is.
pub struct World {
    /// The state of the services. Each has a module of the same name.
    pub ec2: ec2::State,
    /// Classic Load Balancers.
    pub elb: elb::State,
    /// Load balancers of the newer kinds, listeners, target groups.
    pub elbv2: elbv2::State,
    /// Auto Scaling groups.
    pub auto_scaling: auto_scaling::State,
    /// Queues and their messages.
    pub sqs: sqs::State,
    /// The event bus and its rules.
    pub events: events::State,
    /// Functions, their event sources, and invocations.
    pub lambda: lambda::State,
    /// Roles and their policies, and the results of checks.
    pub iam: iam::State,
    /// Clients, and the outcomes of their requests.
    pub traffic: traffic::State,
    /// The project's stack, if it is deployed.
    pub stack: Option<Stack>,
    /// The sandbox's choices where AWS leaves one.
    pub options: Options,
    /// Every call so far.
    pub calls: Vec<Call>,
    /// Functions that look at every call right after its work was done, before anything else happens.
    pub watchers: Vec<Watcher>,
    /// Faults in force, asked in order.
    pub(crate) rules: Vec<(u64, Box<dyn Rule>)>,
    pub(crate) agenda: Agenda,
    now: Timestamp,
    /// Numbers for ids and names that AWS would invent.
    serial: u64,
}

impl World {
    pub(crate) fn new(clock: &Clock, options: Options) -> Self {
        Self {
            ec2: ec2::State::default(),
            elb: elb::State::default(),
            elbv2: elbv2::State::default(),
            auto_scaling: auto_scaling::State::default(),
            sqs: sqs::State::default(),
            events: events::State::default(),
            lambda: lambda::State::default(),
            iam: iam::State::default(),
            traffic: traffic::State::default(),
            stack: None,
            options,
            calls: Vec::new(),
            watchers: Vec::new(),
            rules: Vec::new(),
            agenda: Agenda::default(),
            now: clock.now(),
            serial: 0xa0,
        }
    }

    /// Returns the time: of the deed under way, else of the last look at the clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets a deed happen later.
    pub fn after(&mut self, wait: Duration, deed: impl FnOnce(&mut World) + Send + 'static) {
        self.agenda.enter(self.now + delta(wait), deed);
    }

    /// Does everything that is due up to a time, each deed at its own.
    pub(crate) fn advance_to(&mut self, now: Timestamp) {
        while let Some((at, deed)) = self.agenda.take_due(now) {
            traffic::catch_up(self, at);
            self.now = self.now.max(at);
            deed(self);
        }
        traffic::catch_up(self, now);
        self.now = self.now.max(now);
    }

    /// Shows a call whose work was just done to the watchers.
    pub(crate) fn show_to_watchers(&mut self, call: &Call) {
        let mut watchers = std::mem::take(&mut self.watchers);
        for watcher in &mut watchers {
            watcher(self, call);
        }
        self.watchers = watchers;
    }

    /// Returns a new id such as `i-00000000000000a1`: of the right form, and plainly not real.
    pub fn invent_id(&mut self, prefix: &str) -> String {
        format!("{prefix}-{:017x}", self.invent_number())
    }

    /// Returns a new number, for ids of other forms.
    pub fn invent_number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Returns a new id in the form of a UUID, plainly not real either.
    pub fn invent_uuid(&mut self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.invent_number())
    }

    /// Returns a generator of one subsystem's own, so that a new draw in one shifts nothing in another.
    pub fn dice(seed: u64, subsystem: &str) -> Rng {
        let salt =
            subsystem.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Rng::with_seed(seed ^ salt)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("agenda", &self.agenda).finish_non_exhaustive()
    }
}

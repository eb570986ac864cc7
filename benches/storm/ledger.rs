//! The ledger of a storm, written call by call: the present registrations, and the calls.
//!
//! It looks at the sandbox's own state, and only at the balancer that a call was about: so it can look after every call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sandbox::{
    Call, World,
    clock::Timestamp,
    elb,
    elbv2::{self, Standing},
    wire::Service,
};

use crate::account::Account;

/// The codes by which EC2, and Elastic Load Balancing, refuse calls that come too fast.
const THROTTLED: [&str; 2] = ["RequestLimitExceeded", "Throttling"];

/// How often an operation was called.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// In all.
    pub(crate) made: usize,
    /// Refused, because the account's bucket was empty.
    pub(crate) throttled: usize,
    /// Refused for another reason.
    pub(crate) failed: usize,
}

/// A handle on the ledger's pages. Clones are the same ledger.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Pages>>);

/// The ledger's pages.
#[derive(Default)]
pub(crate) struct Pages {
    /// Calls since the beginning of the phase, by service and operation.
    pub(crate) calls: BTreeMap<String, Count>,
    /// When no instance was registered any more.
    pub(crate) out: Option<Timestamp>,
    /// When all instances were registered again.
    pub(crate) back: Option<Timestamp>,
    /// Registrations by balancer.
    members: BTreeMap<String, usize>,
    /// All of them.
    registered: usize,
    /// The number of registrations in the beginning.
    full: usize,
}

impl Ledger {
    /// Looks at every call from now on.
    pub(crate) fn of(account: &Account) -> Self {
        let ledger = Self::default();
        let watching = ledger.clone();
        account.stage.world(|world| {
            let mut pages = ledger.pages();
            pages.members = account.balancers().map(|name| (name.clone(), count_members(world, name))).collect();
            pages.full = pages.members.values().sum();
            pages.registered = pages.full;
            world.watchers.push(Box::new(move |world, call| watching.pages().write(world, call)));
        });
        ledger
    }

    /// Forgets the calls and their times, but not the registrations.
    pub(crate) fn turn_over(&self) {
        let mut pages = self.pages();
        (pages.calls, pages.out, pages.back) = (BTreeMap::new(), None, None);
    }

    /// Returns the present pages.
    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn write(&mut self, world: &World, call: &Call) {
        let count = self.calls.entry(name(call)).or_default();
        count.made += 1;
        match &call.outcome {
            Some(Err(code)) if THROTTLED.contains(&code.as_str()) => count.throttled += 1,
            Some(Err(_)) => count.failed += 1,
            _ => self.look(world, call),
        }
    }

    /// Counts the members of the balancer that a call has changed.
    fn look(&mut self, world: &World, call: &Call) {
        let is_change = call.action.starts_with("Register") || call.action.starts_with("Deregister");
        let of_balancer = |(name, _): &&(String, String)| name == "TargetGroupArn" || name == "LoadBalancerName";
        let Some((_, balancer)) = call.parameters.iter().find(of_balancer).filter(|_| is_change) else { return };
        let Some(known) = self.members.get_mut(balancer) else { return };
        let now = count_members(world, balancer);
        self.registered = self.registered - *known + now;
        *known = now;
        if self.registered == 0 {
            self.out.get_or_insert(world.now());
        }
        if self.registered == self.full {
            self.back.get_or_insert(world.now());
        }
    }
}

/// Returns an operation as AWS's own documentation has it. The older of two services with one name is marked.
fn name(call: &Call) -> String {
    match call.service {
        Service::Elb => format!("Classic: {}", call.action),
        _ => call.action.clone(),
    }
}

/// Returns how many targets are registered with a balancer, without draining ones.
fn count_members(world: &World, balancer: &str) -> usize {
    match balancer.starts_with("arn:") {
        true => elbv2::targets(world, balancer).iter().filter(|target| target.state == Standing::Registered).count(),
        false => elb::members(world, balancer).len(),
    }
}

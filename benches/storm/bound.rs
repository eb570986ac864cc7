//! What a storm costs at the least: the calls that every correct program has to make, and how soon the buckets let them through.
//!
//! The bound assumes
//! - that nothing is known beforehand: which groups there are and who is in them is read once, for all instances that stop together;
//! - that a listing is read in the largest pages, and tells which groups cannot have any of the instances;
//! - that whoever takes a target out knows that nobody else looks after its group or load balancer, by their tags, 20 to a call;
//! - that what is taken is written down before, in the instances' tags: one call for all instances that have the same, 1,000 of them;
//! - that targets are named 200 to a call, one call for each balancer at the least (no maximum is documented; the AWS Load Balancer
//!   Controller sends 200 on the service team's advice);
//! - that what is given back is seen in place once, group by group, before it is forgotten, and that this is one call for all that held
//!   the same;
//! - that the buckets are full in the beginning, that nothing is refused, and that all calls are made at once, as far as the buckets
//!   let them: no event, answer or invocation takes any time, and none of the calls has to wait for another.
//!
//! So it cannot be reached: the first deregistration of a real program comes after a scan, and the last one before its answer.

use std::collections::BTreeMap;

use sandbox::throttle::{ApiSet, Throttle};

use crate::account::{Account, Service};

/// Groups or load balancers on a page.
const PAGE: usize = 400;

/// Instances on a page of DescribeInstances, and resources of a call that tags.
const INSTANCES: usize = 1_000;

/// Names in a DescribeTags call.
const NAMES: usize = 20;

/// Targets in a call.
const TARGETS: usize = 200;

/// Calls, by the bucket that they take their tokens from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work(BTreeMap<ApiSet, usize>);

impl Work {
    /// The least that takes all instances of an account out.
    pub(crate) fn of_taking_out(account: &Account) -> Self {
        let mut work = Self::default();
        let used = || account.used();
        work.add(ApiSet::Ec2Describe, account.instances.len().div_ceil(INSTANCES));
        work.add(ApiSet::Describe, scan(account));
        let groups: usize = used().map(|service| service.groups.len()).sum();
        work.add(ApiSet::Describe, (groups + used().count()).div_ceil(NAMES));
        let classic = used().filter(|service| service.classic.is_some()).count();
        work.add(
            ApiSet::ClassicDescribe,
            account.services.iter().filter(|s| s.classic.is_some()).count().div_ceil(PAGE),
        );
        work.add(ApiSet::ClassicDescribe, classic.div_ceil(NAMES));
        work.add(ApiSet::CreateTags, used().map(|service| service.instances.div_ceil(INSTANCES)).sum());
        work.add_changes(account);
        work
    }

    /// The least that gives everything back, and forgets it.
    pub(crate) fn of_giving_back(account: &Account) -> Self {
        let mut work = Self::default();
        let used = || account.used();
        work.add(ApiSet::Ec2Describe, account.instances.len().div_ceil(INSTANCES));
        work.add(ApiSet::Describe, used().map(|service| service.groups.len()).sum());
        let classic = used().filter(|service| service.classic.is_some()).count();
        work.add(ApiSet::ClassicDescribe, classic.div_ceil(PAGE));
        work.add(ApiSet::DeleteTags, used().map(|service| service.instances.div_ceil(INSTANCES)).sum());
        work.add_changes(account);
        work
    }

    /// What it costs to look through all groups anew for each instance that stops: what it must not cost.
    pub(crate) fn of_a_scan_for_each(account: &Account) -> Self {
        Self([(ApiSet::Describe, scan(account) * account.instances.len())].into())
    }

    fn add(&mut self, set: ApiSet, calls: usize) {
        *self.0.entry(set).or_default() += calls;
    }

    fn add_changes(&mut self, account: &Account) {
        let calls = |service: &Service| service.instances.div_ceil(TARGETS);
        self.add(ApiSet::Register, account.used().map(|service| calls(service) * service.groups.len()).sum());
        let classic = account.used().filter(|service| service.classic.is_some());
        self.add(ApiSet::ClassicRegister, classic.map(calls).sum());
    }

    /// All calls.
    pub(crate) fn calls(&self) -> usize {
        self.0.values().sum()
    }

    /// How many seconds it takes until the buckets have let the last call through.
    pub(crate) fn seconds(&self, throttle: &Throttle) -> f64 {
        let seconds = self.0.iter().map(|(set, calls)| {
            let (size, refill) = throttle.limits(*set);
            f64::max(0.0, *calls as f64 - size) / refill
        });
        seconds.fold(0.0, f64::max)
    }
}

/// One reading of all target groups: the listing, and each group that could have one of the instances.
fn scan(account: &Account) -> usize {
    account.groups.div_ceil(PAGE) + account.candidates
}

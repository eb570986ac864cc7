//! What a storm costs at the least: the calls that every correct program has to make, and how soon the buckets let them through.
//!
//! The bound assumes
//! - that nothing is known beforehand: which groups there are and who is in them is read once, for all instances that stop, and at no
//!   particular time;
//! - that a listing is read in the largest pages, and tells which groups cannot have any of the instances;
//! - that whoever takes a target out knows that nobody else looks after its group or load balancer, by their tags, 20 to a call;
//! - that what is taken is written down before, in the instances' tags: one call for all instances that have the same, 1,000 of them;
//! - that targets are named 200 to a call, one call for each balancer at the least (no maximum is documented; the AWS Load Balancer
//!   Controller sends 200 on the service team's advice);
//! - that what is given back is seen in place once, group by group, before it is forgotten, and that this is one call for all that held
//!   the same;
//! - that what is done for an instance is done after it has stopped, or after it runs: of the calls for a balancer, one comes after the
//!   last of its instances, one after the last but 200, and so on;
//! - that the buckets are full whenever that is best, that nothing is refused, and that all calls are made at once, as far as the
//!   buckets let them: no event, answer or invocation takes any time, and none of the calls has to wait for another.
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

/// Calls, by the bucket that they take their tokens from: for each of them, how many seconds after the beginning it can be made at
/// the earliest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work(BTreeMap<ApiSet, Vec<f64>>);

impl Work {
    /// The least that takes all instances of an account out, each of which stops at a time.
    pub(crate) fn of_taking_out(account: &Account, times: &[f64]) -> Self {
        let mut work = Self::default();
        let used = || account.used();
        work.add_for(ApiSet::Ec2Describe, times, INSTANCES);
        work.add(ApiSet::Describe, scan(account));
        let groups: usize = used().map(|service| service.groups.len()).sum();
        work.add(ApiSet::Describe, (groups + used().count()).div_ceil(NAMES));
        let classic = used().filter(|service| service.classic.is_some()).count();
        work.add(
            ApiSet::ClassicDescribe,
            account.services.iter().filter(|s| s.classic.is_some()).count().div_ceil(PAGE),
        );
        work.add(ApiSet::ClassicDescribe, classic.div_ceil(NAMES));
        work.add_changes(account, ApiSet::CreateTags, times);
        work
    }

    /// The least that gives everything back, and forgets it, to instances each of which runs from a time on.
    pub(crate) fn of_giving_back(account: &Account, times: &[f64]) -> Self {
        let mut work = Self::default();
        let used = || account.used();
        work.add_for(ApiSet::Ec2Describe, times, INSTANCES);
        for service in used() {
            for _ in &service.groups {
                work.add_for(ApiSet::Describe, &of_service(service, times), usize::MAX);
            }
        }
        let classic = used().filter(|service| service.classic.is_some()).count();
        work.add(ApiSet::ClassicDescribe, classic.div_ceil(PAGE));
        work.add_changes(account, ApiSet::DeleteTags, times);
        work
    }

    /// What it costs to look through all groups anew for each instance that stops: what it must not cost.
    pub(crate) fn of_a_scan_for_each(account: &Account) -> Self {
        let mut work = Self::default();
        work.add(ApiSet::Describe, scan(account) * account.instances.len());
        work
    }

    /// Adds calls that can be made from the beginning.
    fn add(&mut self, set: ApiSet, calls: usize) {
        self.0.entry(set).or_default().extend(std::iter::repeat_n(0.0, calls));
    }

    /// Adds the calls for some instances, so many of them to a call: the last call waits for the last instance, the one before it
    /// for the last that does not fit into that, and so on.
    fn add_for(&mut self, set: ApiSet, times: &[f64], instances_a_call: usize) {
        let mut times = times.to_vec();
        times.sort_by(|a, b| b.total_cmp(a));
        self.0.entry(set).or_default().extend(times.into_iter().step_by(instances_a_call));
    }

    /// Adds what is written: at each balancer for its instances, and into their tags.
    fn add_changes(&mut self, account: &Account, tagging: ApiSet, times: &[f64]) {
        for service in account.used() {
            let times = of_service(service, times);
            self.add_for(tagging, &times, INSTANCES);
            for _ in &service.groups {
                self.add_for(ApiSet::Register, &times, TARGETS);
            }
            if service.classic.is_some() {
                self.add_for(ApiSet::ClassicRegister, &times, TARGETS);
            }
        }
    }

    /// All calls.
    pub(crate) fn calls(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// How many seconds after the beginning the buckets have let the last call through, at the earliest.
    pub(crate) fn seconds(&self, throttle: &Throttle) -> f64 {
        let sets = self.0.iter().map(|(set, times)| finished(times, throttle.limits(*set)));
        sets.fold(0.0, f64::max)
    }
}

/// When a bucket has let all calls through, whoever has the first turn: those that cannot come before some moment find a full bucket then
/// at the best, and of them no more than that and what flows in afterwards.
fn finished(times: &[f64], (size, refill): (f64, f64)) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(|a, b| b.total_cmp(a));
    let after = times.iter().zip(1_usize..).map(|(time, calls)| time + f64::max(0.0, calls as f64 - size) / refill);
    after.fold(0.0, f64::max)
}

/// The times of a service's instances.
fn of_service(service: &Service, times: &[f64]) -> Vec<f64> {
    service.instances.iter().map(|index| times[*index]).collect()
}

/// One reading of all target groups: the listing, and each group that could have one of the instances.
fn scan(account: &Account) -> usize {
    account.groups.div_ceil(PAGE) + account.candidates
}

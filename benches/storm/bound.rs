//! The least cost of a storm: the calls that every correct program has to make, and the earliest times at which the buckets let
//! them through.
//!
//! The bound assumes
//! - that nothing is known beforehand: the groups and their members are read once, for all instances that stop, and at no
//!   particular time;
//! - that a listing is read in the largest pages, and shows which groups cannot have any of the instances;
//! - that a program reads the tags of a target's group or load balancer before it deregisters the target, 20 to a call, so that
//!   it knows that it has no other owner;
//! - that a registration is written into the instances' tags before it is taken: one call for all instances that have the same,
//!   1,000 of them;
//! - that targets are named 200 to a call, one call for each balancer at least (no maximum is documented; the AWS Load Balancer
//!   Controller sends 200 on the service team's advice);
//! - that a registration is seen in place once, group by group, before its tag is forgotten, and that this is one call for all
//!   instances that held the same;
//! - that the work for an instance comes after it has stopped, or after it runs: of the calls for a balancer, one comes after the
//!   last of its instances, one after the last but 200, and so on;
//! - that the buckets are full at the best times, that no call is refused, and that all calls are made at once, as far as the
//!   buckets let them: no event, answer or invocation takes any time, and no call has to wait for another.
//!
//! So no program can reach it: the first deregistration of a real program comes after a scan, and the last one before its answer.

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

/// Calls, by the bucket that they take their tokens from: for each of them, how many seconds after the beginning it can be made
/// at the earliest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work(BTreeMap<ApiSet, Vec<f64>>);

impl Work {
    /// Returns the least work to take out all instances of an account, each of which stops at a time.
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

    /// Returns the least work to give everything back, and to forget it, for instances each of which runs from a time on.
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

    /// Returns the work of a scan of all groups for each instance that stops: a storm must not cost this much.
    pub(crate) fn of_repeated_scans(account: &Account) -> Self {
        let mut work = Self::default();
        work.add(ApiSet::Describe, scan(account) * account.instances.len());
        work
    }

    /// Adds calls that can be made from the beginning.
    fn add(&mut self, set: ApiSet, calls: usize) {
        self.0.entry(set).or_default().extend(std::iter::repeat_n(0.0, calls));
    }

    /// Adds the calls for some instances, with a number of them to a call. The last call waits for the last instance, the one
    /// before it for the last instance that does not fit into that, and so on.
    fn add_for(&mut self, set: ApiSet, times: &[f64], instances_a_call: usize) {
        let mut times = times.to_vec();
        times.sort_by(|a, b| b.total_cmp(a));
        self.0.entry(set).or_default().extend(times.into_iter().step_by(instances_a_call));
    }

    /// Adds the writing calls: at each balancer for its instances, and for their tags.
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

    /// Returns all calls.
    pub(crate) fn calls(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Returns how many seconds after the beginning the buckets have let the last call through, at the earliest.
    pub(crate) fn seconds(&self, throttle: &Throttle) -> f64 {
        let sets = self.0.iter().map(|(set, times)| finished(times, throttle.limits(*set)));
        sets.fold(0.0, f64::max)
    }
}

/// Returns when a bucket has let all calls through, whichever call has the first turn. Calls that cannot come before some moment
/// find a full bucket then at best, and of them no more pass than that and the later refill.
fn finished(times: &[f64], (size, refill): (f64, f64)) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(|a, b| b.total_cmp(a));
    let after = times.iter().zip(1_usize..).map(|(time, calls)| time + f64::max(0.0, calls as f64 - size) / refill);
    after.fold(0.0, f64::max)
}

/// Returns the times of a service's instances.
fn of_service(service: &Service, times: &[f64]) -> Vec<f64> {
    service.instances.iter().map(|index| times[*index]).collect()
}

/// Returns one reading of all target groups: the listing, and each group that could have one of the instances.
fn scan(account: &Account) -> usize {
    account.groups.div_ceil(PAGE) + account.candidates
}

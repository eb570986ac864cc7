//! How fast AWS is called: within a part of what the account may, and slower if that is still too fast.
//!
//! The limits on calls belong to an account and Region: a token bucket for each set of APIs. Other controllers use it,
//! too: the AWS Load Balancer Controller, Terraform, people at the console. (EC2, ECS, Auto Scaling and CloudFormation
//! have buckets of their own.) So a process takes at most half of what a bucket holds. Of what flows in it takes four
//! fifths for reading and nineteen twentieths for writing. AWS refuses calls if others use more than the rest, or if an
//! account has smaller buckets than those published. Then the rate is halved, and grows again as long as nothing is
//! refused.
//!
//! Waiting for a token costs time and is no failure. A call may still be refused after the SDK's own attempts. Then it
//! is made again while the invocation has time left: a scan of 500 groups must not be lost to its last call.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use protocol::{call_error::CallError, timing::INVOCATION_RESERVE};
use tokio::time::{Instant as MonotonicTime, sleep};

/// The share of a bucket's size that is taken at once.
///
/// Too small: a single stop among a hundred target groups waits. Too large: other callers find nothing at the moment of
/// a storm.
const SHARE_OF_SIZE: f64 = 0.5;

/// The share of the rate that comes back in a second without a refusal.
const RECOVERY: f64 = 0.02;

/// The share of the rate that is left after many refusals: at 4 a second, one call in five seconds.
const SLOWEST: f64 = 0.05;

/// How often the rate is halved at most: refusals of calls that were under way together are one message.
const SLOWED_EVERY: Duration = Duration::from_secs(1);

/// Calls that take their tokens from one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiSet {
    /// `Describe*` of EC2.
    Ec2Describe,
    /// `CreateTags`.
    CreateTags,
    /// `DeleteTags`.
    DeleteTags,
    /// `Describe*` of Classic Load Balancing.
    ClassicDescribe,
    /// `Register*` and `Deregister*` of Classic Load Balancing.
    ClassicRegister,
    /// `Describe*` of the newer load balancers.
    Describe,
    /// `RegisterTargets` and `DeregisterTargets`.
    Register,
}

/// A service with published limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// EC2.
    Ec2,
    /// Classic Load Balancing.
    Classic,
    /// The newer load balancers.
    ElasticLoadBalancingV2,
}

/// A set of APIs with its published bucket, and the share of its refill that is used.
struct Limits {
    set: ApiSet,
    service: Service,
    /// How the names of its operations begin.
    operations: &'static str,
    /// Calls at once.
    size: f64,
    /// Calls a second.
    refill: f64,
    share: f64,
}

/// The shares of a refill that reading and writing use.
///
/// Too small: a storm lasts longer. Too large: other callers find nothing for as long as it lasts. Writing decides that
/// time: at 4 calls a second, 500 groups take two minutes, and reading them takes ten seconds.
const READING: f64 = 0.8;
const WRITING: f64 = 0.95;

/// One line for each set, in the order of the sets. If two lines fit an operation, the first one counts.
///
/// Sources: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>, and
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html>, whose descriptions had
/// 40 and 10 until early 2026.
const LIMITS: [Limits; 7] = [
    limits(ApiSet::Ec2Describe, Service::Ec2, "Describe", 100.0, 20.0, READING),
    limits(ApiSet::CreateTags, Service::Ec2, "CreateTags", 100.0, 10.0, WRITING),
    limits(ApiSet::DeleteTags, Service::Ec2, "DeleteTags", 100.0, 10.0, WRITING),
    limits(ApiSet::ClassicDescribe, Service::Classic, "Describe", 200.0, 50.0, READING),
    limits(ApiSet::ClassicRegister, Service::Classic, "", 20.0, 4.0, WRITING),
    limits(ApiSet::Describe, Service::ElasticLoadBalancingV2, "Describe", 200.0, 50.0, READING),
    limits(ApiSet::Register, Service::ElasticLoadBalancingV2, "", 20.0, 4.0, WRITING),
];

const fn limits(set: ApiSet, service: Service, operations: &'static str, size: f64, refill: f64, share: f64) -> Limits {
    Limits { set, service, operations, size, refill, share }
}

impl ApiSet {
    /// Returns the set of an operation; `None` for one without published limits that matter here.
    pub fn of(service: Service, operation: &str) -> Option<Self> {
        let of_operation = |limits: &&Limits| limits.service == service && operation.starts_with(limits.operations);
        LIMITS.iter().find(of_operation).map(|limits| limits.set)
    }

    fn limits(self) -> &'static Limits {
        &LIMITS[self as usize]
    }
}

/// A process's share of the buckets, and how much of the invocation's time is left.
#[derive(Debug, Default)]
pub struct Budget {
    buckets: [Mutex<Bucket>; LIMITS.len()],
    patient_until: Mutex<Option<MonotonicTime>>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Tokens that were taken and have not flowed in again.
    missing: f64,
    /// When `missing` was last computed.
    reckoned_at: Option<MonotonicTime>,
    /// The share of the rate that refusals have taken away.
    slowed: f64,
    slowed_at: Option<MonotonicTime>,
}

impl Budget {
    /// Begins an invocation, which Lambda ends at its deadline. `None` if the deadline is not known: then no refused
    /// call is made again.
    pub fn begin(&self, deadline: Option<MonotonicTime>) {
        // The clock of a machine that has just booted may begin too late for this subtraction. Then there is no time to
        // spare.
        let until =
            deadline.map(|deadline| deadline.checked_sub(INVOCATION_RESERVE).unwrap_or_else(MonotonicTime::now));
        *self.patient_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Returns whether there is time to begin something that may take as long as a call takes.
    pub fn has_time(&self) -> bool {
        self.patient_until().is_none_or(|until| MonotonicTime::now() < until)
    }

    /// Makes a call when there is a token for it, and makes it again if AWS refused it as coming too fast.
    ///
    /// # Errors
    /// What the call says. That it came too fast only if the invocation has no time left for another attempt.
    pub(crate) async fn patiently<'c, T, F>(&self, set: ApiSet, call: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>> + Send + 'c,
    {
        loop {
            self.spend(set).await;
            // Boxed, or the futures of callers are too deep for the compiler's default limits.
            match call().boxed().await {
                Err(error) if error.is_throttled() && self.is_patient() => {
                    tracing::info!(why = error.to_sentence(), "called too fast, and calls again");
                }
                result => return result,
            }
        }
    }

    /// Waits for a token, and takes it.
    pub async fn spend(&self, set: ApiSet) {
        while let Some(wait) = self.bucket(set, |bucket| bucket.take(set, MonotonicTime::now())) {
            sleep(wait).await;
        }
    }

    /// Notes that a call came too fast.
    pub fn slow_down(&self, set: ApiSet) {
        self.bucket(set, |bucket| bucket.slow_down(set, MonotonicTime::now()));
    }

    /// Returns whether a refused call should be made again: the deadline is known, and there is time.
    pub fn is_patient(&self) -> bool {
        self.patient_until().is_some_and(|until| MonotonicTime::now() < until)
    }

    fn patient_until(&self) -> Option<MonotonicTime> {
        *self.patient_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket<T>(&self, set: ApiSet, act: impl FnOnce(&mut Bucket) -> T) -> T {
        act(&mut self.buckets[set as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bucket {
    /// Takes a token. If there is none, returns how long to wait for it.
    fn take(&mut self, set: ApiSet, now: MonotonicTime) -> Option<Duration> {
        let rate = self.reckon(set, now);
        let size = set.limits().size * SHARE_OF_SIZE;
        if self.missing + 1.0 > size {
            return Some(Duration::from_secs_f64((self.missing + 1.0 - size) / rate).max(Duration::from_millis(1)));
        }
        self.missing += 1.0;
        None
    }

    fn slow_down(&mut self, set: ApiSet, now: MonotonicTime) {
        self.reckon(set, now);
        // AWS has none left, so what was computed is wrong.
        self.missing = self.missing.max(set.limits().size * SHARE_OF_SIZE);
        if self.slowed_at.is_none_or(|at| now - at >= SLOWED_EVERY) {
            self.slowed_at = Some(now);
            self.slowed = f64::min(1.0 - SLOWEST, 1.0 - (1.0 - self.slowed) / 2.0);
        }
    }

    /// Adds the tokens that have flowed in since the last time. Returns the rate, in tokens a second.
    fn reckon(&mut self, set: ApiSet, now: MonotonicTime) -> f64 {
        let passed = self.reckoned_at.map_or(0.0, |at| (now - at).as_secs_f64());
        self.reckoned_at = Some(now);
        let full = set.limits().refill * set.limits().share;
        self.missing = f64::max(0.0, self.missing - passed * full * (1.0 - self.slowed));
        self.slowed = f64::max(0.0, self.slowed - passed * RECOVERY);
        full * (1.0 - self.slowed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn refusal() -> CallError {
        CallError::Refused { action: "X", code: "Throttling".to_owned(), message: "Rate exceeded".to_owned() }
    }

    /// Returns the seconds that some calls take that are answered at once.
    async fn seconds_for(budget: &Budget, set: ApiSet, calls: usize) -> f64 {
        let begun = MonotonicTime::now();
        for _ in 0..calls {
            budget.spend(set).await;
        }
        begun.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_bucket_is_available_at_once_and_then_its_refill() {
        for (index, Limits { set, size, refill, share, .. }) in LIMITS.into_iter().enumerate() {
            assert_eq!(set as usize, index, "{set:?}: the lines are in the order of the sets");
            let budget = Budget::default();
            assert_eq!(seconds_for(&budget, set, (size / 2.0) as usize).await, 0.0, "{set:?}");
            let more = seconds_for(&budget, set, 100).await;
            assert!((more - 100.0 / refill / share).abs() < 0.2, "{set:?}: {more} s for 100 calls");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_halves_the_rate_once_a_second_and_it_comes_back() {
        let budget = Budget::default();
        (0..8).for_each(|_| budget.slow_down(ApiSet::Describe));
        let slowed = seconds_for(&budget, ApiSet::Describe, 40).await;
        assert!((1.8..=2.1).contains(&slowed), "{slowed} s at half of 40 a second");
        sleep(Duration::from_secs(60)).await;
        seconds_for(&budget, ApiSet::Describe, 100).await;
        let full = seconds_for(&budget, ApiSet::Describe, 40).await;
        assert!((0.9..=1.1).contains(&full), "{full} s at 40 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn however_much_is_refused_a_call_is_made_again_and_again() {
        let budget = Budget::default();
        for _ in 0..100 {
            budget.slow_down(ApiSet::Register);
            sleep(SLOWED_EVERY).await;
        }
        assert!(seconds_for(&budget, ApiSet::Register, 20).await < 120.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_call_is_made_again_while_there_is_time() {
        let calls = AtomicUsize::new(0);
        let refuses = |times: usize| {
            let calls = &calls;
            move || {
                let is_refused = calls.fetch_add(1, Ordering::Relaxed) < times;
                async move { if is_refused { Err(refusal()) } else { Ok(()) } }
            }
        };
        let budget = Budget::default();
        assert!(
            budget.patiently(ApiSet::Describe, refuses(1)).await.is_err(),
            "without a deadline no call is made again"
        );
        calls.store(0, Ordering::Relaxed);
        budget.begin(Some(MonotonicTime::now() + Duration::from_secs(120)));
        assert!(budget.patiently(ApiSet::Describe, refuses(5)).await.is_ok());
        calls.store(0, Ordering::Relaxed);
        sleep(Duration::from_secs(80)).await;
        assert!(budget.patiently(ApiSet::Describe, refuses(1)).await.is_err(), "the invocation is about to end");
    }

    #[test]
    fn operations_are_told_apart_as_the_limits_are() {
        for (service, operation, set) in [
            (Service::Ec2, "DescribeInstances", Some(ApiSet::Ec2Describe)),
            (Service::Ec2, "CreateTags", Some(ApiSet::CreateTags)),
            (Service::Ec2, "DeleteTags", Some(ApiSet::DeleteTags)),
            (Service::Ec2, "RunInstances", None),
            (Service::Classic, "DescribeTags", Some(ApiSet::ClassicDescribe)),
            (Service::Classic, "DeregisterInstancesFromLoadBalancer", Some(ApiSet::ClassicRegister)),
            (Service::ElasticLoadBalancingV2, "DescribeTargetHealth", Some(ApiSet::Describe)),
            (Service::ElasticLoadBalancingV2, "RegisterTargets", Some(ApiSet::Register)),
        ] {
            assert_eq!(ApiSet::of(service, operation), set, "{operation}");
        }
    }
}

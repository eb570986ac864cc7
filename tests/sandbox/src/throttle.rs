//! The published limits on calls: a token bucket for each set of APIs, of one account in one Region. A call beyond the limit is
//! refused in its service's words.
//!
//! Sizes and refills are those of "Request throttling for the Amazon EC2 API" and "Throttling limits" of Elastic Load
//! Balancing. Auto Scaling and SQS publish none, so their calls are never throttled here.

use std::collections::BTreeMap;

use crate::{
    call::Call,
    clock::Timestamp,
    fault::{Rule, Verdict},
    wire::{ApiError, Service},
};

/// Calls that take their tokens from one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiSet {
    /// `Describe*` of EC2.
    Ec2Describe,
    /// `DescribeInstances` of EC2 with neither ids, filters nor a page size.
    Ec2DescribeEverything,
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

/// The limits in force for Elastic Load Balancing's descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 200 calls at once, 50 a second.
    Today,
    /// 40 calls at once, 10 a second: until early 2026.
    Until2026,
}

/// The buckets of an account, as a rule that refuses calls that come too fast.
#[derive(Debug)]
pub struct Throttle {
    era: Era,
    left_by_others: f64,
    buckets: BTreeMap<ApiSet, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

impl Throttle {
    /// Returns buckets of which other callers of the account use up `percent`, both of the size and of the refill.
    pub fn shared(era: Era, percent: u8) -> Self {
        let left_by_others = f64::from(100 - percent.min(100)) / 100.0;
        Self { era, left_by_others, buckets: BTreeMap::new() }
    }

    /// Returns the size and the refill a second that others leave. At least one call fits; otherwise no call would ever pass.
    pub fn limits(&self, set: ApiSet) -> (f64, f64) {
        let (size, refill) = match (set, self.era) {
            (ApiSet::Ec2Describe, _) => (100.0, 20.0),
            (ApiSet::Ec2DescribeEverything, _) => (50.0, 10.0),
            (ApiSet::CreateTags | ApiSet::DeleteTags, _) => (100.0, 10.0),
            (ApiSet::ClassicDescribe | ApiSet::Describe, Era::Today) => (200.0, 50.0),
            (ApiSet::ClassicDescribe | ApiSet::Describe, Era::Until2026) => (40.0, 10.0),
            (ApiSet::ClassicRegister | ApiSet::Register, _) => (20.0, 4.0),
        };
        (f64::max(1.0, size * self.left_by_others), refill * self.left_by_others)
    }

    /// Takes a token. Returns whether there was one.
    fn take(&mut self, set: ApiSet, now: Timestamp) -> bool {
        let (size, refill) = self.limits(set);
        let bucket = self.buckets.entry(set).or_insert(Bucket { tokens: size, filled_at: now });
        let passed = (now - bucket.filled_at).as_seconds_f64();
        bucket.tokens = f64::min(size, bucket.tokens + passed * refill);
        bucket.filled_at = now;
        let is_any = bucket.tokens >= 1.0;
        if is_any {
            bucket.tokens -= 1.0;
        }
        is_any
    }
}

impl Rule for Throttle {
    fn verdict(&mut self, call: &Call) -> Verdict {
        match set_of(call) {
            Some(set) if !self.take(set, call.at) => Verdict::Refuse(ApiError::throttled(call.service)),
            _ => Verdict::Pass,
        }
    }
}

/// Returns the set that a call belongs to, if limits are published for it.
pub fn set_of(call: &Call) -> Option<ApiSet> {
    let is_description = call.action.starts_with("Describe");
    let is_registration = call.action.starts_with("Register") || call.action.starts_with("Deregister");
    match (call.service, call.action.as_str()) {
        (Service::Ec2, "CreateTags") => Some(ApiSet::CreateTags),
        (Service::Ec2, "DeleteTags") => Some(ApiSet::DeleteTags),
        (Service::Ec2, "DescribeInstances") if is_of_everything(call) => Some(ApiSet::Ec2DescribeEverything),
        (Service::Ec2, _) if is_description => Some(ApiSet::Ec2Describe),
        (Service::Elb, _) if is_description => Some(ApiSet::ClassicDescribe),
        (Service::Elb, _) if is_registration => Some(ApiSet::ClassicRegister),
        (Service::ElbV2, _) if is_description => Some(ApiSet::Describe),
        (Service::ElbV2, _) if is_registration => Some(ApiSet::Register),
        _ => None,
    }
}

fn is_of_everything(call: &Call) -> bool {
    let narrowing = ["InstanceId.", "Filter.", "MaxResults"];
    !call.parameters.iter().any(|(name, _)| narrowing.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::delta;

    fn call(service: Service, action: &str, parameter: &str, at: u64) -> Call {
        Call {
            number: 1,
            at: Timestamp::UNIX_EPOCH + delta(Duration::from_secs(at)),
            access_key: String::new(),
            service,
            action: action.to_owned(),
            parameters: vec![(parameter.to_owned(), String::new())],
            outcome: None,
        }
    }

    /// Returns how many of 1,000 calls at one instant pass.
    fn let_through(throttle: &mut Throttle, service: Service, action: &str, at: u64) -> usize {
        let passes =
            |throttle: &mut Throttle| throttle.verdict(&call(service, action, "Filter.1", at)) == Verdict::Pass;
        (0..1_000).filter(|_| passes(throttle)).count()
    }

    #[test]
    fn a_bucket_lets_through_its_size_and_then_its_refill() {
        for (service, action, size, refill) in [
            (Service::Ec2, "DescribeInstances", 100, 20),
            (Service::Ec2, "CreateTags", 100, 10),
            (Service::Elb, "DescribeLoadBalancers", 200, 50),
            (Service::Elb, "RegisterInstancesWithLoadBalancer", 20, 4),
            (Service::ElbV2, "DescribeTargetHealth", 200, 50),
            (Service::ElbV2, "DeregisterTargets", 20, 4),
        ] {
            let mut throttle = Throttle::shared(Era::Today, 0);
            let counts = [0, 1, 3, 1_000].map(|at| let_through(&mut throttle, service, action, at));
            assert_eq!(counts, [size, refill, 2 * refill, size], "{action}");
        }
    }

    #[test]
    fn others_use_up_their_share_and_never_all() {
        let mut throttle = Throttle::shared(Era::Until2026, 90);
        assert_eq!(let_through(&mut throttle, Service::ElbV2, "DescribeTargetGroups", 0), 4);
        assert_eq!(let_through(&mut throttle, Service::ElbV2, "DescribeTargetGroups", 5), 4);
        assert_eq!(let_through(&mut Throttle::shared(Era::Today, 100), Service::ElbV2, "RegisterTargets", 0), 1);
    }

    #[test]
    fn each_set_has_a_bucket_of_its_own() {
        let mut throttle = Throttle::shared(Era::Today, 0);
        assert_eq!(let_through(&mut throttle, Service::Ec2, "CreateTags", 0), 100);
        assert_eq!(let_through(&mut throttle, Service::Ec2, "DeleteTags", 0), 100);
        assert_eq!(let_through(&mut throttle, Service::ElbV2, "RegisterTargets", 0), 20);
        assert_eq!(
            let_through(&mut throttle, Service::ElbV2, "DeregisterTargets", 0),
            0,
            "the same as RegisterTargets"
        );
        assert_eq!(let_through(&mut throttle, Service::AutoScaling, "DescribeAutoScalingGroups", 0), 1_000);
    }

    #[test]
    fn each_service_refuses_in_its_own_words() {
        for (service, action, status, code) in [
            (Service::Ec2, "DeleteTags", 503, "RequestLimitExceeded"),
            (Service::Elb, "DescribeTags", 400, "Throttling"),
            (Service::ElbV2, "DescribeTags", 400, "Throttling"),
        ] {
            let mut throttle = Throttle::shared(Era::Today, 100);
            assert_eq!(throttle.verdict(&call(service, action, "", 0)), Verdict::Pass);
            match throttle.verdict(&call(service, action, "", 0)) {
                Verdict::Refuse(error) => assert_eq!((error.status, error.code.as_str()), (status, code)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn describing_all_instances_without_pages_has_a_smaller_bucket() {
        let set = |parameter: &str| set_of(&call(Service::Ec2, "DescribeInstances", parameter, 0));
        assert_eq!(set("Version"), Some(ApiSet::Ec2DescribeEverything));
        assert_eq!(["Filter.1.Name", "InstanceId.1", "MaxResults"].map(set), [Some(ApiSet::Ec2Describe); 3]);
    }
}

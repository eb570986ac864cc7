//! Tests of the clients: their common parts.

mod arriving;
mod clients;
mod leaving;
mod rebooting;
mod routing;

use std::time::Duration;

use super::*;
use crate::{
    Options, Sandbox,
    ec2::InstanceState,
    elb::{
        self,
        testing::{API, WEB, bring, move_to, run, sandbox},
    },
    elbv2::{self, Kind, Target, TargetGroupSpec},
};

/// Longer than it takes to become healthy.
const SETTLED: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Instances in `tg:web`, behind an Application Load Balancer.
fn instances() -> TargetGroupSpec {
    TargetGroupSpec::instances("web", "vpc-1", 80)
}

/// Addresses in `tg:web`, behind an Application Load Balancer.
fn addresses() -> TargetGroupSpec {
    TargetGroupSpec::addresses("web", "vpc-1", 80)
}

/// Returns a world with `tg:web` and its members, which have been healthy for a while.
async fn group(spec: TargetGroupSpec, members: &[&str], options: Options) -> Sandbox {
    let sandbox = sandbox(options);
    sandbox.with(|world| {
        let kind = if spec.protocol.as_deref() == Some("HTTP") { Kind::Application } else { Kind::Network };
        let group = elbv2::create_target_group(world, spec).unwrap();
        let balancer = elbv2::create_load_balancer(world, kind, "front", "vpc-1").unwrap();
        elbv2::attach(world, &group, &balancer, 80).unwrap();
        members.iter().for_each(|member| elbv2::register(world, &group, Target::new(member)).unwrap());
    });
    sandbox.advance(SETTLED).await;
    sandbox
}

/// Returns a world with `clb:shop` and its members, which have been in service for a while.
async fn shop(members: &[&str]) -> Sandbox {
    let sandbox = sandbox(Options::default());
    sandbox.with(|world| {
        elb::create(world, "shop", "vpc-1", &["us-east-1a", "us-east-1b"]).unwrap();
        members.iter().for_each(|member| elb::register(world, "shop", member).unwrap());
    });
    sandbox.advance(SETTLED).await;
    sandbox
}

/// Lets a client send, and some time pass.
async fn send_for(sandbox: &Sandbox, client: Client, time: Duration) {
    sandbox.with(|world| send(world, client)).unwrap();
    sandbox.advance(time).await;
}

fn deregister(sandbox: &Sandbox, member: &str) {
    sandbox.with(|world| elbv2::deregister(world, &arn(world), Target::new(member))).unwrap();
}

fn arn(world: &World) -> String {
    elbv2::arn_of(world, "web").unwrap()
}

fn set(sandbox: &Sandbox, attribute: &str, value: &str) {
    let change = BTreeMap::from([(attribute.to_owned(), value.to_owned())]);
    sandbox.with(|world| elbv2::set_attributes(world, &arn(world), &change)).unwrap();
}

fn count(sandbox: &Sandbox, outcome: Outcome) -> u64 {
    sandbox.with(|world| tally(world).count(outcome))
}

/// Asserts that no request was lost, and some were served.
#[track_caller]
fn assert_all_served(sandbox: &Sandbox) {
    let tally = sandbox.with(|world| tally(world));
    assert!(tally.served() > 0 && tally.lost() == 0, "{tally}, first {:?}", tally.losses.first());
}

/// Asserts that all lost requests were lost in one way, and returns them.
#[track_caller]
fn assert_lost_as(sandbox: &Sandbox, outcome: Outcome) -> Vec<Loss> {
    let tally = sandbox.with(|world| tally(world));
    assert!(tally.lost() > 0 && tally.lost() == tally.count(outcome), "{tally}, first {:?}", tally.losses.first());
    tally.losses
}

/// Returns the seconds from a time to the last loss.
fn until_last(losses: &[Loss], since: Timestamp) -> f64 {
    let last = losses.iter().map(|loss| loss.lost).max().unwrap();
    (last - since).num_milliseconds() as f64 / 1_000.0
}

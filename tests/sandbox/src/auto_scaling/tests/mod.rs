//! Tests of groups that work by themselves, in virtual time.

mod capacity;
mod detaching;
mod hooks;
mod pools;
mod refreshes;

use std::{collections::BTreeMap, time::Duration};

use super::{ActionResult, EndedAction, GroupSpec, HookSpec, State, create_group, is_moving};
use crate::{
    Clock, Options, Sandbox,
    ec2::{create_subnet, create_vpc},
    elbv2::{self, Kind, TargetGroupSpec},
};

/// How long a group may take for its work: a launch, a stop and a health check one after the other.
const PATIENCE: u64 = 300;

/// A group `web` with a target group of its own.
struct Fleet {
    sandbox: Sandbox,
    target_group: String,
    subnet: String,
}

impl Fleet {
    fn new(change: impl FnOnce(GroupSpec) -> GroupSpec) -> Self {
        Self::with(Options::default(), change)
    }

    fn with(options: Options, change: impl FnOnce(GroupSpec) -> GroupSpec) -> Self {
        let sandbox = Sandbox::new(Clock::virtual_time(), options);
        let (target_group, subnet) = sandbox.with(|world| {
            let vpc = create_vpc(world, "10.0.0.0/16");
            let subnet = create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/22");
            let arn = elbv2::create_target_group(world, TargetGroupSpec::instances("web", &vpc, 80)).unwrap();
            let balancer = elbv2::create_load_balancer(world, Kind::Application, "front", &vpc).unwrap();
            elbv2::attach(world, &arn, &balancer, 80).unwrap();
            let spec = GroupSpec::new("web", &subnet).attached(super::TrafficSourceKind::TargetGroup, &arn);
            create_group(world, change(spec)).unwrap();
            (arn, subnet)
        });
        Self { sandbox, target_group, subnet }
    }

    async fn advance(&self, seconds: u64) {
        self.sandbox.advance(Duration::from_secs(seconds)).await;
    }

    /// Waits as long as a group needs for any work that does not wait at a hook.
    async fn settle(&self) {
        self.advance(PATIENCE).await;
    }

    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.sandbox.with(|world| look(&world.auto_scaling))
    }

    /// Returns how many members are in which state.
    fn states(&self) -> BTreeMap<&'static str, usize> {
        self.look(|state| {
            let mut states = BTreeMap::new();
            for member in state.groups["web"].members.values() {
                *states.entry(member.lifecycle_state.name()).or_default() += 1;
            }
            states
        })
    }

    fn ids(&self) -> Vec<String> {
        self.look(|state| state.groups["web"].members.keys().cloned().collect())
    }

    /// Returns the token of the only open action.
    #[track_caller]
    fn token(&self) -> String {
        self.look(|state| match state.actions.as_slice() {
            [action] => action.token.clone(),
            others => panic!("{others:?}"),
        })
    }

    fn ended(&self) -> Vec<EndedAction> {
        self.look(|state| state.ended_actions.clone())
    }

    fn is_moving(&self) -> bool {
        self.sandbox.with(|world| is_moving(world))
    }

    /// Returns the instances that are registered in the group's target group and not draining.
    fn registered(&self) -> Vec<String> {
        self.sandbox.with(|world| {
            let targets = elbv2::targets(world, &self.target_group).into_iter();
            targets.filter(|target| target.state == elbv2::Standing::Registered).map(|target| target.id).collect()
        })
    }

    /// Returns the type and interesting details of Auto Scaling's events about hooks.
    fn events(&self) -> Vec<(String, String, String)> {
        self.sandbox.with(|world| {
            let about = world.events.log.iter().filter(|event| event.detail_type.ends_with("Lifecycle Action"));
            let text =
                |event: &crate::events::Event, name: &str| event.detail[name].as_str().unwrap_or("none").to_owned();
            about.map(|event| (event.detail_type.clone(), text(event, "Origin"), text(event, "Destination"))).collect()
        })
    }
}

const LAUNCH: &str = "EC2 Instance-launch Lifecycle Action";
const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";

fn event(kind: &str, origin: &str, destination: &str) -> (String, String, String) {
    (kind.to_owned(), origin.to_owned(), destination.to_owned())
}

//! What the events are about: some instances in a Classic load balancer, an instance group and an address group, in an account
//! with more target groups than these.

use std::time::Duration;

use sandbox::{
    Clock, Options, Sandbox, Span, World,
    deployment::{DeployError, QUEUE, Template},
    ec2::{self, InstanceState, Launch},
    elb,
    elbv2::{self, Kind, Standing, Target, TargetGroupSpec},
    events::{self, Delivery},
    lambda,
    sqs::{self, Draft},
    wire::ApiError,
};
use serde_json::{Value, json};

/// Target groups of the account, each of which a stop has to ask.
const GROUPS: usize = 20;

/// Those that have every instance.
const INSTANCES: &str = "web";
const ADDRESSES: &str = "edge";
const CLASSIC: &str = "shop";

const ZONE: &str = "us-east-1a";

/// At once, so that what is measured is the function and not AWS.
const AT_ONCE: Span = Span::milliseconds(0, 0);

/// How long to wait for the simulated EC2 to change a state.
const PATIENCE: Duration = Duration::from_secs(5);

/// An AWS with the project's functions and the instances.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    instances: Vec<String>,
}

impl Scene {
    /// So many instances that run.
    ///
    /// Events and the queue invoke no function: the bench hands each contender its batches when it is its turn.
    pub(crate) fn new(instances: usize) -> Result<Self, String> {
        let options = Options { latency: AT_ONCE, starting: AT_ONCE, stopping: AT_ONCE, ..Options::default() };
        let sandbox = Sandbox::new(Clock::scaled(1.0), options);
        let built = sandbox.with(|world| {
            deploy(world).map_err(|error| error.to_string())?;
            world.events.set_delivery(|_| Delivery::Lost);
            populate(world, instances).map_err(|error| error.message)
        });
        Ok(Self { sandbox, instances: built? })
    }

    /// Stops an instance, and answers the batch that tells of it.
    pub(crate) async fn stop(&self, index: usize) -> Result<Value, String> {
        let id = &self.instances[index];
        self.sandbox.with(|world| ec2::stop(world, id)).map_err(|error| error.message)?;
        self.until(id, InstanceState::Stopped).await?;
        self.sandbox.with(|world| batch(world, id, InstanceState::Stopping))
    }

    /// Starts an instance again, and answers the batch that tells of it.
    pub(crate) async fn start(&self, index: usize) -> Result<Value, String> {
        let id = &self.instances[index];
        self.sandbox.with(|world| ec2::start(world, id)).map_err(|error| error.message)?;
        self.until(id, InstanceState::Running).await?;
        self.sandbox.with(|world| batch(world, id, InstanceState::Running))
    }

    /// In how many of its three places an instance is, and how much is held for it.
    ///
    /// What was measured is worth nothing where the job was not done.
    pub(crate) fn standing(&self, index: usize) -> Result<(usize, usize), String> {
        let id = &self.instances[index];
        self.sandbox.with(|world| {
            let found = world.ec2.instance(id).ok_or("the instance is gone")?;
            let address = found.primary_ipv4().map(|address| address.to_string()).unwrap_or_default();
            let held = found.tags.iter().filter(|(key, _)| key.starts_with("elb-registrar:held"));
            let held = held.map(|(_, value)| value.split(' ').count()).sum();
            let in_group = |name: &str, target: &str| {
                let arn = elbv2::arn_of(world, name).unwrap_or_default();
                elbv2::targets(world, &arn)
                    .iter()
                    .any(|member| member.id == target && member.state == Standing::Registered)
            };
            let places =
                [elb::members(world, CLASSIC).contains(id), in_group(INSTANCES, id), in_group(ADDRESSES, &address)];
            Ok((places.into_iter().filter(|is_in| *is_in).count(), held))
        })
    }

    async fn until(&self, id: &str, state: InstanceState) -> Result<(), String> {
        let is_there = || self.sandbox.with(|world| world.ec2.instance(id).is_some_and(|found| found.state == state));
        let reached = async {
            while !is_there() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.map_err(|_| format!("{id} is never {}", state.name()))
    }
}

fn deploy(world: &mut World) -> Result<(), DeployError> {
    let mut template = Template::of_project();
    template.document["Resources"].as_object_mut().map(|resources| resources.remove("InstanceStateEventSource"));
    template.deploy(world, &[("Mode", "enforce")]).map(drop)
}

fn populate(world: &mut World, instances: usize) -> Result<Vec<String>, ApiError> {
    let vpc = ec2::create_vpc(world, "10.0.0.0/16");
    let subnet = ec2::create_subnet(world, &vpc, ZONE, "10.0.0.0/24");
    elb::create(world, CLASSIC, &vpc, &[ZONE])?;
    let web = elbv2::create_target_group(world, TargetGroupSpec::instances(INSTANCES, &vpc, 80))?;
    let edge = elbv2::create_target_group(world, TargetGroupSpec::addresses(ADDRESSES, &vpc, 443))?;
    let balancer = elbv2::create_load_balancer(world, Kind::Application, "public", &vpc)?;
    for (arn, port) in [(&web, 80), (&edge, 443)] {
        elbv2::attach(world, arn, &balancer, port)?;
        // A restart finds nothing that drains.
        elbv2::set_deregistration_delay(world, arn, Duration::ZERO)?;
    }
    for number in 2..GROUPS {
        elbv2::create_target_group(world, TargetGroupSpec::instances(&format!("other-{number}"), &vpc, 80))?;
    }
    (0..instances)
        .map(|_| {
            let id = ec2::launch_running(world, Launch::new(&subnet))?;
            let address = world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4);
            elb::register(world, CLASSIC, &id)?;
            elbv2::register(world, &web, Target::new(&id).on(80))?;
            elbv2::register(world, &edge, Target::new(address.map(|a| a.to_string()).unwrap_or_default()).on(443))?;
            Ok(id)
        })
        .collect()
}

/// The newest event of an instance, received from the function's queue.
fn batch(world: &mut World, id: &str, state: InstanceState) -> Result<Value, String> {
    let names = |event: &&events::Event| event.detail["instance-id"] == id && event.detail["state"] == state.name();
    let event = world.events.log.iter().rev().find(names).ok_or("no event")?.to_json();
    let draft = Draft { body: event.to_string(), ..Draft::default() };
    sqs::send(world, QUEUE, draft).map_err(|error| error.message)?;
    let received = sqs::receive(world, QUEUE, 1, None).map_err(|error| error.message)?;
    let records: Vec<Value> = received.iter().map(|received| lambda::record(QUEUE, received)).collect();
    Ok(json!({ "Records": records }))
}

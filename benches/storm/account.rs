//! The account of a storm: services of several instances each, behind target groups and Classic load balancers.
//!
//! Every tenth target group is in another network, and for instances, so that no function has to ask it for ours. The others are
//! dealt out to services: two to the first, one to the second, two to the third, and so on. Every third takes addresses instead
//! of instances. A service has an Application Load Balancer of its own, and every tenth one a Classic load balancer besides. The
//! instances are dealt out to the services in turn, so that all have the same number. If there are fewer instances than services,
//! the rest of the services are empty.

use std::net::Ipv4Addr;

use end_to_end::Stage;
use sandbox::{
    Options, World,
    ec2::{self, Launch},
    elb,
    elbv2::{self, Kind, Target, TargetGroupSpec},
};

/// One of this many target groups is in another network.
const ELSEWHERE: usize = 10;

/// One of this many target groups takes addresses.
const OF_ADDRESSES: usize = 3;

/// One of this many services has a Classic load balancer, too.
const WITH_CLASSIC: usize = 10;

/// The subnet of the instances: room for 32,000 of them.
const SUBNET: &str = "10.0.128.0/17";

/// The first instance's address; the others' follow.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 128, 16);

/// The size of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    /// Instances that stop and start.
    pub(crate) instances: usize,
    /// Target groups, in all services and networks.
    pub(crate) groups: usize,
}

/// An account with the project deployed in it.
pub(crate) struct Account {
    /// The simulated AWS.
    pub(crate) stage: Stage,
    /// Ids of the instances.
    pub(crate) instances: Vec<String>,
    /// The services on them.
    pub(crate) services: Vec<Service>,
    /// Target groups that one of these instances could be in, as far as a listing shows.
    pub(crate) candidates: usize,
    /// All target groups.
    pub(crate) groups: usize,
}

/// Instances with the same targets.
pub(crate) struct Service {
    /// ARNs of its target groups.
    pub(crate) groups: Vec<String>,
    /// The name of its Classic load balancer.
    pub(crate) classic: Option<String>,
    /// Which of the account's instances are its own.
    pub(crate) instances: Vec<usize>,
}

impl Account {
    /// Returns an account as the module describes it.
    pub(crate) fn new(size: Size) -> Self {
        let account = Self::with_groups(size.groups);
        account.populated(size.instances)
    }

    /// Returns an account in which one instance is alone in a number of target groups, and the others are empty.
    pub(crate) fn of_one(groups: usize, used: usize) -> Self {
        let mut account = Self::with_groups(groups);
        let arns: Vec<String> = account.services.iter().flat_map(|service| service.groups.clone()).take(used).collect();
        assert_eq!(arns.len(), used, "{groups} target groups are too few for {used} registrations");
        account.services = vec![Service { groups: arns, classic: None, instances: Vec::new() }];
        account.populated(1)
    }

    fn with_groups(groups: usize) -> Self {
        let stage = Stage::with(Options::default(), &[]);
        let elsewhere = groups / ELSEWHERE;
        let vpc = stage.vpc.clone();
        let services = stage.world(|world| {
            let other = ec2::create_vpc(world, "10.0.0.0/16");
            ec2::create_subnet(world, &other, "us-east-1a", "10.0.0.0/24");
            for number in 0..elsewhere {
                let group = instances_group(&format!("elsewhere-{number}"), &other);
                create_balancer(world, &format!("elsewhere-{number}"), &other, vec![group]);
            }
            create_services(world, &vpc, groups - elsewhere)
        });
        Self { stage, instances: Vec::new(), services, candidates: groups - elsewhere, groups }
    }

    fn populated(mut self, instances: usize) -> Self {
        let (vpc, services) = (self.stage.vpc.clone(), &mut self.services);
        self.instances = self.stage.world(|world| {
            let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", SUBNET);
            let hosts: Vec<(String, Ipv4Addr)> = (0..instances).map(|number| launch(world, &subnet, number)).collect();
            let count = services.len();
            for (index, service) in services.iter_mut().enumerate() {
                service.instances = (index..hosts.len()).step_by(count).collect();
                let own: Vec<&(String, Ipv4Addr)> = service.instances.iter().map(|index| &hosts[*index]).collect();
                register(world, service, &own);
            }
            hosts.into_iter().map(|(id, _)| id).collect()
        });
        self
    }

    /// Returns the name of every balancer that a service in use has: an ARN, or a Classic load balancer's name.
    pub(crate) fn balancers(&self) -> impl Iterator<Item = &String> {
        self.used().flat_map(|service| service.groups.iter().chain(&service.classic))
    }

    /// Returns the services that have any instances.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| !service.instances.is_empty())
    }
}

fn create_services(world: &mut World, vpc: &str, groups: usize) -> Vec<Service> {
    let mut specs = (0..groups).map(|number| {
        let name = format!("group-{number}");
        match number % OF_ADDRESSES {
            2 => TargetGroupSpec::addresses(&name, vpc, 8080),
            _ => instances_group(&name, vpc),
        }
    });
    let mut services = Vec::new();
    loop {
        let number = services.len();
        let own: Vec<TargetGroupSpec> = specs.by_ref().take(2 - number % 2).collect();
        if own.is_empty() {
            return services;
        }
        let groups = create_balancer(world, &format!("service-{number}"), vpc, own);
        let classic = (number % WITH_CLASSIC == 0).then(|| format!("classic-{number}"));
        if let Some(name) = &classic {
            elb::create(world, name, vpc, &["us-east-1a"]).expect("a new name");
        }
        services.push(Service { groups, classic, instances: Vec::new() });
    }
}

fn instances_group(name: &str, vpc: &str) -> TargetGroupSpec {
    TargetGroupSpec::instances(name, vpc, 8080)
}

/// Creates target groups behind one Application Load Balancer, and returns their ARNs.
fn create_balancer(world: &mut World, name: &str, vpc: &str, groups: Vec<TargetGroupSpec>) -> Vec<String> {
    let balancer = elbv2::create_load_balancer(world, Kind::Application, name, vpc).expect("a new name");
    let attach = |(port, spec)| {
        let group = elbv2::create_target_group(world, spec).expect("a new name");
        elbv2::attach(world, &group, &balancer, port).expect("a free port");
        group
    };
    (80..).zip(groups).map(attach).collect()
}

/// Launches an instance that has been running all along. Its address is given, because the sandbox would take long to find a free
/// one.
fn launch(world: &mut World, subnet: &str, number: usize) -> (String, Ipv4Addr) {
    let offset = u32::try_from(number).expect("fewer instances than the subnet has room for");
    let address = Ipv4Addr::from(u32::from(FIRST_ADDRESS) + offset);
    let launch = Launch::new(subnet).tag("Name", &format!("host-{number}")).address(address);
    (ec2::launch_running(world, launch).expect("an address of the subnet"), address)
}

fn register(world: &mut World, service: &Service, hosts: &[&(String, Ipv4Addr)]) {
    // A quota that AWS raises at request.
    world.elbv2.targets_per_group = world.elbv2.targets_per_group.max(hosts.len());
    for arn in service.groups.iter().filter(|_| !hosts.is_empty()) {
        let of_addresses = world.elbv2.target_groups[arn].spec.target_type == elbv2::TargetType::Ip;
        let target = |(id, address): &&(String, Ipv4Addr)| match of_addresses {
            true => Target::new(address),
            false => Target::new(id),
        };
        let targets: Vec<Target> = hosts.iter().map(target).collect();
        elbv2::register_all(world, arn, &targets).expect("targets of the group's kind");
    }
    if let Some(name) = service.classic.as_ref().filter(|_| !hosts.is_empty()) {
        let ids: Vec<String> = hosts.iter().map(|(id, _)| id.clone()).collect();
        elb::register_all(world, name, &ids).expect("instances that run");
    }
}

//! A small fleet to play with: three web servers, traffic sources of all three kinds, and an Auto Scaling group without an
//! instance.
//!
//! `web-2` gets another private address at each restart, as in EC2-Classic; the others keep theirs.

use std::{net::IpAddr, time::Duration};

use crate::{
    auto_scaling::{self, GroupSpec},
    ec2::{self, Launch},
    elb,
    elbv2::{self, Kind, Target, TargetGroupSpec},
    wire::ApiError,
    world::World,
};

/// The server that gets another address at each restart.
pub const RENEWED: &str = "web-2";

/// The Auto Scaling group, and the launch template that it launches from. docs/lifecycle-hooks.md gives it hooks.
pub const GROUP: &str = "my-asg";

/// How long deregistered members drain, everywhere in the fleet. AWS's default of five minutes is long to watch.
const DRAINING: Duration = Duration::from_secs(60);

/// The zone of the fleet, and of its traffic sources.
const ZONE: &str = "us-east-1a";

/// The ids of the seeded resources.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// In the order of their names.
    pub members: Vec<Member>,
    /// The places. Each of them has every member.
    pub places: Vec<Place>,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct Member {
    /// The value of its tag `Name`.
    pub name: &'static str,
    /// `i-...`
    pub id: String,
}

/// A place where instances are registered: a balancer, and for a target group a port.
#[derive(Clone, Debug)]
pub enum Place {
    /// A Classic load balancer.
    Classic {
        /// Its name.
        name: String,
    },
    /// A port of a target group whose targets are instances.
    Instances {
        /// Its name.
        name: String,
        /// Its ARN.
        arn: String,
        /// Of the targets.
        port: u16,
    },
    /// A port of a target group whose targets are addresses.
    Addresses {
        /// Its name.
        name: String,
        /// Its ARN.
        arn: String,
        /// Of the targets.
        port: u16,
    },
}

impl Fleet {
    /// Creates all of it in a VPC of its own. The instances have been running all along; their health is being checked.
    ///
    /// # Errors
    /// If one of the names is taken.
    pub fn seed(world: &mut World) -> Result<Self, ApiError> {
        let vpc_id = ec2::create_vpc(world, "10.0.0.0/16");
        let subnet_id = ec2::create_subnet(world, &vpc_id, ZONE, "10.0.1.0/24");
        let places = create_places(world, &vpc_id)?;
        let mut members = Vec::new();
        for name in ["web-1", "web-2", "web-3"] {
            let launch = Launch::new(&subnet_id).tag("Name", name);
            let launch = if name == RENEWED { launch.renewed() } else { launch };
            let id = ec2::launch_running(world, launch)?;
            for place in &places {
                place.register(world, &id)?;
            }
            members.push(Member { name, id });
        }
        // It has no instance at first, so that new hooks on it meet its first one.
        auto_scaling::create_group(world, GroupSpec::new(GROUP, &subnet_id).desired(0).tag("Name", GROUP))?;
        Ok(Self { members, places })
    }

    /// Returns the member of a name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Returns the name of an instance, or its id if it does not belong to the fleet.
    pub fn name_of<'a>(&'a self, instance_id: &'a str) -> &'a str {
        self.members.iter().find(|member| member.id == instance_id).map_or(instance_id, |member| member.name)
    }
}

fn create_places(world: &mut World, vpc_id: &str) -> Result<Vec<Place>, ApiError> {
    let classic = "shop-classic".to_owned();
    elb::create(world, &classic, vpc_id, &[ZONE])?;
    elb::drain_for(world, &classic, Some(DRAINING))?;

    let web = elbv2::create_target_group(world, TargetGroupSpec::instances("web", vpc_id, 80))?;
    let shop = elbv2::create_load_balancer(world, Kind::Application, "shop", vpc_id)?;
    elbv2::attach(world, &web, &shop, 80)?;
    elbv2::set_deregistration_delay(world, &web, DRAINING)?;

    let spec = TargetGroupSpec::addresses("edge", vpc_id, 443).protocol("TCP");
    let edge = elbv2::create_target_group(world, spec)?;
    let front = elbv2::create_load_balancer(world, Kind::Network, "front", vpc_id)?;
    elbv2::attach(world, &edge, &front, 443)?;
    elbv2::set_deregistration_delay(world, &edge, DRAINING)?;

    let web_on = |port| Place::Instances { name: "web".to_owned(), arn: web.clone(), port };
    let edge = Place::Addresses { name: "edge".to_owned(), arn: edge, port: 443 };
    Ok(vec![Place::Classic { name: classic }, web_on(80), web_on(8080), edge])
}

impl Place {
    /// Returns its name, with the port if it has one.
    pub fn label(&self) -> String {
        match self {
            Self::Classic { name } => name.clone(),
            Self::Instances { name, port, .. } | Self::Addresses { name, port, .. } => format!("{name}:{port}"),
        }
    }

    /// Returns the ARN of its target group, if it is one.
    pub fn target_group_arn(&self) -> Option<&str> {
        match self {
            Self::Classic { .. } => None,
            Self::Instances { arn, .. } | Self::Addresses { arn, .. } => Some(arn),
        }
    }

    fn register(&self, world: &mut World, instance_id: &str) -> Result<(), ApiError> {
        match self {
            Self::Classic { name } => elb::register(world, name, instance_id),
            Self::Instances { arn, port, .. } => elbv2::register(world, arn, Target::new(instance_id).on(*port)),
            Self::Addresses { arn, port, .. } => {
                let address = primary_address(world, instance_id);
                let address = address.expect("a running instance that was given an IPv4 address");
                elbv2::register(world, arn, Target::new(address).on(*port))
            }
        }
    }
}

/// Returns the primary private address of an instance. A stopped instance that gets another one at each restart has none.
pub fn primary_address(world: &World, instance_id: &str) -> Option<IpAddr> {
    world.ec2.instance(instance_id)?.primary_ipv4().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[tokio::test(start_paused = true)]
    async fn every_member_is_registered_in_every_place() {
        let sandbox = Sandbox::in_virtual_time();
        let fleet = sandbox.with(|world| Fleet::seed(world).unwrap());
        sandbox.with(|world| {
            for place in &fleet.places {
                let count = match place {
                    Place::Classic { name } => elb::members(world, name).len(),
                    Place::Instances { arn, port, .. } | Place::Addresses { arn, port, .. } => {
                        elbv2::targets(world, arn).iter().filter(|target| target.port == Some(*port)).count()
                    }
                };
                assert_eq!(count, fleet.members.len(), "{}", place.label());
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn the_group_has_no_instance_until_it_wants_one() {
        let sandbox = Sandbox::in_virtual_time();
        sandbox.with(|world| Fleet::seed(world).unwrap());
        let members = |sandbox: &Sandbox| sandbox.with(|world| world.auto_scaling.groups[GROUP].members.len());
        sandbox.advance(Duration::from_secs(600)).await;
        assert_eq!(members(&sandbox), 0);
        sandbox.with(|world| auto_scaling::set_desired(world, GROUP, 1)).unwrap();
        sandbox.advance(Duration::from_secs(600)).await;
        assert_eq!(members(&sandbox), 1);
    }
}

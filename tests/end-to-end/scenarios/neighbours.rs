//! Other teams of the account, each within its own rights: hosts that listings hide, names that change owners, tags and hooks
//! that grow, storms of their own. What they do stays theirs.

use std::net::Ipv4Addr;

use end_to_end::{Setting, Stage};
use sandbox::{
    ec2::{self, Ipv4Wish, Launch, NewInterface},
    elb, elbv2,
    options::{ManagedResources, Options},
};
use serde_json::Value;

const REGISTER: &str = "elb-registrar:register";

/// Sets a stage where EC2 shows what services of AWS manage as it is told.
fn showing(managed_resources: ManagedResources, settings: &[Setting]) -> Stage {
    Stage::with(Options { managed_resources, ..Options::default() }, settings)
}

/// Creates an interface that a service of AWS manages, such as that of a node of EKS Auto Mode.
fn managed_interface(stage: &Stage, subnet: &str, address: [u8; 4]) {
    let new = NewInterface { ipv4: Ipv4Wish::Exactly(Ipv4Addr::from(address)), ..NewInterface::default() };
    stage.world(|world| {
        let id = ec2::create_interface(world, subnet, new).expect("a free address");
        ec2::manage(world, &id, "eks.amazonaws.com");
    });
}

/// Creates another network with the addresses of 10.9.0.0/24, and returns its subnet.
fn other_network(stage: &Stage) -> String {
    stage.world(|world| {
        let vpc = ec2::create_vpc(world, "10.9.0.0/24");
        ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24")
    })
}

async fn sweep(stage: &Stage) -> Value {
    stage.sweep().await.unwrap_or_else(|error| panic!("{error}\n{}", stage.describe()))
}

// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyManagedResourceVisibility.html>: "Hidden resources remain
// fully operational".
#[tokio::test(start_paused = true)]
async fn the_address_of_a_hidden_host_is_no_orphan() {
    for (managed, fates) in [
        (ManagedResources::Hidden, vec![]),
        (ManagedResources::Visible, vec![]),
        (ManagedResources::HiddenForAll, vec!["cannot-tell"]),
    ] {
        let stage = showing(managed, &[("PruneOrphans", "true")]);
        stage.addresses_group("edge");
        managed_interface(&stage, &stage.subnet, [10, 0, 0, 77]);
        stage.world(|world| {
            let arn = elbv2::arn_of(world, "edge").expect("a group");
            elbv2::register(world, &arn, elbv2::Target::new("10.0.0.77")).expect("an address that the group takes");
        });
        let report = sweep(&stage).await;
        let orphans = report["orphans"].as_array().cloned().unwrap_or_default();
        let found: Vec<&str> = orphans.iter().filter_map(|orphan| orphan["fate"].as_str()).collect();
        assert_eq!((found, stage.members("tg:edge").len()), (fates, 1), "{managed:?}: {report:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outside_address_that_a_hidden_host_may_have_is_left_alone() {
    for (managed, has_twin, reason) in [
        (ManagedResources::Hidden, true, Some("the address of another interface, too")),
        (ManagedResources::Hidden, false, None),
        (ManagedResources::HiddenForAll, true, Some("EC2 may not show all network interfaces")),
        (ManagedResources::HiddenForAll, false, Some("EC2 may not show all network interfaces")),
    ] {
        let stage = showing(managed, &[]);
        let (far, twin) = (other_network(&stage), other_network(&stage));
        stage.addresses_group("edge").launch("far-1", Launch::new(&far)).deliver_only(&[]);
        if has_twin {
            managed_interface(&stage, &twin, [10, 9, 0, 10]);
        }
        stage.registered("far-1", "tg:edge:443=eth0@all").stop_and_rest("far-1").await;
        let report = sweep(&stage).await;
        let said = report["instances"][stage.id("far-1")].to_string();
        assert_eq!(stage.members("tg:edge").len(), usize::from(reason.is_some()), "{managed:?} {has_twin}: {report:#}");
        assert!(reason.is_none_or(|reason| said.contains(reason)), "{managed:?} {has_twin}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_api_that_knows_no_managed_resources_serves_as_ever() {
    let stage = showing(ManagedResources::HiddenForAll, &[]);
    stage
        .classic("shop")
        .addresses_group("edge")
        .instance("web-1")
        .registered_at("web-1", &["clb:shop", "tg:edge:443=eth0"]);
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 2), "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (2, 0), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn what_a_service_registered_for_its_own_instance_stays() {
    for service in ["eks.amazonaws.com", "ecs.amazonaws.com", "lambda.amazonaws.com"] {
        let stage = Stage::new();
        stage.instances_group("web").addresses_group("edge").instance("node-1");
        let id = stage.id("node-1");
        stage.world(|world| ec2::manage(world, &id, service));
        stage.registered_at("node-1", &["tg:web:32768", "tg:edge:443=eth0"]).stop_and_rest("node-1").await;
        sweep(&stage).await;
        assert_eq!(
            (stage.places("node-1").len(), stage.held("node-1").len()),
            (2, 0),
            "{service}: {}",
            stage.describe()
        );
    }
}

/// Deletes the load balancer `shop`, and lets a stranger create one of that name a minute later.
fn replace_shop(stage: &Stage) {
    stage.world(|world| {
        let vpc = world.ec2.subnets[&stage.subnet].vpc_id.clone();
        elb::delete(world, "shop");
        elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("the name is free");
    });
}

// CreatedTime: <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_LoadBalancerDescription.html>.
#[tokio::test(start_paused = true)]
async fn a_stranger_who_takes_over_a_balancers_name_gets_no_instance() {
    let stage = Stage::new();
    stage.classic("shop").classic("blog").instance("web-1").registered_at("web-1", &["clb:shop", "clb:blog"]);
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    stage.deliver_only(&[]).start_and_rest("web-1").await;
    let report = sweep(&stage).await;
    assert_eq!(stage.places("web-1"), ["clb:blog"], "{report:#}");
    assert!(report.to_string().contains("so it is another one"), "{report:#}");
}

#[tokio::test(start_paused = true)]
async fn a_later_tag_does_not_make_a_strangers_balancer_the_old_one() {
    let stage = Stage::new();
    stage.classic("shop").addresses_group("edge").instance("web-1").registered_at("web-1", &["clb:shop"]);
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    // The stranger lets the tags be written anew.
    stage.registered("web-1", "tg:edge:443=eth0");
    sweep(&stage).await;
    assert_eq!(stage.members("tg:edge").len(), 0, "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!(
        stage.places("web-1").iter().filter(|place| place.starts_with("clb:")).count(),
        0,
        "{}",
        stage.describe()
    );
}

#[tokio::test(start_paused = true)]
async fn a_declared_balancer_that_was_made_anew_gets_its_instance() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").tagged("web-1", REGISTER, "clb:shop");
    stage.stop_and_rest("web-1").await;
    replace_shop(&stage);
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:shop"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn no_address_is_registered_that_could_not_be_taken_out() {
    for way in ["tagged", "held"] {
        let stage = Stage::new();
        let (far, twin) = (other_network(&stage), other_network(&stage));
        stage.addresses_group("edge").launch("far-1", Launch::new(&far)).launch("other", Launch::new(&twin));
        match way {
            "tagged" => drop(stage.tagged("far-1", REGISTER, "tg:edge:443=eth0@all")),
            _ => {
                let arn = stage.world(|world| elbv2::arn_of(world, "edge")).expect("a group");
                let id = arn.rsplit('/').next().expect("an id");
                stage.tagged("far-1", "elb-registrar:held", &format!("tg:edge/{id}:443=eth0@all"));
            }
        }
        sweep(&stage).await;
        stage.stop_and_rest("far-1").await.start_and_rest("far-1").await;
        assert_eq!(stage.members("tg:edge"), [""; 0], "{way}: {}", stage.describe());
    }
}

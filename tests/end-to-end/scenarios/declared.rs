//! Declared registrations: the operator wants the instance to have them whenever it runs.

use end_to_end::{Stage, state_change};
use sandbox::{
    ec2, elb,
    elbv2::{self, Target},
};

const TAG: &str = "elb-registrar:register";

#[tokio::test(start_paused = true)]
async fn a_new_instance_is_registered_at_the_places_in_its_tag() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge");
    let launch = ec2::Launch::new(&stage.subnet)
        .tag("Name", "web-1")
        .tag(TAG, "clb:shop tg:web tg:web:8080 tg:edge tg:edge:8443=eth0");
    stage.world(|world| ec2::launch(world, launch)).expect("a launch");
    stage.rest().await;
    let places = ["clb:shop", "tg:edge:443=eth0", "tg:edge:8443=eth0", "tg:web:80", "tg:web:8080"];
    assert_eq!(stage.places("web-1"), places, "{}", stage.describe());
    stage.stop_and_rest("web-1").await.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (places.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_declared_registration_comes_back_at_every_start() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").tagged("web-1", TAG, "tg:web");
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.held("web-1"), Vec::<String>::new());
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_declaration_is_named_and_the_right_ones_are_served() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1");
    stage.tagged("web-1", TAG, "tg:web nonsense tg:nowhere tg:web=eth0 clb:nowhere");
    let report = stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report").to_string();
    for words in [
        "`nonsense` is not a registration",
        "there is no target group `nowhere` in this account and Region",
        "the target group takes instances: leave out the address",
        "clb:nowhere",
        "tg:nowhere",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_another_network_spoils_only_itself() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1");
    let other = stage.world(|world| {
        let vpc = ec2::create_vpc(world, "10.9.0.0/16");
        ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24");
        vpc
    });
    stage.group(sandbox::elbv2::TargetGroupSpec::instances("far", &other, 80));
    stage.tagged("web-1", TAG, "tg:far tg:web");
    let report = stage.invoke(state_change(&stage, "web-1", "running")).await.expect("a report").to_string();
    assert!(report.contains(&format!("the balancer is in {other}, the instance in {}", stage.vpc)), "{report}");
    assert_eq!(stage.places("web-1"), ["tg:web:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_declared_name_that_never_existed_is_told_from_a_deleted_one() {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").instance("web-1").registered("web-1", "clb:shop");
    stage.stop_and_rest("web-1").await;
    stage.world(|world| elb::delete(world, "shop"));
    let start = state_change(&stage, "web-1", "running");
    stage.tagged("web-1", TAG, "tg:wbe clb:web-alb tg:nowhere").deliver_only(&[]);
    stage.start_and_rest("web-1").await;
    let report = stage.invoke(start).await.expect("a report").to_string();
    for words in [
        "{\"what\":\"clb:shop\",\"why\":\"the balancer does not exist any more\"}",
        "there is no target group `wbe` in this account and Region: did you mean `tg:web`?",
        "there is no Classic load balancer `web-alb` in this account and Region: `web-alb` is an Application Load Balancer; \
         name its target group, `tg:web`",
        "there is no target group `nowhere` in this account and Region\"",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_draining_makes_no_dead_letter() {
    // An operator has deregistered a declared address before maintenance, and no tag tells when.
    let stage = Stage::new();
    stage.addresses_group("edge").drains("edge", 3_600).instance("web-1");
    stage.tagged("web-1", "elb-registrar:register", "tg:edge").registered("web-1", "tg:edge:443=eth0");
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").expect("a group");
        elbv2::deregister(world, &arn, Target::new("10.0.0.10").on(443)).expect("deregistered");
    });
    stage.stop_and_rest("web-1").await;
    stage.forget_calls();
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.dead_letters().len(), stage.places("web-1")), (0, vec!["tg:edge:443=eth0".to_owned()]));
    let looks = stage.count("DescribeTargetHealth");
    assert!(looks < 50, "{looks} looks");
}

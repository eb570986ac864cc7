//! Tests of Classic Load Balancing.

use std::time::Duration;

use super::{
    create, deregister, drain_for, instance_health, members, register,
    testing::{API, FAR, WEB, bring, call, code, move_to, sandbox, texts},
};
use crate::{
    Options, Sandbox,
    ec2::InstanceState,
    fault::{Verdict, every},
};

const BALANCER: (&str, &str) = ("LoadBalancerName", "shop");
const FIRST: &str = "Instances.member.1.InstanceId";
const SECOND: &str = "Instances.member.2.InstanceId";

/// Returns a load balancer in zone a of `vpc-1`.
fn shop() -> Sandbox {
    let sandbox = sandbox(Options { shuffle: false, ..Options::default() });
    sandbox.with(|world| create(world, "shop", "vpc-1", &["us-east-1a"]).unwrap());
    sandbox
}

async fn elb(sandbox: &Sandbox, action: &str, fields: &[(&str, &str)]) -> Result<String, (String, String)> {
    call(sandbox, "2012-06-01", action, fields).await
}

#[track_caller]
fn describes(sandbox: &Sandbox, id: &str) -> (&'static str, &'static str, &'static str) {
    let health = sandbox.with(|world| instance_health(world, "shop", id)).unwrap().expect("not terminated");
    (health.state, health.reason_code, health.description)
}

#[tokio::test(start_paused = true)]
async fn created_balancer_is_described_whole() {
    let sandbox = sandbox(Options::default());
    let listener = [
        ("Listeners.member.1.Protocol", "HTTP"),
        ("Listeners.member.1.LoadBalancerPort", "80"),
        ("Listeners.member.1.InstancePort", "8080"),
    ];
    let rest = [("Subnets.member.1", "subnet-b"), ("SecurityGroups.member.1", "sg-1"), BALANCER];
    let fields = [listener.as_slice(), &rest].concat();
    elb(&sandbox, "CreateLoadBalancer", &fields).await.unwrap();
    elb(&sandbox, "CreateLoadBalancer", &fields).await.expect("the same settings are the same load balancer");
    let other = [fields.as_slice(), &[("Scheme", "internal")]].concat();
    assert_eq!(code(elb(&sandbox, "CreateLoadBalancer", &other).await), "DuplicateLoadBalancerName");
    sandbox.with(|world| register(world, "shop", API)).unwrap();
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    for (name, value) in [
        ("LoadBalancerName", "shop"),
        ("VPCId", "vpc-1"),
        ("AvailabilityZones", "<member>us-east-1b</member>"),
        ("InstanceId", API),
        ("InstancePort", "8080"),
        ("Target", "TCP:8080"),
    ] {
        assert_eq!(texts(&body, name), [value], "{name}");
    }
    elb(&sandbox, "DeleteLoadBalancer", &[BALANCER]).await.unwrap();
    assert_eq!(code(elb(&sandbox, "DescribeInstanceHealth", &[BALANCER]).await), "LoadBalancerNotFound");
}

#[tokio::test(start_paused = true)]
async fn small_pages_show_every_balancer_once() {
    let sandbox = sandbox(Options { page_size: Some(2), ..Options::default() });
    sandbox.with(|world| (0..5).for_each(|n| create(world, &format!("lb-{n}"), "vpc-1", &["us-east-1a"]).unwrap()));
    let (mut names, mut marker) = (Vec::new(), None);
    loop {
        let fields: Vec<_> = marker.iter().map(|marker: &String| ("Marker", marker.as_str())).collect();
        let body = elb(&sandbox, "DescribeLoadBalancers", &fields).await.unwrap();
        names.extend(texts(&body, "LoadBalancerName"));
        marker = texts(&body, "NextMarker").pop();
        if marker.is_none() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["lb-0", "lb-1", "lb-2", "lb-3", "lb-4"]);
    let unknown = [("LoadBalancerNames.member.1", "lb-0"), ("LoadBalancerNames.member.2", "nope")];
    assert_eq!(code(elb(&sandbox, "DescribeLoadBalancers", &unknown).await), "LoadBalancerNotFound");
}

#[tokio::test(start_paused = true)]
async fn one_bad_instance_fails_the_whole_registration() {
    let sandbox = shop();
    sandbox.with(|world| bring(world, API, InstanceState::Stopped));
    for bad in ["i-000000000000dead", API, FAR] {
        let fields = [BALANCER, (FIRST, WEB), (SECOND, bad)];
        let outcome = elb(&sandbox, "RegisterInstancesWithLoadBalancer", &fields).await;
        assert_eq!(code(outcome), "InvalidInstance", "{bad}");
        assert!(sandbox.with(|world| members(world, "shop")).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn deregistering_answers_the_remaining_members() {
    let sandbox = shop();
    let both = [BALANCER, (FIRST, WEB), (SECOND, API)];
    let body = elb(&sandbox, "RegisterInstancesWithLoadBalancer", &both).await.unwrap();
    assert_eq!(texts(&body, "InstanceId"), [WEB, API]);
    let unknown = [BALANCER, (FIRST, WEB), (SECOND, "i-000000000000dead")];
    assert_eq!(code(elb(&sandbox, "DeregisterInstancesFromLoadBalancer", &unknown).await), "InvalidInstance");
    assert_eq!(sandbox.with(|world| members(world, "shop")).len(), 2, "nothing was done");
    let body = elb(&sandbox, "DeregisterInstancesFromLoadBalancer", &[BALANCER, (FIRST, WEB)]).await.unwrap();
    assert_eq!(texts(&body, "InstanceId"), [API]);
    // A second time is no error, unlike for an instance that never was there.
    elb(&sandbox, "DeregisterInstancesFromLoadBalancer", &[BALANCER, (FIRST, WEB)]).await.unwrap();
    let never = [BALANCER, (FIRST, FAR)];
    assert_eq!(code(elb(&sandbox, "DeregisterInstancesFromLoadBalancer", &never).await), "InvalidInstance");
}

#[tokio::test(start_paused = true)]
async fn registered_instance_is_in_service_after_a_while() {
    let sandbox = shop();
    sandbox.advance(Duration::from_secs(60)).await;
    sandbox.with(|world| register(world, "shop", WEB)).unwrap();
    assert_eq!(describes(&sandbox, WEB), ("OutOfService", "ELB", "Instance registration is still in progress."));
    sandbox.advance(Duration::from_secs(9)).await;
    assert_eq!(describes(&sandbox, WEB).0, "OutOfService");
    sandbox.advance(Duration::from_secs(17)).await;
    assert_eq!(describes(&sandbox, WEB), ("InService", "N/A", "N/A"));
    sandbox.with(|world| world.elb.failing_health_checks.insert(WEB.into()));
    assert_eq!((describes(&sandbox, WEB).0, describes(&sandbox, WEB).1), ("OutOfService", "Instance"));
}

#[tokio::test(start_paused = true)]
async fn stopped_member_stays_registered_and_out_of_service() {
    let sandbox = shop();
    sandbox.with(|world| register(world, "shop", WEB)).unwrap();
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    sandbox.advance(Duration::from_secs(60)).await;
    assert_eq!(describes(&sandbox, WEB), ("OutOfService", "Instance", "Instance is in stopped state."));
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    assert_eq!(texts(&body, "InstanceId"), [WEB]);
    // The time to become healthy counts from the start.
    sandbox.with(|world| bring(world, WEB, InstanceState::Running));
    assert_eq!(describes(&sandbox, WEB).1, "ELB");
    sandbox.advance(Duration::from_secs(26)).await;
    assert_eq!(describes(&sandbox, WEB).0, "InService");
}

#[tokio::test(start_paused = true)]
async fn member_with_a_new_address_fails_until_registered_again() {
    let sandbox = shop();
    sandbox.with(|world| register(world, "shop", WEB)).unwrap();
    sandbox.with(|world| move_to(world, WEB, [10, 0, 0, 8]));
    sandbox.advance(Duration::from_secs(26)).await;
    assert_eq!((describes(&sandbox, WEB).0, describes(&sandbox, WEB).1), ("OutOfService", "Instance"));
    sandbox.with(|world| deregister(world, "shop", WEB).and_then(|()| register(world, "shop", WEB))).unwrap();
    sandbox.advance(Duration::from_secs(26)).await;
    assert_eq!(describes(&sandbox, WEB).0, "InService");
}

#[tokio::test(start_paused = true)]
async fn member_in_another_zone_never_gets_in_service() {
    let sandbox = shop();
    sandbox.with(|world| register(world, "shop", API)).unwrap();
    sandbox.advance(Duration::from_secs(600)).await;
    assert_eq!((describes(&sandbox, API).0, describes(&sandbox, API).1), ("OutOfService", "ELB"));
}

#[tokio::test(start_paused = true)]
async fn draining_member_is_in_service_till_the_time_is_over() {
    let sandbox = shop();
    let draining = [
        BALANCER,
        ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
        ("LoadBalancerAttributes.ConnectionDraining.Timeout", "60"),
    ];
    elb(&sandbox, "ModifyLoadBalancerAttributes", &draining).await.unwrap();
    let body = elb(&sandbox, "DescribeLoadBalancerAttributes", &[BALANCER]).await.unwrap();
    assert!(body.contains("<Enabled>true</Enabled><Timeout>60</Timeout>"), "{body}");
    sandbox.with(|world| register(world, "shop", WEB).and_then(|()| deregister(world, "shop", WEB))).unwrap();
    assert!(sandbox.with(|world| members(world, "shop")).is_empty());
    for hides in [false, true] {
        sandbox.with(|world| world.elb.health_hides_draining = hides);
        let body = elb(&sandbox, "DescribeInstanceHealth", &[BALANCER]).await.unwrap();
        assert_eq!(texts(&body, "InstanceId").is_empty(), hides);
    }
    assert_eq!(describes(&sandbox, WEB), ("InService", "N/A", "Instance deregistration currently in progress."));
    sandbox.advance(Duration::from_secs(60)).await;
    let body = elb(&sandbox, "DescribeInstanceHealth", &[BALANCER, (FIRST, WEB)]).await.unwrap();
    assert_eq!(texts(&body, "State"), ["OutOfService"]);
    assert_eq!(texts(&body, "ReasonCode"), ["Instance"]);
    assert_eq!(texts(&body, "Description"), ["Instance is not currently registered with the LoadBalancer."]);
}

#[tokio::test(start_paused = true)]
async fn draining_member_registered_again_is_back_at_once() {
    let sandbox = shop();
    sandbox.with(|world| {
        drain_for(world, "shop", Some(Duration::from_secs(60))).unwrap();
        register(world, "shop", WEB).unwrap();
        deregister(world, "shop", WEB).unwrap();
        register(world, "shop", WEB).unwrap();
    });
    sandbox.advance(Duration::from_secs(61)).await;
    assert!(sandbox.with(|world| members(world, "shop")).contains(WEB));
}

#[tokio::test(start_paused = true)]
async fn draining_time_out_of_range_changes_nothing() {
    let sandbox = shop();
    for seconds in [0, 3_601] {
        let outcome = sandbox.with(|world| drain_for(world, "shop", Some(Duration::from_secs(seconds))));
        assert_eq!(outcome.unwrap_err().code, "InvalidConfigurationRequest");
    }
    let body = elb(&sandbox, "DescribeLoadBalancerAttributes", &[BALANCER]).await.unwrap();
    assert!(body.contains("<Enabled>false</Enabled><Timeout>300</Timeout>"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn terminated_member_is_deregistered_by_aws() {
    let sandbox = shop();
    sandbox.with(|world| register(world, "shop", WEB)).unwrap();
    sandbox.with(|world| bring(world, WEB, InstanceState::ShuttingDown));
    assert_eq!(sandbox.with(|world| members(world, "shop")).len(), 1);
    sandbox.with(|world| bring(world, WEB, InstanceState::Terminated));
    assert!(sandbox.with(|world| members(world, "shop")).is_empty());
    let body = elb(&sandbox, "DescribeInstanceHealth", &[BALANCER, (FIRST, WEB)]).await.unwrap();
    assert!(texts(&body, "State").is_empty(), "the state of a terminated instance is not returned");
}

#[tokio::test(start_paused = true)]
async fn stale_read_shows_the_members_of_before() {
    let sandbox = shop();
    sandbox.with(|world| register(world, "shop", WEB)).unwrap();
    sandbox.advance(Duration::from_secs(30)).await;
    sandbox.with(|world| deregister(world, "shop", WEB)).unwrap();
    let stale = sandbox.fault(every("DescribeLoadBalancers", Verdict::Stale(Duration::from_secs(10))));
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    assert_eq!(texts(&body, "InstanceId"), [WEB]);
    drop(stale);
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    assert!(texts(&body, "InstanceId").is_empty());
}

#[tokio::test(start_paused = true)]
async fn tags_come_and_go_twenty_names_a_call() {
    let sandbox = shop();
    let name = ("LoadBalancerNames.member.1", "shop");
    let tag = [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "blue")];
    elb(&sandbox, "AddTags", &[name, tag[0], tag[1]]).await.unwrap();
    let body = elb(&sandbox, "DescribeTags", &[name]).await.unwrap();
    assert_eq!((texts(&body, "Key"), texts(&body, "Value")), (vec!["team".into()], vec!["blue".into()]));
    elb(&sandbox, "RemoveTags", &[name, tag[0]]).await.unwrap();
    assert!(texts(&elb(&sandbox, "DescribeTags", &[name]).await.unwrap(), "Key").is_empty());
    let twice = [name, tag[0], ("Tags.member.2.Key", "team")];
    assert_eq!(code(elb(&sandbox, "AddTags", &twice).await), "DuplicateTagKeys");
    let unknown = [name, ("LoadBalancerNames.member.2", "nope")];
    assert_eq!(code(elb(&sandbox, "DescribeTags", &unknown).await), "LoadBalancerNotFound");
    let keys: Vec<_> = (1..=21).map(|n| format!("LoadBalancerNames.member.{n}")).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), "shop")).collect();
    assert_eq!(code(elb(&sandbox, "DescribeTags", &many).await), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn listeners_come_and_go_and_a_port_has_one() {
    let sandbox = shop();
    let listener = |port, instance_port| {
        [
            BALANCER,
            ("Listeners.member.1.Protocol", "tcp"),
            ("Listeners.member.1.LoadBalancerPort", port),
            ("Listeners.member.1.InstancePort", instance_port),
        ]
    };
    elb(&sandbox, "CreateLoadBalancerListeners", &listener("9000", "9000")).await.unwrap();
    elb(&sandbox, "CreateLoadBalancerListeners", &listener("9000", "9000")).await.expect("it is there already");
    assert_eq!(
        code(elb(&sandbox, "CreateLoadBalancerListeners", &listener("9000", "9001")).await),
        "DuplicateListener"
    );
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    assert_eq!(texts(&body, "InstancePort"), ["80", "9000"]);
    elb(&sandbox, "DeleteLoadBalancerListeners", &[BALANCER, ("LoadBalancerPorts.member.1", "80")]).await.unwrap();
    let body = elb(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap();
    assert_eq!(texts(&body, "LoadBalancerPort"), ["9000"]);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_has_no_policies() {
    let sandbox = shop();
    let body = elb(&sandbox, "DescribeLoadBalancerPolicies", &[BALANCER]).await.unwrap();
    assert!(
        body.contains("<PolicyDescriptions/>") || body.contains("<PolicyDescriptions></PolicyDescriptions>"),
        "{body}"
    );
    for (fields, expected) in [
        (vec![BALANCER, ("PolicyNames.member.1", "sticky")], "PolicyNotFound"),
        (vec![("LoadBalancerName", "gone")], "LoadBalancerNotFound"),
        (vec![], "NotModelledBySandbox"),
    ] {
        assert_eq!(code(elb(&sandbox, "DescribeLoadBalancerPolicies", &fields).await), expected, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unmodelled_calls_fail_loudly() {
    let sandbox = shop();
    let check = [
        BALANCER,
        ("HealthCheck.Target", "HTTP:80/"),
        ("HealthCheck.Interval", "10"),
        ("HealthCheck.Timeout", "5"),
        ("HealthCheck.UnhealthyThreshold", "2"),
        ("HealthCheck.HealthyThreshold", "2"),
    ];
    elb(&sandbox, "ConfigureHealthCheck", &check).await.unwrap();
    let odd = [BALANCER, ("Colour", "red")];
    assert_eq!(code(elb(&sandbox, "DescribeInstanceHealth", &odd).await), "NotModelledBySandbox");
    assert_eq!(code(elb(&sandbox, "CreateLoadBalancerPolicy", &[BALANCER]).await), "NotModelledBySandbox");
}

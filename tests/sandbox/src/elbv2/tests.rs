use std::{net::IpAddr, time::Duration};

use super::*;
use crate::{
    Options, SameAddressWhileDraining, Sandbox,
    elb::testing::{API, FAR, WEB, bring, call, code, run, sandbox, texts},
    fault::{Verdict, every},
};

/// A group, and an Application Load Balancer in front of it.
fn group(spec: TargetGroupSpec) -> (Sandbox, String) {
    group_with(spec, Options { shuffle: false, ..Options::default() })
}

fn group_with(spec: TargetGroupSpec, options: Options) -> (Sandbox, String) {
    let sandbox = sandbox(options);
    let arn = sandbox.with(|world| {
        let kind = spec.kind();
        let arn = create_target_group(world, spec).unwrap();
        let balancer = create_load_balancer(world, kind, "front", "vpc-1").unwrap();
        attach(world, &arn, &balancer, 80).unwrap();
        arn
    });
    (sandbox, arn)
}

fn instances() -> TargetGroupSpec {
    TargetGroupSpec::instances("web", "vpc-1", 80)
}

fn addresses() -> TargetGroupSpec {
    TargetGroupSpec::addresses("web", "vpc-1", 80)
}

async fn elbv2(sandbox: &Sandbox, action: &str, fields: &[(&str, &str)]) -> Result<String, (String, String)> {
    call(sandbox, "2015-12-01", action, fields).await
}

fn enter(sandbox: &Sandbox, arn: &str, target: Target) -> Result<(), (String, String)> {
    sandbox.with(|world| register(world, arn, target)).map_err(|e| (e.code, e.message))
}

fn leave(sandbox: &Sandbox, arn: &str, target: Target) {
    sandbox.with(|world| deregister(world, arn, target)).unwrap();
}

/// The only target's health.
#[track_caller]
fn health(sandbox: &Sandbox, arn: &str) -> Health {
    let views = sandbox.with(|world| targets(world, arn));
    assert_eq!(views.len(), 1, "{views:?}");
    views[0].health
}

/// Id and port of every registered target.
fn present(sandbox: &Sandbox, arn: &str) -> Vec<(String, u16)> {
    let views = sandbox.with(|world| targets(world, arn));
    views
        .into_iter()
        .filter(|view| view.state == Standing::Registered)
        .map(|view| (view.id, view.port.unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn group_created_over_the_wire_is_found_by_arn_name_and_balancer() {
    let sandbox = sandbox(Options::default());
    let fields = [("Name", "web"), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", "vpc-1"), ("TargetType", "ip")];
    let body = elbv2(&sandbox, "CreateTargetGroup", &fields).await.unwrap();
    let arn = texts(&body, "TargetGroupArn").remove(0);
    let id = arn.strip_prefix("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/").unwrap();
    assert_eq!(id.len(), 16);
    let again = elbv2(&sandbox, "CreateTargetGroup", &fields).await.unwrap();
    assert_eq!(texts(&again, "TargetGroupArn"), [arn.as_str()], "the same settings are the same group");
    let other = [("Name", "web"), ("Protocol", "HTTP"), ("Port", "81"), ("VpcId", "vpc-1")];
    assert_eq!(code(elbv2(&sandbox, "CreateTargetGroup", &other).await), "DuplicateTargetGroupName");

    let fields = [("Name", "front"), ("Subnets.member.1", "subnet-a"), ("Subnets.member.2", "subnet-b")];
    let body = elbv2(&sandbox, "CreateLoadBalancer", &fields).await.unwrap();
    let balancer = texts(&body, "LoadBalancerArn").remove(0);
    assert!(balancer.contains(":loadbalancer/app/front/"), "{balancer}");
    let listener = [
        ("LoadBalancerArn", balancer.as_str()),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", arn.as_str()),
    ];
    let body = elbv2(&sandbox, "CreateListener", &listener).await.unwrap();
    let listener_arn = texts(&body, "ListenerArn").remove(0);
    assert_eq!(code(elbv2(&sandbox, "CreateListener", &listener).await), "DuplicateListener");
    for filter in
        [("TargetGroupArns.member.1", arn.as_str()), ("Names.member.1", "web"), ("LoadBalancerArn", balancer.as_str())]
    {
        let body = elbv2(&sandbox, "DescribeTargetGroups", &[filter]).await.unwrap();
        assert_eq!(texts(&body, "LoadBalancerArns"), [format!("<member>{balancer}</member>")]);
        assert_eq!((texts(&body, "TargetType"), texts(&body, "Port")), (vec!["ip".into()], vec!["80".into()]));
    }
    let body = elbv2(&sandbox, "DescribeListeners", &[("LoadBalancerArn", &balancer)]).await.unwrap();
    assert_eq!(texts(&body, "ListenerArn"), [listener_arn.as_str()]);
    assert_eq!(code(elbv2(&sandbox, "DeleteTargetGroup", &[("TargetGroupArn", &arn)]).await), "ResourceInUse");
    elbv2(&sandbox, "DeleteListener", &[("ListenerArn", &listener_arn)]).await.unwrap();
    elbv2(&sandbox, "DeleteTargetGroup", &[("TargetGroupArn", &arn)]).await.unwrap();
    elbv2(&sandbox, "DeleteLoadBalancer", &[("LoadBalancerArn", &balancer)]).await.unwrap();
    assert!(texts(&elbv2(&sandbox, "DescribeLoadBalancers", &[]).await.unwrap(), "LoadBalancerArn").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_unknown_group_fails_the_whole_description() {
    let (sandbox, arn) = group(instances());
    let gone = arn.replace("/web/", "/gone/");
    for fields in [
        [("TargetGroupArns.member.1", arn.as_str()), ("TargetGroupArns.member.2", gone.as_str())],
        [("Names.member.1", "web"), ("Names.member.2", "gone")],
    ] {
        assert_eq!(code(elbv2(&sandbox, "DescribeTargetGroups", &fields).await), "TargetGroupNotFound");
    }
    for action in ["DescribeTargetHealth", "DescribeTargetGroupAttributes"] {
        assert_eq!(code(elbv2(&sandbox, action, &[("TargetGroupArn", &gone)]).await), "TargetGroupNotFound");
    }
}

#[tokio::test(start_paused = true)]
async fn small_pages_show_every_group_once() {
    let sandbox = sandbox(Options { page_size: Some(3), ..Options::default() });
    sandbox.with(|world| {
        for n in 0..8 {
            create_target_group(world, TargetGroupSpec::instances(&format!("tg-{n}"), "vpc-1", 80)).unwrap();
        }
    });
    let (mut names, mut marker) = (Vec::new(), None);
    loop {
        let fields: Vec<_> = marker.iter().map(|marker: &String| ("Marker", marker.as_str())).collect();
        let body = elbv2(&sandbox, "DescribeTargetGroups", &fields).await.unwrap();
        names.extend(texts(&body, "TargetGroupName"));
        marker = texts(&body, "NextMarker").pop();
        if marker.is_none() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, (0..8).map(|n| format!("tg-{n}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_instance_is_registered_on_several_ports() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).on(8080)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).on(80)).unwrap();
    assert_eq!(present(&sandbox, &arn), [(WEB.into(), 80), (WEB.into(), 8080)]);
}

#[tokio::test(start_paused = true)]
async fn deregistering_without_the_port_override_does_nothing() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB).on(8080)).unwrap();
    let fields = [("TargetGroupArn", arn.as_str()), ("Targets.member.1.Id", WEB)];
    elbv2(&sandbox, "DeregisterTargets", &fields).await.unwrap();
    assert_eq!(present(&sandbox, &arn), [(WEB.into(), 8080)]);
    let fields = [fields[0], fields[1], ("Targets.member.1.Port", "8080")];
    elbv2(&sandbox, "DeregisterTargets", &fields).await.unwrap();
    assert!(present(&sandbox, &arn).is_empty());
    elbv2(&sandbox, "DeregisterTargets", &fields).await.expect("what is not there is no error");
}

#[tokio::test(start_paused = true)]
async fn deregistering_without_a_port_means_the_groups_own() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).on(8080)).unwrap();
    leave(&sandbox, &arn, Target::new(WEB));
    assert_eq!(present(&sandbox, &arn), [(WEB.into(), 8080)]);
}

#[tokio::test(start_paused = true)]
async fn deregistered_target_drains_for_the_delay() {
    let (sandbox, arn) = group(instances());
    let delay = [
        ("TargetGroupArn", arn.as_str()),
        ("Attributes.member.1.Key", "deregistration_delay.timeout_seconds"),
        ("Attributes.member.1.Value", "90"),
        ("Attributes.member.2.Key", "stickiness.enabled"),
        ("Attributes.member.2.Value", "true"),
    ];
    elbv2(&sandbox, "ModifyTargetGroupAttributes", &delay).await.unwrap();
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    leave(&sandbox, &arn, Target::new(WEB));
    sandbox.advance(Duration::from_secs(89)).await;
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[delay[0]]).await.unwrap();
    assert_eq!(texts(&body, "State"), ["draining"]);
    assert_eq!(texts(&body, "Reason"), ["Target.DeregistrationInProgress"]);
    sandbox.advance(Duration::from_secs(1)).await;
    assert!(sandbox.with(|world| targets(world, &arn)).is_empty());
    let asked = [delay[0], ("Targets.member.1.Id", WEB)];
    let body = elbv2(&sandbox, "DescribeTargetHealth", &asked).await.unwrap();
    assert_eq!(
        (texts(&body, "State"), texts(&body, "Reason")),
        (vec!["unused".into()], vec!["Target.NotRegistered".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_a_deregistered_target_is_gone_at_once() {
    let (sandbox, arn) = group(instances());
    sandbox.with(|world| set_deregistration_delay(world, &arn, Duration::ZERO)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    leave(&sandbox, &arn, Target::new(WEB));
    assert!(sandbox.with(|world| targets(world, &arn)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn unused_target_drains_by_the_clock_all_the_same() {
    let sandbox = sandbox(Options::default());
    let arn = sandbox.with(|world| create_target_group(world, instances())).unwrap();
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health(&sandbox, &arn), Health::NotInUse);
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    leave(&sandbox, &arn, Target::new(WEB));
    sandbox.advance(Duration::from_secs(299)).await;
    assert_eq!(health(&sandbox, &arn), Health::DeregistrationInProgress);
}

#[tokio::test(start_paused = true)]
async fn odd_attributes_are_refused_and_nothing_changed() {
    let (sandbox, arn) = group(instances());
    for (key, value) in [
        ("deregistration_delay.timeout_seconds", "3601"),
        ("deregistration_delay.timeout_seconds", "soon"),
        ("proxy_protocol_v2.enabled", "true"),
    ] {
        let fields =
            [("TargetGroupArn", arn.as_str()), ("Attributes.member.1.Key", key), ("Attributes.member.1.Value", value)];
        assert_eq!(code(elbv2(&sandbox, "ModifyTargetGroupAttributes", &fields).await), "ValidationError", "{key}");
    }
    let body = elbv2(&sandbox, "DescribeTargetGroupAttributes", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert!(body.contains("<Key>deregistration_delay.timeout_seconds</Key><Value>300</Value>"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn draining_instance_registered_again_is_back_at_once() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    sandbox.advance(Duration::from_secs(60)).await;
    leave(&sandbox, &arn, Target::new(WEB));
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health(&sandbox, &arn), Health::RegistrationInProgress);
    sandbox.advance(Duration::from_secs(301)).await;
    assert_eq!(health(&sandbox, &arn), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn draining_address_is_refused_until_the_delay_is_over() {
    let (sandbox, arn) = group(addresses());
    enter(&sandbox, &arn, Target::new("10.0.0.7")).unwrap();
    leave(&sandbox, &arn, Target::new("10.0.0.7"));
    for target in [Target::new("10.0.0.7"), Target::new("10.0.0.7").on(8080)] {
        assert_eq!(code(enter(&sandbox, &arn, target)), "InvalidTarget");
    }
    enter(&sandbox, &arn, Target::new("10.0.1.7")).unwrap();
    sandbox.advance(Duration::from_secs(300)).await;
    enter(&sandbox, &arn, Target::new("10.0.0.7")).unwrap();
    assert_eq!(present(&sandbox, &arn).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn draining_address_is_accepted_and_lost() {
    let same_address_while_draining = SameAddressWhileDraining::AcceptedAndLost;
    let (sandbox, arn) = group_with(addresses(), Options { same_address_while_draining, ..Options::default() });
    enter(&sandbox, &arn, Target::new("10.0.0.7")).unwrap();
    leave(&sandbox, &arn, Target::new("10.0.0.7"));
    enter(&sandbox, &arn, Target::new("10.0.0.7")).expect("it looks well");
    assert_eq!(health(&sandbox, &arn), Health::DeregistrationInProgress);
    sandbox.advance(Duration::from_secs(300)).await;
    assert!(sandbox.with(|world| targets(world, &arn)).is_empty());
    enter(&sandbox, &arn, Target::new("10.0.0.7")).unwrap();
    assert_eq!(present(&sandbox, &arn).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_bad_target_fails_the_whole_registration() {
    let (sandbox, arn) = group(instances());
    sandbox.with(|world| bring(world, API, InstanceState::Stopping));
    for (bad, expected, words) in [
        (API, "InvalidTarget", "The following targets are not in a running state and cannot be registered: '"),
        (FAR, "InvalidTarget", "The following targets are not in the target group VPC"),
        ("i-000000000000dead", "InvalidTarget", "The following targets are not valid instances"),
        ("10.0.0.7", "ValidationError", "Instance ID '10.0.0.7' is not valid"),
    ] {
        let fields = [("TargetGroupArn", arn.as_str()), ("Targets.member.1.Id", WEB), ("Targets.member.2.Id", bad)];
        let (code, message) = elbv2(&sandbox, "RegisterTargets", &fields).await.unwrap_err();
        assert_eq!(code, expected);
        assert!(message.starts_with(words), "{message}");
        assert!(present(&sandbox, &arn).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn zone_of_an_address_is_found_told_or_refused() {
    let (sandbox, arn) = group(addresses());
    for (target, expected) in [
        (Target::new("10.0.1.9"), Ok("us-east-1b")),
        (Target::new("10.0.1.10").zone("us-east-1b"), Ok("us-east-1b")),
        (
            Target::new("10.0.0.9").zone("all"),
            Err("cannot have its Availability Zone overridden to 'all' from 'us-east-1a'"),
        ),
        (Target::new("192.168.3.4").zone("all"), Ok("all")),
        (Target::new("192.168.3.5"), Err("You must specify a valid Availability Zone or select 'all'")),
        (Target::new("192.168.3.5").zone("mars"), Err("You must specify a valid Availability Zone or select 'all'")),
        // In the VPC's block, but in none of its subnets.
        (Target::new("10.0.9.9"), Err("You must specify a valid Availability Zone or select 'all'")),
        (Target::new("8.8.8.8").zone("all"), Err("is not within a VPC subnet or a private address range")),
        (Target::new("fd00::1"), Err("does not fit the IP address type")),
        (Target::new("web-1"), Err("is not valid")),
    ] {
        let outcome = enter(&sandbox, &arn, target.clone());
        match expected {
            Ok(zone) => {
                outcome.unwrap();
                let views = sandbox.with(|world| targets(world, &arn));
                let view = views.iter().find(|view| view.id == target.id).unwrap();
                assert_eq!(view.zone.as_deref(), Some(zone), "{target:?}");
            }
            Err(words) => {
                let (code, message) = outcome.unwrap_err();
                assert!(code == "ValidationError" && message.contains(words), "{target:?}: {message}");
            }
        }
    }
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert_eq!(texts(&body, "AvailabilityZone"), ["us-east-1b", "us-east-1b", "all"], "found zones are reported, too");
}

#[tokio::test(start_paused = true)]
async fn instance_target_takes_no_zone() {
    let (sandbox, arn) = group(instances());
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB).zone("us-east-1a"))), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn ipv6_group_takes_no_ipv4_and_keeps_addresses_in_one_form() {
    let sandbox = sandbox(Options::default());
    let arn = sandbox.with(|world| {
        let block = ("2001:db8::".parse().unwrap(), 64);
        world.ec2.subnets.get_mut("subnet-a").unwrap().ipv6_cidr = Some(block);
        create_target_group(world, addresses().ipv6()).unwrap()
    });
    assert_eq!(code(enter(&sandbox, &arn, Target::new("10.0.0.7"))), "ValidationError");
    enter(&sandbox, &arn, Target::new("2001:db8:0::7")).unwrap();
    let views = sandbox.with(|world| targets(world, &arn));
    assert_eq!((views[0].id.as_str(), views[0].zone.as_deref()), ("2001:db8::7", Some("us-east-1a")));
}

#[tokio::test(start_paused = true)]
async fn instance_in_an_ipv6_group_needs_a_primary_ipv6_address() {
    let (sandbox, arn) = group(instances().ipv6());
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB))), "InvalidTarget");
    sandbox.with(|world| {
        let now = world.now();
        let address = ("2001:db8::7".parse().unwrap(), true);
        world.ec2.instances.get_mut(WEB).unwrap().change(now, |i| i.interfaces[0].ipv6 = vec![address]);
    });
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn quic_id_is_kept_and_reported() {
    let (sandbox, arn) = group(instances().protocol("QUIC"));
    let id = "0xa1b2c3d4e5f60718";
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB))), "ValidationError");
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB).quic("0xA1"))), "ValidationError");
    enter(&sandbox, &arn, Target::new(WEB).quic(id)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).quic(id)).expect("it is so already");
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB).quic("0xa1b2c3d4e5f60719"))), "InvalidTarget");
    assert_eq!(code(enter(&sandbox, &arn, Target::new(API).quic(id))), "InvalidTarget");
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert_eq!(texts(&body, "QuicServerId"), [id]);
}

#[tokio::test(start_paused = true)]
async fn quotas_refuse_what_is_too_much() {
    let (sandbox, arn) = group(instances());
    sandbox.with(|world| (world.elbv2.targets_per_group, world.elbv2.registrations_per_id) = (3, 2));
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).on(81)).unwrap();
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB).on(82))), "TooManyRegistrationsForTargetId");
    enter(&sandbox, &arn, Target::new(WEB).on(81)).expect("it is counted already");
    enter(&sandbox, &arn, Target::new(API)).unwrap();
    assert_eq!(code(enter(&sandbox, &arn, Target::new(API).on(81))), "TooManyTargets");
    let other = sandbox.with(|world| {
        let other = create_target_group(world, TargetGroupSpec::instances("other", "vpc-1", 80)).unwrap();
        let balancer = arn_of(world, "front").unwrap();
        attach(world, &other, &balancer, 81).unwrap();
        other
    });
    assert_eq!(code(enter(&sandbox, &other, Target::new(WEB))), "TooManyRegistrationsForTargetId");
}

#[tokio::test(start_paused = true)]
async fn registered_instance_becomes_healthy_in_two_stages() {
    let (sandbox, arn) = group(instances());
    sandbox.advance(Duration::from_secs(60)).await;
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health(&sandbox, &arn), Health::RegistrationInProgress);
    sandbox.advance(Duration::from_millis(9_900)).await;
    assert_eq!(health(&sandbox, &arn).state(), "initial");
    let mut seen = Vec::new();
    for _ in 0..160 {
        seen.push(health(&sandbox, &arn));
        sandbox.advance(Duration::from_millis(100)).await;
    }
    seen.dedup();
    assert!(seen.ends_with(&[Health::InitialHealthChecking, Health::Healthy]), "{seen:?}");
    sandbox.with(|world| world.elbv2.failing_health_checks.insert(WEB.into()));
    assert_eq!(health(&sandbox, &arn), Health::FailedHealthChecks);
}

#[tokio::test(start_paused = true)]
async fn stopped_instance_target_stays_and_is_unused() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB).on(8080)).unwrap();
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert_eq!(texts(&body, "Reason"), ["Target.InvalidState"]);
    assert_eq!(texts(&body, "Description"), ["Target is in the stopped state"]);
    assert_eq!((texts(&body, "Port"), texts(&body, "HealthCheckPort")), (vec!["8080".into()], vec!["8080".into()]));
    sandbox.advance(Duration::from_secs(60)).await;
    sandbox.with(|world| bring(world, WEB, InstanceState::Running));
    assert_eq!(health(&sandbox, &arn).state(), "initial");
    sandbox.advance(Duration::from_secs(26)).await;
    assert_eq!(health(&sandbox, &arn), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn target_in_a_zone_without_the_balancer_is_unused() {
    let (sandbox, arn) = group(instances());
    let balancer = sandbox.with(|world| arn_of(world, "front")).unwrap();
    sandbox.with(|world| {
        world.elbv2.load_balancers.get_mut(&balancer).unwrap().spec.subnets = Some(vec!["subnet-b".into()]);
    });
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health(&sandbox, &arn), Health::ZoneNotEnabled);
}

#[tokio::test(start_paused = true)]
async fn terminated_instance_target_leaves_by_itself() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    enter(&sandbox, &arn, Target::new(WEB).on(8080)).unwrap();
    sandbox.with(|world| bring(world, WEB, InstanceState::ShuttingDown));
    assert_eq!(present(&sandbox, &arn).len(), 2);
    sandbox.with(|world| bring(world, WEB, InstanceState::Terminated));
    assert!(present(&sandbox, &arn).is_empty());
    leave(&sandbox, &arn, Target::new(WEB).on(8080));
    sandbox.advance(Duration::from_secs(301)).await;
    assert!(sandbox.with(|world| targets(world, &arn)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn address_of_a_terminated_instance_stays_and_serves_its_next_owner() {
    let (sandbox, arn) = group(addresses());
    enter(&sandbox, &arn, Target::new("10.0.0.7")).unwrap();
    sandbox.advance(Duration::from_secs(30)).await;
    assert_eq!(health(&sandbox, &arn), Health::Healthy);
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    assert_eq!(health(&sandbox, &arn), Health::Timeout);
    sandbox.with(|world| {
        bring(world, WEB, InstanceState::Terminated);
        world.ec2.interfaces.retain(|_, interface| !interface.has(IpAddr::from([10, 0, 0, 7])));
    });
    sandbox.advance(Duration::from_secs(4_000)).await;
    assert_eq!(health(&sandbox, &arn), Health::Timeout);
    sandbox.with(|world| run(world, "i-00000000000000b1", "subnet-a", [10, 0, 0, 7]));
    sandbox.advance(Duration::from_secs(30)).await;
    assert_eq!(health(&sandbox, &arn), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn address_of_another_network_is_as_its_owner_there() {
    let (sandbox, arn) = group(addresses());
    enter(&sandbox, &arn, Target::new("10.1.0.7").zone("all")).unwrap();
    sandbox.advance(Duration::from_secs(30)).await;
    assert_eq!(health(&sandbox, &arn), Health::Healthy);
    sandbox.with(|world| bring(world, FAR, InstanceState::Stopped));
    assert_eq!(health(&sandbox, &arn), Health::Timeout);
}

#[tokio::test(start_paused = true)]
async fn function_without_checks_is_unavailable() {
    let (sandbox, arn) = group(TargetGroupSpec::function("fn"));
    let function = "arn:aws:lambda:us-east-1:123456789012:function:hello";
    enter(&sandbox, &arn, Target::new(function)).unwrap();
    assert_eq!(code(enter(&sandbox, &arn, Target::new(function.replace("hello", "bye")))), "TooManyTargets");
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert_eq!(
        (texts(&body, "State"), texts(&body, "Reason")),
        (vec!["unavailable".into()], vec!["Target.HealthCheckDisabled".into()])
    );
    assert!(texts(&body, "Port").is_empty());
    leave(&sandbox, &arn, Target::new(function));
    assert!(sandbox.with(|world| targets(world, &arn)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn checks_of_instances_cannot_be_switched_off() {
    let sandbox = sandbox(Options::default());
    let fields =
        [("Name", "web"), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", "vpc-1"), ("HealthCheckEnabled", "false")];
    assert_eq!(code(elbv2(&sandbox, "CreateTargetGroup", &fields).await), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn group_of_a_balancer_has_that_balancer_as_its_target() {
    let spec = TargetGroupSpec::new("chain", TargetType::Alb, Some("TCP"), Some(80), Some("vpc-1"));
    let (sandbox, arn) = group(spec);
    let inner = sandbox.with(|world| create_load_balancer(world, Kind::Application, "inner", "vpc-1")).unwrap();
    enter(&sandbox, &arn, Target::new(&inner)).unwrap();
    assert_eq!(code(enter(&sandbox, &arn, Target::new(WEB))), "ValidationError");
    let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
    assert_eq!(texts(&body, "Id"), [inner]);
}

#[tokio::test(start_paused = true)]
async fn group_serves_one_balancer_of_its_kind() {
    let (sandbox, arn) = group(instances());
    sandbox.with(|world| {
        let second = create_load_balancer(world, Kind::Application, "second", "vpc-1").unwrap();
        assert_eq!(attach(world, &arn, &second, 80).unwrap_err().code, "TargetGroupAssociationLimit");
        let network = create_load_balancer(world, Kind::Network, "network", "vpc-1").unwrap();
        assert!(network.contains(":loadbalancer/net/network/"));
        assert_eq!(attach(world, &arn, &network, 80).unwrap_err().code, "IncompatibleProtocols");
        let front = arn_of(world, "front").unwrap();
        delete_load_balancer(world, &front);
        assert!(world.elbv2.balancers_of(&arn).is_empty(), "its listeners go with it");
    });
}

#[tokio::test(start_paused = true)]
async fn stale_read_shows_the_targets_of_before() {
    let (sandbox, arn) = group(instances());
    sandbox.advance(Duration::from_secs(60)).await;
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    let fields = [("TargetGroupArn", arn.as_str())];
    let stale = sandbox.fault(every("DescribeTargetHealth", Verdict::Stale(Duration::from_secs(10))));
    assert!(texts(&elbv2(&sandbox, "DescribeTargetHealth", &fields).await.unwrap(), "Id").is_empty());
    sandbox.advance(Duration::from_secs(60)).await;
    leave(&sandbox, &arn, Target::new(WEB));
    assert_eq!(texts(&elbv2(&sandbox, "DescribeTargetHealth", &fields).await.unwrap(), "State"), ["healthy"]);
    drop(stale);
    assert_eq!(texts(&elbv2(&sandbox, "DescribeTargetHealth", &fields).await.unwrap(), "State"), ["draining"]);
}

#[tokio::test(start_paused = true)]
async fn tags_of_groups_and_balancers_are_described_together() {
    let (sandbox, arn) = group(instances().tag("team", "blue"));
    let balancer = sandbox.with(|world| arn_of(world, "front")).unwrap();
    let both = [("ResourceArns.member.1", arn.as_str()), ("ResourceArns.member.2", balancer.as_str())];
    let tag = [("Tags.member.1.Key", "elb-registrar:ignore"), ("Tags.member.1.Value", "")];
    elbv2(&sandbox, "AddTags", &[both[1], tag[0], tag[1]]).await.unwrap();
    let body = elbv2(&sandbox, "DescribeTags", &both).await.unwrap();
    assert_eq!(texts(&body, "ResourceArn"), [arn.as_str(), balancer.as_str()]);
    assert_eq!(texts(&body, "Key"), ["team", "elb-registrar:ignore"]);
    elbv2(&sandbox, "RemoveTags", &[both[0], ("TagKeys.member.1", "team")]).await.unwrap();
    assert_eq!(texts(&elbv2(&sandbox, "DescribeTags", &both).await.unwrap(), "Key").len(), 1);
    for (gone, expected) in [
        (arn.replace("/web/", "/gone/"), "TargetGroupNotFound"),
        (balancer.replace("/front/", "/gone/"), "LoadBalancerNotFound"),
    ] {
        let fields = [both[0], ("ResourceArns.member.2", gone.as_str())];
        assert_eq!(code(elbv2(&sandbox, "DescribeTags", &fields).await), expected);
    }
    let keys: Vec<_> = (1..=21).map(|n| format!("ResourceArns.member.{n}")).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), arn.as_str())).collect();
    assert_eq!(code(elbv2(&sandbox, "DescribeTags", &many).await), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_modelled_fails_loudly() {
    let (sandbox, arn) = group(instances());
    let include = [("TargetGroupArn", arn.as_str()), ("Include.member.1", "AnomalyDetection")];
    assert_eq!(code(elbv2(&sandbox, "DescribeTargetHealth", &include).await), "NotModelledBySandbox");
    assert_eq!(code(elbv2(&sandbox, "DescribeRules", &[]).await), "NotModelledBySandbox");
}

#[tokio::test(start_paused = true)]
async fn order_of_targets_varies_and_the_set_does_not() {
    let (sandbox, arn) = group_with(instances(), Options::default());
    for port in 8000..8020 {
        enter(&sandbox, &arn, Target::new(WEB).on(port)).unwrap();
    }
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let body = elbv2(&sandbox, "DescribeTargetHealth", &[("TargetGroupArn", &arn)]).await.unwrap();
        orders.insert(texts(&body, "Port"));
    }
    assert_eq!(orders.len(), 3);
    let sets = orders.into_iter().map(|order| order.into_iter().collect::<std::collections::BTreeSet<_>>());
    assert_eq!(sets.collect::<std::collections::BTreeSet<_>>().len(), 1);
}

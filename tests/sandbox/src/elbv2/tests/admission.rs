//! The targets that a group takes, and those that it refuses.

use super::*;

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
    assert_eq!(health_of(&sandbox, &arn), Health::DeregistrationInProgress);
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

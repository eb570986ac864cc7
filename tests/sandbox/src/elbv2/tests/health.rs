//! DescribeTargetHealth's reports, and their times.

use super::*;

#[tokio::test(start_paused = true)]
async fn registered_instance_becomes_healthy_in_two_stages() {
    let (sandbox, arn) = group(instances());
    sandbox.advance(Duration::from_secs(60)).await;
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health_of(&sandbox, &arn), Health::RegistrationInProgress);
    sandbox.advance(Duration::from_millis(9_900)).await;
    assert_eq!(health_of(&sandbox, &arn).state(), "initial");
    let mut seen = Vec::new();
    for _ in 0..160 {
        seen.push(health_of(&sandbox, &arn));
        sandbox.advance(Duration::from_millis(100)).await;
    }
    seen.dedup();
    assert!(seen.ends_with(&[Health::InitialHealthChecking, Health::Healthy]), "{seen:?}");
    sandbox.with(|world| world.elbv2.failing_health_checks.insert(WEB.into()));
    assert_eq!(health_of(&sandbox, &arn), Health::FailedHealthChecks);
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
    assert_eq!(health_of(&sandbox, &arn).state(), "initial");
    sandbox.advance(Duration::from_secs(26)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn target_in_a_zone_without_the_balancer_is_unused() {
    let (sandbox, arn) = group(instances());
    let balancer = sandbox.with(|world| arn_of(world, "front")).unwrap();
    sandbox.with(|world| {
        world.elbv2.load_balancers.get_mut(&balancer).unwrap().spec.subnets = Some(vec!["subnet-b".into()]);
    });
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health_of(&sandbox, &arn), Health::ZoneNotEnabled);
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
    assert_eq!(health_of(&sandbox, &arn), Health::Healthy);
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    assert_eq!(health_of(&sandbox, &arn), Health::Timeout);
    sandbox.with(|world| {
        bring(world, WEB, InstanceState::Terminated);
        world.ec2.interfaces.retain(|_, interface| !interface.has(IpAddr::from([10, 0, 0, 7])));
    });
    sandbox.advance(Duration::from_secs(4_000)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::Timeout);
    sandbox.with(|world| run(world, "i-00000000000000b1", "subnet-a", [10, 0, 0, 7]));
    sandbox.advance(Duration::from_secs(30)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn address_of_another_network_is_as_its_owner_there() {
    let (sandbox, arn) = group(addresses());
    enter(&sandbox, &arn, Target::new("10.1.0.7").zone("all")).unwrap();
    sandbox.advance(Duration::from_secs(30)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::Healthy);
    sandbox.with(|world| bring(world, FAR, InstanceState::Stopped));
    assert_eq!(health_of(&sandbox, &arn), Health::Timeout);
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

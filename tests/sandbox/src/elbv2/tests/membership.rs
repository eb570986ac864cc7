//! Registering, deregistering and draining.

use super::*;

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
    for (spec, id) in [(instances(), WEB), (addresses(), "10.0.0.7")] {
        let (sandbox, arn) = group(spec);
        enter(&sandbox, &arn, Target::new(id).on(8080)).unwrap();
        let fields = [("TargetGroupArn", arn.as_str()), ("Targets.member.1.Id", id)];
        elbv2(&sandbox, "DeregisterTargets", &fields).await.unwrap();
        assert_eq!(present(&sandbox, &arn), [(id.into(), 8080)]);
        let fields = [fields[0], fields[1], ("Targets.member.1.Port", "8080")];
        elbv2(&sandbox, "DeregisterTargets", &fields).await.unwrap();
        assert!(present(&sandbox, &arn).is_empty());
        elbv2(&sandbox, "DeregisterTargets", &fields).await.expect("a missing target is no error");
    }
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
    assert_eq!(health_of(&sandbox, &arn), Health::NotInUse);
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    leave(&sandbox, &arn, Target::new(WEB));
    sandbox.advance(Duration::from_secs(299)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::DeregistrationInProgress);
}

#[tokio::test(start_paused = true)]
async fn draining_instance_registered_again_is_back_at_once() {
    let (sandbox, arn) = group(instances());
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    sandbox.advance(Duration::from_secs(60)).await;
    leave(&sandbox, &arn, Target::new(WEB));
    enter(&sandbox, &arn, Target::new(WEB)).unwrap();
    assert_eq!(health_of(&sandbox, &arn), Health::RegistrationInProgress);
    sandbox.advance(Duration::from_secs(301)).await;
    assert_eq!(health_of(&sandbox, &arn), Health::Healthy);
}

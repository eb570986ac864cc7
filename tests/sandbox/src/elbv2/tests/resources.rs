//! Load balancers, listeners, groups, their attributes and tags.

use super::*;

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
    let again = elbv2(&sandbox, "CreateLoadBalancer", &fields).await.unwrap();
    assert_eq!(texts(&again, "LoadBalancerArn"), [balancer.as_str()], "the same settings are the same load balancer");
    let other = [fields.as_slice(), &[("Scheme", "internal")]].concat();
    assert_eq!(code(elbv2(&sandbox, "CreateLoadBalancer", &other).await), "DuplicateLoadBalancerName");
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
    let again = elbv2(&sandbox, "CreateListener", &listener).await.unwrap();
    assert_eq!(texts(&again, "ListenerArn"), [listener_arn.as_str()], "the same settings are the same listener");
    let other = [listener.as_slice(), &[("Tags.member.1.Key", "a")]].concat();
    assert_eq!(code(elbv2(&sandbox, "CreateListener", &other).await), "DuplicateListener");
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
async fn a_health_check_is_changed_as_far_as_a_call_names_it() {
    let (sandbox, arn) = group(instances());
    let group = ("TargetGroupArn", arn.as_str());
    let change = [group, ("HealthCheckPath", "/health"), ("Matcher.HttpCode", "200-299")];
    let body = elbv2(&sandbox, "ModifyTargetGroup", &change).await.unwrap();
    for (name, value) in [("HealthCheckPath", "/health"), ("HttpCode", "200-299"), ("HealthCheckTimeoutSeconds", "6")] {
        assert_eq!(texts(&body, name), [value], "{name}");
    }
    let off = [group, ("HealthCheckEnabled", "false"), ("HealthCheckPath", "/off")];
    assert_eq!(code(elbv2(&sandbox, "ModifyTargetGroup", &off).await), "ValidationError");
    let body = elbv2(&sandbox, "DescribeTargetGroups", &[]).await.unwrap();
    assert_eq!(texts(&body, "HealthCheckPath"), ["/health"]);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_tells_its_attributes_and_its_default_rules() {
    let (sandbox, arn) = group(instances());
    let (front, network) = sandbox.with(|world| {
        let network = create_load_balancer(world, Kind::Network, "network", "vpc-1").unwrap();
        (arn_of(world, "front").unwrap(), network)
    });
    for (balancer, cross_zone, idle) in [(&front, "true", 1), (&network, "false", 0)] {
        let body = elbv2(&sandbox, "DescribeLoadBalancerAttributes", &[("LoadBalancerArn", balancer)]).await.unwrap();
        let said = format!("<Key>load_balancing.cross_zone.enabled</Key><Value>{cross_zone}</Value>");
        assert!(body.contains(&said), "{body}");
        assert_eq!(texts(&body, "Key").iter().filter(|key| *key == "idle_timeout.timeout_seconds").count(), idle);
    }
    let body = elbv2(&sandbox, "DescribeListeners", &[("LoadBalancerArn", &front)]).await.unwrap();
    let listener = texts(&body, "ListenerArn").remove(0);
    let body = elbv2(&sandbox, "DescribeRules", &[("ListenerArn", &listener)]).await.unwrap();
    assert_eq!((texts(&body, "Priority"), texts(&body, "IsDefault")), (vec!["default".into()], vec!["true".into()]));
    assert!(texts(&body, "TargetGroupArn").contains(&arn), "{body}");
    let rule = texts(&body, "RuleArn").remove(0);
    let again = elbv2(&sandbox, "DescribeRules", &[("RuleArns.member.1", &rule)]).await.unwrap();
    assert_eq!(texts(&again, "RuleArn"), [rule.as_str()]);
    let gone = rule.replace("/front/", "/gone/");
    for (field, value, expected) in
        [("RuleArns.member.1", gone.as_str(), "RuleNotFound"), ("ListenerArn", gone.as_str(), "ListenerNotFound")]
    {
        assert_eq!(code(elbv2(&sandbox, "DescribeRules", &[(field, value)]).await), expected);
    }
    assert_eq!(code(elbv2(&sandbox, "DescribeRules", &[]).await), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn checks_of_instances_cannot_be_switched_off() {
    let sandbox = sandbox(Options::default());
    let fields =
        [("Name", "web"), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", "vpc-1"), ("HealthCheckEnabled", "false")];
    assert_eq!(code(elbv2(&sandbox, "CreateTargetGroup", &fields).await), "ValidationError");
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
async fn unmodelled_calls_fail_loudly() {
    let (sandbox, arn) = group(instances());
    let include = [("TargetGroupArn", arn.as_str()), ("Include.member.1", "AnomalyDetection")];
    assert_eq!(code(elbv2(&sandbox, "DescribeTargetHealth", &include).await), "NotModelledBySandbox");
    assert_eq!(code(elbv2(&sandbox, "CreateRule", &[]).await), "NotModelledBySandbox");
}

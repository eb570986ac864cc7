"""Target groups and their load balancers."""

import pytest

from clients import eventually, refused

DELAY = "deregistration_delay.timeout_seconds"


@pytest.fixture
def group(boto, network):
    """Makes a target group, by default of instances on port 80, and returns its ARN."""

    def make(name="web", **wishes):
        wishes = {"Protocol": "HTTP", "Port": 80, "VpcId": network.vpc} | wishes
        return boto.elbv2.create_target_group(Name=name, **wishes)["TargetGroups"][0]["TargetGroupArn"]

    return make


def health(aws, arn):
    """The id, the port and the state of each target, and its zone if it has one."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    targets = [(told["Target"], told["TargetHealth"]["State"]) for told in answer]
    return sorted((t["Id"], t["Port"], state, *filter(None, [t.get("AvailabilityZone")])) for t, state in targets)


def test_both_kinds_of_load_balancers_forward_to_their_groups(aws, network):
    for kind, protocol, subnets in ("application", "HTTP", [network.a, network.b]), ("network", "TCP", [network.a]):
        [made] = aws.elbv2.create_load_balancer(Name=kind, Type=kind, Subnets=subnets)["LoadBalancers"]
        [again] = aws.elbv2.create_load_balancer(Name=kind, Type=kind, Subnets=subnets)["LoadBalancers"]
        balancer = made["LoadBalancerArn"]
        assert again["LoadBalancerArn"] == balancer, "the same settings are the same load balancer"
        assert (made["Type"], made["State"]["Code"], len(made["AvailabilityZones"])) == (kind, "active", len(subnets))
        wishes = {"Protocol": protocol, "Port": 80, "VpcId": network.vpc, "TargetType": "ip"}
        group = aws.elbv2.create_target_group(Name=kind, **wishes)["TargetGroups"][0]
        assert {name: group[name] for name in wishes} == wishes
        forward = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
        aws.elbv2.create_listener(LoadBalancerArn=balancer, Protocol=protocol, Port=80, DefaultActions=forward)
        [listener] = aws.elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        assert listener["DefaultActions"][0]["TargetGroupArn"] == group["TargetGroupArn"]
        [rule] = aws.elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        assert (rule["Priority"], rule["IsDefault"], rule["Actions"]) == ("default", True, listener["DefaultActions"])
        attributes = aws.elbv2.describe_load_balancer_attributes(LoadBalancerArn=balancer)["Attributes"]
        cross_zone = "true" if kind == "application" else "false"
        assert {"Key": "load_balancing.cross_zone.enabled", "Value": cross_zone} in attributes
        [used] = aws.elbv2.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"]
        assert used["LoadBalancerArns"] == [balancer]


def test_a_group_keeps_its_attributes_health_check_and_tags(aws, group):
    arn = group(Tags=[{"Key": "team", "Value": "blue"}])
    aws.elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[{"Key": DELAY, "Value": "25"}])
    attributes = aws.elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    assert {"Key": DELAY, "Value": "25"} in attributes
    wishes = {"HealthCheckPath": "/health", "Matcher": {"HttpCode": "200-299"}}
    [changed] = aws.elbv2.modify_target_group(TargetGroupArn=arn, **wishes)["TargetGroups"]
    assert {name: changed[name] for name in wishes} == wishes
    aws.elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": "managed", "Value": "yes"}])
    aws.elbv2.remove_tags(ResourceArns=[arn], TagKeys=["team"])
    [tags] = aws.elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
    assert tags == {"ResourceArn": arn, "Tags": [{"Key": "managed", "Value": "yes"}]}


def test_an_instance_is_healthy_on_every_port_it_is_registered_on(aws, boto, network, group):
    arn, instance = group(), network.instance()
    alb = boto.elbv2.create_load_balancer(Name="front", Subnets=[network.a, network.b])["LoadBalancers"][0]
    aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": instance}, {"Id": instance, "Port": 8080}])
    assert health(aws, arn) == [(instance, 80, "unused"), (instance, 8080, "unused")]
    forward = [{"Type": "forward", "TargetGroupArn": arn}]
    boto.elbv2.create_listener(LoadBalancerArn=alb["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=forward)
    eventually(lambda: health(aws, arn), [(instance, 80, "healthy"), (instance, 8080, "healthy")])
    stranger = aws.elbv2.describe_target_health(TargetGroupArn=arn, Targets=[{"Id": instance, "Port": 9}])
    assert stranger["TargetHealthDescriptions"][0]["TargetHealth"]["Reason"] == "Target.NotRegistered"


def test_deregistering_without_the_port_of_a_port_override_succeeds_and_does_nothing(aws, network, group):
    arn, instance = group(), network.instance()
    aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": instance, "Port": 8080}])
    aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": instance}])
    assert health(aws, arn) == [(instance, 8080, "unused")]
    aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": instance, "Port": 8080}])
    assert health(aws, arn) in ([(instance, 8080, "draining")], [])


def test_a_target_drains_for_the_delay_of_its_group(aws, boto, network, group):
    def let_drain(seconds):
        attribute = {"Key": DELAY, "Value": str(seconds)}
        boto.elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[attribute])

    arn, (slow, quick) = group(), network.instances(2)
    aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": slow}, {"Id": quick}])
    let_drain(3600)
    aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": slow}])
    assert health(aws, arn) == [(slow, 80, "draining"), (quick, 80, "unused")]
    let_drain(60)
    aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": quick}])
    eventually(lambda: health(aws, arn), [(slow, 80, "draining")])


def test_one_instance_that_does_not_run_fails_the_whole_registration(aws, network, group):
    arn, (running, stopped) = group(), network.instances(2)
    aws.ec2.stop_instances(InstanceIds=[stopped])
    network.wait("stopped", stopped)
    with refused("InvalidTarget") as refusal:
        aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": running}, {"Id": stopped}])
    assert f"not in a running state and cannot be registered: '{stopped}'" in str(refusal.value)
    assert health(aws, arn) == []


def test_an_address_outside_the_network_needs_the_zone_all(aws, group):
    arn = group(TargetType="ip")
    with refused("ValidationError"):
        aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": "10.9.0.1"}])
    with refused("ValidationError"):
        aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": "10.0.2.20", "AvailabilityZone": "all"}])
    outside = {"Id": "10.9.0.1", "Port": 8080, "AvailabilityZone": "all"}
    aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": "10.0.2.20"}, outside])
    assert health(aws, arn) == [("10.0.2.20", 80, "unused", "us-east-1b"), ("10.9.0.1", 8080, "unused", "all")]


def test_a_quic_target_keeps_its_server_id(aws, network, group):
    arn, instance = group(Protocol="QUIC", Port=443), network.instance()
    target = {"Id": instance, "Port": 443, "QuicServerId": "0x00000000000000a1"}
    with refused("ValidationError"):
        aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": instance}])
    aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[target])
    [told] = aws.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert told["Target"] == target


def test_every_target_group_is_on_one_page(aws, group):
    arns = sorted(group(f"tg-{n}") for n in range(5))
    found = aws.pages("elbv2", "describe_target_groups", PageSize=2)["TargetGroups"]
    assert sorted(group["TargetGroupArn"] for group in found) == arns
    first = aws.elbv2.describe_target_groups(PageSize=2)
    assert (len(first["TargetGroups"]), bool(first["NextMarker"])) == (2, True)

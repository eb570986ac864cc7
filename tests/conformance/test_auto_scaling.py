"""Auto Scaling: groups, their members and what they register by themselves."""

import pytest


@pytest.fixture
def pool(boto, network):
    """A group `pool` that registers its members with a target group and a Classic Load Balancer, and both of these."""
    wishes = {"Protocol": "HTTP", "Port": 80, "VpcId": network.vpc}
    target_group = boto.elbv2.create_target_group(Name="web", **wishes)["TargetGroups"][0]["TargetGroupArn"]
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    boto.elb.create_load_balancer(LoadBalancerName="front", Listeners=[listener], Subnets=[network.a])
    group = {"AutoScalingGroupName": "pool", "MinSize": 0, "MaxSize": 4, "VPCZoneIdentifier": network.a}
    group |= {"LaunchTemplate": {"LaunchTemplateName": "web"}, "TargetGroupARNs": [target_group]}
    boto.autoscaling.create_auto_scaling_group(Tags=[{"Key": "team", "Value": "blue"}], **group)
    boto.autoscaling.attach_load_balancers(AutoScalingGroupName="pool", LoadBalancerNames=["front"])
    return target_group, "front"


def registered(boto, pool):
    """Who takes new connections from the target group and from the load balancer."""
    told = boto.elbv2.describe_target_health(TargetGroupArn=pool[0])["TargetHealthDescriptions"]
    targets = {one["Target"]["Id"] for one in told if one["TargetHealth"]["State"] != "draining"}
    [classic] = boto.elb.describe_load_balancers(LoadBalancerNames=[pool[1]])["LoadBalancerDescriptions"]
    return targets, {one["InstanceId"] for one in classic["Instances"]}


def test_a_group_registers_its_members_and_deregisters_them_in_standby(aws, boto, network, pool):
    one, other = network.instances(2)
    mine = {"AutoScalingGroupName": "pool"}
    aws.autoscaling.attach_instances(InstanceIds=[one, other], **mine)
    assert registered(boto, pool) == ({one, other}, {one, other})
    leave = {"ShouldDecrementDesiredCapacity": True} | mine
    aws.autoscaling.enter_standby(InstanceIds=[one], **leave)
    assert registered(boto, pool) == ({other}, {other})
    asked = [one, other, "i-00000000000000fff"]
    members = aws.autoscaling.describe_auto_scaling_instances(InstanceIds=asked)["AutoScalingInstances"]
    states = {member["InstanceId"]: member["LifecycleState"] for member in members}
    assert states == {one: "Standby", other: "InService"}
    aws.autoscaling.exit_standby(InstanceIds=[one], **mine)
    aws.autoscaling.detach_instances(InstanceIds=[other], **leave)
    assert registered(boto, pool) == ({one}, {one})
    [instance] = aws.ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"]
    assert instance["Tags"] == [{"Key": "aws:autoscaling:groupName", "Value": "pool"}]


def test_a_group_tells_what_traffic_it_owns(aws, pool):
    names = ["pool", "unknown"]
    [group] = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=names)["AutoScalingGroups"]
    assert (group["TargetGroupARNs"], group["LoadBalancerNames"]) == ([pool[0]], [pool[1]])
    assert {source["Identifier"] for source in group["TrafficSources"]} == set(pool)
    mine = {"AutoScalingGroupName": "pool"}
    sources = aws.autoscaling.describe_traffic_sources(**mine)["TrafficSources"]
    assert {(source["Identifier"], source["Type"]) for source in sources} == {(pool[0], "elbv2"), (pool[1], "elb")}
    [owned] = aws.autoscaling.describe_load_balancer_target_groups(**mine)["LoadBalancerTargetGroups"]
    assert owned["LoadBalancerTargetGroupARN"] == pool[0]
    aws.autoscaling.detach_load_balancers(LoadBalancerNames=[pool[1]], **mine)
    assert aws.autoscaling.describe_load_balancers(**mine)["LoadBalancers"] == []


def test_every_member_is_on_one_page(aws, boto, network, pool):
    ids = network.instances(3)
    boto.autoscaling.attach_instances(InstanceIds=ids, AutoScalingGroupName="pool")
    found = aws.pages("autoscaling", "describe_auto_scaling_instances", MaxRecords=2)["AutoScalingInstances"]
    assert sorted(member["InstanceId"] for member in found) == ids

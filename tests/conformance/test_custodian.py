"""Cloud Custodian: its policies as people write them, and what they do to a simulated AWS.

It has no action that registers or deregisters a target or an instance.
"""

from datetime import datetime, timezone

import pytest

from clients import eventually


def hours(now, then):
    """A schedule in a tag: `now` ("off" or "on") in this hour and in the next, so that no test fails at the turn of an hour, and
    `then` half a day later. The days are all of the week."""
    hour = datetime.now(timezone.utc).hour
    present, later = f"[(M-U,{hour}),(M-U,{(hour + 1) % 24})]", f"(M-U,{(hour + 12) % 24})"
    return f"{now}={present};{then}={later};tz=utc"


def states(boto, *ids):
    reservations = boto.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    found = {i["InstanceId"]: i["State"]["Name"] for reservation in reservations for i in reservation["Instances"]}
    return [found[instance] for instance in ids]


def tag(boto, instance, **tags):
    boto.ec2.create_tags(Resources=[instance], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


def tags_of(boto, instance):
    tags = boto.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance]}])["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags}


def names(resources, field):
    return sorted(resource[field] for resource in resources)


def test_an_instance_sleeps_in_the_hours_of_its_tag(boto, custodian, network):
    sleeper, watcher, plain = network.instances(3)
    tag(boto, sleeper, custodian_downtime=hours("off", "on"))
    tag(boto, watcher, custodian_downtime=hours("on", "off"))
    found = custodian.run("off_hours.yml")
    assert names(found["stop-off-hours"], "InstanceId") == [sleeper]
    assert found["start-on-hours"] == []
    network.wait("stopped", sleeper)
    assert states(boto, watcher, plain) == ["running", "running"]

    tag(boto, sleeper, custodian_downtime=hours("on", "off"))
    found = custodian.run("off_hours.yml")
    assert names(found["start-on-hours"], "InstanceId") == [sleeper]
    network.wait("running", sleeper)


def test_an_instance_without_owner_is_marked_and_then_stopped(boto, custodian, network):
    owned, orphan = network.instances(2)
    tag(boto, owned, owner="shop", custodian_cleanup="Resource does not meet policy: stop@2020/01/01")
    found = custodian.run("owners.yml")
    assert [
        names(found[policy], "InstanceId") for policy in ("mark-without-owner", "unmark-with-owner", "stop-marked")
    ] == [
        [orphan],
        [owned],
        [orphan],
    ]
    network.wait("stopped", orphan)
    assert states(boto, owned) == ["running"]
    assert tags_of(boto, owned) == {"owner": "shop"}
    marked = tags_of(boto, orphan)
    assert marked.keys() == {"custodian_cleanup", "stopped_by"}
    assert "stop@" in marked["custodian_cleanup"]


def forward(boto, network, group, balancer):
    """Lets a new Application Load Balancer forward to a group."""
    made = boto.elbv2.create_load_balancer(Name=balancer, Subnets=[network.a, network.b])["LoadBalancers"][0]
    actions = [{"Type": "forward", "TargetGroupArn": group}]
    arn = made["LoadBalancerArn"]
    boto.elbv2.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=actions)
    return arn


def target_group(boto, network, name, *instances):
    wishes = {"Protocol": "HTTP", "Port": 80, "VpcId": network.vpc}
    arn = boto.elbv2.create_target_group(Name=name, **wishes)["TargetGroups"][0]["TargetGroupArn"]
    if instances:
        boto.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": instance} for instance in instances])
    return arn


def tags_behind(boto, arn):
    [described] = boto.elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
    return {tag["Key"]: tag["Value"] for tag in described["Tags"]}


def test_target_groups_are_found_by_the_health_of_their_targets(boto, custodian, network):
    running, stopped = network.instances(2)
    web, dead, empty = (
        target_group(boto, network, "web", running),
        target_group(boto, network, "dead", stopped),
        target_group(boto, network, "empty"),
    )
    forward(boto, network, web, "front"), forward(boto, network, dead, "back")
    boto.ec2.stop_instances(InstanceIds=[stopped])
    network.wait("stopped", stopped)

    def health(group):
        [target] = boto.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return target["TargetHealth"]["State"]

    eventually(lambda: (health(web), health(dead)), ("healthy", "unused"))
    found = custodian.run("target_groups.yml")
    assert {policy: names(groups, "TargetGroupName") for policy, groups in found.items()} == {
        "shorten-long-drains": ["web"],
        "mark-out-of-order": ["dead"],
        "delete-empty": ["empty"],
    }
    attributes = boto.elbv2.describe_target_group_attributes(TargetGroupArn=web)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "60"} in attributes
    assert tags_behind(boto, web) == {"drain": "short"}
    assert "delete@" in tags_behind(boto, dead)["custodian_cleanup"]
    left = boto.elbv2.describe_target_groups()["TargetGroups"]
    assert empty not in [group["TargetGroupArn"] for group in left]


@pytest.fixture
def classic(boto, network):
    """Makes a Classic load balancer with instances and tags, in which leaving instances drain."""

    def make(name, *instances, **tags):
        listener = {"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}
        boto.elb.create_load_balancer(LoadBalancerName=name, Listeners=[listener], Subnets=[network.a])
        draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
        boto.elb.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes=draining)
        if tags:
            boto.elb.add_tags(LoadBalancerNames=[name], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
        if instances:
            members = [{"InstanceId": instance} for instance in instances]
            boto.elb.register_instances_with_load_balancer(LoadBalancerName=name, Instances=members)

    return make


def test_load_balancers_are_found_by_instances_groups_and_tags(boto, custodian, network, classic):
    running, stopped = network.instances(2)
    classic("shop", running, team="shop"), classic("dead", running, stopped), classic("empty")
    front = forward(boto, network, target_group(boto, network, "web", running), "front")
    other = forward(boto, network, target_group(boto, network, "other", running), "other")
    boto.ec2.stop_instances(InstanceIds=[stopped])
    network.wait("stopped", stopped)

    found = custodian.run("load_balancers.yml")
    assert {policy: names(balancers, "LoadBalancerName") for policy, balancers in found.items()} == {
        "classic-with-stopped": ["dead"],
        "classic-of-the-shop": ["shop"],
        "classic-marked": ["shop"],
        "classic-without-instances": ["empty"],
        "application-on-plain-http": ["front"],
    }
    described = boto.elb.describe_tags(LoadBalancerNames=["dead", "shop"])["TagDescriptions"]
    tags = {one["LoadBalancerName"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in described}
    assert tags["dead"] == {"has-stopped": "yes"}
    assert tags["shop"].keys() == {"custodian_cleanup"}
    assert sorted(b["LoadBalancerName"] for b in boto.elb.describe_load_balancers()["LoadBalancerDescriptions"]) == [
        "dead",
        "shop",
    ]
    assert tags_behind(boto, front).keys() == {"listens", "custodian_cleanup"}
    assert tags_behind(boto, other) == {}


@pytest.fixture
def pool(boto, network):
    """An Auto Scaling group `pool` with two members."""
    group = {"AutoScalingGroupName": "pool", "MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    source = {"LaunchTemplate": {"LaunchTemplateName": "web"}, "VPCZoneIdentifier": network.a}
    boto.autoscaling.create_auto_scaling_group(**group, **source)
    eventually(lambda: [member["LifecycleState"] for member in described(boto)["Instances"]], ["InService"] * 2)


def described(boto):
    [group] = boto.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    return group


def tag_group(boto, **tags):
    common = {"ResourceId": "pool", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    boto.autoscaling.create_or_update_tags(Tags=[common | {"Key": key, "Value": value} for key, value in tags.items()])


@pytest.mark.usefixtures("pool")
def test_a_scaling_group_sleeps_with_its_members(boto, custodian, network):
    members = names(described(boto)["Instances"], "InstanceId")
    tag_group(boto, custodian_downtime=hours("off", "on"))
    custodian.run("scaling_groups.yml")
    network.wait("stopped", *members)
    asleep = described(boto)
    assert names(asleep["Instances"], "InstanceId") == members, "none is replaced"
    assert {"Launch", "Terminate", "ReplaceUnhealthy"} <= {p["ProcessName"] for p in asleep["SuspendedProcesses"]}
    assert "asleep" in [tag["Key"] for tag in asleep["Tags"]]

    tag_group(boto, custodian_downtime=hours("on", "off"))
    custodian.run("scaling_groups.yml")
    network.wait("running", *members)
    awake = described(boto)
    assert names(awake["Instances"], "InstanceId") == members
    assert (awake["SuspendedProcesses"], [tag["Key"] for tag in awake["Tags"]]) == ([], ["custodian_downtime"])


@pytest.mark.usefixtures("pool")
def test_a_scaling_group_without_owner_shrinks_and_grows_again(boto, custodian):
    def sizes():
        group = described(boto)
        return group["MinSize"], group["DesiredCapacity"], len(group["Instances"])

    custodian.run("scaling_sizes.yml")
    eventually(sizes, (0, 0, 0))
    tag_group(boto, owner="shop")
    custodian.run("scaling_sizes.yml")
    eventually(sizes, (1, 2, 2))
    tags = boto.autoscaling.describe_tags(Filters=[{"Name": "auto-scaling-group", "Values": ["pool"]}])["Tags"]
    assert names(tags, "Key") == ["owner"]

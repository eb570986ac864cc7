"""Auto Scaling: groups, their members and the registrations that groups make by themselves."""

import json

import pytest

from clients import eventually, refused


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
    """The instances that take new connections from the target group and from the load balancer."""
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

    def state_of_other():
        found = aws.autoscaling.describe_auto_scaling_instances(InstanceIds=[other])["AutoScalingInstances"]
        return [member["LifecycleState"] for member in found]

    eventually(state_of_other, [])
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


LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"
MINE = {"AutoScalingGroupName": "pool"}


def states(boto):
    members = boto.autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    return sorted(member["LifecycleState"] for member in members)


@pytest.fixture
def actions(boto):
    """A function that returns the next event of Auto Scaling about a waiting member."""
    url = boto.sqs.create_queue(QueueName="actions")["QueueUrl"]
    pattern = json.dumps({"source": ["aws.autoscaling"], "detail-type": [{"suffix": "Lifecycle Action"}]})
    boto.events.put_rule(Name="actions", EventPattern=pattern)
    queue = "arn:aws:sqs:us-east-1:123456789012:actions"
    policy = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [policy | {"Resource": queue}]}
    boto.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    boto.events.put_targets(Rule="actions", Targets=[{"Id": "queue", "Arn": queue}])

    def following():
        found = []
        eventually(lambda: bool(found or found.extend(receive())), True)
        return json.loads(found[0]["Body"])["detail"]

    def receive():
        messages = boto.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages", [])
        for message in messages:
            boto.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    return following


def test_hooks_are_put_described_and_deleted(aws, pool):
    hook = {"LifecycleHookName": "ready"} | MINE
    wishes = {"LifecycleTransition": LAUNCHING, "HeartbeatTimeout": 60, "NotificationMetadata": "blue"}
    aws.autoscaling.put_lifecycle_hook(**hook, **wishes)
    aws.autoscaling.put_lifecycle_hook(**hook, DefaultResult="CONTINUE")
    [told] = aws.autoscaling.describe_lifecycle_hooks(LifecycleHookNames=["ready"], **MINE)["LifecycleHooks"]
    assert told == hook | wishes | {"GlobalTimeout": 6000, "DefaultResult": "CONTINUE"}
    aws.autoscaling.delete_lifecycle_hook(**hook)
    assert aws.autoscaling.describe_lifecycle_hooks(**MINE)["LifecycleHooks"] == []


def test_members_wait_at_hooks_until_these_are_completed(aws, boto, pool, actions):
    for name, transition in [("ready", LAUNCHING), ("drained", TERMINATING)]:
        boto.autoscaling.put_lifecycle_hook(LifecycleHookName=name, LifecycleTransition=transition, **MINE)
    aws.autoscaling.set_desired_capacity(DesiredCapacity=1, **MINE)
    action = actions()
    assert (action["Origin"], action["Destination"]) == ("EC2", "AutoScalingGroup")
    assert states(boto) == ["Pending:Wait"]
    ready = {"LifecycleHookName": "ready", "LifecycleActionToken": action["LifecycleActionToken"]} | MINE
    aws.autoscaling.record_lifecycle_action_heartbeat(**ready)
    aws.autoscaling.complete_lifecycle_action(LifecycleActionResult="CONTINUE", **ready)
    with refused("ValidationError"):
        aws.autoscaling.complete_lifecycle_action(LifecycleActionResult="CONTINUE", **ready)
    eventually(lambda: states(boto), ["InService"])
    instance = action["EC2InstanceId"]
    assert registered(boto, pool) == ({instance}, {instance})

    leave = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": True}
    aws.autoscaling.terminate_instance_in_auto_scaling_group(**leave)
    assert actions()["LifecycleTransition"] == TERMINATING
    assert registered(boto, pool) == (set(), set())
    drained = {"LifecycleHookName": "drained", "InstanceId": instance, "LifecycleActionResult": "CONTINUE"} | MINE
    aws.autoscaling.complete_lifecycle_action(**drained)
    eventually(lambda: states(boto), [])


def test_a_warm_pool_is_apart_from_the_group(aws, boto, pool):
    aws.autoscaling.put_warm_pool(MinSize=1, MaxGroupPreparedCapacity=1, PoolState="Stopped", **MINE)
    eventually(lambda: states(boto), ["Warmed:Stopped"])
    told = aws.autoscaling.describe_warm_pool(**MINE)
    configuration = told["WarmPoolConfiguration"]
    assert (configuration["MinSize"], configuration["PoolState"], len(told["Instances"])) == (1, "Stopped", 1)
    [group] = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["WarmPoolSize"], group["Instances"]) == (1, [])
    aws.autoscaling.delete_warm_pool(ForceDelete=True, **MINE)
    assert "WarmPoolConfiguration" not in aws.autoscaling.describe_warm_pool(**MINE)


def test_a_refresh_replaces_the_members(aws, boto, pool):
    boto.autoscaling.update_auto_scaling_group(DesiredCapacity=2, **MINE)
    eventually(lambda: states(boto), ["InService"] * 2)
    before, _ = registered(boto, pool)
    preferences = {"MinHealthyPercentage": 50, "InstanceWarmup": 0}
    refresh = aws.autoscaling.start_instance_refresh(Preferences=preferences, **MINE)["InstanceRefreshId"]

    def status():
        [told] = boto.autoscaling.describe_instance_refreshes(InstanceRefreshIds=[refresh], **MINE)["InstanceRefreshes"]
        return told["Status"], told["PercentageComplete"]

    eventually(status, ("Successful", 100))
    after, _ = registered(boto, pool)
    assert len(after) == 2 and not after & before
    with refused("ActiveInstanceRefreshNotFound"):
        aws.autoscaling.cancel_instance_refresh(**MINE)


def test_suspended_processes_are_told(aws, pool):
    aws.autoscaling.suspend_processes(ScalingProcesses=["Launch", "HealthCheck"], **MINE)
    aws.autoscaling.resume_processes(ScalingProcesses=["Launch"], **MINE)
    [group] = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [process["ProcessName"] for process in group["SuspendedProcesses"]] == ["HealthCheck"]


def test_tags_of_a_group_are_written_over_and_deleted(aws, pool):
    tag = {"ResourceId": "pool", "ResourceType": "auto-scaling-group", "Key": "team", "PropagateAtLaunch": True}
    aws.autoscaling.create_or_update_tags(Tags=[tag | {"Value": "red"}, tag | {"Key": "hours", "Value": "all"}])
    by_key = {"Filters": [{"Name": "key", "Values": ["team"]}]}
    assert aws.autoscaling.describe_tags(**by_key)["Tags"] == [tag | {"Value": "red"}]
    aws.autoscaling.delete_tags(Tags=[tag])
    assert aws.autoscaling.describe_tags(**by_key)["Tags"] == []
    [group] = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [told["Key"] for told in group["Tags"]] == ["hours"]

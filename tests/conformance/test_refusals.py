"""Errors, as the clients' types and as codes on the wire: for some, the two have different names."""

import pytest
from botocore.exceptions import ClientError

from clients import refused

GROUP = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/gone/00000000000000ff"
BALANCER = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/gone/00000000000000ff"
QUEUE = "http://127.0.0.1/123456789012/gone"
INSTANCE = "i-00000000000000fff"
NO_CLASSIC = ("AccessPointNotFoundException", "LoadBalancerNotFound")
NO_BALANCER = ("LoadBalancerNotFoundException", "LoadBalancerNotFound")
NO_GROUP = ("TargetGroupNotFoundException", "TargetGroupNotFound")
NO_QUEUE = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
REGISTER = {"LoadBalancerName": "front", "Instances": [{"InstanceId": INSTANCE}]}
ATTACH = {"AutoScalingGroupName": "gone", "InstanceIds": [INSTANCE]}
TARGETS = {"Targets": [{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:123456789012:work"}]}

# The operation and its parameters; boto3's type, if there is one; the code. The CLI makes one call of each service.
REFUSALS = [
    ("ec2", "stop_instances", {"InstanceIds": [INSTANCE]}, None, "InvalidInstanceID.NotFound"),
    ("elb", "register_instances_with_load_balancer", REGISTER, "InvalidEndPointException", "InvalidInstance"),
    ("elbv2", "describe_target_health", {"TargetGroupArn": GROUP}, *NO_GROUP),
    ("autoscaling", "attach_instances", ATTACH, None, "ValidationError"),
    ("sqs", "receive_message", {"QueueUrl": QUEUE}, *NO_QUEUE),
    ("events", "put_targets", {"Rule": "gone"} | TARGETS, "ResourceNotFoundException", "ResourceNotFoundException"),
]
MORE_REFUSALS = [
    ("ec2", "stop_instances", {"InstanceIds": ["web-1"]}, None, "InvalidInstanceID.Malformed"),
    ("elb", "describe_instance_health", {"LoadBalancerName": "gone"}, *NO_CLASSIC),
    ("elbv2", "describe_listeners", {"LoadBalancerArn": BALANCER}, *NO_BALANCER),
    ("sqs", "get_queue_url", {"QueueName": "gone"}, *NO_QUEUE),
]


@pytest.fixture
def group(boto, network):
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    boto.elb.create_load_balancer(LoadBalancerName="front", Listeners=[listener], Subnets=[network.a])
    wishes = {"Protocol": "HTTP", "Port": 80, "VpcId": network.vpc}
    return boto.elbv2.create_target_group(Name="web", **wishes)["TargetGroups"][0]["TargetGroupArn"]


def test_every_refusal_has_its_type_in_boto3(boto, group):
    unknown = {"TargetGroupArn": group, "Targets": [{"Id": INSTANCE}]}
    invalid = ("elbv2", "register_targets", unknown, "InvalidTargetException", "InvalidTarget")
    for service, operation, arguments, exception, code in [*REFUSALS, *MORE_REFUSALS, invalid]:
        client = getattr(boto, service)
        kind = getattr(client.exceptions, exception) if exception else ClientError
        with pytest.raises(kind) as refusal:
            getattr(client, operation)(**arguments)
        assert refusal.value.response["Error"]["Code"] == code, operation


@pytest.mark.usefixtures("group")
def test_every_refusal_has_its_code_at_the_command_line(cli):
    for service, operation, arguments, _, code in REFUSALS:
        with refused(code):
            getattr(getattr(cli, service), operation)(**arguments)

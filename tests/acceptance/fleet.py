"""The things that a run makes: a small network, two instances, balancers of three kinds, and an Auto Scaling group with hooks.

Nothing in it is reachable from the internet or reaches it: the load balancers are internal, and the instances need nothing but their own image. So there is no
internet gateway, no NAT gateway and no public address.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from account import Account, Refused
from names import OTHER_PORT, PORT, REGISTER, Names

BLOCK = "10.234.0.0/24"

# A load balancer needs a /27 and eight free addresses:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer
BLOCKS = ("10.234.0.0/26", "10.234.0.64/26")

# Seconds. Too small: no look sees a draining target. Too large: the test takes longer.
DRAINING = 30

# Seconds that the hooks allow for one step, as in docs/lifecycle-hooks.md.
HEARTBEAT = 900

# The processor of each instance type that may be chosen, as the images' names have it.
TYPES = {"t4g.nano": "arm64", "t3.nano": "x86_64"}

# Answers on two ports whenever the instance runs. User data runs only at the first start, so it leaves a service behind. Amazon Linux 2023 has Python.
USER_DATA = f"""#!/bin/bash
cat >/etc/systemd/system/answer@.service <<'UNIT'
[Unit]
After=network.target
[Service]
ExecStart=/usr/bin/python3 -m http.server %i --bind 0.0.0.0 --directory /srv
DynamicUser=yes
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now answer@{PORT} answer@{OTHER_PORT}
"""


@dataclass
class Choice:
    """What was chosen before the question."""

    instance_type: str
    zones: list[str]

    @property
    def image(self) -> str:
        """The newest image of Amazon Linux 2023, by a public parameter. EC2 resolves it, in launch templates as well:
        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html
        https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html"""
        processor = TYPES[self.instance_type]
        return f"resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{processor}"


@dataclass
class Fleet:
    """The ids of what was made."""

    names: Names
    vpc: str = ""
    subnets: list[str] = field(default_factory=list)
    security_group: str = ""
    instances: dict[str, str] = field(default_factory=dict)
    template: str = ""
    application: str = ""
    network: str = ""
    web: str = ""
    edge: str = ""

    def classic_place(self) -> str:
        return f"clb:{self.names.classic}"

    def web_place(self, port: int) -> str:
        return f"{place_of(self.web)}:{port}"

    def edge_place(self, port: int = PORT) -> str:
        return f"{place_of(self.edge)}:{port}=eth0"

    def everywhere(self) -> set[str]:
        """All registrations that each of the two instances gets, as the functions write them: see docs/tags.md."""
        return {self.classic_place(), self.web_place(PORT), self.web_place(OTHER_PORT), self.edge_place()}


def place_of(arn: str) -> str:
    """`tg:NAME/ID` of the ARN of a target group."""
    return "tg:" + arn.split(":targetgroup/")[1]


def choose(account: Account, instance_type: str) -> Choice:
    """Finds two zones that offer the type. Local Zones are left out: not all load balancers exist there."""
    known = account.ec2.describe_availability_zones(
        Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    )
    usual = {zone["ZoneName"] for zone in known["AvailabilityZones"]}
    offered = account.ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}]
    )
    zones = sorted(usual & {offer["Location"] for offer in offered["InstanceTypeOfferings"]})
    if len(zones) < 2:
        raise Refused(f"{account.region} has no two Availability Zones with {instance_type}: try --instance-type or --region")
    return Choice(instance_type, zones[:2])


class Builder:
    """Makes a fleet, step by step. What is made bears the run's tag from its first moment, so that a run that ends anywhere can be removed."""

    def __init__(self, account: Account, names: Names, choice: Choice, hook_prefix: str) -> None:
        self.account, self.names, self.choice, self.hook_prefix = account, names, choice, hook_prefix
        self.fleet = Fleet(names)

    def build(self, say: Callable[[str], None]) -> Fleet:
        steps: list[tuple[str, Callable[[], None]]] = [
            ("a VPC with two subnets and a security group", self.make_network),
            ("a Classic load balancer", self.make_classic),
            ("an Application Load Balancer with a target group of instances", self.make_application),
            ("a Network Load Balancer with a target group of addresses", self.make_network_balancer),
            ("two instances", self.make_instances),
            ("a launch template and an Auto Scaling group with two hooks", self.make_group),
        ]
        for what, step in steps:
            say(f"makes {what}")
            step()
        return self.fleet

    def make_network(self) -> None:
        ec2, names, fleet = self.account.ec2, self.names, self.fleet
        fleet.vpc = ec2.create_vpc(CidrBlock=BLOCK, TagSpecifications=names.specification("vpc"))["Vpc"]["VpcId"]
        ec2.get_waiter("vpc_available").wait(VpcIds=[fleet.vpc])
        for zone, block in zip(self.choice.zones, BLOCKS, strict=True):
            made = ec2.create_subnet(
                VpcId=fleet.vpc, AvailabilityZone=zone, CidrBlock=block, TagSpecifications=names.specification("subnet")
            )
            fleet.subnets.append(made["Subnet"]["SubnetId"])
        ec2.get_waiter("subnet_available").wait(SubnetIds=fleet.subnets)
        fleet.security_group = ec2.create_security_group(
            GroupName=names.vpc, Description="elb-registrar acceptance test", VpcId=fleet.vpc,
            TagSpecifications=names.specification("security-group"),
        )["GroupId"]
        ec2.get_waiter("security_group_exists").wait(GroupIds=[fleet.security_group])
        ranges = [{"CidrIp": BLOCK}]
        permission = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": OTHER_PORT, "IpRanges": ranges}
        ec2.authorize_security_group_ingress(GroupId=fleet.security_group, IpPermissions=[permission])

    def make_classic(self) -> None:
        elb, name = self.account.elb, self.names.classic
        listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": PORT}
        elb.create_load_balancer(
            LoadBalancerName=name, Listeners=[listener], Subnets=self.fleet.subnets, Scheme="internal",
            SecurityGroups=[self.fleet.security_group], Tags=self.names.tags(),
        )
        check = {"Target": f"HTTP:{PORT}/", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2}
        elb.configure_health_check(LoadBalancerName=name, HealthCheck=check)
        attributes = {"ConnectionDraining": {"Enabled": True, "Timeout": DRAINING}, "CrossZoneLoadBalancing": {"Enabled": True}}
        elb.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes=attributes)

    def make_application(self) -> None:
        groups = [self.fleet.security_group]
        self.fleet.application = self.make_balancer(self.names.application, "application", SecurityGroups=groups)
        check = {"HealthCheckPath": "/", "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2}
        self.fleet.web = self.make_target_group(self.names.web, "HTTP", "instance", **check)
        self.forward(self.fleet.application, "HTTP", self.fleet.web)

    def make_network_balancer(self) -> None:
        self.fleet.network = self.make_balancer(self.names.network, "network")
        check = {"HealthCheckProtocol": "TCP", "HealthCheckIntervalSeconds": 10}
        self.fleet.edge = self.make_target_group(self.names.edge, "TCP", "ip", **check)
        self.forward(self.fleet.network, "TCP", self.fleet.edge)

    def make_balancer(self, name: str, kind: str, **others: Any) -> str:
        made = self.account.elbv2.create_load_balancer(
            Name=name, Type=kind, Scheme="internal", Subnets=self.fleet.subnets, Tags=self.names.tags(), **others
        )
        return str(made["LoadBalancers"][0]["LoadBalancerArn"])

    def make_target_group(self, name: str, protocol: str, kind: str, **check: Any) -> str:
        elbv2 = self.account.elbv2
        made = elbv2.create_target_group(
            Name=name, Protocol=protocol, Port=PORT, VpcId=self.fleet.vpc, TargetType=kind, HealthyThresholdCount=2,
            UnhealthyThresholdCount=2, Tags=self.names.tags(), **check,
        )
        arn = str(made["TargetGroups"][0]["TargetGroupArn"])
        delay = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAINING)}]
        elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=delay)
        return arn

    def forward(self, balancer: str, protocol: str, group: str) -> None:
        action = {"Type": "forward", "TargetGroupArn": group}
        self.account.elbv2.create_listener(
            LoadBalancerArn=balancer, Protocol=protocol, Port=80, DefaultActions=[action], Tags=self.names.tags()
        )

    def make_instances(self) -> None:
        for name, subnet in zip(("web-1", "web-2"), self.fleet.subnets, strict=True):
            # The tag puts it in scope, and declares nothing: what it has by then is held at a stop.
            tags = [*self.names.tags(Name=name), {"Key": REGISTER, "Value": ""}]
            made = self.account.ec2.run_instances(
                ImageId=self.choice.image, InstanceType=self.choice.instance_type, MinCount=1, MaxCount=1, SubnetId=subnet,
                SecurityGroupIds=[self.fleet.security_group], UserData=USER_DATA, MetadataOptions={"HttpTokens": "required"},
                TagSpecifications=self.names.specification("instance", tags),
            )
            self.fleet.instances[name] = made["Instances"][0]["InstanceId"]

    def make_group(self) -> None:
        data = {
            "ImageId": self.choice.image, "InstanceType": self.choice.instance_type, "SecurityGroupIds": [self.fleet.security_group],
            "UserData": base64.b64encode(USER_DATA.encode()).decode(), "MetadataOptions": {"HttpTokens": "required"},
        }
        made = self.account.ec2.create_launch_template(
            LaunchTemplateName=self.names.template, LaunchTemplateData=data,
            TagSpecifications=self.names.specification("launch-template"),
        )
        self.fleet.template = made["LaunchTemplate"]["LaunchTemplateId"]
        tags = [*self.names.tags(Name=self.names.group), {"Key": REGISTER, "Value": self.names.declared}]
        self.account.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=self.names.group, MinSize=0, MaxSize=1, DesiredCapacity=0,
            VPCZoneIdentifier=",".join(self.fleet.subnets),
            LaunchTemplate={"LaunchTemplateId": self.fleet.template, "Version": "1"},
            LifecycleHookSpecificationList=[
                # As long as the heartbeat timeout, whatever HealthTimeout the stack has.
                {**self.hook("launch", "autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON"), "NotificationMetadata": '{"timeout_seconds": 0}'},
                self.hook("terminate", "autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE"),
            ],
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in tags],
        )

    def hook(self, name: str, transition: str, result: str) -> dict[str, Any]:
        return {
            "LifecycleHookName": f"{self.hook_prefix}-{name}", "LifecycleTransition": transition,
            "HeartbeatTimeout": HEARTBEAT, "DefaultResult": result,
        }


def wait_for_balancers(account: Account, fleet: Fleet) -> None:
    """An Application or a Network Load Balancer takes minutes until it is active."""
    arns = [fleet.application, fleet.network]

    def states() -> list[str]:
        told = account.elbv2.describe_load_balancers(LoadBalancerArns=arns)
        return [balancer["State"]["Code"] for balancer in told["LoadBalancers"]]

    seen = account.clock.until(states, lambda states: set(states) == {"active"}, within=600)
    if set(seen) != {"active"}:
        raise Refused(f"the load balancers are not active after ten minutes, but {seen}")

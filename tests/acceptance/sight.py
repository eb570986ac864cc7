"""What is to be seen in AWS: where an instance is registered, how healthy, what drains, and what its tags hold."""

from dataclasses import dataclass, field
from typing import Any

from account import Account
from fleet import Fleet
from names import HELD, PORT

DRAINS = "Instance deregistration currently in progress."


@dataclass
class Instance:
    """An instance, as one description shows it."""

    id: str
    state: str
    address: str | None
    tags: dict[str, str]

    @property
    def held(self) -> set[str]:
        texts = [value for key, value in self.tags.items() if key.startswith(HELD)]
        return {text for value in texts for text in value.split()}


@dataclass
class Places:
    """Where an instance is: the health of each registration by its text, and what only drains."""

    registered: dict[str, str] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)

    @property
    def are_healthy(self) -> bool:
        return all(health in ("healthy", "InService") for health in self.registered.values())


class Sight:
    """Looks at a fleet."""

    def __init__(self, account: Account, fleet: Fleet) -> None:
        self.account, self.fleet = account, fleet

    def instance(self, id: str) -> Instance:
        # With the filter, an instance that EC2 does not show yet is no error.
        told = self.account.ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [id]}])["Reservations"]
        if not told:
            return Instance(id, "not shown", None, {})
        told = told[0]["Instances"][0]
        tags = {tag["Key"]: tag["Value"] for tag in told.get("Tags", [])}
        return Instance(id, told["State"]["Name"], told.get("PrivateIpAddress"), tags)

    def places(self, id: str, address: str | None) -> Places:
        """Returns the registrations of an instance, and those at an address."""
        places = Places()
        self.look_at_classic(id, places)
        for target in self.targets(self.fleet.web):
            if target["Target"]["Id"] == id:
                self.add(places, self.fleet.web_place(target["Target"]["Port"]), target["TargetHealth"])
        for target in self.targets(self.fleet.edge):
            if target["Target"]["Id"] == address:
                self.add(places, self.fleet.edge_place(target["Target"]["Port"]), target["TargetHealth"])
        return places

    def targets(self, arn: str) -> list[dict[str, Any]]:
        return list(self.account.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"])

    @staticmethod
    def add(places: Places, text: str, health: dict[str, str]) -> None:
        # Target.NotRegistered is said of a target that has just been taken out, too.
        if health["State"] == "draining":
            places.draining.add(text)
        elif health.get("Reason") != "Target.NotRegistered":
            places.registered[text] = health["State"]

    def look_at_classic(self, id: str, places: Places) -> None:
        elb, text = self.account.elb, self.fleet.classic_place()
        name = self.fleet.names.classic
        [told] = elb.describe_load_balancers(LoadBalancerNames=[name])["LoadBalancerDescriptions"]
        states = elb.describe_instance_health(LoadBalancerName=name)["InstanceStates"]
        mine = next((state for state in states if state["InstanceId"] == id), None)
        if id in [member["InstanceId"] for member in told["Instances"]]:
            places.registered[text] = mine["State"] if mine else "not told"
        elif mine and mine["Description"] == DRAINS:
            places.draining.add(text)

    def member(self) -> tuple[str, str] | None:
        """Returns the group's only member and its lifecycle state."""
        told = self.account.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.fleet.names.group])
        members = told["AutoScalingGroups"][0]["Instances"]
        return (members[0]["InstanceId"], members[0]["LifecycleState"]) if members else None

    def at_address(self, address: str) -> str | None:
        """Returns the state of the target at an address, on the port that the group's members declare."""
        for target in self.targets(self.fleet.edge):
            if (target["Target"]["Id"], target["Target"]["Port"]) == (address, PORT):
                return None if target["TargetHealth"].get("Reason") == "Target.NotRegistered" else target["TargetHealth"]["State"]
        return None

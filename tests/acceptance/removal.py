"""Takes everything away that a run has made: at its end, after an interruption, and for `--clean`. All three take the same way.

Nothing is remembered: what there is, is found by the names and the tag that follow from the run's id, and nothing without the tag is deleted. Each pass asks for the
deletion of everything that is left, from the outside in; what AWS refuses while something else depends on it is asked for again in the next pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from account import Account, Refused, code_of
from names import TAG, Names
from stack import Stacks, nothing

# An operation of a client.
Call = Callable[..., Any]

# Seconds for everything. The interfaces of deleted load balancers and functions stay for minutes.
LIMIT = 1800

# Seconds for which every look may fail. Too small: a person who signs in anew comes too late. Too large: with keys that are over it ends only then.
BLIND = 300

# Seconds between two passes, and before the last look: what was made a moment ago may be shown late.
PAUSE = 10

# What can go wrong at a call, or at the program `sam`, while the removal goes on: credentials that have expired, a network that is gone.
FAILURES = (BotoCoreError, ClientError, Refused, OSError)

# AWS's words for "there is none".
GONE = ("LoadBalancerNotFound", "AccessPointNotFound", "TargetGroupNotFound")

# The states of an instance that is still there.
THERE = ["pending", "running", "stopping", "stopped", "shutting-down"]


@dataclass(frozen=True)
class Thing:
    """Something that a run has made."""

    kind: str
    id: str
    delete: Callable[[], Any]


class Removal:
    """Removes one run's things."""

    def __init__(self, account: Account, names: Names, say: Callable[[str], None]) -> None:
        self.account, self.names, self.clock, self.say = account, names, account.clock, say
        self.refusals: dict[str, str] = {}
        # Whether anything of the run was ever there.
        self.found = False

    def remove(self) -> list[str]:
        """Removes everything. Returns what is left after all, and what could not be looked at, as sentences."""
        end = self.clock.now() + LIMIT
        blind_since: float | None = None
        looks_without = 0
        while self.clock.now() < end:
            try:
                things = self.find()
            except FAILURES as error:
                self.say(f"cannot look for what is left, and tries again: {error}")
                blind_since = self.clock.now() if blind_since is None else blind_since
                if self.clock.now() > blind_since + BLIND:
                    break
                self.clock.pause(PAUSE)
                continue
            blind_since = None
            self.found = self.found or bool(things)
            looks_without = 0 if things else looks_without + 1
            if looks_without == 2:
                return []
            if things:
                self.say("removes " + ", ".join(sorted({thing.kind for thing in things})))
            for thing in things:
                self.delete(thing)
            self.clock.pause(PAUSE)
        return self.look_for_the_last_time()

    def look_for_the_last_time(self) -> list[str]:
        try:
            left = self.find()
        except FAILURES as error:
            return [f"the last look for what is left has failed, so this is not known: {error}"]
        return [f"{thing.kind} {thing.id}: {self.refusals.get(thing.id, 'still there')}" for thing in left]

    def delete(self, thing: Thing) -> None:
        """Asks for a deletion. A refusal is no end: the next pass asks again."""
        try:
            thing.delete()
        except FAILURES as error:
            self.refusals[thing.id] = str(error)

    def find(self) -> list[Thing]:
        """Returns what is left, in the order in which it is to be deleted. The stack comes last, when nothing else is left."""
        kinds = [
            self.groups, self.instances, self.classic_balancers, self.balancers, self.target_groups, self.launch_templates,
            self.security_groups, self.subnets, self.vpcs,
        ]
        things = [thing for kind in kinds for thing in kind()]
        return things or [Thing("stack", name, delete) for name, delete in Stacks(self.account).of_run(self.names)]

    # --- what there is ---------------------------------------------------------------------------------------------------------------

    def groups(self) -> Iterator[Thing]:
        name = self.names.group
        told = self.account.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        for group in told["AutoScalingGroups"]:
            # One that is being deleted has a status.
            if self.names.are_in(group["Tags"]):
                yield Thing("Auto Scaling group", name, nothing if group.get("Status") else partial(self.delete_group, name))

    def delete_group(self, name: str) -> None:
        """Deletes the hooks first: what waits at one is let go then
        (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html)."""
        autoscaling = self.account.autoscaling
        for hook in autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]:
            autoscaling.delete_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName=hook["LifecycleHookName"])
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)

    def instances(self) -> Iterator[Thing]:
        filters = [*self.filters(), {"Name": "instance-state-name", "Values": THERE}]
        for reservation in self.account.ec2.describe_instances(Filters=filters)["Reservations"]:
            for instance in reservation["Instances"]:
                id = instance["InstanceId"]
                ends = instance["State"]["Name"] == "shutting-down"
                yield Thing("instance", id, nothing if ends else partial(self.account.ec2.terminate_instances, InstanceIds=[id]))

    def classic_balancers(self) -> Iterator[Thing]:
        elb, name = self.account.elb, self.names.classic
        found = named(partial(elb.describe_load_balancers, LoadBalancerNames=[name]), "LoadBalancerDescriptions")
        if found and self.names.are_in(elb.describe_tags(LoadBalancerNames=[name])["TagDescriptions"][0]["Tags"]):
            yield Thing("Classic load balancer", name, partial(elb.delete_load_balancer, LoadBalancerName=name))

    def balancers(self) -> Iterator[Thing]:
        elbv2 = self.account.elbv2
        names = (self.names.application, self.names.network)
        return self.of_elbv2("load balancer", names, elbv2.describe_load_balancers, "LoadBalancers", elbv2.delete_load_balancer, "LoadBalancerArn")

    def target_groups(self) -> Iterator[Thing]:
        elbv2 = self.account.elbv2
        names = (self.names.web, self.names.edge)
        return self.of_elbv2("target group", names, elbv2.describe_target_groups, "TargetGroups", elbv2.delete_target_group, "TargetGroupArn")

    def of_elbv2(self, kind: str, names: tuple[str, ...], describe: Call, listed: str, delete: Call, key: str) -> Iterator[Thing]:
        for name in names:
            for found in named(partial(describe, Names=[name]), listed):
                if self.is_ours(found[key]):
                    yield Thing(kind, name, partial(delete, **{key: found[key]}))

    def launch_templates(self) -> Iterator[Thing]:
        ec2 = self.account.ec2
        return self.of_ec2("launch template", ec2.describe_launch_templates, "LaunchTemplates", ec2.delete_launch_template, "LaunchTemplateId")

    def security_groups(self) -> Iterator[Thing]:
        ec2 = self.account.ec2
        return self.of_ec2("security group", ec2.describe_security_groups, "SecurityGroups", ec2.delete_security_group, "GroupId")

    def subnets(self) -> Iterator[Thing]:
        ec2 = self.account.ec2
        return self.of_ec2("subnet", ec2.describe_subnets, "Subnets", ec2.delete_subnet, "SubnetId")

    def vpcs(self) -> Iterator[Thing]:
        ec2 = self.account.ec2
        return self.of_ec2("VPC", ec2.describe_vpcs, "Vpcs", ec2.delete_vpc, "VpcId")

    def of_ec2(self, kind: str, describe: Call, listed: str, delete: Call, key: str) -> Iterator[Thing]:
        for found in describe(Filters=self.filters())[listed]:
            yield Thing(kind, found[key], partial(delete, **{key: found[key]}))

    def filters(self) -> list[dict[str, Any]]:
        return [{"Name": f"tag:{TAG}", "Values": [self.names.run]}]

    def is_ours(self, arn: str) -> bool:
        try:
            told = self.account.elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        except ClientError as error:
            # Deleted since it was found.
            if code_of(error) in GONE:
                return False
            raise
        return self.names.are_in(told[0]["Tags"])


def named(look: Callable[[], dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """Returns what a call finds by name. None is no error."""
    try:
        return list(look()[what])
    except ClientError as error:
        if code_of(error) in GONE:
            return []
        raise

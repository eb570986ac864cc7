"""Everything is made and removed in moto, a simulation of AWS that this project did not write. Its botocore refuses parameters that AWS would refuse for their form."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import main
import pytest
import removal
from account import Account
from botocore.exceptions import ClientError
from fleet import Builder, Fleet, choose, wait_for_balancers
from names import TAG, Names
from removal import Removal
from stack import Stacks

RUN, OTHER = "0a0a0a0a", "0b0b0b0b"


def build(account: Account, run: str) -> Fleet:
    names = Names(run)
    return Builder(account, names, choose(account, "t4g.nano"), f"acceptance-{run}").build(print)


def remove(account: Account, run: str) -> list[str]:
    return Removal(account, Names(run), print).remove()


def left_in(account: Account) -> dict[str, int]:
    """Counts what there is, of any run."""
    instances = [one for found in account.ec2.describe_instances()["Reservations"] for one in found["Instances"]]
    return {
        "groups": len(account.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]),
        "instances": len([one for one in instances if one["State"]["Name"] != "terminated"]),
        "classic": len(account.elb.describe_load_balancers()["LoadBalancerDescriptions"]),
        "balancers": len(account.elbv2.describe_load_balancers()["LoadBalancers"]),
        "target groups": len(account.elbv2.describe_target_groups()["TargetGroups"]),
        "templates": len(account.ec2.describe_launch_templates()["LaunchTemplates"]),
        "security groups": len([one for one in account.ec2.describe_security_groups()["SecurityGroups"] if one["GroupName"] != "default"]),
        "subnets": len(account.ec2.describe_subnets()["Subnets"]),
        "VPCs": len(account.ec2.describe_vpcs()["Vpcs"]),
    }


def test_all_that_is_made_is_removed_again(moto: Account) -> None:
    before = left_in(moto)
    fleet = build(moto, RUN)
    wait_for_balancers(moto, fleet)
    moto.autoscaling.set_desired_capacity(AutoScalingGroupName=fleet.names.group, DesiredCapacity=1)
    made = {kind: count - before[kind] for kind, count in left_in(moto).items()}
    assert made == {
        "groups": 1, "instances": 3, "classic": 1, "balancers": 2, "target groups": 2, "templates": 1, "security groups": 1,
        "subnets": 2, "VPCs": 1,
    }
    assert remove(moto, RUN) == []
    assert left_in(moto) == before


def test_the_removal_leaves_another_run_alone(moto: Account) -> None:
    build(moto, OTHER)
    before = left_in(moto)
    build(moto, RUN)
    assert remove(moto, RUN) == []
    assert left_in(moto) == before


def test_what_has_a_runs_name_and_no_tag_stays(moto: Account) -> None:
    fleet = build(moto, RUN)
    names = fleet.names
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    moto.elb.delete_load_balancer(LoadBalancerName=names.classic)
    moto.elb.create_load_balancer(LoadBalancerName=names.classic, Listeners=[listener], AvailabilityZones=["us-east-1a"])
    moto.elbv2.remove_tags(ResourceArns=[fleet.web, fleet.edge], TagKeys=[TAG])
    tag = {"Key": TAG, "ResourceId": names.group, "ResourceType": "auto-scaling-group"}
    moto.autoscaling.delete_tags(Tags=[tag])
    assert remove(moto, RUN) == []
    left = left_in(moto)
    assert (left["classic"], left["target groups"], left["groups"], left["balancers"]) == (1, 2, 1, 0)


def test_a_refused_deletion_is_asked_for_again(moto: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    build(moto, RUN)
    before = len(moto.ec2.describe_vpcs()["Vpcs"])
    refusals: list[object] = []
    refuse: Any = {"Error": {"Code": "DependencyViolation", "Message": "has dependencies and cannot be deleted"}}

    def thrice(**_: Any) -> None:
        if len(refusals) < 3:
            refusals.append(refuse)
            raise ClientError(refuse, "DeleteSubnet")

    moto.ec2.meta.events.register("before-call.ec2.DeleteSubnet", thrice)
    assert remove(moto, RUN) == []
    assert (len(refusals), len(moto.ec2.describe_vpcs()["Vpcs"])) == (3, before - 1)


def test_what_cannot_be_removed_is_named_with_the_reason(moto: Account) -> None:
    build(moto, RUN)

    def never(**_: Any) -> None:
        refuse: Any = {"Error": {"Code": "UnauthorizedOperation", "Message": "You are not authorized"}}
        raise ClientError(refuse, "DeleteVpc")

    moto.ec2.meta.events.register("before-call.ec2.DeleteVpc", never)
    [sentence] = remove(moto, RUN)
    assert sentence.startswith("VPC vpc-") and "You are not authorized" in sentence


def expire(account: Account, when: Callable[[], bool]) -> None:
    """Refuses every call of EC2, as with credentials that have expired, from some moment on."""

    def refuse(**_: Any) -> None:
        if when():
            raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "The security token included in the request is expired"}}, "Any")

    account.ec2.meta.events.register("before-call.ec2", refuse)


def test_a_last_look_that_fails_is_told_and_raises_nothing(moto: Account) -> None:
    build(moto, RUN)
    expire(moto, lambda: True)
    began = moto.clock.now()
    [sentence] = remove(moto, RUN)
    assert "the last look for what is left has failed" in sentence and "token included in the request is expired" in sentence
    assert removal.BLIND <= moto.clock.now() - began < removal.LIMIT, "it does not wait for half an hour for keys that are over"


def test_a_removal_goes_on_when_calls_succeed_again(moto: Account) -> None:
    build(moto, RUN)
    looks = itertools.count()
    expire(moto, lambda: next(looks) < 3)
    assert remove(moto, RUN) == [] and next(looks) > 3


@pytest.mark.parametrize("has_anything", [True, False])
def test_cleaning_says_where_it_found_nothing(moto: Account, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, has_anything: bool) -> None:
    monkeypatch.setenv(main.SPEED, "1000")
    if has_anything:
        build(moto, RUN)
    assert main.main(["--clean", RUN, "--yes"]) == main.HOLDS
    said = capsys.readouterr().out
    assert ("nothing is left" in said) == has_anything
    told = f"the account 123456789012 has nothing with the tag acceptance-run={RUN} in us-east-1, and no stack acceptance-{RUN}"
    assert (told in said and "--profile" in said and "--region" in said and "results.json" in said) != has_anything


@pytest.fixture
def without_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.shutil.which", lambda _program: None)


TEMPLATE = json.dumps({"Description": "elb-registrar: a queue", "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})


def test_the_stack_of_the_run_goes_last(moto: Account, without_sam: None) -> None:
    tags = [{"Key": TAG, "Value": RUN}]
    moto.cloudformation.create_stack(StackName=f"acceptance-{RUN}", TemplateBody=TEMPLATE, Tags=tags)
    moto.cloudformation.create_stack(StackName=f"acceptance-{OTHER}", TemplateBody=TEMPLATE)
    build(moto, RUN)
    kinds = {thing.kind for thing in Removal(moto, Names(RUN), print).find()}
    assert "VPC" in kinds and "stack" not in kinds
    assert remove(moto, RUN) == [] and remove(moto, OTHER) == []
    assert Stacks(moto).find(f"acceptance-{RUN}") is None
    assert Stacks(moto).find(f"acceptance-{OTHER}") is not None, "it bears no tag"

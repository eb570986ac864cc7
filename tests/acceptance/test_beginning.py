"""What is refused before the first thing is made, and what is said before a person is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import main
import pytest
import stack
from account import Account, Refused, sign_in
from clock import Clock
from fleet import choose
from moto import mock_aws
from names import Names
from stack import Stacks, deployment


def begin(*arguments: str) -> int:
    return main.main(list(arguments))


@pytest.fixture(autouse=True)
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: object) -> int:
        raise AssertionError("it began")

    monkeypatch.setattr(main.Run, "run", run)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


def template(mode: str = "enforce", scope: str = "tagged") -> str:
    defaults = {"Mode": mode, "Scope": scope, "LifecycleHookPrefix": "elb-registrar"}
    parameters = {name: {"Type": "String", "Default": value} for name, value in defaults.items()}
    queue = {"Type": "AWS::SQS::Queue"}
    return json.dumps({"Description": "elb-registrar: EC2 instances...", "Parameters": parameters, "Resources": {"Queue": queue}})


def deploy(account: Account, name: str, **parameters: str) -> None:
    account.cloudformation.create_stack(StackName=name, TemplateBody=template(**parameters))


def test_a_missing_region_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    assert begin("--aws", "--yes") == main.REFUSES
    assert "no Region is set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "option", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "eu-north-1", "eu-north-1"),
    ],
)
def test_the_region_is_found_as_by_the_aws_cli(
    aws: None, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], option: str | None, region: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sign_in(None, option, Clock()).region == region


def test_missing_credentials_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert begin("--aws", "--yes") == main.REFUSES
    assert "no credentials were found" in capsys.readouterr().err


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert begin("--aws", "--profile", "nowhere") == main.REFUSES
    assert "the profile cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"mode": "observe"}, "has Mode=observe, and changes nothing"), ({"scope": "named"}, "has Scope=named")],
)
def test_a_stack_that_cannot_be_tested_is_refused(moto: Account, parameters: dict[str, str], words: str) -> None:
    deploy(moto, "elb-registrar", **parameters)
    with pytest.raises(Refused, match=words):
        Stacks(moto).existing("elb-registrar", "0a0a0a0a")


def test_a_stack_of_something_else_is_refused(moto: Account) -> None:
    moto.cloudformation.create_stack(StackName="shop", TemplateBody=json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}))
    with pytest.raises(Refused, match="is none of elb-registrar"):
        Stacks(moto).existing("shop", "0a0a0a0a")
    with pytest.raises(Refused, match="there is no stack nowhere"):
        Stacks(moto).existing("nowhere", "0a0a0a0a")


@pytest.mark.parametrize("scope", ["all", "tagged"])
def test_hooks_get_the_prefix_that_the_stack_serves(moto: Account, scope: str) -> None:
    deploy(moto, "elb-registrar", scope=scope)
    assert Stacks(moto).existing("elb-registrar", "0a0a0a0a").hook_prefix == "elb-registrar-acceptance-0a0a0a0a"


def test_no_stack_is_deployed_beside_another(moto: Account) -> None:
    Stacks(moto).refuse_company()
    deploy(moto, "night-shift")
    with pytest.raises(Refused, match="has the stack night-shift already"):
        Stacks(moto).refuse_company()


@pytest.mark.parametrize("key", ["elb-registrar:register", "elb-registrar:held.20260105T080000Z"])
def test_no_stack_is_deployed_where_instances_bear_tags(moto: Account, key: str) -> None:
    image = moto.private("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": ""}]}]
    moto.private("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)
    with pytest.raises(Refused, match="1 instances bear tags of elb-registrar"):
        Stacks(moto).refuse_company()
    assert moto.recorder.operations() == set(), "what is not the test's own is not recorded"


def test_a_stack_of_its_own_serves_tagged_instances_only() -> None:
    arguments = deployment(Names("0a0a0a0a"), "eu-west-1")
    assert {"Mode=enforce", "Scope=tagged", "LifecycleHookPrefix=acceptance-0a0a0a0a"} <= set(arguments)
    assert arguments[arguments.index("--tags") + 1] == "acceptance-run=0a0a0a0a"


def test_account_region_and_cost_are_said_before_it_asks(moto: Account, capsys: pytest.CaptureFixture[str]) -> None:
    deploy(moto, "elb-registrar")
    assert begin("--aws", "--stack", "elb-registrar") == main.REFUSES
    said = capsys.readouterr()
    assert "in the account 123456789012, in us-east-1" in said.out and "It costs about 20 cents" in said.out
    assert "the stack elb-registrar is there, and stays" in said.out
    assert "there is no terminal to ask in: use --yes" in said.err


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("YES", True), ("", False), ("n", False)])
def test_only_yes_goes_on(monkeypatch: pytest.MonkeyPatch, answer: str, goes_on: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    if goes_on:
        main.agree("?", False)
    else:
        with pytest.raises(Refused, match="nothing was made"):
            main.agree("?", False)


def test_without_sam_a_stack_has_to_be_named(aws: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("stack.shutil.which", lambda _program: None)
    assert begin("--aws", "--yes") == main.REFUSES
    assert "there is no program sam" in capsys.readouterr().err


def test_sam_builds_and_deploys_from_the_checkout(moto: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "sam"
    program.write_text('#!/bin/sh\necho "$PWD $*" >>"$SAM_CALLS"\necho "$AWS_ACCESS_KEY_ID ${AWS_PROFILE-none}" >"$SAM_CALLS.keys"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SAM_CALLS", str(tmp_path / "calls"))
    # Another account's, where an enforcing stack would serve what no question named.
    monkeypatch.setenv("AWS_PROFILE", "another")
    deployed = Stacks(moto).deploy(Names("0a0a0a0a"))
    keys = moto.session.get_credentials()
    assert keys is not None
    assert (tmp_path / "calls.keys").read_text() == f"{keys.access_key} none\n"
    built, sent = (tmp_path / "calls").read_text().splitlines()
    assert built == f"{stack.ROOT} build" and sent.startswith(f"{stack.ROOT} deploy --stack-name acceptance-0a0a0a0a")
    assert deployed.hook_prefix == "acceptance-0a0a0a0a"


def test_a_failed_deployment_is_refused(moto: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sam").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "sam").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Refused, match="sam build has failed"):
        Stacks(moto).deploy(Names("0a0a0a0a"))


def test_a_type_that_no_two_zones_offer_is_refused(moto: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_zone(**_: Any) -> dict[str, Any]:
        return {"InstanceTypeOfferings": [{"Location": "us-east-1a"}, {"Location": "us-east-1-bos-1a"}]}

    monkeypatch.setattr(moto.ec2, "describe_instance_type_offerings", one_zone)
    with pytest.raises(Refused, match="has no two Availability Zones with t3.nano"):
        choose(moto, "t3.nano")

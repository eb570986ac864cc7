"""docs/acceptance.md and policy.json, held against what a run in the sandbox did. `.ci/acceptance` plays that run first."""

import json
import os
import re
from pathlib import Path
from typing import Any

import compare
import fleet
import main
import names
import pytest
import recording
from stack import ROOT

PAGE = (ROOT / "docs" / "acceptance.md").read_text()

# What no recorded call asks for: tags that come with what is made, hooks that come with the group, the image by its parameter, and what is looked at before the
# first thing is made.
WITHOUT_A_CALL = {
    "autoscaling:CreateOrUpdateTags", "autoscaling:PutLifecycleHook", "cloudformation:DescribeStacks", "ec2:CreateTags",
    "elasticloadbalancing:AddTags", "iam:CreateServiceLinkedRole", "servicequotas:GetServiceQuota", "ssm:GetParameters",
}

PREFIXES = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}


@pytest.fixture
def played() -> Path:
    return Path(os.environ["ACCEPTANCE_OUTPUT"])


def test_the_policy_allows_what_a_run_calls_and_no_more(played: Path) -> None:
    services = [operation.split(".") for operation in recording.load(played / "recording")]
    called = {f"{PREFIXES.get(service, service)}:{action}" for service, action in services}
    assert {action for one in statements() for action in actions_of(one)} == called | WITHOUT_A_CALL


def statements() -> list[dict[str, Any]]:
    return list(json.loads((ROOT / "tests/acceptance/policy.json").read_text())["Statement"])


def actions_of(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return list(actions) if isinstance(actions, list) else [actions]


def test_only_what_bears_a_tag_may_be_stopped_or_deleted() -> None:
    """Each of these actions supports the key for all its resources: docs/acceptance.md has the pages of the service authorization reference."""
    harmful = re.compile(":(Delete|Terminate|Stop|Start|Reboot|SetDesired)")
    of_own = {"Null": {f"aws:ResourceTag/{names.TAG}": "false"}}
    names_of_groups = {one["Resource"] for one in statements() if "autoscaling:CreateOrUpdateTags" in actions_of(one)}
    assert names_of_groups == {"arn:*:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/acc-*"} and names.Names("0a0a0a0a").group.startswith("acc-")
    unlimited = {action for one in statements() if "Condition" not in one for action in actions_of(one)}
    assert not unlimited & {"ec2:CreateTags", "elasticloadbalancing:AddTags"}
    limited = {action for one in statements() if one.get("Condition") == of_own for action in actions_of(one)}
    others = {action for one in statements() if one.get("Condition") != of_own for action in actions_of(one)}
    assert len(limited) == 13 and all(harmful.search(action) for action in limited)
    assert not [action for action in others if harmful.search(action)] and not [action for action in others if "*" in action]


def test_the_page_says_how_many_sentences_there_are(played: Path) -> None:
    results = json.loads((played / "results.json").read_text())
    assert results["verdict"] == f"all {len(results['sentences'])} sentences hold"
    assert f"which of {len(results['sentences'])} sentences hold" in " ".join(PAGE.split())
    assert all(measure["seconds"] is not None for measure in results["measures"])


def test_a_run_answers_as_itself(played: Path) -> None:
    assert compare.report(played, played) == 0


def test_a_recording_tells_no_user_data_and_no_request_id(played: Path) -> None:
    text = "".join(file.read_text() for file in (played / "recording").iterdir())
    assert "ResponseMetadata" not in text and "http.server" not in text and "user/sandbox" not in text


def test_each_command_of_the_page_is_understood() -> None:
    commands = re.findall(r"^tests/acceptance/run (.+)$", PAGE, re.M)
    assert len(commands) == 4
    for command in commands:
        main.read_arguments(command.replace('"', "").split())


def test_the_page_names_what_the_program_has() -> None:
    for name in (names.TAG, names.REGISTER, fleet.BLOCK, *fleet.TYPES):
        assert f"`{name}`" in PAGE or f"{name}`" in PAGE, name

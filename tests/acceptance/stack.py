"""The stack of elb-registrar that is tested: one that is there, or one of the run's own, which serves tagged instances only."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from account import Account, Refused, code_of
from names import TAG, Names

ROOT = Path(__file__).resolve().parents[2]

# How the description of each stack of elb-registrar begins, in template.yaml.
DESCRIPTION = "elb-registrar:"

# How the keys of the tags begin that put an instance in the scope of a stack, or hold what one has taken.
KEYS = ["elb-registrar:register", "elb-registrar:held*"]

# The form of CloudFormation's `ValidationError` if there is no such stack is the same as of others, so the sentence has to tell.
MISSING = "does not exist"


@dataclass(frozen=True)
class Stack:
    """A deployed stack."""

    name: str
    # How the names of our hooks have to begin.
    hook_prefix: str


class Stacks:
    """The stacks of an account, by CloudFormation."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def find(self, name: str) -> dict[str, Any] | None:
        try:
            stacks = self.account.cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError" and MISSING in str(error):
                return None
            raise
        return dict(stacks[0])

    def existing(self, name: str, run: str) -> Stack:
        """Returns a stack that is there, if it can be tested."""
        told = self.find(name)
        if told is None:
            raise Refused(f"there is no stack {name} in {self.account.region}")
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in told.get("Parameters", [])}
        if not {"Mode", "Scope", "LifecycleHookPrefix"} <= parameters.keys():
            raise Refused(f"the stack {name} is none of elb-registrar")
        if parameters["Mode"] != "enforce":
            raise Refused(f"the stack {name} has Mode={parameters['Mode']}, and changes nothing: it has to enforce")
        # Both scopes cover the test's instances: they bear the tag that `tagged` asks for.
        if parameters["Scope"] not in ("all", "tagged"):
            raise Refused(f"the stack {name} has Scope={parameters['Scope']}, which this test does not know")
        return Stack(name, f"{parameters['LifecycleHookPrefix']}-acceptance-{run}")

    def of_run(self, names: Names) -> Iterator[tuple[str, Callable[[], None]]]:
        """Returns the stack of a run's own, if there is one, and how it is deleted."""
        told = self.find(names.stack)
        # One that was never deployed bears no tag yet, and has nothing in it. Its name alone is the run's.
        if told and (names.are_in(told.get("Tags", [])) or told["StackStatus"] == "REVIEW_IN_PROGRESS"):
            ends = told["StackStatus"] == "DELETE_IN_PROGRESS"
            yield names.stack, nothing if ends else partial(self.delete, names.stack)

    def delete(self, name: str) -> None:
        """Deletes a stack, and the files that `sam deploy` has put into its bucket if SAM is there."""
        if sam := shutil.which("sam"):
            command = [sam, "delete", "--stack-name", name, "--region", self.account.region, "--no-prompts"]
            subprocess.run(command, cwd=ROOT, env=self.account.environment(), check=False)
        if told := self.find(name):
            if told["StackStatus"] != "DELETE_IN_PROGRESS":
                self.account.cloudformation.delete_stack(StackName=name)

    # --- a stack of the run's own --------------------------------------------------------------------------------------------------

    def refuse_company(self) -> None:
        """Refuses a stack of one's own beside another one, or beside instances that bear its tags: it would serve them, too."""
        pages = self.account.cloudformation.get_paginator("describe_stacks").paginate()
        stacks = [stack["StackName"] for page in pages for stack in page["Stacks"] if is_registrar(stack)]
        if stacks:
            raise Refused(f"{self.account.region} has the stack {stacks[0]} already: test it by --stack {stacks[0]}, or take another Region")
        # Not recorded: these are not the test's own.
        pages = self.account.private("ec2").get_paginator("describe_instances").paginate(Filters=[{"Name": "tag-key", "Values": KEYS}])
        found = [instance["InstanceId"] for page in pages for one in page["Reservations"] for instance in one["Instances"]]
        if found:
            raise Refused(
                f"{len(found)} instances bear tags of elb-registrar, among them {found[0]}, and a stack for the test would serve them: take another Region"
            )

    def deploy(self, names: Names) -> Stack:
        """Builds and deploys. `Scope=tagged`: nothing without the tag is touched. Hooks of a prefix of its own: no other group's are."""
        prefix = names.stack
        run_sam(self.account, "build")
        run_sam(self.account, *deployment(names, self.account.region))
        return Stack(names.stack, prefix)


def deployment(names: Names, region: str) -> list[str]:
    """Returns the arguments of `sam deploy`."""
    parameters = ["Mode=enforce", "Scope=tagged", f"LifecycleHookPrefix={names.stack}", "LogRetentionDays=1"]
    return [
        "deploy", "--stack-name", names.stack, "--region", region, "--no-confirm-changeset", "--tags", f"{TAG}={names.run}",
        "--parameter-overrides", *parameters,
    ]


def is_registrar(stack: dict[str, Any]) -> bool:
    return str(stack.get("Description", "")).startswith(DESCRIPTION) and stack["StackStatus"] != "DELETE_COMPLETE"


def refuse_without_sam() -> None:
    if shutil.which("sam") is None:
        raise Refused("there is no program sam, which deploys the stack: see docs/install.md, or name a deployed one by --stack")


def nothing() -> None:
    """Deletes nothing: what is on its way out is only waited for."""


def run_sam(account: Account, *arguments: str) -> None:
    if subprocess.run(["sam", *arguments], cwd=ROOT, env=account.environment(), check=False).returncode:
        raise Refused(f"sam {arguments[0]} has failed: see above")

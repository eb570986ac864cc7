"""Finds out whether AWS behaves as the sandbox does, in an account of yours. docs/acceptance.md tells what it does, what it costs, and what it needs."""

import argparse
import contextlib
import datetime
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compare
import sandbox
from account import Account, Refused, sign_in
from clock import Clock
from fleet import TYPES, Builder, Choice, choose, wait_for_balancers
from names import TAG, Names, new_run
from quotas import refuse_beyond_quotas
from removal import Removal
from results import Results
from stack import ROOT, Stack, Stacks, refuse_without_sam
from story import Story

# How the program ends. LEAVES: the checks ended, but the removal or its last look could not be finished; `--clean RUN` goes on with it.
HOLDS, FAILS, REFUSES, LEAVES = 0, 1, 2, 3

# How fast the clock runs of what answers in AWS's place. Only the checks of this program set it.
SPEED = "ACCEPTANCE_SPEED"

PROMISE = """\
This test runs in the account {account}, in {region}{endpoint}.
It costs about 20 cents, and takes about {minutes} minutes. docs/acceptance.md has both in detail.

It makes, and removes at its end, also if you interrupt it:
  a VPC without a way to or from the internet, with two subnets ({zones}) and a security group
  two instances {type}, and a third one in an Auto Scaling group with two lifecycle hooks, and its launch template
  an internal Classic, an internal Application and an internal Network Load Balancer, and two target groups
  {stack}
Everything bears the tag acceptance-run={run}. What the account has besides is not touched.
"""


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/acceptance/run", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--aws", action="store_true", help="run the test in your account")
    what.add_argument("--sandbox", action="store_true", help="run the same test in the simulated AWS, which needs no account")
    what.add_argument("--clean", metavar="RUN", help="remove what an earlier run has left, by the id that it told")
    what.add_argument("--compare", nargs=2, metavar=("AWS", "SANDBOX"), type=Path, help="compare two recordings, each a folder")
    parser.add_argument("--stack", metavar="NAME", help="test this deployed stack, instead of deploying one")
    parser.add_argument("--instance-type", choices=TYPES, default="t4g.nano", help="the type of the test's instances (%(default)s)")
    parser.add_argument("--profile", help="a profile of the AWS CLI, as AWS_PROFILE")
    parser.add_argument("--region", help="the Region, if neither environment nor profile says it")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where results and recording go (target/acceptance/RUN)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


class Signals:
    """The first Ctrl-C, or SIGTERM, or closed terminal, ends the test. After that, and once the removal has begun, they only say what to do."""

    def __init__(self, run: str) -> None:
        self.run, self.are_heeded = run, True
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.arrive)

    def arrive(self, number: int, _frame: Any) -> None:
        if not self.are_heeded:
            say(f"everything is being removed; should this program be killed, tests/acceptance/run --clean {self.run} goes on with that, with the same --profile and --region")
            return
        self.are_heeded = False
        raise KeyboardInterrupt(signal.Signals(number).name)

    def ignore(self) -> None:
        self.are_heeded = False


class Run:
    """One run: the things in the account, the steps, and the removal, which comes in any case."""

    def __init__(self, account: Account, run: str, output: Path | None = None) -> None:
        self.account, self.clock, self.names = account, account.clock, Names(run)
        self.output = output or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "acceptance" / run
        self.results = Results(self.facts(), say)

    def facts(self) -> dict[str, Any]:
        described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
        now = datetime.datetime.now(datetime.UTC)
        return {
            "run": self.names.run, "region": self.account.region, "commit": described.stdout.strip() or "unknown",
            "began": now.isoformat(timespec="seconds"), "in": "AWS" if self.clock.speed == 1 else f"a sandbox, {self.clock.speed:g} times as fast",
        }

    def run(self, stack: Callable[[], Stack], choice: Choice) -> int:
        """Plays the test, removes everything, and says what was found out."""
        signals = Signals(self.names.run)
        say(f"this is run {self.names.run}; should the program be killed: tests/acceptance/run --clean {self.names.run} --region {self.account.region}, with the same --profile")
        try:
            self.play(stack(), choice)
        except KeyboardInterrupt as signalled:
            say(f"interrupted by {signalled or 'a person'}")
        except Refused as refusal:
            say(f"goes no further: {refusal}")
        except Exception as error:  # Whatever it is, everything has to be removed, and the person told.
            say(f"goes no further: {type(error).__name__}: {error}")
            self.keep_error()
        finally:
            signals.ignore()
            # Before the removal, too: whatever becomes of that, what was found out is kept.
            self.save()
            left = self.remove()
            self.save()
        return self.outcome(left)

    def keep_error(self) -> None:
        with self.writing():
            self.output.mkdir(parents=True, exist_ok=True)
            with (self.output / "error.txt").open("a") as file:
                file.write(traceback.format_exc())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Whatever goes wrong here stops neither the removal nor the results on the screen."""
        try:
            yield
        except Exception as error:
            say(f"cannot write into {self.output}: {type(error).__name__}: {error}")

    def play(self, stack: Stack, choice: Choice) -> None:
        self.results.facts["stack"] = "its own" if stack.name == self.names.stack else "a deployed one"
        self.results.facts |= {"instance type": choice.instance_type, "zones": ", ".join(choice.zones)}
        fleet = Builder(self.account, self.names, choice, stack.hook_prefix).build(say)
        say("waits until the load balancers are active")
        wait_for_balancers(self.account, fleet)
        Story(self.account, fleet, self.results).play()

    def remove(self) -> list[str]:
        say("removes everything")
        began = self.clock.now()
        try:
            left = Removal(self.account, self.names, say).remove()
        except Exception as error:  # Whatever it is, the person has to get the results, and to hear that something may be left.
            self.keep_error()
            left = [f"the removal ended early, by {type(error).__name__}: {error}"]
        self.results.measure("everything to nothing: the removal", began, None if left else self.clock.now())
        return left

    def save(self) -> None:
        with self.writing():
            self.results.save(self.output)
            self.account.recorder.save(self.output / "recording")

    def outcome(self, left: list[str]) -> int:
        print(f"\n{self.results.as_table()}\n\nresults.md, results.json and the recording of all answers are in {self.output}")
        if left:
            print(f"\nMAY BE LEFT IN THE ACCOUNT: tests/acceptance/run --clean {self.names.run} --region {self.account.region}, with the same --profile, tries again\n  " + "\n  ".join(left))
            return LEAVES
        return HOLDS if self.results.is_complete and not self.results.failed else FAILS


def promise(account: Account, names: Names, choice: Choice, stack: str | None) -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    own = f"a stack {names.stack} of elb-registrar, with Scope=tagged; building it the first time takes ten minutes or more besides"
    return PROMISE.format(
        account=account.number, region=account.region, endpoint=f", at {endpoint}" if endpoint else "", run=names.run,
        zones=" and ".join(choice.zones), type=choice.instance_type, minutes=35 if stack else 45,
        stack=f"nothing else: the stack {stack} is there, and stays" if stack else own,
    )


def agree(question: str, is_agreed: bool) -> None:
    print(question, flush=True)
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask in: use --yes")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Refused("nothing was made")


def begin(options: argparse.Namespace, clock: Clock) -> int:
    """Asks, and runs the test. Everything that can be refused is refused before the first thing is made."""
    account = sign_in(options.profile, options.region, clock)
    names = Names(new_run())
    stacks = Stacks(account)
    if options.stack:
        existing = stacks.existing(options.stack, names.run)
    else:
        refuse_without_sam()
        stacks.refuse_company()
    choice = choose(account, options.instance_type)
    refuse_beyond_quotas(account, say)
    agree(promise(account, names, choice, options.stack), options.yes)
    deployed = (lambda: existing) if options.stack else lambda: stacks.deploy(names)
    return Run(account, names.run, options.output).run(deployed, choice)


def clean(options: argparse.Namespace, clock: Clock) -> int:
    # EC2 takes wildcards in the values of filters, which would find other runs, too.
    if re.fullmatch("[0-9a-f]{8}", options.clean) is None:
        raise Refused(f"`{options.clean}` is no id of a run, which has eight digits from 0 to f")
    account = sign_in(options.profile, options.region, clock)
    agree(f"Everything with the tag acceptance-run={options.clean} is removed from the account {account.number} in {account.region}.", options.yes)
    removal = Removal(account, Names(options.clean), say)
    left = removal.remove()
    if left:
        print("MAY BE LEFT:\n  " + "\n  ".join(left))
        return LEAVES
    print("nothing is left" if removal.found else nothing_found(account, removal.names))
    return HOLDS


def nothing_found(account: Account, names: Names) -> str:
    return (
        f"nothing was found: the account {account.number} has nothing with the tag {TAG}={names.run} in {account.region}, and no stack {names.stack}.\n"
        "If you know that something is left, look whether these are the run's account (--profile), Region (--region) and id:\n"
        "the first line that the run printed has the id and the Region, and so has results.json"
    )


def main(arguments: list[str]) -> int:
    options = read_arguments(arguments)
    try:
        if options.compare:
            return compare.report(*options.compare)
        if options.sandbox:
            with sandbox.sandbox() as endpoint:
                sandbox.set_environment(endpoint)
                options.stack = options.stack or sandbox.STACK
                return begin(options, Clock(sandbox.SPEED))
        clock = Clock(float(os.environ.get(SPEED, "1")))
        return clean(options, clock) if options.clean else begin(options, clock)
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted before anything was made", file=sys.stderr)
    return REFUSES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The test against the sandbox: interrupted anywhere it leaves nothing, and with functions that do nothing it names the sentences that do not hold."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import main
import pytest
import sandbox
from account import Account, sign_in
from botocore.exceptions import ClientError
from clock import Clock
from fleet import choose
from names import HELD, PORT, Names, new_run
from removal import Removal
from stack import Stack
from story import Story
from test_removal import left_in

HERE = Path(__file__).parent

# Simulated seconds in a real one. How long something takes in AWS's seconds is not looked at here.
SPEED = 60.0

# Decides the drawn points. A new seed is as good.
SEED = int(os.environ.get("ACCEPTANCE_SEED", "19"))

# Recorded calls until the first thing is made, until all are, and about as many as the steps make.
ASKED, MADE, PLAYED = 2, 36, 250

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@pytest.fixture
def endpoint() -> Iterator[str]:
    with sandbox.sandbox(SPEED) as endpoint:
        yield endpoint


def enter(endpoint: str, monkeypatch: pytest.MonkeyPatch, speed: float = SPEED) -> Account:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return sign_in(None, None, Clock(speed))


def nothing_in(account: Account) -> bool:
    left = {kind: count for kind, count in left_in(account).items() if count}
    left |= {"interfaces": len(account.ec2.describe_network_interfaces()["NetworkInterfaces"])}
    return left == {"interfaces": 0}


def points() -> list[tuple[str, str, int]]:
    """Draws where runs are interrupted: while things are made, and while the steps are played."""
    draw = random.Random(SEED)
    numbers = [draw.randint(ASKED + 1, MADE) for _ in range(6)] + [draw.randint(MADE, PLAYED) for _ in range(3)]
    return [(draw.choice(SIGNALS), draw.choice(("before", "after")), number) for number in numbers]


def run(endpoint: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= sandbox.ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint, main.SPEED: str(SPEED)}
    command = [sys.executable, "-B", *arguments, "--aws", "--stack", sandbox.STACK, "--yes"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(("name", "place", "number"), points())
def test_an_interrupted_run_leaves_nothing(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, place: str, number: int) -> None:
    ended = run(endpoint, str(HERE / "interrupted.py"), name, place, str(number), "--output", str(tmp_path))
    assert f"interrupted by {name}" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == main.FAILS, ended.stdout + ended.stderr
    assert "the test did not come to its end" in (tmp_path / "results.md").read_text()
    assert nothing_in(enter(endpoint, monkeypatch)), ended.stdout


def test_what_a_killed_run_leaves_can_be_removed_by_its_id(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    number = random.Random(SEED).randint(MADE - 6, MADE + 40)
    killed = run(endpoint, str(HERE / "interrupted.py"), "SIGKILL", "after", str(number), "--output", str(tmp_path))
    assert killed.returncode == -signal.SIGKILL
    account = enter(endpoint, monkeypatch)
    assert not nothing_in(account)
    told = re.search(r"this is run (\w+)", killed.stdout)
    assert told, killed.stdout
    monkeypatch.setenv(main.SPEED, str(SPEED))
    assert main.main(["--clean", told[1], "--yes"]) == main.HOLDS
    assert nothing_in(account)


def test_a_second_signal_does_not_end_the_removal(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = [sys.executable, "-B", str(HERE / "interrupted.py"), "SIGINT", "after", "30", "--output", str(tmp_path)]
    environment = os.environ | {"AWS_ENDPOINT_URL": endpoint, main.SPEED: str(SPEED)}
    out = tmp_path / "out"
    with out.open("w") as file:
        arguments = ["--aws", "--stack", sandbox.STACK, "--yes"]
        process = subprocess.Popen([*command, *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while "removes everything" not in out.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == main.FAILS, out.read_text()
    assert "everything is being removed; should this program be killed" in out.read_text()
    assert nothing_in(enter(endpoint, monkeypatch))


def test_an_observing_stack_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with sandbox.sandbox(SPEED, mode="observe") as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert main.main(["--aws", "--stack", sandbox.STACK, "--yes"]) == main.REFUSES
    assert "has Mode=observe" in capsys.readouterr().err


# What does not hold if the functions do nothing. The others hold then, too: nothing is lost, and nothing foreign is touched.
WITHOUT_FUNCTIONS = [
    "web-1 is registered nowhere while it is stopped",
    "the registrations of web-1 are held in its tags",
    "the launch hook held the new member until it was healthy",
    "the new member is registered where its tag declares",
    "the terminate hook waited until draining was over",
    "web-2 is registered nowhere after its termination",
]


class NoSignals:
    """In the place of the handlers, which only the main thread of a program may set."""

    def __init__(self, _run: str) -> None: ...

    def ignore(self) -> None: ...


def play(account: Account, run: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> main.Run:
    """Plays the test with a stack that observes. What refuses such a stack is left out here."""
    monkeypatch.setattr(main, "Signals", NoSignals)
    played = main.Run(account, run, folder)
    stack = Stack(sandbox.STACK, "elb-registrar-acceptance")
    assert played.run(lambda: stack, choose(account, "t4g.nano")) == main.FAILS
    assert played.results.is_complete and nothing_in(account)
    return played


def test_functions_that_do_nothing_fail_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with sandbox.sandbox(4 * SPEED, mode="observe") as endpoint:
        played = play(enter(endpoint, monkeypatch, 4 * SPEED), new_run(), tmp_path, monkeypatch)
        assert sorted(played.results.failed) == sorted(WITHOUT_FUNCTIONS)


class Saboteur:
    """Takes registrations away and leaves tags behind, right after the calls of the steps."""

    def __init__(self, account: Account, names: Names) -> None:
        self.names = names
        self.ec2, self.elb, self.elbv2 = (account.private(service) for service in ("ec2", "elb", "elbv2"))
        strikes: dict[str, Callable[[dict[str, Any]], None]] = {
            "elb.RegisterInstancesWithLoadBalancer": lambda asked: self.leave_classic(asked["Instances"][0]["InstanceId"]),
            "ec2.StopInstances": self.forget_address,
            "ec2.StartInstances": lambda asked: self.leave_tag(asked["InstanceIds"][0]),
            "ec2.RebootInstances": lambda asked: self.leave_tag(asked["InstanceIds"][0]),
            "autoscaling.SetDesiredCapacity": lambda asked: None if asked["DesiredCapacity"] else self.register(self.names.group),
            "ec2.TerminateInstances": lambda _: self.register("web-2"),
        }
        for call, strike in strikes.items():
            client = getattr(account, call.split(".")[0])
            client.meta.events.register(f"after-call.{service_id(client)}.{call.split('.')[1]}", self.after(strike))

    @staticmethod
    def after(strike: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
        return lambda context, **_: strike(context["acceptance_parameters"])

    def group(self, name: str) -> str:
        return str(self.elbv2.describe_target_groups(Names=[name])["TargetGroups"][0]["TargetGroupArn"])

    def leave_classic(self, id: str) -> None:
        self.elb.deregister_instances_from_load_balancer(LoadBalancerName=self.names.classic, Instances=[{"InstanceId": id}])

    def leave_tag(self, id: str) -> None:
        self.ec2.create_tags(Resources=[id], Tags=[{"Key": f"{HELD}.x", "Value": "tg:none/0123456789abcdef:80"}])

    def forget_address(self, _asked: dict[str, Any]) -> None:
        arn = self.group(self.names.edge)
        targets = self.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        self.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": one["Target"]["Id"], "Port": PORT} for one in targets])

    def register(self, name: str) -> None:
        """Registers the address that an instance on its way out still has, as a hand that is too late would."""
        states = ["running", "shutting-down"]
        filters = [{"Name": "tag:Name", "Values": [name]}, {"Name": "instance-state-name", "Values": states}]
        for found in self.ec2.describe_instances(Filters=filters)["Reservations"]:
            target = {"Id": found["Instances"][0]["PrivateIpAddress"], "Port": PORT}
            self.elbv2.register_targets(TargetGroupArn=self.group(self.names.edge), Targets=[target])


def service_id(client: Any) -> str:
    return str(client.meta.service_model.service_id.hyphenize())


def test_each_sentence_can_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with sandbox.sandbox(4 * SPEED, mode="observe") as endpoint:
        account, run = enter(endpoint, monkeypatch, 4 * SPEED), new_run()
        Saboteur(account, Names(run))
        played = play(account, run, tmp_path, monkeypatch)
        assert [one.text for one in played.results.sentences if one.holds] == []


def expired(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "The security token included in the request is expired"}}, "Any")


@pytest.mark.parametrize("fails", ["the last look", "the removal itself"])
def test_results_outlive_a_removal_that_cannot_end(endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, fails: str) -> None:
    account, run = enter(endpoint, monkeypatch), new_run()
    before: list[str] = []

    def play(story: Story) -> None:
        story.results.sentence("the checks came to their end", True)
        story.results.is_complete = True
        account.ec2.meta.events.register("before-call.ec2", expired)

    def end(_removal: Removal) -> list[str]:
        before.append((tmp_path / "results.json").read_text())
        raise ValueError("a fault of the removal")

    monkeypatch.setattr(main, "Signals", NoSignals)
    monkeypatch.setattr(Story, "play", play)
    if fails == "the removal itself":
        monkeypatch.setattr(Removal, "remove", end)
    played = main.Run(account, run, tmp_path)
    assert played.run(lambda: Stack(sandbox.STACK, "elb-registrar-acceptance"), choose(account, "t4g.nano")) == main.LEAVES
    said = capsys.readouterr().out
    assert "all 1 sentences hold" in said and f"--clean {run} --region us-east-1" in said, said
    assert "the checks came to their end" in (tmp_path / "results.json").read_text()
    if fails == "the removal itself":
        assert "the checks came to their end" in before[0] and "a fault of the removal" in (tmp_path / "error.txt").read_text()
    else:
        assert "token included in the request is expired" in said
    monkeypatch.undo()
    for name, value in (sandbox.ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint, main.SPEED: str(SPEED)}).items():
        monkeypatch.setenv(name, value)
    assert main.main(["--clean", run, "--yes"]) == main.HOLDS and nothing_in(enter(endpoint, monkeypatch))


def test_a_folder_that_cannot_be_written_does_not_stop_the_removal(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(main, "Signals", NoSignals)
    monkeypatch.setattr(Story, "play", lambda story: setattr(story.results, "is_complete", True))
    account = enter(endpoint, monkeypatch)
    (tmp_path / "file").touch()
    played = main.Run(account, new_run(), tmp_path / "file" / "folder")
    assert played.run(lambda: Stack(sandbox.STACK, "elb-registrar-acceptance"), choose(account, "t4g.nano")) == main.HOLDS
    assert "cannot write into" in capsys.readouterr().out and nothing_in(account)


def test_an_error_of_the_program_removes_everything_and_is_kept(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(_story: object) -> None:
        raise ValueError("a fault of the program")

    monkeypatch.setattr(main, "Signals", NoSignals)
    monkeypatch.setattr(Story, "play", fail)
    account = enter(endpoint, monkeypatch)
    played = main.Run(account, new_run(), tmp_path)
    assert played.run(lambda: Stack(sandbox.STACK, "elb-registrar-acceptance"), choose(account, "t4g.nano")) == main.FAILS
    assert not played.results.is_complete and nothing_in(account)
    assert "a fault of the program" in (tmp_path / "error.txt").read_text()

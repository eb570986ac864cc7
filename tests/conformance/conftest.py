"""The sandbox's binary, one for each test, and the clients for it."""

import contextlib
import os
import re
import signal
import subprocess
from types import SimpleNamespace

import pytest

from clients import Boto3, CommandLine, eventually
from operators import Ansible, Custodian

# Simulated seconds in a real one. Too small: a drain of five minutes takes long. Too large: states in between are over before the
# CLI has looked, which needs half a second a call.
SPEED = 100

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    # `AWS_REGION` is not read by boto3, nor by version 1 of the CLI.
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    # A second try would hide a wrong answer.
    "AWS_MAX_ATTEMPTS": "1",
}


# The same with the functions, which wait by their own clocks, in real seconds.
SPEED_WITH_FUNCTIONS = 20


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No setting of the machine's user reaches a client, or a function."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ANSIBLE_", "C7N_", "REGISTRAR_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def sandbox(folder, speed, *options):
    """An AWS of a test's own. If the test fails, its output is shown, with every call."""
    log = folder / "sandbox.log"
    command = [os.environ["SANDBOX_BINARY"], "--port", "0", "--speed", str(speed), *options]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out)
    try:
        greeting = re.compile(r"listens at (http://\S+),")
        eventually(lambda: greeting.search(log.read_text()) is not None, True)
        yield greeting.search(log.read_text())[1]
    finally:
        process.send_signal(signal.SIGINT)
        ended = process.wait(timeout=10)
        print(log.read_text())
    assert ended == 0


@pytest.fixture
def endpoint(request, tmp_path):
    """An empty AWS; or, for a test that is marked `deployed`, one with a small fleet and the functions in it."""
    if request.node.get_closest_marker("deployed"):
        options = (SPEED_WITH_FUNCTIONS, "--functions", "--fleet")
    else:
        options = (SPEED,)
    with sandbox(tmp_path, *options) as endpoint:
        yield endpoint


@pytest.fixture
def boto(endpoint):
    return Boto3(endpoint)


@pytest.fixture
def cli(endpoint):
    return CommandLine(endpoint)


@pytest.fixture
def ansible(endpoint, tmp_path):
    return Ansible(endpoint, tmp_path)


@pytest.fixture
def custodian(endpoint, tmp_path):
    return Custodian(endpoint, tmp_path)


@pytest.fixture(params=["boto3", "cli"])
def aws(request):
    """A test with this runs twice: with boto3 and with the AWS CLI."""
    return request.getfixturevalue("boto" if request.param == "boto3" else "cli")


def pytest_configure(config):
    config.addinivalue_line("markers", "deployed: the sandbox has a fleet, and the functions in it")


@pytest.fixture
def network(boto):
    """A VPC with a subnet in each of two zones, for tests of something else: made with boto3, which is faster."""
    vpc = boto.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    def subnet(zone, block):
        subnet = boto.ec2.create_subnet(VpcId=vpc, AvailabilityZone=f"us-east-1{zone}", CidrBlock=block)
        return subnet["Subnet"]["SubnetId"]

    def wait(state, *ids):
        waiter = boto.ec2.get_waiter(f"instance_{state}")
        waiter.wait(InstanceIds=ids, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})

    def instances(count):
        """Running ones, in zone a."""
        launch = {"ImageId": "ami-1", "SubnetId": made.a, "MinCount": count, "MaxCount": count}
        ids = sorted(instance["InstanceId"] for instance in boto.ec2.run_instances(**launch)["Instances"])
        wait("running", *ids)
        return ids

    made = SimpleNamespace(vpc=vpc, a=subnet("a", "10.0.1.0/24"), b=subnet("b", "10.0.2.0/24"))
    made.wait, made.instances, made.instance = wait, instances, lambda: instances(1)[0]
    return made

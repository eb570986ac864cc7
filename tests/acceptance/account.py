"""The account: who calls, where, and the clients."""

import os
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clock import Clock
from recording import Recorder

# A throttled call is repeated by the client itself.
RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 8}, user_agent_extra="elb-registrar-acceptance")


class Refused(Exception):
    """The reason why the test does not begin, as a sentence for the person who started it."""


@dataclass
class Account:
    """An account in a Region. What `ec2`, `elb`, `elbv2` and `autoscaling` answer is recorded."""

    session: boto3.Session
    number: str
    region: str
    clock: Clock
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.number, self.clock.now)
        self.ec2 = self.recorded("ec2")
        self.elb = self.recorded("elb")
        self.elbv2 = self.recorded("elbv2")
        self.autoscaling = self.recorded("autoscaling")
        self.cloudformation = self.private("cloudformation")

    def recorded(self, service: str) -> Any:
        client = self.private(service)
        self.recorder.attach(client)
        return client

    def environment(self) -> dict[str, str]:
        """Returns the environment of a program that works in this very account and Region, whatever profile it would find by itself."""
        found = self.session.get_credentials()
        if found is None:
            raise Refused("the credentials are gone")
        keys = found.get_frozen_credentials()
        own = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key, "AWS_SESSION_TOKEN": keys.token}
        own |= {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        others = {name: value for name, value in os.environ.items() if name not in {*own, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"}}
        return others | {name: value for name, value in own.items() if value}

    def private(self, service: str) -> Any:
        """Returns a client whose answers are not recorded, for what is not the test's own."""
        make: Any = self.session.client
        return make(service, region_name=self.region, config=RETRIES)


def sign_in(profile: str | None, region: str | None, clock: Clock) -> Account:
    """Finds credentials and Region as the AWS CLI does."""
    try:
        session = boto3.Session(profile_name=profile, region_name=region or region_of_environment())
    except BotoCoreError as error:
        raise Refused(f"the profile cannot be used: {error}") from error
    if session.region_name is None:
        raise Refused("no Region is set: use --region, AWS_REGION, AWS_DEFAULT_REGION, or a profile that has one")
    if session.get_credentials() is None:
        raise Refused("no credentials were found: use --profile, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    try:
        number = session.client("sts", region_name=session.region_name, config=RETRIES).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise Refused(f"the credentials cannot be used: {error}") from error
    return Account(session, number, session.region_name, clock)


def region_of_environment() -> str | None:
    """The AWS CLI reads the first of these before the second, and boto3 only the second:
    https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html"""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

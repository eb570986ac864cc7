"""The two clients that make single calls, in one shape: a test calls `aws`, and so each of them."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from model import strangers


class Boto3:
    """`aws.ec2.run_instances(...)` with boto3; every answer is compared with botocore's model."""

    session = boto3.Session()

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def __getattr__(self, service):
        client = self.session.client(service, endpoint_url=self.endpoint)
        client.meta.events.register("before-parse", self.check)
        setattr(self, service, client)
        return client

    def pages(self, service, operation, **size):
        return getattr(self, service).get_paginator(operation).paginate(**size).build_full_result()

    @staticmethod
    def check(response_dict, operation_model, **_):
        assert strangers(response_dict, operation_model) == [], "not in botocore's model"


class CommandLine:
    """`aws.ec2.run_instances(...)` with the AWS CLI. It raises the same errors as boto3."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def __getattr__(self, service):
        return CommandLineService(self, service)

    def pages(self, service, operation, **size):
        # Not with `--page-size`: with it the CLI gets only the first page, if the API's own field has that name.
        return self.call(service, operation, size)

    def call(self, service, operation, arguments, *options):
        return self.type(service, operation.replace("_", "-"), "--cli-input-json", json.dumps(arguments), *options)

    def type(self, *line):
        # With `AWS_ENDPOINT_URL` alone, version 1 goes to the real SQS (awscli, overridesslcommonname.py).
        command = [Path(sys.executable).with_name("aws"), "--endpoint-url", self.endpoint, "--output", "json", *line]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        refused = re.search(r"error occurred \((.+?)\) when calling the (\w+) operation.*?: (.*)", done.stderr)
        if refused:
            code, operation, message = refused.groups()
            raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")


class CommandLineService:
    def __init__(self, cli, service):
        self.cli, self.service = cli, service

    def __getattr__(self, operation):
        return lambda **arguments: self.cli.call(self.service, operation, arguments, "--no-paginate")


def eventually(look, wanted, within=20):
    """Looks until it sees the wanted answer; `within` is in real seconds."""
    end = time.monotonic() + within
    while (seen := look()) != wanted:
        assert time.monotonic() < end, f"still {seen!r}, and not {wanted!r}"
        time.sleep(0.02)


def refused(code):
    """The error of either client. Both name the code in the same way."""
    return pytest.raises(ClientError, match=rf"An error occurred \({re.escape(code)}\)")

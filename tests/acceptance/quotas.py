"""What the account may still make: looked at before the first thing is made, so that a run does not end halfway at a quota.

What is counted is not the test's own, and is not recorded. A count that may not be made is no reason to refuse: AWS itself refuses then.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from account import Account, Refused

# On-Demand instances of these families share one quota, in vCPUs: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits
STANDARD = re.compile(r"(a|c|d|d3en|h|i|im|is|m|r|t|z)\d")

# The vCPUs of one of the test's instances: https://aws.amazon.com/ec2/instance-types/t4/ and .../t3/
OF_ONE = 2


@dataclass(frozen=True)
class Quota:
    """A quota of the account in the Region, and what a run needs of it."""

    service: str
    code: str
    name: str
    needed: int
    count: Callable[[Account], int]

    @property
    def page(self) -> str:
        return f"https://console.aws.amazon.com/servicequotas/home/services/{self.service}/quotas/{self.code}"


def refuse_beyond_quotas(account: Account, say: Callable[[str], None]) -> None:
    """Refuses if a run would end at a quota. Says which of them could not be looked at."""
    for quota in QUOTAS:
        try:
            allowed, there = value_of(account, quota), quota.count(account)
        except (BotoCoreError, ClientError) as error:
            say(f"note: cannot look at the quota \"{quota.name}\" ({quota.code}), and goes on: {error}")
            continue
        if there + quota.needed > allowed:
            raise Refused(
                f"the quota \"{quota.name}\" ({quota.code}) of the account {account.number} in {account.region} is {allowed:g}, of which {there} are used, "
                f"and the test needs {quota.needed}: delete what is not needed, take another Region by --region, or ask for more at {quota.page}"
            )


def value_of(account: Account, quota: Quota) -> float:
    """Returns what applies to the account. AWS has no answer for some quotas that were never changed
    (https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html)."""
    told = account.private("service-quotas").get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
    return float(told["Quota"]["Value"])


# --- what there is -------------------------------------------------------------------------------------------------------------------


def pages(account: Account, service: str, operation: str, listed: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    for page in account.private(service).get_paginator(operation).paginate(**parameters):
        yield from page[listed]


def vpcs(account: Account) -> int:
    return sum(1 for _ in pages(account, "ec2", "describe_vpcs", "Vpcs"))


def classic_balancers(account: Account) -> int:
    return sum(1 for _ in pages(account, "elb", "describe_load_balancers", "LoadBalancerDescriptions"))


def balancers(kind: str) -> Callable[[Account], int]:
    return lambda account: sum(one["Type"] == kind for one in pages(account, "elbv2", "describe_load_balancers", "LoadBalancers"))


def vcpus(account: Account) -> int:
    """Counts what runs or begins to run, and is neither Spot nor of another quota. A dedicated host's instances count too much here."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = [one for each in pages(account, "ec2", "describe_instances", "Reservations", Filters=states) for one in each["Instances"]]
    counted = [one for one in found if STANDARD.match(one["InstanceType"]) and one.get("InstanceLifecycle") is None]
    return sum(vcpus_of(one.get("CpuOptions", {})) for one in counted)


def vcpus_of(options: dict[str, int]) -> int:
    """EC2 tells them of each instance: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CpuOptions.html"""
    return options.get("CoreCount", 1) * options.get("ThreadsPerCore", 1)


# Codes and names: https://docs.aws.amazon.com/general/latest/gr/vpc-service.html, .../elb.html and .../ec2-service.html. No Elastic IP address is made.
QUOTAS = [
    Quota("vpc", "L-F678F1CE", "VPCs per Region", 1, vpcs),
    Quota("elasticloadbalancing", "L-E9E9831D", "Classic Load Balancers per Region", 1, classic_balancers),
    Quota("elasticloadbalancing", "L-53DA6B97", "Application Load Balancers per Region", 1, balancers("application")),
    Quota("elasticloadbalancing", "L-69A177A2", "Network Load Balancers per Region", 1, balancers("network")),
    Quota("ec2", "L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 3 * OF_ONE, vcpus),
]

"""The job of the function instance-state as a user would write it in Python.

Takes an SQS batch of EC2's state changes. An instance that stops is taken out of its Classic load balancers and target groups,
after what is taken was written into its tags; an instance that runs again is given it back at its current address. As in
Python everywhere: paginators, clients that are made once, a pool of threads for what can be asked at once, and each message
fails alone.

Left out is what makes the real one safe: stale descriptions, concurrent handlers, retries in halves, refusals told apart.
"""

import functools
import json
import logging
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import boto3
from botocore.config import Config

HELD = "elb-registrar:held"
IGNORE = "elb-registrar:ignore"
# Characters of a tag's value, ARNs of a DescribeTags call, calls at a time.
TAG_VALUE_MAX, TAGS_CALL_MAX, IN_FLIGHT_MAX = 256, 20, 8
SETTLE = timedelta(seconds=120)
OUT_STATES = ("stopping", "stopped", "shutting-down", "terminated")

log = logging.getLogger()
log.setLevel(logging.INFO)

CONFIG = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "max_attempts": 6},
    max_pool_connections=IN_FLIGHT_MAX,
)
# Made while the function starts, and kept.
EC2 = boto3.client("ec2", config=CONFIG)
CLASSIC = boto3.client("elb", config=CONFIG)
TARGET_GROUPS = boto3.client("elbv2", config=CONFIG)
POOL = ThreadPoolExecutor(IN_FLIGHT_MAX)


@functools.cache
def sqs():
    """Not every event has to wait for something."""
    return boto3.client("sqs", config=CONFIG)


def handler(event, _context):
    """Answers with the messages that have to come again."""
    failed = []
    for record in event["Records"]:
        try:
            wait = converge(json.loads(record["body"])["detail"]["instance-id"])
        except Exception:
            log.exception("failed: %s", record["messageId"])
            wait = timedelta(seconds=15)
        if wait:
            park(record, wait)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def park(record, wait):
    sqs().change_message_visibility(
        QueueUrl=os.environ["REGISTRAR_QUEUE_URL"],
        ReceiptHandle=record["receiptHandle"],
        VisibilityTimeout=int(wait.total_seconds()),
    )


def converge(instance_id):
    """Does what the instance's state asks for; answers how long to wait until the next look, if there has to be one."""
    instance, now = read(instance_id)
    if instance is None or any(tag["Key"] == IGNORE for tag in instance.get("Tags", [])):
        return None
    if instance["State"]["Name"] in OUT_STATES:
        take_out(instance, now)
        # It may have been started meanwhile.
        instance, now = read(instance_id)
    if instance is not None and instance["State"]["Name"] == "running":
        return give_back(instance, now)
    return None


def read(instance_id):
    pages = EC2.get_paginator("describe_instances").paginate(Filters=[{"Name": "instance-id", "Values": [instance_id]}])
    found, now = None, datetime.now(timezone.utc)
    for page in pages:
        now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
        for reservation in page["Reservations"]:
            for found in reservation["Instances"]:
                pass
    return found, now


def primary_address(instance):
    for interface in instance.get("NetworkInterfaces", []):
        if interface["Attachment"]["DeviceIndex"] == 0 and interface["Attachment"].get("NetworkCardIndex", 0) == 0:
            return interface.get("PrivateIpAddress")
    return None


def take_out(instance, now):
    instance_id = instance["InstanceId"]
    # Both kinds at once; the one waits in a thread of its own, since it has threads wait for it.
    classic = POOL.submit(classic_of, instance_id)
    groups = groups_of(instance)
    names = classic.result()
    taken = [f"clb:{name}" for name in names] + [text for text, _, _ in groups]
    if not taken:
        return
    hold(instance_id, taken, now)
    calls = [POOL.submit(leave_classic, name, instance_id) for name in names]
    calls += [POOL.submit(leave_group, arn, target) for _, arn, target in groups]
    for call in calls:
        call.result()
    for text in taken:
        log.info("deregistered: %s %s", instance_id, text)


def classic_of(instance_id):
    names = []
    for page in CLASSIC.get_paginator("describe_load_balancers").paginate():
        for balancer in page["LoadBalancerDescriptions"]:
            if any(member["InstanceId"] == instance_id for member in balancer["Instances"]):
                names.append(balancer["LoadBalancerName"])
    ours = []
    for chunk in chunks(names):
        for described in CLASSIC.describe_tags(LoadBalancerNames=chunk)["TagDescriptions"]:
            if not is_foreign(described["Tags"]):
                ours.append(described["LoadBalancerName"])
    return ours


def groups_of(instance):
    instance_id, address, vpc = instance["InstanceId"], primary_address(instance), instance.get("VpcId")
    groups = []
    for page in TARGET_GROUPS.get_paginator("describe_target_groups").paginate():
        for group in page["TargetGroups"]:
            if group.get("VpcId") == vpc and group["TargetType"] in ("instance", "ip"):
                groups.append((group["TargetGroupArn"], group["TargetType"]))

    def members(group):
        arn, kind = group
        described = TARGET_GROUPS.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        wanted = instance_id if kind == "instance" else address
        return [(arn, kind, d["Target"]) for d in described if d["Target"]["Id"] == wanted and is_in_place(d)]

    found = [member for members in POOL.map(members, groups) for member in members]
    ours = set()
    for chunk in chunks(sorted({arn for arn, _, _ in found})):
        for described in TARGET_GROUPS.describe_tags(ResourceArns=chunk)["TagDescriptions"]:
            if not is_foreign(described["Tags"]):
                ours.add(described["ResourceArn"])
    registrations = []
    for arn, kind, target in found:
        if arn in ours:
            _, name, number = arn.rsplit(":", 1)[1].split("/")
            text = f"tg:{name}/{number}:{target['Port']}" + ("=eth0" if kind == "ip" else "")
            registrations.append((text, arn, {"Id": target["Id"], "Port": target["Port"]}))
    return registrations


def is_in_place(described):
    health = described["TargetHealth"]
    return health["State"] != "draining" and health.get("Reason") != "Target.NotRegistered"


def is_foreign(tags):
    foreign = (IGNORE, "elbv2.k8s.aws/cluster")
    return any(tag["Key"] in foreign or tag["Key"].startswith("kubernetes.io/cluster/") for tag in tags)


def chunks(values):
    return [values[start : start + TAGS_CALL_MAX] for start in range(0, len(values), TAGS_CALL_MAX)]


def hold(instance_id, taken, now):
    """Before anything is taken, so that nothing is lost."""
    values = [""]
    for text in taken:
        joined = f"{values[-1]} {text}".strip()
        if len(joined) <= TAG_VALUE_MAX:
            values[-1] = joined
        else:
            values.append(text)
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}.{secrets.token_hex(4)}"
    keys = [f"{HELD}.{stamp}" + (f".{number}" if number > 1 else "") for number in range(1, len(values) + 1)]
    tags = [{"Key": key, "Value": value} for key, value in zip(keys, values)]
    EC2.create_tags(Resources=[instance_id], Tags=tags)


def leave_classic(name, instance_id):
    CLASSIC.deregister_instances_from_load_balancer(LoadBalancerName=name, Instances=[{"InstanceId": instance_id}])


def leave_group(arn, target):
    TARGET_GROUPS.deregister_targets(TargetGroupArn=arn, Targets=[target])


def give_back(instance, now):
    tags = [tag for tag in instance.get("Tags", []) if tag["Key"].startswith(HELD + ".")]
    if not tags:
        return None
    held = sorted({text for tag in tags for text in tag["Value"].split()})
    for call in [POOL.submit(register, instance, text) for text in held]:
        call.result()
    settled = SETTLE - (now - instance["LaunchTime"])
    if settled > timedelta(0):
        # Another handler may still be taking it out.
        return settled
    EC2.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": t["Key"], "Value": t["Value"]} for t in tags])
    return None


def register(instance, text):
    kind, rest = text.split(":", 1)
    if kind == "clb":
        described = CLASSIC.describe_load_balancers(LoadBalancerNames=[rest])["LoadBalancerDescriptions"]
        if not any(m["InstanceId"] == instance["InstanceId"] for b in described for m in b["Instances"]):
            CLASSIC.register_instances_with_load_balancer(
                LoadBalancerName=rest, Instances=[{"InstanceId": instance["InstanceId"]}]
            )
    else:
        name, port = rest.split(":")
        port, _, address = port.partition("=")
        target = {"Id": primary_address(instance) if address else instance["InstanceId"], "Port": int(port)}
        arn = group_arn(instance, name)
        described = TARGET_GROUPS.describe_target_health(TargetGroupArn=arn, Targets=[target])
        if not any(is_in_place(member) for member in described["TargetHealthDescriptions"]):
            TARGET_GROUPS.register_targets(TargetGroupArn=arn, Targets=[target])
    log.info("registered: %s %s", instance["InstanceId"], text)


def group_arn(instance, name):
    region = EC2.meta.region_name
    account = instance["NetworkInterfaces"][0]["OwnerId"]
    return f"arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}"

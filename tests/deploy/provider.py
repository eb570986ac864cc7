"""A stand-in for Terraform's AWS provider. It has the real one's schema, and no AWS: a resource gets the identifiers that AWS would derive from its name.

Terraform talks to a provider by its plugin protocol, version 5 (https://developer.hashicorp.com/terraform/plugin/terraform-plugin-protocol): gRPC, whose messages
hold values in MessagePack. The few messages are written and read here field by field. With the variable TF_REATTACH_PROVIDERS
(https://developer.hashicorp.com/terraform/plugin/debugging) Terraform takes a provider that runs already, and downloads none.
"""

import concurrent.futures
import json
import os

import grpc
import msgpack

SOURCE = "registry.terraform.io/hashicorp/aws"

# --- Messages: a number and a value for each field ------------------------------------------------------------------------------


def varint(number):
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def message(*fields):
    """A message of fields: texts, bytes and inner messages have a length, numbers and booleans are varints."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, (bool, int)):
            out += varint(number << 3) + varint(int(value))
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return bytes(out)


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def fields(data):
    """The last value of each field of a message."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            found[key >> 3], at = read_varint(data, at)
        elif key & 7 == 2:
            length, at = read_varint(data, at)
            found[key >> 3], at = data[at : at + length], at + length
        else:
            raise ValueError(f"no message of this protocol has a field of the form {key & 7}")
    return found


UNKNOWN = msgpack.ExtType(0, b"\0")


def value_of(dynamic):
    return msgpack.unpackb(fields(dynamic)[1], strict_map_key=False)


def dynamic(value):
    return message((1, msgpack.packb(value)))


def text(fields, number):
    return fields.get(number, b"").decode()


# --- The schema -----------------------------------------------------------------------------------------------------------------

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}


def schema_block(block):
    parts = []
    for name, it in block["attributes"].items():
        # Whether an optional argument has a value of the provider's own is not known, so it may have one.
        optional = it["settable"] and not it["required"]
        parts.append((2, message((1, name), (2, json.dumps(it["type"])), (4, it["required"]), (5, optional), (6, not it["required"]))))
    for name, it in block["blocks"].items():
        is_one = it["nesting"] in ("list", "set") and not it["many"]
        least, most = int(it["required"] and it["nesting"] != "single"), int(is_one)
        parts.append((3, message((1, name), (2, schema_block(it["block"])), (3, NESTING[it["nesting"]]), (4, least), (5, most))))
    return message(*parts)


def schema_message(block):
    return message((1, 0), (2, schema_block(block)))


PROVIDER = {"attributes": {"region": {"type": "string", "required": False, "settable": True}}, "blocks": {}}

# --- What the provider refuses, beside what its schema says ------------------------------------------------------------------------

# Of each group at most one may be set, and that `false` is set counts, too. A schema that goes over the wire does not say it. From the provider's sources:
# https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/sqs/queue.go, .../cloudwatch/metric_alarm.go and .../lambda/function.go
ONE_OF = {
    "aws_sqs_queue": [("kms_master_key_id", "sqs_managed_sse_enabled"), ("name", "name_prefix")],
    "aws_cloudwatch_metric_alarm": [
        *((name, "metric_query") for name in ("dimensions", "extended_statistic", "metric_name", "namespace", "period", "statistic")),
        ("extended_statistic", "statistic"),
        ("threshold", "threshold_metric_id"),
    ],
    "aws_lambda_function": [("filename", "image_uri", "s3_bucket"), ("filename", "s3_key")],
}
# Of these, one has to be set.
SOME_OF = {"aws_lambda_function": [("filename", "image_uri", "s3_bucket")]}


def refusals(type, config):
    """Why the provider takes no such resource."""

    def set_of(names):
        return [name for name in names if config.get(name) not in (None, [])]

    for names in ONE_OF.get(type, []):
        if len(set_of(names)) > 1:
            yield f"{type}: {' conflicts with '.join(set_of(names))}"
    for names in SOME_OF.get(type, []):
        if not set_of(names):
            yield f"{type}: needs one of {', '.join(names)}"


# --- What AWS would answer ------------------------------------------------------------------------------------------------------


IDENTIFIERS = {"id", "arn", "url"}


class Place:
    """The account and the Region in which resources are made."""

    def __init__(self, partition="aws", region="eu-west-1", suffix="amazonaws.com", account="123456789012"):
        self.partition = partition
        self.region = region
        self.suffix = suffix
        self.account = account

    def arn(self, service, rest, region=None):
        return f"arn:{self.partition}:{service}:{self.region if region is None else region}:{self.account}:{rest}"

    def data(self, type):
        if type == "aws_caller_identity":
            return {"account_id": self.account}
        if type == "aws_partition":
            return {"partition": self.partition, "dns_suffix": self.suffix}
        return {"region": self.region, "name": self.region}

    def identity(self, type, given):
        """The attributes that only AWS knows."""
        name = given.get("name")
        if type == "aws_sqs_queue":
            url = f"https://sqs.{self.region}.{self.suffix}/{self.account}/{name}"
            return {"arn": self.arn("sqs", name), "url": url, "id": url}
        if type == "aws_lambda_function":
            return {"arn": self.arn("lambda", f"function:{given['function_name']}"), "id": given["function_name"]}
        if type == "aws_cloudwatch_event_rule":
            return {"arn": self.arn("events", f"rule/{name}"), "id": name}
        if type == "aws_cloudwatch_log_group":
            return {"arn": self.arn("logs", f"log-group:{name}"), "id": name}
        if type in ("aws_iam_role", "aws_iam_policy"):
            kind = type.removeprefix("aws_iam_")
            arn = self.arn("iam", f"{kind}{given.get('path') or '/'}{name}", region="")
            return {"arn": arn, "id": name if kind == "role" else arn}
        if type == "aws_cloudwatch_metric_alarm":
            return {"arn": self.arn("cloudwatch", f"alarm:{given['alarm_name']}"), "id": given["alarm_name"]}
        return {"id": name or type}


class Provider:
    """Answers Terraform's calls."""

    def __init__(self, schema, place):
        self.schema = schema
        self.place = place

    def empty(self, block):
        """A value of a block in which nothing is set."""
        return {name: None for name in block["attributes"]} | {
            name: [] if it["nesting"] in ("list", "set") else {} if it["nesting"] == "map" else None for name, it in block["blocks"].items()
        }

    def call(self, name, request):
        sent = fields(request)
        if name == "GetSchema":
            kinds = [(2, self.schema["resources"]), (3, self.schema["data"])]
            entries = [(number, message((1, type), (2, schema_message(block)))) for number, types in kinds for type, block in types.items()]
            return message((1, schema_message(PROVIDER)), *entries)
        if name == "PrepareProviderConfig":
            return message((1, sent[1]))
        if name == "UpgradeResourceState":
            return message((1, message((2, fields(sent[3])[1]))))
        if name == "ReadResource":
            return message((1, sent[2]))
        if name == "ReadDataSource":
            type = text(sent, 1)
            return message((1, dynamic(self.empty(self.schema["data"][type]) | self.place.data(type) | {"id": type})))
        if name == "PlanResourceChange":
            type, proposed = text(sent, 1), value_of(sent[3])
            wrong = refusals(type, value_of(sent[4])) if proposed is not None else ()
            errors = [(4, message((1, 1), (2, reason))) for reason in wrong]
            return message((1, dynamic(proposed)), *errors) if errors else self.plan(type, proposed)
        if name == "ApplyResourceChange":
            return self.apply(text(sent, 1), value_of(sent[3]))
        if name in ("ValidateResourceTypeConfig", "ValidateDataSourceConfig", "Configure", "Stop"):
            return b""
        raise NotImplementedError(name)

    def plan(self, type, proposed):
        if proposed is not None:
            for name in IDENTIFIERS & proposed.keys():
                # Known only when the resource is made.
                if proposed[name] is None:
                    proposed[name] = UNKNOWN
        # As AWS's provider does, which is built on Terraform's older library.
        return message((1, dynamic(proposed)), (5, True))

    def apply(self, type, planned):
        if planned is not None:
            identity = self.place.identity(type, planned)
            planned |= {name: identity.get(name) for name, value in planned.items() if value == UNKNOWN}
        return message((1, dynamic(planned)), (4, True))


class Served(grpc.GenericRpcHandler):
    def __init__(self, provider):
        self.provider = provider

    def service(self, details):
        service, name = details.method.lstrip("/").split("/")
        if service != "tfplugin5.Provider":
            return None

        def answer(request, context):
            try:
                return self.provider.call(name, request)
            except NotImplementedError:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

        return grpc.unary_unary_rpc_method_handler(answer)


class Running:
    """A provider that listens on this machine for as long as the block of `with` lasts."""

    def __init__(self, schema, place):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 << 20)])
        self.server.add_generic_rpc_handlers((Served(Provider(schema, place)),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None)

    def environment(self):
        """What tells Terraform where the provider is."""
        address = {"Network": "tcp", "String": f"127.0.0.1:{self.port}"}
        attached = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
        return {"TF_REATTACH_PROVIDERS": json.dumps({SOURCE: attached})}

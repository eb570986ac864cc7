"""Lets Terraform evaluate the module in deploy/terraform, and compares what it makes with what CloudFormation would make of the template.

    compare.py TEMPLATE SCHEMA TERRAFORM...

TEMPLATE is the plain one of deploy/plain_template.py, SCHEMA that of schema.py. Terraform runs against the stand-in of provider.py, which has the AWS provider's
schema: so it refuses unknown arguments, missing ones and wrong types itself. The comparison knows neither the module's generator nor its tables.

Both are evaluated with several values of the parameters. Resources, their properties, policies, names and tags, outputs and what the variables refuse have to be
the same. Last, the comparison is tried with modules that have a fault: each has to be found.
"""

import base64
import concurrent.futures
import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

import provider

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "deploy/terraform"

NAME = "night-shift"
TAGS = {"team": "platform"}

# The parameters that only one of the two has: the place of the code, and what CloudFormation itself knows of a stack.
CODE_PARAMETERS = {"CodeBucket", "CodeBucketInEachRegion", "CodePrefix"}
OWN_VARIABLES = {"name", "tags", "code_folder", "code_bucket", "code_prefix"}

# Another value for each parameter whose values are not listed in the template, and one that has to be refused if it has a pattern.
OTHERS = {
    "ReconcileSchedule": ("cron(0 * * * ? *)", "every hour"),
    "LifecycleHookPrefix": ("night", ""),
    "HealthTimeout": (600, None),
    "NetworkDrainTime": (60, None),
    "AlarmTopicArn": ("arn:aws:sns:eu-west-1:123456789012:pager", "pager"),
    "OtherHookPrefixes": ("other-,third-", "other, third"),
    "SubnetIds": (["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"], None),
    "SecurityGroupIds": (["sg-0123456789abcdef0"], None),
    "PermissionsBoundaryArn": ("arn:aws:iam::123456789012:policy/boundary", "boundary"),
    "RolePath": ("/platform/", "platform"),
    "KmsKeyArn": ("arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef", "alias/key"),
}

# --- CloudFormation: a template with values for its parameters ---------------------------------------------------------------------

NOTHING = object()


def physical(stack, id, resource, place):
    """The name that the module gives to a resource; CloudFormation would choose one with the same beginning."""
    if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::CloudWatch::Dashboard"):
        return f"{stack}-{id}-{place.region}"
    return f"{stack}-{id}" + (".fifo" if resource["Properties"].get("FifoQueue") is True else "")


class Stack:
    """A template's resources and outputs, with all functions and references replaced."""

    def __init__(self, template, values, place):
        self.template = template
        self.place = place
        self.values = {}
        for name, parameter in template["Parameters"].items():
            value = values.get(name, parameter.get("Default"))
            if parameter["Type"] in ("CommaDelimitedList",) or parameter["Type"].startswith("List<"):
                value = value if isinstance(value, list) else [part for part in str(value).split(",") if part]
            self.values[name] = value
        self.present = {id: it for id, it in template["Resources"].items() if self.holds(it.get("Condition"))}

    def holds(self, condition):
        return condition is None or self.test(self.template["Conditions"][condition])

    def test(self, value):
        (function, argument), *_ = value.items()
        if function == "Condition":
            return self.holds(argument)
        if function == "Fn::Equals":
            one, other = (str(self.resolved(it)) for it in argument)
            return one == other
        if function == "Fn::Not":
            return not self.test(argument[0])
        return {"Fn::And": all, "Fn::Or": any}[function](map(self.test, argument))

    def ref(self, name):
        pseudo = {
            "AWS::StackName": NAME,
            "AWS::Region": self.place.region,
            "AWS::AccountId": self.place.account,
            "AWS::Partition": self.place.partition,
            "AWS::URLSuffix": self.place.suffix,
            "AWS::NoValue": NOTHING,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.values:
            return self.values[name]
        resource = self.present[name]
        own = physical(NAME, name, resource, self.place)
        if resource["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{self.place.region}.{self.place.suffix}/{self.place.account}/{own}"
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            return self.attribute(name, "PolicyArn")
        return own

    def attribute(self, id, name):
        resource = self.present[id]
        own = physical(NAME, id, resource, self.place)
        path = self.resolved(resource["Properties"].get("Path", "/"))
        forms = {
            ("AWS::SQS::Queue", "Arn"): ("sqs", own),
            ("AWS::Lambda::Function", "Arn"): ("lambda", f"function:{own}"),
            ("AWS::Events::Rule", "Arn"): ("events", f"rule/{own}"),
            # With the streams of the group: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-loggroup.html
            ("AWS::Logs::LogGroup", "Arn"): ("logs", f"log-group:{own}:*"),
            ("AWS::CloudWatch::Alarm", "Arn"): ("cloudwatch", f"alarm:{own}"),
            ("AWS::IAM::Role", "Arn"): ("iam", f"role{path if path is not NOTHING else '/'}{own}"),
            ("AWS::IAM::ManagedPolicy", "PolicyArn"): ("iam", f"policy{path if path is not NOTHING else '/'}{own}"),
        }
        if (resource["Type"], name) == ("AWS::SQS::Queue", "QueueName"):
            return own
        service, rest = forms[resource["Type"], name]
        return self.place.arn(service, rest, region="" if service == "iam" else None)

    def substituted(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})

        def replaced(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return str(self.resolved(own[name]))
            return str(self.attribute(*name.split(".", 1)) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)

    def resolved(self, value):
        if isinstance(value, list):
            return [it for it in map(self.resolved, value) if it is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), *_ = value.items()
            if function == "Ref":
                return self.ref(argument)
            if function == "Fn::GetAtt":
                return self.attribute(*argument)
            if function == "Fn::Sub":
                return self.substituted(argument)
            if function == "Fn::If":
                return self.resolved(argument[1] if self.holds(argument[0]) else argument[2])
            if function == "Fn::Join":
                return argument[0].join(map(str, self.resolved(argument[1])))
            if function == "Fn::Split":
                return self.resolved(argument[1]).split(argument[0])
            if function.startswith("Fn::"):
                sys.exit(f"the comparison does not know {function}")
        found = {key: self.resolved(it) for key, it in value.items()}
        return {key: it for key, it in found.items() if it is not NOTHING}

    def resources(self):
        return {id: (it["Type"], self.resolved(it["Properties"])) for id, it in self.present.items()}

    def outputs(self):
        found = {name: self.resolved(it["Value"]) for name, it in self.template["Outputs"].items() if self.holds(it.get("Condition"))}
        return {spelled(name): str(value) for name, value in found.items()}


# --- One spelling for both ---------------------------------------------------------------------------------------------------------


def spelled(name):
    """A name without its capital letters and underscores, which are all that most names differ in."""
    return name.replace("_", "").lower()


def sorted_texts(value):
    return sorted(value) if isinstance(value, list) and all(isinstance(it, str) for it in value) else value


def of_template(type, properties):
    """A resource of the template in the common spelling."""
    if type == "AWS::SQS::Queue" and "KmsMasterKeyId" in properties and properties.get("SqsManagedSseEnabled") is False:
        # With a key of its own a queue has no other encryption, and Terraform refuses to say so.
        del properties["SqsManagedSseEnabled"]
    own = {tag["Key"]: tag["Value"] for tag in properties.pop("Tags", [])}
    found = {}
    for name, value in properties.items():
        key = spelled(name)
        if name in ("PolicyDocument", "AssumeRolePolicyDocument", "EventPattern", "RedrivePolicy", "RedriveAllowPolicy"):
            found[key] = value
        elif name == "DashboardBody":
            found[key] = json.loads(value)
        elif name == "Policies":
            found[key] = {policy["PolicyName"]: policy["PolicyDocument"] for policy in value}
        elif name == "Targets":
            found[key] = {target["Id"]: structure(target) for target in value}
        elif name == "Dimensions":
            found[key] = {it["Name"]: it["Value"] for it in value}
        elif name == "Metrics":
            found[key] = {it["Id"]: metric_of_template(it) for it in value}
        elif name == "Environment":
            found[key] = {variable: str(it) for variable, it in value["Variables"].items()}
        else:
            found[key] = structure(value)
    return found, own


def structure(value):
    """The inside of a property in the common spelling."""
    if isinstance(value, dict):
        # Terraform does not tell an empty list from none.
        return {spelled(key): structure(it) for key, it in value.items() if it != []}
    return [structure(it) for it in value] if isinstance(value, list) and value and isinstance(value[0], dict) else sorted_texts(value)


def metric_of_template(query):
    # "ReturnData ... The default is true." (MetricDataQuery, in CloudFormation's reference)
    query = {"ReturnData": True} | query
    if "MetricStat" in query:
        stat = query.pop("MetricStat")
        metric = stat["Metric"]
        dimensions = {it["Name"]: it["Value"] for it in metric.get("Dimensions", [])}
        parts = {"MetricName": metric["MetricName"], "Namespace": metric["Namespace"]} | {key: it for key, it in stat.items() if key != "Metric"}
        query["Metric"] = {spelled(key): it for key, it in parts.items()} | {"dimensions": dimensions}
    return {key if key == "dimensions" else spelled(key): it for key, it in query.items()}


# The type of CloudFormation's for each of Terraform's, and the arguments whose names differ in more than their letters.
OF_TERRAFORM = {
    "aws_sqs_queue": (
        "AWS::SQS::Queue",
        {
            "visibility_timeout_seconds": "visibilitytimeout",
            "message_retention_seconds": "messageretentionperiod",
            "receive_wait_time_seconds": "receivemessagewaittimeseconds",
            "max_message_size": "maximummessagesize",
        },
    ),
    "aws_sqs_queue_policy": ("AWS::SQS::QueuePolicy", {"policy": "policydocument", "queue_url": "queues"}),
    "aws_cloudwatch_event_rule": ("AWS::Events::Rule", {}),
    "aws_lambda_function": ("AWS::Lambda::Function", {}),
    "aws_lambda_event_source_mapping": ("AWS::Lambda::EventSourceMapping", {}),
    "aws_lambda_function_event_invoke_config": ("AWS::Lambda::EventInvokeConfig", {}),
    "aws_lambda_permission": ("AWS::Lambda::Permission", {}),
    "aws_cloudwatch_log_group": ("AWS::Logs::LogGroup", {}),
    "aws_cloudwatch_query_definition": ("AWS::Logs::QueryDefinition", {}),
    "aws_iam_role": ("AWS::IAM::Role", {"assume_role_policy": "assumerolepolicydocument"}),
    "aws_iam_policy": ("AWS::IAM::ManagedPolicy", {"policy": "policydocument"}),
    "aws_cloudwatch_metric_alarm": ("AWS::CloudWatch::Alarm", {"metric_query": "metrics"}),
    "aws_cloudwatch_dashboard": ("AWS::CloudWatch::Dashboard", {}),
}
# What holds a resource's name, or a name that only Terraform needs.
NAMES = {
    "aws_sqs_queue": "name",
    "aws_cloudwatch_event_rule": "name",
    "aws_lambda_function": "function_name",
    "aws_cloudwatch_log_group": "name",
    "aws_iam_role": "name",
    "aws_iam_policy": "name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
    "aws_cloudwatch_dashboard": "dashboard_name",
}
DOCUMENTS = {"policy", "assume_role_policy", "event_pattern", "redrive_policy", "redrive_allow_policy", "dashboard_body"}
# Parts of another resource, in Terraform, with the argument that names the other one.
PARTS = {
    "aws_cloudwatch_event_target": ("AWS::Events::Rule", "rule"),
    "aws_iam_role_policy": ("AWS::IAM::Role", "role"),
    "aws_iam_role_policy_attachment": ("AWS::IAM::Role", "role"),
    "aws_lambda_function_recursion_config": ("AWS::Lambda::Function", "function_name"),
}


def given_of(values):
    """What is set of a resource or a block."""
    return {key: it for key, it in values.items() if it is not None and it != [] and it != {}}


def block_of(value):
    """A block of Terraform's in the common spelling. A block that may be there once is a list of one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return block_of(value[0])
    if isinstance(value, dict):
        return {spelled(key): block_of(it) for key, it in given_of(value).items()}
    return sorted_texts(value)


def metric_of_terraform(query):
    query = {"return_data": False} | given_of(query)
    if "metric" in query:
        (metric,) = query["metric"]
        metric = given_of(metric)
        dimensions = metric.pop("dimensions", {})
        query["metric"] = {spelled(key): it for key, it in metric.items()} | {"dimensions": dimensions}
    return {spelled(key): it for key, it in query.items()}


class Applied:
    """What Terraform made of the module, in the common spelling."""

    def __init__(self, state, schema):
        self.schema = schema["resources"]
        (module,) = state["values"]["root_module"]["child_modules"]
        found = [it for it in module["resources"] if it["mode"] == "managed"]
        self.problems = []
        self.resources = {}
        self.names = {}
        for it in found:
            if it["type"] not in PARTS:
                self.take(it)
        for it in found:
            if it["type"] in PARTS:
                self.take_part(it)
        self.check_order(found)
        outputs = state["values"]["outputs"]["module"]["value"]
        self.outputs = {spelled(name): str(value) for name, value in outputs.items() if value is not None}

    def set_by_module(self, it):
        """What is set of a resource, without what the provider answers."""
        attributes = self.schema[it["type"]]["attributes"]
        answered = {name for name, attribute in attributes.items() if not attribute["settable"]} | {"id", "tags_all"}
        return {name: value for name, value in given_of(it["values"]).items() if name not in answered}

    def take(self, it):
        kind, others = OF_TERRAFORM[it["type"]]
        values = self.set_by_module(it)
        tags = values.pop("tags", {})
        # Terraform's name of a resource is the template's.
        key = kind, spelled(it["name"])
        if it["type"] in NAMES:
            self.names[key] = values.pop(NAMES[it["type"]])
        if it["type"] == "aws_lambda_permission":
            values.pop("statement_id")
        properties = {}
        for name, value in values.items():
            target = others.get(name, spelled(name))
            if name in DOCUMENTS:
                properties[target] = json.loads(value)
            elif name == "queue_url":
                properties[target] = [value]
            elif name == "metric_query":
                properties[target] = {query["id"]: metric_of_terraform(query) for query in value}
            elif name == "dimensions":
                properties[target] = value
            elif name == "environment":
                properties[target] = value[0]["variables"]
            elif name in ("s3_bucket", "s3_key"):
                properties.setdefault("code", {})[spelled(name)] = value
            else:
                properties[target] = block_of(value)
        self.resources[key] = properties, tags

    def take_part(self, it):
        values = self.set_by_module(it)
        owner_kind, argument = PARTS[it["type"]]
        owner_name = values.pop(argument)
        (owner,) = (key for key, name in self.names.items() if name == owner_name and key[0] == owner_kind)
        properties, _ = self.resources[owner]
        if it["type"] == "aws_cloudwatch_event_target":
            target = {"id": values.pop("target_id")} | {spelled(key): block_of(value) for key, value in values.items()}
            properties.setdefault("targets", {})[target["id"]] = target
        elif it["type"] == "aws_iam_role_policy":
            properties.setdefault("policies", {})[values.pop("name")] = json.loads(values.pop("policy"))
            self.problems += [f"{it['address']}: has {name}, which the template has no word for" for name in values]
        elif it["type"] == "aws_lambda_function_recursion_config":
            properties["recursiveloop"] = values.pop("recursive_loop")
        else:
            properties["managedpolicyarns"] = sorted([*properties.get("managedpolicyarns", []), values.pop("policy_arn")])

    def check_order(self, found):
        """A function and its queue wait for the permissions of its role, which are resources of their own in Terraform."""
        roles = {it["values"]["arn"]: it["values"]["name"] for it in found if it["type"] == "aws_iam_role"}
        permissions = [it for it in found if it["type"] in ("aws_iam_role_policy", "aws_iam_role_policy_attachment")]
        functions = {it["values"]["function_name"]: roles[it["values"]["role"]] for it in found if it["type"] == "aws_lambda_function"}
        for it in found:
            if it["type"] in ("aws_lambda_function", "aws_lambda_event_source_mapping"):
                role = functions[it["values"]["function_name"]]
                waits = {name.rpartition("module.elb_registrar.")[2] for name in it.get("depends_on", [])}
                for permission in permissions:
                    if permission["values"]["role"] == role and f"{permission['type']}.{permission['name']}" not in waits:
                        self.problems.append(f"{it['address']}: is made without waiting for {permission['address']}")


# --- The comparison ----------------------------------------------------------------------------------------------------------------


def differences(expected, found, path):
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in {**expected, **found}:
            if key not in found:
                yield f"{path}/{key}: is missing in the module"
            elif key not in expected:
                yield f"{path}/{key}: is only in the module"
            else:
                yield from differences(expected[key], found[key], f"{path}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{path}/{place}")
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        yield f"{path}: the template has {expected!r}, and the module {found!r}"


def compare(stack, applied, taggable):
    """What differs between a stack and what Terraform made."""
    wrong = list(applied.problems)
    expected = {}
    for id, (kind, properties) in stack.resources().items():
        key = kind, spelled(id)
        resource, own = of_template(kind, copy.deepcopy(properties))
        expected[key] = resource, (TAGS | own if kind in taggable else {})
        if key in applied.names and applied.names[key] != physical(NAME, id, stack.present[id], stack.place):
            wrong.append(f"{id}: has the name {applied.names[key]}")
    for key in {**expected, **applied.resources}:
        label = " ".join(key)
        if key not in applied.resources:
            wrong.append(f"{label}: is missing in the module")
        elif key not in expected:
            wrong.append(f"{label}: is only in the module")
        else:
            (one, tags), (other, other_tags) = expected[key], applied.resources[key]
            # Sorted as the other side.
            if "managedpolicyarns" in one:
                one["managedpolicyarns"] = sorted(one["managedpolicyarns"])
            wrong += differences(one, other, label)
            wrong += differences(tags, other_tags, f"{label}/tags")
    wrong += differences(stack.outputs(), applied.outputs, "outputs")
    return wrong


# --- Terraform ---------------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """Terraform says no, and why."""


class Terraform:
    """One binary of Terraform, and the provider that it talks to."""

    def __init__(self, binary, running):
        self.binary = binary
        quiet = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
        # The provider is on this machine, not behind a proxy.
        self.environment = kept | quiet | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | running.environment()

    def run(self, folder, *arguments):
        done = subprocess.run([self.binary, *arguments], cwd=folder, env=self.environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def apply(self, inputs, module=MODULE, only_plan=False):
        """Returns the state after `terraform apply` of a configuration that uses the module with some inputs."""
        with tempfile.TemporaryDirectory() as folder:
            root = {"module": {"elb_registrar": {"source": str(module)} | inputs}, "output": {"module": {"value": "${module.elb_registrar}"}}}
            pathlib.Path(folder, "main.tf.json").write_text(json.dumps(root))
            self.run(folder, "init", "-no-color")
            if only_plan:
                return self.run(folder, "plan", "-no-color", "-lock=false")
            self.run(folder, "apply", "-auto-approve", "-no-color")
            return json.loads(self.run(folder, "show", "-json"))


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def own_parameters(template):
    return {name: it for name, it in template["Parameters"].items() if name not in CODE_PARAMETERS}


def other_value(name, parameter):
    if "AllowedValues" in parameter:
        return next(value for value in reversed(parameter["AllowedValues"]) if value != parameter.get("Default"))
    if name in OTHERS:
        return OTHERS[name][0]
    sys.exit(f"tests/deploy/compare.py needs another value for the parameter {name}, in OTHERS")


def scenarios(template):
    """Values of the parameters, and where they are deployed."""
    here = provider.Place()
    china = provider.Place("aws-cn", "cn-north-1", "amazonaws.com.cn")
    parameters = own_parameters(template)
    others = {name: other_value(name, parameter) for name, parameter in parameters.items()}
    yield "defaults", {}, here
    yield "all others", others, here
    yield "all others, in China", others, china
    for name, value in others.items():
        yield f"{name} {value}", {name: value}, here


def inputs_of(values):
    code = {"code_bucket": "my-code", "code_prefix": "tools/"}
    return {"name": NAME, "tags": TAGS} | code | {snake(name): value for name, value in values.items()}


def stack_of(template, values, place):
    return Stack(template, values | {"CodeBucket": "my-code", "CodePrefix": "tools/"}, place)


def refusals(template):
    """Values that the template refuses, so that the module has to refuse them, too."""
    for name, parameter in own_parameters(template).items():
        if "AllowedValues" in parameter:
            yield name, -1 if parameter["Type"] == "Number" else "another"
        if "MinValue" in parameter:
            yield name, parameter["MinValue"] - 1
        if "MaxValue" in parameter:
            yield name, parameter["MaxValue"] + 1
        if "AllowedPattern" in parameter:
            bad = OTHERS[name][1]
            if re.search(parameter["AllowedPattern"], str(bad)):
                sys.exit(f"OTHERS: {bad!r} is no wrong value of {name}")
            yield name, bad


# --- Faults that have to be found --------------------------------------------------------------------------------------------------

# In a module: a file, what stands there, and what stands there instead. The first five are for Terraform and the provider's schema, the rest for the comparison.
FAULTS = [
    ("main.tf", "visibility_timeout_seconds", "visibility_timeout"),
    ("main.tf", "  scaling_config {", "  scaling {"),
    ("main.tf", "batch_size              = 10", 'batch_size = "ten"'),
    ("permissions.tf", "aws_sqs_queue.order_queue.arn", "aws_sqs_queue.orders.arn"),
    ("main.tf", "sqs_managed_sse_enabled ", 'kms_master_key_id = "alias/a-key"\n  sqs_managed_sse_enabled '),
    ("main.tf", "visibility_timeout_seconds = 1800", "visibility_timeout_seconds = 1801"),
    ("main.tf", "    aws_iam_role_policy.instance_state_role,\n", ""),
    ("main.tf", "    aws_iam_role_policy_attachment.instance_state_role_reading_policy,\n", ""),
    ("main.tf", ".fifo", "-x.fifo"),
    ("main.tf", "REGISTRAR_QUEUE_URL ", "REGISTRAR_URL "),
    ("permissions.tf", ":*\"", "\""),
    ("permissions.tf", "count      = local.enforces ? 1 : 0", "count = 1"),
    ("permissions.tf", "local.traces ? [", "!local.traces ? ["),
    ("permissions.tf", '"ec2:DescribeSubnets"', '"ec2:DescribeVpcs"'),
    ("alarms.tf", "datapoints_to_alarm", "period"),
    ("alarms.tf", "local.notifies ? [var.alarm_topic_arn] : null", "[var.alarm_topic_arn]"),
    ("dashboard.tf", '"stat": "Sum"', '"stat": "Average"'),
    ("main.tf", "tags                      = var.tags", "tags = {}"),
    ("outputs.tf", "aws_sqs_queue.order_queue.url", "aws_sqs_queue.order_queue.arn"),
    ("variables.tf", '= "observe"', '= "enforce"'),
]


def is_found(terraform, template, schema, taggable, file, old, new):
    with tempfile.TemporaryDirectory() as folder:
        module = pathlib.Path(folder, "module")
        shutil.copytree(MODULE, module)
        text = (module / file).read_text()
        if old not in text:
            sys.exit(f"FAULTS: {file} has no {old!r}")
        (module / file).write_text(text.replace(old, new, 1))
        try:
            return bool(compare(stack_of(template, {}, provider.Place()), Applied(terraform.apply(inputs_of({}), module), schema), taggable))
        except Refused:
            return True


def found_in_state(template, state, schema, taggable):
    """Changes each value of what Terraform made, one at a time. Returns how many were tried, and those that the comparison does not see."""
    stack = stack_of(template, {}, provider.Place())
    unseen, tried = [], 0
    whole = Applied(state, schema)

    def look(label, change):
        nonlocal tried
        tried += 1
        mutated = copy.deepcopy(whole)
        change(mutated)
        if not compare(stack, mutated, taggable):
            unseen.append(label)

    for key, (properties, _) in whole.resources.items():
        look(f"without {key}", lambda it: it.resources.pop(key))
        for name in properties:
            look(f"{key} without {name}", lambda it: it.resources[key][0].pop(name))
            look(f"{key} with another {name}", lambda it: it.resources[key][0].update({name: "another"}))
    for name in whole.outputs:
        look(f"without the output {name}", lambda it: it.outputs.pop(name))
    return tried, unseen


def main(arguments):
    template = yaml.safe_load(pathlib.Path(arguments[0]).read_text())
    schema = json.loads(pathlib.Path(arguments[1]).read_text())
    binaries = arguments[2:]
    taggable = {kind for type, (kind, _) in OF_TERRAFORM.items() if "tags" in schema["resources"][type]["attributes"]}
    variables = set(re.findall(r'^variable "(\w+)"', "".join(path.read_text() for path in MODULE.glob("*.tf")), re.M))
    if odd := variables ^ (OWN_VARIABLES | {snake(name) for name in own_parameters(template)}):
        sys.exit(f"these are a parameter or a variable, and not both: {', '.join(sorted(odd))}")

    # If this ends early, work that waits in the pool is dropped: Python would stop the stand-in under a Terraform that still runs.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        try:
            check(template, schema, binaries, taggable, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def check(template, schema, binaries, taggable, pool):
    wrong = []
    every = list(scenarios(template))
    for binary in binaries:
        # Each parameter by itself only with the newest.
        some = every if binary == binaries[-1] else every[:3]
        version = json.loads(subprocess.run([binary, "version", "-json"], check=True, capture_output=True, text=True).stdout)["terraform_version"]

        def look(scenario):
            label, values, place = scenario
            with provider.Running(schema, place) as running:
                try:
                    applied = Applied(Terraform(binary, running).apply(inputs_of(values)), schema)
                except Refused as refused:
                    return [f"{label}: {refused}"]
            return [f"{label}: {it}" for it in compare(stack_of(template, values, place), applied, taggable)]

        for found in pool.map(look, some):
            wrong += found
        print(f"Terraform {version}: the module was applied with {len(some)} sets of values")
        if wrong:
            sys.exit("the module differs from the template:\n" + "\n".join(dict.fromkeys(wrong)))

    # The rest with the newest.
    with provider.Running(schema, provider.Place()) as running:
        terraform = Terraform(binaries[-1], running)

        def takes(refusal):
            name, value = refusal
            try:
                terraform.apply(inputs_of({name: value}), only_plan=True)
            except Refused as refused:
                reason = str(refused)
                return None if "Invalid value for" in reason and f"var.{snake(name)}" in reason.replace('"', "") else f"{name} {value!r}: {reason}"
            return f"{name}: the module takes {value!r}, which the template refuses"

        bad = list(refusals(template))
        wrong += filter(None, pool.map(takes, bad))
        print(f"the module refuses {len(bad)} values that the template refuses")

        with tempfile.TemporaryDirectory() as folder:
            version = template["Metadata"]["elb-registrar"]["Version"]
            content = {binary: f"code of {binary}".encode() for binary in ("instance-state", "lifecycle", "reconcile")}
            for binary, code in content.items():
                pathlib.Path(folder, f"elb-registrar-{version}-{binary}-arm64.zip").write_bytes(code)
            state = terraform.apply({"code_folder": folder})
            (module,) = state["values"]["root_module"]["child_modules"]
            hashes = {it["values"]["source_code_hash"] for it in module["resources"] if it["type"] == "aws_lambda_function"}
            if hashes != {base64.b64encode(hashlib.sha256(code).digest()).decode() for code in content.values()}:
                wrong.append("code_folder: the functions' hashes are not those of their files")
        print("the module takes the code from a folder, too")

        state = terraform.apply(inputs_of({}))
        tried, unseen = found_in_state(template, state, schema, taggable)
        wrong += [f"the comparison does not see: {it}" for it in unseen]
        seen = list(pool.map(lambda fault: is_found(terraform, template, schema, taggable, *fault), FAULTS))
        wrong += [f"the comparison does not see a module with {new!r} for {old!r} in {file}" for (file, old, new), found in zip(FAULTS, seen) if not found]
        print(f"the comparison sees {tried} changed values, and {len(FAULTS)} modules with a fault")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])

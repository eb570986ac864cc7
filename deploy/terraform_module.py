#!/usr/bin/env python3
"""Writes the Terraform module of template.yaml: terraform_module.py TERRAFORM template.yaml FOLDER

Every resource of the template becomes one of the same name in Terraform's spelling, or the two or three that Terraform has for it. What the translation does not
know ends the program, so that nothing of the template is left out in silence. Terraform itself (the first argument) formats what is written.

Files that this program does not write (versions.tf, code.tf, README.md) are left as they are. tests/deploy/compare.py then lets Terraform evaluate the module,
and compares the result with the template. Needs the SAM CLI's Python environment.
"""

import json
import pathlib
import re
import subprocess
import sys
import textwrap

from samcli.yamlhelper import yaml_parse

import plain_template

HEAD = "# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.\n\n"

# --- What Terraform calls each thing --------------------------------------------------------------------------------------------


class Kind:
    """How a type of CloudFormation's is spelled in Terraform.

    `arguments` maps a property to an argument. A value that is a tuple holds the argument's name and its form: `json` for a document that is text in Terraform,
    `block` for a block whose arguments have the same names in small letters, `blocks` for a list of them.
    """

    def __init__(self, type, arguments, name=None, ref=None, attributes=(), tags=False):
        self.type = type
        self.arguments = arguments
        # The argument that holds the name, if it has one, and what `Ref` and `Fn::GetAtt` give.
        self.name = name
        self.ref = ref
        self.attributes = dict(attributes)
        self.tags = tags


def snake(name):
    """CloudFormation's CamelCase in Terraform's small letters: OKActions is ok_actions, and KmsKeyArn is kms_key_arn."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def same(*names):
    return {name: snake(name) for name in names}


# A log group's Arn ends with `:*` in CloudFormation (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-loggroup.html),
# and without it in Terraform (https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/cloudwatch_log_group).
LOG_GROUP_ARN = "${%s.arn}:*"

KINDS = {
    "AWS::SQS::Queue": Kind(
        "aws_sqs_queue",
        same("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit", "DelaySeconds", "KmsMasterKeyId")
        | same("KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
        | {
            "VisibilityTimeout": "visibility_timeout_seconds",
            "MessageRetentionPeriod": "message_retention_seconds",
            "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
            "MaximumMessageSize": "max_message_size",
            "RedrivePolicy": ("redrive_policy", "json"),
            "RedriveAllowPolicy": ("redrive_allow_policy", "json"),
        },
        name="name",
        ref="url",
        attributes={"Arn": "arn", "QueueName": "name", "QueueUrl": "url"},
        tags=True,
    ),
    "AWS::SQS::QueuePolicy": Kind("aws_sqs_queue_policy", {"PolicyDocument": ("policy", "json")}),
    "AWS::Events::Rule": Kind(
        "aws_cloudwatch_event_rule",
        same("Description", "ScheduleExpression", "State") | {"EventPattern": ("event_pattern", "json")},
        name="name",
        ref="name",
        attributes={"Arn": "arn"},
        tags=True,
    ),
    "AWS::Lambda::Function": Kind(
        "aws_lambda_function",
        same("Description", "Role", "Runtime", "Handler", "Architectures", "MemorySize", "Timeout", "KmsKeyArn")
        | {
            "TracingConfig": ("tracing_config", "block"),
            "Environment": ("environment", "block"),
            "LoggingConfig": ("logging_config", "block"),
            "VpcConfig": ("vpc_config", "block"),
        },
        name="function_name",
        ref="function_name",
        attributes={"Arn": "arn"},
        tags=True,
    ),
    "AWS::Lambda::EventSourceMapping": Kind(
        "aws_lambda_event_source_mapping",
        same("EventSourceArn", "FunctionName", "BatchSize", "FunctionResponseTypes", "Enabled", "MaximumBatchingWindowInSeconds")
        | {"ScalingConfig": ("scaling_config", "block")},
        tags=True,
    ),
    "AWS::Lambda::EventInvokeConfig": Kind(
        "aws_lambda_function_event_invoke_config",
        same("FunctionName", "MaximumEventAgeInSeconds", "MaximumRetryAttempts", "Qualifier") | {"DestinationConfig": ("destination_config", "block")},
    ),
    "AWS::Lambda::Permission": Kind("aws_lambda_permission", same("Action", "FunctionName", "Principal", "SourceArn", "SourceAccount"), name="statement_id"),
    "AWS::Logs::LogGroup": Kind(
        "aws_cloudwatch_log_group",
        same("RetentionInDays", "KmsKeyId", "LogGroupClass"),
        name="name",
        ref="name",
        attributes={"Arn": LOG_GROUP_ARN},
        tags=True,
    ),
    "AWS::Logs::QueryDefinition": Kind("aws_cloudwatch_query_definition", same("Name", "QueryString", "LogGroupNames")),
    "AWS::IAM::Role": Kind(
        "aws_iam_role",
        same("Description", "Path", "PermissionsBoundary", "MaxSessionDuration") | {"AssumeRolePolicyDocument": ("assume_role_policy", "json")},
        name="name",
        ref="name",
        attributes={"Arn": "arn"},
        tags=True,
    ),
    "AWS::IAM::ManagedPolicy": Kind(
        "aws_iam_policy",
        same("Description", "Path") | {"PolicyDocument": ("policy", "json")},
        name="name",
        ref="arn",
        attributes={"PolicyArn": "arn"},
        tags=True,
    ),
    "AWS::CloudWatch::Alarm": Kind(
        "aws_cloudwatch_metric_alarm",
        same("AlarmDescription", "Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold")
        | same("ComparisonOperator", "TreatMissingData", "AlarmActions", "OKActions", "InsufficientDataActions", "ActionsEnabled", "Unit")
        | {"Dimensions": ("dimensions", "dimensions"), "Metrics": ("metric_query", "blocks")},
        name="alarm_name",
        ref="alarm_name",
        attributes={"Arn": "arn"},
        tags=True,
    ),
    "AWS::CloudWatch::Dashboard": Kind("aws_cloudwatch_dashboard", {"DashboardBody": "dashboard_body"}, name="dashboard_name", ref="dashboard_name"),
}

# Blocks in blocks, and maps in metric queries.
INNER_BLOCKS = {"OnFailure", "OnSuccess", "MetricStat"}

PSEUDO = {
    "AWS::StackName": "var.name",
    "AWS::Region": "data.aws_region.current.region",
    "AWS::AccountId": "data.aws_caller_identity.current.account_id",
    "AWS::Partition": "data.aws_partition.current.partition",
    "AWS::URLSuffix": "data.aws_partition.current.dns_suffix",
}
NO_VALUE = {"Ref": "AWS::NoValue"}

# Parameters of CloudFormation's that have another spelling in Terraform. The code's are in code.tf.
LIST_TYPES = ("CommaDelimitedList", "List<")

FILES = {
    "AWS::CloudWatch::Alarm": "alarms.tf",
    "AWS::CloudWatch::Dashboard": "dashboard.tf",
    "AWS::Logs::QueryDefinition": "dashboard.tf",
    "AWS::IAM::Role": "permissions.tf",
    "AWS::IAM::ManagedPolicy": "permissions.tf",
}


# Of these, two Regions of an account must not have the same name: IAM is one for all Regions, and so are dashboards ("All dashboards in your account are global,
# not region-specific", https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html). A stack's names have a random end.
IN_ALL_REGIONS = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::CloudWatch::Dashboard")


class Raw(str):
    """An expression of Terraform's, written as it is."""


def escaped(value):
    """A text in which Terraform replaces nothing."""
    return value.replace("${", "$${").replace("%{", "%%{")


def text_of(value):
    """A text in quotation marks, in which nothing is replaced."""
    return escaped(json.dumps(value, ensure_ascii=False))


def heredoc(text):
    """A text of several lines. The last one has an end of its own there, which is taken off if the text has none."""
    lines = "<<-EOT\n" + textwrap.indent(text.rstrip("\n"), "  ") + "\nEOT"
    return lines if text.endswith("\n") else f"chomp({lines}\n)"


def without_false(value):
    """A choice without its `false`, which Terraform's provider refuses beside a key, and which is what a queue with a key has.

    https://github.com/terraform-aws-modules/terraform-aws-eks/pull/2575
    """
    if isinstance(value, dict) and "Fn::If" in value:
        name, *choices = value["Fn::If"]
        return {"Fn::If": [name, *map(without_false, choices)]}
    return NO_VALUE if value is False else value


class Module:
    """The translation of one plain template."""

    def __init__(self, plain):
        self.plain = plain
        self.resources = plain["Resources"]
        self.conditions = plain["Conditions"]
        self.parameters = {name: it for name, it in plain["Parameters"].items() if name not in plain_template.CODE_PARAMETERS}

    # --- Expressions ---

    def kind_of(self, id):
        return KINDS[self.resources[id]["Type"]]

    def address(self, id):
        address = f"{self.kind_of(id).type}.{snake(id)}"
        return f"{address}[0]" if "Condition" in self.resources[id] else address

    def ref(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return f"var.{snake(name)}"
        if name in self.resources and self.kind_of(name).ref:
            return f"{self.address(name)}.{self.kind_of(name).ref}"
        sys.exit(f"the module has no word for the reference {name}")

    def attribute(self, id, name):
        if id not in self.resources or name not in self.kind_of(id).attributes:
            sys.exit(f"the module has no word for the attribute {name} of {id}")
        form = self.kind_of(id).attributes[name]
        return f'"{form % self.address(id)}"' if "%" in form else f"{self.address(id)}.{form}"

    def condition(self, name):
        return f"local.{snake(name)}"

    def test(self, value):
        """A condition's own expression."""
        (function, arguments), *_ = value.items()
        if function == "Condition":
            return self.condition(arguments)
        if function == "Fn::Equals":
            return "(%s == %s)" % tuple(self.tested(argument) for argument in arguments)
        if function == "Fn::Not":
            return f"!{self.test(arguments[0])}"
        if function in ("Fn::And", "Fn::Or"):
            return "(" + (" && " if function == "Fn::And" else " || ").join(map(self.test, arguments)) + ")"
        sys.exit(f"the module has no word for the condition {value}")

    def tested(self, value):
        """What stands beside an equals sign. CloudFormation compares texts, and a list as its parts joined."""
        if isinstance(value, str):
            return text_of(value)
        (function, argument), *_ = value.items()
        if function == "Fn::Join" and isinstance(argument[1], dict):
            return f"join({text_of(argument[0])}, {self.expression(argument[1])})"
        return self.expression(value)

    def pieces(self, value):
        """The text of Fn::Sub in pieces: what stands there, and the expressions between."""
        text, own = value if isinstance(value, list) else (value, {})
        for number, piece in enumerate(re.split(r"\$\{([^}]+)\}", text)):
            if number % 2 == 0:
                yield piece, None
            elif piece.startswith("!"):
                yield "${" + piece[1:] + "}", None
            elif piece in own:
                yield (own[piece], None) if isinstance(own[piece], str) else (None, self.expression(own[piece]))
            else:
                yield None, self.attribute(*piece.split(".", 1)) if "." in piece else self.ref(piece)

    def template(self, value):
        """The text of Fn::Sub, in Terraform's spelling."""
        pieces = list(self.pieces(value))
        if any(text and "\n" in text for text, _ in pieces):
            return heredoc("".join(escaped(text) if expression is None else "${" + expression + "}" for text, expression in pieces))
        quoted = (text_of(text)[1:-1] if expression is None else "${" + expression + "}" for text, expression in pieces)
        # An expression that is a text itself is written without its quotation marks.
        return '"' + re.sub(r'\$\{"((?:[^"\\{}]|\$\{[^"{}]*\})*)"\}', r"\1", "".join(quoted)) + '"'

    def expression(self, value):
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, str):
            return heredoc(escaped(value)) if "\n" in value else text_of(value)
        if isinstance(value, list):
            return self.list(value)
        if value == NO_VALUE:
            return "null"
        if len(value) == 1:
            (function, argument), *_ = value.items()
            if function == "Ref":
                return self.ref(argument)
            if function == "Fn::GetAtt":
                return self.attribute(*argument)
            if function == "Fn::Sub":
                return self.template(argument)
            if function == "Fn::If":
                name, then, other = argument
                # The second choice can be one itself.
                more = self.expression(other)
                return f"{self.condition(name)} ? {self.expression(then)} : " + (f"({more})" if " ? " in more else more)
            if function == "Fn::Join" and isinstance(argument[1], list):
                return f"join({text_of(argument[0])}, {self.list(argument[1])})"
            if function == "Fn::Split":
                return f"split({text_of(argument[0])}, {self.expression(argument[1])})"
            if function.startswith("Fn::"):
                sys.exit(f"the module has no word for {function}")
        return self.object(value)

    def object(self, value):
        lines = []
        for key, inner in value.items():
            name = key if re.fullmatch(r"[A-Za-z_]\w*", key) else text_of(key)
            lines.append(f"{name} = {self.expression(inner)}")
        return "{\n" + "\n".join(lines) + "\n}" if lines else "{}"

    def list(self, values):
        """A list. What is there only under a condition makes a list of its own, which is empty otherwise."""
        parts, plain = [], []

        def written(items):
            text = ", ".join(items)
            return "[\n" + ",\n".join(items) + ",\n]" if any("\n" in item for item in items) or len(text) > 100 else f"[{text}]"

        for value in values:
            if isinstance(value, dict) and "Fn::If" in value and NO_VALUE in value["Fn::If"][1:]:
                name, then, other = value["Fn::If"]
                if plain:
                    parts.append(written(plain))
                    plain = []
                yes, no = ("[]" if it == NO_VALUE else written([self.expression(it)]) for it in (then, other))
                parts.append(f"{self.condition(name)} ? {yes} : {no}")
            else:
                plain.append(self.expression(value))
        if not parts:
            return written(plain)
        if plain:
            parts.append(written(plain))
        return "concat(\n" + ",\n".join(parts) + ",\n)" if len(parts) > 1 else parts[0]

    # --- Resources ---

    def block(self, label, value):
        """A block, which is there only under a condition if its value is."""
        if isinstance(value, dict) and "Fn::If" in value:
            name, then, other = value["Fn::If"]
            if other != NO_VALUE:
                sys.exit(f"the module has no word for a block {label} that has two forms")
            inner = "\n".join(self.inner(then))
            return f'dynamic "{label}" {{\nfor_each = {self.condition(name)} ? [true] : []\ncontent {{\n{inner}\n}}\n}}'
        return f"{label} {{\n" + "\n".join(self.inner(value)) + "\n}"

    def inner(self, value):
        lines = []
        if "Id" in value and "ReturnData" not in value:
            # "The default is true" in CloudFormation (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/
            # aws-properties-cloudwatch-alarm-metricdataquery.html), and it is false in Terraform.
            lines.append("return_data = true")
        for key, inner in value.items():
            if key in INNER_BLOCKS:
                lines.extend(self.metric(inner) if key == "MetricStat" else [self.block(snake(key), inner)])
            elif key == "Variables":
                lines.append(f"variables = {self.object(inner)}")
            else:
                lines.append(f"{snake(key)} = {self.expression(inner)}")
        return lines

    def metric(self, value):
        """A metric of an alarm that computes. Terraform has its parts in one block."""
        metric = dict(value["Metric"])
        settings = {"MetricName": metric["MetricName"], "Namespace": metric["Namespace"]} | {key: it for key, it in value.items() if key != "Metric"}
        lines = self.inner(settings)
        if "Dimensions" in metric:
            lines.append(f"dimensions = {self.dimensions(metric['Dimensions'])}")
        return ["metric {\n" + "\n".join(lines) + "\n}"]

    def dimensions(self, value):
        return self.object({it["Name"]: it["Value"] for it in value})

    def arguments(self, id, properties):
        kind = self.kind_of(id)
        lines, blocks = [], []
        for name, value in properties.items():
            if name == "Tags" and kind.tags:
                continue
            if name == "SqsManagedSseEnabled":
                value = without_false(value)
            if name not in kind.arguments:
                sys.exit(f"the module has no word for the property {name} of {self.resources[id]['Type']}, which {id} has")
            argument = kind.arguments[name]
            label, form = argument if isinstance(argument, tuple) else (argument, None)
            if form == "block":
                blocks.append(self.block(label, value))
            elif form == "blocks":
                blocks.extend(self.block(label, item) for item in value)
            elif form == "dimensions":
                lines.append(f"{label} = {self.dimensions(value)}")
            elif form == "json":
                lines.append(f"{label} = jsonencode({self.expression(value)})")
            else:
                lines.append(f"{label} = {self.expression(value)}")
        return lines + blocks

    def resource(self, id):
        """The resources of Terraform for one of the template."""
        resource = self.resources[id]
        unknown = resource.keys() - {"Type", "Properties", "Condition", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Metadata"}
        if unknown or resource.get("DeletionPolicy", "Delete") != "Delete":
            sys.exit(f"the module has no word for {unknown or 'the deletion policy'} of {id}")
        kind = self.kind_of(id)
        properties = dict(resource["Properties"])
        more = []
        head = [f"count = {self.condition(resource['Condition'])} ? 1 : 0"] if "Condition" in resource else []
        if kind.name:
            ending = ".fifo" if properties.get("FifoQueue") is True else ""
            if resource["Type"] in IN_ALL_REGIONS:
                ending = "-${%s}" % PSEUDO["AWS::Region"]
            # A permission's name is a name in its function only.
            head.append(f'{kind.name} = "{id}"' if kind.name == "statement_id" else f'{kind.name} = "${{var.name}}-{id}{ending}"')
        split = {
            "AWS::SQS::QueuePolicy": self.queue_policy,
            "AWS::Events::Rule": self.targets,
            "AWS::Lambda::Function": self.function,
            "AWS::IAM::Role": self.role,
        }.get(resource["Type"])
        tail = []
        if split:
            extra, tail, more = split(id, properties)
            head += extra
        lines = head + self.arguments(id, properties)
        if kind.tags:
            own = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
            lines.append(f"tags = merge(var.tags, {self.object(own)})" if own else "tags = var.tags")
        return [self.written(kind.type, snake(id), lines + tail), *more]

    def written(self, type, name, lines):
        return f'resource "{type}" "{name}" {{\n' + "\n".join(lines) + "\n}"

    def queue_policy(self, id, properties):
        (queue,) = properties.pop("Queues")
        return [f"queue_url = {self.expression(queue)}"], [], []

    def targets(self, id, properties):
        more = []
        for target in properties.pop("Targets"):
            lines = [f"rule = {self.address(id)}.name", f"target_id = {text_of(target['Id'])}", f"arn = {self.expression(target['Arn'])}"]
            for name in target.keys() - {"Id", "Arn", "RetryPolicy", "DeadLetterConfig", "Input"}:
                sys.exit(f"the module has no word for {name} of a target of {id}")
            if "Input" in target:
                lines.append(f"input = {self.expression(target['Input'])}")
            for name in ("RetryPolicy", "DeadLetterConfig"):
                if name in target:
                    lines.append(self.block(snake(name), target[name]))
            more.append(self.written("aws_cloudwatch_event_target", snake(id), lines))
        return [], [], more

    def function(self, id, properties):
        key = properties.pop("Code")["S3Key"]["Fn::Sub"]
        binary = re.fullmatch(r"\$\{CodePrefix\}elb-registrar-[\d.]+-([\w-]+)-\$\{Architecture\}\.zip", key)[1]
        code = [
            f'filename = local.code["{binary}"].filename',
            f'source_code_hash = local.code["{binary}"].hash',
            f's3_bucket = local.code["{binary}"].bucket',
            f's3_key = local.code["{binary}"].key',
        ]
        more = []
        if "RecursiveLoop" in properties:
            lines = [f"function_name = {self.address(id)}.function_name", f"recursive_loop = {text_of(properties.pop('RecursiveLoop'))}"]
            more.append(self.written("aws_lambda_function_recursion_config", snake(id), lines))
        return code, self.after_permissions(properties["Role"]["Fn::GetAtt"][0]), more

    def after_permissions(self, role):
        # Lambda asks at once whether the role may receive, and make network interfaces. In CloudFormation a role comes with its policies, and in Terraform
        # before them.
        properties = self.resources[role]["Properties"]
        names = [f"aws_iam_role_policy.{snake(role)}"] if properties.get("Policies") else []
        names += [f"aws_iam_role_policy_attachment.{self.attachment(role, managed)}" for managed in properties.get("ManagedPolicyArns", [])]
        return ["depends_on = [\n" + ",\n".join(names) + ",\n]"] if names else []

    def attachment(self, role, managed):
        """The name of the resource that gives a role a managed policy."""
        if "Fn::If" in managed:
            managed = managed["Fn::If"][1]
        return f"{snake(role)}_{snake(managed['Ref'])}" if "Ref" in managed else sys.exit(f"the module has no word for the policy {managed} of {role}")

    def role(self, id, properties):
        more = []
        inline = properties.pop("Policies", [])
        if len(inline) > 1:
            sys.exit(f"the module has no word for two policies of {id}")
        for policy in inline:
            lines = [
                f"name = {self.expression(policy['PolicyName'])}",
                f"role = {self.address(id)}.name",
                f"policy = jsonencode({self.expression(policy['PolicyDocument'])})",
            ]
            more.append(self.written("aws_iam_role_policy", snake(id), lines))
        for managed in properties.pop("ManagedPolicyArns", []):
            lines = [f"role = {self.address(id)}.name"]
            label = self.attachment(id, managed)
            if "Fn::If" in managed:
                name, managed, other = managed["Fn::If"]
                if other != NO_VALUE:
                    sys.exit(f"the module has no word for a choice of policies of {id}")
                lines.insert(0, f"count = {self.condition(name)} ? 1 : 0")
            lines.append(f"policy_arn = {self.expression(managed)}")
            more.append(self.written("aws_iam_role_policy_attachment", label, lines))
        return [], [], more

    # --- Variables, locals and outputs ---

    def variable(self, name, parameter):
        is_list = parameter["Type"].startswith(LIST_TYPES)
        is_number = parameter["Type"] == "Number"
        known = {"Type", "Default", "Description", "AllowedValues", "AllowedPattern", "ConstraintDescription", "MinValue", "MaxValue", "MinLength", "MaxLength"}
        if unknown := parameter.keys() - known:
            sys.exit(f"the module has no word for {unknown} of the parameter {name}")
        variable = f"var.{snake(name)}"
        lines = [f"type = {'list(string)' if is_list else 'number' if is_number else 'string'}"]
        if "Default" in parameter:
            default = parameter["Default"]
            if is_list:
                default = [part for part in str(default).split(",") if part]
            elif is_number:
                default = Raw(default)
            else:
                default = str(default)
            lines.append(f"default = {self.expression(default)}")
        lines.append(f"description = {text_of(parameter['Description'])}")
        subject = "item" if is_list else variable

        def validation(test, message):
            every = f"alltrue([for item in {variable} : {test}])" if is_list else test
            # Terraform 1.0 wants a whole sentence.
            lines.append(f"validation {{\ncondition = {every}\nerror_message = {text_of(message[0].upper() + message[1:] + '.')}\n}}")

        because = parameter.get("ConstraintDescription")
        sentence = f"{snake(name)} {because}" if because else None
        if "AllowedValues" in parameter:
            values = [Raw(it) if is_number else str(it) for it in parameter["AllowedValues"]]
            validation(f"contains({self.list(values)}, {subject})", sentence or f"{snake(name)} has to be one of {', '.join(map(str, values))}")
        if "AllowedPattern" in parameter:
            pattern = parameter["AllowedPattern"]
            # CloudFormation asks for a match of the whole text.
            whole = pattern if pattern.startswith("^") and pattern.endswith("$") else f"^(?:{pattern})$"
            validation(f"can(regex({text_of(whole)}, {subject}))", sentence or f"{snake(name)} has to match {whole}")
        if "MinValue" in parameter or "MaxValue" in parameter:
            low, high = parameter.get("MinValue"), parameter.get("MaxValue")
            tests = ([f"{subject} >= {low}"] if low is not None else []) + ([f"{subject} <= {high}"] if high is not None else [])
            validation(" && ".join(tests), sentence or f"{snake(name)} has to be from {low} to {high}")
        if "MinLength" in parameter or "MaxLength" in parameter:
            low, high = parameter.get("MinLength", 0), parameter.get("MaxLength", 4096)
            validation(f"length({subject}) >= {low} && length({subject}) <= {high}", sentence or f"{snake(name)} has to have {low} to {high} characters")
        return f'variable "{snake(name)}" {{\n' + "\n".join(lines) + "\n}"

    def output(self, name, output):
        value = self.expression(output["Value"])
        if "Condition" in output:
            value = f"{self.condition(output['Condition'])} ? {value} : null"
        return f'output "{snake(name)}" {{\ndescription = {text_of(output["Description"])}\nvalue = {value}\n}}'

    def locals(self):
        lines = ["# The version of the code, which is a part of its files' names.", f"version = {text_of(self.plain['Metadata']['elb-registrar']['Version'])}", ""]
        names = [name for name in self.conditions if name not in plain_template.CODE_CONDITIONS]
        lines += [f"{snake(name)} = {self.test(self.conditions[name])}" for name in names]
        data = "\n\n".join(f'data "{type}" "current" {{}}' for type in ("aws_caller_identity", "aws_partition", "aws_region"))
        return "locals {\n" + "\n".join(lines) + "\n}\n\n" + data

    def files(self):
        """The module's files, by their names."""
        files = {"main.tf": [self.locals()]}
        for id, resource in self.resources.items():
            if resource["Type"] not in KINDS:
                sys.exit(f"the module has no word for the type {resource['Type']}, which {id} has")
            files.setdefault(FILES.get(resource["Type"], "main.tf"), []).extend(self.resource(id))
        files["variables.tf"] = [COMMON] + [self.variable(name, parameter) for name, parameter in self.parameters.items()]
        files["outputs.tf"] = [self.output(name, output) for name, output in self.plain["Outputs"].items()]
        return {name: HEAD + "\n\n".join(parts) + "\n" for name, parts in files.items()}


# What the template gets from CloudFormation itself: the stack's name and its tags.
COMMON = """\
variable "name" {
  type = string
  default = "elb-registrar"
  description = "The beginning of every resource's name, and the dimension Stack of the metrics: another one for a second installation in a Region."
  validation {
    condition = can(regex("^[A-Za-z][A-Za-z0-9-]{0,24}$", var.name))
    error_message = "Name has to be 1 to 25 letters, digits and hyphens, and begin with a letter."
  }
}

variable "tags" {
  type = map(string)
  default = {}
  description = "Tags for every resource that can have them."
}"""


def formatted(terraform, text):
    """The text as `terraform fmt` writes it, with its blocks and lists indented."""
    done = subprocess.run([terraform, "fmt", "-"], input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"terraform fmt: {done.stderr}\n{text}")
    return done.stdout


def files_of(terraform, template):
    with open(template) as file:
        plain = plain_template.generate(yaml_parse(file.read()))
    return {name: formatted(terraform, text) for name, text in Module(plain).files().items()}


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__)
    terraform, template, folder = arguments
    for name, text in files_of(terraform, template).items():
        (pathlib.Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The schema of Terraform's AWS provider, read from bindings that were generated of it: schema.py WHEEL FILE

The bindings have a file for each resource. It lists every argument with its type and form, says which attributes only the provider sets, and its declarations say
which arguments are required. Only the resources that the module and the snippets use are read.
"""

import io
import json
import re
import sys
import tarfile
import zipfile

# Each resource, and its file.
RESOURCES = {
    "aws_autoscaling_group": "auto_scaling/aws-autoscaling-group",
    "aws_autoscaling_lifecycle_hook": "auto_scaling/aws-autoscaling-lifecycle-hook",
    "aws_cloudwatch_dashboard": "cloudwatch/aws-cloudwatch-dashboard",
    "aws_cloudwatch_event_rule": "eventbridge/aws-cloudwatch-event-rule",
    "aws_cloudwatch_event_target": "eventbridge/aws-cloudwatch-event-target",
    "aws_cloudwatch_log_group": "cloudwatch_logs/aws-cloudwatch-log-group",
    "aws_cloudwatch_metric_alarm": "cloudwatch/aws-cloudwatch-metric-alarm",
    "aws_cloudwatch_query_definition": "cloudwatch_logs/aws-cloudwatch-query-definition",
    "aws_iam_policy": "iam/aws-iam-policy",
    "aws_iam_role": "iam/aws-iam-role",
    "aws_iam_role_policy": "iam/aws-iam-role-policy",
    "aws_iam_role_policy_attachment": "iam/aws-iam-role-policy-attachment",
    "aws_lambda_event_source_mapping": "lambda/aws-lambda-event-source-mapping",
    "aws_lambda_function": "lambda/aws-lambda-function",
    "aws_lambda_function_event_invoke_config": "lambda/aws-lambda-function-event-invoke-config",
    "aws_lambda_function_recursion_config": "lambda/aws-lambda-function-recursion-config",
    "aws_lambda_permission": "lambda/aws-lambda-permission",
    "aws_sqs_queue": "sqs/aws-sqs-queue",
    "aws_sqs_queue_policy": "sqs/aws-sqs-queue-policy",
}
DATA = {
    "aws_caller_identity": "sts/data-aws-caller-identity",
    "aws_partition": "meta_data_sources/data-aws-partition",
    "aws_region": "meta_data_sources/data-aws-region",
}

TYPES = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "stringList": "string",
    "numberList": "number",
    "stringMap": "string",
    "numberMap": "number",
    "booleanMap": "bool",
}
GETTERS = {"String": "string", "Number": "number", "Boolean": "bool", "List": ["list", "string"], "StringMap": ["map", "string"]}

ARGUMENT = re.compile(r"^\s+(\w+): \{\n\s+value: (.*),\n\s+isBlock: (true|false),\n\s+type: \"(\w+)\",\n\s+storageClassType: \"([\w.]+)\",\n", re.M)
COMPUTED = re.compile(r"// (\w+) - computed: true, optional: false, required: false\n\s+get \w+\(\) \{\n\s+return .*?get(\w+)Attribute\(", re.M)
MAPPER = re.compile(r"\b(aws\w+Property)ToHclTerraform")
FIELD = re.compile(r"^\s+readonly (\w+)(\??): ", re.M)


def camel(name):
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def body(text, head):
    """The text from a head to the brace that closes it, which stands as deep as the head's line."""
    start = text.index(head)
    line = text[text.rfind("\n", 0, start) + 1 :]
    indent = line[: len(line) - len(line.lstrip(" "))]
    return text[start : text.index(f"\n{indent}}}", start)]


def block_of(script, declarations, arguments, interface):
    """The arguments and blocks of a resource, or of a block in it."""
    fields = dict(FIELD.findall(body(declarations, f"interface {interface} ")))
    attributes, blocks = {}, {}
    for name, value, is_block, form, stored in ARGUMENT.findall(arguments):
        # A name that is a word of the language has an ending there.
        optional = fields.get(camel(name), fields.get(camel(name) + "Attribute"))
        if optional is None:
            sys.exit(f"{interface}: the declarations have no field for {name}")
        mapper = MAPPER.search(value)
        if mapper:
            function = body(script, f"function {mapper[1]}ToHclTerraform(")
            inner = stored.removesuffix("List").split(".")[-1]
            nested = block_of(script, declarations, function, inner)
            is_many = "listMapperHcl" in value
            nesting = {"struct": "single"}.get(form, form)
            blocks[name] = {"block": nested, "nesting": nesting, "required": not optional, "many": is_many, "is_block": is_block == "true"}
        else:
            plain = TYPES[stored]
            attributes[name] = {"type": plain if form == "simple" else [form, plain], "required": not optional, "settable": True}
    return {"attributes": attributes, "blocks": blocks}


def resource_of(script, declarations):
    config = re.search(r"export interface (\w+Config) extends", declarations)[1]
    name = config.removesuffix("Config")
    own = script[script.index("synthesizeHclAttributes() {") :]
    own = own[: own.index("\n    }\n")]
    resource = block_of(script, declarations, own, config)
    for attribute, getter in COMPUTED.findall(body(script, f"class {name} extends")):
        if attribute not in resource["attributes"] and getter in GETTERS:
            resource["attributes"][attribute] = {"type": GETTERS[getter], "required": False, "settable": False}
    resource["attributes"].setdefault("id", {"type": "string", "required": False, "settable": True})
    return resource


def schema_of(wheel):
    """The schemas of the resources and the data sources, from a wheel."""
    names = {f"package/lib/{path}{ending}" for path in [*RESOURCES.values(), *DATA.values()] for ending in (".js", ".d.ts")}
    texts = {}
    with zipfile.ZipFile(wheel) as files:
        (package,) = (name for name in files.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(package))) as archive:
            for member in archive:
                if member.name in names:
                    texts[member.name] = archive.extractfile(member).read().decode()
    if missing := names - texts.keys():
        sys.exit(f"the bindings have no {', '.join(sorted(missing))}")

    def read(paths):
        return {type: resource_of(texts[f"package/lib/{path}.js"], texts[f"package/lib/{path}.d.ts"]) for type, path in paths.items()}

    return {"resources": read(RESOURCES), "data": read(DATA)}


if __name__ == "__main__":
    schema = schema_of(sys.argv[1])
    with open(sys.argv[2], "w") as file:
        json.dump(schema, file, indent=1)
    print(f"schema: {len(schema['resources'])} resources and {len(schema['data'])} data sources")

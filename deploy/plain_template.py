#!/usr/bin/env python3
"""Makes a plain CloudFormation template of template.yaml, without its macro: plain_template.py template.yaml FILE

StackSets with service-managed permissions refuse macros, `AWS::Serverless` among them
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-macros-overview.html). SAM's own transform does the work here that CloudFormation
does for template.yaml. Only the place of the code is other: a bucket and a prefix are parameters, since the bucket must be in the function's Region
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-lambda-function-code.html).

The result is then compared with template.yaml by rules of its own, which know nothing of SAM's transform: a resource, a property or a parameter that one of
them has and the other has not ends the program. `--self-test` shows that the comparison finds differences. Needs the SAM CLI's Python environment.
"""

import copy
import json
import sys

import boto3
import yaml
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

FUNCTION = "AWS::Serverless::Function"

# CloudFormation reads a template of at most this size from a bucket, and of at most BODY_MAX from a call. ("CloudFormation quotas",
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html)
BYTES_MAX = 1_048_576
BODY_MAX = 51_200

# What this template has beside the parameters of template.yaml.
CODE_PARAMETERS = {
    "CodeBucket": {
        "Type": "String",
        "AllowedPattern": r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        "ConstraintDescription": "has to be the name of a bucket",
        "Description": "A bucket with the zip files of the release. Lambda reads code only from a bucket in its own Region.",
    },
    "CodeBucketInEachRegion": {
        "Type": "String",
        "AllowedValues": ["true", "false"],
        "Default": "false",
        "Description": (
            "true: each Region has a bucket of its own, named CodeBucket-REGION, such as my-code-eu-west-1. One stack set then serves many Regions. "
            "false: CodeBucket is the whole name."
        ),
    },
    "CodePrefix": {
        "Type": "String",
        "AllowedPattern": r"^([A-Za-z0-9!_.*'()-]+/)*$",
        "ConstraintDescription": "has to be empty, or end with a slash",
        "Default": "",
        "Description": "What stands before the names of the zip files in the bucket, with a slash at its end. Empty - nothing.",
    },
}
CODE_CONDITIONS = {"EachRegionHasABucket": {"Fn::Equals": [{"Ref": "CodeBucketInEachRegion"}, "true"]}}
BUCKET = {"Fn::If": ["EachRegionHasABucket", {"Fn::Sub": "${CodeBucket}-${AWS::Region}"}, {"Ref": "CodeBucket"}]}
CODE_LABELS = {
    "CodeBucket": {"default": "Bucket with the code"},
    "CodeBucketInEachRegion": {"default": "One bucket for each Region?"},
    "CodePrefix": {"default": "Folder in the bucket"},
}

INTERFACE = "AWS::CloudFormation::Interface"
PUBLISHED = "AWS::ServerlessRepo::Application"


def code_of(function, version):
    """Where a function's code is. The version is a part of the key, since CloudFormation changes code only if its key changes."""
    binary = function["Metadata"]["BuildProperties"]["Binary"]
    return {"S3Bucket": BUCKET, "S3Key": {"Fn::Sub": f"${{CodePrefix}}elb-registrar-{version}-{binary}-${{Architecture}}.zip"}}


def version_of(template):
    return template["Metadata"][PUBLISHED]["SemanticVersion"]


def functions_of(template):
    return {id: resource for id, resource in template["Resources"].items() if resource["Type"] == FUNCTION}


def generate(source):
    """Returns the plain template of a parsed template.yaml."""
    version = version_of(source)
    given = copy.deepcopy(source)
    given["Globals"]["Function"].pop("CodeUri", None)
    for function in functions_of(given).values():
        # The transform takes an address for a bucket and a key, and copies parameters and functions in them.
        code = code_of(function, version)
        function["Properties"]["CodeUri"] = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
    given["Parameters"] |= CODE_PARAMETERS
    given["Conditions"] |= CODE_CONDITIONS
    # No account is asked: the Region matters to SAM only for API Gateway and for managed policies, and template.yaml has neither.
    session = boto3.session.Session(region_name="us-east-1")
    plain = Translator({}, Parser(), boto_session=session).translate(sam_template=given, parameter_values={})

    metadata = plain["Metadata"]
    del metadata[PUBLISHED]
    metadata[INTERFACE]["ParameterGroups"].insert(0, {"Label": {"default": "The code"}, "Parameters": list(CODE_PARAMETERS)})
    metadata[INTERFACE]["ParameterLabels"] |= CODE_LABELS
    metadata["elb-registrar"] = {"Version": version}
    for resource in plain["Resources"].values():
        # How SAM builds a function, which it copies to what it makes of the function's events.
        metadata = resource.get("Metadata", {})
        for key in ("BuildMethod", "BuildProperties", "SamResourceId"):
            metadata.pop(key, None)
        if not metadata:
            resource.pop("Metadata", None)
        # SAM's own mark, which only it adds.
        properties = resource["Properties"]
        if "Tags" in properties and resource["Type"] == "AWS::Lambda::Function":
            properties["Tags"] = [tag for tag in properties["Tags"] if tag["Key"] != "lambda:createdBy"]
            if not properties["Tags"]:
                del properties["Tags"]
    # The transform's own kinds of maps become plain ones.
    return json.loads(json.dumps(plain))


# --- The comparison, which knows SAM's rules by itself ------------------------------------------------------------------------


def merged(globals, properties):
    """What a function has, with what Globals adds: maps are merged, all else is replaced. (SAM specification, "Globals section")"""
    if isinstance(globals, dict) and isinstance(properties, dict):
        return globals | {key: merged(globals[key], value) if key in globals else value for key, value in properties.items()}
    return properties


def expected_resources(id, function, common, version):
    """The resources that should be there for a function of SAM."""
    given = merged(common, function["Properties"])
    properties = {"Code": code_of(function, version)}
    resources = {id: {"Type": "AWS::Lambda::Function", "Properties": properties}}
    resources[id] |= {key: value for key, value in function.items() if key in ("Condition", "DependsOn", "DeletionPolicy")}
    for name, value in given.items():
        if name == "CodeUri":
            continue
        elif name == "Tracing":
            properties["TracingConfig"] = {"Mode": value}
        elif name == "Tags":
            properties["Tags"] = [{"Key": key, "Value": text} for key, text in value.items()]
        elif name == "EventInvokeConfig":
            on_failure = value["DestinationConfig"]["OnFailure"]
            resources[f"{id}EventInvokeConfig"] = {
                "Type": "AWS::Lambda::EventInvokeConfig",
                "Properties": value
                | {
                    "FunctionName": {"Ref": id},
                    "Qualifier": "$LATEST",
                    "DestinationConfig": {"OnFailure": {"Destination": on_failure["Destination"]}},
                },
            }
        elif name == "Events":
            for event, order in value.items():
                if order["Type"] != "Schedule":
                    sys.exit(f"{id}: the comparison does not know events of the type {order['Type']}")
                rule = f"{id}{event}"
                settings = dict(order["Properties"])
                target = {"Arn": {"Fn::GetAtt": [id, "Arn"]}, "Id": f"{rule}LambdaTarget"}
                target |= {key: settings.pop(key) for key in ("RetryPolicy", "Input") if key in settings}
                if "DeadLetterConfig" in settings:
                    target["DeadLetterConfig"] = settings.pop("DeadLetterConfig")
                settings["ScheduleExpression"] = settings.pop("Schedule")
                resources[rule] = {"Type": "AWS::Events::Rule", "Properties": settings | {"Targets": [target]}}
                resources[f"{rule}Permission"] = {
                    "Type": "AWS::Lambda::Permission",
                    "Properties": {
                        "Action": "lambda:InvokeFunction",
                        "FunctionName": {"Ref": id},
                        "Principal": "events.amazonaws.com",
                        "SourceArn": {"Fn::GetAtt": [rule, "Arn"]},
                    },
                }
        else:
            # All other properties have the same name and value in both.
            properties[name] = value
    return resources


def differences(expected, found, path=""):
    """The paths at which two values differ, with both."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in {**expected, **found}:
            if key not in found:
                yield f"{path}/{key}: missing"
            elif key not in expected:
                yield f"{path}/{key}: only in the plain template"
            else:
                yield from differences(expected[key], found[key], f"{path}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{path}/{place}")
    elif expected != found or type(expected) is not type(found):
        yield f"{path}: {expected!r} is expected, and {found!r} is there"


def compare(source, plain):
    """What is different in a plain template, and should not be."""
    common = source.get("Globals", {}).get("Function", {})
    resources = {}
    for id, resource in source["Resources"].items():
        if resource["Type"] == FUNCTION:
            resources |= expected_resources(id, resource, common, version_of(source))
        else:
            resources[id] = resource
    interface = copy.deepcopy(source["Metadata"][INTERFACE])
    interface["ParameterGroups"].insert(0, {"Label": {"default": "The code"}, "Parameters": list(CODE_PARAMETERS)})
    interface["ParameterLabels"] |= CODE_LABELS
    other = [key for key in source["Metadata"] if key not in (INTERFACE, PUBLISHED)]
    expected = {
        "AWSTemplateFormatVersion": source["AWSTemplateFormatVersion"],
        "Description": source["Description"],
        "Metadata": {INTERFACE: interface, "elb-registrar": {"Version": version_of(source)}} | {key: source["Metadata"][key] for key in other},
        "Parameters": source["Parameters"] | CODE_PARAMETERS,
        "Conditions": source["Conditions"] | CODE_CONDITIONS,
        "Resources": resources,
        "Outputs": source["Outputs"],
    }
    for section in ("Mappings", "Rules"):
        if section in source:
            expected[section] = source[section]
    return list(differences(expected, plain))


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and each value anew: aliases are hard to read."""

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def dumped(plain):
    head = "# Made from template.yaml of elb-registrar, whose comments explain it. Change that file, and make this one again.\n"
    return head + yaml.dump(plain, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)


# --- That the comparison finds differences ------------------------------------------------------------------------------------


def mutations(plain):
    """Copies of a plain template, each with one fault, and the name of the fault."""

    def mutated(change):
        copied = copy.deepcopy(plain)
        change(copied)
        return copied

    resources = plain["Resources"]
    for id in resources:
        yield f"without {id}", mutated(lambda it: it["Resources"].pop(id))
        for name in resources[id]["Properties"]:
            yield f"{id} without {name}", mutated(lambda it: it["Resources"][id]["Properties"].pop(name))
            yield f"{id} with another {name}", mutated(lambda it: it["Resources"][id]["Properties"].update({name: "another"}))
    for section in ("Parameters", "Conditions", "Outputs"):
        for name in plain[section]:
            yield f"without {name} of {section}", mutated(lambda it: it[section].pop(name))
    yield "with its macro", mutated(lambda it: it.update({"Transform": "AWS::Serverless-2016-10-31"}))
    yield "with one more resource", mutated(lambda it: it["Resources"].update({"More": {"Type": "AWS::SQS::Queue", "Properties": {}}}))


def self_test(source, plain):
    made = list(mutations(plain))
    unseen = [name for name, mutated in made if not compare(source, mutated)]
    if unseen:
        sys.exit("the comparison does not see that the plain template is\n" + "\n".join(unseen))
    print(f"plain template: the comparison sees each of {len(made)} faults")


def main(arguments):
    is_test = "--self-test" in arguments
    names = [argument for argument in arguments if argument != "--self-test"]
    if len(names) != 2:
        sys.exit(__doc__)
    with open(names[0]) as file:
        source = yaml_parse(file.read())
    plain = generate(source)
    text = dumped(plain)
    # What is compared is what stands in the file.
    written = yaml.safe_load(text)
    if wrong := compare(source, written):
        sys.exit("the plain template differs from template.yaml:\n" + "\n".join(wrong))
    if is_test:
        self_test(source, written)
    size = len(text.encode())
    if size > BYTES_MAX:
        sys.exit(f"the plain template has {size} bytes, and CloudFormation takes {BYTES_MAX}")
    with open(names[1], "w") as file:
        file.write(text)
    by_bucket = ", so it is deployed from a bucket" if size > BODY_MAX else ""
    print(f"plain template: {len(plain['Resources'])} resources, {size} bytes{by_bucket}: {names[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])

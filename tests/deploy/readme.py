"""Runs the commands of deploy/README.md with the AWS CLI, whose calls go to recorder.py: readme.py TEMPLATE AWS

TEMPLATE is the plain one, AWS the folder of the AWS CLI. Each parameter has to be one of the template's, the files have to be those of a release, and where the template looks for
the code has to be where the commands have put it.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import compare
import provider
from recorder import Recorder

REGIONS = ("eu-west-1", "eu-central-1")


def parameters_of(call):
    """The parameters of a call that makes a stack or a stack set."""
    number, found = 1, {}
    while f"Parameters.member.{number}.ParameterKey" in call:
        head = f"Parameters.member.{number}.Parameter"
        found[call[f"{head}Key"]] = call[f"{head}Value"]
        number += 1
    return found


def main(arguments):
    template = yaml.safe_load(pathlib.Path(arguments[0]).read_text())
    version = template["Metadata"]["elb-registrar"]["Version"]
    text = (compare.ROOT / "deploy/README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    named = set(re.findall(r"elb-registrar-(\d+\.\d+\.\d+)", text))
    if named != {version}:
        sys.exit(f"deploy/README.md names the versions {', '.join(sorted(named))}, and the template has {version}")

    with tempfile.TemporaryDirectory() as folder, Recorder() as recorder:
        files = [f"elb-registrar-{version}-{binary}-{processor}.zip" for binary in ("instance-state", "lifecycle", "reconcile") for processor in ("arm64", "x86_64")]
        for name in [*files, f"elb-registrar-{version}.yaml", "SHA256SUMS"]:
            pathlib.Path(folder, name).write_text("content")
        environment = recorder.environment(arguments[1]) | {"BUCKET": "my-code", "UNIT": "ou-ab12-cdefghij"}
        for block in blocks:
            subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    calls = recorder.calls

    put = {call["Path"].partition("?")[0] for call in calls if call["Action"] == "PUT"}
    asked = [call for call in calls if call["Action"] != "PUT"]
    actions = [call["Action"] for call in asked]
    if actions != ["CreateStack", "CreateStackSet", "CreateStackInstances"]:
        sys.exit(f"deploy/README.md makes the calls {actions}")
    for call in asked[:2]:
        given = parameters_of(call)
        if unknown := given.keys() - template["Parameters"].keys():
            sys.exit(f"{call['Action']}: the template has no parameters {unknown}")
        for name, value in given.items():
            parameter = template["Parameters"][name]
            if value not in parameter.get("AllowedValues", [value]) or not re.search(parameter.get("AllowedPattern", ""), value):
                sys.exit(f"{call['Action']}: the template does not take {value} for {name}")
        needed = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
        if missing := needed - given.keys():
            sys.exit(f"{call['Action']}: the template needs {missing}, too")
        bucket, _, key = call["TemplateURL"].removeprefix("https://").partition(".s3.eu-west-1.amazonaws.com")
        if f"/{bucket}{key}" not in put:
            sys.exit(f"{call['Action']}: the template is not at {call['TemplateURL']}: {put}")
        for region in REGIONS:
            for processor in ("arm64", "x86_64"):
                stack = compare.Stack(template, given | {"Architecture": processor}, provider.Place(region=region))
                for id, (kind, properties) in stack.resources().items():
                    if kind == "AWS::Lambda::Function" and "/{S3Bucket}/{S3Key}".format(**properties["Code"]) not in put:
                        sys.exit(f"{id}: its code is not at {properties['Code']}: {put}")
    print(f"deploy/README.md: {len(blocks)} blocks run; the code of each function is where the template looks for it in {len(REGIONS)} Regions")


if __name__ == "__main__":
    main(sys.argv[1:])

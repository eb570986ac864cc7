"""Checks that the snippets of deploy/hooks make the same two hooks in Terraform, in CloudFormation and with the AWS CLI.

    hooks.py TEMPLATE SCHEMA TERRAFORM AWS

Terraform runs against the stand-in of provider.py. The AWS CLI, whose program is in the
folder AWS, sends its calls to recorder.py, which takes down what they ask for.
"""

import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

import compare
import provider
from recorder import Recorder

HOOKS = compare.ROOT / "deploy/hooks"
GROUP = "web-fleet"
FIELDS = ("LifecycleHookName", "AutoScalingGroupName", "LifecycleTransition", "HeartbeatTimeout", "DefaultResult", "NotificationMetadata")


def spelled(hook):
    """A hook with texts and numbers as the others have them, and its metadata read."""
    if unknown := hook.keys() - set(FIELDS):
        sys.exit(f"a hook has {unknown}, which the comparison does not know")
    metadata = json.loads(hook["NotificationMetadata"]) if "NotificationMetadata" in hook else None
    return hook | {"HeartbeatTimeout": int(hook["HeartbeatTimeout"]), "NotificationMetadata": metadata}


def by_name(hooks):
    return {hook["LifecycleHookName"]: spelled(hook) for hook in hooks}


def with_terraform(binary, schema, snippet):
    with provider.Running(schema, provider.Place()) as running, tempfile.TemporaryDirectory() as folder:
        terraform = compare.Terraform(binary, running)
        shutil.copy(snippet, folder)
        terraform.run(folder, "init", "-no-color")
        terraform.run(folder, "apply", "-auto-approve", "-no-color", f"-var=group={GROUP}")
        state = json.loads(terraform.run(folder, "show", "-json"))
    hooks = []
    for resource in state["values"]["root_module"]["resources"]:
        values = {name: value for name, value in resource["values"].items() if value is not None and name != "id"}
        names = {"name": "LifecycleHookName", "autoscaling_group_name": "AutoScalingGroupName"}
        hooks.append({names.get(name, "".join(part.capitalize() for part in name.split("_"))): value for name, value in values.items()})
    return by_name(hooks)


class Loader(yaml.SafeLoader):
    """Reads the one short function that the snippet has."""


Loader.add_constructor("!Ref", lambda loader, node: {"Ref": node.value})


def with_cloudformation(snippet):
    template = yaml.load(pathlib.Path(snippet).read_text(), Loader)
    stack = compare.Stack(template | {"Conditions": {}, "Outputs": {}}, {"Group": GROUP}, provider.Place())
    return by_name(properties for _, properties in stack.resources().values())


def with_command_line(folder, snippet):
    with Recorder() as recorder:
        subprocess.run([snippet, GROUP], check=True, env=recorder.environment(folder))
    for call in recorder.calls:
        if call.pop("Action") != "PutLifecycleHook":
            sys.exit("the AWS CLI makes another call than PutLifecycleHook")
        call.pop("Version")
    return by_name(recorder.calls)


def faults(prefix, kinds):
    """What differs between the kinds of snippets, or cannot be right."""
    first, *others = kinds
    for name, hooks in kinds.items():
        if hooks != kinds[first]:
            yield f"{name} and {first} make other hooks: {hooks} and {kinds[first]}"
        if not all(hook.startswith(prefix) for hook in hooks) or len(hooks) != 2:
            yield f"{name} makes the hooks {list(hooks)}: two are needed, whose names begin with {prefix}"


def main(arguments):
    template, schema, terraform, folder = arguments
    prefix = yaml.safe_load(pathlib.Path(template).read_text())["Parameters"]["LifecycleHookPrefix"]["Default"]
    kinds = {
        "Terraform": with_terraform(terraform, json.loads(pathlib.Path(schema).read_text()), HOOKS / "hooks.tf"),
        "CloudFormation": with_cloudformation(HOOKS / "hooks.yaml"),
        "the AWS CLI": with_command_line(folder, HOOKS / "hooks.sh"),
    }
    if wrong := list(faults(prefix, kinds)):
        sys.exit("\n".join(wrong))
    tried = 0
    for kind, hooks in kinds.items():
        for hook, field in ((hook, field) for hook in hooks for field in FIELDS):
            mutated = copy.deepcopy(kinds)
            mutated[kind][hook][field] = "another"
            tried += 1
            if not list(faults(prefix, mutated)):
                sys.exit(f"the comparison does not see another {field} of {hook} in {kind}")
    print(f"hooks: Terraform, CloudFormation and the AWS CLI make the same two; the comparison sees {tried} changes")


if __name__ == "__main__":
    main(sys.argv[1:])

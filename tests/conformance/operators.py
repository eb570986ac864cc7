"""Ansible and Cloud Custodian, as operators run them: a playbook or a file with policies in, what the tool has found or done out."""

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class Tool:
    """A tool of the environment that `.ci/conformance` has made."""

    def __init__(self, endpoint, folder):
        self.folder = folder
        self.bin = Path(os.environ["OPERATORS_VENV"]) / "bin"
        # Both tools find the sandbox by this variable alone: without it they would call AWS itself.
        self.environment = os.environ | {"AWS_ENDPOINT_URL": endpoint, "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def execute(self, program, *arguments):
        command = [self.bin / program, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment, cwd=self.folder
        )


class Ansible(Tool):
    """`ansible.play("file.yml", name=value)` runs a playbook with variables, and returns each task's result by its name."""

    def play(self, playbook, **variables):
        done, results = self.attempt(playbook, **variables)
        failures = {name: result["msg"] for name, result in results.items() if result.get("failed")}
        assert not failures, failures
        assert done.returncode == 0, done.stdout + done.stderr
        return results

    def attempt(self, playbook, **variables):
        self.environment |= {
            "ANSIBLE_HOME": str(self.folder),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_PYTHON_INTERPRETER": str(self.bin / "python"),
        }
        where = ["--inventory", "localhost,", "--connection", "local"]
        done = self.execute(
            "ansible-playbook", *where, "--extra-vars", json.dumps(variables), HERE / "playbooks" / playbook
        )
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        tasks = [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
        return done, {task["task"]["name"]: task["hosts"]["localhost"] for task in tasks}


class Custodian(Tool):
    """`custodian.run("file.yml")` runs every policy in a file, and returns what each has matched by the policy's name."""

    def run(self, policies):
        output = self.folder / "custodian"
        # Without a cache, since the next run comes seconds later, and not in the next hour.
        options = ["--region", "us-east-1", "--output-dir", output, "--cache-period", "0"]
        done = self.execute("custodian", "run", *options, HERE / "policies" / policies)
        # An error of one resource is only logged.
        assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
        return {found.parent.name: json.loads(found.read_text()) for found in output.glob("*/resources.json")}

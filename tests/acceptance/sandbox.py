"""The sandbox, in the place of AWS: an empty account in which the stack is deployed already."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Simulated seconds in a real one. Too small: the test takes long. Too large: an invocation of the functions, which takes real milliseconds, lasts long in
# the sandbox's time, and what is measured is not what AWS would show.
SPEED = 20.0

STACK = "elb-registrar"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

GREETING = re.compile(r"listens at (http://\S+),")


def set_environment(endpoint: str) -> None:
    """No setting of the machine's user reaches a client."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=endpoint)


@contextlib.contextmanager
def sandbox(speed: float = SPEED, *, mode: str = "enforce") -> Iterator[str]:
    """Starts a sandbox with the functions in it, as `Scope=tagged` deploys them. Yields its address."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REGISTRAR_"))}
    command = [os.environ["SANDBOX_BINARY"], "--port", "0", "--speed", str(speed), "--functions", "--mode", mode]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "sandbox.log"
        with log.open("w") as out:
            # A session of its own: Ctrl-C is for the test, which still has to remove everything.
            process = subprocess.Popen(command, stdout=out, env={**keep, "REGISTRAR_SCOPE": "tagged"}, start_new_session=True)
        try:
            yield greeted(log, process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def greeted(log: Path, process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if found := GREETING.search(log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"the sandbox did not start: {log.read_text()}")

"""Every answer of AWS, as files: what was asked, and what came back, without what would tell whose account it is.

Only EC2, Elastic Load Balancing and Auto Scaling are recorded. Their calls name what the test itself made, so no answer tells of anything else in the
account. What CloudFormation and STS answer is not recorded.
"""

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The account that every recording shows: AWS's own example.
EXAMPLE = "123456789012"

# Fields that tell of a person or of a program, and nothing of how AWS behaves.
REMOVED = {"ResponseMetadata", "UserData"}

# A number of an account, by itself or in an ARN.
ACCOUNT = re.compile(r"(?<![\w-])\d{12}(?!\w)")

# The name of a user, a role or a session.
PRINCIPAL = re.compile(r"arn:aws[\w-]*:(iam|sts)::\d{12}:[^\s\"',]+")


class Scrubber:
    """Replaces accounts, each always by the same, and the names of users and roles."""

    def __init__(self, account: str) -> None:
        self.accounts = {account: EXAMPLE}

    def number(self, account: str) -> str:
        return self.accounts.setdefault(account, f"{len(self.accounts):012d}")

    def text(self, text: str) -> str:
        text = ACCOUNT.sub(lambda match: self.number(match[0]), text)
        return PRINCIPAL.sub(rf"arn:aws:\1::{EXAMPLE}:removed", text)

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.value(inner) for name, inner in value.items() if name not in REMOVED}
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        if isinstance(value, datetime.datetime):
            return value.isoformat()
        return self.text(value) if isinstance(value, str) else value


class Recorder:
    """Keeps the calls of clients, by operation, with the seconds at which an answer came. One like the one before it is only counted."""

    def __init__(self, account: str, now: Callable[[], float]) -> None:
        self.scrubber, self.now = Scrubber(account), now
        self.calls: dict[str, list[dict[str, Any]]] = {}

    def attach(self, client: Any) -> None:
        client.meta.events.register("provide-client-params", self.keep_parameters)
        client.meta.events.register("after-call", self.keep_answer)

    def keep_parameters(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["acceptance_parameters"] = params

    def keep_answer(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode")
        call = {"parameters": self.scrubber.value(context.get("acceptance_parameters", {})), "status": status}
        if error := parsed.get("Error"):
            call["error"] = self.scrubber.value({name: error.get(name) for name in ("Code", "Message")})
        else:
            call["answer"] = self.scrubber.value(parsed)
        calls = self.calls.setdefault(f"{model.service_model.service_name}.{model.name}", [])
        if calls and all(calls[-1].get(name) == value for name, value in call.items()):
            calls[-1].update(times=calls[-1]["times"] + 1, last=round(self.now(), 1))
        else:
            calls.append({"first": round(self.now(), 1), "times": 1, **call})

    def operations(self) -> set[str]:
        return set(self.calls)

    def save(self, folder: Path) -> None:
        """Writes a file for each operation, over those of an earlier saving."""
        folder.mkdir(parents=True, exist_ok=True)
        for operation, calls in self.calls.items():
            (folder / f"{operation}.json").write_text(json.dumps(calls, indent=1) + "\n")


def load(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Reads a recording again."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.*.json"))}

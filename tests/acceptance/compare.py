"""Compares two recordings: what AWS answers, and what the sandbox answers to the same calls.

Not the values are compared, but the shape: which fields an operation's answers have, of which type, and which errors it gave. `allowed.toml` names the differences
that are known and do no harm. CONTRIBUTING.md tells how a difference becomes a change of the sandbox.
"""

import fnmatch
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recording

ALLOWED = Path(__file__).with_name("allowed.toml")

Calls = list[dict[str, Any]]


def fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the path of each field in an answer, with its type. All elements of a list have one path. What is empty has no type: it may be anything."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, f"{path}[]")
        if not value:
            yield f"{path}[]", ""
    else:
        yield path, type(value).__name__


def shape(calls: Calls) -> dict[str, set[str]]:
    """Returns the types of each field in all answers, and of each error code. An empty list says that the field is there."""
    found: dict[str, set[str]] = {}
    for call in calls:
        for path, kind in fields(call.get("answer", {})):
            found.setdefault(path, set()).update({kind} - {""})
        if "error" in call:
            found.setdefault(f"error {call['error']['Code']}", set())
    # `Tags[]` of an empty list is the beginning of `Tags[].Key`, and not another field.
    return {path: kinds for path, kinds in found.items() if kinds or not any(other != path and other.startswith(path) for other in found)}


def has(shape: dict[str, set[str]], path: str) -> bool:
    """Whether a shape has a field, or has it as an empty list."""
    parents = [path[: at + 2] for at in range(len(path)) if path.startswith("[]", at)]
    return path in shape or any(parent in shape for parent in parents) or any(other.startswith(path) for other in shape if path.endswith("[]"))


def differences(aws: dict[str, Calls], sandbox: dict[str, Calls]) -> Iterator[tuple[str, str]]:
    """Yields what is different: an operation, and a sentence that begins with the field."""
    for operation in sorted(aws.keys() | sandbox.keys()):
        if operation not in sandbox or operation not in aws:
            yield operation, f"(all): only {'AWS' if operation in aws else 'the sandbox'} was asked"
            continue
        real, simulated = shape(aws[operation]), shape(sandbox[operation])
        for path in sorted(real.keys() | simulated.keys()):
            if not has(simulated, path):
                yield operation, f"{path}: only AWS has it"
            elif not has(real, path):
                yield operation, f"{path}: only the sandbox has it"
            elif real.get(path) and simulated.get(path) and not real[path] & simulated[path]:
                yield operation, f"{path}: {'/'.join(sorted(real[path]))} in AWS, {'/'.join(sorted(simulated[path]))} in the sandbox"


def allowed() -> list[dict[str, Any]]:
    """Returns the differences that are known: patterns of operations and fields, each with a reason."""
    return list(tomllib.loads(ALLOWED.read_text())["allowed"])


def is_allowed(operation: str, sentence: str, known: list[dict[str, Any]]) -> bool:
    """Whether a difference is known. `*` in a pattern stands for anything, and `[]` for itself."""
    path = sentence.split(":")[0]
    return any(
        fnmatch.fnmatchcase(operation, one["operation"]) and any(fnmatch.fnmatchcase(path, field.replace("[", "[[]")) for field in one["fields"])
        for one in known
    )


def report(aws: Path, sandbox: Path) -> int:
    """Prints the differences that are not known, and returns 1 if there are any. Each folder is a run's, or its recording."""
    found = list(differences(*(recording.load(inner if (inner := folder / "recording").is_dir() else folder) for folder in (aws, sandbox))))
    known = allowed()
    new = [(operation, sentence) for operation, sentence in found if not is_allowed(operation, sentence, known)]
    for operation, sentence in new:
        print(f"{operation}  {sentence}")
    print(f"{len(new)} differences, and {len(found) - len(new)} that tests/acceptance/allowed.toml has")
    return 1 if new else 0

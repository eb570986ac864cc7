"""What was found out: sentences that hold or do not, and seconds."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Sentence:
    """A sentence, whether it holds, and what was seen if it does not."""

    text: str
    holds: bool
    seen: str = ""


@dataclass
class Measure:
    """Seconds from one thing to another, as AWS counts them. None: the end was not seen."""

    what: str
    seconds: float | None


@dataclass
class Results:
    """Everything that a run found out."""

    facts: dict[str, Any]
    say: Callable[[str], None]
    sentences: list[Sentence] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    is_complete: bool = False

    def sentence(self, text: str, holds: bool, seen: object = "") -> None:
        found = Sentence(text, holds, "" if holds else str(seen))
        self.sentences.append(found)
        self.say(f"  {'holds' if holds else 'DOES NOT HOLD'}: {text}" + (f" (seen: {found.seen})" if found.seen else ""))

    def measure(self, what: str, since: float, until: float | None) -> None:
        seconds = None if until is None else round(until - since, 1)
        self.measures.append(Measure(what, seconds))
        self.say(f"  {'not seen' if seconds is None else f'{seconds:.0f} s'}: {what}")

    @property
    def failed(self) -> list[str]:
        return [sentence.text for sentence in self.sentences if not sentence.holds]

    @property
    def verdict(self) -> str:
        if not self.is_complete:
            return "the test did not come to its end"
        return f"{len(self.failed)} of {len(self.sentences)} sentences do not hold" if self.failed else f"all {len(self.sentences)} sentences hold"

    def as_json(self) -> dict[str, Any]:
        return {
            **self.facts, "verdict": self.verdict, "sentences": [asdict(one) for one in self.sentences],
            "measures": [asdict(one) for one in self.measures],
        }

    def as_markdown(self) -> str:
        lines = [f"# Acceptance test: {self.verdict}", ""]
        lines += [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += ["", "| sentence | holds | seen |", "|---|---|---|"]
        lines += [f"| {one.text} | {'yes' if one.holds else '**no**'} | {one.seen.replace('|', '/')} |" for one in self.sentences]
        lines += ["", "| from, to | seconds |", "|---|---|"]
        lines += [f"| {one.what} | {'not seen' if one.seconds is None else one.seconds} |" for one in self.measures]
        return "\n".join(lines) + "\n"

    def as_table(self) -> str:
        width = max([len(one.what) for one in self.measures], default=0)
        rows = [f"  {one.what:<{width}}  {'not seen' if one.seconds is None else f'{one.seconds:7.1f} s'}" for one in self.measures]
        failed = [f"  DOES NOT HOLD: {one.text}\n      seen: {one.seen}" for one in self.sentences if not one.holds]
        return "\n".join([*rows, *failed, self.verdict])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(self.as_json(), indent=1) + "\n")
        (folder / "results.md").write_text(self.as_markdown())

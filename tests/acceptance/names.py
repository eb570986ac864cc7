"""The names of everything that a run makes. All of them follow from the run's id, and all things bear it as a tag."""

import secrets
from dataclasses import dataclass
from typing import Any

# The tag with the run's id. Nothing without it is ever deleted.
TAG = "acceptance-run"

# The tag that puts an instance in scope, and declares what it has to have.
REGISTER = "elb-registrar:register"

# How the keys of the tags begin in which the functions hold registrations.
HELD = "elb-registrar:held"

# The ports on which an instance answers.
PORT, OTHER_PORT = 8080, 8081


def new_run() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Names:
    """The names of one run."""

    run: str

    @property
    def stack(self) -> str:
        return f"acceptance-{self.run}"

    @property
    def vpc(self) -> str:
        return f"acceptance-{self.run}"

    @property
    def classic(self) -> str:
        return f"acc-{self.run}-classic"

    @property
    def application(self) -> str:
        return f"acc-{self.run}-alb"

    @property
    def network(self) -> str:
        return f"acc-{self.run}-nlb"

    @property
    def web(self) -> str:
        """The target group of instances."""
        return f"acc-{self.run}-web"

    @property
    def edge(self) -> str:
        """The target group of addresses."""
        return f"acc-{self.run}-edge"

    @property
    def group(self) -> str:
        """The Auto Scaling group."""
        return f"acc-{self.run}-group"

    @property
    def template(self) -> str:
        return f"acc-{self.run}-template"

    @property
    def declared(self) -> str:
        """The declaration of the group's members."""
        return f"tg:{self.edge}:{PORT}=eth0"

    def tags(self, **others: str) -> list[dict[str, str]]:
        return [{"Key": TAG, "Value": self.run}, *({"Key": key, "Value": value} for key, value in others.items())]

    def specification(self, kind: str, tags: list[dict[str, str]] | None = None) -> list[dict[str, Any]]:
        """Returns the tags as EC2 wants them when something is made."""
        return [{"ResourceType": kind, "Tags": tags or self.tags(Name=self.vpc)}]

    def are_in(self, tags: list[dict[str, str]]) -> bool:
        """Returns whether tags say that something is this run's."""
        return any(tag.get("Key") == TAG and tag.get("Value") == self.run for tag in tags)

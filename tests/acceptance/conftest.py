"""The acceptance test's own checks: it is played against moto as far as that goes, and against sandboxes that are interrupted or whose functions do nothing."""

import os
from collections.abc import Iterator

import pytest
import sandbox
from account import Account, sign_in
from clock import Clock
from moto import mock_aws

# moto knows no time, so that nothing is worth waiting for.
FAST = 1_000.0


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's user reaches a client."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "REGISTRAR_"))]:
        monkeypatch.delenv(name)
    for name, value in sandbox.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def moto() -> Iterator[Account]:
    """An account in moto."""
    with mock_aws():
        yield sign_in(None, None, Clock(FAST))

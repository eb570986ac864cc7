"""Runs the acceptance test, and sends it a signal around one of its calls: before it is sent, or after its answer came and before anything was done with it.

    interrupted.py SIGNAL before|after NUMBER ARGUMENTS...

A check that a run that ends anywhere leaves nothing starts this program. The number counts the recorded calls.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import main
from recording import Recorder


def interrupt(number: int, place: str, at: int) -> None:
    """Lets the recorder, which sees each call, send the signal."""
    count = 0
    method = {"before": "keep_parameters", "after": "keep_answer"}[place]
    keep: Callable[..., None] = getattr(Recorder, method)

    def keep_and_count(self: Recorder, **event: Any) -> None:
        nonlocal count
        keep(self, **event)
        count += 1
        if count == at:
            os.kill(os.getpid(), number)

    setattr(Recorder, method, keep_and_count)


if __name__ == "__main__":
    name, where, which, *rest = sys.argv[1:]
    interrupt(signal.Signals[name], where, int(which))
    sys.exit(main.main(rest))

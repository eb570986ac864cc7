"""Time as AWS counts it. The sandbox's passes faster, and nothing else in this folder knows of that."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

# Seconds between two looks. Too small: calls are throttled, and the account's other tools with them. Too large: what is measured is coarse.
BETWEEN_LOOKS = 2.0


class Clock:
    """Seconds since the start. At a speed of 20, each second of the wall's clock is twenty."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self.start = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self.start) * self.speed

    def pause(self, seconds: float = BETWEEN_LOOKS) -> None:
        time.sleep(seconds / self.speed)

    def until(self, look: Callable[[], Seen], is_so: Callable[[Seen], bool], within: float) -> Seen:
        """Looks until it is so, or until the time is over. Returns what was seen last."""
        end = self.now() + within
        while not is_so(seen := look()) and self.now() < end:
            self.pause()
        return seen

"""The clock by which waits are measured; a simulated port brings its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

Heed = Callable[[], None]
"""Called now and then while something is waited for; raises what is to end the waiting."""


def keep_on() -> None:
    """Nothing ends the waiting but its deadline."""


class Clock(Protocol):
    """Seconds that never go back, and waiting by them."""

    def now(self) -> float:
        """Seconds since some origin."""

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""


class SystemClock:
    """This computer's monotonic clock."""

    def now(self) -> float:
        """See Clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See Clock."""
        time.sleep(seconds)

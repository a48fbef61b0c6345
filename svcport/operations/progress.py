"""How an operation tells what it is doing; the command line decides what becomes of it."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from svcport.transport.clock import Heed


class Progress(Protocol):
    """Told by one operation at one port."""

    def step(self, text: str) -> None:
        """What is being done now, in words that a technician knows."""

    def start(self, total_bytes: int) -> None:
        """A transfer of `total_bytes` begins."""

    def advance(self, to_bytes: int) -> None:
        """The lock has taken `to_bytes` of it."""

    def finish(self) -> None:
        """The transfer is over."""


def heed_of(progress: Progress) -> Heed:
    """Lets the user stop a waiting: it is through its progress that a worker hears of that."""
    return partial(progress.advance, 0)


class Silent:
    """Progress for nobody."""

    def step(self, text: str) -> None:
        """See Progress."""

    def start(self, total_bytes: int) -> None:
        """See Progress."""

    def advance(self, to_bytes: int) -> None:
        """See Progress."""

    def finish(self) -> None:
        """See Progress."""

"""Progress of operations: bars on a terminal, log lines with -v, nothing otherwise.

Operations tell what they do from one thread a port; here it is shown, and here a worker learns that
the user wants to stop, since a signal reaches the main thread alone.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from svcport.cli.output import is_terminal

log = logging.getLogger(__name__)


class Display(Protocol):
    """Where one command shows its progress; a context that leaves the terminal as it found it."""

    def __enter__(self) -> Self:
        """Start to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        ...

    def worker(self, port: str, stop: threading.Event) -> Told:
        """Progress of the operation at one port."""
        ...

    def counter(self, text: str, unit: str) -> Callable[[int, int], None]:
        """A line for something that is counted; to be told how many are done, and of how many."""
        ...


class Told:
    """Progress that is logged; the base of the one that is seen.

    Args:
        port: of which lock, empty if there is one only.
        stop: set when the user wants to stop.
    """

    def __init__(self, port: str, stop: threading.Event) -> None:
        self._port = port
        self._stop = stop

    def step(self, text: str) -> None:
        """What is being done now; raises KeyboardInterrupt if the user wants to stop."""
        self._heed()
        log.info("%s%s", f"{self._port}: " if self._port else "", text)

    def start(self, total_bytes: int) -> None:
        """A transfer begins."""
        log.info("%s%d bytes to transfer", f"{self._port}: " if self._port else "", total_bytes)

    def advance(self, to_bytes: int) -> None:  # noqa: ARG002 - the port's signature
        """So much of it is there; raises KeyboardInterrupt if the user wants to stop."""
        self._heed()

    def finish(self) -> None:
        """The transfer is over."""

    def _heed(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt


class Hidden:
    """A display that nobody looks at."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def worker(self, port: str, stop: threading.Event) -> Told:
        """See Display."""
        return Told(port, stop)

    def counter(self, text: str, unit: str) -> Callable[[int, int], None]:
        """See Display."""

        def tell(done: int, total: int) -> None:
            log.info("%s: %d of %d %s", text, done, total, unit)

        return tell


def display(*, as_json: bool, verbosity: int) -> Display:
    """Bars for somebody who looks at stderr alone; log lines and bars do not go together."""
    mixed = as_json and is_terminal(sys.stdout)
    if is_terminal(sys.stderr) and not mixed and not verbosity:
        # rich is loaded only where a terminal can show it
        from svcport.cli.bars import Bars

        return Bars()
    return Hidden()

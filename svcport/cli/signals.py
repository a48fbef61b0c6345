"""What Ctrl-C and SIGTERM do to this process, from its first moment to its last.

Until a command begins they end the process as they end any program: nothing is said, and a shell
sees 130 or 143. While it runs they are raised where it stands, so that its records are closed and
its report says how far it came. Afterwards they end the process again, or, where a lock was at
stake, are ignored until it has been said what became of it.

Handlers tell these times apart, and whether the process is ours at all: nothing is done to others.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_BOTH: Final = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers


def at_once(number: int, _frame: FrameType | None) -> None:
    """End the process as if nobody had asked about the signal."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does."""
    raise KeyboardInterrupt


def start() -> None:
    """The process is ours from now on; a signal that it was started to ignore stays ignored."""
    for number in _BOTH:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, at_once)


def begin() -> None:
    """A command begins: KeyboardInterrupt wherever it stands."""
    replace(at_once, interrupt)


def end() -> None:
    """It has ended; what is ignored by then stays ignored."""
    replace(interrupt, at_once)


def ignore() -> None:
    """All that is left is to say how it ended; Ctrl-C must not cut that short."""
    replace(interrupt, signal.SIG_IGN)
    replace(at_once, signal.SIG_IGN)


def replace(before: Handler, after: Handler) -> None:
    """Where `before` is what a signal does, have it do `after`."""
    for number in _BOTH:
        if signal.getsignal(number) == before:
            signal.signal(number, after)

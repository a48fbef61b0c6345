"""What Ctrl-C and SIGTERM do to this process."""

from __future__ import annotations

import signal
from types import FrameType


def terminate(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does."""
    raise KeyboardInterrupt


def ignore() -> None:
    """All that is left is to say how it ended; a second Ctrl-C must not cut that short."""
    if signal.getsignal(signal.SIGTERM) is terminate:  # else the process is not ours
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

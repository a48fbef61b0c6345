"""What operations need of any lock, whatever it speaks. Beyond this each kind has its own class."""

from __future__ import annotations

from typing import Protocol

from svcport.locks.snapshot import LockKind


class Lock(Protocol):
    """One lock at one open port."""

    port: str

    @property
    def kind(self) -> LockKind:
        """Which of the three kinds it is now; a device changes kind when its boot loader waits."""
        ...

    def close(self) -> None:
        """End politely, and let the port go; never raises."""

    def drop(self) -> None:
        """Let the port go at once; never raises."""

    def come_back(self, deadline_s: float) -> object:
        """After a reset: the same lock, answering again; LinkLostError if it does not in time."""

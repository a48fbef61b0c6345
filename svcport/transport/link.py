"""What every kind of port has in common: the interface, the errors, the speed to start with."""

from __future__ import annotations

from typing import Final, Protocol

from svcport.errors import FailedError, Reason
from svcport.transport.clock import Clock

BITS_A_BYTE: Final = 10
"""8N1: a start bit, eight of data, a stop bit."""

FIRST_BAUD: Final = 115_200
"""Speed at which every session starts (8N1)."""

WRITE_TIMEOUT_S: Final = 10.0
"""Longest wait for the port to take bytes; the slowest line moves a whole window in less."""

READ_SIZE: Final = 65_536


class LinkLostError(FailedError):
    """The port vanished, was closed from the far side, or took no more bytes in time."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Reason.LINK_LOST, message, hint="check the cable and the plug, then run it again"
        )


class PortBusyError(FailedError):
    """Another program holds the port."""

    def __init__(self, port: str) -> None:
        super().__init__(
            Reason.PORT_BUSY,
            f"{port} is in use by another program",
            hint="close the other svcport, terminal or modem manager that holds it",
        )


class Transport(Protocol):
    """What a session needs of a port."""

    name: str
    clock: Clock

    def write(self, data: bytes) -> None:
        """Hand all of `data` to the port; LinkLostError if it cannot be done in time."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting up to `timeout_s` for the first byte; empty is silence.

        Raises:
            LinkLostError: the port is gone.
        """

    def set_baud(self, baud: int) -> None:
        """Change the line's speed, where the port has one.

        Raises:
            LinkLostError: it cannot have that speed, or is gone.
        """

    def close(self) -> None:
        """Let the port go; never raises."""


def open_error(name: str, why: str, *, hint: str = "") -> FailedError:
    """Why a port does not open: `no-lock`."""
    usual = "svcport ports lists what this computer has; --wait SECONDS waits for it to appear"
    return FailedError(Reason.NO_LOCK, f"{name} cannot be opened: {why}", hint=hint or usual)

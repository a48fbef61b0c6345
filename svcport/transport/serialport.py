"""A serial device of this computer, or any URL of pyserial's that is no network port of ours."""

from __future__ import annotations

import contextlib
import os
import re
import select

import serial

from svcport.errors import FailedError
from svcport.transport.clock import Clock, SystemClock
from svcport.transport.link import (
    FIRST_BAUD,
    READ_SIZE,
    WRITE_TIMEOUT_S,
    LinkLostError,
    PortBusyError,
    open_error,
)


class SerialTransport:
    """A serial device, or a pyserial URL."""

    def __init__(self, name: str) -> None:
        """Open the port at 115200 8N1, for this process alone where the platform can.

        Raises:
            PortBusyError: another program holds it.
            FailedError: it does not exist or may not be opened (`no-lock`).
        """
        self.name = name
        self.clock: Clock = SystemClock()
        try:
            # Only real devices know exclusiveness; handlers of URLs refuse the argument's meaning.
            self._serial = serial.serial_for_url(
                name,
                baudrate=FIRST_BAUD,
                timeout=0,
                write_timeout=WRITE_TIMEOUT_S,
                exclusive=None if "://" in name else True,
            )
        except (serial.SerialException, OSError, ValueError, re.error) as error:
            # hwgrep:// takes a regular expression
            raise _open_error(name, error) from error
        self._descriptor = self._selectable()
        self._hurry()

    def _selectable(self) -> int | None:
        """What select can wait for; None on Windows, and for URLs that are no device."""
        if os.name != "posix":
            return None
        try:
            return int(self._serial.fileno())
        except (AttributeError, OSError):  # what is no device has none
            return None

    def _hurry(self) -> None:
        """Ask the driver to pass on bytes at once: FTDI's timer holds them for 16 ms otherwise."""
        set_mode = getattr(self._serial, "set_low_latency_mode", None)  # Linux only
        if set_mode is not None:
            # a driver that has no such mode, or does not let this user set it, is as slow as ever
            with contextlib.suppress(OSError, ValueError):
                set_mode(True)

    def write(self, data: bytes) -> None:
        """See Transport."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise LinkLostError(f"{self.name}: {error}") from error

    def read(self, timeout_s: float) -> bytes:
        """See Transport."""
        try:
            if self._descriptor is not None:
                # A new timeout would set all of the port's attributes anew, for every read.
                ready, _, _ = select.select([self._descriptor], [], [], max(timeout_s, 0))
                return bytes(self._serial.read(READ_SIZE)) if ready else b""
            if self._serial.timeout != timeout_s:
                self._serial.timeout = timeout_s
            first = self._serial.read(1)
            waiting = self._serial.in_waiting if first else 0
            return bytes(first + self._serial.read(waiting) if waiting else first)
        except (serial.SerialException, OSError, TypeError, ValueError) as error:
            # A device pulled in mid-read surfaces as TypeError in some pyserial back ends.
            raise LinkLostError(f"{self.name}: {error}") from error

    def set_baud(self, baud: int) -> None:
        """See Transport; waits until what was written has left."""
        try:
            self._serial.flush()
            self._serial.baudrate = baud
        except (serial.SerialException, OSError, ValueError) as error:
            raise LinkLostError(f"{self.name}: no {baud} baud: {error}") from error

    def close(self) -> None:
        """See Transport."""
        with contextlib.suppress(serial.SerialException, OSError):
            self._serial.close()


def _open_error(name: str, error: Exception) -> FailedError:
    text = str(error).lower()
    if "lock" in text or "busy" in text or "access is denied" in text:
        return PortBusyError(name)
    hint = ""
    if "permission" in text:
        hint = "this user may not open serial ports: svcport doctor names the cure"
    return open_error(name, str(error), hint=hint)

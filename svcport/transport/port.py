"""One open port, whatever kind: a serial device, a pyserial URL, a raw TCP connection."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import socket
from typing import Final, Protocol
from urllib.parse import urlsplit

import serial

from svcport.errors import FailedError, Reason
from svcport.transport.clock import Clock, SystemClock

log = logging.getLogger(__name__)

FIRST_BAUD: Final = 115_200
"""Speed at which every session starts (8N1)."""

WRITE_TIMEOUT_S: Final = 10.0
"""Longest wait for the port to take bytes; the slowest line moves a whole window in less."""

CONNECT_TIMEOUT_S: Final = 5.0
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
        """Change the line's speed, where the port has one."""

    def close(self) -> None:
        """Let the port go; never raises."""


class SerialTransport:
    """A serial device or any pyserial URL but `socket://`."""

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


class SocketTransport:
    """A raw TCP connection (`socket://host:port`), such as a serial server or a simulated lock.

    Own code instead of pyserial's handler, which cannot bound a write and reads byte by byte.
    """

    def __init__(self, name: str) -> None:
        """Connect; FailedError (`no-lock`) if nobody listens."""
        self.name = name
        self.clock: Clock = SystemClock()
        self._heard = False
        try:
            parts = urlsplit(name)
            address = (parts.hostname or "", parts.port or 0)
            self._socket = socket.create_connection(address, CONNECT_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(WRITE_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise _open_error(name, error) from error

    def write(self, data: bytes) -> None:
        """See Transport."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(str(error)) from error

    def read(self, timeout_s: float) -> bytes:
        """See Transport."""
        try:
            ready, _, _ = select.select([self._socket], [], [], max(timeout_s, 0))
            if not ready:
                return b""
            data = self._socket.recv(READ_SIZE)
        except (OSError, ValueError) as error:
            raise self._lost(str(error)) from error
        if not data:
            raise self._lost("the far side closed the connection")
        self._heard = True
        return data

    def set_baud(self, baud: int) -> None:
        """See Transport; a TCP connection has no speed of its own."""

    def close(self) -> None:
        """See Transport."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _lost(self, why: str) -> FailedError:
        # A server that has its one client closes a second one before it says a byte.
        return LinkLostError(f"{self.name}: {why}") if self._heard else PortBusyError(self.name)


def open_port(name: str) -> Transport:
    """Open a device name, `COM5`, or any pyserial URL.

    Raises:
        PortBusyError: another program holds it.
        FailedError: it does not exist, may not be opened, or nobody listens (`no-lock`).
    """
    log.info("opening %s", name)
    if name.startswith("socket://"):
        return SocketTransport(name)
    return SerialTransport(name)


def _open_error(name: str, error: Exception) -> FailedError:
    text = str(error).lower()
    if "lock" in text or "busy" in text or "access is denied" in text:
        return PortBusyError(name)
    hint = "svcport ports lists what this computer has; --wait SECONDS waits for it to appear"
    if "permission" in text:
        hint = "this user may not open serial ports: svcport doctor names the cure"
    return FailedError(Reason.NO_LOCK, f"{name} cannot be opened: {error}", hint=hint)

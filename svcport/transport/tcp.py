"""Ports at the end of a TCP connection: raw bytes (`socket://HOST:PORT`), and what others build on.

Own code instead of pyserial's handler, which cannot bound a write and reads byte by byte.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from typing import Final
from urllib.parse import urlsplit

from svcport.errors import FailedError
from svcport.transport.clock import Clock, SystemClock
from svcport.transport.link import (
    READ_SIZE,
    WRITE_TIMEOUT_S,
    LinkLostError,
    PortBusyError,
    open_error,
)

CONNECT_TIMEOUT_S: Final = 5.0

FAREWELL_LIMIT: Final = 512
"""Bytes heard in a whole connection that may be a server's reason for closing it."""

BUSY_WORDS: Final = b"in use"
"""In what ser2net says to a second client, in each of its versions."""


class Connection:
    """A TCP connection whose every wait is bounded, and whose end has a name."""

    def __init__(self, name: str) -> None:
        """Connect to the host and port in a URL; FailedError (`no-lock`) if nobody listens."""
        self.name = name
        self._heard: bytes | None = b""
        try:
            parts = urlsplit(name)
            address = (parts.hostname or "", parts.port or 0)
            self._socket = socket.create_connection(address, CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:  # the port of a URL may be no number
            raise open_error(name, str(error)) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(WRITE_TIMEOUT_S)
            self._acknowledge_at_once()
        except OSError as error:
            self.close()
            raise self.lost(str(error)) from error

    def send(self, data: bytes) -> None:
        """Hand over all of `data`; LinkLostError if it is not taken in time."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self.lost(str(error)) from error

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived, waiting up to `timeout_s` for the first byte; empty is silence.

        Raises:
            PortBusyError: the server sent this client away for another.
            LinkLostError: the connection is gone.
        """
        try:
            ready, _, _ = select.select([self._socket], [], [], max(timeout_s, 0))
            if not ready:
                return b""
            data = self._socket.recv(READ_SIZE)
            self._acknowledge_at_once()
        except (OSError, ValueError) as error:
            raise self.lost(str(error)) from error
        if not data:
            raise self.lost("the far side closed the connection")
        if self._heard is not None:
            heard = self._heard + data
            self._heard = heard if len(heard) <= FAREWELL_LIMIT else None
        return data

    def _acknowledge_at_once(self) -> None:
        """Linux holds acknowledgements for 40 ms, and some serial servers send nothing until then.

        The kernel forgets the option by itself, so it is set anew with each read.
        """
        if sys.platform == "linux":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Let it go; never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def lost(self, why: str) -> FailedError:
        """The error of a connection that is gone."""
        # A server that has its one client closes a second one before it says a byte, or says so.
        if self._heard is not None and (not self._heard or BUSY_WORDS in self._heard.lower()):
            return PortBusyError(self.name)
        return LinkLostError(f"{self.name}: {why}")


class SocketTransport:
    """A raw TCP connection, such as a serial server's or a simulated lock's."""

    def __init__(self, name: str) -> None:
        """Connect; FailedError (`no-lock`) if nobody listens."""
        self.name = name
        self.clock: Clock = SystemClock()
        self._connection = Connection(name)

    def write(self, data: bytes) -> None:
        """See Transport."""
        self._connection.send(data)

    def read(self, timeout_s: float) -> bytes:
        """See Transport; PortBusyError if the server sent this client away for another."""
        return self._connection.receive(timeout_s)

    def set_baud(self, baud: int) -> None:
        """See Transport; a TCP connection has no speed of its own."""

    def close(self) -> None:
        """See Transport."""
        self._connection.close()

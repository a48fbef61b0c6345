"""Where hosts come from: a TCP port, which is everywhere, or a pseudo terminal where there are any.

Nothing here blocks, knows a clock, or looks at what passes.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final, Protocol, Self

READ_AHEAD_LIMIT: Final = 1 << 20
"""Bytes read of a host to find out whether it is still there; more than systems buffer."""

_READ_SIZE: Final = 1 << 16


class PortUnavailableError(OSError):
    """A lock cannot be served where it was asked for: address in use, no pseudo terminals."""


class Host(Protocol):
    """One open connection of a host."""

    @property
    def has_read_ahead(self) -> bool:
        """Whether `read` has something that select does not know of."""

    def fileno(self) -> int:
        """For select."""

    def read(self, size: int) -> bytes | None:
        """At most `size` bytes; None if there are none now, b"" if the host has gone."""

    def write(self, data: bytes) -> int:
        """How many bytes were taken; OSError if the host has gone."""

    def close(self) -> None:
        """Hang up."""


class Port(Protocol):
    """A place where hosts come from, with one name for its whole life."""

    @property
    def name(self) -> str:
        """What a host opens: a pyserial URL or a device."""

    def fileno(self) -> int | None:
        """Readable when a host knocks; None where there is no knocking."""

    def accept(self, present: Host | None) -> Host | None:
        """Let in the next host; None if there is none, or `present` is still there."""

    def replug(self) -> None:
        """The cable was pulled and is plugged in again; `accept` gives the next host."""

    def close(self) -> None:
        """Give up the name."""


class TcpHost:
    """A host on a TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ahead = bytearray()

    @property
    def has_read_ahead(self) -> bool:
        """As `Host`."""
        return bool(self._ahead)

    def fileno(self) -> int:
        """As `Host`."""
        return self._connection.fileno()

    def read(self, size: int) -> bytes | None:
        """As `Host`."""
        if not self._ahead:
            return self._receive(size)
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data

    def write(self, data: bytes) -> int:
        """As `Host`."""
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """As `Host`."""
        self._connection.close()

    def is_there(self) -> bool:
        """Whether the host has not hung up, though what it wrote before may not be read yet.

        A killed host must not lock out the next one while a slow wire swallows its last words.
        """
        while len(self._ahead) < READ_AHEAD_LIMIT:
            data = self._receive(_READ_SIZE)
            if data is None:
                return True
            if data == b"":
                return False
            self._ahead += data
        return True

    def _receive(self, size: int) -> bytes | None:
        try:
            return self._connection.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class TcpPort:
    """A listening socket. A second connection is closed at once."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    @classmethod
    def open(cls, host: str, port: int) -> Self:
        """Listen; port 0 takes a free one.

        Raises:
            PortUnavailableError: the address is in use, or none of this computer's.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # Sets SO_REUSEADDR where it means "although old connections linger", not on Windows,
            # where it would mean "although somebody else listens there".
            listener = socket.create_server((host, port), family=family, backlog=8)
        except OSError as error:
            reason = error.strerror or str(error)
            raise PortUnavailableError(f"cannot listen on {host}:{port}: {reason}") from error
        listener.setblocking(False)
        return cls(listener)

    @property
    def name(self) -> str:
        """As `Port`."""
        host, port = self._listener.getsockname()[:2]
        return f"socket://[{host}]:{port}" if ":" in host else f"socket://{host}:{port}"

    def fileno(self) -> int | None:
        """As `Port`."""
        return self._listener.fileno()

    def accept(self, present: Host | None) -> Host | None:
        """As `Port`."""
        try:
            connection, _peer = self._listener.accept()
        except OSError:  # who knocked has gone again
            return None
        if isinstance(present, TcpHost) and present.is_there():
            connection.close()
            return None
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TcpHost(connection)

    def replug(self) -> None:
        """As `Port`: the listener saw nothing of it."""

    def close(self) -> None:
        """As `Port`."""
        self._listener.close()


class PtyHost:
    """The master side of a pseudo terminal. Who opens and closes the other side cannot be seen."""

    def __init__(self, master: int, slave: int) -> None:
        self._master = master
        # Held open: a terminal that nobody holds hangs up and forgets that it is raw.
        self._slave = slave

    @property
    def has_read_ahead(self) -> bool:
        """As `Host`."""
        return False

    def fileno(self) -> int:
        """As `Host`."""
        return self._master

    def read(self, size: int) -> bytes | None:
        """As `Host`."""
        try:
            return os.read(self._master, size)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> int:
        """As `Host`."""
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """As `Host`."""
        os.close(self._master)
        os.close(self._slave)


class PtyPort:
    """A pseudo terminal behind a link, whose name stays when a pulled cable takes the terminal."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self._plugged: PtyHost | None = None

    @classmethod
    def open(cls, link: Path) -> Self:
        """Make a terminal and the link to it; a link of that name is replaced.

        Raises:
            PortUnavailableError: this platform has no pseudo terminals, or none is free.
        """
        port = cls(link)
        try:
            port.replug()
        except OSError as error:
            reason = error.strerror or str(error)
            raise PortUnavailableError(f"no pseudo terminal at {link}: {reason}") from error
        return port

    @property
    def name(self) -> str:
        """As `Port`."""
        return str(self._link)

    def fileno(self) -> int | None:
        """As `Port`: nobody knocks at a terminal."""
        return None

    def accept(self, present: Host | None) -> Host | None:
        """As `Port`."""
        if present is not None:
            return None
        host, self._plugged = self._plugged, None
        return host

    def replug(self) -> None:
        """As `Port`."""
        self._plugged, device = new_terminal()
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(device)

    def close(self) -> None:
        """As `Port`."""
        if self._plugged is not None:
            self._plugged.close()
            self._plugged = None
        with contextlib.suppress(OSError):
            self._link.unlink()


def new_terminal() -> tuple[PtyHost, str]:
    """A raw terminal's master side, and the device that hosts open."""
    try:
        import tty
    except ImportError as error:
        raise PortUnavailableError("this platform has no pseudo terminals") from error
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return PtyHost(master, slave), os.ttyname(slave)

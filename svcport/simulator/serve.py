"""Serves one simulated board to one host at a time. The simulator's only clock and its only select.

A thread belongs to each lock; it sleeps until the line says that something will happen, and what it
does late is not distorted by that. Where hosts come from is `ports`.
"""

from __future__ import annotations

import select
import time
from threading import Event
from typing import Final

from svcport.simulator.line import Line
from svcport.simulator.ports import Host, Port

STOP_LATENCY_S: Final = 0.1
"""How long a request to stop may go unseen: an Event cannot be selected on."""

UNREAD_LIMIT: Final = 64 * 1024
"""Bytes kept for a host that does not read; what comes then is lost, as in any serial driver."""

READ_LEAST: Final = 1024
"""Room that is worth a read, so that a full queue is not filled up byte by byte."""


def serve(line: Line, port: Port, stop: Event) -> None:
    """Let hosts talk to a board until `stop` is set; the port stays open for its owner to close.

    A host that goes does not reset the board, and one that comes while another is there is sent
    away. `line` must have begun at a moment of `clock`.
    """
    server = _Server(line, port)
    try:
        while not stop.is_set():
            server.step()
    finally:
        server.hang_up()


def clock() -> float:
    """The seconds that `serve` lives by: monotonic, and fine-grained on every platform."""
    return time.perf_counter()


class _Server:
    def __init__(self, line: Line, port: Port) -> None:
        self._line = line
        self._port = port
        self._host: Host | None = None
        self._unread = bytearray()
        self._let_in()

    def step(self) -> None:
        """Sleep until something happens, then do all that is due."""
        readable = self._wait()
        host = self._host
        if host is not None and (host.fileno() in readable or host.has_read_ahead):
            self._read(host)
        if self._port.fileno() in readable:
            self._let_in()
        self._write(self._line.from_board(clock()))
        if self._line.is_cut:
            self.hang_up()
            self._port.replug()
            self._line.plug(clock())
            self._let_in()

    def hang_up(self) -> None:
        """The host is gone, or must be."""
        if self._host is not None:
            self._host.close()
            self._host = None
        self._unread.clear()

    def _wait(self) -> set[int]:
        """File descriptors that can be read from; empty when it is time for the board."""
        host, reading, writing = self._host, [], []
        if (knock := self._port.fileno()) is not None:
            reading.append(knock)
        wanted = host is not None and self._line.room >= READ_LEAST
        if host is not None and wanted:
            reading.append(host.fileno())
        if host is not None and self._unread:
            writing.append(host.fileno())
        due = self._line.wake_at()
        rest = STOP_LATENCY_S if due is None else min(STOP_LATENCY_S, max(0.0, due - clock()))
        if host is not None and wanted and host.has_read_ahead:
            rest = 0.0
        if not reading and not writing:  # nothing to select on is an error on Windows
            time.sleep(rest)
            return set()
        return set(select.select(reading, writing, [], rest)[0])

    def _read(self, host: Host) -> None:
        room = self._line.room
        if room < READ_LEAST:
            return
        data = host.read(room)
        if data:
            self._line.to_board(data, clock())
        elif data == b"":
            self.hang_up()

    def _let_in(self) -> None:
        came = self._port.accept(self._host)
        if came is not None:
            self.hang_up()
            self._line.plug(clock())
            self._host = came

    def _write(self, data: bytes) -> None:
        if self._host is None:
            return
        self._unread += data[: UNREAD_LIMIT - len(self._unread)]
        if not self._unread:
            return
        try:
            taken = self._host.write(bytes(self._unread))
        except OSError:
            self.hang_up()
            return
        del self._unread[:taken]

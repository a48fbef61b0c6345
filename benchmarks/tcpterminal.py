"""A pseudo terminal in front of a TCP endpoint, for programs that open nothing else; no pacing.

It notes when an upload began and ended that went through it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
import tty
from collections.abc import Iterator
from typing import Final

PIECE: Final = 65_536
POLL_S: Final = 0.2
QUESTION_MOST: Final = 100
"""Bytes; what is sent before an upload is shorter, and each but its last chunk is longer."""


class TcpTerminal:
    """The terminal; `tcp_terminal` makes one and runs it.

    Attributes:
        path: what a program opens.
        wire_bytes: written by the program since it began to upload.
        ended: set once nothing is relayed any more: `close`, or the device has hung up.
    """

    def __init__(self, url: str) -> None:
        host, number = url.removeprefix("socket://").rsplit(":", 1)
        self._far = socket.create_connection((host, int(number)), timeout=5)
        self._far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._far.settimeout(None)
        # the other side stays open, so that a program may close its own and open it again
        self._near, self._held = os.openpty()
        tty.setraw(self._held)
        self.path = os.ttyname(self._held)
        self.wire_bytes = 0
        self._began_at: float | None = None
        self._answered_at = 0.0
        self._burst, self._burst_at = 0, 0.0
        self._ending = threading.Event()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcpterminal", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """From the first byte of the first long message to the last answer; 0 before both."""
        return 0.0 if self._began_at is None else max(0.0, self._answered_at - self._began_at)

    def _run(self) -> None:
        try:
            self._relay()
        finally:
            self.ended.set()

    def _relay(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ, self._from_program)
            selector.register(self._far, selectors.EVENT_READ, self._from_device)
            while not self._ending.is_set():
                for key, _events in selector.select(POLL_S):
                    if not key.data():
                        return

    def _from_program(self) -> bool:
        data = os.read(self._near, PIECE)
        if not self._burst:
            self._burst_at = time.perf_counter()
        self._burst += len(data)
        if self._began_at is None and self._burst > QUESTION_MOST:
            self._began_at, self.wire_bytes = self._burst_at, self._burst
        elif self._began_at is not None:
            self.wire_bytes += len(data)
        self._far.sendall(data)
        return True

    def _from_device(self) -> bool:
        data = self._far.recv(PIECE)
        if not data:  # a device that hangs up has not answered
            return False
        os.write(self._near, data)
        self._answered_at, self._burst = time.perf_counter(), 0
        return True

    def close(self) -> None:
        """End it."""
        self._ending.set()
        self._thread.join()
        self._far.close()
        os.close(self._near)
        os.close(self._held)


@contextlib.contextmanager
def tcp_terminal(url: str) -> Iterator[TcpTerminal]:
    """A terminal in front of `socket://HOST:PORT`."""
    one = TcpTerminal(url)
    try:
        yield one
    finally:
        one.close()

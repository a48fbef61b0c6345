"""Serving in virtual time: when it wakes, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace

import pytest
from simulator.echoboard import EchoBoard

from svcport.simulator import serve as serving
from svcport.simulator.line import PACKET_SIZE, Line
from svcport.simulator.ports import Host
from svcport.simulator.serve import STOP_LATENCY_S, UNREAD_LIMIT, serve

START, HANDLE = 1000.0, 5


@dataclass
class VirtualHost:
    """The only host, in time that passes only where the server sleeps.

    Attributes:
        words: what it has still to write.
        deaf_until: when it begins to read.
        heard: when what came.
        wakes: how often the server has slept, or might have.
    """

    words: bytes = b""
    deaf_until: float = START
    until: float = START
    now: float = START
    wakes: int = 0
    heard: list[tuple[float, bytes]] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    has_read_ahead: bool = False

    def sleep(self, seconds: float) -> None:
        self.wakes += 1
        assert self.wakes < 100_000, f"awake all the time at {self.now}"
        self.now += seconds
        if self.now >= self.until:
            self.stop.set()

    def select(
        self, reading: Sequence[int], writing: Sequence[int], _errors: object, rest: float
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        ready = [one for one in reading if self.words]
        takes = writing if self.now >= self.deaf_until else []
        self.sleep(0.0 if ready or takes else rest)
        return ready, takes, []

    def fileno(self) -> int:
        return HANDLE

    def read(self, size: int) -> bytes | None:
        data, self.words = self.words[:size], self.words[size:]
        return data or None

    def write(self, data: bytes) -> int:
        if self.now < self.deaf_until:
            return 0
        self.heard.append((self.now, data))
        return len(data)

    def close(self) -> None:
        """Hung up at the end."""


@dataclass
class VirtualPort:
    """Where that host is from the beginning."""

    host: VirtualHost
    name: str = "virtual"

    def fileno(self) -> None:
        return None

    def accept(self, present: Host | None) -> Host | None:
        return self.host if present is None else None

    def replug(self) -> None:
        raise AssertionError("no cable is pulled here")

    def close(self) -> None:
        """Never called: `serve` leaves the port to its owner."""


def served(host: VirtualHost, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "clock", lambda: host.now)
    monkeypatch.setattr(serving, "select", SimpleNamespace(select=host.select))
    monkeypatch.setattr(serving, "time", SimpleNamespace(sleep=host.sleep))
    serve(line, VirtualPort(host), host.stop)


def test_a_paced_echo_takes_the_time_of_the_wire_and_few_wakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = 46_080  # half a second
    host = VirtualHost(bytes(size), until=START + 1)
    line = Line(EchoBoard(baud=921_600), now=START, baud=921_600, latency_s=0.001)
    served(host, line, monkeypatch)
    assert sum(len(data) for _when, data in host.heard) == size
    # the board hears the first of it, and the host the last, after one slice or latency more
    assert 0.5 <= host.heard[-1][0] - START < 0.504
    assert host.wakes < 2 * size / PACKET_SIZE


def test_what_a_host_does_not_read_is_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    host = VirtualHost(deaf_until=START + 1, until=START + 2)
    board = EchoBoard(says=[(START + 0.1, bytes(range(250)) * 1000)])
    served(host, Line(board, now=START), monkeypatch)
    assert b"".join(data for _when, data in host.heard) == (bytes(range(250)) * 1000)[:UNREAD_LIMIT]


def test_an_idle_lock_wakes_only_to_see_whether_it_is_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = VirtualHost(until=START + 100)
    served(host, Line(EchoBoard(), now=START, baud=921_600), monkeypatch)
    assert host.wakes == pytest.approx(100 / STOP_LATENCY_S, abs=2)

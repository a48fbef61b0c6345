"""Ports that are listened in to: both directions with their times, into a file and into memory.

Knows nothing of what the bytes mean. A `Recorder` stands for `open_port`; what it opens behaves as
the port itself does, and never fails because its traffic cannot be written down.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from svcport.errors import SvcportError
from svcport.transport.capturefile import (
    BAUD,
    CUT,
    MAGIC,
    OVERHEAD,
    PAYLOAD_LIMIT,
    About,
    Cut,
    Kind,
    Record,
)
from svcport.transport.capturewriter import CaptureFile
from svcport.transport.clock import Clock, SystemClock
from svcport.transport.port import Transport

RING_HEAD: Final = 16 * 1024
"""Bytes of a port's first records that memory keeps: opening, handshake, what the lock is."""

RING_TAIL: Final = 240 * 1024
"""Bytes of its last ones."""

PORTS_LIMIT: Final = 0xFFFF

_MICRO: Final = 1_000_000
_TRAFFIC: Final = frozenset((Kind.SENT, Kind.HEARD))


class Sink(Protocol):
    """Where records go."""

    def add(self, record: Record) -> None:
        """Take one; never raises."""

    def flush(self) -> None:
        """Let nothing wait; never raises."""


class Ring:
    """The beginning and the end of one port's traffic, in memory.

    Used by the port's thread; read when that has ended.

    Attributes:
        opened: whether the port was ever open.
    """

    def __init__(self, head: int = RING_HEAD, tail: int = RING_TAIL) -> None:
        self.opened = False
        self._head_room, self._tail_limit = head, tail
        self._head: list[Record] = []
        self._tail: deque[Record] = deque()
        self._size = self._missing = 0

    def add(self, record: Record) -> None:
        """See Sink."""
        size = OVERHEAD + len(record.payload)
        if record.kind == Kind.OPENED:
            self.opened = True
        if self._head_room >= size:
            self._head_room -= size
            self._head.append(record)
            return
        self._head_room = 0
        self._tail.append(record)
        self._size += size
        while self._size > self._tail_limit:
            old = self._tail.popleft()
            self._size -= OVERHEAD + len(old.payload)
            if old.kind in _TRAFFIC:
                self._missing += len(old.payload)

    def flush(self) -> None:
        """See Sink."""

    def records(self) -> list[Record]:
        """What is kept, with a CUT where something is not."""
        if not self._missing:
            return [*self._head, *self._tail]
        first = self._tail[0]
        cut = Record(Kind.CUT, first.port, first.time_us, CUT.pack(Cut.RING, self._missing))
        return [*self._head, cut, *self._tail]


class Recorder:
    """Opens ports and listens in to them; stands for `open_port`.

    Ports that are opened again keep their number. One port belongs to one thread at a time.
    """

    def __init__(
        self,
        opener: Callable[[str], Transport],
        file: CaptureFile | None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Listen in to what `opener` opens.

        Args:
            opener: opens ports.
            file: where all of it is written, besides memory.
            clock: whose times are kept; this computer's monotonic clock if left out.
        """
        self._opener = opener
        self._file = file
        self._clock = clock or SystemClock()
        self._turn = threading.Lock()
        self._taps: dict[str, _Tap] = {}

    def __call__(self, name: str) -> Transport:
        """Open a port; raises what the opener raises."""
        tap = self._tap(name)
        try:
            inner = self._opener(name)
        except SvcportError as error:
            tap.tell(Kind.NOT_OPENED, error, name)
            raise
        tap.note(Kind.OPENED)
        return RecordedTransport(inner, tap)

    def _tap(self, name: str) -> _Tap:
        with self._turn:
            tap = self._taps.get(name)
            if tap is not None:
                return tap
            ring = Ring()
            sinks: tuple[Sink, ...] = (ring,) if self._file is None else (ring, self._file)
            tap = _Tap(min(len(self._taps), PORTS_LIMIT), sinks, self._clock, ring)
            self._taps[name] = tap
        tap.note(Kind.PORT, _bytes_of(without_secrets(name)))
        return tap

    def opened(self, port: str | None = None) -> bool:
        """Whether a port, or any, was ever open."""
        return any(tap.ring.opened for tap in self._chosen(port))

    def kept(self, about: About, port: str | None = None) -> bytes:
        """A capture of what memory keeps of a port, or of all of them."""
        records = [record for tap in self._chosen(port) for record in tap.ring.records()]
        records.sort(key=lambda record: record.time_us)
        start = records[0].time_us if records else 0
        first = Record(Kind.ABOUT, 0, start, about.build())
        return MAGIC + b"".join(record.build() for record in (first, *records))

    def _chosen(self, port: str | None) -> Iterable[_Tap]:
        taps = dict(self._taps)
        return taps.values() if port is None else [taps[port]] if port in taps else []


class _Tap:
    """Where one port's records come from."""

    def __init__(self, number: int, sinks: tuple[Sink, ...], clock: Clock, ring: Ring) -> None:
        self.ring = ring
        self._number = number
        self._sinks = sinks
        self._now = clock.now

    def note(self, kind: Kind, payload: bytes = b"") -> None:
        """Write one thing down, as having happened now; never raises."""
        time_us = int(self._now() * _MICRO)
        for start in range(0, max(len(payload), 1), PAYLOAD_LIMIT):
            piece = payload if len(payload) <= PAYLOAD_LIMIT else payload[start:][:PAYLOAD_LIMIT]
            record = Record(kind, self._number, time_us, piece)
            for sink in self._sinks:
                sink.add(record)

    def tell(self, kind: Kind, error: SvcportError, name: str) -> None:
        """Write down what went wrong at the port of that name, at once."""
        self.note(kind, _bytes_of(error.message.replace(name, without_secrets(name))))
        self.flush()

    def flush(self) -> None:
        """Let nothing wait."""
        for sink in self._sinks:
            sink.flush()


class RecordedTransport:
    """A port that is listened in to; see Transport."""

    def __init__(self, inner: Transport, tap: _Tap) -> None:
        self.name = inner.name
        self.clock = inner.clock
        self._inner = inner
        self._tap = tap
        self._open = True
        self._gone = False

    def write(self, data: bytes) -> None:
        """See Transport."""
        self._tap.note(Kind.SENT, bytes(data))
        try:
            self._inner.write(data)
        except SvcportError as error:
            self._lost(error)
            raise

    def read(self, timeout_s: float) -> bytes:
        """See Transport."""
        if timeout_s > 0:
            self._tap.flush()  # while there is nothing to do but wait
        try:
            data = self._inner.read(timeout_s)
        except SvcportError as error:
            self._lost(error)
            raise
        if data:
            self._tap.note(Kind.HEARD, data)
        return data

    def set_baud(self, baud: int) -> None:
        """See Transport."""
        try:
            self._inner.set_baud(baud)
        except SvcportError as error:
            self._lost(error)
            raise
        self._tap.note(Kind.BAUD, BAUD.pack(baud))

    def close(self) -> None:
        """See Transport."""
        if self._open:
            self._open = False
            self._tap.note(Kind.CLOSED)
        self._inner.close()
        self._tap.flush()

    def _lost(self, error: SvcportError) -> None:
        if not self._gone:  # a port that is gone is tried again and again
            self._gone = True
            self._tap.tell(Kind.LOST, error, self.name)


def without_secrets(name: str) -> str:
    """A port's name without the user and password that a URL may carry."""
    scheme, mark, rest = name.partition("://")
    if not mark:
        return name
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a name may come from a command line as it was typed

"""The cable between a host and a board: speed, adapter, faults. No sockets, no sleeping.

The caller says what time it is. A line that is looked at late catches up in the order in which
things happened, byte by byte at their own moments, so a busy computer distorts nothing but its
own answers. Schedules are sums of exact byte times: there is no drift.

    host -> queue -> wire -> board      paced; at most QUEUE_LIMIT bytes wait, then the host waits
    host <- adapter <- wire <- board    paced; the adapter waits for more, as its latency timer says
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from svcport.simulator.faults import Faults, Noise

BITS_A_BYTE: Final = 10
"""8N1: a start bit, eight of data, a stop bit."""

QUEUE_LIMIT: Final = 4096
"""Bytes that wait for a paced wire, like those in the driver and chip of a USB adapter."""

PACKET_SIZE: Final = 62
"""Bytes that an FTDI chip gathers before it sends them without waiting for its latency timer."""

LATENCIES_S: Final = (0.0, 0.001, 0.016)
"""Latency timers of real adapters: none, the shortest setting of an FTDI chip, its default."""

_SLICE_S: Final = 0.002
"""A longer run of bytes is handed over in pieces of this time, so that it need not be polled
for every byte."""

_STEP_S: Final = 0.0001
"""A board that always wants to be polled at once is polled this often."""

_ROUNDING: Final = 1e-3
"""Of a byte: far above what adding up floats loses in a day, far below what anyone could see."""


class Uart(Protocol):
    """The face of a board that a line needs. Times are seconds, monotonic, of any origin."""

    @property
    def baud(self) -> int:
        """The present speed, bits a second."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have arrived at `now`."""

    def poll(self, now: float) -> bytes:
        """Run until `now`; give what goes out."""

    def wake_at(self) -> float | None:
        """When to poll though nothing arrives."""


class Line:
    """One host's way to one board.

    Calls must not go back in time.

    Args:
        board: polled by this line only.
        now: the moment at which the line begins.
        baud: cap of the speed, bits a second; 0 takes no time for any byte.
        latency_s: how long the adapter holds back what the board sent, hoping for a full packet.
            Counted from the first byte held: the longest that such a timer can take.
        faults: `power_cut` is none of the line's.
        seed: of the faults.
    """

    def __init__(
        self,
        board: Uart,
        *,
        now: float,
        baud: int = 0,
        latency_s: float = 0.0,
        faults: Faults | None = None,
        seed: str = "",
    ) -> None:
        faults = faults or Faults()
        self._board = board
        self._cap = baud
        self._now = now
        self._polled = -math.inf
        self._up, self._down = _Wire(), _Wire()
        self._up_noise = Noise(faults, f"{seed}/up")
        self._down_noise = Noise(faults, f"{seed}/down")
        self._latency_s = latency_s
        self._arrived = bytearray()
        self._before_cut = faults.cut_after
        self._cut = False

    @property
    def is_cut(self) -> bool:
        """Whether the cable was pulled and not plugged in again; no byte passes then."""
        return self._cut

    @property
    def room(self) -> int:
        """Bytes that `to_board` takes now; what is more must wait where it is."""
        return QUEUE_LIMIT if not self._cap else max(0, QUEUE_LIMIT - len(self._up))

    def to_board(self, data: bytes, now: float) -> int:
        """The host writes; gives how many bytes were taken, from the front."""
        self._advance(now)
        taken = data[: self.room] if self._cap else data
        if not self._cut:
            self._up.put(self._up_noise.damage(taken), now)
            self._advance(now)
        return len(taken)

    def from_board(self, now: float) -> bytes:
        """What has reached the host by `now` and was not given before."""
        self._advance(now)
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def wake_at(self) -> float | None:
        """When something will happen next though the host writes nothing; None if never."""
        due = min(self._up_due(), self._down_due(), self._board_due())
        return None if due == math.inf else due

    def plug(self, now: float) -> None:
        """A host opens the port: it gets nothing of what came before it."""
        self._advance(now)
        self._cut = False
        self._down.clear()
        self._arrived.clear()

    def _advance(self, now: float) -> None:
        while True:
            down, board = self._down_due(), min(self._up_due(), self._board_due())
            due = min(down, board)
            if due > now:
                break
            # What became due at another speed may lie a little in the past.
            self._now = max(self._now, due)
            if down <= board:
                self._hand_over(self._now)
            else:
                self._run_board(self._now)
        self._now = max(self._now, now)

    def _run_board(self, now: float) -> None:
        data = self._count(self._up.take(now, self._rate))
        if data:
            self._board.receive(data, now)
        # Polled even after a cut: the board does not see it, and what it sends falls off the end.
        answer = self._board.poll(now)
        self._polled = now
        if answer and not self._cut:
            self._down.put(self._down_noise.damage(answer), now)

    def _hand_over(self, now: float) -> None:
        most = PACKET_SIZE if self._latency_s else len(self._down)
        self._arrived += self._count(self._down.take(now, self._rate, most))

    def _count(self, data: bytes) -> bytes:
        """Count bytes towards the cut; gives those that still pass."""
        if self._before_cut is None:
            return data
        passed = data[: self._before_cut]
        self._before_cut -= len(passed)
        if not self._before_cut:
            self._before_cut = None
            self._cut = True
            self._up.clear()
            self._down.clear()
        return passed

    def _up_due(self) -> float:
        # Asked for at every step of every lock: first what costs least.
        if not self._up.busy:
            return math.inf
        rate = self._rate
        return self._up.due(rate, _slice(rate))

    def _down_due(self) -> float:
        if not self._down.busy:
            return math.inf
        rate = self._rate
        if not self._latency_s:
            return self._down.due(rate, _slice(rate))
        timer = self._down.due(rate, 1) + self._latency_s
        if len(self._down) < PACKET_SIZE:
            return timer
        return min(timer, self._down.due(rate, PACKET_SIZE))

    def _board_due(self) -> float:
        due = self._board.wake_at()
        return math.inf if due is None else max(due, self._polled + _STEP_S)

    @property
    def _rate(self) -> float:
        """Bytes a second; both ends change their speed at the same moment."""
        return min(self._board.baud, self._cap) / BITS_A_BYTE if self._cap else math.inf


def _slice(rate: float) -> int:
    """Bytes of the longest run that is handed over in one piece."""
    return QUEUE_LIMIT if rate == math.inf else max(1, int(rate * _SLICE_S))


class _Wire:
    """Bytes on their way in one direction, in order, each taking its time after the one before."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._start = -math.inf

    @property
    def busy(self) -> bool:
        """Whether any are on their way."""
        return bool(self._bytes)

    def __len__(self) -> int:
        return len(self._bytes)

    def put(self, data: bytes, now: float) -> None:
        if data and not self._bytes:
            self._start = max(self._start, now)
        self._bytes += data

    def due(self, rate: float, most: int) -> float:
        """When the first `most` bytes, or all if they are fewer, will have arrived."""
        if not self._bytes:
            return math.inf
        return self._start + min(most, len(self._bytes)) / rate

    def take(self, now: float, rate: float, most: int | None = None) -> bytes:
        """The bytes that have arrived by `now`, at most `most`."""
        if not self._bytes or now < self._start:
            return b""
        count = len(self._bytes) if most is None else min(most, len(self._bytes))
        if rate == math.inf:
            self._start = now
        else:
            count = min(count, self._passed(now, rate))
            self._start += count / rate
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        return data

    def clear(self) -> None:
        self._bytes.clear()

    def _passed(self, now: float, rate: float) -> int:
        # At the moment that `due` gave there is always a byte, whatever the floats say.
        least = 1 if now >= self._start + 1 / rate else 0
        return max(least, math.floor((now - self._start) * rate + _ROUNDING))

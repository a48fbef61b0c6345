"""A lock at the end of a cable on which anything can go wrong; virtual time, no threads.

Both ends have a speed: bytes that meet another speed than they were sent with are garbage.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from locksim import VirtualClock

from svcport.errors import FailedError, Reason
from svcport.simulator.board import Board
from svcport.transport.port import FIRST_BAUD, LinkLostError, PortBusyError

COMMAND_LIMIT_S: Final = 900.0
"""Longest that any command may take, by the line's clock."""

SILENCE_LIMIT_S: Final = 50.0
"""Longest that a command may bear without a byte: a restart's 45 s and a little."""

CALL_LIMIT: Final = 400_000
"""Reads and writes of one command: more is an endless loop that spends no time."""


class Killed(BaseException):
    """The host's process is gone; nothing in it may catch this."""


class Hang(BaseException):
    """A command waited past its deadline."""


Damage = Callable[[bytes], bytes]


@dataclass
class Trouble:
    """What the line does; the default is nothing.

    Attributes:
        cut_up, cut_down: the cable is pulled after so many bytes to, or from, the lock.
        plugged_again: a pulled cable can be opened again at once, else not in this command.
        up, down: damage to the bytes of a direction.
        echo: the host hears what it writes.
        delay_s: what comes from the lock is this late.
        late: every so-manieth piece from the lock is `late_s` later.
        twice: what comes from the lock comes twice.
        stuck_at: after so many bytes both ways the line is dead: silent, or low.
    """

    cut_up: float = math.inf
    cut_down: float = math.inf
    plugged_again: bool = False
    up: Damage | None = None
    down: Damage | None = None
    echo: bool = False
    delay_s: float = 0.0
    late: int = 0
    late_s: float = 0.0
    twice: bool = False
    stuck_at: float = math.inf
    stuck_low: bool = False


class Wire:
    """One lock's port, as `locksim.Cable` is one.

    Attributes:
        trouble: what goes wrong from now on.
        up, down: bytes carried to and from the lock since `begin`.
        on_write: called with "before" or "after" and the number of each write.
        dead: the host is gone; its writes go nowhere.
    """

    def __init__(self, name: str, board: Board, clock: VirtualClock) -> None:
        self.name = name
        self.board = board
        self.clock = clock
        self.on_write: Callable[[str, int], None] | None = None
        self.begin()

    def begin(self, trouble: Trouble | None = None) -> None:
        """A new command: whoever had the port is gone."""
        self.trouble = trouble or Trouble()
        self.is_open = self.dead = self.gone = False
        self.up = self.down = self.writes = self.calls = 0
        self.began = self.heard = self.clock.now()
        self.longest_silence = 0.0
        self.host_baud = self.sent_baud = FIRST_BAUD

    def open(self) -> WireEnd:
        """As a port is opened."""
        self.tick()
        if self.gone:
            raise FailedError(Reason.NO_LOCK, f"{self.name} cannot be opened")
        if self.is_open:
            raise PortBusyError(self.name)
        self.is_open = True
        self.host_baud = FIRST_BAUD
        return WireEnd(self)

    def tick(self) -> None:
        """See that the command is still within its limits."""
        self.calls += 1
        now = self.clock.now()
        if self.dead:
            return
        silence = now - self.heard
        self.longest_silence = max(self.longest_silence, silence)
        if self.calls > CALL_LIMIT:
            raise Hang(f"{self.calls} reads and writes in {now - self.began:.1f} s")
        if silence > SILENCE_LIMIT_S:
            raise Hang(f"no byte for {silence:.1f} s")
        if now - self.began > COMMAND_LIMIT_S:
            raise Hang(f"the command takes more than {COMMAND_LIMIT_S:.0f} s")

    def to_board(self, data: bytes) -> None:
        """What of `data` reaches the lock, as it reaches it."""
        trouble, now = self.trouble, self.clock.now()
        left = trouble.cut_up - self.up
        self.up += len(data)
        if len(data) >= left:
            data = data[: int(left)]
            self.gone = True
        if self.stuck:
            return
        if trouble.up is not None:
            data = trouble.up(data)
        if self.host_baud != self.board.baud:
            data = garbled(data, self.board.baud / self.host_baud)
        self.sent_baud = self.board.baud
        if data:
            self.board.receive(data, now)

    def from_board(self) -> list[bytes]:
        """What the lock has sent, as it enters the cable."""
        bauds = (self.sent_baud, self.board.baud)
        data = self.board.poll(self.clock.now())
        if not data or self.stuck:
            return []
        if self.host_baud not in bauds:
            data = garbled(data, self.host_baud / self.board.baud)
        if self.trouble.down is not None:
            data = self.trouble.down(data)
        return [data] * (2 if self.trouble.twice else 1)

    def pass_down(self, data: bytes) -> bytes:
        """What of `data` reaches the host."""
        left = self.trouble.cut_down - self.down
        self.down += len(data)
        if len(data) >= left:
            data = data[: int(left)]
            self.gone = True
        if data:
            self.heard = self.clock.now()
        return data

    @property
    def stuck(self) -> bool:
        """Whether the line is dead."""
        return self.up + self.down >= self.trouble.stuck_at

    def lost(self) -> bool:
        """Whether the cable was pulled; one that is plugged in again can be opened from now on."""
        if self.gone and self.trouble.plugged_again:
            self.gone = False
            self.trouble.cut_up = self.trouble.cut_down = math.inf
            return True
        return self.gone


class WireEnd:
    """The host's end: a transport."""

    def __init__(self, wire: Wire) -> None:
        self.name = wire.name
        self.clock = wire.clock
        self._wire = wire
        self._open = True
        self._coming: deque[tuple[float, bytes]] = deque()
        self._pieces = 0

    def write(self, data: bytes) -> None:
        wire = self._wire
        wire.tick()
        self._check()
        wire.writes += 1
        self._tell("before")
        if wire.trouble.echo:
            self._coming.append((self.clock.now(), data))
        wire.to_board(data)
        self._tell("after")

    def read(self, timeout_s: float) -> bytes:
        wire, clock = self._wire, self.clock
        wire.tick()
        self._check()
        end = clock.now() + timeout_s
        while True:
            wire.calls += 1
            for piece in wire.from_board():
                self._coming.append((clock.now() + self._delay(), piece))
            data = self._arrived()
            if data:
                return wire.pass_down(data)
            if clock.now() >= end:
                wire.tick()
                return b""
            clock.time = min(end, max(self._next(), clock.now() + 1e-6))

    def set_baud(self, baud: int) -> None:
        self._check()
        self._wire.host_baud = baud

    def close(self) -> None:
        if self._open:
            self._open = False
            self._wire.is_open = False

    def _tell(self, when: str) -> None:
        if self._wire.on_write is not None and not self._wire.dead:
            self._wire.on_write(when, self._wire.writes)

    def _arrived(self) -> bytes:
        now = self.clock.now()
        if self._wire.stuck and self._wire.trouble.stuck_low:
            self.clock.time += 64 * 10 / self._wire.host_baud
            return bytes(64)
        data = b""
        while self._coming and self._coming[0][0] <= now:
            data += self._coming.popleft()[1]
        return data

    def _delay(self) -> float:
        trouble = self._wire.trouble
        self._pieces += 1
        late = trouble.late and self._pieces % trouble.late == 0
        return trouble.delay_s + (trouble.late_s if late else 0.0)

    def _next(self) -> float:
        wake = self._wire.board.wake_at()
        due = self._coming[0][0] if self._coming else math.inf
        return min(math.inf if wake is None else wake, due)

    def _check(self) -> None:
        if self._wire.dead:
            raise Killed
        if self._open and self._wire.lost():
            self.close()
            raise LinkLostError(f"{self.name}: pulled")
        if not self._open:
            raise LinkLostError(f"{self.name}: closed")


def garbled(data: bytes, ratio: float) -> bytes:
    """Bytes as a UART at `ratio` times their speed sees them: runs of low and high levels."""
    if ratio < 1:
        return bytes(byte | 0x81 for byte in data[:: max(1, round(1 / ratio))])
    pieces = max(1, min(8, int(ratio)))
    return b"".join(b"\0" * (pieces // 2 + 1) + bytes([byte | 0xC0]) for byte in data)

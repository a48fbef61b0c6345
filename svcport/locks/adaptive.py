"""What an upload measures of its line, and what follows: sizes of blocks, pace, patience.

Knows no frames and no ports.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from svcport.transport.clock import Clock
from svcport.transport.link import BITS_A_BYTE

FRAME_COST: Final = 26
"""Bytes of a block's frame beyond its plaintext: header, CRC, tag, COBS, delimiter."""

MEMORY_BYTES: Final = 131_072
"""How far back the measured loss reaches: what is this old counts a third."""

FORGOTTEN: Final = 0.05
"""A single damage has become so little after 400 kB without another."""

START_BLOCK: Final = 512
"""Bytes of the first blocks on a line of which nothing bad is known; half of what it has carried
without damage if that is more."""

SMALLEST_BLOCK: Final = 64
"""Below this, frames cost more than what noise takes."""

LEAD_S: Final = 0.003
"""On a lossy line, how far ahead of the wire frames are handed over: a block that turns out to be
lost must not wait behind a queue, but the wire must not wait for the computer."""

TICK_S: Final = 0.0002
"""Shortest pause: below what computers tell apart."""

FIRST_ACK_S: Final = 4.0
"""Longest silence before something goes again: a whole window at 115200 baud."""

FAST_ACK_S: Final = 1.0
"""The same beyond a window's own time, so that a lock at a raised speed hears something in time."""

CALM_S: Final = 0.25
"""Silence borne beyond two measured round trips on a line that loses nothing."""

LOSSY_S: Final = 0.02
"""The same where losses are common: an adapter's latency timer, and a little."""

FIRST_ROUND_S: Final = 0.1
"""A round trip that is not measured yet, on a line that has damaged something."""


class Loss:
    """How often the line damages something: of late, and in the session before the upload.

    Args:
        passed: bytes of the session so far.
        damaged: frames of it that were damaged, as far as this side knows.
    """

    def __init__(self, passed: int, damaged: int) -> None:
        self._passed, self._damages = float(passed), float(damaged)
        self._clean = 0

    @property
    def any(self) -> bool:
        """Whether anything was damaged that is not long ago."""
        return self._damages > FORGOTTEN

    @property
    def bytes_a_damage(self) -> float:
        """Bytes that pass between two damages; infinite where there were none."""
        if not self.any:
            return math.inf
        return max(self._passed / self._damages, self._clean)

    def count(self, arrived: int, lost_frames: int, lost: int) -> None:
        """Count bytes of frames that arrived, and frames with their bytes that did not."""
        keeps = math.exp(-(arrived + lost) / MEMORY_BYTES)
        # the damage is somewhere in a lost frame: on the average, half of it had passed
        self._passed = self._passed * keeps + arrived + lost / 2
        self._damages = self._damages * keeps + lost_frames
        self._clean = 0 if lost_frames else self._clean + arrived


class Blocks:
    """The stream's bytes in blocks of the size that the line carries best, made lazily.

    A block that was sealed is never cut anew, so that on a noisy line one that is too long may not
    arrive in a day. With a damage every d bytes, and c bytes of frame around each block, least is
    lost in all with blocks of sqrt(c d) bytes.

    Args:
        limit: largest size that the lock takes.
        window: blocks after which, all clean, the size doubles on a line without losses.
        clean: bytes that the line has carried without any damage.
    """

    def __init__(
        self, stream: Iterator[bytes], limit: int, window: int, loss: Loss, clean: int
    ) -> None:
        self._stream = stream
        self._pending = bytearray()
        self._limit, self._window, self._loss = limit, window, loss
        power = 1 << max(clean // 2, 1).bit_length() - 1
        self._size = min(max(power, START_BLOCK), limit)
        self._ends = [0]
        self._doubled_at = 0
        self.adapt(0)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._pending += piece
            while len(self._pending) >= self._size:
                yield self._cut()
        if self._pending:
            yield self._cut()

    def _cut(self) -> bytes:
        block = bytes(self._pending[: self._size])
        del self._pending[: self._size]
        self._ends.append(self._ends[-1] + len(block))
        return block

    def bytes_of(self, blocks: int) -> int:
        """How much of the stream the first `blocks` blocks are."""
        return self._ends[blocks]

    def adapt(self, consumed: int) -> None:
        """Choose the size of blocks to come, when the lock has consumed so many."""
        if self._loss.any:
            best = math.isqrt(int(FRAME_COST * self._loss.bytes_a_damage))
            self._size = min(max(best, SMALLEST_BLOCK), self._limit)
        elif consumed >= self._doubled_at + self._window:
            self._size = min(self._size * 2, self._limit)
            self._doubled_at = consumed


class Pace:
    """When what was written has left, by the speed of the line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.empty_at = clock.now()

    def wrote(self, size: int, baud: int) -> None:
        """So many bytes were handed over."""
        self.empty_at = max(self.empty_at, self._clock.now()) + size * BITS_A_BYTE / baud

    @property
    def left_s(self) -> float:
        """Seconds until the wire is idle; 0 if it is."""
        return max(0.0, self.empty_at - self._clock.now())


class Patience:
    """When silence means loss: from measured round trips, with back-off.

    A round trip is from the moment at which a block has left to that at which its acknowledgement
    is here; only blocks count between which nothing was sent again.
    """

    def __init__(self, clock: Clock, pace: Pace, loss: Loss, window_bytes: int) -> None:
        self._clock, self._pace, self._loss = clock, pace, loss
        self._window_bits = window_bytes * BITS_A_BYTE
        self._heard_at = clock.now()
        self._round_s: float | None = None
        self._back_off = 1.0
        self._sent: deque[tuple[int, float, int]] = deque()

    def sent(self, number: int, resent: int) -> None:
        """Block `number` was handed over for the first time, after so many that went again."""
        self._sent.append((number, self._pace.empty_at, resent))

    def heard(self, consumed: int, resent: int) -> None:
        """A new acknowledgement, when so many blocks had gone again."""
        now = self._clock.now()
        while self._sent and self._sent[0][0] < consumed:
            number, left_at, before = self._sent.popleft()
            if number == consumed - 1 and before == resent:
                sample = max(0.0, now - left_at)
                self._round_s = max(sample, (self._round_s or 0.0) * 0.95)
        self._heard_at, self._back_off = now, 1.0

    @property
    def silent_s(self) -> float:
        """Seconds since the last acknowledgement."""
        return self._clock.now() - self._heard_at

    def wait_s(self, baud: int) -> float:
        """Seconds until `expired`."""
        return max(0.0, self._until(baud) - self._clock.now())

    def expired(self, baud: int) -> bool:
        """Whether something should go again; the next time then is later."""
        if self._clock.now() < self._until(baud):
            return False
        self._back_off *= 2
        return True

    def _until(self, baud: int) -> float:
        longest = min(FIRST_ACK_S, FAST_ACK_S + self._window_bits / baud)
        if self._round_s is not None or self._loss.any:
            spare = LOSSY_S if self._loss.any else CALM_S
            round_s = FIRST_ROUND_S if self._round_s is None else self._round_s
            longest = min(longest, (spare + 2 * round_s) * self._back_off)
        return max(self._heard_at, self._pace.empty_at) + longest

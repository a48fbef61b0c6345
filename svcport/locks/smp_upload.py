"""An image to an SMP device: fills its buffers, goes where its `off` says, never by its own sum."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.smp import SmpFraming
from protocol.smp_image import UploadChunk, UploadedTo
from protocol.smp_messages import Params, SmpFault
from svcport.errors import FailedError, Reason
from svcport.locks.device import Buffers, UploadTally
from svcport.locks.smp_errors import NonsenseError, SilentDeviceError, refused
from svcport.locks.smp_link import CONSOLE_EXTRA, LINE_BYTES, Arrived, SmpLink

log = logging.getLogger(__name__)

BUFFER_EXTRA: Final = 4
"""Bytes of a device's buffer that a message must leave free: the console framing's length and CRC
share it, and raw servers take as much."""

SAFE_LIMIT: Final = LINE_BYTES - CONSOLE_EXTRA
"""Bytes of a message for a device that does not state its buffers: one console line."""

SMALLEST_UNCUT: Final = 252
"""Shorter messages than this gain nothing where there are no lines of which one may be lost."""

SHA_LIMIT: Final = 160
"""Below this the first message has no room for the file's hash beside an image's header."""

LARGEST_LIMIT: Final = 4096
"""A device that states more is not believed."""

ERASE_S: Final = 60.0
"""How long the first answer may take: many boot loaders erase the whole slot before it."""

STALL_S: Final = 20.0
"""No byte more for this long, after the first answer, is a stall."""

SILENCE_S: Final = 0.5
"""Shortest silence that counts as a loss; a device that erases as it goes needs a tenth. If it was
none, the late answer says so."""

SLOWEST: Final = 10
"""A loss is a silence of so many of the longest answer so far."""

PROBE_S: Final = 2.0
"""How long the answer to a short question may take, after a loss."""

LOSSES: Final = 1.4
"""More losses than this, each counted for less the longer ago, and chunks become shorter. A single
one may be due to noise, or a log line."""

FORGIVEN: Final = 1 / 128
"""How much of a loss each long chunk that passes makes good."""

RESTARTS: Final = 3
"""How often a device may want the image from its start again: it was reset meanwhile."""

REPEATS: Final = 8
"""How many answers in a row may bring no byte more."""

ALIGNMENT: Final = 4
"""Chunks end at multiples of it, as flash is written; a device that wants more shows it."""

LARGEST_ALIGNMENT: Final = 64

TRIED_LIMITS: Final = (252, 508, 1020)
"""Messages tried on a device that does not state its buffers: MCUboot's has 1024 bytes by default,
older ones 512."""

CLEAN_CHUNKS: Final = 3
"""Chunks of one size that pass before a longer one is tried."""

MOST_WINDOW: Final = 4
"""Most chunks on their way at once."""

TRIAL_CHUNKS: Final = 12
"""Chunks by which a window is judged against the one before."""

WORTH: Final = 1.03
"""A wider window that is not faster by this is not kept: it only adds what a loss costs."""


_DOING: Final = "take a piece of the image"


class StalledError(FailedError):
    """The device answers, and takes no more bytes."""

    def __init__(self, at: int, size: int) -> None:
        super().__init__(
            Reason.LINK_LOST, f"the upload stands still: the device has {at} of {size} bytes"
        )


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int
    end: int


def upload_image(
    link: SmpLink,
    data: bytes,
    buffers: Buffers | None,
    image: int | None,
    advance: Callable[[int], None],
) -> UploadTally:
    """Send an image; returns when the device has taken the last byte, which proves nothing of it.

    Args:
        link: the conversation.
        data: the image file's bytes, at least one.
        buffers: what the device takes at once; None: it does not say.
        image: what slot info names as `upload_image_id`; None: left out. Never anything else:
            MCUboot writes outside of its slots for numbers that it does not have.
        advance: told how many bytes the device has, which may fall back.

    Raises:
        SmpRefusedError: the device says no.
        StalledError, SilentDeviceError, NonsenseError: it takes no more.
        LinkLostError: the port is gone.
    """
    return _Upload(link, data, buffers, image, advance).run()


class _Upload:
    def __init__(
        self,
        link: SmpLink,
        data: bytes,
        buffers: Buffers | None,
        image: int | None,
        advance: Callable[[int], None],
    ) -> None:
        self._link, self._data, self._image, self._advance = link, data, image, advance
        self._clock = link.clock
        self._sha = hashlib.sha256(data).digest()
        self._limit = message_limit(buffers)
        self._growth = _Growth(self._limit, unknown=buffers is None)
        self._window = _Window(buffers.count if buffers else 1)
        self._align = ALIGNMENT
        self._at = self._next = self._most = 0
        self._flight: dict[int, _Chunk] = {}
        self._draining = False
        self._chunks = self._resumed = self._restarts = self._repeats = 0
        self._losses = 0.0
        self._longest_s = 0.0
        self._moved_at = self._clock.now()

    def run(self) -> UploadTally:
        """Until the device wants the byte behind the last."""
        started, written = self._clock.now(), self._link.written
        self._moved_at = started
        while self._at < len(self._data):
            self._fill()
            asked = self._clock.now()
            arrived = self._link.await_any(asked + self._patience_s)
            if arrived is None:
                arrived = self._after_silence()
            elif self._at > 0:  # the first answer takes as long as an erase
                self._longest_s = max(self._longest_s, self._clock.now() - asked)
            if arrived is not None:
                self._take(arrived)
            self._check_stall()
        seconds = self._clock.now() - started
        return UploadTally(self._link.written - written, seconds, self._chunks, self._resumed)

    @property
    def _patience_s(self) -> float:
        """How long a silence is borne; the first answer is waited for by questions."""
        return min(max(SILENCE_S, SLOWEST * self._longest_s), STALL_S / 2)

    def _fill(self) -> None:
        """Send as many chunks as may be on their way; the first goes alone."""
        if self._draining:
            if self._flight:
                return
            self._draining, self._next = False, self._at
        window = 1 if self._at == 0 else self._window.size
        while len(self._flight) < window and self._next < len(self._data):
            self._send(self._next, self._limit)

    def _send(self, start: int, limit: int) -> int:
        """Send the chunk at `start` that fits a message of `limit` bytes; the answer's number."""
        first = start == 0
        chunk = UploadChunk(
            start,
            b"",
            len(self._data) if first else None,
            self._sha if first and limit >= SHA_LIMIT else None,
            self._image if first else None,
        )
        end = min(start + chunk.room(limit), len(self._data))
        if end < len(self._data) and end // self._align * self._align > start:
            end = end // self._align * self._align
        seq = self._link.send(chunk.with_data(self._data[start:end]), _DOING)
        self._flight[seq] = _Chunk(start, end)
        self._next = end
        return seq

    def _take(self, arrived: Arrived) -> None:
        """Go where the device wants to go on."""
        chunk = self._flight.pop(arrived.seq)
        reply = arrived.answer
        if isinstance(reply, SmpFault):
            raise refused(reply, _DOING)
        if not isinstance(reply, UploadedTo) or reply.off > len(self._data):
            raise NonsenseError(_DOING, f"{reply}, of {len(self._data)} bytes")
        off = reply.off
        if reply.match is False and off == len(self._data):
            raise NonsenseError(_DOING, "what it has written has another SHA-256")
        self._chunks += 1
        if off == chunk.end:
            self._passed(chunk)
        else:
            self._resume(chunk, off)
        self._at = off
        self._advance(off)

    def _passed(self, chunk: _Chunk) -> None:
        self._limit = self._growth.passed(self._limit)
        if chunk.end - chunk.start > SAFE_LIMIT:
            self._losses = max(0.0, self._losses - FORGIVEN)
        if chunk.end > self._most:
            self._most, self._repeats, self._moved_at = chunk.end, 0, self._clock.now()
        self._window.passed(chunk.end - chunk.start, self._clock.now())

    def _resume(self, chunk: _Chunk, off: int) -> None:
        """The device is elsewhere: what is on its way is in vain, and answered like this."""
        self._resumed += 1
        self._draining = True
        self._window.disturbed()
        if chunk.start < off < chunk.end:
            # it took what it could write at once, and says so by where it stopped
            self._align = min(max(self._align, off & -off), LARGEST_ALIGNMENT)
        if off > self._most:
            self._most, self._repeats, self._moved_at = off, 0, self._clock.now()
            return
        self._repeats += 1
        if off == 0 and self._at > 0:
            self._restarts += 1
            self._moved_at, self._most, self._repeats = self._clock.now(), 0, 0
        if self._restarts > RESTARTS or self._repeats > REPEATS:
            raise StalledError(off, len(self._data))

    def _check_stall(self) -> None:
        if self._at > 0 and self._clock.now() - self._moved_at > STALL_S:
            raise StalledError(self._at, len(self._data))

    def _after_silence(self) -> Arrived | None:
        """Find out whether chunks or only their answers are lost; no answer means nothing is left.

        The device is asked for what is short: the next bytes, or before the first answer, when it
        may still erase and a repeated start would erase again, its buffers.
        """
        self._window.lost()
        began = self._clock.now()
        most_s = ERASE_S if self._at == 0 else STALL_S
        asked: list[int] = []
        while self._clock.now() - began < most_s:
            arrived = self._link.quiet()
            if arrived is None:
                asked.append(self._short_question())
                arrived = self._link.await_any(self._clock.now() + PROBE_S)
            if arrived is None:
                continue
            return self._told(arrived, asked)
        raise SilentDeviceError("take a piece of the image", self._clock.now() - began)

    def _short_question(self) -> int:
        if self._at == 0:
            return self._link.send(Params(), "state its buffers")
        return self._send(self._at, min(SAFE_LIMIT, self._limit))

    def _told(self, arrived: Arrived, asked: list[int]) -> Arrived | None:
        """What the first answer after a silence says of the chunks that went before it."""
        if arrived.seq not in asked:
            # only late; the questions will be answered too
            self._link.forget(*(seq for seq in asked if seq not in self._flight))
            self._draining = True
            return arrived
        chunk = self._flight.get(arrived.seq)
        reply = arrived.answer
        answer_lost = isinstance(reply, UploadedTo) and chunk is not None and reply.off > chunk.end
        others = [seq for seq in (*self._flight, *asked) if seq != arrived.seq]
        self._link.forget(*others)
        for seq in others:
            self._flight.pop(seq, None)
        self._draining = True
        if not answer_lost:
            self._blame()
        return None if chunk is None else arrived

    def _blame(self) -> None:
        """A chunk did not arrive; where that happens often, chunks are made shorter.

        Pauses between the lines of long ones would help as well, and cost more.
        """
        smaller = self._growth.lost()
        if smaller is not None:
            self._limit, self._losses = smaller, 0.0
            return
        self._losses += 1
        smallest = SAFE_LIMIT if self._link.framing is SmpFraming.CONSOLE else SMALLEST_UNCUT
        if self._losses > LOSSES and self._limit > smallest:
            self._limit, self._losses = max(self._limit // 2, smallest), 0.0
            log.info("long messages are lost: none above %d bytes from here on", self._limit)


class _Growth:
    """Longer messages for a device that does not state its buffers, until one is lost.

    MCUboot drops what is too long, and takes the next one.
    """

    def __init__(self, limit: int, *, unknown: bool) -> None:
        self._left = [size for size in TRIED_LIMITS if size > limit] if unknown else []
        self._before: int | None = None
        self._passed = 0

    def passed(self, limit: int) -> int:
        """A chunk was taken; the limit from here on."""
        self._passed += 1
        if self._passed < CLEAN_CHUNKS:
            return limit
        self._passed, self._before = 0, None
        if not self._left:
            return limit
        self._before = limit
        return self._left.pop(0)

    def lost(self) -> int | None:
        """A chunk was lost; the limit to go back to, if it was a longer one that was tried."""
        self._passed = 0
        if self._before is None:
            return None
        before, self._before = self._before, None
        self._left.clear()
        return before


class _Window:
    """How many chunks are on their way at once: one more as long as a trial proves it faster."""

    def __init__(self, buffers: int) -> None:
        self.size = 1
        # one buffer is for the answer
        self._most = max(1, min(buffers - 1, MOST_WINDOW))
        self._rate = 0.0
        self._begin()

    def _begin(self) -> None:
        self._bytes = self._count = 0
        self._since: float | None = None

    def passed(self, size: int, now: float) -> None:
        """A chunk was taken as a whole."""
        if self.size > self._most:
            return
        if self._since is None:
            self._since = now
            return
        self._bytes += size
        self._count += 1
        if self._count < TRIAL_CHUNKS or self._most == 1:
            return
        rate = self._bytes / max(now - self._since, 1e-6)
        if rate > self._rate * WORTH:
            self._rate = rate
            if self.size == self._most:
                self._most = 0
                return
            self.size += 1
        else:
            self.size -= 1
            self._most = 0
        self._begin()

    def disturbed(self) -> None:
        """The chunks so far say nothing of a window."""
        self._begin()

    def lost(self) -> None:
        """One at a time from here on."""
        self.size, self._most = 1, 1


def message_limit(buffers: Buffers | None) -> int:
    """Bytes of the largest message that the device's buffers take."""
    if buffers is None:
        return SAFE_LIMIT
    return max(min(buffers.size, LARGEST_LIMIT) - BUFFER_EXTRA, 1)

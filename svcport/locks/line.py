"""The line's speed and the upload over it: as fast as both sides prove, falling back by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.acts import TransferReady
from protocol.bulk import TransferState, UploadSender
from protocol.frame import BAUD_PATTERN, Frame, FrameType
from protocol.queries import SetBaud
from svcport.locks.errors import LockRefusedError
from svcport.locks.session import Link, Session, SessionLostError
from svcport.transport.port import FIRST_BAUD, LinkLostError

log = logging.getLogger(__name__)

SPEEDS: Final = (3_000_000, 2_000_000, 1_000_000, 921_600, 460_800, 230_400)
"""Speeds tried, fastest first; what neither side proves falls back to 115200."""

TRIES: Final = 2
"""Speeds that fail their test before 115200 is settled for: then the cable is slow."""

PROOF_S: Final = 0.4
"""How long the echo of a test frame may take; the lock gives up a second after the switch."""

BITS_A_BYTE: Final = 10
"""8N1: a start bit, eight of data, a stop bit."""

LOCK_FALL_BACK_S: Final = 1.2
"""After a failed proof: until the lock is surely back at 115200."""

STALL_S: Final = 20.0
"""An upload without any new acknowledgement for this long is a lost link."""

START_BLOCK: Final = 512
"""Bytes of the first blocks of an upload at least: some arrive even where every 500th byte is
damaged. On a line that has damaged nothing so far, they are half of what it has carried."""

SMALLEST_BLOCK: Final = 128
"""Below this, frames cost more than what noise takes."""

FIRST_ACK_S: Final = 4.0
"""Silence borne before the first acknowledgement: a whole window at 115200 baud."""

FAST_ACK_S: Final = 1.0
"""The same beyond a window's own time, so that a lock at a raised speed hears something in time."""


def raise_speed(session: Session, max_baud: int) -> int:
    """Move both sides to the highest speed that a test frame proves; the speed in force.

    Raises:
        LinkLostError: the lock does not come back at 115200 either.
    """
    if session.link.baud != FIRST_BAUD:
        return session.link.baud
    tries = 0
    for baud in (speed for speed in SPEEDS if speed <= max_baud):
        if tries == TRIES:
            break
        try:
            session.call(SetBaud(baud), f"change to {baud} baud")
        except LockRefusedError:
            continue
        if _proved(session, baud):
            return baud
        log.info("%d baud is not proved, back to %d", baud, FIRST_BAUD)
        tries += session.link.baud == baud  # an adapter that lacks a speed says nothing of others
        session.link.set_baud(FIRST_BAUD)
        session.link.clock.sleep(LOCK_FALL_BACK_S)
    return session.link.baud


def _proved(session: Session, baud: int) -> bool:
    link = session.link
    try:
        link.set_baud(baud)
    except LinkLostError:  # an adapter that cannot make this speed says so here
        return False
    test = Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN).build()
    for attempt in range(2):
        link.repeated += attempt
        link.send(test, again=True)
        answer = link.await_type(FrameType.BAUD_ECHO, PROOF_S)
        if answer is not None and answer.body == BAUD_PATTERN:
            return True
    return False


@dataclass(frozen=True, slots=True)
class UploadEnd:
    """How an upload ended.

    Attributes:
        state: the lock's last word.
        detail: the sector that a failed state speaks of.
        wire_bytes: bytes written for it, resends included.
        seconds: first block written to last acknowledgement.
    """

    state: TransferState
    detail: int
    wire_bytes: int
    seconds: float


def upload(
    session: Session,
    ready: TransferReady,
    stream: Iterator[bytes],
    advance: Callable[[int], None],
) -> UploadEnd:
    """Send the unit stream in blocks until the lock ends the transfer.

    Args:
        session: the one in which BEGIN was answered.
        ready: that answer.
        stream: bytes of the units, in any pieces.
        advance: told the number of stream bytes that the lock has consumed.

    Raises:
        LinkLostError: no new acknowledgement for 20 s, or the session is gone.
    """
    blocks = _Blocks(stream, ready, session.link.clean_bytes // 2)
    sender = UploadSender(session.keys, ready.transfer_id, iter(blocks), ready.window)
    clock = session.link.clock
    timer = _AckTimer(session.link, ready.window * ready.block_size)
    started = clock.now()
    written = 0
    while not sender.finished:
        frame = sender.next_frame()
        if frame is not None:
            session.link.send(frame)
            written += len(frame)
        answer = session.link.poll(0.0 if frame is not None else timer.wait_s())
        if answer is None:
            if frame is None and timer.expired():
                session.link.fall_back()
                sender.silence()
            continue
        if answer.type is FrameType.NO_SESSION:
            raise SessionLostError("the lock has dropped the session during the upload")
        if sender.receive(answer):
            timer.heard()
            blocks.adapt(sender.consumed, sender.resent)
            advance(blocks.bytes_of(sender.consumed))
    seconds = clock.now() - started
    return UploadEnd(sender.state, sender.detail, written, seconds)


class _AckTimer:
    """When silence means loss: from the measured gaps between acknowledgements, with back-off."""

    def __init__(self, link: Link, window_bytes: int) -> None:
        self._link = link
        self._clock = link.clock
        self._window_bits = window_bytes * BITS_A_BYTE
        self._last = self._clock.now()
        self._gap_s = self._longest_s
        self._next = self._last + self._longest_s
        self._back_off = 1.0
        self._measured = False

    def heard(self) -> None:
        now = self._clock.now()
        gap = now - self._last
        self._gap_s = max(gap, self._gap_s * 0.9) if self._measured else gap
        self._measured = True
        self._last, self._back_off = now, 1.0
        self._next = now + self._limit_s()

    def wait_s(self) -> float:
        return max(0.0, self._next - self._clock.now())

    def expired(self) -> bool:
        """Whether the silence was long enough to resend; LinkLostError if it is hopeless."""
        now = self._clock.now()
        if now - self._last > STALL_S:
            raise LinkLostError(f"no acknowledgement for {STALL_S:.0f} s during the upload")
        if now < self._next:
            return False
        self._back_off *= 2
        self._next = now + self._limit_s()
        return True

    @property
    def _longest_s(self) -> float:
        return min(FIRST_ACK_S, FAST_ACK_S + self._window_bits / self._link.baud)

    def _limit_s(self) -> float:
        return min((0.25 + 4 * self._gap_s) * self._back_off, self._longest_s)


class _Blocks:
    """The stream's bytes in blocks of a size that the line carries, made lazily.

    A block that was sealed is never cut anew, so that on a noisy line one that is too long may not
    arrive in a day. The size starts as the line deserves, halves with losses, and doubles with each
    clean window.
    """

    def __init__(self, stream: Iterator[bytes], ready: TransferReady, first: int) -> None:
        self._stream = stream
        self._pending = bytearray()
        self._limit = ready.block_size
        self._window = ready.window
        power = 1 << max(first, 1).bit_length() - 1
        self._size = min(max(power, START_BLOCK), self._limit)
        self._ends = [0]
        self._clean_from = self._lost = 0

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

    def adapt(self, consumed: int, lost: int) -> None:
        """Choose the size of blocks to come, from how many were taken and sent again by now."""
        if lost > self._lost:
            self._size = max(self._size // 2, SMALLEST_BLOCK)
        elif consumed < self._clean_from + self._window:
            return
        else:
            self._size = min(self._size * 2, self._limit)
        self._clean_from, self._lost = consumed, lost

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
from svcport.locks.session import Session, SessionLostError
from svcport.transport.clock import Clock
from svcport.transport.port import FIRST_BAUD, LinkLostError

log = logging.getLogger(__name__)

SPEEDS: Final = (3_000_000, 2_000_000, 1_000_000, 921_600, 460_800, 230_400)
"""Speeds tried, fastest first; what neither side proves falls back to 115200."""

PROOF_S: Final = 0.4
"""How long the echo of a test frame may take; the lock gives up a second after the switch."""

LOCK_FALL_BACK_S: Final = 1.2
"""After a failed proof: until the lock is surely back at 115200."""

STALL_S: Final = 20.0
"""An upload without any new acknowledgement for this long is a lost link."""

FIRST_ACK_S: Final = 4.0
"""Silence borne before the first acknowledgement: a whole window at 115200 baud."""


def raise_speed(session: Session, max_baud: int) -> int:
    """Move both sides to the highest speed that a test frame proves; the speed in force.

    Raises:
        LinkLostError: the lock does not come back at 115200 either.
    """
    tries = 0
    for baud in (speed for speed in SPEEDS if speed <= max_baud):
        if tries == 2:  # two failures say that the adapter or the cable is slow
            break
        tries += 1
        try:
            session.call(SetBaud(baud), f"change to {baud} baud")
        except LockRefusedError:
            continue
        if _proved(session, baud):
            return baud
        log.info("%d baud is not proved, back to %d", baud, FIRST_BAUD)
        session.link.set_baud(FIRST_BAUD)
        session.link.clock.sleep(LOCK_FALL_BACK_S)
    return session.link.baud


def _proved(session: Session, baud: int) -> bool:
    link = session.link
    try:
        link.set_baud(baud)
    except LinkLostError:  # an adapter that cannot make this speed says so here
        return False
    test = Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN)
    for _attempt in range(2):
        link.send(test.build(), again=True)
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
    blocks = cut_blocks(stream, ready.block_size)
    sender = UploadSender(session.keys, ready.transfer_id, blocks, ready.window)
    clock = session.link.clock
    timer = _AckTimer(clock)
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
                sender.silence()
            continue
        if answer.type is FrameType.NO_SESSION:
            raise SessionLostError("the lock has dropped the session during the upload")
        if sender.receive(answer):
            timer.heard()
            advance(sender.consumed * ready.block_size)
    seconds = clock.now() - started
    return UploadEnd(sender.state, sender.detail, written, seconds)


class _AckTimer:
    """When silence means loss: from the measured gaps between acknowledgements, with back-off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()
        self._gap_s = FIRST_ACK_S
        self._next = self._last + FIRST_ACK_S
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

    def _limit_s(self) -> float:
        return min((0.25 + 4 * self._gap_s) * self._back_off, FIRST_ACK_S)


def cut_blocks(stream: Iterator[bytes], block_size: int) -> Iterator[bytes]:
    """The stream's bytes in blocks of `block_size`, the last one shorter, made lazily."""
    pending = bytearray()
    for piece in stream:
        pending += piece
        while len(pending) >= block_size:
            yield bytes(pending[:block_size])
            del pending[:block_size]
    if pending:
        yield bytes(pending)

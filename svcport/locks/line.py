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
from svcport.locks.adaptive import LEAD_S, TICK_S, Blocks, Loss, Pace, Patience
from svcport.locks.errors import LockRefusedError
from svcport.locks.session import Session, SessionLostError
from svcport.transport.port import FIRST_BAUD, LinkLostError

log = logging.getLogger(__name__)

SPEEDS: Final = (3_000_000, 2_000_000, 1_000_000, 921_600, 460_800, 230_400)
"""Speeds tried, fastest first; what neither side proves falls back to 115200."""

TRIES: Final = 2
"""Speeds that fail their test before 115200 is settled for: then the cable is slow."""

PROOF_S: Final = 0.1
"""How long the echo of a test frame may take: an adapter's latency and more."""

PROOFS: Final = 8
"""Test frames sent before a speed counts as not proved: on a noisy line most of them are lost. The
lock gives up a second after the switch."""

LOCK_FALL_BACK_S: Final = 1.2
"""After a failed proof: until the lock is surely back at 115200."""

STALL_S: Final = 20.0
"""An upload without any new acknowledgement for this long is a lost link."""


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
    for attempt in range(PROOFS):
        link.repeated += attempt > 0
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
    return _Upload(session, ready, stream, advance).run()


class _Upload:
    """One upload under way, and what it has measured of the line."""

    def __init__(
        self,
        session: Session,
        ready: TransferReady,
        stream: Iterator[bytes],
        advance: Callable[[int], None],
    ) -> None:
        link = session.link
        loss = Loss(link.sent + link.heard, link.damaged)
        self._link, self._loss, self._advance = link, loss, advance
        self._blocks = Blocks(stream, ready.block_size, ready.window, loss, link.clean_bytes)
        blocks = iter(self._blocks)
        self._sender = UploadSender(session.keys, ready.transfer_id, blocks, ready.window)
        self._pace = Pace(link.clock)
        window_bytes = ready.window * ready.block_size
        self._patience = Patience(link.clock, self._pace, loss, window_bytes)
        self._written = 0

    def run(self) -> UploadEnd:
        """Until the lock ends it."""
        sender, clock = self._sender, self._link.clock
        started = clock.now()
        while not sender.finished:
            pause_s = 0.0 if self._write() else self._pause_s()
            answer = self._link.poll(pause_s)
            if answer is not None:
                self._take(answer)
            elif pause_s:
                self._bear_silence()
        return UploadEnd(sender.state, sender.detail, self._written, clock.now() - started)

    def _write(self) -> bool:
        """Hand a frame over if one should go now.

        On a lossy line nothing queues up before the wire, and none of its time is left unused.
        """
        sender, made, left_s = self._sender, self._sender.made, self._pace.left_s
        if self._loss.any and left_s > LEAD_S:
            return False
        frame = sender.next_frame()
        if frame is None and not left_s:
            frame = sender.spare_frame()
        if frame is None:
            return False
        self._link.send(frame)
        self._written += len(frame)
        self._pace.wrote(len(frame), self._link.baud)
        if sender.made > made:
            self._patience.sent(made, sender.resent)
        return True

    def _pause_s(self) -> float:
        """How long to wait for an acknowledgement before looking for something to write again."""
        left_s = self._pace.left_s
        if not self._loss.any or not left_s:
            return max(self._patience.wait_s(self._link.baud), TICK_S)
        return max(left_s - LEAD_S if left_s > LEAD_S else left_s, TICK_S)

    def _take(self, answer: Frame) -> None:
        sender = self._sender
        if answer.type is FrameType.NO_SESSION:
            raise SessionLostError("the lock has dropped the session during the upload")
        arrived, lost, lost_bytes = sender.arrived_bytes, sender.lost_frames, sender.lost_bytes
        if not sender.receive(answer):
            return
        self._loss.count(
            sender.arrived_bytes - arrived,
            sender.lost_frames - lost,
            sender.lost_bytes - lost_bytes,
        )
        self._patience.heard(sender.consumed, sender.resent)
        self._blocks.adapt(sender.consumed)
        self._advance(self._blocks.bytes_of(sender.consumed))

    def _bear_silence(self) -> None:
        if self._patience.silent_s > STALL_S:
            raise LinkLostError(f"no acknowledgement for {STALL_S:.0f} s during the upload")
        if self._patience.expired(self._link.baud):
            self._link.fall_back()
            self._sender.silence()

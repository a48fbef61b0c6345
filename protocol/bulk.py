"""The upload stream: a window of sealed blocks one way, acknowledgements the other.

Block n is sealed with nonce n under the transfer's key and sent as one BLOCK frame whose seq is
n's low 16 bits; a sealed block is never cut anew. The lock acknowledges by how many blocks it has
consumed, a bitmap of those it holds beyond, and the transfer's state; the latest acknowledgement
wins. The host may send blocks below `consumed + window`. No clock: the caller reports silence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from construct import Int8ub, Int32ub, Int64ub
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import MalformedMessageError
from protocol.frame import Frame, FrameType
from protocol.noise import SessionKeys, nonce
from protocol.record import Record, closed, wire

BLOCK_LIMIT: Final = 4096
"""Most bytes of a block's plaintext."""

WINDOW_LIMIT: Final = 64
"""Most blocks of a window: the width of the bitmap."""

_OLD: Final = 0x8000
"""From this distance on a block's number is taken for that of one that was consumed before."""

UPLOAD_INFO: Final = b"svcport-upload-v1"
ACK_INFO: Final = b"svcport-upload-ack-v1"


class TransferState(IntEnum):
    """How a transfer stands, as the lock says in every acknowledgement."""

    RECEIVING = 0
    COMPLETE = 1
    UNIT_DIGEST = 2
    UNIT_MALFORMED = 3
    UNIT_ORDER = 4
    FLASH_FAILED = 5
    WINDOW_OVERRUN = 6


@dataclass(frozen=True, slots=True)
class Ack(Record):
    """One acknowledgement. `detail` is the sector that a failed state speaks of, else 0."""

    consumed: int
    held: int
    state: TransferState
    detail: int

    WIRE = wire(consumed=Int32ub, held=Int64ub, state=closed(TransferState, Int8ub), detail=Int32ub)


_ACK: Final = struct.Struct(">IQBI")
"""`Ack.WIRE` once more: one comes for every block, and construct takes ten times as long for it."""

_STATES: Final = {int(state): state for state in TransferState}


def read_ack(payload: bytes) -> Ack:
    """What `Ack.parse` gives, faster; or its MalformedMessageError."""
    if len(payload) == _ACK.size:
        consumed, held, state, detail = _ACK.unpack(payload)
        if state in _STATES:
            return Ack(consumed, held, _STATES[state], detail)
    return Ack.parse(payload)


def write_ack(ack: Ack) -> bytes:
    """What `Ack.build` gives, faster; or its MalformedMessageError."""
    try:
        return _ACK.pack(ack.consumed, ack.held, ack.state, ack.detail)
    except struct.error:
        return ack.build()


def _key(secret: bytes, info: bytes, transfer_id: int) -> ChaCha20Poly1305:
    kdf = HKDF(hashes.SHA256(), 32, salt=None, info=info + transfer_id.to_bytes(4, "big"))
    return ChaCha20Poly1305(kdf.derive(secret))


SPARE_COPIES: Final = 4
"""Most copies of one block that `spare_frame` gives, so that a lock that stalls is not flooded."""


@dataclass(slots=True)
class _InFlight:
    frame: bytes
    order: int
    lost: bool = False
    missing: bool = False
    spares: int = 0


class UploadSender:
    """The host's half. Ask `next_frame` while it gives one; feed `receive`; report `silence`.

    Attributes:
        state: the lock's last word on the transfer.
        detail: the sector that a failed state speaks of.
        resent: blocks sent more than once, each time counted.
        arrived_bytes: of the frames of all blocks that arrived.
        lost_frames: known to be lost because something sent later arrived.
        lost_bytes: of these.
    """

    def __init__(
        self, keys: SessionKeys, transfer_id: int, stream: Iterator[bytes], window: int
    ) -> None:
        """Start a transfer.

        Args:
            keys: the session's.
            transfer_id: as the lock assigned it.
            stream: the blocks' plaintext, each of 1..4096 bytes.
            window: blocks that may be under way, 1..64.
        """
        self._cipher = _key(keys.host_to_lock, UPLOAD_INFO, transfer_id)
        self._ack_cipher = _key(keys.lock_to_host, ACK_INFO, transfer_id)
        self._stream = stream
        self._window = window
        self._next = 0
        self._order = 0
        self._consumed = 0
        self._last_ack = -1
        self._flight: dict[int, _InFlight] = {}
        self._last: bytes | None = None
        self._probe = False
        self.state = TransferState.RECEIVING
        self.detail = 0
        self.resent = 0
        self.arrived_bytes = self.lost_frames = self.lost_bytes = 0

    @property
    def made(self) -> int:
        """Blocks sealed so far."""
        return self._next

    @property
    def finished(self) -> bool:
        """Whether the lock has ended the transfer, well or not."""
        return self.state is not TransferState.RECEIVING

    @property
    def consumed(self) -> int:
        """Blocks that the lock has taken out of its window."""
        return self._consumed

    def next_frame(self) -> bytes | None:
        """The frame to write now, lost blocks first; None while the window is full."""
        if self.finished:
            return None
        for flight in self._flight.values():
            if flight.lost:
                self.resent += 1
                return self._stamp(flight)
        if self._probe:
            self._probe = False
            return self._last
        if self._next >= self._consumed + self._window:
            return None
        block = next(self._stream, None)
        if block is None:
            return None
        sealed = self._cipher.encrypt(nonce(self._next), block, b"")
        flight = _InFlight(Frame(FrameType.BLOCK, self._next, sealed).build(), 0)
        self._flight[self._next] = flight
        self._last = flight.frame
        self._next += 1
        return self._stamp(flight)

    def spare_frame(self) -> bytes | None:
        """For a line that would be idle: once more the oldest block that was lost before.

        Its last copy may still arrive; if not, this one spares waiting for a silence. None where
        nothing is known to have been lost, or copies enough of it are under way.
        """
        again = [one for one in self._flight.values() if one.missing and not one.lost]
        flight = min(again, key=lambda one: one.order, default=None)
        if self.finished or flight is None or flight.spares == SPARE_COPIES:
            return None
        flight.spares += 1
        self.resent += 1
        return self._stamp(flight)

    def receive(self, frame: Frame) -> bool:
        """Take an ACK frame; False for anything but a new one of this transfer."""
        if frame.type is not FrameType.ACK or len(frame.body) < 4:
            return False
        number = int.from_bytes(frame.body[:4], "big")
        if number <= self._last_ack:
            return False
        try:
            ack = read_ack(self._ack_cipher.decrypt(nonce(number), frame.body[4:], b""))
        except (InvalidTag, MalformedMessageError):
            return False
        if not self._consumed <= ack.consumed <= self._next:
            return False
        self._last_ack = number
        self._apply(ack)
        return True

    def silence(self) -> None:
        """No acknowledgement came in time: the oldest block under way counts as lost.

        With nothing under way the last block goes again, so that the lock repeats its last word.
        """
        oldest = next(iter(self._flight.values()), None)
        if oldest is not None:
            oldest.lost = True
        else:
            self._probe = True

    def _stamp(self, flight: _InFlight) -> bytes:
        self._order += 1
        flight.order = self._order
        flight.lost = False
        return flight.frame

    def _apply(self, ack: Ack) -> None:
        self.state, self.detail = ack.state, ack.detail
        arrived = [n for n in range(self._consumed, ack.consumed) if n in self._flight]
        arrived += [n for n in self._flight if n >= ack.consumed and _held(ack, n)]
        newest = max((self._flight[n].order for n in arrived), default=0)
        for number in arrived:
            self.arrived_bytes += len(self._flight.pop(number).frame)
        self._consumed = ack.consumed
        # The wire keeps order: what was sent before a block that arrived, and is not here, is lost.
        for flight in self._flight.values():
            if flight.order < newest and not flight.lost:
                flight.lost = flight.missing = True
                flight.spares = 0
                self.lost_frames += 1
                self.lost_bytes += len(flight.frame)


class UploadReceiver:
    """The lock's half: holds up to a window of blocks and hands them out in order.

    Attributes:
        overrun: the host has sent a block that it was not allowed to send yet.
    """

    def __init__(self, keys: SessionKeys, transfer_id: int, window: int) -> None:
        self._cipher = _key(keys.host_to_lock, UPLOAD_INFO, transfer_id)
        self._ack_cipher = _key(keys.lock_to_host, ACK_INFO, transfer_id)
        self._window = window
        self._consumed = 0
        self._ack_number = 0
        self.overrun = False
        self._held: dict[int, bytes] = {}

    def receive(self, frame: Frame) -> bool:
        """Take a BLOCK frame; False if it is damaged or outside the window, and was dropped."""
        if frame.type is not FrameType.BLOCK:
            return False
        ahead = (frame.seq - self._consumed) & 0xFFFF
        number = self._consumed + ahead
        if ahead >= _OLD or number in self._held:
            return number in self._held
        try:
            block = self._cipher.decrypt(nonce(number), frame.body, b"")
        except InvalidTag:
            return False
        if ahead >= self._window:
            self.overrun = True
            return False
        self._held[number] = block
        return True

    def take(self) -> bytes | None:
        """The next block in order, removed from the window; None if it is not here yet."""
        block = self._held.pop(self._consumed, None)
        if block is not None:
            self._consumed += 1
        return block

    def ack(self, state: TransferState, detail: int = 0) -> bytes:
        """An acknowledgement frame of what is held and consumed now, with a fresh nonce."""
        bitmap = sum(1 << (n - self._consumed) for n in self._held)
        record = write_ack(Ack(self._consumed, bitmap, state, detail))
        number = self._ack_number
        self._ack_number += 1
        sealed = self._ack_cipher.encrypt(nonce(number), record, b"")
        return Frame(FrameType.ACK, number, number.to_bytes(4, "big") + sealed).build()


def _held(ack: Ack, number: int) -> bool:
    offset = number - ack.consumed
    return 0 <= offset < WINDOW_LIMIT and bool(ack.held >> offset & 1)

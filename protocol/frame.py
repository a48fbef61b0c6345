"""Link frames: COBS(type u8 | seq u16 | body | crc32) and a zero byte. Bytes in, frames out.

CRC-32 is that of IEEE 802.3 (zlib), over type, seq and body, big-endian. It guards against the
wire, not against people: what matters is sealed inside (protocol/README, "Frames").
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cobs import cobs

from protocol.errors import MalformedFrameError

DELIMITER: Final = b"\0"
BODY_LIMIT: Final = 4112
"""Most bytes of a body: a block of 4096 and its tag."""

OVERHEAD: Final = 7
"""Bytes of type, seq and CRC."""

ENCODED_LIMIT: Final = BODY_LIMIT + OVERHEAD + (BODY_LIMIT + OVERHEAD) // 254 + 1
"""Most bytes between two delimiters; more is noise and is dropped unread."""


class FrameType(IntEnum):
    """What a frame carries. Hosts and locks send different types, so an echo is never an answer."""

    HELLO = 0x01
    HELLO_REPLY = 0x02
    NOISE = 0x03
    NOISE_REPLY = 0x04
    CONTROL = 0x05
    CONTROL_REPLY = 0x06
    BLOCK = 0x07
    ACK = 0x08
    BAUD_TEST = 0x09
    BAUD_ECHO = 0x0A
    NO_SESSION = 0x0B


_TYPES: Final = {int(kind): kind for kind in FrameType}

BAUD_PATTERN: Final = bytes(range(256)) + b"\x55\xaa" * 32
"""Body of a test frame after a change of baud: every byte, then the hardest bit pattern."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `seq` is the low 16 bits of a record or block number."""

    type: FrameType
    seq: int
    body: bytes

    def build(self) -> bytes:
        """The frame as it goes on the wire, delimiter included."""
        if len(self.body) > BODY_LIMIT:
            raise MalformedFrameError(
                f"a body has at most {BODY_LIMIT} bytes, not {len(self.body)}"
            )
        raw = bytes([self.type]) + (self.seq & 0xFFFF).to_bytes(2, "big") + self.body
        return bytes(cobs.encode(raw + zlib.crc32(raw).to_bytes(4, "big"))) + DELIMITER

    @classmethod
    def parse(cls, encoded: bytes) -> Frame:
        """The frame between two delimiters (neither included), or MalformedFrameError."""
        if len(encoded) > ENCODED_LIMIT:
            raise MalformedFrameError(f"{len(encoded)} bytes are longer than any frame")
        try:
            raw = cobs.decode(encoded)
        except cobs.DecodeError as error:
            raise MalformedFrameError("no COBS") from error
        if len(raw) < OVERHEAD or len(raw) > BODY_LIMIT + OVERHEAD:
            raise MalformedFrameError(f"{len(raw)} bytes are no frame")
        if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
            raise MalformedFrameError("wrong CRC")
        kind = _TYPES.get(raw[0])
        if kind is None:
            raise MalformedFrameError(f"{raw[0]:#04x} is no frame type")
        frame = cls(kind, int.from_bytes(raw[1:3], "big"), raw[3:-4])
        if cobs.encode(raw) != encoded:
            raise MalformedFrameError("not the shortest COBS form")
        return frame


class FrameDecoder:
    """Frames out of a stream of bytes that comes in any pieces; noise costs frames, never more.

    Attributes:
        dropped: pieces between delimiters that were no frame.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._pending = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order; never raises."""
        frames: list[Frame] = []
        pieces = data.split(DELIMITER)
        for piece in pieces[:-1]:
            self._take(piece)
            self._finish(frames)
        self._take(pieces[-1])
        return frames

    def _take(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._pending += piece
        if len(self._pending) > ENCODED_LIMIT:
            self._pending.clear()
            self._skipping = True

    def _finish(self, frames: list[Frame]) -> None:
        encoded, skipped = bytes(self._pending), self._skipping
        self._pending.clear()
        self._skipping = False
        if not encoded and not skipped:
            return
        if skipped:
            self.dropped += 1
            return
        try:
            frames.append(Frame.parse(encoded))
        except MalformedFrameError:
            self.dropped += 1

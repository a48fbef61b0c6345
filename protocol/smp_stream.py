"""SMP packets out of bytes in any pieces, a decoder for each framing. Sans-io, of bounded memory.

A line may say anything: text of a console or a log between packets, halves of packets, packets that
nobody waits for. What is no whole packet is passed over. docs of framings: protocol/smp.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from protocol.cbor import CborMap
from protocol.errors import MalformedMessageError
from protocol.smp import (
    FIRST_LINE,
    HEADER_SIZE,
    NEXT_LINE,
    SmpFraming,
    SmpHeader,
    SmpPacket,
    cobs_packet,
    console_packet,
)

PACKET_LIMIT: Final = 8192
"""Bytes of the largest packet that is waited for; real devices have buffers of up to 4 kB."""

TEXT_KEPT: Final = 2048
"""Bytes of what was no packet that are kept, the newest: a boot message is among them."""

_ENCODED_LIMIT: Final = PACKET_LIMIT * 4 // 3 + 64
_VERSION_BITS: Final = 0b0000_1011
"""Bits of a reply's first byte that may be set: SMP 1 or 2, and op 1 or 3."""


class SmpDecoder(ABC):
    """Bytes in, packets out.

    Attributes:
        text: the newest of what was no packet.
        text_size: how many bytes were no packet so far.
    """

    def __init__(self) -> None:
        self.text = b""
        self.text_size = 0
        self._pending = bytearray()

    @abstractmethod
    def feed(self, data: bytes) -> list[SmpPacket]:
        """The packets that `data` completes, in their order."""

    def reset(self) -> None:
        """Forget what was begun: after a silence nothing of it comes any more."""
        self._lose(bytes(self._pending))
        self._pending.clear()

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their packet."""
        return len(self._pending)

    def _lose(self, data: bytes) -> None:
        self.text_size += len(data)
        self.text = (self.text + data)[-TEXT_KEPT:]


class ConsoleDecoder(SmpDecoder):
    """Lines led by 06 09 and 04 14; every other line is text."""

    def __init__(self) -> None:
        super().__init__()
        self._base64 = b""
        self._begun = False

    @property
    def held(self) -> int:
        """See SmpDecoder."""
        return len(self._pending) + len(self._base64)

    def reset(self) -> None:
        """See SmpDecoder."""
        super().reset()
        self._drop()

    def feed(self, data: bytes) -> list[SmpPacket]:
        """See SmpDecoder."""
        self._pending += data.replace(b"\r", b"\n")
        *lines, rest = self._pending.split(b"\n")
        found = [packet for line in lines if (packet := self._line(bytes(line))) is not None]
        if len(rest) > _ENCODED_LIMIT:
            self._lose(bytes(rest))
            rest = bytearray()
        self._pending = rest
        return found

    def _line(self, line: bytes) -> SmpPacket | None:
        first, more = line.rfind(FIRST_LINE), line.rfind(NEXT_LINE)
        lead = max(first, more)
        if lead < 0:
            self._lose(line + b"\n" if line else b"")
            return None
        self._lose(line[:lead])
        piece = line[lead + len(FIRST_LINE) :]
        if first > more:
            self._drop()
            self._begun = True
        elif not self._begun:
            self._lose(piece)
            return None
        self._base64 += piece
        packet = console_packet(self._base64)
        if packet is not None:
            self._base64, self._begun = b"", False
        elif len(self._base64) > _ENCODED_LIMIT:
            self._drop()
        return packet

    def _drop(self) -> None:
        self._lose(self._base64)
        self._base64, self._begun = b"", False


class CobsDecoder(SmpDecoder):
    """What stands between zero bytes and has a right CRC."""

    def feed(self, data: bytes) -> list[SmpPacket]:
        """See SmpDecoder."""
        self._pending += data
        *pieces, rest = self._pending.split(b"\0")
        found = []
        for piece in pieces:
            packet = cobs_packet(bytes(piece))
            if packet is None:
                self._lose(bytes(piece))
            else:
                found.append(packet)
        if len(rest) > _ENCODED_LIMIT:
            self._lose(bytes(rest))
            rest = bytearray()
        self._pending = rest
        return found


class RawDecoder(SmpDecoder):
    """Packets without start, end or check: a reply's header is believed if a whole map follows it.

    Text cannot look like one: a header's first byte is no letter, and its second is zero.
    """

    def feed(self, data: bytes) -> list[SmpPacket]:
        """See SmpDecoder."""
        self._pending += data
        found: list[SmpPacket] = []
        data, at = bytes(self._pending), 0
        while (step := self._step(data, at, found)) > 0:
            at += step
        del self._pending[:at]
        return found

    def _step(self, data: bytes, at: int, found: list[SmpPacket]) -> int:
        """How many bytes at `at` are done with; 0 if more must come first."""
        if not _may_begin(data, at):
            skipped = next((i for i in range(at, len(data)) if _may_begin(data, i)), len(data)) - at
            self._lose(data[at : at + skipped])
            return skipped
        if len(data) - at < HEADER_SIZE:
            return 0
        header = SmpHeader.parse(data[at : at + HEADER_SIZE])
        end = at + HEADER_SIZE + header.length
        payload = data[at + HEADER_SIZE : end]
        if len(payload) < header.length:
            return 0
        if not _is_map(payload):
            self._lose(data[at : at + 1])
            return 1
        found.append(SmpPacket(header, payload))
        return end - at


def _may_begin(data: bytes, at: int) -> bool:
    """Whether a reply may begin here, by as much of its header as is there."""
    if at >= len(data):
        return False
    first = data[at]
    if first & ~_VERSION_BITS or not first & 1:
        return False
    if data[at + 1 : at + 2] not in (b"", b"\0"):
        return False
    length = data[at + 2 : at + 4]
    if len(length) == 2 and not 0 < int.from_bytes(length, "big") <= PACKET_LIMIT:
        return False
    major = data[at + HEADER_SIZE : at + HEADER_SIZE + 1]
    return not major or 0xA0 <= major[0] <= 0xBF


def _is_map(payload: bytes) -> bool:
    try:
        CborMap.parse(payload)
    except MalformedMessageError:
        return False
    return True


def decoder_for(framing: SmpFraming) -> SmpDecoder:
    """A decoder that has heard nothing yet."""
    match framing:
        case SmpFraming.CONSOLE:
            return ConsoleDecoder()
        case SmpFraming.COBS:
            return CobsDecoder()
        case SmpFraming.RAW:
            return RawDecoder()

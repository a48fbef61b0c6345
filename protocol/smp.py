"""What is needed of SMP to ask a device whether it speaks it, and to know the answer. Sans-io.

SMP is MCUmgr's protocol: MCUboot's serial recovery and Zephyr's management servers speak it, with
no authentication. A service-port lock never does. Bytes are big-endian here too; a packet is a
header of 8 bytes and a CBOR map. On a UART it goes in one of three ways:

* raw: the packet as it is;
* COBS: the packet and its CRC-16, COBS-coded, between zero bytes;
* console: base64 of `length u16 | packet | crc u16` in lines of at most 127 characters and a line
  feed, the first led by 06 09, the others by 04 14 (MCUmgr, "SMP over console").

CRC-16 is XMODEM's, over the packet. CBOR is not read here, only carried.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from cobs import cobs
from construct import Int8ub, Int16ub

from protocol.errors import MalformedMessageError
from protocol.record import Record, wire

HEADER_SIZE: Final = 8
CRC_SIZE: Final = 2
LENGTH_SIZE: Final = 2

FIRST_LINE: Final = b"\x06\x09"
NEXT_LINE: Final = b"\x04\x14"
LINE_LIMIT: Final = 127
"""Bytes of a console line, its two leading bytes included, its line feed not."""

LINE_BASE64: Final = (LINE_LIMIT - len(FIRST_LINE)) // 4 * 4
"""Characters of base64 in a full line."""


class SmpOp(IntEnum):
    """What a packet is; an answer's number is its question's and one."""

    READ = 0
    READ_REPLY = 1
    WRITE = 2
    WRITE_REPLY = 3


class SmpGroup(IntEnum):
    """The groups of commands that are asked here."""

    OS = 0
    IMAGE = 1
    STAT = 2
    FS = 8
    SHELL = 9
    ENUM = 10


class SmpFraming(Enum):
    """How packets stand on the line."""

    CONSOLE = "console"
    RAW = "raw"
    COBS = "cobs"


@dataclass(frozen=True, slots=True)
class SmpHeader(Record):
    """The header of a packet.

    Attributes:
        first: bits 0..2 op, 3..4 version (0 is SMP 1, 1 is SMP 2), the rest reserved.
        length: bytes of the CBOR map that follows.
        seq: chosen by who asks, repeated in the answer.
    """

    first: int
    flags: int
    length: int
    group: int
    seq: int
    command: int

    WIRE = wire(
        first=Int8ub, flags=Int8ub, length=Int16ub, group=Int16ub, seq=Int8ub, command=Int8ub
    )

    @property
    def op(self) -> int:
        """The number of an SmpOp, or one that nobody uses."""
        return self.first & 0x07

    @property
    def version(self) -> int:
        """1 or 2; other numbers do not occur yet."""
        return (self.first >> 3 & 0x03) + 1


@dataclass(frozen=True, slots=True)
class SmpPacket:
    """A header and the CBOR map behind it, unread."""

    header: SmpHeader
    payload: bytes

    @classmethod
    def ask(
        cls, op: SmpOp, group: SmpGroup, command: int, *, seq: int, version: int, payload: bytes
    ) -> SmpPacket:
        """A question; `version` 1 or 2, `seq` 0..255, `payload` a CBOR map."""
        first = op | (version - 1) << 3
        return cls(SmpHeader(first, 0, len(payload), group, seq, command), payload)

    @classmethod
    def parse(cls, data: bytes) -> SmpPacket:
        """Exactly one packet; MalformedMessageError if a byte is missing or left."""
        header = SmpHeader.parse(data[:HEADER_SIZE])
        if len(data) != HEADER_SIZE + header.length:
            raise MalformedMessageError(
                f"a packet of {HEADER_SIZE + header.length} bytes has {len(data)}"
            )
        return cls(header, data[HEADER_SIZE:])

    def build(self) -> bytes:
        """The packet without any framing."""
        return self.header.build() + self.payload

    def framed(self, framing: SmpFraming) -> bytes:
        """The packet as it goes on the line."""
        packet = self.build()
        if framing is SmpFraming.RAW:
            return packet
        checked = packet + _crc(packet)
        if framing is SmpFraming.COBS:
            return b"\0" + bytes(cobs.encode(checked)) + b"\0"
        text = base64.b64encode(len(checked).to_bytes(LENGTH_SIZE, "big") + checked)
        pieces = [text[at : at + LINE_BASE64] for at in range(0, len(text), LINE_BASE64)]
        leads = [FIRST_LINE] + [NEXT_LINE] * (len(pieces) - 1)
        return b"".join(lead + piece + b"\n" for lead, piece in zip(leads, pieces, strict=True))

    def answers(self, question: SmpPacket) -> bool:
        """Whether this is an answer to `question`: op, group, command and number fit."""
        mine, asked = self.header, question.header
        return (mine.op, mine.group, mine.seq, mine.command) == (
            asked.op | 1,
            asked.group,
            asked.seq,
            asked.command,
        )


def find_answer(data: bytes, question: SmpPacket) -> tuple[SmpFraming, SmpPacket] | None:
    """The first answer to `question` among bytes that may hold anything; None if there is none.

    An echo is no answer: a question's op is even, an answer's is odd.
    """
    finders = (
        (SmpFraming.CONSOLE, _in_lines(data)),
        (SmpFraming.COBS, _between_zeros(data)),
        (SmpFraming.RAW, _anywhere(data, question)),
    )
    for framing, packets in finders:
        for packet in packets:
            if packet.answers(question):
                return framing, packet
    return None


def _in_lines(data: bytes) -> Iterator[SmpPacket]:
    """Packets of console lines; other text on the line is passed over."""
    text = b""
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        first, more = line.rfind(FIRST_LINE), line.rfind(NEXT_LINE)
        if max(first, more) < 0:
            continue
        piece = line[max(first, more) + len(FIRST_LINE) :]
        text = piece if first > more else text + piece
        packet = console_packet(text)
        if packet is not None:
            yield packet
            text = b""


def console_packet(text: bytes) -> SmpPacket | None:
    """The packet that the base64 of its lines holds; None if it is not whole, or is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    if int.from_bytes(data[:LENGTH_SIZE], "big") != len(data) - LENGTH_SIZE:
        return None
    return _checked(data[LENGTH_SIZE:])


def _between_zeros(data: bytes) -> Iterator[SmpPacket]:
    for piece in data.split(b"\0"):
        packet = cobs_packet(piece)
        if packet is not None:
            yield packet


def cobs_packet(piece: bytes) -> SmpPacket | None:
    """The packet that stands between two zero bytes; None if it is none."""
    try:
        return _checked(cobs.decode(piece))
    except cobs.DecodeError:
        return None


def _anywhere(data: bytes, question: SmpPacket) -> Iterator[SmpPacket]:
    """Raw packets have no start: every place where an answer's header could stand is tried."""
    asked = question.header
    tail = asked.group.to_bytes(2, "big") + bytes([asked.seq, asked.command])
    at = data.find(tail)
    while at >= 0:
        start = at - (HEADER_SIZE - len(tail))
        if start >= 0:
            header = SmpHeader.parse(data[start : start + HEADER_SIZE])
            payload = data[start + HEADER_SIZE : start + HEADER_SIZE + header.length]
            if len(payload) == header.length and header.flags == 0:
                yield SmpPacket(header, payload)
        at = data.find(tail, at + 1)


def _checked(data: bytes) -> SmpPacket | None:
    """The packet before its CRC, if both are whole."""
    packet, crc = data[:-CRC_SIZE], data[-CRC_SIZE:]
    if len(packet) < HEADER_SIZE or crc != _crc(packet):
        return None
    try:
        return SmpPacket.parse(packet)
    except MalformedMessageError:
        return None


def _crc(packet: bytes) -> bytes:
    return binascii.crc_hqx(packet, 0).to_bytes(CRC_SIZE, "big")

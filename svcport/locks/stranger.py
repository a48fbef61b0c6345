"""What a stranger would send to a port, and why none of it can change what is behind it.

Everything here is a question, or cannot be carried out: requests of our own protocol that would
change a lock have a byte too many, so that even a lock that forgot to ask who is there could only
call them malformed. No upload, no reset, no erase, no setting of any state, no failed AUTH.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cobs import cobs

from protocol.acts import ActStatus
from protocol.frame import BAUD_PATTERN, DELIMITER, Frame, FrameType
from protocol.messages import REQUESTS, encode_request
from protocol.queries import (
    Battery,
    Events,
    Identify,
    Measure,
    SectorDigests,
    SelfTest,
    Slots,
)
from protocol.smp import SmpFraming, SmpGroup, SmpOp, SmpPacket
from protocol.values import Slot

CONSOLE_KEYS: Final[dict[str, bytes]] = {
    "CR LF": b"\r\n",
    "ESC": b"\x1b",
    "DEL": b"\x7f",
    "AT": b"AT\r",
    "Ctrl-C": b"\x03",
}
"""Keys that wake a shell, a boot menu or a modem."""

EMPTY_MAP: Final = b"\xa0"
ECHO_TEXT: Final = b"svcport"
ECHO_MAP: Final = b"\xa1\x61d" + bytes([0x60 + len(ECHO_TEXT)]) + ECHO_TEXT
"""CBOR: {"d": "svcport"}."""

NOT_OURS: Final = (0x13, 0x14, 0x1F, 0x20, 0x40, 0x7F, 0x80, 0xAA, 0xFF)
"""Opcodes that no request has, or none that a stranger may know of."""

_EXCESS: Final = b"\xff"

_TYPES: Final = frozenset(map(int, FrameType))


@dataclass(frozen=True, slots=True)
class SmpQuestion:
    """A question to an SMP server.

    Attributes:
        name: for people.
        packet: the question.
    """

    name: str
    packet: SmpPacket

    def line_bytes(self, framing: SmpFraming) -> bytes:
        """The question on the line."""
        return self.packet.framed(framing)


def smp_questions() -> tuple[SmpQuestion, ...]:
    """Image list in both versions, echo, and the parameters: none of them changes a device."""
    asked = (
        ("image list", SmpOp.READ, SmpGroup.IMAGE, 0, 2, EMPTY_MAP),
        ("image list, SMP 1", SmpOp.READ, SmpGroup.IMAGE, 0, 1, EMPTY_MAP),
        ("echo", SmpOp.WRITE, SmpGroup.OS, 0, 2, ECHO_MAP),
        ("parameters", SmpOp.READ, SmpGroup.OS, 6, 2, EMPTY_MAP),
    )
    return tuple(
        SmpQuestion(
            name, SmpPacket.ask(op, group, command, seq=seq, version=version, payload=payload)
        )
        for seq, (name, op, group, command, version, payload) in enumerate(asked, start=0x51)
    )


def plain_requests() -> Iterator[bytes]:
    """A record for every opcode of the protocol and for some beyond, none that can be obeyed."""
    reads = (
        encode_request(Identify()),
        encode_request(Slots()),
        encode_request(Measure(Slot.A, bytes(16))),
        encode_request(Battery()),
        encode_request(SectorDigests(Slot.A, 0, 1)),
        encode_request(ActStatus()),
        encode_request(Events(0)),
        encode_request(SelfTest()),
    )
    whole = {record[0]: record for record in reads}
    for opcode in dict.fromkeys((*REQUESTS, *NOT_OURS)):
        yield whole.get(opcode, bytes([opcode]) + _EXCESS)


def unsealed_frames() -> bytes:
    """Every such record as a CONTROL frame without any seal."""
    return DELIMITER + b"".join(
        Frame(FrameType.CONTROL, 0, record).build() for record in plain_requests()
    )


def stray_frames() -> bytes:
    """Frames that no host sends to a lock without a session, and frames of types that do not exist.

    NOISE before HELLO, blocks without a transfer, a speed test, what only locks say.
    """
    known = [
        Frame(FrameType.NOISE, 0, bytes(32)),
        Frame(FrameType.BLOCK, 0, bytes(64)),
        Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN),
        *(
            Frame(kind, 0, b"")
            for kind in (
                FrameType.HELLO_REPLY,
                FrameType.NOISE_REPLY,
                FrameType.CONTROL_REPLY,
                FrameType.ACK,
                FrameType.BAUD_ECHO,
                FrameType.NO_SESSION,
            )
        ),
    ]
    unknown = (kind for kind in range(256) if kind not in _TYPES)
    return DELIMITER + b"".join(
        [*(frame.build() for frame in known), *(_frame_of(kind) for kind in unknown)]
    )


def _frame_of(kind: int) -> bytes:
    raw = bytes([kind, 0, 0])
    return bytes(cobs.encode(raw + zlib.crc32(raw).to_bytes(4, "big"))) + DELIMITER

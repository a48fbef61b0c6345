"""The capture file, format 1: what went over ports, byte by byte. Knows nothing of what it means.

A line `svcport capture 1`, then records to the end of the file (docs/capture.md). A record is

    kind u8 | port u16 | time u64 | size u32 | payload | crc32 u32

big-endian; `time` is microseconds of the writer's monotonic clock, the CRC that of IEEE 802.3 over
all before it. Each record stands alone, so what a killed writer leaves behind can be read up to the
one that it was writing.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, Final

from svcport.errors import Reason, RefusedError

FAMILY: Final = b"svcport capture "
MAGIC: Final = FAMILY + b"1\n"

HEAD: Final = struct.Struct(">BHQI")
CRC: Final = struct.Struct(">I")
OVERHEAD: Final = HEAD.size + CRC.size

PAYLOAD_LIMIT: Final = 65_536
"""Most bytes of a payload; longer ones are written in pieces."""

FILE_LIMIT: Final = 256 << 20
"""Bytes at which a writer stops; a longer file is none that svcport wrote."""

_FAMILY_SHOWN: Final = 24


class Kind(IntEnum):
    """What a record tells. Readers pass over kinds that they do not know."""

    ABOUT = 1  # JSON: who wrote this, when; the first record
    PORT = 2  # the name behind the port's number; before anything else of the port
    OPENED = 3
    NOT_OPENED = 4  # why
    SENT = 5  # bytes from the host
    HEARD = 6  # bytes from the device
    BAUD = 7  # u32: the host's side has this speed from now on
    LOST = 8  # why the port can no longer be used
    CLOSED = 9
    CUT = 10  # why u8, and how many bytes u64 are missing here


class Cut(IntEnum):
    """Why bytes are missing."""

    LIMIT = 1  # the file had reached its limit; nothing follows
    RING = 2  # memory keeps the beginning and the end
    DISK = 3  # the disk took no more; nothing follows


CUT: Final = struct.Struct(">BQ")
BAUD: Final = struct.Struct(">I")


class CaptureError(RefusedError):
    """The bytes are no capture, or not one of this format, or damaged.

    Attributes:
        at: offset of the damage, 0 if it is no capture at all.
    """

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(
            Reason.USAGE, message, hint="give a file that --capture or a failure bundle wrote"
        )
        self.at = at


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `time_us` by the writer's monotonic clock, `port` a number of the file's own."""

    kind: int
    port: int
    time_us: int
    payload: bytes

    def build(self) -> bytes:
        """The record as it stands in the file."""
        head = HEAD.pack(self.kind, self.port, self.time_us, len(self.payload))
        crc = zlib.crc32(self.payload, zlib.crc32(head))
        return b"".join((head, self.payload, CRC.pack(crc)))


@dataclass(frozen=True, slots=True)
class About:
    """Who wrote a capture: the version of svcport, the command, the moment in RFC 3339."""

    svcport: str
    command: str
    started: str

    def build(self) -> bytes:
        """As the payload of an ABOUT record."""
        return json.dumps(
            {"svcport": self.svcport, "command": self.command, "started": self.started}
        ).encode()

    @classmethod
    def parse(cls, payload: bytes) -> About:
        """What the payload says; empty where it says nothing that can be read."""
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            found = None
        told = found if isinstance(found, dict) else {}
        return cls(*(_text(told.get(name)) for name in ("svcport", "command", "started")))


def _text(value: object) -> str:
    return value[:100] if isinstance(value, str) else ""


class CaptureReader:
    """The records of a capture, in order, one at a time.

    Attributes:
        torn: after the last record: bytes of one that its writer did not finish.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read the first line; CaptureError unless it is that of a capture of this format."""
        first = stream.read(len(MAGIC))
        if first != MAGIC:
            raise _foreign(first)
        self._stream = stream
        self._at = len(MAGIC)
        self.torn = 0

    def __iter__(self) -> Iterator[Record]:
        """Each record; CaptureError (with `at`) where the file is damaged."""
        while (head := self._stream.read(HEAD.size)) and not self.torn:
            record = self._after(head)
            if record is not None:
                yield record

    def _after(self, head: bytes) -> Record | None:
        """The record that begins so; None if the file ends in it."""
        if len(head) < HEAD.size:
            self.torn = len(head)
            return None
        kind, port, time_us, size = HEAD.unpack(head)
        if size > PAYLOAD_LIMIT:
            raise CaptureError(
                f"the capture is damaged at byte {self._at}: a record of {size} bytes, "
                f"wanted at most {PAYLOAD_LIMIT}",
                self._at,
            )
        rest = self._stream.read(size + CRC.size)
        if len(rest) < size + CRC.size:
            self.torn = len(head) + len(rest)
            return None
        payload = rest[:size]
        if zlib.crc32(payload, zlib.crc32(head)) != CRC.unpack(rest[size:])[0]:
            raise CaptureError(
                f"the capture is damaged at byte {self._at}: a record fails its CRC", self._at
            )
        self._at += OVERHEAD + size
        return Record(kind, port, time_us, payload)


def _foreign(first: bytes) -> CaptureError:
    if first.startswith(FAMILY):
        shown = first[len(FAMILY) :].decode("ascii", "replace").strip()
        return CaptureError(f"a capture of format {shown!r}, this svcport reads format '1'")
    if not first:
        return CaptureError("the file is empty, a capture begins with a line 'svcport capture 1'")
    return CaptureError(f"the file begins with {first[:_FAMILY_SHOWN]!r}, a capture with {MAGIC!r}")

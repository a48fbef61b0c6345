"""One direction of a port, cut into what it holds: frames, SMP packets, text, garbage. No I/O.

Nobody said which of them it would be: a lock may become a boot loader in the middle. So each is
known by what only it can be: a frame and COBS by their CRC, a console's packet by its lead and CRC,
a raw packet by a header with a whole CBOR map behind it. What is left is text or garbage.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cobs import cobs

from protocol.errors import MalformedFrameError
from protocol.frame import DELIMITER, ENCODED_LIMIT, OVERHEAD, Frame
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
from svcport.diagnosis.traffic.smpshown import SmpFound, read_map

PENDING_LIMIT: Final = 16_384
"""Bytes without an end that are waited for; nothing that can be known is longer."""

PACKET_LIMIT: Final = 8192
"""Bytes of the longest SMP packet that is looked for."""

RAW_CREDIT: Final = 4
"""Bytes that are looked at as a raw packet's map for each byte that comes: strangers may send what
looks like the start of one again and again."""

TEXT_SHARE: Final = 0.85
"""Of what is no packet, the share of printable bytes from which on it is text."""

GARBAGE_KEPT: Final = 64

_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n\x1b\b")
_LEADS: Final = (FIRST_LINE, NEXT_LINE)
_RAW_BITS: Final = 0b0000_1011
"""Bits of a packet's first byte that may be set: SMP 1 or 2, and the four ops."""

_MAPS: Final = range(0xA0, 0xC0)


@dataclass(frozen=True, slots=True)
class Text:
    """A line that somebody's console wrote, its end not included."""

    text: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are nothing: damaged, cut, or of another protocol.

    Attributes:
        why: what they were not.
        crc_error: they had the form of a frame, and a wrong CRC.
        first: the first of them.
    """

    why: str
    crc_error: bool
    first: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """Something in the stream: when its first byte came, how many bytes it has, what it is."""

    time_us: int
    size: int
    what: Frame | SmpFound | Text | Garbage


class StreamDecoder:
    """Pieces out of bytes that come in any portions; never raises, holds 64 KiB and a little.

    Its work is in proportion to the bytes, whatever they are.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._marks: deque[tuple[int, int]] = deque()
        self._base = 0  # offset in the stream of the first byte that waits
        self._wanted = 0  # bytes that must wait before there can be anything new
        self._credit = 0
        self._console = _Console()

    def feed(self, data: bytes, time_us: int) -> list[Piece]:
        """What `data`, which came at that time, completes."""
        self._marks.append((self._base + len(self._pending), time_us))
        self._pending += data
        self._credit += RAW_CREDIT * len(data)
        self._drop(0)
        found = list(self._cut(last=False))
        if len(self._pending) > PENDING_LIMIT:
            line = self._pending.rfind(b"\n") + 1
            found += self._leftover(line or len(self._pending))
        return found

    def finish(self) -> list[Piece]:
        """What waits, as if nothing more would come; the next byte begins anew."""
        found = [*self._cut(last=True), *self._leftover(len(self._pending)), *self._console.drop()]
        self._wanted = 0
        return found

    def _cut(self, *, last: bool) -> Iterator[Piece]:
        """Everything that ends with a zero byte, and raw packets, which have some in them."""
        if not last and len(self._pending) < self._wanted:
            return
        nothing = 0  # bytes at the start that are no part of anything
        while (end := self._pending.find(DELIMITER, nothing)) >= 0:
            known = _between_zeros(bytes(self._pending[nothing:end]))
            start, stop = nothing, end + 1
            if known is None:
                found = self._raw(nothing, end, last=last)
                if found is None:
                    break
                start, known = found
                stop = start + HEADER_SIZE + known.packet.header.length if known else stop
            if known is not None:
                yield from self._leftover(start)
                yield Piece(self._time(), stop - start, known)
                self._drop(stop - start)
            nothing = stop if known is None else 0
            if nothing > PENDING_LIMIT:
                yield from self._leftover(nothing)
                nothing = 0
        self._wanted = max(0, self._wanted - nothing)
        yield from self._leftover(nothing)

    def _raw(self, first: int, zero: int, *, last: bool) -> tuple[int, SmpFound | None] | None:
        """Where a raw packet begins around its first zero byte, and it; None if bytes must come.

        A header's second byte is zero, and its first is so in a reading question of SMP 1.
        """
        for start in (zero - 1, zero):
            size = self._size_at(start) if start >= first else 0
            end = start + size
            if not size or (len(self._pending) < end and last):
                continue
            if len(self._pending) < end:
                self._wanted = end
                return None
            self._credit -= size
            data = bytes(self._pending[start:end])
            if self._credit >= 0 and read_map(data[HEADER_SIZE:]) is not None:
                header = SmpHeader.parse(data[:HEADER_SIZE])
                return start, SmpFound(SmpFraming.RAW, SmpPacket(header, data[HEADER_SIZE:]))
        return zero, None

    def _size_at(self, start: int) -> int:
        """Bytes of the packet that may begin here, by as much of its header as is there; 0: none.

        While the header is not there, it is those that must come to know more.
        """
        head = bytes(self._pending[start : start + HEADER_SIZE + 1])
        if head[0] & ~_RAW_BITS or head[1:2] not in (b"", DELIMITER):
            return 0
        length = int.from_bytes(head[2:4], "big")
        if len(head) >= 4 and not 0 < length <= PACKET_LIMIT:
            return 0
        if len(head) <= HEADER_SIZE:
            return HEADER_SIZE + 1
        return HEADER_SIZE + length if head[HEADER_SIZE] in _MAPS else 0

    def _leftover(self, size: int) -> list[Piece]:
        """The first `size` bytes, which are no frame and no packet, if not delimiters alone."""
        data = bytes(self._pending[:size])
        found: list[Piece] = []
        garbage = bytearray()
        garbage_at = 0
        is_text = _is_text(data)
        for line in data.splitlines(keepends=True) if is_text else _lines(data):
            leads = any(lead in line for lead in _LEADS)
            if not leads and not is_text:
                garbage_at = garbage_at if garbage else self._time()
                garbage += line
            else:
                found += _garbage_pieces(garbage_at, bytes(garbage))
                garbage.clear()
                found += self._line(line) if leads else _text(self._time(), line)
            self._drop(len(line))
        return found + _garbage_pieces(garbage_at, bytes(garbage))

    def _line(self, line: bytes) -> Iterator[Piece]:
        """A line of a console's packet, and what stands before its lead."""
        lead = max(line.rfind(FIRST_LINE), line.rfind(NEXT_LINE))
        yield from _text(self._time(), line[:lead])
        yield from self._console.line(line[lead:], self._time())

    def _time(self) -> int:
        """When the first byte that waits came."""
        return self._marks[0][1]

    def _drop(self, size: int) -> None:
        """Forget the first `size` bytes, and when they came."""
        del self._pending[:size]
        self._base += size
        while len(self._marks) > 1 and self._marks[1][0] <= self._base:
            self._marks.popleft()


class _Console:
    """A console's packet in the making, line by line."""

    def __init__(self) -> None:
        self._text = b""
        self._size = self._began_us = 0

    def line(self, line: bytes, time_us: int) -> list[Piece]:
        found: list[Piece] = []
        if line.startswith(FIRST_LINE):
            found += self.drop()
            self._began_us = time_us
        elif not self._size:
            return [
                Piece(
                    time_us, len(line), Garbage("a line of a packet without its first", False, b"")
                )
            ]
        self._text += line[len(FIRST_LINE) :].strip(b"\r\n")
        self._size += len(line)
        packet = console_packet(self._text)
        if packet is not None:
            found.append(Piece(self._began_us, self._size, SmpFound(SmpFraming.CONSOLE, packet)))
            self._text, self._size = b"", 0
        elif self._size > 2 * PACKET_LIMIT:
            found += self.drop()
        return found

    def drop(self) -> list[Piece]:
        """What was begun and did not become a packet."""
        if not self._size:
            return []
        lost = Piece(
            self._began_us, self._size, Garbage("a console packet that is not whole", True, b"")
        )
        self._text, self._size = b"", 0
        return [lost]


def _between_zeros(encoded: bytes) -> Frame | SmpFound | Garbage | None:
    """What a piece between two zero bytes is; garbage if it was meant to be a frame, else None."""
    if len(encoded) < OVERHEAD or len(encoded) > 2 * PACKET_LIMIT:
        return None
    if len(encoded) <= ENCODED_LIMIT:
        try:
            return Frame.parse(encoded)
        except MalformedFrameError:
            pass
    packet = cobs_packet(encoded)
    if packet is not None:
        return SmpFound(SmpFraming.COBS, packet)
    why, crc_error = _what_is_wrong(encoded)
    return Garbage(why, crc_error, encoded[:GARBAGE_KEPT]) if crc_error else None


def _is_text(ended: bytes) -> bool:
    data = ended.replace(DELIMITER, b"")
    try:
        foreign = sum(char > "\x7f" for char in data.decode())
        size = len(data.decode())
    except UnicodeDecodeError:
        foreign, size = 0, len(data)
    return foreign + sum(map(_PRINTABLE.__contains__, data)) >= TEXT_SHARE * size


def _lines(data: bytes) -> list[bytes]:
    """As `splitlines`, at line feeds alone, and only where a console's packet may be in them."""
    if not any(lead in data for lead in _LEADS):
        return [data]
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + [
        line for line in (data.rpartition(b"\n")[2],) if line
    ]


def _text(time_us: int, line: bytes) -> list[Piece]:
    text = line.decode("utf-8", "replace").rstrip("\r\n\0")
    return (
        [Piece(time_us, len(line), Text(text.replace("\0", "")))] if line.strip(DELIMITER) else []
    )


def _garbage_pieces(time_us: int, data: bytes) -> list[Piece]:
    inside = data.strip(DELIMITER)
    if not inside:
        return []
    why, crc_error = _what_is_wrong(inside)
    return [Piece(time_us, len(data), Garbage(why, crc_error, inside[:GARBAGE_KEPT]))]


def _what_is_wrong(data: bytes) -> tuple[str, bool]:
    if len(data) > ENCODED_LIMIT:
        return "longer than any frame", False
    try:
        raw = cobs.decode(data)
    except cobs.DecodeError:
        return "no COBS", False
    if len(raw) < OVERHEAD:
        return "too short for a frame", False
    if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        return "wrong CRC", True
    return "no known frame", False

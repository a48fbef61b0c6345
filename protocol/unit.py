"""Transfer units: what the upload stream carries. One unit is one 4 KiB sector.

A unit is its header and `length` bytes of payload. How the payload stands for the sector's content
is the kind's affair (protocol/README, "Units"); 0xFF fills it up to the sector's end. `check` is
the first 8 bytes of the SHA-256 of the whole sector so filled. Units come in strictly ascending
order of sector and exactly for the sectors that BEGIN named.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from construct import Bytes, ExprValidator, Int16ub

from protocol.record import Record, closed, wire
from protocol.values import SECTOR_SIZE

CHECK_SIZE: Final = 8
"""Bytes of SHA-256 by which a sector is named and checked."""


class UnitKind(IntEnum):
    """How a payload stands for its sector. From DICTIONARY on it begins with a span, u16.

    RAW: as it is. DEFLATE: raw DEFLATE (RFC 1951) without a dictionary. DICTIONARY: with one.
    CALLS: the same, of the call form. COPY: what the base holds there. DIFFERENCE, which begins
    with an offset u32 instead: raw DEFLATE of what is added to the base from there on.
    """

    RAW = 0
    DEFLATE = 1
    DICTIONARY = 2
    CALLS = 3
    COPY = 4
    DIFFERENCE = 5


@dataclass(frozen=True, slots=True)
class UnitHeader(Record):
    """Head of one unit; `length` is 0..4096 bytes."""

    sector: int
    kind: UnitKind
    length: int
    check: bytes

    WIRE = wire(
        sector=Int16ub,
        kind=closed(UnitKind),
        length=ExprValidator(Int16ub, lambda length, _context: length <= SECTOR_SIZE),
        check=Bytes(CHECK_SIZE),
    )


UNIT_HEADER_SIZE: Final = 13
"""Bytes of a UnitHeader."""

DICTIONARY_SIZE: Final = 32_768
"""Most bytes of a dictionary: the new image's before the sector, then a span of the base."""

SPAN_SIZE: Final = 8192
"""Bytes of the base in a dictionary; fewer where the base ends."""

SPAN_STEP: Final = 256
"""Span n begins at the base's byte 256 n."""

SPAN_NUMBER_SIZE: Final = 2
"""Bytes of a span's number at the head of a payload."""

OFFSET_SIZE: Final = 4
"""Bytes of an offset at the head of a payload."""

NO_SPAN: Final = 0xFFFF
"""In place of a span's number: the dictionary has no part of the base."""

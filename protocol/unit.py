"""Transfer units: what the upload stream carries. One unit is one 4 KiB sector.

A unit is its header and `length` bytes of payload. The sector's content is the payload (raw), or
what it inflates to (raw DEFLATE, RFC 1951), and 0xFF from there to the sector's end. `check` is the
first 8 bytes of the SHA-256 of the whole sector so filled. Units come in strictly ascending order
of sector and exactly for the sectors that BEGIN named.
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
    """How a payload stands for its sector. Kinds with a dictionary take further numbers."""

    RAW = 0
    DEFLATE = 1


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

"""An image cut into transfer units, one for each sector to be written. The encoder's half only.

Knows nothing of the wire or of flash. A lock decodes with its own code, written from the
specification.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SECTOR_SIZE: Final = 4096
CHECK_SIZE: Final = 8
"""Bytes of SHA-256 over a sector: against accidents. Malice is met by the image's signature."""

ERASED: Final = b"\xff"
_DEFLATE_LEVEL: Final = 9
_RAW_DEFLATE: Final = -15
"""No zlib head or checksum, a window of 32 KiB: the unit has its own check."""


class UnitKind(IntEnum):
    """How a unit's payload stands for its sector. Kinds with a dictionary will be 2 and up."""

    RAW = 0
    DEFLATE = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """One sector of an image, as it is sent.

    Attributes:
        sector: index from the start of the slot, in sectors of 4096 bytes.
        kind: how `payload` is to be read.
        payload: at most 4096 bytes. It stands for the image's bytes only: the last sector of an
            image is shorter, and what is left of it stays erased (0xFF).
        check: first 8 bytes of SHA-256 over the whole sector, its erased rest included.
    """

    sector: int
    kind: UnitKind
    payload: bytes
    check: bytes


def sector_count(size: int) -> int:
    """Sectors that `size` bytes touch, counted from the start of a slot."""
    return -(-size // SECTOR_SIZE)


def sector_digests(image: bytes) -> tuple[bytes, ...]:
    """First 8 bytes of SHA-256 of each sector of the image, the last filled up with 0xFF."""
    return tuple(_check(_content(image, sector)) for sector in range(sector_count(len(image))))


def encode_units(image: bytes, sectors: Iterable[int]) -> Iterator[Unit]:
    """Give the units of the named sectors, each made when it is asked for, in the smallest kind.

    Args:
        image: `VerifiedImage.data`.
        sectors: strictly ascending, each below `sector_count(len(image))`.

    Raises:
        ValueError: when the iterator reaches a sector that is out of order or out of the image.
    """
    count = sector_count(len(image))
    previous = -1
    for sector in sectors:
        if not previous < sector < count:
            raise ValueError(f"sector is {sector}, must be {previous + 1} to {count - 1}")
        previous = sector
        yield _encode(sector, _content(image, sector))


def _encode(sector: int, content: bytes) -> Unit:
    compressor = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
    deflated = compressor.compress(content) + compressor.flush()
    # At equal size raw wins: the lock need not inflate it.
    if len(deflated) < len(content):
        return Unit(sector, UnitKind.DEFLATE, deflated, _check(content))
    return Unit(sector, UnitKind.RAW, content, _check(content))


def _content(image: bytes, sector: int) -> bytes:
    return image[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE]


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content.ljust(SECTOR_SIZE, ERASED)).digest()[:CHECK_SIZE]

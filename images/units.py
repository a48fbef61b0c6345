"""An image cut into transfer units, one for each sector to be written. The encoder's half only.

A sector goes in the smallest form it has: as it is, deflated, deflated against what the lock holds
(the new image before the sector, and a span of its *base*, the image in the slot that is not
written), as its difference from the base, or as a copy out of it. Knows nothing of the wire or of
flash; protocol/README, "Units", is the definition, and a lock decodes with its own code.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from images.calls import call_form

SECTOR_SIZE: Final = 4096
CHECK_SIZE: Final = 8
"""Bytes of SHA-256 over a sector: against accidents. Malice is met by the image's signature."""

DICTIONARY_SIZE: Final = 32_768
"""Most bytes of a dictionary: how far DEFLATE can reach back."""

SPAN_SIZE: Final = 8192
"""Bytes of the base that a dictionary ends with."""

SPAN_STEP: Final = 256
"""A span of the base begins at a multiple of this."""

NO_SPAN: Final = 0xFFFF
"""In place of a span's number: the dictionary is the new image's bytes alone."""

ERASED: Final = b"\xff"
_DEFLATE_LEVEL: Final = 9
_MEMORY_LEVEL: Final = 9
_RAW_DEFLATE: Final = -15
"""No zlib head or checksum, a window of 32 KiB: the unit has its own check."""

_GOOD: Final = 192
"""Bytes of a payload at which no better one is looked for: the search costs more."""

_CODE: Final = 1536
"""Bytes of a payload from which on the call form is tried."""

_GRAM: Final = 8
_GRAM_STEP: Final = 4
"""The base is known by its 8 bytes at every fourth address."""

_PROBE_STEP: Final = 6
"""Bytes from one look into it to the next: together both steps meet every even distance."""


class UnitKind(IntEnum):
    """How a unit's payload stands for its sector."""

    RAW = 0
    DEFLATE = 1
    DICTIONARY = 2
    CALLS = 3
    COPY = 4
    DIFFERENCE = 5


@dataclass(frozen=True, slots=True)
class Unit:
    """One sector of an image, as it is sent.

    Attributes:
        sector: index from the start of the slot, in sectors of 4096 bytes.
        kind: how `payload` is to be read.
        payload: at most 4096 bytes; from kind DICTIONARY on it begins with the number of a span,
            u16, but with an offset, u32, in DIFFERENCE; both big-endian. It stands for the image's
            bytes only: the last sector of an image is shorter, and what is left of it stays
            erased (0xFF).
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


def encode_units(image: bytes, sectors: Iterable[int], base: bytes = b"") -> Iterator[Unit]:
    """Give the units of the named sectors, each made when it is asked for, in the smallest kind.

    Args:
        image: `VerifiedImage.data`.
        sectors: strictly ascending, each below `sector_count(len(image))`.
        base: the image in the slot that is not written; empty: none.

    Raises:
        ValueError: when the iterator reaches a sector that is out of order or out of the image.
    """
    encoder = UnitEncoder(image, base)
    previous = -1
    for sector in sectors:
        if sector <= previous:
            raise ValueError(f"sector is {sector}, must be {previous + 1} or more")
        previous = sector
        yield encoder.unit(sector)


class UnitEncoder:
    """Makes the units of one image against one base; may be shared by threads."""

    def __init__(self, image: bytes, base: bytes = b"") -> None:
        """Take the bytes.

        Args:
            image: `VerifiedImage.data`.
            base: the image in the slot that is not written; empty: none.
        """
        self._image = image
        self._base = base

    def unit(self, sector: int) -> Unit:
        """The smallest unit of a sector; ValueError if it is not one of the image."""
        content = self._sector(sector)
        start = sector * SECTOR_SIZE
        if self._base[start : start + SECTOR_SIZE] == content:
            return _unit(sector, UnitKind.COPY, _number(start // SPAN_STEP), content)
        if not sector and not self._base:
            kind, payload = UnitKind.DEFLATE, _deflated(content, b"")
        else:
            kind, payload = self._against_dictionary(sector, content)
        # At equal size raw wins: the lock need not inflate it.
        if len(payload) >= len(content):
            return self.raw(sector)
        return _unit(sector, kind, payload, content)

    def raw(self, sector: int) -> Unit:
        """The unit of a sector that depends on nothing; ValueError if there is no such sector."""
        content = self._sector(sector)
        return _unit(sector, UnitKind.RAW, content, content)

    def _sector(self, sector: int) -> bytes:
        count = sector_count(len(self._image))
        if not 0 <= sector < count:
            raise ValueError(f"sector is {sector}, must be 0 to {count - 1}")
        return _content(self._image, sector)

    def _against_dictionary(self, sector: int, content: bytes) -> tuple[UnitKind, bytes]:
        span = self._near(sector * SECTOR_SIZE)
        best = self._deflated(UnitKind.DICTIONARY, sector, span)
        if span != NO_SPAN and len(best[1]) > _GOOD:
            place = self._like(content)
            moved = span if place is None else self._near(place)
            if abs(moved - span) * SPAN_STEP > SPAN_SIZE // 8:
                span = moved
                best = min(best, self._deflated(UnitKind.DICTIONARY, sector, span), key=_size)
            if place is not None:
                best = min(best, self._difference(content, place), key=_size)
        if len(best[1]) > _CODE:
            best = min(best, self._deflated(UnitKind.CALLS, sector, span), key=_size)
            if span != NO_SPAN:
                best = min(best, self._deflated(UnitKind.CALLS, sector, NO_SPAN), key=_size)
        return best

    def _deflated(self, kind: UnitKind, sector: int, span: int) -> tuple[UnitKind, bytes]:
        calls = kind is UnitKind.CALLS
        image = self._image_calls if calls else self._image
        base = self._base_calls if calls else self._base
        start = sector * SECTOR_SIZE
        if span == NO_SPAN:
            dictionary = image[max(0, start - DICTIONARY_SIZE) : start]
        else:
            history = image[max(0, start - DICTIONARY_SIZE + SPAN_SIZE) : start]
            dictionary = history + base[span * SPAN_STEP :][:SPAN_SIZE]
        return kind, _number(span) + _deflated(_content(image, sector), dictionary)

    def _near(self, address: int) -> int:
        """The span that has `address` in its middle, of what the base has."""
        if not self._base:
            return NO_SPAN
        last = max(0, len(self._base) - SPAN_SIZE)
        start = min(max(0, address - (SPAN_SIZE - SECTOR_SIZE) // 2), last)
        return start // SPAN_STEP

    def _like(self, content: bytes) -> int | None:
        """Where in the base most of a sector's parts are, as the offset of the whole."""
        index = self._index
        places: Counter[int] = Counter()
        for at in range(0, len(content) - _GRAM, _PROBE_STEP):
            found = index.get(content[at : at + _GRAM], -1)
            if found >= at:
                places[found - at] += 1
        return places.most_common(1)[0][0] if places else None

    def _difference(self, content: bytes, place: int) -> tuple[UnitKind, bytes]:
        like = self._base[place : place + len(content)]
        if len(like) < len(content):
            return UnitKind.RAW, content
        stream = _deflated(_minus(content, like), b"")
        return UnitKind.DIFFERENCE, place.to_bytes(4, "big") + stream

    @cached_property
    def _index(self) -> dict[bytes, int]:
        base = self._base
        return {base[at : at + _GRAM]: at for at in range(0, len(base) - _GRAM, _GRAM_STEP)}

    @cached_property
    def _image_calls(self) -> bytes:
        return call_form(self._image)

    @cached_property
    def _base_calls(self) -> bytes:
        return call_form(self._base)


def _unit(sector: int, kind: UnitKind, payload: bytes, content: bytes) -> Unit:
    return Unit(sector, kind, payload, _check(content))


def _deflated(content: bytes, dictionary: bytes) -> bytes:
    compressor = zlib.compressobj(
        _DEFLATE_LEVEL, zlib.DEFLATED, _RAW_DEFLATE, _MEMORY_LEVEL, zdict=dictionary
    )
    return compressor.compress(content) + compressor.flush()


def _minus(content: bytes, like: bytes) -> bytes:
    """Byte by byte, modulo 256: all bytes at once, in two long numbers that borrow from nobody."""
    size = len(content)
    high = int.from_bytes(b"\x80" * size, "big")
    one, other = int.from_bytes(content, "big"), int.from_bytes(like, "big")
    rest = (one | high) - (other & ~high)
    return (rest ^ (one ^ ~other) & high).to_bytes(size, "big")


def _number(span: int) -> bytes:
    return span.to_bytes(2, "big")


def _size(candidate: tuple[UnitKind, bytes]) -> int:
    return len(candidate[1])


def _content(image: bytes, sector: int) -> bytes:
    return image[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE]


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content.ljust(SECTOR_SIZE, ERASED)).digest()[:CHECK_SIZE]

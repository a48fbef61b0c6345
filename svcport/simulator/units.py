"""Sectors out of a stream of units: the lock's half of protocol/README, "Units".

RAM beside the receive window: the unit under way, 4109 bytes at most (a board leaves it in the
window until it is whole), and the inflater's. Dictionaries are read where they lie in flash.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.bulk import TransferState
from protocol.errors import MalformedMessageError
from protocol.unit import (
    DICTIONARY_SIZE,
    NO_SPAN,
    OFFSET_SIZE,
    SPAN_NUMBER_SIZE,
    SPAN_SIZE,
    SPAN_STEP,
    UNIT_HEADER_SIZE,
    UnitHeader,
    UnitKind,
)
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.calls import in_call_form, out_of_call_form
from svcport.simulator.flash import ERASED
from svcport.simulator.inflate import InflateError, Inflater
from svcport.simulator.slots import check

_RAW_DEFLATE: Final = -15


class UnitError(Exception):
    """A unit ends the transfer.

    Attributes:
        state: what the acknowledgements say from now on.
        sector: the sector that was due.
    """

    def __init__(self, state: TransferState, sector: int) -> None:
        super().__init__(f"{state.name.lower()} at sector {sector}")
        self.state = state
        self.sector = sector


class Mapped(Protocol):
    """Flash as the CPU sees it: bytes of a slot, by their offset in it."""

    def mapped(self, slot: Slot, offset: int, size: int) -> bytes:
        """`size` bytes of `slot` from `offset` on."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of one slot's bytes.

    Attributes:
        limit: where what the slot holds ends; nothing behind it is looked at.
    """

    slot: Slot
    start: int
    size: int
    limit: int


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What a unit's distances can reach, read in place."""

    flash: Mapped
    pieces: tuple[Piece, ...]
    calls: bool

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.size for piece in self.pieces)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, in the form that the unit's kind wants."""
        found = bytearray()
        for piece in self.pieces:
            start = piece.start + max(0, offset)
            end = min(piece.start + piece.size, piece.start + offset + size)
            if start < end:
                found += self._piece(piece, start, end)
            offset -= piece.size
        return bytes(found)

    def _piece(self, piece: Piece, start: int, end: int) -> bytes:
        if not self.calls:
            return self.flash.mapped(piece.slot, start, end - start)
        first = start - start % SECTOR_SIZE
        form = bytearray()
        for address in range(first, end, SECTOR_SIZE):
            size = min(SECTOR_SIZE, piece.limit - address)
            form += in_call_form(self.flash.mapped(piece.slot, address, size), address)
        return bytes(form[start - first : end - first])


@dataclass(frozen=True, slots=True)
class Held:
    """What the lock holds that units may refer to.

    Attributes:
        flash: where it lies.
        slot: the slot being written; the other one holds the base.
        base_size: bytes of the base image, 0 without one.
    """

    flash: Mapped
    slot: Slot
    base_size: int

    def before(self, sector: int, span: Piece | None) -> Piece:
        """The new image before a sector, as much of it as a dictionary has beside its span."""
        end = sector * SECTOR_SIZE
        start = max(0, end - DICTIONARY_SIZE + (SPAN_SIZE if span else 0))
        return Piece(self.slot, start, end - start, end)

    def span(self, number: int) -> Piece | None:
        """The base's span of that number; None if the base has none there."""
        start, end = number * SPAN_STEP, self.base_size
        if start >= end:
            return None
        return Piece(self.slot.other, start, min(SPAN_SIZE, end - start), end)


class UnitDecoder:
    """Units out of a stream that is cut anywhere.

    Args:
        sectors: those that must come, strictly ascending.
        held: what dictionaries are taken from; None: a unit with one is malformed.
        small: inflate as a microcontroller does, and not with zlib, which gives the same sooner.
    """

    def __init__(
        self, sectors: Sequence[int], held: Held | None = None, *, small: bool = False
    ) -> None:
        self._due = list(reversed(sectors))
        self._held = held
        self._inflater = Inflater(SECTOR_SIZE) if small else None
        self._buffer = bytearray()
        self._header: UnitHeader | None = None

    @property
    def due(self) -> int | None:
        """The sector that must come next; None after the last."""
        return self._due[-1] if self._due else None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The sectors that `data` completes, checked; bytes behind the last are UnitError.

        A sector is to be in flash before the next one is asked for: it may be in its dictionary.
        """
        self._buffer += data
        while self._due:
            sector = self._due[-1]
            content = self._next(sector)
            if content is None:
                return
            self._due.pop()
            yield sector, content
        if self._buffer:
            raise UnitError(TransferState.UNIT_ORDER, 0)

    def _next(self, sector: int) -> bytes | None:
        if self._header is None:
            if len(self._buffer) < UNIT_HEADER_SIZE:
                return None
            self._header = _header(bytes(self._buffer[:UNIT_HEADER_SIZE]), sector)
        header, end = self._header, UNIT_HEADER_SIZE + self._header.length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[UNIT_HEADER_SIZE:end])
        del self._buffer[:end]
        self._header = None
        content = self._content(header.kind, sector, payload).ljust(SECTOR_SIZE, ERASED)
        if check(content) != header.check:
            raise UnitError(TransferState.UNIT_DIGEST, sector)
        return content

    def _content(self, kind: UnitKind, sector: int, payload: bytes) -> bytes:
        if kind is UnitKind.RAW:
            return payload
        if kind is UnitKind.DEFLATE:
            return self._inflate(payload, sector, None)
        held = self._held
        if held is None or len(payload) < SPAN_NUMBER_SIZE:
            raise UnitError(TransferState.UNIT_MALFORMED, sector)
        if kind is UnitKind.DIFFERENCE:
            return self._sum(held, sector, payload)
        number = int.from_bytes(payload[:SPAN_NUMBER_SIZE], "big")
        span, rest = held.span(number), payload[SPAN_NUMBER_SIZE:]
        if span is None and (number != NO_SPAN or kind is UnitKind.COPY):
            raise UnitError(TransferState.UNIT_MALFORMED, sector)
        if kind is UnitKind.COPY and span is not None:
            if rest:
                raise UnitError(TransferState.UNIT_MALFORMED, sector)
            return held.flash.mapped(span.slot, span.start, min(span.size, SECTOR_SIZE))
        pieces = (held.before(sector, span), span) if span else (held.before(sector, span),)
        calls = kind is UnitKind.CALLS
        content = self._inflate(rest, sector, Dictionary(held.flash, pieces, calls))
        return out_of_call_form(content, sector * SECTOR_SIZE) if calls else content

    def _sum(self, held: Held, sector: int, payload: bytes) -> bytes:
        """The base's bytes from an offset on, with what the payload inflates to added to each."""
        offset = int.from_bytes(payload[:OFFSET_SIZE], "big")
        rest = self._inflate(payload[OFFSET_SIZE:], sector, None)
        if offset + len(rest) > held.base_size:
            raise UnitError(TransferState.UNIT_MALFORMED, sector)
        like = held.flash.mapped(held.slot.other, offset, len(rest))
        return _added(rest, like)

    def _inflate(self, payload: bytes, sector: int, dictionary: Dictionary | None) -> bytes:
        """At most one sector out of one whole DEFLATE stream."""
        size, read = (dictionary.size, dictionary.read) if dictionary else (0, _nothing)
        try:
            if self._inflater is not None:
                return self._inflater.inflate(payload, size, read)
            return _inflate_with_zlib(payload, read(0, size))
        except (InflateError, zlib.error) as error:
            raise UnitError(TransferState.UNIT_MALFORMED, sector) from error


def _added(one: bytes, other: bytes) -> bytes:
    """Byte by byte, modulo 256; a board does four at a time in the same way."""
    low = int.from_bytes(b"\x7f" * len(one), "big")
    first, second = int.from_bytes(one, "big"), int.from_bytes(other, "big")
    total = (first & low) + (second & low)
    return (total ^ (first ^ second) & ~low).to_bytes(len(one), "big")


def _nothing(_offset: int, _size: int) -> bytes:
    return b""


def _header(data: bytes, sector: int) -> UnitHeader:
    try:
        header = UnitHeader.parse(data)
    except MalformedMessageError as error:
        raise UnitError(TransferState.UNIT_MALFORMED, sector) from error
    if header.sector != sector:
        raise UnitError(TransferState.UNIT_ORDER, sector)
    return header


def _inflate_with_zlib(payload: bytes, dictionary: bytes) -> bytes:
    inflater = zlib.decompressobj(_RAW_DEFLATE, zdict=dictionary)
    content = inflater.decompress(payload, SECTOR_SIZE + 1)
    if not inflater.eof or inflater.unused_data or len(content) > SECTOR_SIZE:
        raise zlib.error("not one stream of at most a sector")
    return content

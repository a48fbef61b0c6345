"""A log of records over a ring of flash pages that survives a power cut at any operation.

A record is `magic u16 | length u16 | seq u32 | payload | crc u32`, padded to whole words before the
CRC, written by one call inside one page. The CRC is its last word and never 0xFFFFFFFF (its top bit
is zero), so a record counts only when its last word is written. Records follow each other without
gaps; when one does not fit, the next page of the ring is erased first. The newest record is always
in a page that is not being erased. Big-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from svcport.simulator.flash import ERASED, PAGE_SIZE, WORD_SIZE, NorFlash

MAGIC: Final = 0x4C47
_HEAD: Final = struct.Struct(">HHI")
_CRC_SIZE: Final = 4
_BLANK_WORD: Final = ERASED * WORD_SIZE


class LogRecord(NamedTuple):
    """A payload and its number, which rises by one from record to record."""

    seq: int
    payload: bytes


class PageLog:
    """The log in `pages` (at least 2) pages from `address` on; mounting it reads all of them."""

    def __init__(self, flash: NorFlash, address: int, pages: int) -> None:
        self._flash = flash
        self._address = address
        self._pages = pages
        newest = [max((r.seq for r in self._scan(page)[0]), default=0) for page in range(pages)]
        self.last_seq = max(newest)
        self._page = newest.index(self.last_seq)
        self._offset = self._scan(self._page)[1]

    def records(self) -> list[LogRecord]:
        """Every whole record, oldest first."""
        found = [record for page in range(self._pages) for record in self._scan(page)[0]]
        return sorted(found)

    def last(self) -> LogRecord | None:
        """The newest whole record."""
        return max(self._scan(self._page)[0], default=None)

    def append(self, payload: bytes) -> int:
        """Write a record and give its number; a power cut leaves it whole or not there."""
        record = _build(self.last_seq + 1, payload)
        if self._offset + len(record) > PAGE_SIZE:
            page = (self._page + 1) % self._pages
            if not self._flash.is_blank(self._at(page)):
                self._flash.erase(self._at(page))
            self._page, self._offset = page, 0
        self._flash.write(self._at(self._page) + self._offset, record)
        self._offset += len(record)
        self.last_seq += 1
        return self.last_seq

    def room(self, payload_size: int, keep: Callable[[bytes], bool]) -> int:
        """Records of that size that fit before a page with a payload to `keep` is erased."""
        size = _size(payload_size)
        room = (PAGE_SIZE - self._offset) // size
        for step in range(1, self._pages):
            records, _ = self._scan((self._page + step) % self._pages)
            if any(keep(record.payload) for record in records):
                break
            room += PAGE_SIZE // size
        return room

    def _at(self, page: int) -> int:
        return self._address + page * PAGE_SIZE

    def _scan(self, page: int) -> tuple[list[LogRecord], int]:
        """The page's whole records, and where the next may be written (the end: nowhere)."""
        data = self._flash.read(self._at(page), PAGE_SIZE)
        records: list[LogRecord] = []
        offset = 0
        while offset < PAGE_SIZE and data[offset : offset + WORD_SIZE] != _BLANK_WORD:
            size = _extent(data, offset)
            record = _parse(data[offset : offset + size])
            if record is not None:
                records.append(record)
            offset += size
        # An erase that a power cut stopped leaves old bytes behind blank ones: nothing fits here.
        if data[offset:].strip(ERASED):
            return records, PAGE_SIZE
        return records, offset


def _size(payload_size: int) -> int:
    return _HEAD.size + -(-payload_size // WORD_SIZE) * WORD_SIZE + _CRC_SIZE


def _build(seq: int, payload: bytes) -> bytes:
    record = _HEAD.pack(MAGIC, len(payload), seq) + payload
    record = record.ljust(_size(len(payload)) - _CRC_SIZE, ERASED)
    return record + _crc(record)


def _crc(data: bytes) -> bytes:
    return (zlib.crc32(data) & 0x7FFFFFFF).to_bytes(_CRC_SIZE, "big")


def _extent(data: bytes, offset: int) -> int:
    """Bytes that the record at `offset` takes, torn or not; a torn first word takes one word."""
    magic, length = struct.unpack_from(">HH", data, offset)
    if magic != MAGIC or offset + _size(length) > PAGE_SIZE:
        return WORD_SIZE
    return _size(length)


def _parse(record: bytes) -> LogRecord | None:
    if len(record) < _HEAD.size + _CRC_SIZE or record[-_CRC_SIZE:] != _crc(record[:-_CRC_SIZE]):
        return None
    _, length, seq = _HEAD.unpack_from(record)
    return LogRecord(seq, record[_HEAD.size : _HEAD.size + length])

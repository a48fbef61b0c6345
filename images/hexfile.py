"""Intel HEX as linkers and imgtool write it, read into contiguous bytes. Knows nothing of images.

Record: `:` count, address (big-endian), type, data, checksum, all in hex (Intel Hexadecimal Object
    File Format
Specification, revision A). Read strictly: a file that says anything twice, or ends early, is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, assert_never

from images.errors import MalformedImageError

MAX_FILL: Final = 0x100000
"""Bytes of gap filled in a whole file; more is two programs, or a file made to exhaust memory."""

ERASED: Final = b"\xff"
_MAX_OFFSET: Final = 0x10000
_FRAME_SIZE: Final = 5
_LINE: Final = re.compile(rb":([0-9A-Fa-f]{2}){5,260}")


class _Type(IntEnum):
    DATA = 0
    END = 1
    SEGMENT = 2
    START_SEGMENT = 3
    LINEAR = 4
    START_LINEAR = 5


_DATA_SIZES: Final = {
    _Type.END: 0,
    _Type.SEGMENT: 2,
    _Type.START_SEGMENT: 4,
    _Type.LINEAR: 2,
    _Type.START_LINEAR: 4,
}


@dataclass(frozen=True, slots=True)
class HexFile:
    """What a file holds: bytes from `address` on, with 0xFF wherever the file says nothing."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    offset: int
    type: _Type
    data: bytes


def is_hex(data: bytes) -> bool:
    """Whether these bytes are meant as Intel HEX. No image or vector table starts with a colon."""
    return data.startswith(b":")


def firmware_bytes(data: bytes) -> bytes:
    """Give the bytes that a file stands for: the contents of Intel HEX, or the file itself.

    Raises:
        MalformedImageError: Intel HEX that `parse_hex` refuses.
    """
    return parse_hex(data).data if is_hex(data) else data


def parse_hex(text: bytes) -> HexFile:
    """Read a whole file.

    Raises:
        MalformedImageError: a record that is no record, of an unknown type or a wrong checksum; no
            end record or something behind it; no data; data over data; gaps of more than `MAX_FILL`
            bytes together.
    """
    chunks = sorted(_chunks(text), key=lambda chunk: chunk[0])
    if not chunks:
        raise MalformedImageError("hex file holds no data")
    start = chunks[0][0]
    parts: list[bytes] = []
    end, filled = start, 0
    for address, data in chunks:
        gap = address - end
        filled += gap
        if gap < 0:
            raise MalformedImageError(f"hex file has two values for address {address:#010x}")
        if filled > MAX_FILL:
            raise MalformedImageError(
                f"hex file has {filled} bytes of gaps, at most {MAX_FILL} may be"
            )
        parts += (ERASED * gap, data)
        end = address + len(data)
    return HexFile(start, b"".join(parts))


def _chunks(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Give address and data of each data record, in file order."""
    base = 0
    records = list(_records(text))
    _check_end(records)
    for record in records:
        match record.type:
            case _Type.DATA:
                yield _placed(record, base), record.data
            case _Type.SEGMENT:
                base = int.from_bytes(record.data, "big") << 4
            case _Type.LINEAR:
                base = int.from_bytes(record.data, "big") << 16
            case _Type.START_SEGMENT | _Type.START_LINEAR | _Type.END:
                pass  # where a debugger would start; a bootloader asks the vector table
            case _:
                assert_never(record.type)


def _check_end(records: list[_Record]) -> None:
    ends = [number for number, record in enumerate(records, 1) if record.type is _Type.END]
    if not ends:
        raise MalformedImageError("hex file has no end record")
    if ends[0] != len(records):
        raise MalformedImageError(f"hex line {records[ends[0]].line} follows the end record")


def _placed(record: _Record, base: int) -> int:
    # The two address modes wrap differently at 64 KiB; linkers write neither kind of wrap.
    if record.offset + len(record.data) > _MAX_OFFSET:
        raise MalformedImageError(f"hex line {record.line} runs over a 64 KiB boundary")
    return base + record.offset


def _records(text: bytes) -> Iterator[_Record]:
    for line, raw in enumerate(text.splitlines(), start=1):
        if raw:
            yield _record(line, raw)


def _record(line: int, raw: bytes) -> _Record:
    # By hand and not by construct: a merged file has 20,000 lines, which take construct a second.
    data = _unhex(line, raw)
    if sum(data) % 256:
        wanted = (data[-1] - sum(data)) % 256
        raise MalformedImageError(
            f"hex line {line} has checksum {data[-1]:#04x}, must be {wanted:#04x}"
        )
    try:
        kind = _Type(data[3])
    except ValueError as error:
        raise MalformedImageError(f"hex line {line} is of unknown type {data[3]}") from error
    size = _DATA_SIZES.get(kind, data[0])
    if data[0] != size:
        raise MalformedImageError(
            f"hex line {line} has {data[0]} bytes, a {kind.name} record has {size}"
        )
    return _Record(line, int.from_bytes(data[1:3], "big"), kind, data[4:-1])


def _unhex(line: int, raw: bytes) -> bytes:
    """Give the bytes of a record: count, offset (2), type, data (count), checksum."""
    if _LINE.fullmatch(raw) is None:
        raise MalformedImageError(f"hex line {line} is not a record")
    data = bytes.fromhex(raw[1:].decode("ascii"))
    if len(data) != data[0] + _FRAME_SIZE:
        raise MalformedImageError(
            f"hex line {line} has {len(data)} bytes, must have {data[0] + _FRAME_SIZE} by its count"
        )
    return data

"""Type-length-value areas behind the payload of an image. Knows nothing of what the values mean.

An area is a 4-byte info (magic, total bytes with the info) and entries, each a 4-byte head (type,
length) and its value; all little-endian, nothing aligned. The walk is written by hand: a repeated
construct would drop a damaged last entry without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from construct import ConstructError, Container, Int16ul, Struct, Terminated

from images.errors import MalformedImageError

HEAD_SIZE: Final = 4
"""Bytes of the info that opens an area, and of the head that opens an entry."""

PROTECTED_MAGIC: Final = 0x6908
UNPROTECTED_MAGIC: Final = 0x6907
MAX_AREA_SIZE: Final = 0xFFFF

TYPE_ANY: Final = 0xFFFF
"""MCUboot's wildcard in searches. It is no type, and an entry that carries it is refused."""


class TlvType(IntEnum):
    """Types that MCUboot or svcport give a meaning (MCUboot image.h); types are 16 bits wide."""

    KEYHASH = 0x01
    PUBKEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048_PSS = 0x20
    ECDSA224 = 0x21
    ECDSA_SIG = 0x22
    RSA3072_PSS = 0x23
    ED25519 = 0x24
    SIG_PURE = 0x25
    ENC_RSA2048 = 0x30
    ENC_KW = 0x31
    ENC_EC256 = 0x32
    ENC_X25519 = 0x33
    ENC_X25519_SHA512 = 0x34
    DEPENDENCY = 0x40
    SEC_CNT = 0x50
    BOOT_RECORD = 0x60
    DECOMP_SIZE = 0x70
    DECOMP_SHA = 0x71
    DECOMP_SIGNATURE = 0x72
    COMP_DEC_SIZE = 0x73
    UUID_VID = 0x74
    UUID_CID = 0x75
    LOCK_MODEL = 0xA0
    LOCK_HARDWARE = 0xA1
    LOCK_BATCHES = 0xA2


HASH_TYPES: Final[dict[int, str]] = {
    TlvType.SHA256: "sha256",
    TlvType.SHA384: "sha384",
    TlvType.SHA512: "sha512",
}
"""Hash TLVs and the names that `hashlib` gives their algorithms."""

SIGNATURE_TYPES: Final = frozenset(
    {
        TlvType.RSA2048_PSS,
        TlvType.ECDSA224,
        TlvType.ECDSA_SIG,
        TlvType.RSA3072_PSS,
        TlvType.ED25519,
    }
)
ENCRYPTION_TYPES: Final = frozenset(
    {
        TlvType.ENC_RSA2048,
        TlvType.ENC_KW,
        TlvType.ENC_EC256,
        TlvType.ENC_X25519,
        TlvType.ENC_X25519_SHA512,
    }
)
COMPRESSION_TYPES: Final = frozenset(
    {
        TlvType.DECOMP_SIZE,
        TlvType.DECOMP_SHA,
        TlvType.DECOMP_SIGNATURE,
        TlvType.COMP_DEC_SIZE,
    }
)
UNPROTECTED_TYPES: Final = (
    frozenset(HASH_TYPES)
    | SIGNATURE_TYPES
    | ENCRYPTION_TYPES
    | {TlvType.KEYHASH, TlvType.PUBKEY, TlvType.SIG_PURE}
)
"""All that may stand outside the signature: what makes up or finds the signature itself."""

# fmt: off
_INFO: Final = Struct(
    "magic" / Int16ul,
    "total" / Int16ul,     # bytes of the area, this info included
    Terminated,
)
_ENTRY: Final = Struct(
    "kind"   / Int16ul,
    "length" / Int16ul,    # bytes of value that follow
    Terminated,
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Tlv:
    """One entry: a 16-bit type and its value, at most 65,531 bytes."""

    kind: int
    value: bytes

    @property
    def name(self) -> str:
        """The type's name in MCUboot, or its number in hex if it has none."""
        try:
            return TlvType(self.kind).name
        except ValueError:
            return f"{self.kind:#06x}"


@dataclass(frozen=True, slots=True)
class AreaInfo:
    """The 4 bytes that open an area: its magic, and its size in bytes with these 4."""

    magic: int
    total: int


def read_info(data: bytes, offset: int) -> AreaInfo:
    """Read the info at `offset`; raises MalformedImageError if it or its area does not fit."""
    info = _parse(_INFO, data, offset, "tlv info")
    if info.total < HEAD_SIZE or info.total > len(data) - offset:
        raise MalformedImageError(
            f"tlv area is {info.total} bytes, must be {HEAD_SIZE} to {len(data) - offset}",
            offset=offset,
        )
    return AreaInfo(info.magic, info.total)


def read_entries(data: bytes, start: int, end: int) -> tuple[Tlv, ...]:
    """Read the entries that fill `data[start:end]` to the last byte.

    Raises:
        MalformedImageError: an entry reaches over `end`, or is of the wildcard type.
    """
    entries: list[Tlv] = []
    area = data[:end]
    while start < end:
        head = _parse(_ENTRY, area, start, "tlv entry")
        value = start + HEAD_SIZE
        if head.length > end - value:
            raise MalformedImageError(
                f"tlv value is {head.length} bytes, its area has {end - value} left", offset=start
            )
        if head.kind == TYPE_ANY:
            raise MalformedImageError(f"tlv type {TYPE_ANY:#06x} is reserved", offset=start)
        entries.append(Tlv(head.kind, area[value : value + head.length]))
        start = value + head.length
    return tuple(entries)


def build_area(magic: int, entries: Iterable[Tlv]) -> bytes:
    """Give the bytes of an area; raises MalformedImageError if it outgrows its u16 length."""
    parts = []
    for entry in entries:
        if len(entry.value) > MAX_AREA_SIZE:
            raise MalformedImageError(
                f"tlv {entry.name} has {len(entry.value)} bytes, at most {MAX_AREA_SIZE} fit"
            )
        parts.append(_ENTRY.build({"kind": entry.kind, "length": len(entry.value)}) + entry.value)
    body = b"".join(parts)
    total = HEAD_SIZE + len(body)
    if total > MAX_AREA_SIZE:
        raise MalformedImageError(f"tlv area has {total} bytes, at most {MAX_AREA_SIZE} fit")
    return _INFO.build({"magic": magic, "total": total}) + body


def _parse(struct: Struct, data: bytes, offset: int, what: str) -> Container[int]:
    try:
        return struct.parse(data[offset : offset + HEAD_SIZE])
    except ConstructError as error:
        left = max(0, len(data) - offset)
        raise MalformedImageError(
            f"{what} needs {HEAD_SIZE} bytes, {left} are left", offset=offset
        ) from error

"""The 32-byte header in front of every MCUboot image, and its version number.

Knows nothing of what follows the header. All integers are little-endian (MCUboot design.md, "Image
format").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from construct import Bytes, ConstructError, Int8ul, Int16ul, Int32ul, Struct, Terminated

from images.errors import MalformedImageError

HEADER_SIZE: Final = 32
"""Bytes of header proper. From there to `Header.header_size` lies padding, which is hashed too."""

IMAGE_MAGIC: Final = 0x96F3B83D
IMAGE_MAGIC_V1: Final = 0x96F3B83C
"""The format of MCUboot's first releases, which no supported bootloader reads."""

MAX_U8: Final = 0xFF
MAX_U16: Final = 0xFFFF
MAX_U32: Final = 0xFFFFFFFF


class Flag(IntFlag):
    """Bits of the header's flags word that MCUboot defines; every other bit must be zero."""

    PIC = 0x0001
    ENCRYPTED_AES128 = 0x0004
    ENCRYPTED_AES256 = 0x0008
    NON_BOOTABLE = 0x0010
    RAM_LOAD = 0x0020
    ROM_FIXED = 0x0100
    COMPRESSED_LZMA1 = 0x0200
    COMPRESSED_LZMA2 = 0x0400
    COMPRESSED_ARM_THUMB = 0x0800


KNOWN_FLAGS: Final = sum(Flag)

FEATURE_NAMES: Final[dict[Flag, str]] = {
    Flag.PIC: "position-independent",
    Flag.ENCRYPTED_AES128: "encrypted-aes128",
    Flag.ENCRYPTED_AES256: "encrypted-aes256",
    Flag.NON_BOOTABLE: "non-bootable",
    Flag.RAM_LOAD: "ram-load",
    Flag.ROM_FIXED: "rom-fixed",
    Flag.COMPRESSED_LZMA1: "compressed-lzma1",
    Flag.COMPRESSED_LZMA2: "compressed-lzma2",
    Flag.COMPRESSED_ARM_THUMB: "compressed-arm-thumb",
}
"""The stable words for flags in `Image.features` and `UnsupportedImageError.feature`."""

# No leading zeros and no sign: each version has one spelling, but for a build number of zero left
# out.
_NUMBER: Final = r"(0|[1-9][0-9]{0,9})"
_VERSION_TEXT: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:\+{_NUMBER})?")

# fmt: off
_VERSION: Final = Struct(
    "major"    / Int8ul,
    "minor"    / Int8ul,
    "revision" / Int16ul,
    "build"    / Int32ul,
    Terminated,
)
_HEADER: Final = Struct(
    "magic"          / Int32ul,
    "load_addr"      / Int32ul,    # RAM or flash address, by flag; 0 otherwise
    "header_size"    / Int16ul,    # bytes, from the start of the image to its payload
    "protected_size" / Int16ul,    # bytes of the protected TLV area; 0 if there is none
    "image_size"     / Int32ul,    # bytes of payload
    "flags"          / Int32ul,
    "version"        / Bytes(8),
    "pad"            / Int32ul,    # reserved, 0
    Terminated,
)
# fmt: on


def _check_range(name: str, value: int, limit: int) -> None:
    if not 0 <= value <= limit:
        raise MalformedImageError(f"{name} is {value}, must be 0 to {limit}")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """An image's version, ordered by major, minor, revision, then build.

    MCUboot compares the build number only when it is built to; as a total order it breaks no tie
    the other way.

    Raises:
        MalformedImageError: a number does not fit its field (u8, u8, u16, u32).
    """

    major: int
    minor: int
    revision: int
    build: int = 0

    def __post_init__(self) -> None:
        _check_range("major version", self.major, MAX_U8)
        _check_range("minor version", self.minor, MAX_U8)
        _check_range("revision", self.revision, MAX_U16)
        _check_range("build number", self.build, MAX_U32)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3` or `1.2.3+4`; raises MalformedImageError for any other spelling."""
        match = _VERSION_TEXT.fullmatch(text)
        if match is None:
            raise MalformedImageError(f"version is {text!r}, must be like 1.2.3 or 1.2.3+4")
        return cls(*(int(number or 0) for number in match.groups()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the 8 bytes of a header; raises MalformedImageError for another length."""
        try:
            fields = _VERSION.parse(data)
        except ConstructError as error:
            raise MalformedImageError(f"version has {len(data)} bytes, must have 8") from error
        return cls(fields.major, fields.minor, fields.revision, fields.build)

    def __bytes__(self) -> bytes:
        return _VERSION.build(
            {
                "major": self.major,
                "minor": self.minor,
                "revision": self.revision,
                "build": self.build,
            }
        )

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}+{self.build}"


@dataclass(frozen=True, slots=True)
class Header:
    """The header as it stands in the file. Parsing checks magic and sizes; `verify()` judges flags.

    `flags` is the whole u32, unknown bits included, so that a header builds back to the bytes it
    came from.
    """

    load_addr: int
    header_size: int
    protected_size: int
    image_size: int
    flags: int
    version: Version
    pad: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the first 32 bytes of `data`, which may be longer.

        Raises:
            MalformedImageError: too short, another magic, or a header size that leaves no room for
                the header.
        """
        try:
            fields = _HEADER.parse(data[:HEADER_SIZE])
        except ConstructError as error:
            raise MalformedImageError(
                f"file has {len(data)} bytes, an image header needs {HEADER_SIZE}", offset=0
            ) from error
        _check_magic(fields.magic)
        if fields.header_size < HEADER_SIZE:
            raise MalformedImageError(
                f"header size is {fields.header_size}, must be at least {HEADER_SIZE}", offset=8
            )
        return cls(
            load_addr=fields.load_addr,
            header_size=fields.header_size,
            protected_size=fields.protected_size,
            image_size=fields.image_size,
            flags=fields.flags,
            version=Version.from_bytes(fields.version),
            pad=fields.pad,
        )

    def build(self) -> bytes:
        """Give the 32 bytes; raises MalformedImageError if a number does not fit its field."""
        _check_range("load address", self.load_addr, MAX_U32)
        _check_range("header size", self.header_size, MAX_U16)
        _check_range("protected size", self.protected_size, MAX_U16)
        _check_range("payload size", self.image_size, MAX_U32)
        return _HEADER.build(
            {
                "magic": IMAGE_MAGIC,
                "load_addr": self.load_addr,
                "header_size": self.header_size,
                "protected_size": self.protected_size,
                "image_size": self.image_size,
                "flags": self.flags,
                "version": bytes(self.version),
                "pad": self.pad,
            }
        )

    @property
    def tlv_offset(self) -> int:
        """Where the first TLV area starts, in bytes from the start of the image."""
        return self.header_size + self.image_size

    @property
    def unknown_flags(self) -> int:
        """Flag bits that no MCUboot release defines; 0 in a sound image."""
        return self.flags & ~KNOWN_FLAGS

    def has(self, flag: Flag) -> bool:
        """Whether every bit of `flag` is set."""
        return self.flags & flag == flag


def _check_magic(magic: int) -> None:
    if magic == IMAGE_MAGIC:
        return
    hint = " (the format before MCUboot 1.0)" if magic == IMAGE_MAGIC_V1 else ""
    raise MalformedImageError(
        f"image magic is {magic:#010x}{hint}, must be {IMAGE_MAGIC:#010x}", offset=0
    )

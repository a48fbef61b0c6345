"""SMP's requests and replies about a device's files and its shell.

Zephyr, "File management" and "Shell management".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from protocol.cbor import CborMap
from protocol.smp import SmpGroup, SmpOp
from protocol.smp_messages import SmpReply, SmpRequest


@dataclass(frozen=True, slots=True)
class FilePiece(SmpReply):
    """A piece of a file.

    Attributes:
        off: where it belongs.
        len: bytes of the file; with its first piece only.
    """

    off: int
    data: bytes
    len: int | None

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.unsigned("off"), fields.octets("data"), fields.maybe_unsigned("len"))


@dataclass(frozen=True, slots=True)
class FileDownload(SmpRequest[FilePiece]):
    """The file's bytes from `off` on, as many as fit."""

    off: int
    name: str

    OP = SmpOp.READ
    GROUP = SmpGroup.FS
    COMMAND = 0
    REPLY = FilePiece


@dataclass(frozen=True, slots=True)
class FileStands(SmpReply):
    """How much of a file the device has."""

    off: int

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.unsigned("off"))


@dataclass(frozen=True, slots=True)
class FileUpload(SmpRequest[FileStands]):
    """A piece of a file; `len` with the first one."""

    off: int
    data: bytes
    name: str
    len: int | None = None

    OP = SmpOp.WRITE
    GROUP = SmpGroup.FS
    COMMAND = 0
    REPLY = FileStands


@dataclass(frozen=True, slots=True)
class FileSize(SmpReply):
    """Bytes of a file."""

    len: int

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.unsigned("len"))


@dataclass(frozen=True, slots=True)
class FileStatus(SmpRequest[FileSize]):
    """How large a file is."""

    name: str

    OP = SmpOp.READ
    GROUP = SmpGroup.FS
    COMMAND = 1
    REPLY = FileSize


@dataclass(frozen=True, slots=True)
class FileHashed(SmpReply):
    """A file's hash, or its CRC as a number.

    Attributes:
        len: how many bytes were hashed.
    """

    type: str
    off: int | None
    len: int
    output: int | bytes

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        number = fields.holds("output", int)
        output = fields.unsigned("output") if number else fields.octets("output")
        return cls(
            fields.text("type"), fields.maybe_unsigned("off"), fields.unsigned("len"), output
        )


@dataclass(frozen=True, slots=True)
class FileHash(SmpRequest[FileHashed]):
    """The hash of a file, or of a part of it; `type` is "sha256" or "crc32"."""

    name: str
    type: str | None = None
    off: int | None = None
    len: int | None = None

    OP = SmpOp.READ
    GROUP = SmpGroup.FS
    COMMAND = 2
    REPLY = FileHashed


@dataclass(frozen=True, slots=True)
class ShellSaid(SmpReply):
    """What a command printed, and its return code, which is negative for errors."""

    o: str
    ret: int

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.text("o"), fields.signed("ret"))


@dataclass(frozen=True, slots=True)
class ShellExecute(SmpRequest[ShellSaid]):
    """Run a command of the device's shell."""

    argv: tuple[str, ...]

    OP = SmpOp.WRITE
    GROUP = SmpGroup.SHELL
    COMMAND = 0
    REPLY = ShellSaid
    REPEATABLE = False

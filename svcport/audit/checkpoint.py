"""Checkpoints (C2SP tlog-checkpoint): how large a log is and what its root is, as three lines.

Extension lines are neither written nor read.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from svcport.audit.merkle import HASH_SIZE
from svcport.audit.note import Note, NoteError, StationKey, VerifierKey, check_name, decode_base64

_LINES: Final = 4  # origin, size, root, and what follows the last line feed
_SIZE_DIGITS: Final = 19
"""Digits of the largest signed 64-bit number, which no log outgrows."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one station says its log is."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_name(self.origin)
        if self.size < 0 or len(self.root) != HASH_SIZE:
            raise NoteError(f"size {self.size} or a root of {len(self.root)} bytes does not fit")

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the three lines; anything but what `str` writes is NoteError."""
        lines = text.split("\n")
        if len(lines) != _LINES:
            raise NoteError(f"a checkpoint has 3 lines, this text {len(lines) - 1}")
        digits = lines[1]
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS):
            raise NoteError(f"a checkpoint's size is a decimal number, this one {digits!r}")
        checkpoint = cls(lines[0], int(digits), decode_base64(lines[2]))
        if str(checkpoint) != text:
            raise NoteError("the checkpoint is not written as it must be")
        return checkpoint

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"

    def sign(self, key: StationKey) -> bytes:
        """The signed note, under the origin as key name."""
        return key.sign_note(self.origin, str(self)).build()

    @classmethod
    def open(cls, note: bytes, key: VerifierKey) -> Checkpoint:
        """The checkpoint in a note that `key` signed and whose origin is the key's name."""
        parsed = Note.parse(note)
        parsed.verify([key])
        checkpoint = cls.parse(parsed.text)
        if checkpoint.origin != key.name:
            raise NoteError(f"the checkpoint is of {checkpoint.origin}, wanted {key.name}")
        return checkpoint

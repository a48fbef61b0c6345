"""Cosignatures (C2SP tlog-cosignature, type 04): a witness saying when it saw a checkpoint.

The name of a witness is not under its signature: one key a witness, never two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from svcport.audit.note import NamedKey, Note, NoteError, NoteSignature, StationKey

COSIGNATURE_V1: Final = 0x04
"""Signature type of an Ed25519 cosignature with its time."""

TIME_SIZE: Final = 8
_TIME_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class WitnessKey(NamedKey):
    """The key of a witness, over the text and the time at which it saw it."""

    TYPE: ClassVar[int] = COSIGNATURE_V1

    @classmethod
    def of(cls, key: StationKey, name: str) -> WitnessKey:
        """The public half of `key` as witnesses name it."""
        return cls(name, key.private.public_key().public_bytes_raw())

    def verify(self, note: Note) -> int:
        """When this witness cosigned `note`, in unix seconds.

        Raises:
            NoteError: it did not, or its signature is wrong.
        """
        for line in note.signatures:
            if (line.name, line.key_hash) == (self.name, self.key_hash):
                return self._check(line.signature, note.text)
        raise NoteError(f"witness {self.name} did not sign the checkpoint")

    def _check(self, field: bytes, text: str) -> int:
        seen_at = int.from_bytes(field[:TIME_SIZE], "big")
        self.check(field[TIME_SIZE:], _message(seen_at, text))
        return seen_at


def cosign(key: StationKey, name: str, text: str, seen_at: int) -> NoteSignature:
    """The cosignature of witness `name` on the checkpoint `text`, seen at unix second `seen_at`.

    Raises:
        ValueError: `seen_at` is not in 0..2**63-1.
    """
    if not 0 <= seen_at < _TIME_LIMIT:
        raise ValueError(f"unix time {seen_at} is not in 0..{_TIME_LIMIT - 1}")
    field = seen_at.to_bytes(TIME_SIZE, "big") + key.sign(_message(seen_at, text))
    return NoteSignature(name, WitnessKey.of(key, name).key_hash, field)


def _message(seen_at: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {seen_at}\n{text}".encode()

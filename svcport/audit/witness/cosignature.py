"""Cosignatures (C2SP tlog-cosignature, type 04): a witness saying when it saw a checkpoint.

The name of a witness is not under its signature: one key a witness, never two.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from svcport.audit.note import (
    KEY_HASH_SIZE,
    Note,
    NoteError,
    NoteSignature,
    StationKey,
    check_name,
    decode_base64,
)

COSIGNATURE_V1: Final = 0x04
"""Signature type of an Ed25519 cosignature with its time."""

TIME_SIZE: Final = 8
_PUBLIC_SIZE: Final = 32
_TIME_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a witness's key: its name and 32 bytes of Ed25519."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != _PUBLIC_SIZE:
            raise NoteError(f"an Ed25519 key has 32 bytes, this one {len(self.public)}")

    @classmethod
    def of(cls, key: StationKey, name: str) -> WitnessKey:
        """The public half of `key` as witnesses name it."""
        return cls(name, key.private.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read `name+hash+key`; anything but what `str` writes is NoteError."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise NoteError(f"{text!r} is not name+hash+key")
        raw = decode_base64(parts[2])
        if raw[:1] != bytes([COSIGNATURE_V1]):
            raise NoteError(f"key type {raw[:1].hex()} is not 04 (Ed25519 cosignature)")
        key = cls(parts[0], raw[1:])
        if str(key) != text:
            raise NoteError(f"key hash {parts[1]} wanted {key.key_hash.hex()}")
        return key

    def __str__(self) -> str:
        encoded = base64.b64encode(self._typed).decode("ascii")
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"

    @property
    def _typed(self) -> bytes:
        return bytes([COSIGNATURE_V1]) + self.public

    @property
    def key_hash(self) -> bytes:
        """First 4 bytes of SHA-256(name | LF | type | key)."""
        material = self.name.encode() + b"\n" + self._typed
        return hashlib.sha256(material).digest()[:KEY_HASH_SIZE]

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
        try:
            public = Ed25519PublicKey.from_public_bytes(self.public)
            public.verify(field[TIME_SIZE:], _message(seen_at, text))
        except (InvalidSignature, ValueError) as error:
            raise NoteError(f"the cosignature of {self.name} does not verify") from error
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

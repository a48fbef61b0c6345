"""Signed notes (C2SP signed-note): a text, and who signed it. No files, no policy, no clock.

Strict both ways: what parses is exactly what `Note.build` writes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.sealed import SubjectKey
from svcport.errors import Reason, RecordsError

KEY_HASH_SIZE: Final = 4
ED25519_NOTE: Final = 0x01
"""Signature type of a plain Ed25519 note signature; no other type is made or checked here."""

SIGNATURE_LIMIT: Final = 100
"""Most signature lines; golang.org/x/mod/sumdb/note has the same cap."""

_DASH: Final = "\N{EM DASH} "
_PUBLIC_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64


class NoteError(RecordsError):
    """Bytes are no note, no checkpoint or no verifier key, or nobody known signed them."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.LEDGER_DAMAGED, message)


@dataclass(frozen=True, slots=True)
class NamedKey:
    """The public half of a key that signs notes in one way: its name and 32 bytes of Ed25519."""

    TYPE: ClassVar[int]
    """The byte that says how it signs, and so what its signatures are over."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != _PUBLIC_SIZE:
            raise NoteError(f"an Ed25519 key has 32 bytes, this one {len(self.public)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name+hash+key`; anything but what `str` writes is NoteError."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise NoteError(f"{text!r} is not name+hash+key")
        raw = decode_base64(parts[2])
        if raw[:1] != bytes([cls.TYPE]):
            raise NoteError(f"key type {raw[:1].hex()} is not {cls.TYPE:02x}")
        key = cls(parts[0], raw[1:])
        if str(key) != text:
            raise NoteError(f"key hash {parts[1]} wanted {key.key_hash.hex()}")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{_encode_base64(self._typed)}"

    @property
    def _typed(self) -> bytes:
        return bytes([self.TYPE]) + self.public

    @property
    def key_hash(self) -> bytes:
        """First 4 bytes of SHA-256(name | LF | type | key)."""
        material = self.name.encode() + b"\n" + self._typed
        return hashlib.sha256(material).digest()[:KEY_HASH_SIZE]

    def check(self, signature: bytes, message: bytes) -> None:
        """Raise NoteError unless `signature` is this key's on `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteError(f"the signature of {self.name} does not verify") from error


@dataclass(frozen=True, slots=True)
class VerifierKey(NamedKey):
    """The key of a plain note signature, over the text."""

    TYPE: ClassVar[int] = ED25519_NOTE

    @property
    def subject(self) -> SubjectKey:
        """The same key as sealed objects name it."""
        return SubjectKey(b"\x01" + self.public)

    def verify(self, signature: bytes, text: str) -> None:
        """Raise NoteError unless `signature` is this key's on `text`."""
        self.check(signature, text.encode())


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who says they signed, and what they wrote."""

    name: str
    key_hash: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_encode_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a line feed, and its signature lines, nobody's word checked yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a whole note, or raise NoteError."""
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NoteError(f"a note is UTF-8, byte {error.start} is not") from error
        head, blank, tail = whole.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise NoteError("a note is a text, a blank line and signature lines")
        lines = tail[:-1].split("\n")
        if len(lines) > SIGNATURE_LIMIT:
            raise NoteError(f"{len(lines)} signature lines where at most {SIGNATURE_LIMIT} stand")
        text = check_text(head + "\n")
        return cls(text, tuple(_parse_line(line) for line in lines))

    def build(self) -> bytes:
        """The note's bytes, exactly those that were parsed."""
        return (self.text + "\n" + "".join(str(one) for one in self.signatures)).encode()

    def verify(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """The keys among `keys` that signed.

        Raises:
            NoteError: a known key's signature is wrong, or no known key signed. Signatures of
                unknown keys are ignored.
        """
        known = {(key.name, key.key_hash): key for key in keys}
        signed: list[VerifierKey] = []
        for line in self.signatures:
            key = known.get((line.name, line.key_hash))
            if key is None or key in signed:
                continue
            key.verify(line.signature, self.text)
            signed.append(key)
        if not signed:
            wanted = ", ".join(key.name for key in known.values())
            raise NoteError(f"no known key signed the note, wanted {wanted}")
        return tuple(signed)


@dataclass(frozen=True)
class StationKey:
    """A station's Ed25519 key; signs sealed objects (protocol.sealed.Signer) and notes."""

    private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> StationKey:
        """The key of a 32-byte seed."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def subject(self) -> SubjectKey:
        """The public half as sealed objects name it."""
        return SubjectKey.of(self.private.public_key())

    def verifier(self, name: str) -> VerifierKey:
        """The public half as notes name it."""
        return VerifierKey(name, self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message`."""
        return self.private.sign(message)

    def sign_note(self, name: str, text: str) -> Note:
        """A note with this key's signature under `name`; a text that no note holds is NoteError."""
        verifier = self.verifier(name)
        signature = self.sign(check_text(text).encode())
        return Note(text, (NoteSignature(name, verifier.key_hash, signature),))


def check_name(name: str) -> str:
    """`name` if it may name a key: no spaces, no plus sign, no control characters; or NoteError."""
    if not name or "+" in name or any(char.isspace() or _unfit(char) for char in name):
        raise NoteError(f"{name!r} is no key name: wanted no spaces and no plus sign")
    return name


def check_text(text: str) -> str:
    """`text` if it may be signed: ends in LF, no other control character; or NoteError."""
    if not text.endswith("\n") or any(_unfit(char) and char != "\n" for char in text):
        raise NoteError("a note's text ends in a line feed and has no other control character")
    return text


def _unfit(char: str) -> bool:
    return char < " " or "\ud800" <= char <= "\udfff"  # control characters, lone surrogates


def decode_base64(text: str) -> bytes:
    """Standard base64, only in the one way that an encoder writes it; or NoteError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise NoteError(f"{text!r} is not base64") from error
    if _encode_base64(data) != text:
        raise NoteError(f"{text!r} is not canonical base64")
    return data


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parse_line(line: str) -> NoteSignature:
    if not line.startswith(_DASH):
        raise NoteError(f"a signature line starts with an em dash and a space, this one {line!r}")
    name, space, encoded = line[len(_DASH) :].partition(" ")
    raw = decode_base64(encoded)
    if not space or len(raw) <= KEY_HASH_SIZE:
        raise NoteError(f"a signature line is a name and base64, this one {line!r}")
    return NoteSignature(check_name(name), raw[:KEY_HASH_SIZE], raw[KEY_HASH_SIZE:])

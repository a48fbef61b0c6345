"""Private keys as OpenSSH private-key files. The passphrase comes in; nothing here asks for it.

PKCS#8 as the library writes it stretches a passphrase with 2048 rounds of PBKDF2, too few for a
stolen laptop; the OpenSSH format uses bcrypt with as many rounds as we like.
"""

from __future__ import annotations

import binascii
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    SSHPublicKeyTypes,
    load_ssh_private_key,
    load_ssh_public_key,
)

from protocol.errors import ProtocolError
from protocol.sealed import SubjectKey, raw_signature
from svcport.authorisation.files import not_set_up, read_small
from svcport.errors import Reason, RefusedError
from svcport.home import write_whole

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
Passphrase = Callable[[], bytes]

KDF_ROUNDS: Final = 56
"""bcrypt rounds of a new key file: 9 ms each on a laptop of 2026, half a second to unlock."""

KDF_ROUNDS_LIMIT: Final = 2048
"""Most rounds of a file we open: beyond it, a forged file would only make us wait."""

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_BEGIN: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_END: Final = b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC: Final = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class KeyFileSigner:
    """An unlocked private key that signs as sealed objects want it (protocol.sealed.Signer)."""

    subject: SubjectKey
    _key: PrivateKey = field(repr=False)

    @classmethod
    def of(cls, key: PrivateKey) -> KeyFileSigner:
        """A signer of a key in memory; any curve but P-256 is MalformedObjectError."""
        return cls(SubjectKey.of(key.public_key()), key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message`: Ed25519, or ECDSA over its SHA-256 as r | s with low s."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return raw_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))


@dataclass(frozen=True, slots=True)
class Locked:
    """What a key file shows without its passphrase (PROTOCOL.key of OpenSSH).

    `subject` is not protected by anything: compare it again after unlocking.
    """

    subject: SubjectKey
    encrypted: bool
    rounds: int


def key_file_bytes(key: PrivateKey, passphrase: bytes = b"", *, rounds: int = KDF_ROUNDS) -> bytes:
    """A key as an OpenSSH private-key file; an empty passphrase (training only) locks nothing."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        builder = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(rounds)
        encryption = builder.build(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)


def write_key_file(
    path: Path, key: PrivateKey, passphrase: bytes = b"", *, rounds: int = KDF_ROUNDS
) -> None:
    """Write a key file that only its owner can read; RecordsError (`storage`) as `write_whole`."""
    write_whole(path, key_file_bytes(key, passphrase, rounds=rounds), private=True)


def inspect_key(data: bytes, name: str) -> Locked:
    """Read the open part of a key file; `name` stands in messages.

    Raises:
        RefusedError: no OpenSSH private key, or not one of Ed25519 or P-256 (`not-set-up`).
    """
    try:
        return _inspect(data)
    except (ValueError, struct.error, UnsupportedAlgorithm, ProtocolError) as error:
        raise not_set_up(f"{name} is no OpenSSH key file that can be used: {error}") from error


def unlock(data: bytes, name: str, passphrase: Passphrase | None) -> KeyFileSigner:
    """Open a key; `passphrase` is called only if the file has one.

    Raises:
        RefusedError: no or a wrong passphrase (`signer-locked`), or no usable key (`not-set-up`).
    """
    locked = inspect_key(data, name)
    if locked.rounds > KDF_ROUNDS_LIMIT:
        raise not_set_up(f"{name} wants {locked.rounds} bcrypt rounds, at most {KDF_ROUNDS_LIMIT}")
    if not locked.encrypted:
        return _load(data, None, not_set_up(f"{name} is a damaged key file"))
    if passphrase is None:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"{name} is locked with a passphrase and none was given",
            hint="run it on a terminal, or give the passphrase with --passphrase-fd",
        )
    refusal = RefusedError(
        Reason.SIGNER_LOCKED,
        f"the passphrase does not open {name}",
        hint="try again; if the file is damaged, run 'svcport setup' with a fresh credential",
    )
    secret = passphrase()
    if not secret:
        raise refusal
    return _load(data, secret, refusal)


def load_key_file(path: Path, passphrase: Passphrase | None) -> KeyFileSigner:
    """Open a key file of a home.

    Raises:
        RefusedError: others may read the file (POSIX; `signer-locked`), and as `unlock`.
        RecordsError: it cannot be read (`storage`).
    """
    data = read_small(path)
    refuse_shared(path)
    return unlock(data, str(path), passphrase)


def refuse_shared(path: Path) -> None:
    """Refuse a key file that others than its owner may use; Windows keeps no such bits."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & OTHERS:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"{path} has mode {mode:04o}, a private key is for its owner only (0600)",
            hint=f"chmod 600 {path}",
        )


def load_public_line(line: bytes) -> SSHPublicKeyTypes:
    """An OpenSSH public key, kind and base64; ValueError or UnsupportedAlgorithm if it is none."""
    try:
        return load_ssh_public_key(line)
    except NotImplementedError as error:  # a P-256 point that is compressed, or none at all
        raise UnsupportedAlgorithm(str(error)) from error


def _load(data: bytes, secret: bytes | None, refusal: RefusedError) -> KeyFileSigner:
    try:
        key = load_ssh_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm, NotImplementedError) as error:
        raise refusal from error
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise refusal
    try:
        return KeyFileSigner.of(key)
    except ProtocolError as error:
        raise refusal from error


def _inspect(data: bytes) -> Locked:
    text = data.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise ValueError("it does not begin and end as one")
    blob = binascii.a2b_base64(b"".join(text[len(_BEGIN) : -len(_END)].split()))
    if not blob.startswith(_MAGIC):
        raise ValueError("it is of another version")
    cipher, rest = _string(blob[len(_MAGIC) :])
    _kdf, rest = _string(rest)
    options, rest = _string(rest)
    (count,) = struct.unpack_from(">I", rest)
    if count != 1:
        raise ValueError(f"it holds {count} keys, wanted one")
    public, _rest = _string(rest[4:])
    encrypted = cipher != b"none"
    (rounds,) = struct.unpack(">I", _string(options)[1]) if encrypted else (0,)
    return Locked(_subject(public), encrypted, rounds)


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first SSH string (u32 length, bytes) of `data`, and what follows it."""
    (length,) = struct.unpack_from(">I", data)
    if 4 + length > len(data):
        raise ValueError(f"{length} bytes should follow, {len(data) - 4} do")
    return data[4 : 4 + length], data[4 + length :]


def _subject(public: bytes) -> SubjectKey:
    name, _rest = _string(public)
    key = load_public_line(name + b" " + binascii.b2a_base64(public, newline=False))
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise UnsupportedAlgorithm(f"its kind is {name!r}, wanted Ed25519 or P-256")
    return SubjectKey.of(key)

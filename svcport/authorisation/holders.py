"""Whom a certificate or ticket is for: a public key in any of its usual forms, or a credential."""

from __future__ import annotations

import binascii
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from protocol.errors import ProtocolError
from protocol.objects import TechnicianCertificate
from protocol.sealed import KEY_ID_SIZE, Sealed, SubjectKey
from svcport.authorisation.credentials import ISSUER_FILE, TECHNICIAN_FILE
from svcport.authorisation.files import read_sealed, read_small
from svcport.authorisation.keys.keyfile import load_public_line
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home

_HINT: Final = (
    "give an OpenSSH public key (ssh-keygen -t ed25519 makes one), a subject key in hex,"
    " or a credential's folder"
)


@dataclass(frozen=True, slots=True)
class KnownHolder:
    """Somebody's key; `certificate` where more than the key is known."""

    key_id: bytes
    certificate: TechnicianCertificate | None = None


def find_holder(text: str, trust: Trust, issuer: Sealed) -> KnownHolder:
    """Who is meant: a key id (16 hex digits), a public key, or a credential (file or folder).

    Args:
        text: as on the command line.
        trust: whose certificates are believed.
        issuer: whose certificate stands for a technician's that comes alone.

    Raises:
        RefusedError: nobody is (`usage`), or the certificate is not this vendor's (`no-permit`).
    """
    with contextlib.suppress(ValueError):
        data = bytes.fromhex(text)
        if len(data) == KEY_ID_SIZE:
            return KnownHolder(data)
    path = Path(text)
    if path.is_dir():
        below = Home(path).credential / TECHNICIAN_FILE
        path = below if below.is_file() else path / TECHNICIAN_FILE
    if path.suffix == Path(TECHNICIAN_FILE).suffix and path.is_file():
        certificate = _read_certificate(path, trust, issuer)
        return KnownHolder(certificate.subject.key_id, certificate)
    return KnownHolder(find_key(text).key_id)


def find_key(text: str) -> SubjectKey:
    """A public key: the file that holds it, or the key itself in hex.

    Raises:
        RefusedError: no such file, or no key of Ed25519 or P-256 in it (`usage`).
    """
    path = Path(text)
    try:
        data = text.encode() if _is_hex(text) else read_small(path, _KEY_LIMIT)
        return _parse(data.strip())
    except (ValueError, UnsupportedAlgorithm, ProtocolError, RefusedError, RecordsError) as error:
        raise RefusedError(
            Reason.USAGE, f"{text} is no public key that can be used: {error}", hint=_HINT
        ) from error


def find_exchange_key(text: str) -> bytes:
    """A public X25519 key, 32 bytes: its pem file, or the key itself in hex.

    Raises:
        RefusedError: no such file, or no such key in it (`usage`).
    """
    with contextlib.suppress(ValueError):
        data = bytes.fromhex(text)
        if len(data) == _X25519_SIZE:
            return data
    try:
        key = load_pem_public_key(read_small(Path(text), _KEY_LIMIT))
    except (ValueError, UnsupportedAlgorithm, RefusedError, RecordsError) as error:
        raise _no_exchange_key(text, str(error)) from error
    if not isinstance(key, x25519.X25519PublicKey):
        raise _no_exchange_key(text, f"it is a {type(key).__name__}")
    return key.public_bytes_raw()


def _no_exchange_key(text: str, why: str) -> RefusedError:
    return RefusedError(
        Reason.USAGE,
        f"{text} is no public X25519 key: {why}",
        hint="give the public half in pem form (openssl pkey -pubout), or 64 hex digits",
    )


_X25519_SIZE: Final = 32
_KEY_LIMIT: Final = 16_384


def _parse(data: bytes) -> SubjectKey:
    if b"PRIVATE KEY" in data:
        raise ValueError("it is a private key, which stays with its owner; wanted the public half")
    if data.startswith(b"sk-"):
        raise ValueError("a FIDO key signs more than it is given, wanted a plain key")
    if data.startswith(b"-----BEGIN"):
        key = load_pem_public_key(data)
    elif _is_hex(data.decode("ascii", "replace")):
        return SubjectKey(binascii.a2b_hex(data))
    else:
        # a comment behind the key may be in any language, and is none of our business
        key = load_public_line(b" ".join(data.split()[:2]))
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise UnsupportedAlgorithm("its kind is neither Ed25519 nor P-256")
    return SubjectKey.of(key)


def _is_hex(text: str) -> bool:
    return len(text) in (2 * 33, 2 * 66) and all(c in "0123456789abcdefABCDEF" for c in text)


def _read_certificate(path: Path, trust: Trust, issuer: Sealed) -> TechnicianCertificate:
    beside = path.parent / ISSUER_FILE
    try:
        certificate = trust.read_issuer(read_sealed(beside) if beside.is_file() else issuer)
        sealed = read_sealed(path)
        trust.require_realm(sealed)
        sealed.verify(certificate.subject)
        return TechnicianCertificate.read(sealed)
    except (ProtocolError, RefusedError, RecordsError) as error:
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{path} is no credential of this vendor: {error}",
            hint="give the credential's folder, with the certificate of its issuer beside it",
        ) from error

"""Public keys that images are signed with, as MCUboot knows them. No private key is touched here.

MCUboot embeds an RSA key as PKCS#1 RSAPublicKey and every other key as SubjectPublicKeyInfo, and
names it in an image by the hash of exactly those bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from images.errors import InvalidKeyError
from images.tlv import HASH_TYPES, TlvType

PSS_SALT_SIZE: Final = 32
"""Bytes of salt in every RSA signature; MCUboot refuses any other (image_rsa.c)."""

_DER_SEQUENCE: Final = 0x30
_DER_HEAD_SIZE: Final = 2


class KeyKind(StrEnum):
    """The kinds of key that a build of MCUboot can verify."""

    RSA2048 = "rsa-2048"
    RSA3072 = "rsa-3072"
    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    ED25519 = "ed25519"

    @property
    def signature_type(self) -> TlvType:
        """The TLV that carries a signature by a key of this kind."""
        return _SIGNATURE_TYPES[self]

    @property
    def hash_names(self) -> tuple[str, ...]:
        """Hashes that an image signed by such a key may use, the usual one first."""
        return _HASH_NAMES[self]

    @property
    def max_signature_size(self) -> int:
        """Bytes of the longest signature; RSA and Ed25519 signatures are all of this size."""
        return _SIGNATURE_SIZES[self]


_SIGNATURE_TYPES: Final = {
    KeyKind.RSA2048: TlvType.RSA2048_PSS,
    KeyKind.RSA3072: TlvType.RSA3072_PSS,
    KeyKind.P256: TlvType.ECDSA_SIG,
    KeyKind.P384: TlvType.ECDSA_SIG,
    KeyKind.ED25519: TlvType.ED25519,
}
_HASH_NAMES: Final = {
    KeyKind.RSA2048: ("sha256",),
    KeyKind.RSA3072: ("sha256",),
    KeyKind.P256: ("sha256",),
    KeyKind.P384: ("sha384",),
    KeyKind.ED25519: ("sha256", "sha512"),
}
# ECDSA: a DER sequence of two integers of 33 and 49 bytes at most, to which imgtool's --pad-sig
# pads.
_SIGNATURE_SIZES: Final = {
    KeyKind.RSA2048: 256,
    KeyKind.RSA3072: 384,
    KeyKind.P256: 72,
    KeyKind.P384: 104,
    KeyKind.ED25519: 64,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key. Two keys are equal if their bytes are; `name` is for people and takes no part.

    Attributes:
        kind: what sort of key it is.
        der: SubjectPublicKeyInfo, whatever the form it was read from.
        mcuboot_der: the bytes that MCUboot embeds and hashes.
        name: how to speak of it; may be empty.
    """

    kind: KeyKind
    der: bytes = field(repr=False)
    mcuboot_der: bytes = field(repr=False)
    name: str = field(default="", compare=False)

    @classmethod
    def from_pem(cls, pem: bytes, *, name: str = "") -> Self:
        """Read `PUBLIC KEY` or `RSA PUBLIC KEY`.

        Raises:
            InvalidKeyError: not such a PEM, or a kind or size of key that MCUboot does not verify.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidKeyError(f"public key cannot be read as pem: {error}") from error
        return cls.from_crypto(key, name=name)

    @classmethod
    def from_der(cls, der: bytes, *, name: str = "") -> Self:
        """Read SubjectPublicKeyInfo or PKCS#1; raises InvalidKeyError as `from_pem`."""
        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidKeyError(f"public key cannot be read as der: {error}") from error
        return cls.from_crypto(key, name=name)

    @classmethod
    def from_crypto(cls, key: PublicKeyTypes, *, name: str = "") -> Self:
        """Take a `cryptography` key; raises InvalidKeyError for a kind that MCUboot lacks."""
        kind = _kind_of(key)
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        mcuboot_der = der
        if isinstance(key, rsa.RSAPublicKey):
            mcuboot_der = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        return cls(kind, der, mcuboot_der, name)

    def to_pem(self) -> bytes:
        """Give the key as a `PUBLIC KEY` PEM, which `imgtool verify -k` reads too."""
        key = load_der_public_key(self.der)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def key_hash(self, hash_name: str = "sha256") -> bytes:
        """Give the value of a KEYHASH TLV that names this key in an image of that hash."""
        return hashlib.new(hash_name, self.mcuboot_der).digest()

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the signature, by MCUboot's rules or stricter ones.

        Args:
            signature: the value of the signature TLV.
            message: the image's digest by the hash of this kind of key; for a pure Ed25519
                signature the bytes themselves.
        """
        key = load_der_public_key(self.der)
        try:
            if isinstance(key, rsa.RSAPublicKey):
                _verify_rsa(key, signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                _verify_ecdsa(key, signature, message, self.kind)
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                raise InvalidKeyError(f"no signature can be verified with a {type(key).__name__}")
        except InvalidSignature:
            return False
        return True


def _kind_of(key: PublicKeyTypes) -> KeyKind:
    match key:
        case rsa.RSAPublicKey(key_size=2048):
            return KeyKind.RSA2048
        case rsa.RSAPublicKey(key_size=3072):
            return KeyKind.RSA3072
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return KeyKind.P256
        case ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return KeyKind.P384
        case ed25519.Ed25519PublicKey():
            return KeyKind.ED25519
        case _:
            size = f" of {key.key_size} bits" if hasattr(key, "key_size") else ""
            raise InvalidKeyError(
                f"key is a {type(key).__name__}{size}, must be one of {', '.join(KeyKind)}"
            )


def _verify_rsa(key: rsa.RSAPublicKey, signature: bytes, digest: bytes) -> None:
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=PSS_SALT_SIZE)
    key.verify(signature, digest, pss, Prehashed(hashes.SHA256()))


def _verify_ecdsa(
    key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes, kind: KeyKind
) -> None:
    """Verify strict DER with at most zeros behind it, up to the curve's longest signature."""
    if len(signature) > kind.max_signature_size or len(signature) < _DER_HEAD_SIZE:
        raise InvalidSignature
    der_size = _DER_HEAD_SIZE + signature[1]
    der, behind = signature[:der_size], signature[der_size:]
    if signature[0] != _DER_SEQUENCE or any(behind) or not _is_canonical(der):
        raise InvalidSignature
    key.verify(der, digest, ec.ECDSA(Prehashed(_ecdsa_hash(kind))))


def _is_canonical(der: bytes) -> bool:
    """Whether `der` is the one way to write its two integers."""
    try:
        r, s = decode_dss_signature(der)
    except ValueError:
        return False
    return encode_dss_signature(r, s) == der


def _ecdsa_hash(kind: KeyKind) -> hashes.HashAlgorithm:
    return hashes.SHA384() if kind is KeyKind.P384 else hashes.SHA256()


class TrustStore:
    """The keys whose images are accepted, found by key hash. Not changed after it is made."""

    __slots__ = ("_by_hash", "_keys")

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys: Final = tuple(dict.fromkeys(keys))
        self._by_hash: Final = {
            key.key_hash(name): key for key in self._keys for name in HASH_TYPES.values()
        }

    def find(self, key_hash: bytes) -> PublicKey | None:
        """Give the key that a whole KEYHASH value names; None if it is not trusted."""
        return self._by_hash.get(key_hash)

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __repr__(self) -> str:
        return f"TrustStore({list(self._keys)!r})"

"""Makes signed images of the shape that imgtool makes. The key may live in a file or a token.

Reads no file: a key file comes in as its bytes.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from images.errors import InvalidKeyError, MalformedImageError
from images.header import HEADER_SIZE, IMAGE_MAGIC, MAX_U32, Flag, Header, Version
from images.image import SECURITY_COUNTER_SIZE
from images.keys import PSS_SALT_SIZE, KeyKind, PublicKey, TrustStore
from images.metadata import LockMetadata
from images.tlv import HASH_TYPES, PROTECTED_MAGIC, UNPROTECTED_MAGIC, Tlv, TlvType, build_area
from images.verify import verify

DEFAULT_HEADER_SIZE: Final = 512
"""Zephyr's CONFIG_ROM_START_OFFSET on most boards: the vector table behind it stays aligned."""

HEADER_PADDING: Final = b"\xff"
"""What erased flash reads as, so nothing is programmed for it; imgtool's default as well."""

_HASH_TLVS: Final = {name: TlvType(kind) for kind, name in HASH_TYPES.items()}

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class ImageSigner(Protocol):
    """Whoever holds the private half of an image key: a file, a token, a service."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Sign the digest of an image and give the value of the signature TLV.

        A token needs no more than the digest: CKM_ECDSA and CKM_RSA_PKCS_PSS (SHA-256,
        MGF1-SHA-256, 32 bytes of salt) sign it as it is, and CKM_EDDSA takes it for its message.
        ECDSA gives DER, not r and s side by side.

        Args:
            digest: by the hash that `sign()` was asked for, 32 to 64 bytes.
        """
        ...


class FileSigner:
    """A private key that came out of a PEM file, held in memory. Its repr tells nothing of it."""

    __slots__ = ("_key", "_public")

    def __init__(self, key: _PrivateKey, *, name: str = "") -> None:
        self._key: Final = key
        self._public: Final = PublicKey.from_crypto(key.public_key(), name=name)

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None, *, name: str = "") -> Self:
        """Read a private key as `imgtool keygen` or openssl write it.

        Raises:
            InvalidKeyError: not such a PEM, a wrong or missing passphrase, or a key that MCUboot
                does not verify.
        """
        try:
            key = load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidKeyError(f"private key cannot be read: {error}") from error
        if not isinstance(key, _PrivateKey):
            raise InvalidKeyError(
                f"key is a {type(key).__name__}, must be one of {', '.join(KeyKind)}"
            )
        return cls(key, name=name)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    def sign(self, digest: bytes) -> bytes:
        """Sign as `ImageSigner` says."""
        match self._key:
            case rsa.RSAPrivateKey():
                pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=PSS_SALT_SIZE)
                return self._key.sign(digest, pss, Prehashed(hashes.SHA256()))
            case ec.EllipticCurvePrivateKey():
                p384 = self._public.kind is KeyKind.P384
                algorithm = hashes.SHA384() if p384 else hashes.SHA256()
                return self._key.sign(digest, ec.ECDSA(Prehashed(algorithm)))
            case _:
                return self._key.sign(digest)

    def __repr__(self) -> str:
        return f"FileSigner({self._public!r})"


def sign(
    payload: bytes,
    key: ImageSigner,
    *,
    version: Version,
    security_counter: int | None = None,
    metadata: LockMetadata | None = None,
    header_size: int = DEFAULT_HEADER_SIZE,
    load_addr: int = 0,
    hash_name: str | None = None,
) -> bytes:
    """Make a signed image, and verify it before giving it away.

    Args:
        payload: what the lock runs, 1 byte or more, without header.
        key: signs the digest.
        version: for the header.
        security_counter: 0 to 2**32-1; None leaves it out.
        metadata: the locks it is meant for; None leaves it out.
        header_size: bytes in front of the payload, 32 to 65,535.
        load_addr: address in RAM that the image is copied to; 0 for one that runs where it lies.
        hash_name: one of `key.public.kind.hash_names`; None takes the first.

    Raises:
        MalformedImageError: a number that does not fit its field, an empty payload, or one that is
            an image already.
        InvalidKeyError: the key does not go with `hash_name`.
        BadSignatureError: the signer gave a signature that does not verify.
    """
    kind = key.public.kind
    name = kind.hash_names[0] if hash_name is None else hash_name
    if name not in kind.hash_names:
        raise InvalidKeyError(f"hash is {name}, an {kind} key signs {' or '.join(kind.hash_names)}")
    protected = _protected_area(security_counter, metadata)
    header = Header(
        load_addr=load_addr,
        header_size=header_size,
        protected_size=len(protected),
        image_size=len(payload),
        flags=Flag.RAM_LOAD if load_addr else 0,
        version=version,
    )
    signed_bytes = _with_header(header, payload) + protected
    digest = hashlib.new(name, signed_bytes).digest()
    entries = (
        Tlv(_HASH_TLVS[name], digest),
        Tlv(TlvType.KEYHASH, key.public.key_hash(name)),
        Tlv(kind.signature_type, key.sign(digest)),
    )
    image = signed_bytes + build_area(UNPROTECTED_MAGIC, entries)
    # A token with a wrong mechanism or a stale session signs something else; better found here than
    # by a lock.
    return verify(image, TrustStore([key.public]), hash_name=name).data


def _with_header(header: Header, payload: bytes) -> bytes:
    if payload.startswith(IMAGE_MAGIC.to_bytes(4, "little")):
        error = MalformedImageError("payload is an image already, must be what goes into one")
        error.add_note("sign the binary that the linker made, not the one that was signed before")
        raise error
    if header.header_size < HEADER_SIZE:
        raise MalformedImageError(
            f"header size is {header.header_size}, must be at least {HEADER_SIZE}"
        )
    return header.build() + HEADER_PADDING * (header.header_size - HEADER_SIZE) + payload


def _protected_area(security_counter: int | None, metadata: LockMetadata | None) -> bytes:
    entries: list[Tlv] = []
    if security_counter is not None:
        if not 0 <= security_counter <= MAX_U32:
            raise MalformedImageError(
                f"security counter is {security_counter}, must be 0 to {MAX_U32}"
            )
        entries.append(
            Tlv(TlvType.SEC_CNT, security_counter.to_bytes(SECURITY_COUNTER_SIZE, "little"))
        )
    if metadata is not None:
        entries.extend(metadata.to_tlvs())
    return build_area(PROTECTED_MAGIC, entries) if entries else b""

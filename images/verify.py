"""The one judge of images: bytes and trusted keys in, a proof that the image may be used out.

Knows nothing of locks, models or policy. The rules are MCUboot's (bootutil image_validate.c, tlv.c,
bootutil_loader.c), or stricter where MCUboot leaves room for two readings; README.md gives each
with its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import InitVar, dataclass, field
from typing import Final, NoReturn

from images.errors import (
    BadSignatureError,
    HashMismatchError,
    MalformedImageError,
    UnsignedImageError,
    UnsupportedImageError,
    UntrustedSignerError,
)
from images.header import Flag, Version
from images.image import Image
from images.keys import KeyKind, PublicKey, TrustStore
from images.metadata import LockMetadata
from images.tlv import HASH_TYPES, SIGNATURE_TYPES, UNPROTECTED_TYPES, Tlv, TlvType

DEPENDENCY_SIZE: Final = 12
UUID_SIZE: Final = 16
PURE_HASH_NAME: Final = "sha512"
"""The hash of pure images: MCUboot's pure builds and imgtool's `--pure` use no other."""

_SIG_PURE_TRUE: Final = b"\x01"
_PROOF: Final = object()

# In the order in which they are named when an image has several.
_REFUSED: Final[dict[str, str]] = {
    "encrypted-aes128": "payload is encrypted with aes-128",
    "encrypted-aes256": "payload is encrypted with aes-256",
    "encrypted-key": "image carries an encryption key",
    "compressed-lzma1": "payload is compressed with lzma1",
    "compressed-lzma2": "payload is compressed with lzma2",
    "compressed-arm-thumb": "payload went through the arm thumb filter",
    "compressed-original": "image describes a compressed payload",
    "position-independent": "image is position independent, which mcuboot does not support",
    "non-bootable": "image is marked as not bootable",
    "full-public-key": "image carries a whole public key in place of its hash",
    "ecdsa-p224": "signature is ecdsa p-224, which mcuboot no longer verifies",
}
_CONTRADICTIONS: Final = (
    Flag.ENCRYPTED_AES128 | Flag.ENCRYPTED_AES256,
    Flag.COMPRESSED_LZMA1 | Flag.COMPRESSED_LZMA2,
    Flag.RAM_LOAD | Flag.ROM_FIXED,
)
_FIXED_SIZES: Final[dict[int, int]] = {
    TlvType.DEPENDENCY: DEPENDENCY_SIZE,
    TlvType.UUID_VID: UUID_SIZE,
    TlvType.UUID_CID: UUID_SIZE,
    TlvType.RSA2048_PSS: KeyKind.RSA2048.max_signature_size,
    TlvType.RSA3072_PSS: KeyKind.RSA3072.max_signature_size,
    TlvType.ED25519: KeyKind.ED25519.max_signature_size,
}


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """Proof that `verify()` accepted these bytes. Nothing else makes one; it cannot be pickled.

    Attributes:
        data: the image from its first byte to the end of its last TLV; what followed in the file is
            gone.
        version: from the header.
        digest: value of the hash TLV, which is the hash of header, payload and protected area; 32
            to 64 bytes.
        hash_name: the algorithm of `digest`, as `hashlib` names it.
        security_counter: 0 to 2**32-1; None if the image has none.
        signer: hash of the key that signed, lower-case hex; empty if nobody did.
        metadata: the locks that it is meant for; None if it does not say.
        features: as `Image.features`.
        load_addr: RAM or flash address for which it is built; None if it says nothing.

    Raises:
        TypeError: made by anything other than `verify()`.
    """

    data: bytes = field(repr=False)
    version: Version
    digest: bytes
    hash_name: str
    security_counter: int | None
    signer: str
    metadata: LockMetadata | None
    features: tuple[str, ...]
    load_addr: int | None
    proof: InitVar[object] = None

    def __post_init__(self, proof: object) -> None:
        if proof is not _PROOF:
            raise TypeError("only images.verify() makes a VerifiedImage")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a VerifiedImage is no proof once it was written down; verify its data again"
        )

    @property
    def signed(self) -> bool:
        """Whether a trusted key signed it; False is an image that only its hash vouches for."""
        return bool(self.signer)

    @property
    def size(self) -> int:
        """Bytes that a slot must hold: the length of `data`."""
        return len(self.data)


def verify(
    data: bytes,
    trust: TrustStore,
    *,
    hash_name: str | None = None,
    max_size: int | None = None,
    pure: bool = False,
    unsigned: bool = False,
) -> VerifiedImage:
    """Judge an image as one build of MCUboot with the keys of `trust` would, or more strictly.

    In this order, so that the first thing wrong is the one reported:

    1. Structure: header magic and sizes; both areas of the size that header and file allow, filled
       exactly by entries; no unknown or contradictory flag, nor a load address without its flag; a
       payload; at most `max_size`.
    2. Nothing that a plain lock cannot take: encryption, compression, a whole public key, and so
       on, each refused by name.
    3. Each TLV in the area where it belongs, of its right size, once (dependencies and signature
       pairs may repeat).
    4. One hash TLV, which is the hash of everything in front of the unprotected area.
    5. Pairs of KEYHASH and signature; at least one by a trusted key; every signature by a trusted
       key is right, by a key of the kind that its TLV type says, over a digest of the kind that
       goes with the key.

    Args:
        data: a whole file; bytes behind the last TLV are ignored.
        trust: the keys that count.
        hash_name: demand this hash (`sha256`, `sha384`, `sha512`); None takes the one in the image.
        max_size: bytes up to the end of the last TLV that the slot can hold; None for no limit.
        pure: the build verifies pure Ed25519 signatures and no others; False: digests alone.
        unsigned: take an image without any signature too; the proof says so.

    Raises:
        MalformedImageError: rules 1 and 3. UnsupportedImageError: rule 2, a hash other than
            `hash_name`, or a signature of the form that `pure` excludes. HashMismatchError: rule 4.
            UnsignedImageError, BadSignatureError, UntrustedSignerError: rule 5. Nothing else,
            whatever the bytes.
    """
    image = Image.parse(data)
    _check_header(image, max_size)
    _check_features(image, pure=pure)
    _check_placement(image)
    name, digest = _check_hash(image, hash_name, pure=pure)
    message = image.signed_bytes if pure else digest
    bare = unsigned and not _has_signature(image)
    signer = "" if bare else _check_signatures(image, trust, name, message)
    addressed = image.header.flags & (Flag.RAM_LOAD | Flag.ROM_FIXED)
    return VerifiedImage(
        data=image.data,
        version=image.version,
        digest=digest,
        hash_name=name,
        security_counter=image.security_counter,
        signer=signer,
        metadata=image.metadata,
        features=image.features,
        load_addr=image.header.load_addr if addressed else None,
        proof=_PROOF,
    )


def _check_header(image: Image, max_size: int | None) -> None:
    header = image.header
    if header.unknown_flags:
        raise MalformedImageError(f"flags {header.unknown_flags:#010x} are not known", offset=16)
    for pair in _CONTRADICTIONS:
        if header.has(pair):
            raise MalformedImageError(f"flags {pair!s} exclude each other", offset=16)
    if header.load_addr and not header.flags & (Flag.RAM_LOAD | Flag.ROM_FIXED):
        raise MalformedImageError(
            f"load address is {header.load_addr:#010x}, must be 0 without its flag", offset=4
        )
    if header.pad:
        raise MalformedImageError(f"reserved word is {header.pad:#010x}, must be 0", offset=28)
    if not header.image_size:
        raise MalformedImageError("payload is empty", offset=12)
    if max_size is not None and len(image.data) > max_size:
        raise MalformedImageError(f"image has {len(image.data)} bytes, at most {max_size} fit")


def _check_features(image: Image, *, pure: bool) -> None:
    features = image.features
    for feature, text in _REFUSED.items():
        if feature in features:
            raise UnsupportedImageError(text, feature=feature)
    if image.pure and not pure:
        raise UnsupportedImageError(
            "signature is over the image, must be over its digest", feature="pure-signature"
        )
    if pure and not image.pure:
        raise UnsupportedImageError(
            "signature is over the digest, must be over the image", feature="digest-signature"
        )


def _check_placement(image: Image) -> None:
    """Hold every TLV to its area, size and number."""
    for tlv in image.protected:
        if tlv.kind in UNPROTECTED_TYPES:
            raise MalformedImageError(f"tlv {tlv.name} stands in the protected area")
    for tlv in image.unprotected:
        if tlv.kind not in UNPROTECTED_TYPES:
            raise MalformedImageError(f"tlv {tlv.name} stands outside the protected area")
    _check_number(image)
    for tlv in image.protected + image.unprotected:
        wanted = _FIXED_SIZES.get(tlv.kind, len(tlv.value))
        if len(tlv.value) != wanted:
            raise MalformedImageError(
                f"tlv {tlv.name} has {len(tlv.value)} bytes, must have {wanted}"
            )
        if tlv.kind == TlvType.SIG_PURE and tlv.value != _SIG_PURE_TRUE:
            raise MalformedImageError(f"tlv SIG_PURE is {tlv.value.hex()}, must be 01")


def _check_number(image: Image) -> None:
    single = [tlv.kind for tlv in image.protected if tlv.kind != TlvType.DEPENDENCY]
    single += [tlv.kind for tlv in image.unprotected if tlv.kind == TlvType.SIG_PURE]
    for kind, number in Counter(single).items():
        if number > 1:
            name = Tlv(kind, b"").name
            raise MalformedImageError(f"tlv {name} appears {number} times, at most 1 may")


def _check_hash(image: Image, wanted: str | None, *, pure: bool) -> tuple[str, bytes]:
    """Give the name and value of the one hash, found right."""
    found = [tlv for tlv in image.unprotected if tlv.kind in HASH_TYPES]
    if len(found) != 1:
        raise MalformedImageError(f"image has {len(found)} hash tlvs, must have 1")
    name, stated = HASH_TYPES[found[0].kind], found[0].value
    for demanded in (wanted, PURE_HASH_NAME if pure else None):
        if demanded is not None and name != demanded:
            raise UnsupportedImageError(f"hash is {name}, must be {demanded}", feature=name)
    computed = hashlib.new(name, image.signed_bytes).digest()
    for tlv in image.unprotected:
        if tlv.kind in HASH_TYPES or tlv.kind == TlvType.KEYHASH:
            _check_hash_size(tlv, len(computed))
    if stated != computed:
        raise HashMismatchError(
            f"{name} is {computed.hex()}, the image says {stated.hex()}",
            stated=stated,
            computed=computed,
        )
    return name, stated


def _check_hash_size(tlv: Tlv, size: int) -> None:
    if len(tlv.value) != size:
        raise MalformedImageError(f"tlv {tlv.name} has {len(tlv.value)} bytes, must have {size}")


def _check_signatures(image: Image, trust: TrustStore, name: str, message: bytes) -> str:
    """Give the key hash of the last trusted pair, in hex, once every trusted pair is right."""
    pairs = _signature_pairs(image)
    trusted = [(key, sig) for key_hash, sig in pairs if (key := trust.find(key_hash.value))]
    if not trusted:
        named = ", ".join(image.signers)
        raise UntrustedSignerError(
            f"signed by {named}, which is not trusted here", signers=image.signers
        )
    for key, signature in trusted:
        _check_signature(key, signature, name, message)
    return trusted[-1][0].key_hash(name).hex()


def _has_signature(image: Image) -> bool:
    return any(tlv.kind in SIGNATURE_TYPES for tlv in image.unprotected)


def _signature_pairs(image: Image) -> list[tuple[Tlv, Tlv]]:
    """Give each KEYHASH with the signature behind it; other TLVs may stand between."""
    parts = [t for t in image.unprotected if t.kind in SIGNATURE_TYPES | {TlvType.KEYHASH}]
    if not _has_signature(image):
        raise UnsignedImageError("image is not signed")
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    in_turn = all(a.kind == TlvType.KEYHASH and b.kind != TlvType.KEYHASH for a, b in pairs)
    if len(parts) % 2 or not in_turn:
        raise BadSignatureError("each signature must follow the key hash that it belongs to")
    if len({key_hash.value for key_hash, _ in pairs}) != len(pairs):
        raise BadSignatureError("two signatures name the same key", signer=pairs[0][0].value.hex())
    return pairs


def _check_signature(key: PublicKey, signature: Tlv, name: str, message: bytes) -> None:
    signer = key.key_hash(name).hex()
    if signature.kind != key.kind.signature_type:
        raise BadSignatureError(
            f"signature is tlv {signature.name}, "
            f"an {key.kind} key makes {key.kind.signature_type.name}",
            signer=signer,
        )
    if name not in key.kind.hash_names:
        raise BadSignatureError(
            f"hash is {name}, an {key.kind} key signs {' or '.join(key.kind.hash_names)}",
            signer=signer,
        )
    if not key.accepts(signature.value, message):
        raise BadSignatureError(f"signature was not made by key {signer}", signer=signer)

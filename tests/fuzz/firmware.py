"""Harnesses of firmware files: images, damaged or well signed, Intel HEX, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fuzz.harness import Harness, split
from imagecraft import craft

from images import (
    FileSigner,
    HexFile,
    Image,
    ImageError,
    InvalidKeyError,
    LockMetadata,
    MalformedImageError,
    PublicKey,
    Tlv,
    TlvType,
    TrustStore,
    VerifiedImage,
    Version,
    firmware_bytes,
    parse_hex,
    sign,
    verify,
)
from images.tlv import HASH_TYPES, UNPROTECTED_MAGIC, build_area


@cache
def _signer() -> FileSigner:
    return FileSigner(ed25519.Ed25519PrivateKey.from_private_bytes(b"\x11" * 32))


@cache
def _trust() -> TrustStore:
    other = FileSigner(ec.derive_private_key(7, ec.SECP256R1()))
    return TrustStore([_signer().public, other.public])


def _image(data: bytes) -> VerifiedImage:
    """Everything that an image says of itself is asked before it is judged."""
    file = firmware_bytes(data)
    image = Image.parse(file)
    _ask(image)
    return verify(file, _trust())


def _ask(image: Image) -> None:
    assert image.features is not None
    assert (image.payload, image.digest, image.hash_name, image.signers) is not None
    assert (image.encrypted, image.compressed, image.pure) is not None


def _check_image(data: bytes, image: VerifiedImage) -> None:
    assert firmware_bytes(data).startswith(image.data)
    assert Image.parse(image.data).data == image.data
    assert verify(image.data, _trust()) == image


def _signed_image(data: bytes) -> VerifiedImage:
    """Hashes and signatures are made right: what a vendor's key signs may still be odd."""
    flags, file = split(data, 1)
    image = Image.parse(file)
    pure = bool(flags[0] & 1)
    entries = [_mended(image, tlv, pure=pure) for tlv in image.unprotected]
    mended = image.signed_bytes + build_area(UNPROTECTED_MAGIC, entries)
    return verify(mended + b"behind", _trust(), pure=pure, max_size=None if flags[0] & 2 else 3000)


def _mended(image: Image, tlv: Tlv, *, pure: bool) -> Tlv:
    name = HASH_TYPES.get(tlv.kind)
    digest = hashlib.new(name or image.hash_name or "sha256", image.signed_bytes).digest()
    if name is not None:
        return Tlv(tlv.kind, digest)
    if tlv.kind == TlvType.KEYHASH and tlv.value[:1] != b"\xff":
        return Tlv(tlv.kind, _signer().public.key_hash(image.hash_name or "sha256"))
    if tlv.kind == TlvType.ED25519:
        return Tlv(tlv.kind, _signer().sign(image.signed_bytes if pure else digest))
    return tlv


def _check_signed_image(_data: bytes, image: VerifiedImage) -> None:
    assert image.signed
    assert Image.parse(image.data).data == image.data
    assert hashlib.new(image.hash_name, Image.parse(image.data).signed_bytes).digest() == (
        image.digest
    )


def _check_hex(_data: bytes, file: HexFile) -> None:
    """Written anew in the plainest way it says the same."""
    assert file.data
    assert len(file.data) < 1 << 21
    if len(file.data) > 1 << 14:
        return
    lines, base = [], -1
    for at in range(0, len(file.data), 16):
        address = file.address + at
        chunk = file.data[at : at + 16]
        if (address & 0xFFFF) + len(chunk) > 0x10000:
            return
        if address >> 16 != base and address >> 16 <= 0xFFFF:
            base = address >> 16
            lines.append(_hex_record(0, 4, base.to_bytes(2, "big")))
        lines.append(_hex_record(address & 0xFFFF, 0, chunk))
    if file.address + len(file.data) <= 1 << 32:
        assert parse_hex(b"".join([*lines, _hex_record(0, 1, b"")])) == file


def _hex_record(offset: int, kind: int, data: bytes) -> bytes:
    raw = bytes([len(data)]) + offset.to_bytes(2, "big") + bytes([kind]) + data
    return b":" + (raw + bytes([-sum(raw) % 256])).hex().encode() + b"\n"


def _key(data: bytes) -> PublicKey:
    if b"PRIVATE" in data:
        return FileSigner.from_pem(data).public
    if data.startswith(b"-"):
        return PublicKey.from_pem(data)
    return PublicKey.from_der(data)


def _check_key(_data: bytes, key: PublicKey) -> None:
    assert PublicKey.from_pem(key.to_pem()) == key
    assert PublicKey.from_der(key.der) == key
    assert len(key.key_hash()) == 32
    assert key.accepts(bytes(64), bytes(32)) is False


def _images() -> Iterator[bytes]:
    metadata = LockMetadata("AL-1", ("A", "B"), ("2026-31",))
    yield sign(
        b"code" * 9,
        _signer(),
        version=Version(1, 2, 3, 4),
        security_counter=3,
        metadata=metadata,
    )
    yield sign(b"code", _signer(), version=Version(0, 0, 1))
    protected = [Tlv(TlvType.SEC_CNT, bytes(4)), Tlv(TlvType.DEPENDENCY, bytes(12))]
    yield craft(_signer(), protected=protected)
    yield craft(_signer(), flags=0x10, load_addr=0x20000000, header_size=64)


def _signed_images() -> Iterator[bytes]:
    for image in _images():
        yield b"\x00" + image
        yield b"\x03" + image


def _hexes() -> Iterator[bytes]:
    end = _hex_record(0, 1, b"")
    yield _hex_record(0, 4, b"\x08\x00") + _hex_record(16, 0, b"\x3d\xb8\xf3\x96" * 4) + end
    yield (
        _hex_record(0, 2, b"\x10\x00") + _hex_record(0, 3, bytes(4)) + _hex_record(0, 0, b"x") + end
    )
    yield _hex_record(8, 0, b"b") + _hex_record(0, 0, b"a") + _hex_record(0, 5, bytes(4)) + end


def _keys() -> Iterator[bytes]:
    yield _signer().public.to_pem()
    yield _signer().public.der
    for private in (
        ec.derive_private_key(7, ec.SECP256R1()),
        ec.derive_private_key(7, ec.SECP384R1()),
        ec.derive_private_key(7, ec.SECP224R1()),
    ):
        public = private.public_key()
        yield public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        yield public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        yield private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


HARNESSES = (
    Harness("image", "an image", _image, (ImageError,), _check_image, _images),
    Harness(
        "image-signed",
        "an image, hash and signature right",
        _signed_image,
        (ImageError,),
        _check_signed_image,
        _signed_images,
    ),
    Harness("hex", "Intel HEX", parse_hex, (MalformedImageError,), _check_hex, _hexes, 2048),
    Harness("image-key", "keys of images", _key, (InvalidKeyError,), _check_key, _keys, 1024),
)

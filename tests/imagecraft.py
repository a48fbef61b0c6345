"""Images made for tests: signed right, but for the one thing that a test wants wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from images import FileSigner, Header, KeyKind, Tlv, TlvType, Version
from images.tlv import PROTECTED_MAGIC, UNPROTECTED_MAGIC, build_area

PAYLOAD = bytes(range(48))
HASH_TYPES = {"sha256": TlvType.SHA256, "sha384": TlvType.SHA384, "sha512": TlvType.SHA512}

Tail = Callable[[list[Tlv]], Sequence[Tlv]]
"""Takes [hash, key hash, signature] and gives the unprotected entries that the image is to have."""


def generate(kind: KeyKind) -> FileSigner:
    match kind:
        case KeyKind.RSA2048:
            return FileSigner(rsa.generate_private_key(65537, 2048))
        case KeyKind.RSA3072:
            return FileSigner(rsa.generate_private_key(65537, 3072))
        case KeyKind.P256:
            return FileSigner(ec.generate_private_key(ec.SECP256R1()))
        case KeyKind.P384:
            return FileSigner(ec.generate_private_key(ec.SECP384R1()))
        case KeyKind.ED25519:
            return FileSigner(ed25519.Ed25519PrivateKey.generate())


def entries(key: FileSigner, signed: bytes, hash_name: str) -> list[Tlv]:
    digest = hashlib.new(hash_name, signed).digest()
    return [
        Tlv(HASH_TYPES[hash_name], digest),
        Tlv(TlvType.KEYHASH, key.public.key_hash(hash_name)),
        Tlv(key.public.kind.signature_type, key.sign(digest)),
    ]


def craft(
    key: FileSigner,
    *,
    protected: Sequence[Tlv] = (),
    tail: Tail = list,
    hash_name: str | None = None,
    payload: bytes = PAYLOAD,
    flags: int = 0,
    load_addr: int = 0,
    pad: int = 0,
    protected_size: int | None = None,
    header_size: int = 32,
) -> bytes:
    name = hash_name or key.public.kind.hash_names[0]
    area = build_area(PROTECTED_MAGIC, protected) if protected else b""
    header = Header(
        load_addr=load_addr,
        header_size=header_size,
        protected_size=len(area) if protected_size is None else protected_size,
        image_size=len(payload),
        flags=flags,
        version=Version(1, 2, 3, 4),
        pad=pad,
    )
    signed = header.build() + bytes(header_size - 32) + payload + area
    return signed + build_area(UNPROTECTED_MAGIC, tail(entries(key, signed, name)))

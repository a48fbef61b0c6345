"""The signed envelope of every certificate, ticket, intent and receipt. No policy, no clock.

Layout (big-endian; protocol/README, "Sealed objects"): magic[4] | type u8 | algorithm u8 |
signer[8] | length u16 | body | signature[64]. The body is a run of TLVs in strictly ascending
order. There is one way to write every object, so parsing and building are exact inverses.

Read and written by hand: a ledger is checked object by object, and a construct parse costs more
than a signature. A body with the same tags and lengths as one before it is read in one stroke (see
`Shape`). The tests hold both ways against a construct description of the same layout.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from protocol.errors import MalformedObjectError, SignatureError

BODY_LIMIT: Final = 880
"""Most bytes of a body; an object is at most 960 bytes."""

HEADER_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64
KEY_ID_SIZE: Final = 8
CRITICAL: Final = 0x80

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the P-256 group (FIPS 186-5, D.1.2.3); s above its half is refused as malleable."""


class Realm(Enum):
    """Real or training: different magic, different signature domains, no way across."""

    PRODUCTION = b"SVC1"
    TRAINING = b"SVT1"

    @property
    def signature_domain(self) -> bytes:
        """Prefix of every signed object."""
        return b"svcport-sig-v1\0" if self is Realm.PRODUCTION else b"svcport-training-v1\0"

    @property
    def auth_domain(self) -> bytes:
        """Prefix of what a technician signs to open a session."""
        if self is Realm.PRODUCTION:
            return b"svcport-auth-v1\0"
        return b"svcport-training-auth-v1\0"


class ObjectType(IntEnum):
    """What a sealed object is."""

    ISSUER = 1
    TECHNICIAN = 2
    LOCK = 3
    TICKET = 4
    EPOCH = 5
    TIME = 6
    OWNER_APPROVAL = 7
    ENTRY = 16
    RECEIPT = 17
    REFUSAL = 18
    MEASUREMENT = 19


class Algorithm(IntEnum):
    """How an object is signed: Ed25519, or ECDSA P-256 over SHA-256 as raw r | s with low s."""

    ED25519 = 1
    ECDSA_P256 = 2


@dataclass(frozen=True)
class SubjectKey:
    """A public key as in objects: 01 | pk[32] (Ed25519) or 02 | 04 | x[32] | y[32] (P-256)."""

    raw: bytes

    def __post_init__(self) -> None:
        if (self.raw[:1], len(self.raw)) not in ((b"\x01", 33), (b"\x02", 66)):
            raise MalformedObjectError(f"{len(self.raw)} bytes are no subject key")
        if self.raw[:1] == b"\x02" and self.raw[1] != 0x04:
            raise MalformedObjectError("a P-256 subject key is an uncompressed point (04 | x | y)")

    @classmethod
    def of(cls, key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> SubjectKey:
        """The subject key of a public key; any curve but P-256 is MalformedObjectError."""
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(b"\x01" + key.public_bytes_raw())
        numbers = key.public_numbers()
        if not isinstance(key.curve, ec.SECP256R1):
            raise MalformedObjectError(f"curve {key.curve.name} is not P-256")
        point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        return cls(b"\x02" + point)

    @cached_property
    def algorithm(self) -> Algorithm:
        """How this key signs."""
        return Algorithm(self.raw[0])

    @cached_property
    def key_id(self) -> bytes:
        """First 8 bytes of the SHA-256 of the subject key."""
        return hashlib.sha256(self.raw).digest()[:KEY_ID_SIZE]

    @cached_property
    def _public(self) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey:
        try:
            if self.algorithm is Algorithm.ED25519:
                return ed25519.Ed25519PublicKey.from_public_bytes(self.raw[1:])
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw[1:])
        except ValueError as error:
            raise SignatureError("the subject key is no point of its curve") from error

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise SignatureError unless `signature` (64 bytes, low s) is this key's on `message`."""
        if len(signature) != SIGNATURE_SIZE:
            raise SignatureError(f"a signature has 64 bytes, this one {len(signature)}")
        public = self._public
        try:
            if isinstance(public, ed25519.Ed25519PublicKey):
                public.verify(signature, message)
                return
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if s > P256_ORDER // 2:
                raise SignatureError("the signature's s is not in the lower half")
            digest = hashlib.sha256(message).digest()
            der = encode_dss_signature(r, s)
            public.verify(der, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except InvalidSignature as error:
            raise SignatureError("the signature does not verify") from error


def raw_signature(der: bytes) -> bytes:
    """An ECDSA signature in DER as raw r | s with low s."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


class Signer(Protocol):
    """Whatever can sign for a subject key: a file, a token, an agent."""

    @property
    def subject(self) -> SubjectKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message` itself (not its hash), with low s."""


class Tlv(NamedTuple):
    """One field of a body: number 0..127, whether a reader must know it, value."""

    number: int
    critical: bool
    value: bytes


class FieldHeader(NamedTuple):
    """What stands before a field's value: its number, critical bit and length."""

    number: int
    critical: bool
    length: int


class Shape:
    """The field headers of a well-formed body. Bodies of one kind mostly share theirs.

    Whatever depends on the headers alone is found out once: that they ascend and fill the body,
    and what a reader of typed bodies makes of them. The first thousand or so that a process meets
    are kept, and no more.
    """

    __slots__ = ("_expected", "_layout", "headers")

    def __init__(self, body: tuple[Tlv, ...]) -> None:
        self.headers = tuple(FieldHeader(one[0], one[1], len(one[2])) for one in body)
        sizes = (f"{_FIELD.size}s{header.length}s" for header in self.headers)
        self._layout = struct.Struct(">" + "".join(sizes))
        self._expected = tuple(
            _FIELD.pack(number | CRITICAL if critical else number, length)
            for number, critical, length in self.headers
        )

    def values(self, area: bytes) -> Sequence[bytes] | None:
        """The fields' values in an area of this shape's size; None if its headers are not these."""
        parts = self._layout.unpack(area)
        return parts[1::2] if parts[::2] == self._expected else None


# Looked up by number: calling an enum costs more, and audits parse by the hundred thousand.
_REALMS: Final = {member.value: member for member in Realm}
_TYPES: Final = {int(member): member for member in ObjectType}
_ALGORITHMS: Final = {int(member): member for member in Algorithm}

_PREFIXES: Final = {
    realm.value + bytes([kind]): realm.signature_domain + bytes([kind])
    for realm in Realm
    for kind in ObjectType
}
"""What stands before a signed object, by its first five bytes."""

_HEADER: Final = struct.Struct(">4sBB8sH")
"""magic[4] | type u8 | algorithm u8 | signer[8] | length u16"""
_FIELD: Final = struct.Struct(">BH")
"""tag u8 | length u16"""

_SHAPES: Final[dict[tuple[int, int], tuple[Shape, ...]]] = {}
"""Shapes met so far by object type and size of the body; what is full is left as it is."""
_SHAPE_KEYS: Final = 256
_SHAPES_A_KEY: Final = 4


@dataclass(frozen=True)
class Sealed:
    """A well-formed sealed object whose signature nobody has checked yet; see `verify`.

    Made by `parse` and `seal_body` alone: `unsigned`, header and body, says again what the other
    members say.
    """

    realm: Realm
    type: ObjectType
    algorithm: Algorithm
    signer: bytes
    unsigned: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Sealed:
        """Read one object that fills `data` exactly, or raise MalformedObjectError."""
        if not HEADER_SIZE + SIGNATURE_SIZE <= len(data) <= BODY_LIMIT + 80:
            raise MalformedObjectError(f"a sealed object has 80..960 bytes, this one {len(data)}")
        magic, type_number, algorithm_number, signer, length = _HEADER.unpack_from(data)
        if len(data) != HEADER_SIZE + length + SIGNATURE_SIZE:
            raise MalformedObjectError(
                f"the body should have {length} bytes, "
                f"it has {len(data) - HEADER_SIZE - SIGNATURE_SIZE}"
            )
        realm, kind = _REALMS.get(magic), _TYPES.get(type_number)
        algorithm = _ALGORITHMS.get(algorithm_number)
        if realm is None or kind is None or algorithm is None:
            raise MalformedObjectError(
                f"unknown magic, type or algorithm: {magic!r}, {type_number}, {algorithm_number}"
            )
        unsigned = data[:-SIGNATURE_SIZE]
        parsed = cls(realm, kind, algorithm, signer, unsigned, data[-SIGNATURE_SIZE:])
        parsed.__dict__["known"] = _recognised(type_number, unsigned[HEADER_SIZE:])
        return parsed

    @cached_property
    def body(self) -> tuple[Tlv, ...]:
        """The fields, in ascending order."""
        return _parse_body(self.unsigned[HEADER_SIZE:])

    @cached_property
    def known(self) -> tuple[Shape, Sequence[bytes]] | None:
        """Shape and values of a parsed body, if one of that shape was met before; else None."""
        return None

    def build(self) -> bytes:
        """The object's bytes, exactly those that were parsed."""
        return self.unsigned + self.signature

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers: domain | type | header and body."""
        return _PREFIXES[self.unsigned[:5]] + self.unsigned

    @property
    def digest(self) -> bytes:
        """SHA-256 of the object. Never a replay key: signatures are not unique."""
        return hashlib.sha256(self.build()).digest()

    def verify(self, key: SubjectKey) -> None:
        """Raise SignatureError unless `key` signed this object."""
        if self.signer != key.key_id or self.algorithm is not key.algorithm:
            raise SignatureError(
                f"signed by key {self.signer.hex()}, wanted key {key.key_id.hex()}"
            )
        key.verify(self.signature, self.signed_bytes)


def seal_body(realm: Realm, kind: ObjectType, body: tuple[Tlv, ...], signer: Signer) -> Sealed:
    """Sign a body; a body out of order or too long is MalformedObjectError.

    A signer that gives anything but 64 bytes is SignatureError: its object would never parse.
    """
    subject = signer.subject
    unsigned = _unsigned(realm, kind, subject.algorithm, subject.key_id, body)
    if _parse_body(unsigned[HEADER_SIZE:]) != body:
        raise MalformedObjectError("the body's fields are not in ascending order")
    signature = signer.sign(_PREFIXES[unsigned[:5]] + unsigned)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureError(f"a signature has 64 bytes, the signer gave {len(signature)}")
    return Sealed(realm, kind, subject.algorithm, subject.key_id, unsigned, signature)


def _unsigned(
    realm: Realm, kind: ObjectType, algorithm: Algorithm, signer: bytes, body: tuple[Tlv, ...]
) -> bytes:
    fields = bytearray()
    for number, critical, value in body:
        if not 0 <= number < CRITICAL:
            raise MalformedObjectError(f"field numbers are 0..127, not {[t.number for t in body]}")
        _check_size(len(fields) + _FIELD.size + len(value))
        fields += _FIELD.pack(number | CRITICAL if critical else number, len(value)) + value
    if len(signer) != KEY_ID_SIZE:  # "8s" would pad or cut it in silence
        raise MalformedObjectError(f"a key id has {KEY_ID_SIZE} bytes, this one {len(signer)}")
    return _HEADER.pack(realm.value, kind, algorithm, signer, len(fields)) + fields


def _check_size(size: int) -> None:
    if size > BODY_LIMIT:
        raise MalformedObjectError(f"a body has at most {BODY_LIMIT} bytes, this one {size}")


def _recognised(kind: int, area: bytes) -> tuple[Shape, Sequence[bytes]] | None:
    """Shape and values of a body, None if the shape is new; a malformed one is refused."""
    key = kind, len(area)
    shapes = _SHAPES.get(key, ())
    for shape in shapes:
        values = shape.values(area)
        if values is not None:
            return shape, values
    body = _parse_body(area)
    if len(shapes) < _SHAPES_A_KEY and (shapes or len(_SHAPES) < _SHAPE_KEYS):
        _SHAPES[key] = (*shapes, Shape(body))
    return None


def _parse_body(area: bytes) -> tuple[Tlv, ...]:
    """Walk the fields; a corrupt tail is an error, never the end."""
    fields: list[Tlv] = []
    offset, last, end = 0, -1, len(area)
    while offset < end:
        start = offset + _FIELD.size
        if start > end:
            raise MalformedObjectError(f"a field header is cut at byte {offset}")
        tag, length = _FIELD.unpack_from(area, offset)
        number = tag & ~CRITICAL
        if number <= last:
            raise MalformedObjectError(f"field {number} follows field {last}: not ascending")
        offset, last = start + length, number
        if offset > end:
            raise MalformedObjectError(f"field {number} runs past the end of the body")
        fields.append(Tlv(number, tag >= CRITICAL, area[start:offset]))
    return tuple(fields)

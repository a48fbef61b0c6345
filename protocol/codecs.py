"""How the values of sealed objects are written: fixed widths, big-endian, one way each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Generic, TypeVar

from protocol.errors import MalformedMessageError, MalformedObjectError
from protocol.record import Record, printable
from protocol.sealed import KEY_ID_SIZE, SubjectKey

T = TypeVar("T")
REVOKED_LIMIT: Final = 32
"""Most key ids that one EPOCH statement names."""

TEXTS_KEPT: Final = 1024
"""Texts of each kind that need not be looked at again: the same serials and names come often."""


@dataclass(frozen=True)
class Codec(Generic[T]):
    """A value's two directions; both raise MalformedObjectError and nothing else.

    Attributes:
        width: the size that every value has, None if sizes differ.
        plain: `decode` without the check of the size, for a value known to be `width` bytes; None
            if such bytes are the value themselves.
    """

    decode: Callable[[bytes], T]
    encode: Callable[[T], bytes]
    width: int | None = None
    plain: Callable[[bytes], T] | None = None


def _unsigned(size: int) -> Codec[int]:
    def decode(value: bytes) -> int:
        return int.from_bytes(_sized(value, size), "big")

    def encode(number: int) -> bytes:
        try:
            return number.to_bytes(size, "big")
        except OverflowError as error:
            raise MalformedObjectError(f"{number} does not fit {size} bytes") from error

    return Codec(decode, encode, size, int.from_bytes)  # big-endian is its default


U8: Final = _unsigned(1)
U16: Final = _unsigned(2)
U32: Final = _unsigned(4)
U64: Final = _unsigned(8)


def exact(size: int) -> Codec[bytes]:
    """Exactly `size` bytes."""
    return Codec(lambda value: _sized(value, size), lambda value: _sized(value, size), size)


def blob(limit: int) -> Codec[bytes]:
    """Up to `limit` bytes, taken as they are."""

    def check(value: bytes) -> bytes:
        if len(value) > limit:
            raise MalformedObjectError(f"{len(value)} bytes where at most {limit} may stand")
        return value

    return Codec(check, check)


def text(limit: int) -> Codec[str]:
    """1 to `limit` printable ASCII characters."""

    def check(value: bytes) -> bytes:
        if not 1 <= len(value) <= limit or not printable(value):
            raise MalformedObjectError(f"{value!r} is not 1..{limit} printable ASCII characters")
        return value

    def encode(value: str) -> bytes:
        try:
            return check(value.encode("ascii"))
        except UnicodeEncodeError as error:
            raise MalformedObjectError(f"{value!r} is not ASCII") from error

    @functools.lru_cache(maxsize=TEXTS_KEPT)
    def decode(value: bytes) -> str:
        return check(value).decode("ascii")

    return Codec(decode, encode)


E = TypeVar("E", bound=IntEnum)
F = TypeVar("F", bound=IntFlag)


def enum_u8(enum: type[E]) -> Codec[E]:
    """One byte that names a member of `enum`."""
    members = {bytes([member]): member for member in enum}

    def decode(value: bytes) -> E:
        member = members.get(value)
        if member is None:
            raise MalformedObjectError(f"{value.hex()} is no {enum.__name__}")
        return member

    return Codec(decode, lambda member: U8.encode(int(member)))


def flags_u16(flags: type[F]) -> Codec[F]:
    """Two bytes of flags; bits without a name are kept, and allow nothing."""
    named = {int(member).to_bytes(2, "big"): member for member in flags}

    def decode(value: bytes) -> F:
        return named[value] if value in named else flags(U16.decode(value))

    return Codec(decode, lambda member: U16.encode(int(member)))


R = TypeVar("R", bound=Record)


def record(kind: type[R]) -> Codec[R]:
    """A record of fixed size as a value."""
    size = kind.WIRE.sizeof()

    def plain(value: bytes) -> R:
        try:
            return kind.parse(value)
        except MalformedMessageError as error:
            raise MalformedObjectError(str(error)) from error

    def decode(value: bytes) -> R:
        parsed = plain(value)
        if parsed.build() != value:
            raise MalformedObjectError(f"{kind.__name__}: {len(value)} bytes, some left over")
        return parsed

    def encode(value: R) -> bytes:
        try:
            return value.build()
        except MalformedMessageError as error:
            raise MalformedObjectError(str(error)) from error

    return Codec(decode, encode, size, plain)


def _decode_key(value: bytes) -> SubjectKey:
    return SubjectKey(value)


KEY: Final = Codec(_decode_key, lambda key: key.raw)


def _decode_key_ids(value: bytes) -> tuple[bytes, ...]:
    if len(value) % KEY_ID_SIZE or len(value) > REVOKED_LIMIT * KEY_ID_SIZE:
        raise MalformedObjectError(f"{len(value)} bytes are not 0..{REVOKED_LIMIT} key ids")
    return tuple(value[i : i + KEY_ID_SIZE] for i in range(0, len(value), KEY_ID_SIZE))


def _encode_key_ids(ids: tuple[bytes, ...]) -> bytes:
    value = b"".join(_sized(one, KEY_ID_SIZE) for one in ids)
    _decode_key_ids(value)
    return value


KEY_IDS: Final = Codec(_decode_key_ids, _encode_key_ids)


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise MalformedObjectError(f"{len(value)} bytes where {size} must stand")
    return value

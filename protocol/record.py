"""Records: frozen dataclasses that carry their wire layout. No I/O, no clock, no keys."""

from __future__ import annotations

import dataclasses
from enum import IntEnum, IntFlag
from typing import Any, ClassVar, Self, TypeVar

from construct import (
    Adapter,
    Construct,
    ConstructError,
    ExprAdapter,
    ExprValidator,
    GreedyBytes,
    Int8ub,
    Int16ub,
    MappingError,
    Prefixed,
    PrefixedArray,
    Struct,
    Terminated,
)

from protocol.errors import MalformedMessageError

E = TypeVar("E", bound=IntEnum)
F = TypeVar("F", bound=IntFlag)


class Record:
    """Base of everything with a fixed layout: `parse` and `build` are exact inverses.

    A subclass is a frozen dataclass whose `WIRE` names the same fields in wire order. Integers are
    big-endian throughout.
    """

    WIRE: ClassVar[Construct[Any, Any]]
    __slots__ = ()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read exactly `payload`; a byte too few or too many is MalformedMessageError."""
        try:
            container = cls.WIRE.parse(payload)
        except (ConstructError, ValueError) as error:
            raise MalformedMessageError(
                f"{cls.__name__}: {len(payload)} bytes do not parse: {_reason(error)}"
            ) from error
        return _from_container(cls, container)

    def build(self) -> bytes:
        """Write the bytes; a value that does not fit its field is MalformedMessageError."""
        try:
            return bytes(self.WIRE.build(_to_dict(self)))
        except (ConstructError, ValueError, TypeError) as error:
            raise MalformedMessageError(
                f"{type(self).__name__}: does not fit its layout: {_reason(error)}"
            ) from error


R = TypeVar("R", bound=Record)


def wire(**fields: Construct[Any, Any]) -> Construct[Any, Any]:
    """A Struct of the named fields, in the order given, that refuses trailing bytes."""
    return Struct(*_named(fields), Terminated)


def part(**fields: Construct[Any, Any]) -> Construct[Any, Any]:
    """Like `wire`, for a record that stands inside another."""
    return Struct(*_named(fields))


def closed(enum: type[E], size: Construct[Any, Any] = Int8ub) -> Construct[Any, Any]:
    """An integer field that holds only the members of `enum`; any other number is an error."""

    def decode(number: int, _context: object) -> E:
        try:
            return enum(number)
        except ValueError as error:
            raise MappingError(f"{number} is no {enum.__name__}") from error

    return ExprAdapter(size, decode, lambda member, _context: int(member))


def flags_field(flags: type[F]) -> Construct[Any, Any]:
    """A u16 of flags; bits without a name are kept."""
    return ExprAdapter(
        Int16ub, lambda value, _context: flags(value), lambda member, _context: int(member)
    )


def limited_array(item: Construct[Any, Any], limit: int) -> Construct[Any, Any]:
    """Up to `limit` (at most 255) items behind their u8 count."""
    return ExprValidator(PrefixedArray(Int8ub, item), lambda items, _context: len(items) <= limit)


def strict_bool() -> Construct[Any, Any]:
    """One byte, 0 or 1; anything else is an error, so that there is one way to write it."""
    byte = ExprValidator(Int8ub, lambda value, _context: value in (0, 1))
    return ExprAdapter(byte, lambda value, _context: bool(value), lambda flag, _context: int(flag))


def short_bytes(limit: int) -> Construct[Any, Any]:
    """Up to `limit` bytes behind their u16 length."""
    return ExprValidator(
        Prefixed(Int16ub, GreedyBytes), lambda value, _context: len(value) <= limit
    )


def short_text(limit: int = 32) -> Construct[Any, Any]:
    """Up to `limit` printable ASCII characters behind their u8 length."""

    def decode(value: bytes, _context: object) -> str:
        if len(value) > limit or not printable(value):
            raise MappingError(f"{value!r} is not 0..{limit} printable ASCII characters")
        return value.decode("ascii")

    def encode(text: str, _context: object) -> bytes:
        value = text.encode("ascii")
        if len(value) > limit or not printable(value):
            raise MappingError(f"{text!r} is not 0..{limit} printable ASCII characters")
        return value

    return ExprAdapter(Prefixed(Int8ub, GreedyBytes), decode, encode)


def printable(value: bytes) -> bool:
    """Only the characters from space to tilde."""
    return value.isascii() and value.decode("ascii").isprintable()


class nested(Adapter):  # type: ignore[type-arg]  # noqa: N801 - reads as a field type; the stub's Adapter is not subscriptable at run time
    """A record inside a record; its layout must be a `part`."""

    def __init__(self, record: type[Record]) -> None:
        super().__init__(record.WIRE)
        self.record = record

    def _decode(self, obj: Any, context: Any, path: Any) -> Record:  # noqa: ARG002, ANN401
        return _from_container(self.record, obj)

    def _encode(self, obj: Any, context: Any, path: Any) -> dict[str, Any]:  # noqa: ARG002, ANN401
        return _to_dict(obj)


def _named(fields: dict[str, Construct[Any, Any]]) -> list[Any]:
    return [name / field for name, field in fields.items()]


def _from_container(cls: type[R], container: Any) -> R:  # noqa: ANN401 - a construct Container
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = container[field.name]
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def _to_dict(record: Record) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}  # type: ignore[arg-type]


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__

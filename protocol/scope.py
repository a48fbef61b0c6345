"""Where a certificate is good: items of kind and value, strict to read, judged by the reader.

Items of one kind are alternatives, different kinds must all hold. An empty scope, or a kind that
the reader does not know, is a refusal.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from protocol.codecs import Codec
from protocol.errors import MalformedObjectError

SERIAL_FIELD: Final = 16
"""Bytes of one end of a serial range, zero-padded on the right."""

VALUE_LIMIT: Final = 0xFF
"""Most bytes of an item's value: its length is one byte."""


class ScopeKind(IntEnum):
    """What an item names."""

    EVERYTHING = 0
    MODEL = 1
    BATCH = 2
    SERIAL_RANGE = 3
    CASE = 4
    SITE = 5


class ScopeItem(NamedTuple):
    """One item: `value` is ASCII, except a serial range: low[16] | high[16], both included."""

    kind: ScopeKind
    value: bytes


EVERYTHING: Final = (ScopeItem(ScopeKind.EVERYTHING, b""),)


def serial_range(low: str, high: str) -> ScopeItem:
    """The item for serials from `low` to `high`, compared as zero-padded bytes."""
    if not (low + high).isascii() or max(len(low), len(high)) > SERIAL_FIELD:
        raise MalformedObjectError(
            f"serials have at most {SERIAL_FIELD} ASCII characters, not {low!r} and {high!r}"
        )
    ends = [s.encode("ascii").ljust(SERIAL_FIELD, b"\0") for s in (low, high)]
    return ScopeItem(ScopeKind.SERIAL_RANGE, b"".join(ends))


def _decode(value: bytes) -> tuple[ScopeItem, ...]:
    items: list[ScopeItem] = []
    offset = 0
    while offset < len(value):
        if offset + 2 > len(value) or offset + 2 + value[offset + 1] > len(value):
            raise MalformedObjectError(f"a scope item is cut at byte {offset}")
        end = offset + 2 + value[offset + 1]
        try:
            kind = ScopeKind(value[offset])
        except ValueError as error:
            raise MalformedObjectError(f"{value[offset]} is no scope kind") from error
        item = ScopeItem(kind, value[offset + 2 : end])
        _check(item)
        items.append(item)
        offset = end
    if not items:
        raise MalformedObjectError("an empty scope allows nothing")
    return tuple(items)


def _check(item: ScopeItem) -> None:
    if item.kind is ScopeKind.EVERYTHING and item.value:
        raise MalformedObjectError("the scope item for everything has no value")
    if item.kind is ScopeKind.SERIAL_RANGE and len(item.value) != 2 * SERIAL_FIELD:
        raise MalformedObjectError(f"a serial range has 32 bytes, this one {len(item.value)}")


def _encode(items: tuple[ScopeItem, ...]) -> bytes:
    longest = max((len(item.value) for item in items), default=0)
    if longest > VALUE_LIMIT:
        raise MalformedObjectError(f"a scope item has at most 255 bytes, this one {longest}")
    value = b"".join(bytes([item.kind, len(item.value)]) + item.value for item in items)
    _decode(value)
    return value


SCOPE: Final = Codec(_decode, _encode)

"""CBOR maps from strangers: one item, of bounded depth, without tags, with typed looks into it.

`cbor2` decodes; what it would let pass is refused before (duplicate keys, bytes left over) or never
reaches it (tags, which it would turn into dates, patterns and references). RFC 8949.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import cbor2

from protocol.errors import MalformedMessageError

DEPTH_LIMIT: Final = 8
"""Deepest nesting; SMP's deepest reply has four levels."""

ITEM_LIMIT: Final = 512
"""Most items of one map, what is inside counted; the longest image list has a hundred."""

U32_MAX: Final = 0xFFFF_FFFF
U64_MAX: Final = 0xFFFF_FFFF_FFFF_FFFF

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}

T = TypeVar("T")


def encode_map(fields: dict[str, Any]) -> bytes:
    """A map in its canonical form: shortest lengths, keys by length and then by bytes."""
    return bytes(cbor2.dumps(fields, canonical=True))


def head_size(number: int) -> int:
    """Bytes of the head of an unsigned number, or of a string of that length."""
    if number < 24:
        return 1
    return next(1 + width for width in (1, 2, 4, 8) if number < 1 << 8 * width)


class CborMap:
    """A decoded map; looks into it raise MalformedMessageError unless the type fits.

    Keys that nobody asks for are ignored.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @classmethod
    def parse(cls, data: bytes) -> CborMap:
        """Exactly one map with text keys; MalformedMessageError for anything else."""
        if not data or data[0] >> 5 != _MAP:
            raise MalformedMessageError(f"{len(data)} bytes are no CBOR map")
        end = _Walk(data).item(0, DEPTH_LIMIT)
        if end != len(data):
            raise MalformedMessageError(f"{len(data) - end} bytes are left after a CBOR map")
        try:
            values = cbor2.loads(data)
        except (cbor2.CBORDecodeError, ValueError) as error:
            raise MalformedMessageError(f"CBOR does not decode: {error}") from error
        return cls(values)

    def unsigned(self, key: str, limit: int = U32_MAX) -> int:
        """A number of 0 to `limit`."""
        return self._there(key, self.maybe_unsigned(key, limit))

    def maybe_unsigned(self, key: str, limit: int = U32_MAX) -> int | None:
        """The same, None if the key is missing."""
        value = self._values.get(key)
        # True is an int to Python
        if value is not None and (type(value) is not int or not 0 <= value <= limit):
            raise MalformedMessageError(f"{key} is {_shown(value)}, must be 0 to {limit}")
        return value

    def signed(self, key: str) -> int:
        """Any whole number of 64 bits."""
        value = self._values.get(key)
        if type(value) is not int or not -U64_MAX - 1 <= value <= U64_MAX:
            raise MalformedMessageError(f"{key} is {_shown(value)}, must be a whole number")
        return value

    def text(self, key: str) -> str:
        """A text."""
        return self._there(key, self.maybe_text(key))

    def maybe_text(self, key: str) -> str | None:
        """A text, None if the key is missing."""
        return self._typed(key, str)

    def octets(self, key: str, limit: int = U32_MAX) -> bytes:
        """A byte string of at most `limit` bytes."""
        return self._there(key, self.maybe_octets(key, limit))

    def maybe_octets(self, key: str, limit: int = U32_MAX) -> bytes | None:
        """The same, None if the key is missing."""
        value = self._typed(key, bytes)
        if value is not None and len(value) > limit:
            raise MalformedMessageError(f"{key} has {len(value)} bytes, may have {limit}")
        return value

    def maybe_flag(self, key: str) -> bool | None:
        """A truth value, None if the key is missing."""
        return self._typed(key, bool)

    def holds(self, key: str, kind: type) -> bool:
        """Whether there is a value of exactly this type."""
        return type(self._values.get(key)) is kind

    def has(self, key: str) -> bool:
        """Whether the key is there, whatever its value."""
        return key in self._values

    def inner(self, key: str) -> CborMap:
        """A map inside this one."""
        return _as_map(key, self._values.get(key))

    def maps(self, key: str) -> tuple[CborMap, ...]:
        """A list of maps."""
        return tuple(_as_map(key, item) for item in self._list(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(_item(key, item, str) for item in self._list(key))

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(_item(key, item, int) for item in self._list(key))

    def names(self) -> tuple[str, ...]:
        """Every key, in the order of the bytes."""
        return tuple(self._values)

    def _list(self, key: str) -> list[Any]:
        return self._there(key, self._typed(key, list))

    def _typed(self, key: str, kind: type[T]) -> T | None:
        value = self._values.get(key)
        return None if value is None else _item(key, value, kind)

    def _there(self, key: str, value: T | None) -> T:
        if value is None:
            raise MalformedMessageError(f"{key} is missing")
        return value


def _item(key: str, value: object, kind: type[T]) -> T:
    if type(value) is not kind:
        raise MalformedMessageError(f"{key} is {_shown(value)}, must be {kind.__name__}")
    return value


def _as_map(key: str, value: object) -> CborMap:
    return CborMap(_item(key, value, dict))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


class _Walk:
    """Where items end, by their heads alone."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = ITEM_LIMIT

    def item(self, at: int, depth: int) -> int:
        """The end of the item at `at`."""
        self._left -= 1
        if depth == 0 or self._left < 0:
            raise MalformedMessageError(
                f"CBOR is nested deeper than {DEPTH_LIMIT}, or has over {ITEM_LIMIT} items"
            )
        major, number, at = self._head(at)
        if major in (_ARRAY, _MAP):
            return self._container(at, major, number, depth)
        if major in (_BYTES, _TEXT):
            return self._string(at, major, number)
        if number is None or major == _TAG:
            raise MalformedMessageError(f"CBOR has a tag or a stray break at byte {at - 1}")
        return at

    def _head(self, at: int) -> tuple[int, int | None, int]:
        """Major type, number (None: indefinite) and the place behind the head at `at`."""
        first = self._byte(at)
        major, info = first >> 5, first & 0x1F
        at += 1
        if info < min(_WIDTHS):
            return major, info, at
        if info == _INDEFINITE and major not in (0, 1, _TAG):
            return major, None, at
        width = _WIDTHS.get(info)
        if width is None or at + width > len(self._data):
            raise MalformedMessageError(f"CBOR has no whole item at byte {at - 1}")
        return major, int.from_bytes(self._data[at : at + width], "big"), at + width

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise MalformedMessageError(f"CBOR ends at byte {at} inside an item")
        return self._data[at]

    def _string(self, at: int, major: int, number: int | None) -> int:
        if number is not None:
            if number > len(self._data) - at:
                raise MalformedMessageError(f"a CBOR string of {number} bytes at byte {at} is cut")
            return at + number
        while self._byte(at) != _BREAK:
            kind, size, at = self._head(at)
            if kind != major or size is None:
                raise MalformedMessageError(f"a CBOR string has a foreign piece at byte {at}")
            at = self._string(at, kind, size)
        return at + 1

    def _container(self, at: int, major: int, count: int | None, depth: int) -> int:
        keys: set[bytes] = set()
        left = count
        while left != 0:
            if left is None and self._byte(at) == _BREAK:
                return at + 1
            if major == _MAP:
                at = self._key(at, keys)
            at = self.item(at, depth - 1)
            left = None if left is None else left - 1
        return at

    def _key(self, at: int, seen: set[bytes]) -> int:
        major, size, start = self._head(at)
        if major != _TEXT or size is None:
            raise MalformedMessageError(f"a CBOR map has a key at byte {at} that is no plain text")
        end = self._string(start, major, size)
        key = self._data[start:end]
        if key in seen:
            raise MalformedMessageError(f"a CBOR map has the key {_shown(key)} twice")
        seen.add(key)
        return end

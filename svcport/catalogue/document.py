"""Strict JSON for what the catalogue signs: one way to write it, members by type, none left over.

Knows nothing of releases, files or signatures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from svcport.catalogue.faults import CatalogueError

TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
"""Models, hardware revisions, batches: safe in a file name, a URL and a TUF path pattern alike."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def canonical(value: Mapping[str, object]) -> bytes:
    """The one form in which svcport writes a document: sorted members, two spaces, a final LF.

    Raises:
        CatalogueError: a text holds half a surrogate pair, which UTF-8 cannot carry.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError as e:
        raise CatalogueError("text with half a surrogate pair, wanted Unicode text") from e


def load(data: bytes, what: str) -> object:
    """Parse JSON bytes.

    Raises:
        CatalogueError: not UTF-8, not JSON, nested too deep, or a number too long to read.
    """
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as e:
        raise CatalogueError(f"{what} is not a JSON document") from e


class Fields:
    """The members of one JSON object, each asked for once by name and type.

    Every method raises CatalogueError when the member is missing or of another type; ranges are the
    business of the dataclass that takes the value.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise CatalogueError(f"{what} is {type(value).__name__}, wanted an object")
        self._left: dict[str, object] = dict(value)
        self._what = what

    def take(self, name: str) -> object:
        """Any member; for nested objects."""
        if name not in self._left:
            raise CatalogueError(f"{self._what} has no {name!r}")
        return self._left.pop(name)

    def text(self, name: str) -> str:
        """A string."""
        value = self.take(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "text")
        return value

    def number(self, name: str) -> int:
        """An integer; true and 1.0 are none."""
        value = self.take(name)
        if type(value) is not int:
            raise self._wrong(name, value, "a whole number")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def items(self, name: str) -> tuple[object, ...]:
        """A list."""
        value = self.take(name)
        if not isinstance(value, list):
            raise self._wrong(name, value, "a list")
        return tuple(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(name)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise CatalogueError(f"{self._what}: {name} holds something else than texts")
        return texts

    def digest(self, name: str) -> bytes:
        """Bytes as lower-case hex."""
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError as e:
            raise self._wrong(name, text, "lower-case hex") from e
        if value.hex() != text:  # fromhex also takes spaces and capitals
            raise self._wrong(name, text, "lower-case hex")
        return value

    def time(self, name: str) -> datetime:
        """RFC 3339 in UTC, whole seconds, with a Z."""
        text = self.text(name)
        try:
            value = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
        except ValueError as e:
            raise self._wrong(name, text, "a time such as 2026-03-01T00:00:00Z") from e
        if time_text(value) != text:  # strptime also takes 2026-3-1
            raise self._wrong(name, text, "a time such as 2026-03-01T00:00:00Z")
        return value

    def schema(self, wanted: str) -> None:
        """Demand the member `schema`; another one is named, so that the reader knows to update."""
        seen = self.text("schema")
        if seen != wanted:
            raise CatalogueError(
                f"{self._what} has schema {seen[:40]!r}, wanted {wanted!r}",
                hint="a newer catalogue may need a newer svcport",
            )

    def done(self) -> None:
        """Refuse members that nobody asked for."""
        if self._left:
            raise CatalogueError(f"{self._what} has unknown members: {sorted(self._left)}"[:200])

    def _wrong(self, name: str, value: object, wanted: str) -> CatalogueError:
        return CatalogueError(f"{self._what}: {name} is {value!r:.40}, wanted {wanted}")


def time_text(value: datetime) -> str:
    """RFC 3339 in UTC, whole seconds; years below 1000 keep their zeros on every platform."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def tokens(values: tuple[str, ...], what: str, *, least: int = 0) -> None:
    """Raise CatalogueError unless there are at least `least` different values of the TOKEN form."""
    for value in values:
        if TOKEN.fullmatch(value) is None:
            raise CatalogueError(f"{what} {value!r:.40}, wanted letters, digits, '.', '_' or '-'")
    if len(values) < least or len(set(values)) != len(values):
        raise CatalogueError(
            f"{what}: {len(values)} values, wanted at least {least}, all different"
        )

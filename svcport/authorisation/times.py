"""Unix seconds of sealed objects beside the aware datetimes of the rest; reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last moment a datetime can state; later ones are shown as this."""


def unix(moment: datetime) -> int:
    """Whole seconds since 1970; a naive datetime is a wrong call (RuntimeError)."""
    if moment.tzinfo is None:
        raise RuntimeError("a moment without a time zone cannot be compared")
    return int(moment.timestamp())


def at(seconds: int) -> datetime:
    """The moment, in UTC."""
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC)


def when(seconds: int) -> str:
    """The moment in RFC 3339, as messages show it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")

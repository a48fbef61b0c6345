"""Small words for reports."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 entry`, `2 entries`; the plural has an s if it is not given."""
    return f"{number} {one if number == 1 else many or one + 's'}"

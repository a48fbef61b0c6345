"""A table as data, and its plain form. Knows nothing of terminals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Table:
    """Cells by row; every row has as many as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
        """A table out of anything that gives rows of cells."""
        return cls(tuple(columns), tuple(tuple(row) for row in rows))

    def plain(self) -> str:
        """Aligned by blanks, for files and pipes."""
        lines = (self.columns, *self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        padded = (
            _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)


Block = str | Table
"""A piece of text for people."""

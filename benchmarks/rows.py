"""A row of the table: what was measured, what is wanted, the verdict; as text and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

MARKS: Final = ("<!-- table begins -->", "<!-- table ends -->")


class Want(Enum):
    """Which way is better."""

    AT_LEAST = ">="
    AT_MOST = "<="
    STATED = ""
    """No goal: a figure to compare with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        group: rows of one group stand together.
        case: what was done.
        values: one a run; the median counts.
        unit: behind the figure.
        want: which way `goal` is meant.
        goal: in the unit of `values`.
        note: what else is to be known.
        skipped: why there are no values.
        bound: said instead of a missed goal where the computer itself, shown in `note`, is full.
    """

    group: str
    case: str
    values: Sequence[float] = ()
    unit: str = "x"
    want: Want = Want.STATED
    goal: float = 0.0
    note: str = ""
    skipped: str = ""
    bound: str = ""

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """Whether the goal is met, judged by what is printed."""
        if self.skipped:
            return "skipped"
        shown = round(self.median, 3)
        match self.want:
            case Want.AT_LEAST:
                return "ok" if shown >= self.goal else self.bound or "MISSED"
            case Want.AT_MOST:
                return "ok" if shown <= self.goal else self.bound or "MISSED"
            case _:
                return ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Case, goal, median, all runs, verdict, note."""
        goal = f"{self.want.value} {self.goal:g}" if self.want is not Want.STATED else ""
        if self.skipped:
            return (self.case, goal, "", "", self.verdict, self.skipped)
        runs = " ".join(f"{value:.3f}" for value in self.values) if len(self.values) > 1 else ""
        return (self.case, goal, f"{self.median:.3f} {self.unit}", runs, self.verdict, self.note)


HEADS: Final = ("case", "goal", "median", "runs", "verdict", "note")
_HEADING: Final = "### "
_WIDTHS: Final = (52, 9, 13, 20, 8)


def as_text(row: Row) -> str:
    """For a terminal."""
    padded = (f"{cell:<{width}}" for cell, width in zip(row.cells, _WIDTHS, strict=False))
    return f"{' '.join(padded)} {row.cells[-1]}".rstrip()


def as_markdown(rows: Sequence[Row], where: str) -> dict[str, str]:
    """A section for each group: its rows, and where they were measured."""
    sections = {}
    for group in dict.fromkeys(row.group for row in rows):
        lines = [_line(HEADS), _line(["---"] * len(HEADS))]
        lines += [_line(row.cells) for row in rows if row.group == group]
        sections[group] = "\n".join([f"{_HEADING}{group}", "", *lines, "", where, ""])
    return sections


def put_between_marks(text: str, sections: Mapping[str, str]) -> str:
    """The document with its sections of the same names replaced, others kept, new ones added.

    Raises:
        ValueError: it has no place for them.
    """
    before, begins, rest = text.partition(MARKS[0])
    present, ends, after = rest.partition(MARKS[1])
    if not begins or not ends:
        raise ValueError(f"the document lacks {MARKS[0]} and {MARKS[1]}")
    kept = {}
    for part in present.split(f"\n{_HEADING}")[1:]:
        kept[part.partition("\n")[0]] = f"{_HEADING}{part.strip()}\n"
    tables = "\n".join((kept | dict(sections)).values())
    return f"{before}{begins}\n\n{tables}\n{ends}{after}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

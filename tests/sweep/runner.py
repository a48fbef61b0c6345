"""Runs many cases on all cores, keeps a journal, and prints one table.

The journal has a line a case, `name promise ended seconds what` with tabs between; a sweep that is
started again with the same journal leaves out what it names.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from sweep import cases
from sweep.cases import Ran
from sweep.promises import Promise
from sweep.speed import share_compiled_statements

_COLUMNS: Final = {
    "bricks": {Promise.BRICK},
    "false ok": {Promise.FALSE_SUCCESS},
    "unaudited": {Promise.UNAUDITED, Promise.LEDGER},
    "hangs": {Promise.HANG},
}
_CHUNK: Final = 8


@dataclass
class Row:
    """What became of one family's cases."""

    cases: int = 0
    seconds: float = 0.0
    broken: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, ran: Ran) -> None:
        self.cases += 1
        self.seconds += ran.seconds
        if ran.promise:
            self.broken[ran.promise] += 1

    def cells(self) -> list[str]:
        named = {str(one) for several in _COLUMNS.values() for one in several}
        other = sum(count for promise, count in self.broken.items() if promise not in named)
        counts = [sum(self.broken[str(one)] for one in several) for several in _COLUMNS.values()]
        return [str(number) for number in (self.cases, *counts, other)] + [f"{self.seconds:.0f}"]


def endings(found: Iterable[Ran]) -> str:
    """How the disturbed commands ended, by family and kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for ran in found:
        family, *parts = ran.name.split("/")
        kind = f"{family} {parts[1]}" if family == "wire" and len(parts) > 1 else family
        counts[kind][ran.ended or ran.promise] += 1
    return "\n".join(
        f"{kind}: " + ", ".join(f"{count} {ended}" for ended, count in several.most_common())
        for kind, several in counts.items()
    )


def table(found: Iterable[Ran]) -> str:
    """One row a family and the sum of them."""
    rows: dict[str, Row] = {family: Row() for family in cases.FAMILIES}
    total = Row()
    for ran in found:
        rows[ran.name.split("/")[0]].add(ran)
        total.add(ran)
    lines = [["", "cases", *_COLUMNS, "other", "CPU s"]]
    lines += [[name, *row.cells()] for name, row in rows.items() if row.cases]
    lines.append(["all", *total.cells()])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def sample(names: Sequence[str], count: int, seed: str) -> list[str]:
    """So many cases of each family, by seed; all of a family that has fewer."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in names:
        families[name.split("/")[0]].append(name)
    dice = random.Random(seed)
    return [
        name
        for several in families.values()
        for name in dice.sample(several, min(count, len(several)))
    ]


def read_journal(path: Path) -> dict[str, Ran]:
    """What a sweep has done already; a last line that was cut short does not count."""
    found: dict[str, Ran] = {}
    if not path.is_file():
        return found
    for line in path.read_text("utf-8").splitlines(keepends=True):
        parts = line.rstrip("\n").split("\t")
        if line.endswith("\n") and len(parts) == 5:
            found[parts[0]] = Ran(parts[0], parts[1], parts[4], parts[2], float(parts[3]))
    return found


def run_all(
    names: Sequence[str], journal: Path | None, processes: int, say: TextIO
) -> tuple[list[Ran], float]:
    """Every case that the journal does not name; all results, and the seconds that it took."""
    done = read_journal(journal) if journal is not None else {}
    todo = [name for name in names if name not in done]
    found = [done[name] for name in names if name in done]
    began = told = time.monotonic()
    with _opened(journal) as file:
        for ran in _ran(todo, processes):
            found.append(ran)
            what = " ".join(ran.what.split())
            file.write(f"{ran.name}\t{ran.promise}\t{ran.ended}\t{ran.seconds:.3f}\t{what}\n")
            if ran.promise:
                say.write(f"{ran.name}: {what}\n")
            if time.monotonic() - told > 30:
                told = time.monotonic()
                say.write(f"{len(found)} of {len(names)} after {told - began:.0f} s\n")
                say.flush()
    return found, time.monotonic() - began


def _opened(journal: Path | None) -> TextIO:
    return Path(os.devnull if journal is None else journal).open("a", 1, encoding="utf-8")


def _ran(names: Sequence[str], processes: int) -> Iterator[Ran]:
    if processes == 1:
        share_compiled_statements()
        yield from map(cases.run, names)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, share_compiled_statements) as pool:
        yield from pool.imap_unordered(cases.run, names, _CHUNK)

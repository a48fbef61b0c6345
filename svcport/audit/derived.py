"""Checks what the ledger derives from its entries: tree, indices, and each lock's receipt chain.

Every check yields problems and holds a batch of rows at most.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, select

from protocol.objects import EntryKind, chain_start
from svcport.audit import merkle
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.tables import ENTRIES, INTENTS, NODES, RECEIPTS
from svcport.errors import Reason, RecordsError


class EntryFacts(NamedTuple):
    """What the index checks need of one entry that could be read.

    Attributes:
        intent: hash of an INTENT, None for another kind.
        answers: hash of the intent that the entry closes.
        numbered: serial and number of the receipt inside, if there is one.
    """

    kind: EntryKind
    serial: str | None
    intent: bytes | None
    answers: bytes | None
    numbered: tuple[str, int] | None


class Link(NamedTuple):
    """A receipt's place in its lock's chain; `entry` is the index of the one that holds it."""

    serial: str
    seq: int
    entry: int
    before: bytes
    after: bytes


Entries = Mapping[int, EntryFacts]
"""The entries of one batch that could be read, by index."""

F = TypeVar("F", bound=Hashable)


class TreeCheck:
    """Builds the tree again, leaf by leaf, beside the stored one."""

    def __init__(self) -> None:
        self._stack: list[bytes] = []
        self.size = 0

    @property
    def root(self) -> bytes:
        """The root of the leaves so far."""
        return merkle.fold(self._stack)

    def add(self, leaf: bytes, stored: dict[tuple[int, int], object]) -> list[Problem]:
        """The next leaf; takes what it completes out of `stored` and compares."""
        problems: list[Problem] = []
        value, index, level = leaf, self.size, 0
        while (index >> level) & 1:  # see `merkle.completed_by`
            level += 1
            value = merkle.node_hash(self._stack.pop(), value)
            if stored.pop((level, index), None) != value:
                message = f"the stored node of level {level} ending here is not the entries'"
                problems.append(Problem(index, ProblemCode.TREE_NODE, message))
        self._stack.append(value)
        self.size += 1
        return problems


def stored_nodes(
    connection: Connection, origin: str, low: int, high: int
) -> dict[tuple[int, int], object]:
    """The stored subtrees that end at leaves low..high-1, by level and last leaf."""
    query = select(NODES.c.level, NODES.c.last, NODES.c.hash).where(
        NODES.c.origin == origin, NODES.c.last >= low, NODES.c.last < high
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query).all()}


def check_receipt_index(
    connection: Connection, origin: str, low: int, high: int, entries: Entries
) -> Iterator[Problem]:
    """Rows of `receipts` for entries low..high-1 against the entries themselves."""
    query = select(RECEIPTS.c.serial, RECEIPTS.c.seq, RECEIPTS.c.entry_index).where(
        RECEIPTS.c.origin == origin, _within(RECEIPTS.c.entry_index, low, high)
    )
    stored = {(row[2], (row[0], row[1])) for row in connection.execute(query).all()}
    wanted = {(i, entry.numbered) for i, entry in entries.items() if entry.numbered is not None}
    yield from _differences("receipts", stored, wanted, entries)


def check_intent_index(
    connection: Connection, origin: str, low: int, high: int, entries: Entries
) -> Iterator[Problem]:
    """Rows of `intents` for entries low..high-1, as intents and as answers."""
    columns = (
        INTENTS.c.entry_index,
        INTENTS.c.intent_hash,
        INTENTS.c.serial,
        INTENTS.c.answered_by,
    )
    query = select(*columns).where(INTENTS.c.origin == origin)
    opened = connection.execute(query.where(_within(INTENTS.c.entry_index, low, high))).all()
    stored = {(row[0], (row[1], row[2])) for row in opened}
    wanted = {
        (i, (entry.intent, entry.serial))
        for i, entry in entries.items()
        if entry.intent is not None
    }
    yield from _differences("intents", stored, wanted, entries)
    for row in connection.execute(query.where(_within(INTENTS.c.answered_by, low, high))).all():
        answer = entries.get(row[3])
        if answer is not None and answer.answers != row[1]:
            message = f"it does not answer the intent of entry {row[0]}, as the index says"
            yield Problem(row[3], ProblemCode.DERIVED_INDEX, message)
    hashes = {entry.answers for entry in entries.values() if entry.answers is not None}
    found = connection.execute(query.where(INTENTS.c.intent_hash.in_(sorted(hashes)))).all()
    intents: dict[bytes, list[tuple[int, int | None]]] = {}
    for row in found:
        if isinstance(row[0], int):
            intents.setdefault(row[1], []).append((row[0], row[3]))
    yield from _unanswered(entries, intents)


def _unanswered(
    entries: Entries, intents: Mapping[bytes, list[tuple[int, int | None]]]
) -> Iterator[Problem]:
    for index, entry in entries.items():
        if entry.answers is None:
            continue
        before = [one for one in intents.get(entry.answers, ()) if one[0] < index]
        if not before and entry.kind is EntryKind.RESULT:
            message = f"no intent {entry.answers.hex()} comes before it"
            yield Problem(index, ProblemCode.RESULT_WITHOUT_INTENT, message)
        for at, answered in before:
            if not isinstance(answered, int) or not at < answered <= index:
                message = f"the intent of entry {at} is closed here, the index says {answered}"
                yield Problem(index, ProblemCode.DERIVED_INDEX, message)


def check_beyond(connection: Connection, origin: str, size: int) -> Iterator[Problem]:
    """Rows about entries that cannot be: at `size` or above, or below 0."""
    for table, column in (
        (ENTRIES, ENTRIES.c.entry_index),
        (NODES, NODES.c.last),
        (RECEIPTS, RECEIPTS.c.entry_index),
        (INTENTS, INTENTS.c.entry_index),
        (INTENTS, INTENTS.c.answered_by),
    ):
        outside = (column >= size) | (column < 0)
        query = select(column).where(table.c.origin == origin, outside).order_by(column).limit(1)
        index: object = connection.execute(query).scalar()
        if index is not None:
            message = f"table {table.name} speaks of entry {index}, the log has {size}"
            number = index if isinstance(index, int) else None
            yield Problem(number, ProblemCode.SIZE, message)


_SCRATCH: Final = """
CREATE TABLE links (serial TEXT, seq INTEGER, entry_index INTEGER, before BLOB, after BLOB)
"""


class ChainCheck:
    """Each lock's receipts in order: one a number, each linked to the one before it, if held.

    They come in the order of the entries and are judged in the order of their numbers. In between
    they lie in a scratch database of SQLite's, which goes to the disk where it grows large and is
    gone when it is closed.
    """

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.execute("PRAGMA synchronous=OFF")
        self._scratch.execute("PRAGMA journal_mode=OFF")
        self._scratch.execute(_SCRATCH)

    def close(self) -> None:
        """Let the scratch go."""
        self._scratch.close()

    def add(self, links: Iterable[tuple[str, int, int, bytes, bytes]]) -> None:
        """The receipts of one batch, each as in `Link`.

        Raises:
            RecordsError: the scratch cannot grow (reason `storage`).
        """
        with _scratch_errors():
            self._scratch.execute("BEGIN")
            self._scratch.executemany("INSERT INTO links VALUES (?, ?, ?, ?, ?)", links)
            self._scratch.execute("COMMIT")

    def problems(self) -> Iterator[Problem | None]:
        """What is wrong; None for a receipt that is right, so that the caller can count."""
        query = "SELECT serial, seq, entry_index, before, after FROM links ORDER BY 1, 2, 3"
        last: Link | None = None
        with _scratch_errors():
            for fields in self._scratch.execute(query):
                link = Link(*fields)
                if last is None or (last.serial, last.seq) != (link.serial, link.seq):
                    yield _check_link(last, link)
                    last = link
                elif (last.before, last.after) != (link.before, link.after):
                    message = f"lock {link.serial} signed two receipts number {link.seq}"
                    yield Problem(link.entry, ProblemCode.RECEIPT_CONFLICT, message)


@contextlib.contextmanager
def _scratch_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise RecordsError(
            Reason.STORAGE,
            f"the folder for temporary files: {error}",
            hint="free space there, or name another folder with TMPDIR",
        ) from error


def _check_link(last: Link | None, link: Link) -> Problem | None:
    before: bytes | None = None
    if link.seq == 1:
        before = chain_start(link.serial)
    elif last is not None and (last.serial, last.seq) == (link.serial, link.seq - 1):
        before = last.after
    if before in (None, link.before):
        return None
    message = f"receipt {link.seq} of lock {link.serial} does not follow the one before it"
    return Problem(link.entry, ProblemCode.RECEIPT_CHAIN, message)


def _differences(
    table: str, stored: set[tuple[int, F]], wanted: set[tuple[int, F]], entries: Entries
) -> Iterator[Problem]:
    for index, fact in sorted(stored ^ wanted, key=lambda one: one[0]):
        if index in entries:  # one that could not be read has been reported
            which = "lacks" if (index, fact) in wanted else "wrongly has"
            message = f"table {table} {which} it"
            yield Problem(index, ProblemCode.DERIVED_INDEX, message)


def _within(
    column: ColumnElement[int] | ColumnElement[int | None], low: int, high: int
) -> ColumnElement[bool]:
    return (column >= low) & (column < high)

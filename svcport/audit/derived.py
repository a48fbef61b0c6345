"""Checks what the ledger derives from its entries: tree, indices, and each lock's receipt chain.

Every check yields problems and holds a batch of rows at most.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, select, tuple_

from protocol.errors import MalformedObjectError
from protocol.objects import Entry, EntryKind, Receipt, chain_next, chain_start
from protocol.sealed import Sealed
from svcport.audit import merkle
from svcport.audit.entries import LedgerEntry
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import BATCH, RawRow
from svcport.audit.store import Store
from svcport.audit.tables import ENTRIES, INTENTS, NODES, RECEIPTS
from svcport.errors import RecordsError

Entries = Mapping[int, LedgerEntry]
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

    def add(self, leaf: bytes, stored: dict[merkle.Node, object]) -> Iterator[Problem]:
        """The next leaf; takes what it completes out of `stored` and compares."""
        value, index = leaf, self.size
        for node in merkle.completed_by(index):
            value = merkle.node_hash(self._stack.pop(), value)
            if stored.pop(node, None) != value:
                message = f"the stored node of level {node.level} ending here is not the entries'"
                yield Problem(index, ProblemCode.TREE_NODE, message)
        self._stack.append(value)
        self.size += 1


def stored_nodes(
    connection: Connection, origin: str, low: int, high: int
) -> dict[merkle.Node, object]:
    """The stored subtrees that end at leaves low..high-1."""
    query = select(NODES.c.level, NODES.c.last, NODES.c.hash).where(
        NODES.c.origin == origin, NODES.c.last >= low, NODES.c.last < high
    )
    return {merkle.Node(row[0], row[1]): row[2] for row in connection.execute(query)}


def check_receipt_index(
    connection: Connection, origin: str, low: int, high: int, entries: Entries
) -> Iterator[Problem]:
    """Rows of `receipts` for entries low..high-1 against the entries themselves."""
    query = select(RECEIPTS.c.serial, RECEIPTS.c.seq, RECEIPTS.c.entry_index).where(
        RECEIPTS.c.origin == origin, _within(RECEIPTS.c.entry_index, low, high)
    )
    stored = {(row[2], (row[0], row[1])) for row in connection.execute(query)}
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
    opened = connection.execute(query.where(_within(INTENTS.c.entry_index, low, high)))
    stored = {(row[0], (row[1], row[2])) for row in opened}
    wanted = {
        (i, (entry.sealed.digest, entry.body.lock_serial))
        for i, entry in entries.items()
        if entry.body.kind is EntryKind.INTENT
    }
    yield from _differences("intents", stored, wanted, entries)
    for row in connection.execute(query.where(_within(INTENTS.c.answered_by, low, high))):
        answer = entries.get(row[3])
        if answer is not None and answer.answers != row[1]:
            message = f"it does not answer the intent of entry {row[0]}, as the index says"
            yield Problem(row[3], ProblemCode.DERIVED_INDEX, message)
    hashes = {entry.answers for entry in entries.values() if entry.answers is not None}
    found = connection.execute(query.where(INTENTS.c.intent_hash.in_(sorted(hashes)))).all()
    intents = [(row[0], row[1], row[3]) for row in found if isinstance(row[0], int)]
    yield from _unanswered(entries, intents)


def _unanswered(
    entries: Entries, intents: list[tuple[int, bytes, int | None]]
) -> Iterator[Problem]:
    for index, entry in entries.items():
        if entry.answers is None:
            continue
        before = [one for one in intents if one[1] == entry.answers and one[0] < index]
        if not before and entry.body.kind is EntryKind.RESULT:
            message = f"no intent {entry.answers.hex()} comes before it"
            yield Problem(index, ProblemCode.RESULT_WITHOUT_INTENT, message)
        for at, _, answered in before:
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


class _Link(NamedTuple):
    serial: str
    seq: int
    receipt: bytes
    chain_before: bytes

    @property
    def chain_after(self) -> bytes:
        return chain_next(self.chain_before, self.receipt)


def check_chains(store: Store, origin: str, size: int) -> Iterator[Problem | None]:
    """Each lock's receipts in order: one a number, each linked to the one before it, if held.

    Yields None for a receipt that is right, so that the caller can count.
    """
    last: _Link | None = None
    for index, row in _receipts_in_order(store, origin, size):
        link = _read_link(row)
        if link is None:
            continue  # the entry itself has been reported
        if last is not None and (last.serial, last.seq) == (link.serial, link.seq):
            if last.receipt != link.receipt:
                message = f"lock {link.serial} signed two receipts number {link.seq}"
                yield Problem(index, ProblemCode.RECEIPT_CONFLICT, message)
            continue
        yield _check_link(index, last, link)
        last = link


def _check_link(index: int, last: _Link | None, link: _Link) -> Problem | None:
    before: bytes | None = None
    if link.seq == 1:
        before = chain_start(link.serial)
    elif last is not None and (last.serial, last.seq) == (link.serial, link.seq - 1):
        before = last.chain_after
    if before in (None, link.chain_before):
        return None
    message = f"receipt {link.seq} of lock {link.serial} does not follow the one before it"
    return Problem(index, ProblemCode.RECEIPT_CHAIN, message)


def _receipts_in_order(store: Store, origin: str, size: int) -> Iterator[tuple[int, RawRow]]:
    key = tuple_(RECEIPTS.c.serial, RECEIPTS.c.seq, RECEIPTS.c.entry_index)
    query = (
        select(
            RECEIPTS.c.serial,
            RECEIPTS.c.seq,
            RECEIPTS.c.entry_index,
            ENTRIES.c.leaf_hash,
            ENTRIES.c.data,
        )
        .join(
            ENTRIES,
            (ENTRIES.c.origin == RECEIPTS.c.origin)
            & (ENTRIES.c.entry_index == RECEIPTS.c.entry_index),
        )
        .where(RECEIPTS.c.origin == origin, RECEIPTS.c.entry_index < size)
        .order_by(RECEIPTS.c.serial, RECEIPTS.c.seq, RECEIPTS.c.entry_index)
        .limit(BATCH)
    )
    position: tuple[str, int, int] = ("", 0, 0)
    while True:
        with store.read() as connection:
            rows = connection.execute(query.where(key > tuple_(*position))).all()
        for row in rows:
            yield row[2], RawRow(row[2], row[3], row[4])
        if len(rows) < BATCH:
            return
        position = (rows[-1][0], rows[-1][1], rows[-1][2])


def _read_link(row: RawRow) -> _Link | None:
    try:
        data = Entry.read(Sealed.parse(row.checked().data)).receipt
        if data is None:
            return None
        receipt = Receipt.read(Sealed.parse(data))
    except (MalformedObjectError, RecordsError):
        return None
    return _Link(receipt.serial, receipt.seq, data, receipt.chain_before)


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

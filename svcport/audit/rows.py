"""Entries and tree nodes as rows: written together, read back with suspicion.

Functions on a connection; who opens transactions, and when, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, and_, func, insert, select, update

from protocol.objects import EntryKind
from svcport.audit import merkle
from svcport.audit.entries import LedgerEntry
from svcport.audit.store import Store, damaged
from svcport.audit.tables import ENTRIES, INTENTS, LOGS, NODES, RECEIPTS
from svcport.errors import Reason, RecordsError

BATCH: Final = 512
"""Entries read at a time: what an iteration over a ledger holds in memory."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry as stored: its index, its leaf hash, the sealed object's bytes."""

    index: int
    leaf_hash: bytes
    data: bytes


def node_reader(connection: Connection, origin: str) -> merkle.ReadNode:
    """Reads stored subtree hashes; one that is missing is RecordsError (`ledger-damaged`)."""

    def read(node: merkle.Node) -> bytes:
        if node.level == 0:
            query: Select[bytes] = select(ENTRIES.c.leaf_hash).where(
                ENTRIES.c.origin == origin, ENTRIES.c.entry_index == node.last
            )
        else:
            query = select(NODES.c.hash).where(
                NODES.c.origin == origin, NODES.c.last == node.last, NODES.c.level == node.level
            )
        value = connection.execute(query).scalar()
        if not isinstance(value, bytes) or len(value) != merkle.HASH_SIZE:
            raise damaged(f"the tree's node of level {node.level} ending at {node.last} is missing")
        return value

    return read


def lock_log(connection: Connection, origin: str) -> int:
    """The log's size, which no other writer changes until this write transaction ends.

    SQLite lets one writer in at a time anyhow; on PostgreSQL this row is the lock.
    """
    query = select(LOGS.c.size).where(LOGS.c.origin == origin).with_for_update()
    size: object = connection.execute(query).scalar()
    if not isinstance(size, int) or size < 0:
        raise damaged(f"the log {origin} states size {size!r}")
    return size


def add_entry(connection: Connection, origin: str, entry: LedgerEntry) -> int:
    """Append inside a write transaction; returns the index that the entry got."""
    index = lock_log(connection, origin)
    data = entry.sealed.build()
    leaf = merkle.leaf_hash(data)
    nodes = merkle.append(index, leaf, node_reader(connection, origin))
    connection.execute(
        insert(ENTRIES).values(origin=origin, entry_index=index, leaf_hash=leaf, data=data)
    )
    if nodes:
        rows = [
            {"origin": origin, "last": node.last, "level": node.level, "hash": value}
            for node, value in nodes
        ]
        connection.execute(insert(NODES), rows)
    _add_derived(connection, origin, index, entry)
    grown = update(LOGS).where(LOGS.c.origin == origin).values(size=index + 1)
    connection.execute(grown)
    return index


def _add_derived(connection: Connection, origin: str, index: int, entry: LedgerEntry) -> None:
    if entry.numbered is not None:
        serial, seq = entry.numbered
        connection.execute(
            insert(RECEIPTS).values(origin=origin, serial=serial, seq=seq, entry_index=index)
        )
    if entry.body.kind is EntryKind.INTENT:
        connection.execute(
            insert(INTENTS).values(
                origin=origin,
                entry_index=index,
                intent_hash=entry.sealed.digest,
                serial=entry.body.lock_serial,
                answered_by=None,
            )
        )
    if entry.answers is not None:
        connection.execute(
            update(INTENTS)
            .where(
                INTENTS.c.origin == origin,
                INTENTS.c.intent_hash == entry.answers,
                INTENTS.c.answered_by.is_(None),
            )
            .values(answered_by=index)
        )


def last_index(connection: Connection, origin: str) -> int | None:
    """Index of the last entry that is stored, None if there is none."""
    query = select(func.max(ENTRIES.c.entry_index)).where(ENTRIES.c.origin == origin)
    found = connection.execute(query).scalar()
    return found if isinstance(found, int) else None


def entry_query(origin: str) -> Select[int, bytes, bytes]:
    """Index, leaf hash and bytes of a log's entries, in order; rows for `RawRow`."""
    return (
        select(ENTRIES.c.entry_index, ENTRIES.c.leaf_hash, ENTRIES.c.data)
        .where(ENTRIES.c.origin == origin)
        .order_by(ENTRIES.c.entry_index)
    )


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of `entries` as it came off the disk: after damage anything may stand there."""

    index: object
    leaf_hash: object
    data: object

    def checked(self) -> StoredEntry:
        """The entry; RecordsError (`ledger-damaged`) unless it hashes to its leaf."""
        if (
            isinstance(self.index, int)
            and isinstance(self.leaf_hash, bytes)
            and isinstance(self.data, bytes)
            and merkle.leaf_hash(self.data) == self.leaf_hash
        ):
            return StoredEntry(self.index, self.leaf_hash, self.data)
        raise damaged(f"entry {self.index} is not what was recorded")


def open_intent_rows(
    connection: Connection, origin: str, serial: str | None = None
) -> list[RawRow]:
    """The INTENTs that no entry has closed, in order; of one lock, or of all.

    Asks the index first and then for the entries it names: a join in the order of the entries would
    walk through the whole ledger.
    """
    unanswered = select(INTENTS.c.entry_index).where(
        INTENTS.c.origin == origin, INTENTS.c.answered_by.is_(None)
    )
    if serial is not None:
        unanswered = unanswered.where(INTENTS.c.serial == serial)
    indices = sorted(connection.execute(unanswered).scalars())
    rows: list[RawRow] = []
    for start in range(0, len(indices), BATCH):
        these = ENTRIES.c.entry_index.in_(indices[start : start + BATCH])
        rows += [RawRow(*row) for row in connection.execute(entry_query(origin).where(these))]
    return rows


def iterate(store: Store, origin: str, start: int, stop: int) -> Iterator[StoredEntry]:
    """Entries start..stop-1, a batch in memory at a time.

    Raises:
        RecordsError: one is missing or not what was recorded (reason `ledger-damaged`).
    """
    for low in range(start, stop, BATCH):
        high = min(low + BATCH, stop)
        rows = _range(store, origin, low, high)
        for index, row in enumerate(rows, low):
            if row.index != index:
                raise damaged(f"entry {index} is missing")
            yield row.checked()
        if len(rows) < high - low:
            raise damaged(f"entry {low + len(rows)} is missing")


def salvage(store: Store, origin: str, low: int, high: int) -> dict[int, RawRow]:
    """Whatever rows low..high-1 can still be read, by index.

    Raises:
        RecordsError: the disk fails (reason `storage`); damage is no error here.
    """
    found = _if_readable(store, origin, low, high)
    if found is None:
        found = []
        for index in range(low, high):
            found += _if_readable(store, origin, index, index + 1) or []
    return {row.index: row for row in found if isinstance(row.index, int)}


def _if_readable(store: Store, origin: str, low: int, high: int) -> list[RawRow] | None:
    try:
        return _range(store, origin, low, high)
    except RecordsError as error:
        if error.reason is not Reason.LEDGER_DAMAGED:
            raise
        return None


def _range(store: Store, origin: str, low: int, high: int) -> list[RawRow]:
    within = and_(ENTRIES.c.entry_index >= low, ENTRIES.c.entry_index < high)
    with store.read() as connection:
        rows = connection.execute(entry_query(origin).where(within)).all()
    return [RawRow(*row) for row in rows]

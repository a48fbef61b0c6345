"""What a cross-check has to compare, out of any number of logs, in tables that live for its time.

Memory does not grow with the logs: everything is in a database in a temporary folder.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    Select,
    SmallInteger,
    String,
    Table,
    func,
    insert,
    select,
    union,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from protocol.objects import EntryKind, Receipt, chain_next
from svcport.audit.entries import LedgerEntry
from svcport.audit.store import Store
from svcport.audit.tables import METADATA as LEDGER_TABLES

_METADATA: Final = MetaData()
_YIELD: Final = 256
"""Rows of a query in memory at a time."""

INTENTS: Final = Table(
    "given_intents",
    _METADATA,
    Column("intent_hash", LargeBinary(32), primary_key=True),
    Column("origin", String(96), primary_key=True),
    Column("entry_index", BigInteger, nullable=False),
    Column("serial", String(16)),
)
ANSWERS: Final = Table(
    "answers",
    _METADATA,
    Column("intent_hash", LargeBinary(32), primary_key=True),
    Column("origin", String(96), primary_key=True),
    Column("entry_index", BigInteger, primary_key=True),
    Column("serial", String(16)),
)
"""Entries that only the station can make which gave the intent."""

RECEIPTS: Final = Table(
    "held_receipts",
    _METADATA,
    Column("serial", String(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("chain_before", LargeBinary(32), nullable=False),
    Column("chain_after", LargeBinary(32), nullable=False),
    Column("intent_hash", LargeBinary(32), nullable=False),
    Column("ticket_id", LargeBinary(32), nullable=False),
    Column("op", SmallInteger, nullable=False),
    Column("image_digest", LargeBinary(32), nullable=False),
    Column("result", SmallInteger, nullable=False),
    Index("held_by_intent", "intent_hash"),
    Index("held_by_ticket", "serial", "ticket_id", "seq"),
)
"""Each receipt once, however many stations hold it."""

HEADS: Final = Table(
    "stated_heads",
    _METADATA,
    Column("serial", String(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("chain", LargeBinary(32), primary_key=True),
)
"""Heads that locks stated at AUTH, as INTENTs carry them."""

_OF_ITS_OWN: Final = (EntryKind.RESULT, EntryKind.NOTE)


class CrossIndex:
    """The tables, open."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[CrossIndex]:
        """An empty index that is gone afterwards; RecordsError (`storage`)."""
        # On Windows a file just closed may still be held by a scanner.
        with tempfile.TemporaryDirectory(
            prefix="svcport-cross-check-", ignore_cleanup_errors=True
        ) as folder:
            store = Store.sqlite(Path(folder) / "index.sqlite")
            try:
                with store.write() as connection:
                    for metadata in (LEDGER_TABLES, _METADATA):
                        for table in metadata.sorted_tables:
                            connection.execute(CreateTable(table))
                            for index in table.indexes:
                                connection.execute(CreateIndex(index))
                yield cls(store)
            finally:
                store.close()

    def add(self, batch: Batch) -> None:
        """Take in what a batch of entries says; what is there already is left alone."""
        with self.store.write() as connection:
            for table, rows in batch.rows.items():
                if rows:
                    connection.execute(insert(table).prefix_with("OR IGNORE"), rows)

    def stream(self, query: Select[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, some at a time."""
        with self.store.read() as connection:
            found = connection.execution_options(yield_per=_YIELD).execute(query)
            for row in found:
                yield tuple(row)

    def serials(self) -> Select[Any]:
        """Every lock that a receipt or an intent names."""
        named = union(
            select(RECEIPTS.c.serial),
            select(HEADS.c.serial),
            select(INTENTS.c.serial).where(INTENTS.c.serial.is_not(None)),
        ).subquery()
        return select(named.c.serial).order_by(named.c.serial)

    def counts(self) -> tuple[int, int]:
        """How many locks, and how many receipts."""
        numbered = select(RECEIPTS.c.serial, RECEIPTS.c.seq).distinct().subquery()
        with self.store.read() as connection:
            locks = connection.execute(
                select(func.count()).select_from(self.serials().subquery())
            ).scalar()
            receipts = connection.execute(select(func.count()).select_from(numbered)).scalar()
        return locks or 0, receipts or 0


class Batch:
    """What some entries say, as rows."""

    def __init__(self) -> None:
        self.rows: dict[Table, list[dict[str, object]]] = {
            table: [] for table in (INTENTS, ANSWERS, RECEIPTS, HEADS)
        }

    def add(self, origin: str, index: int, entry: LedgerEntry) -> None:
        """One entry that verifies."""
        body = entry.body
        place = {"origin": origin, "entry_index": index, "serial": body.lock_serial}
        if body.kind is EntryKind.INTENT:
            self.rows[INTENTS].append({"intent_hash": entry.sealed.digest, **place})
        elif body.intent_hash is not None and (
            body.kind in _OF_ITS_OWN or (body.kind is EntryKind.RECOVERED and body.receipt is None)
        ):
            self.rows[ANSWERS].append({"intent_hash": body.intent_hash, **place})
        if body.lock_head is not None and body.lock_serial is not None:
            head = {"seq": body.lock_head.seq, "chain": body.lock_head.chain}
            self.rows[HEADS].append({"serial": body.lock_serial, **head})
        if entry.statement is not None and isinstance(entry.statement.body, Receipt):
            data = entry.statement.sealed.build()
            sha256 = entry.statement.sealed.digest
            self.rows[RECEIPTS].append(_receipt_row(entry.statement.body, data, sha256))


def _receipt_row(receipt: Receipt, data: bytes, sha256: bytes) -> dict[str, object]:
    return {
        "serial": receipt.serial,
        "seq": receipt.seq,
        "sha256": sha256,
        "chain_before": receipt.chain_before,
        "chain_after": chain_next(receipt.chain_before, data),
        "intent_hash": receipt.intent_hash,
        "ticket_id": receipt.ticket_id,
        "op": int(receipt.op),
        "image_digest": receipt.image_digest,
        "result": int(receipt.result),
    }

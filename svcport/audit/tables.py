"""The ledger's tables. Entries, leaf hashes and certificates are the record; the rest is derived.

Plain SQLAlchemy Core, the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)

METADATA: Final = MetaData()

LOGS: Final = Table(
    "logs",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("realm", String(16), nullable=False),
    Column("vkey", String(256), nullable=False),
    Column("size", BigInteger, nullable=False),
)
"""One row a log; the row is what an append locks, and `size` the next entry's index."""

ENTRIES: Final = Table(
    "entries",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    Column("data", LargeBinary(960), nullable=False),
    sqlite_with_rowid=False,  # one copy of the key: no index that could disagree with the row
)

NODES: Final = Table(
    "nodes",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("last", BigInteger, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)
"""Complete subtrees of level 1 and up (merkle.Node); level 0 is the entry's own leaf hash."""

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
"""The newest checkpoint a log; `signed_at` in unix seconds, UTC."""

RECEIPTS: Final = Table(
    "receipts",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("serial", String(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Index("receipts_by_entry", "origin", "entry_index"),
)
"""Which entry holds which lock's receipt; derived."""

INTENTS: Final = Table(
    "intents",
    METADATA,
    Column("origin", String(96), primary_key=True),
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("intent_hash", LargeBinary(32), nullable=False),
    Column("serial", String(16)),
    Column("answered_by", BigInteger),
    Index("intents_by_hash", "origin", "intent_hash"),
    Index("intents_by_answer", "origin", "answered_by", "serial"),
)
"""Every INTENT, and the first entry that closed it; derived."""

CERTIFICATES: Final = Table(
    "certificates",
    METADATA,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("subject", LargeBinary(8), nullable=False),
    Column("serial", String(16)),
    Column("data", LargeBinary(960), nullable=False),
    Index("certificates_by_subject", "kind", "subject"),
    Index("certificates_by_serial", "kind", "serial"),
)
"""The certificates that entries and receipts are checked with; `subject` is a key id."""

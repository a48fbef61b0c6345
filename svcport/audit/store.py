"""Where the tables live: connections, transactions and what a failing disk is called.

What only SQLite understands stands in `_sqlite` and `_named`, what only PostgreSQL does in
`postgres`; the rest is the same for both.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool
from sqlalchemy.schema import CreateIndex, CreateTable

from svcport.audit import postgres
from svcport.audit.tables import METADATA
from svcport.errors import Reason, RecordsError

BUSY_TIMEOUT_S: Final = 30.0
"""How long one process waits for another's append; an append takes milliseconds."""

EXPORT_HINT: Final = (
    "run `svcport audit verify` to see what is damaged and "
    "`svcport audit export --damaged DIR` to get out what still verifies"
)
_WRITING: Final = "svcport_writing"
# What may pass by itself must not leave the mark of damage.
_STORAGE_CODES: Final = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_ABORT,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_SCHEMA,
    )
)


def damaged(message: str) -> RecordsError:
    """The error for records that are not what they were when they were written."""
    return RecordsError(Reason.LEDGER_DAMAGED, message, hint=EXPORT_HINT)


class Store:
    """The tables of one installation, shared by its threads and with other processes."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._turn = threading.Lock()

    @classmethod
    def sqlite(cls, path: Path) -> Store:
        """The store in the SQLite file `path`, which is made with the first write.

        Every commit is on the disk when it returns (WAL, synchronous FULL).
        """
        return cls(_sqlite(path), str(path))

    @classmethod
    def open(cls, source: str) -> Store:
        """The store at a URL of PostgreSQL, or in the SQLite file of that name.

        Raises:
            RefusedError: it names no place for a ledger, or the driver is missing.
        """
        if "://" not in source:
            return cls.sqlite(Path(source))
        engine = postgres.engine_for(postgres.read_url(source))
        event.listen(engine, "begin", _begin_postgres)
        return cls(engine, source)

    @property
    def source(self) -> str:
        """Where the tables are, in words that `open` understands in another process."""
        return self._place

    def close(self) -> None:
        """Give every connection back; the store cannot be used afterwards."""
        with self._errors():
            self._engine.dispose()

    def wait_for_makers(self, connection: Connection) -> None:
        """Inside a write transaction: be the only one that makes tables, until it ends."""
        if connection.dialect.name == postgres.SCHEME:
            postgres.make_tables_alone(connection)

    def create_tables(self, connection: Connection) -> None:
        """Make what is missing of the tables, inside a write transaction."""
        for table in METADATA.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda one: str(one.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state throughout.

        Raises:
            RecordsError: reason `storage` or `ledger-damaged`.
        """
        with self._errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other writer can enter; durable when the block ends well.

        Raises:
            RecordsError: reason `storage` or `ledger-damaged`; nothing was written then.
        """
        # SQLite's own queue is unfair: within one process, wait in line before asking it.
        with self._turn, self._errors(), self._engine.connect() as connection:
            writer = connection.execution_options(**{_WRITING: True})
            with writer.begin():
                yield writer

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _named(error, self._place) from error
        except UnicodeDecodeError as error:  # sqlite3 quotes a damaged schema in its message
            raise damaged(f"{self._place}: the schema is not UTF-8") from error
        except SQLAlchemyError as error:
            raise damaged(f"{self._place}: {_first_line(error)}") from error


def _begin_postgres(connection: Connection) -> None:
    if not connection.get_execution_options().get(_WRITING, False):
        postgres.begin_reading(connection)


def _sqlite(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        link = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON"):
                link.execute(f"PRAGMA {pragma}")
            for pragma in ("cell_size_check=ON", "trusted_schema=OFF"):
                link.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, UnicodeDecodeError):
            link.close()
            raise
        return link

    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(_WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=-1
    )
    event.listen(engine, "begin", begin)
    return engine


def _named(error: DBAPIError, place: str) -> RecordsError:
    message = f"{place}: {_first_line(error)}"
    if isinstance(error.orig, sqlite3.Error):
        # A text that is no UTF-8 comes without a code.
        code: int = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        stored = code & 0xFF not in _STORAGE_CODES
        hint = "free space on the disk, or give a writable folder with --home"
    else:
        stored = postgres.is_damage(getattr(error.orig, "sqlstate", None))
        hint = "see that the database server runs, has space, and lets this user in"
    return damaged(message) if stored else RecordsError(Reason.STORAGE, message, hint=hint)


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).split("\n", 1)[0]

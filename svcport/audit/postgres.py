"""What only PostgreSQL understands: where it is, how to connect, and what its errors mean.

The driver (psycopg 3) comes with `svcport[postgres]` and is loaded when a ledger is there.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from svcport.errors import Reason, RecordsError, RefusedError

SCHEME: Final = "postgresql"
LOCK_TIMEOUT_S: Final = 30
"""How long one process waits for another's append; an append takes milliseconds."""

_CONNECT: Final[dict[str, str]] = {
    "connect_timeout": "10",
    # A network that falls silent must end as an error, not as a technician who waits for hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "svcport",
}
_DAMAGE: Final = ("XX001", "XX002", "42P01", "42703", "22", "23")
"""SQLSTATEs, or their classes, of tables that are not what was written: corrupted data or index,
a table or column that is missing, values that do not fit, keys that are there twice."""

_MAKING: Final = 0x73766370
"""Number of the advisory lock under which tables are made ("svcp")."""


def read_url(text: str) -> URL:
    """The database that a URL as libpq takes it names.

    Raises:
        RefusedError: it is none, or carries a password (reason `usage`); or the driver is missing
            (`not-set-up`).
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise RefusedError(
            Reason.USAGE, f"{text!r} is no URL", hint="wanted postgresql://USER@HOST/DATABASE"
        ) from error
    if url.drivername != SCHEME:
        raise RefusedError(
            Reason.USAGE,
            f"a ledger cannot be kept at {url.drivername}://",
            hint="wanted postgresql://USER@HOST/DATABASE",
        )
    if url.password is not None or "password" in url.query:
        raise RefusedError(
            Reason.USAGE,
            "the ledger's URL carries a password",
            hint="put it into ~/.pgpass, which only you can read, or use a client certificate",
        )
    if importlib.util.find_spec("psycopg") is None:
        raise RefusedError(
            Reason.NOT_SET_UP,
            "the driver for PostgreSQL is not installed",
            hint="pip install 'svcport[postgres]'",
        )
    return url


def engine_for(url: URL) -> Engine:
    """Connections whose every commit is on the server's disk when it returns."""
    given = {name: value for name, value in _CONNECT.items() if name not in url.query}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=given,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=-1,
        pool_pre_ping=True,  # a server that was restarted meanwhile is no error
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(link: Any, _record: object) -> None:  # noqa: ANN401 - psycopg may not be installed
    """What holds for every transaction of a connection; refuses a server that forgets."""
    if link.execute("SHOW fsync").fetchone()[0] != "on":
        raise RecordsError(
            Reason.STORAGE,
            "the database server runs with fsync off: it loses entries when it crashes",
            hint="set fsync = on in postgresql.conf",
        )
    if link.execute("SHOW synchronous_commit").fetchone()[0] == "off":
        link.execute("SET synchronous_commit TO on")
    link.execute(f"SET lock_timeout TO '{LOCK_TIMEOUT_S}s'")
    link.commit()


def begin_reading(connection: Connection) -> None:
    """One state throughout, and nothing changed."""
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def make_tables_alone(connection: Connection) -> None:
    """Wait until no other process makes tables, until this transaction ends.

    CREATE TABLE IF NOT EXISTS fails where two processes run it at the same moment.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING})")


def is_damage(sqlstate: str | None) -> bool:
    """Whether an error says that the tables are not what was written; any other may pass."""
    return sqlstate is not None and sqlstate.startswith(_DAMAGE)

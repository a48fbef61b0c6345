"""What an issuer handed out: an append-only log, and the counters and numbers that follow from it.

A counter is reserved here, durably, before anything is signed with it: whatever dies afterwards,
no counter is given twice. Entries are chained, chain(n) = SHA-256(chain(n-1) | content(n)), and a
mark kept elsewhere remembers how far the log had come, so that an old copy is noticed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from svcport.authorisation.files import FILE_LIMIT
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import read_file, write_whole

COUNTER_LIMIT: Final = (1 << 63) - 1
"""Highest counter given out: a lock takes 64 bits, SQLite keeps 63."""

_WAIT_S: Final = 30.0
"""How long to wait for another process that is issuing; none holds the log while it signs."""

_START: Final = hashlib.sha256(b"svcport-issuance-v1\0").digest()
_SCHEMA: Final = """
CREATE TABLE entry (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, lock TEXT NOT NULL, last INTEGER,
    content TEXT NOT NULL, chain BLOB NOT NULL
);
CREATE INDEX counters ON entry (lock, last);
CREATE INDEX kinds ON entry (kind, number);
CREATE TRIGGER no_change BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""Error codes of a file that is not, or not any more, such a log."""

_HINT: Final = "put the newest copy of the issuance log back; do not issue with an older one"


class IssuedKind(StrEnum):
    """What an entry records. What is reserved may never have been signed."""

    RESERVED = "reserved"
    TICKET = "ticket"
    CREDENTIAL = "credential"
    ISSUER = "issuer"
    EPOCH_RESERVED = "epoch-reserved"
    EPOCH = "epoch"
    EPOCH_TAKEN = "epoch-taken"
    TIME = "time"
    LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One entry: who issued what to whom.

    Attributes:
        time: unix seconds; `not_after` likewise.
        operator: the user of the computer.
        signer: key id in hex; so are `holder` and `revoked`.
        first: the counters `first` to `last` were reserved or used.
        object: SHA-256 of the signed object in hex; so are `image` and `ticket` (its id).
        number: of an EPOCH statement; `min_epoch` and `revoked` are what it states.
    """

    kind: IssuedKind
    time: int
    operator: str
    signer: str
    holder: str = ""
    name: str = ""
    lock: str = ""
    ops: str = ""
    image: str = ""
    mode: str = ""
    first: int | None = None
    last: int | None = None
    case: str = ""
    not_after: int | None = None
    ticket: str = ""
    object: str = ""
    number: int | None = None
    min_epoch: int | None = None
    revoked: tuple[str, ...] = ()

    def build(self) -> str:
        """The entry's content: one JSON object without what was not stated."""
        return json.dumps(self.members(), sort_keys=True, separators=(",", ":"))

    def members(self) -> dict[str, Any]:
        """As JSON values, without what was not stated."""
        stated = {name: getattr(self, name) for name in _NAMES}
        return {name: value for name, value in stated.items() if value not in ("", None, ())}

    @classmethod
    def parse(cls, content: str) -> Issued:
        """The inverse of `build`; ValueError if it is not."""
        try:
            values = json.loads(content)
            values["revoked"] = tuple(values.get("revoked", ()))
            entry = cls(**{**values, "kind": IssuedKind(values["kind"])})
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"no issuance entry: {error}") from error
        if entry.build() != content:
            raise ValueError("not as an issuance entry is written")
        return entry


_NAMES: Final = tuple(field.name for field in dataclasses.fields(Issued))


@dataclass(frozen=True, slots=True)
class _Head:
    """How far a log has come: number of entries, and the chain over them."""

    entries: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class IssuanceLog:
    """The log of one authority folder. Any number of processes may use it at the same time.

    Every method raises RecordsError: `ledger-damaged` if the log is missing, damaged or older than
    its mark, `storage` if the disk fails.

    Attributes:
        path: the SQLite file.
        mark: where this computer remembers the log's head; None for nowhere.
    """

    path: Path
    mark: Path | None = None

    def create(self) -> None:
        """Begin an empty log; one that is there already stays as it is."""
        if self.path.exists():
            return
        try:
            with contextlib.closing(_connect(self.path, "rwc")) as connection:
                connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def reserve_counters(self, wish: Issued, count: int, *, at_least: int | None = None) -> range:
        """Take the next `count` counters of `wish.lock`, for good; the first ever is 1.

        Args:
            wish: what they are for; counters and kind are filled in.
            count: 1 or more.
            at_least: go on from this counter, which is how to go on after the newest log was lost:
                then a log older than its mark is taken as it is.

        Raises:
            RefusedError: `at_least` has been given out already, or there are no more (`usage`).
        """
        with self._writing(accept_old=at_least is not None) as connection:
            found = connection.execute("SELECT max(last) FROM entry WHERE lock = ?", (wish.lock,))
            following = (found.fetchone()[0] or 0) + 1
            if at_least is not None and at_least < following:
                raise RefusedError(
                    Reason.USAGE,
                    f"counter {at_least} of lock {wish.lock} may have been used, "
                    f"the log goes on at {following}",
                )
            first = following if at_least is None else at_least
            last = first + count - 1
            if last > COUNTER_LIMIT:
                raise RefusedError(Reason.USAGE, f"counter {last} is above {COUNTER_LIMIT}")
            _append(
                connection,
                dataclasses.replace(wish, kind=IssuedKind.RESERVED, first=first, last=last),
            )
        return range(first, last + 1)

    def reserve_statement(self, decide: Callable[[Issued | None], Issued]) -> Issued:
        """Append the entry that `decide` makes of the last statement reserved, and give it back.

        No other process can reserve one in between; what `decide` raises reserves nothing.
        """
        with self._writing() as connection:
            found = connection.execute(
                "SELECT content FROM entry WHERE kind = ? ORDER BY number DESC LIMIT 1",
                (str(IssuedKind.EPOCH_RESERVED),),
            ).fetchone()
            entry = decide(None if found is None else self._parsed(found[0]))
            _append(connection, entry)
        return entry

    def record(self, *entries: Issued, then: Callable[[], None] | None = None) -> None:
        """Append entries; they are on disk when this returns.

        `then` is called while no other process can write; what it raises appends nothing.
        """
        with self._writing() as connection:
            for entry in entries:
                _append(connection, entry)
            if then is not None:
                then()

    def entries(self) -> tuple[Issued, ...]:
        """Everything issued, every entry's chain checked."""
        with self._writing() as connection:
            rows = connection.execute(
                "SELECT number, content, chain, lock, last FROM entry ORDER BY number"
            ).fetchall()
        chain, found = _START, []
        for index, (number, content, stated, lock, last) in enumerate(rows, 1):
            chain = _next(chain, content)
            entry = self._parsed(content)
            if number != index or stated != chain or (entry.lock, entry.last) != (lock, last):
                raise self._damaged(f"entry {index} was changed or removed")
            found.append(entry)
        return tuple(found)

    @contextlib.contextmanager
    def _writing(self, *, accept_old: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes in; nothing stays of it if the body raises."""
        if not self.path.is_file():
            raise self._damaged("it is missing")
        try:
            with contextlib.closing(_connect(self.path, "rw")) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._check_mark(connection, accept_old=accept_old)
                yield connection
                head = _head(connection)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error
        if self.mark is not None:
            content = {"entries": head.entries, "chain": head.chain.hex()}
            write_whole(self.mark, json.dumps(content).encode() + b"\n")

    def _check_mark(self, connection: sqlite3.Connection, *, accept_old: bool) -> None:
        seen, present = self._seen(), _head(connection)
        if seen is None or accept_old or seen.entries == 0:
            return
        row = connection.execute(
            "SELECT chain FROM entry WHERE number = ?", (seen.entries,)
        ).fetchone()
        if row is None or row[0] != seen.chain:
            raise self._damaged(
                f"this computer has seen {seen.entries} entries, the log has {present.entries}"
                " and is an old or another copy"
            )

    def _seen(self) -> _Head | None:
        if self.mark is None or not self.mark.exists():
            return None
        data = read_file(self.mark)[:FILE_LIMIT]
        try:
            content = json.loads(data)
            return _Head(int(content["entries"]), bytes.fromhex(content["chain"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RecordsError(
                Reason.LEDGER_DAMAGED,
                f"{self.mark} is damaged: {error}",
                hint="delete it if you are sure that the issuance log is the newest",
            ) from error

    def _parsed(self, content: str) -> Issued:
        try:
            return Issued.parse(content)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> RecordsError:
        return RecordsError(
            Reason.LEDGER_DAMAGED, f"the issuance log {self.path}: {why}", hint=_HINT
        )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, timeout=_WAIT_S, isolation_level=None, uri=True)
    # EXTRA: the folder is synced too when the journal goes, so that no commit is lost with power
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _append(connection: sqlite3.Connection, entry: Issued) -> None:
    head, content = _head(connection), entry.build()
    connection.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
        (
            head.entries + 1,
            str(entry.kind),
            entry.lock,
            entry.last,
            content,
            _next(head.chain, content),
        ),
    )


def _head(connection: sqlite3.Connection) -> _Head:
    row = connection.execute("SELECT number, chain FROM entry ORDER BY number DESC LIMIT 1")
    found = row.fetchone()
    return _Head(0, _START) if found is None else _Head(found[0], found[1])


def _next(chain: bytes, content: str) -> bytes:
    return hashlib.sha256(chain + content.encode()).digest()


def _unusable(path: Path, error: sqlite3.Error) -> RecordsError:
    code = getattr(error, "sqlite_errorcode", None)
    damaged = code is not None and code & 0xFF in _DAMAGE
    reason = Reason.LEDGER_DAMAGED if damaged else Reason.STORAGE
    return RecordsError(reason, f"the issuance log {path}: {error}", hint=_HINT if damaged else "")

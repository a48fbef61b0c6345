"""This station as witness of others' logs: it cosigns a checkpoint only if nothing was taken back.

What was seen of a log is on the disk before a cosignature is handed out, and never goes back. The
rules are those of C2SP tlog-witness; a refusal carries its status number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.schema import CreateTable

from protocol.sealed import Realm
from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import Note, NoteError, NoteSignature, StationKey, VerifierKey
from svcport.audit.proofs.published import realm_of
from svcport.audit.station import load_key, make_pending_key, settle_key
from svcport.audit.store import Store, damaged
from svcport.audit.witness.addcheckpoint import AddCheckpoint
from svcport.audit.witness.cosignature import WitnessKey, cosign
from svcport.errors import Reason, RefusedError
from svcport.home import storage_error

MALFORMED: Final = 400
BAD_SIGNATURE: Final = 403
UNKNOWN_LOG: Final = 404
WRONG_OLD_SIZE: Final = 409
NOT_CONSISTENT: Final = 422

_DATABASE_NAME: Final = "witness.sqlite"
_METADATA: Final = MetaData()
_SELF: Final = Table("witness", _METADATA, Column("vkey", String(256), primary_key=True))
_SEEN: Final = Table(
    "seen",
    _METADATA,
    Column("origin", String(96), primary_key=True),
    Column("vkey", String(256), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
)
_PREFIX: Final = "svcport.witness/"
_TRAINING: Final = "training."


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a witness has followed one log; size 0 is a log that it only knows of."""

    key: VerifierKey
    size: int
    root: bytes


class Witness:
    """The witness of one installation; several processes may be it at once."""

    def __init__(self, store: Store, realm: Realm, key: StationKey, name: str) -> None:
        self._store = store
        self._realm = realm
        self._key = key
        self._name = name

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, realm: Realm) -> Iterator[Witness]:
        """The witness in `folder`, made with its key if there is none.

        Raises:
            RefusedError: it is of the other realm (reason `lock-identity`).
            RecordsError: its state cannot be opened (`storage`), or is damaged (`ledger-damaged`).
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        store = Store.sqlite(folder / _DATABASE_NAME)
        try:
            known = _made(store, folder, realm)
            if known.name != _name_of(realm, known):
                raise RefusedError(
                    Reason.LOCK_IDENTITY,
                    f"the witness {known.name} is not of {realm.name.lower()}",
                    hint="give training and real work a home each, with --home",
                )
            key = load_key(folder, _as_station(known).subject)
            yield cls(store, realm, key, known.name)
        finally:
            store.close()

    @property
    def vkey(self) -> WitnessKey:
        """The public key that this witness's cosignatures are checked with."""
        return WitnessKey.of(self._key, self._name)

    def introduce(self, key: VerifierKey) -> None:
        """Know a log from now on; one that is known stays as it was seen last.

        Raises:
            RefusedError: it is of the other realm (reason `lock-identity`).
            RecordsError: it could not be stored.
        """
        if realm_of(key) is not self._realm:
            raise RefusedError(
                Reason.LOCK_IDENTITY, f"{key.name} is not a log of {self._realm.name.lower()}"
            )
        with self._store.write() as connection:
            if _read(connection, key.name) is None:
                row = {"vkey": str(key), "size": 0, "root": merkle.EMPTY_ROOT}
                connection.execute(insert(_SEEN).values(origin=key.name, **row))

    def seen(self, origin: str) -> Seen | None:
        """How far this witness followed a log, None for one that it does not know."""
        with self._store.read() as connection:
            return _read(connection, origin)

    def all_seen(self) -> dict[str, Seen]:
        """Every log that this witness knows, by origin."""
        with self._store.read() as connection:
            origins = [str(one) for one in connection.execute(select(_SEEN.c.origin)).scalars()]
            found = {origin: _read(connection, origin) for origin in origins}
        return {origin: seen for origin, seen in found.items() if seen is not None}

    def add_checkpoint(self, request: AddCheckpoint, now: datetime) -> NoteSignature:
        """The cosignature that is asked for; what was seen is durable before it exists.

        Raises:
            RefusedError: `facts["status"]` says why: 400 malformed, 404 unknown log, 403 not
                signed by it, 409 another size was seen last (all reason `checkpoint-refused`),
                422 the log does not begin with what was seen (`ledger-fork`).
            RecordsError: what was seen could not be stored; nothing is signed then.
        """
        try:
            note = Note.parse(request.note)
            claimed = Checkpoint.parse(note.text)
        except NoteError as error:
            raise refused(MALFORMED, str(error)) from error
        with self._store.write() as connection:
            seen = _read(connection, claimed.origin)
            if seen is None:
                raise refused(UNKNOWN_LOG, f"the log {claimed.origin} is not known here")
            try:
                checkpoint = Checkpoint.open(request.note, seen.key)
            except NoteError as error:
                raise refused(BAD_SIGNATURE, str(error)) from error
            _judge(request, checkpoint, seen)
            connection.execute(
                update(_SEEN)
                .where(_SEEN.c.origin == checkpoint.origin)
                .values(size=checkpoint.size, root=checkpoint.root)
            )
        return cosign(self._key, self._name, note.text, int(now.timestamp()))


def refused(status: int, message: str, *, size: int | None = None) -> RefusedError:
    """A witness's no, with the number that C2SP tlog-witness gives it."""
    reason = Reason.LEDGER_FORK if status == NOT_CONSISTENT else Reason.CHECKPOINT_REFUSED
    error = RefusedError(reason, message, hint=_HINTS.get(status, ""))
    error.facts = {"status": status, "size": size}
    return error


_HINTS: Final = {
    UNKNOWN_LOG: "introduce the log with --vkey FILE, from a source that you trust",
    WRONG_OLD_SIZE: "ask for a request from the size on that was witnessed last",
    NOT_CONSISTENT: "keep the request: this log was put back from an old copy, or rewritten",
}


def _judge(request: AddCheckpoint, new: Checkpoint, seen: Seen) -> None:
    if request.old != seen.size:
        message = f"the request starts from {request.old} entries, {seen.size} were witnessed"
        raise refused(WRONG_OLD_SIZE, message, size=seen.size)
    if new.size < seen.size:
        message = f"the log went back from {seen.size} to {new.size} entries"
        raise refused(NOT_CONSISTENT, message, size=seen.size)
    if not merkle.extends(seen.size, seen.root, new.size, new.root, request.proof):
        message = f"the log's {new.size} entries do not begin with the {seen.size} witnessed"
        raise refused(NOT_CONSISTENT, message, size=seen.size)


def _read(connection: Connection, origin: str) -> Seen | None:
    query = select(_SEEN.c.vkey, _SEEN.c.size, _SEEN.c.root).where(_SEEN.c.origin == origin)
    row = connection.execute(query).first()
    if row is None:
        return None
    vkey: object = row[0]
    size: object = row[1]
    root: object = row[2]
    try:
        key = VerifierKey.parse(str(vkey))
    except NoteError as error:
        raise damaged(f"what was witnessed of {origin} is damaged: {error}") from error
    sound = isinstance(size, int) and isinstance(root, bytes) and len(root) == merkle.HASH_SIZE
    if not sound or not isinstance(size, int) or not isinstance(root, bytes) or key.name != origin:
        raise damaged(f"what was witnessed of {origin} is damaged")
    return Seen(key, size, root)


def _made(store: Store, folder: Path, realm: Realm) -> WitnessKey:
    """The witness's own key as its state names it; the first caller makes both."""
    with store.write() as connection:
        for table in _METADATA.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
        stored: object = connection.execute(select(_SELF.c.vkey)).scalar()
        if stored is None:
            key = make_pending_key(folder)
            name = _name_of(realm, WitnessKey.of(key, "unnamed"))
            stored = str(WitnessKey.of(key, name))
            connection.execute(insert(_SELF).values(vkey=stored))
    settle_key(folder)
    try:
        return WitnessKey.parse(str(stored))
    except NoteError as error:
        raise damaged(f"{folder}: the witness's key is damaged: {error}") from error


def _name_of(realm: Realm, key: WitnessKey) -> str:
    name = _PREFIX + _as_station(key).subject.key_id.hex()
    return _TRAINING + name if realm is Realm.TRAINING else name


def _as_station(key: WitnessKey) -> VerifierKey:
    return VerifierKey(key.name, key.public)

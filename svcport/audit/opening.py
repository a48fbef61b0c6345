"""Opening a ledger to operate with it: made once, and refused when it is seen to be damaged.

What can be seen in a moment is looked at each time: the mark, the station key, the size, the last
entry, the last checkpoint and the stored subtrees under it. The rest is for `verify_ledger`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select

from protocol.sealed import Realm
from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError, StationKey
from svcport.audit.place import DATABASE_NAME, Log, Place, no_ledger, require_reachable
from svcport.audit.problems import Problem, ProblemCode, read_mark, write_mark
from svcport.audit.rows import RawRow, entry_query, last_index, node_reader
from svcport.audit.station import (
    KEY_NAME,
    load_key,
    make_pending_key,
    origin_of,
    settle_key,
)
from svcport.audit.store import Store, damaged
from svcport.audit.tables import CHECKPOINTS, ENTRIES, LOGS
from svcport.audit.view import read_size
from svcport.errors import Reason, RecordsError, RefusedError


def open_to_operate(folder: Path, realm: Realm, *, create: bool) -> tuple[Store, Log, StationKey]:
    """The store, the log and the key of the ledger in `folder`.

    Raises:
        RefusedError: there is none and `create` is not given (reason `not-set-up`), or it is of
            the other realm (`lock-identity`).
        RecordsError: it cannot be opened (`storage`), or is damaged (`ledger-damaged`).
    """
    require_reachable(folder)
    mark = read_mark(folder)
    if mark is not None:
        raise damaged(f"{folder}: damage was found before: {mark}")
    try:
        return _open(folder, realm, create=create)
    except RecordsError as error:
        if error.reason is Reason.LEDGER_DAMAGED:
            _leave_mark(folder, error)
        raise


def _leave_mark(folder: Path, error: RecordsError) -> None:
    problem = Problem(None, ProblemCode.STORE, error.message)
    with contextlib.suppress(RecordsError):  # the damage matters more than a full disk
        write_mark(folder, [problem])


def _open(folder: Path, realm: Realm, *, create: bool) -> tuple[Store, Log, StationKey]:
    place = Place.of(folder)
    store = place.for_writing() if create else place.existing()
    with contextlib.ExitStack() as undo:
        undo.callback(store.close)
        with store.read() as connection:
            log = place.read_log(connection)
        if log is None:
            if not create:
                raise no_ledger(folder)
            log = _create(store, place, realm)
        if log.realm is not realm:
            raise RefusedError(
                Reason.LOCK_IDENTITY,
                f"{folder}: the ledger is of {log.realm.name.lower()}, wanted {realm.name.lower()}",
                hint="give training and real work a home each, with --home",
            )
        key = load_key(folder, log.verifier.subject)
        with store.read() as connection:
            glance(connection, log)
        undo.pop_all()
    return store, log, key


def _create(store: Store, place: Place, realm: Realm) -> Log:
    """The new log; or the one that another process made while this one waited its turn."""
    folder = place.folder
    with store.write() as connection:
        store.wait_for_makers(connection)
        log = place.read_log(connection)
        if log is None:
            if (folder / KEY_NAME).exists():
                raise damaged(f"{folder / DATABASE_NAME} is empty, its station key is there")
            store.create_tables(connection)
            key = make_pending_key(folder)
            origin = origin_of(realm, key.subject)
            log = Log(origin, realm, key.verifier(origin))
            row = {"origin": origin, "realm": realm.name, "vkey": str(log.verifier), "size": 0}
            connection.execute(insert(LOGS).values(**row))
    settle_key(folder)
    return log


def glance(connection: Connection, log: Log) -> int:
    """The size of a log that shows no damage at a glance; costs log2(size) reads.

    Raises:
        RecordsError: size, last entry, checkpoint or stored tree disagree (`ledger-damaged`).
    """
    size = read_size(connection, log.origin)
    last = last_index(connection, log.origin)
    if size != (0 if last is None else last + 1):
        raise damaged(f"the log states {size} entries, the last one stored is {last}")
    if last is not None:
        query = entry_query(log.origin).where(ENTRIES.c.entry_index == last)
        for row in connection.execute(query):
            RawRow(*row).checked()
    check_checkpoint(connection, log, size)
    return size


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that holds, and the note that states it."""

    checkpoint: Checkpoint
    note: bytes


def check_checkpoint(connection: Connection, log: Log, size: int) -> SignedCheckpoint | None:
    """The last checkpoint, None before the first; RecordsError if the stored tree denies it."""
    query = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.origin == log.origin)
    note: object = connection.execute(query).scalar()
    if note is None:
        return None
    text = note if isinstance(note, bytes) else b""
    try:
        checkpoint = Checkpoint.open(text, log.verifier)
    except NoteError as error:
        raise damaged(f"the last checkpoint does not verify: {error}") from error
    if checkpoint.size > size:
        raise damaged(f"the last checkpoint has {checkpoint.size} entries, the log {size}")
    if merkle.root(checkpoint.size, node_reader(connection, log.origin)) != checkpoint.root:
        raise damaged(f"the stored tree is not that of the checkpoint at {checkpoint.size} entries")
    return SignedCheckpoint(checkpoint, text)

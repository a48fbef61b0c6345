"""Reading a ledger, damaged or not: what it holds, and what it still lacks of a lock's receipts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, func, select

from protocol.errors import MalformedObjectError
from protocol.objects import Entry, Receipt, chain_next, chain_start
from protocol.sealed import Realm, Sealed
from protocol.values import Head, Op
from svcport.audit.entries import SEQ_LIMIT
from svcport.audit.note import VerifierKey
from svcport.audit.place import Log, Place, no_ledger, require_reachable
from svcport.audit.problems import MARK_NAME, Problem, read_mark, write_mark
from svcport.audit.rows import RawRow, StoredEntry, iterate, open_intent_rows
from svcport.audit.station import KEY_NAME
from svcport.audit.store import Store, damaged
from svcport.audit.tables import CHECKPOINTS, ENTRIES, INTENTS, LOGS, RECEIPTS
from svcport.errors import FailedError, Reason
from svcport.home import storage_error

RECEIPT_RING: Final = 64
"""Receipts that a lock keeps (protocol/README, "Receipts"); older ones cannot be fetched."""


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An INTENT that no entry has closed: whether it was carried out, only the lock can tell."""

    index: int
    intent_hash: bytes
    serial: str | None
    op: Op | None
    image_digest: bytes | None
    session: bytes | None
    lock_head: Head | None
    sealed: bytes


class LedgerView:
    """A ledger opened for reading; takes the mark of damage as no obstacle."""

    def __init__(self, store: Store, folder: Path, log: Log) -> None:
        self._store = store
        self._folder = folder
        self._log = log

    @staticmethod
    def open_for_audit(folder: Path) -> LedgerView:
        """The ledger in `folder`, whatever its state; needs no station key.

        Raises:
            RefusedError: there is none (reason `not-set-up`).
            RecordsError: it cannot be opened (reason `storage` or `ledger-damaged`).
        """
        require_reachable(folder)
        place = Place.of(folder)
        store = place.existing()
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            with store.read() as connection:
                log = place.read_log(connection)
            if log is None:
                if (folder / KEY_NAME).exists():
                    raise damaged(f"{folder}: the ledger is empty, its station key is there")
                raise no_ledger(folder)
            undo.pop_all()
        return LedgerView(store, folder, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    @property
    def store(self) -> Store:
        """Where the tables are; for this package only."""
        return self._store

    @property
    def folder(self) -> Path:
        """The ledger's folder."""
        return self._folder

    @property
    def origin(self) -> str:
        """The log's name, as it stands in entries and checkpoints."""
        return self._log.origin

    @property
    def realm(self) -> Realm:
        """Real or training."""
        return self._log.realm

    @property
    def verifier(self) -> VerifierKey:
        """The station's public key under the log's name."""
        return self._log.verifier

    @property
    def vkey(self) -> str:
        """The station's public key as C2SP tools take it."""
        return str(self._log.verifier)

    @property
    def size(self) -> int:
        """How many entries there are."""
        with self._store.read() as connection:
            return read_size(connection, self.origin)

    @property
    def damage(self) -> str | None:
        """The first line of the mark that damage left, None if none was found."""
        return read_mark(self._folder)

    def mark_damaged(self, problems: Iterable[Problem]) -> bool:
        """Keep this ledger from operating if any of `problems` is damage; whether it now is kept.

        Raises:
            RecordsError: the mark cannot be written (reason `storage`).
        """
        return write_mark(self._folder, problems)

    def clear_mark(self) -> None:
        """Let the ledger operate again, after a verification that found no damage."""
        path = self._folder / MARK_NAME
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path, error) from error

    def last_checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, a note; None before the first."""
        query = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.origin == self.origin)
        with self._store.read() as connection:
            return connection.execute(query).scalar()

    def entries(self, start: int = 0) -> Iterator[StoredEntry]:
        """The entries from index `start` on, those there are now, a batch in memory at a time.

        Raises:
            RecordsError: one is missing or not what was recorded (reason `ledger-damaged`).
        """
        return iterate(self._store, self.origin, start, self.size)

    def receipts(self, serial: str, first: int = 1) -> Mapping[int, bytes]:
        """The receipts of one lock from number `first` on that this ledger holds, ascending."""
        query = (
            select(RECEIPTS.c.seq, ENTRIES.c.entry_index, ENTRIES.c.leaf_hash, ENTRIES.c.data)
            .join(
                ENTRIES,
                (ENTRIES.c.origin == RECEIPTS.c.origin)
                & (ENTRIES.c.entry_index == RECEIPTS.c.entry_index),
            )
            .where(
                RECEIPTS.c.origin == self.origin,
                RECEIPTS.c.serial == serial,
                RECEIPTS.c.seq >= min(first, SEQ_LIMIT),
            )
            .order_by(RECEIPTS.c.seq, RECEIPTS.c.entry_index)
        )
        with self._store.read() as connection:
            rows = [(row[0], RawRow(*row[1:])) for row in connection.execute(query)]
        found: dict[int, bytes] = {}
        for seq, row in rows:
            if seq not in found:
                found[seq] = _receipt_in(row.checked())
        return found

    def head(self, serial: str) -> Head:
        """How far this ledger's receipts of a lock run without a gap from the first.

        Raises:
            FailedError: they contradict each other (reason `ledger-gap`).
        """
        return _run(serial, self.receipts(serial), Head(0, chain_start(serial)))

    def check_head(self, serial: str, stated: Head) -> None:
        """Raise FailedError (`ledger-gap`) if the lock's own head contradicts what is held here.

        A lock that is ahead is no contradiction: fetch what is `missing`.
        """
        _check_stated(serial, self.receipts(serial, stated.seq), stated)

    def missing(self, serial: str, stated: Head) -> tuple[int, ...]:
        """Numbers that this ledger lacks and the lock, whose head is `stated`, can still give.

        Raises:
            FailedError: the lock's head contradicts what is held here (reason `ledger-gap`).
        """
        first = max(1, stated.seq - RECEIPT_RING + 1)
        held = self.receipts(serial, first)
        _check_stated(serial, held, stated)
        return tuple(seq for seq in range(first, stated.seq + 1) if seq not in held)

    def covers(self, serial: str, since: Head, until: Head) -> bool:
        """Whether every receipt after `since` up to `until` is here and links the one to the other.

        An INTENT given at `since` that none of them answers, and that the lock does not name as
        its open act at `until`, can no longer be carried out.
        """
        held = self.receipts(serial, since.seq + 1)
        if until.seq < since.seq or until.seq - since.seq > len(held):
            return False
        wanted = range(since.seq + 1, until.seq + 1)
        if any(seq not in held for seq in wanted):
            return False
        return _run(serial, {seq: held[seq] for seq in wanted}, since) == until

    def is_open(self, intent_hash: bytes) -> bool:
        """Whether an INTENT with this hash is here and no entry has closed it."""
        with self._store.read() as connection:
            query = select(func.count()).where(
                INTENTS.c.origin == self.origin,
                INTENTS.c.intent_hash == intent_hash,
                INTENTS.c.answered_by.is_(None),
            )
            return bool(connection.execute(query).scalar())

    def open_intents(self, serial: str | None = None) -> tuple[OpenIntent, ...]:
        """The intents that no entry has closed, oldest first; of one lock, or of all."""
        with self._store.read() as connection:
            rows = open_intent_rows(connection, self.origin, serial)
        return tuple(open_intent(row.checked()) for row in rows)


def open_intent(stored: StoredEntry) -> OpenIntent:
    """The intent in an entry that is known to hold one."""
    sealed, body = _body_of(stored)
    return OpenIntent(
        stored.index,
        sealed.digest,
        body.lock_serial,
        body.op,
        body.image_digest,
        body.session,
        body.lock_head,
        stored.data,
    )


def read_size(connection: Connection, origin: str) -> int:
    """The log's size as its row states it; RecordsError (`ledger-damaged`)."""
    size: object = connection.execute(select(LOGS.c.size).where(LOGS.c.origin == origin)).scalar()
    if not isinstance(size, int) or size < 0:
        raise damaged(f"the log {origin} states size {size!r}")
    return size


def _body_of(stored: StoredEntry) -> tuple[Sealed, Entry]:
    try:
        sealed = Sealed.parse(stored.data)
        return sealed, Entry.read(sealed)
    except MalformedObjectError as error:
        raise damaged(f"entry {stored.index} does not parse: {error}") from error


def _receipt_in(stored: StoredEntry) -> bytes:
    receipt = _body_of(stored)[1].receipt
    if receipt is None:
        raise damaged(f"entry {stored.index} holds no receipt")
    return receipt


def _check_stated(serial: str, held: Mapping[int, bytes], stated: Head) -> None:
    newest = max(held, default=0)
    if stated.seq < newest:
        raise _gap(serial, f"states {stated.seq} receipts, this ledger holds number {newest}")
    chain = _chain_at(serial, held, stated.seq)
    if chain not in (None, stated.chain):
        raise _gap(serial, f"states another receipt chain at {stated.seq} than this ledger")


def _chain_at(serial: str, held: Mapping[int, bytes], seq: int) -> bytes | None:
    """The chain after receipt `seq`, None if this ledger cannot tell."""
    if seq == 0:
        return chain_start(serial)
    if seq not in held:
        return None
    return chain_next(_read_receipt(serial, held[seq]).chain_before, held[seq])


def _run(serial: str, held: Mapping[int, bytes], start: Head) -> Head:
    head = start
    while head.seq + 1 in held:
        data = held[head.seq + 1]
        if _read_receipt(serial, data).chain_before != head.chain:
            raise _gap(serial, f"receipt {head.seq + 1} does not follow receipt {head.seq}")
        head = Head(head.seq + 1, chain_next(head.chain, data))
    return head


def _read_receipt(serial: str, data: bytes) -> Receipt:
    try:
        return Receipt.read(Sealed.parse(data))
    except MalformedObjectError as error:
        raise damaged(f"a receipt of {serial} does not parse: {error}") from error


def _gap(serial: str, what: str) -> FailedError:
    return FailedError(
        Reason.LEDGER_GAP,
        f"lock {serial} {what}",
        hint="keep the lock and this computer's ledger as they are, and have both compared",
    )

"""The installation's ledger: what is done to locks, durable and signed, before and after.

One object may be used by several threads, one ledger by several processes: every append is one
short transaction. Entries are signed before it; inside it only the station's own key signs, for a
checkpoint that is durable with the entries under it or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, update

from protocol.errors import SignatureError
from protocol.objects import Entry, EntryKind
from protocol.sealed import Realm, Sealed, Signer
from protocol.values import Head, Op
from svcport.audit import merkle
from svcport.audit.certificates import CertificateError, Keyring, is_kept, remember
from svcport.audit.checking import check_signature, check_statement
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.entries import (
    LedgerEntry,
    MalformedReceiptError,
    read_entry,
    read_statement,
)
from svcport.audit.note import StationKey
from svcport.audit.opening import check_checkpoint, open_to_operate
from svcport.audit.place import Log
from svcport.audit.rows import add_entry, lock_log, node_reader
from svcport.audit.store import Store
from svcport.audit.tables import CHECKPOINTS
from svcport.audit.view import LedgerView
from svcport.errors import FailedError, Reason, RefusedError

NOTE_LIMIT: Final = 96
"""Most characters of an entry's note."""


class Ledger(LedgerView):
    """A ledger opened to operate with: everything a view does, and appending."""

    def __init__(self, store: Store, folder: Path, log: Log, key: StationKey) -> None:
        super().__init__(store, folder, log)
        self._key = key
        self._keyring = Keyring(store, log.realm)

    @classmethod
    def open(cls, folder: Path, realm: Realm, *, create: bool) -> Ledger:
        """The ledger in `folder`; with `create`, a new one and its station key if there is none.

        Raises:
            RefusedError: there is none (reason `not-set-up`), or it is of the other realm
                (`lock-identity`).
            RecordsError: it cannot be opened (`storage`), or damage was found now or before
                (`ledger-damaged`).
        """
        store, log, key = open_to_operate(folder, realm, create=create)
        return cls(store, folder, log, key)

    @property
    def station(self) -> Signer:
        """Signs what is not the technician's."""
        return self._key

    def remember_certificate(self, certificate: Sealed) -> None:
        """Keep an ISSUER, TECHNICIAN or LOCK certificate, for checking entries with; durable.

        One that is kept already costs a look, and no write.

        Raises:
            ValueError: it is none of these.
            RefusedError: it is of the other realm (reason `lock-identity`).
            RecordsError: it could not be stored.
        """
        self._same_realm(certificate)
        with self._store.read() as connection:
            if is_kept(connection, certificate):
                return
        with self._store.write() as connection:
            remember(connection, certificate)

    def append(self, entry: Sealed) -> int:
        """Append an entry that verifies; returns its index, and it is on the disk then.

        Raises:
            RuntimeError: the certificate that an INTENT names was never remembered.
            MalformedObjectError, SignatureError: it is no entry of this ledger, or not signed by
                the technician named in it or the station.
            FailedError: the receipt inside is not its lock's (reason `receipt-invalid`).
            RefusedError: it is of the other realm (reason `lock-identity`).
            RecordsError: it could not be stored; it is not in the ledger then.
        """
        return self._store_all([self._checked(entry)], None)[0]

    def _checked(self, entry: Sealed) -> LedgerEntry:
        self._same_realm(entry)
        try:
            read = read_entry(entry, self.realm, self.origin)
            check_statement(read, self._keyring)
        except MalformedReceiptError as error:
            raise _bad_receipt(error) from error
        except (CertificateError, SignatureError) as error:
            raise _bad_receipt(error) from error
        try:
            check_signature(read, self._key.subject, self._keyring)
        except CertificateError as error:
            raise RuntimeError(f"remember the technician's certificate first: {error}") from error
        return read

    def _store_all(self, entries: Sequence[LedgerEntry], signed_at: datetime | None) -> list[int]:
        """Append, and with `signed_at` sign the checkpoint over it, in one transaction."""
        with self._store.write() as connection:
            indices = [add_entry(connection, self.origin, entry) for entry in entries]
            if signed_at is not None:
                self._sign_checkpoint(connection, signed_at)
        return indices

    def record_intent(
        self,
        *,
        signer: Signer,
        op: Op,
        serial: str | None,
        now: datetime,
        technician_hash: bytes | None = None,
        ticket_id: bytes | None = None,
        image_digest: bytes | None = None,
        session: bytes | None = None,
        lock_head: Head | None = None,
        catalogue: str | None = None,
        case_id: str | None = None,
        note: str | None = None,
        assurance: str | None = None,
    ) -> tuple[int, Sealed]:
        """What is about to be done, signed by the technician and durable before it is begun.

        `technician_hash` is the SHA-256 of the certificate of `signer`, remembered before; None
        where the station itself signs. `assurance` says what a device of another kind than ours
        cannot prove; it stands in the RESULT too. Raises as `append`, and MalformedObjectError for
        a value that does not fit its field; so does every `record_` method.
        """
        return self._record(
            Entry(
                origin=self.origin,
                kind=EntryKind.INTENT,
                host_time=_unix(now),
                op=op,
                lock_serial=serial,
                ticket_id=ticket_id,
                image_digest=image_digest,
                technician_hash=technician_hash,
                session=session,
                lock_head=lock_head,
                catalogue=catalogue,
                case_id=case_id,
                note=_note(note),
                assurance=assurance,
            ),
            signer,
        )

    def record_result(
        self,
        *,
        intent: Sealed,
        receipt: bytes | None,
        now: datetime,
        note: str | None = None,
        checkpoint: bool = False,
    ) -> tuple[int, Sealed]:
        """What became of an intent, which is closed by this.

        `receipt` is the lock's RECEIPT or its signed REFUSAL; None if the lock refused without
        one, or is of a kind that signs nothing. Where the answer is missing, nobody knows what
        became of the intent: use `record_note` with it, which leaves it open. With `checkpoint`,
        here and in `record_note`, a new one is signed and stored in the same transaction.
        """
        entry = self._result(intent, receipt, now, note)
        return self._record(entry, self._key, now if checkpoint else None)

    def record_receipts(
        self, *, serial: str, receipts: Sequence[bytes], intent: Sealed | None, now: datetime
    ) -> tuple[int, ...]:
        """Receipts of one lock and the checkpoint over them, in one transaction.

        The one that answers `intent` is its RESULT, every other is RECOVERED. Returns their
        indices; none recorded, nothing signed, where `receipts` is empty.
        """
        entries = []
        for receipt in receipts:
            answered = self._answered(receipt)
            if intent is not None and answered == intent.digest:
                entry = self._result(intent, receipt, now, None)
            else:
                entry = self._recovered(serial, receipt, answered, now, None)
            entries.append(self._checked(entry.seal(self.realm, self._key)))
        return tuple(self._store_all(entries, now)) if entries else ()

    def _answered(self, receipt: bytes) -> bytes:
        try:
            return read_statement(receipt, self.realm).body.intent_hash
        except MalformedReceiptError as error:
            raise _bad_receipt(error) from error

    def _result(
        self, intent: Sealed, receipt: bytes | None, now: datetime, note: str | None
    ) -> Entry:
        body = Entry.read(intent)
        return Entry(
            origin=self.origin,
            kind=EntryKind.RESULT,
            host_time=_unix(now),
            op=body.op,
            lock_serial=body.lock_serial,
            image_digest=body.image_digest,
            receipt=receipt,
            intent_hash=intent.digest,
            case_id=body.case_id,
            note=_note(note),
            assurance=body.assurance,
        )

    def _recovered(
        self,
        serial: str,
        receipt: bytes | None,
        answered: bytes | None,
        now: datetime,
        note: str | None,
    ) -> Entry:
        return Entry(
            origin=self.origin,
            kind=EntryKind.RECOVERED,
            host_time=_unix(now),
            lock_serial=serial,
            receipt=receipt,
            intent_hash=answered,
            note=_note(note),
        )

    def record_recovered(
        self,
        *,
        serial: str,
        now: datetime,
        receipt: bytes | None = None,
        intent_hash: bytes | None = None,
        note: str | None = None,
    ) -> tuple[int, Sealed]:
        """A receipt fetched later, of this ledger's intents or another's; closes what it answers.

        Without `receipt`, records that the intent with `intent_hash` can no longer be carried out;
        with one, `intent_hash` may be left out.
        """
        answered = intent_hash
        if receipt is not None and answered is None:
            answered = self._answered(receipt)
        return self._record(self._recovered(serial, receipt, answered, now, note), self._key)

    def record_note(
        self,
        *,
        text: str,
        now: datetime,
        serial: str | None = None,
        intent: Sealed | None = None,
        case_id: str | None = None,
        checkpoint: bool = False,
    ) -> tuple[int, Sealed]:
        """A remark, shortened to 96 printable characters; closes nothing."""
        return self._record(
            Entry(
                origin=self.origin,
                kind=EntryKind.NOTE,
                host_time=_unix(now),
                lock_serial=serial,
                intent_hash=None if intent is None else intent.digest,
                case_id=case_id,
                note=_note(text),
                assurance=None if intent is None else Entry.read(intent).assurance,
            ),
            self._key,
            now if checkpoint else None,
        )

    def checkpoint(self, now: datetime) -> bytes:
        """The checkpoint over all entries, signed and stored if it is not yet; the signed note.

        Raises:
            RecordsError: the stored tree denies the last checkpoint (reason `ledger-damaged`):
                nothing is signed then; or the disk fails (`storage`).
        """
        with self._store.write() as connection:
            return self._sign_checkpoint(connection, now)

    def _sign_checkpoint(self, connection: Connection, now: datetime) -> bytes:
        """Inside a write transaction; a checkpoint that stands over all entries is kept."""
        size = lock_log(connection, self.origin)
        last = check_checkpoint(connection, self._log, size)
        if last is not None and last.checkpoint.size == size:
            return last.note
        root = merkle.root(size, node_reader(connection, self.origin))
        note = Checkpoint(self.origin, size, root).sign(self._key)
        values = {"size": size, "signed_at": _unix(now), "note": note}
        if last is None:
            connection.execute(insert(CHECKPOINTS).values(origin=self.origin, **values))
        else:
            ours = update(CHECKPOINTS).where(CHECKPOINTS.c.origin == self.origin)
            connection.execute(ours.values(**values))
        return note

    def _record(
        self, entry: Entry, signer: Signer, signed_at: datetime | None = None
    ) -> tuple[int, Sealed]:
        sealed = entry.seal(self.realm, signer)
        return self._store_all([self._checked(sealed)], signed_at)[0], sealed

    def _same_realm(self, sealed: Sealed) -> None:
        if sealed.realm is not self.realm:
            raise RefusedError(
                Reason.LOCK_IDENTITY,
                f"an object of {sealed.realm.name.lower()}, "
                f"this ledger is of {self.realm.name.lower()}",
                hint="give training and real work a home each, with --home",
            )


def _bad_receipt(error: Exception) -> FailedError:
    return FailedError(
        Reason.RECEIPT_INVALID,
        str(error),
        hint="keep the lock: what it states about itself does not hold together",
    )


def _note(text: str | None) -> str | None:
    if not text:
        return None
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain[:NOTE_LIMIT]


def _unix(now: datetime) -> int:
    if now.tzinfo is None:
        raise ValueError("the time has no zone, wanted UTC")
    return int(now.timestamp())

"""Ledgers for benchmarks: a vendor, its locks, and ledgers of any size made in minutes.

Rows are written without the checks that an append makes; verifying proves that they are what
appends would have written.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, update

from protocol.objects import (
    Entry,
    EntryKind,
    IssuerCertificate,
    LockCertificate,
    Receipt,
    TechnicianCertificate,
    chain_next,
    chain_start,
)
from protocol.scope import EVERYTHING
from protocol.sealed import Realm, Sealed, SubjectKey, raw_signature
from protocol.values import ActResult, AfterState, Head, ImageVersion, Op, Role
from svcport.audit import merkle
from svcport.audit.ledger import Ledger
from svcport.audit.note import StationKey
from svcport.audit.station import load_key
from svcport.audit.tables import ENTRIES, INTENTS, LOGS, NODES, RECEIPTS

NOW: Final = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
LOCKS: Final = 500
DIGEST: Final = bytes(range(32))


def ed25519(name: str) -> StationKey:
    """A key by name, the same in every run."""
    return StationKey.from_seed(hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True)
class Curve:
    """A technician's P-256 key."""

    key: ec.EllipticCurvePrivateKey

    @property
    def subject(self) -> SubjectKey:
        """See protocol.sealed.Signer."""
        return SubjectKey.of(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """See protocol.sealed.Signer."""
        return raw_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))


class Vendor:
    """A technician with certificates, and locks that answer."""

    def __init__(self) -> None:
        self.technician = Curve(ec.derive_private_key(7, ec.SECP256R1()))
        issuer = ed25519("issuer")
        life = {"epoch": 1, "not_before": 0, "not_after": 2**40}
        issuer_body = IssuerCertificate(
            subject=issuer.subject, ops=Op(0xFF), ticket_class=2, **life
        )
        technician_body = TechnicianCertificate(
            subject=self.technician.subject,
            role=Role.TECHNICIAN,
            ops=Op(0x3F),
            scope=EVERYTHING,
            serial=bytes(8),
            **life,
        )
        self.issuer_certificate = issuer_body.seal(Realm.TRAINING, ed25519("root"))
        self.certificate = technician_body.seal(Realm.TRAINING, issuer)
        self.locks = [Lock(f"SL-{number:06d}") for number in range(LOCKS)]


class Lock:
    """Signs receipts in order."""

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.key = ed25519(serial)
        self.head = Head(0, chain_start(serial))

    def certificate(self) -> Sealed:
        """The manufacturer's word for it."""
        body = LockCertificate(
            subject=self.key.subject,
            serial=self.serial,
            x25519=bytes(32),
            certificate_serial=bytes(8),
        )
        return body.seal(Realm.TRAINING, ed25519("manufacturer"))

    def receipt(self, intent_hash: bytes, signer: SubjectKey) -> bytes:
        """The next one."""
        body = Receipt(
            serial=self.serial,
            seq=self.head.seq + 1,
            op=Op.UPDATE,
            chain_before=self.head.chain,
            intent_hash=intent_hash,
            intent_key=signer.key_id,
            result=ActResult.DONE,
            image_digest=DIGEST,
            after=AfterState(ImageVersion(2, 4, 1, 0), 3),
            ticket_id=bytes(32),
            time_floor=0,
            reset_count=4,
            refusals=0,
        )
        data = body.seal(Realm.TRAINING, self.key).build()
        self.head = Head(body.seq, chain_next(self.head.chain, data))
        return data


def made_ledger(folder: Path, vendor: Vendor) -> Ledger:
    """A new ledger that knows everybody's certificates."""
    ledger = Ledger.open(folder, Realm.TRAINING, create=True)
    ledger.remember_certificate(vendor.issuer_certificate)
    ledger.remember_certificate(vendor.certificate)
    for lock in vendor.locks:
        ledger.remember_certificate(lock.certificate())
    return ledger


def entries_of(vendor: Vendor, origin: str, station: StationKey, acts: int) -> Iterator[Sealed]:
    """The INTENT and the RESULT of each act in turn."""
    when = int(NOW.timestamp())
    for number in range(acts):
        lock = vendor.locks[number % LOCKS]
        intent = Entry(
            origin=origin,
            kind=EntryKind.INTENT,
            host_time=when,
            op=Op.UPDATE,
            lock_serial=lock.serial,
            ticket_id=bytes(32),
            image_digest=DIGEST,
            technician_hash=vendor.certificate.digest,
            session=number.to_bytes(32, "big"),
            catalogue="41",
            case_id="C-1001",
            lock_head=lock.head,
        ).seal(Realm.TRAINING, vendor.technician)
        yield intent
        yield Entry(
            origin=origin,
            kind=EntryKind.RESULT,
            host_time=when,
            op=Op.UPDATE,
            lock_serial=lock.serial,
            image_digest=DIGEST,
            receipt=lock.receipt(intent.digest, vendor.technician.subject),
            intent_hash=intent.digest,
            case_id="C-1001",
        ).seal(Realm.TRAINING, station)


class Rows:
    """Rows as appends write them, many at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.stack: list[bytes] = []
        self.index = 0
        self.tables: dict[Any, list[dict[str, Any]]] = {}

    def add(self, entry: Sealed, receipt: tuple[str, int] | None) -> None:
        """One entry; an INTENT is closed by the next one."""
        index, data = self.index, entry.build()
        value = merkle.leaf_hash(data)
        self._row(ENTRIES, entry_index=index, leaf_hash=value, data=data)
        for node in merkle.completed_by(index):
            value = merkle.node_hash(self.stack.pop(), value)
            self._row(NODES, last=index, level=node.level, hash=value)
        self.stack.append(value)
        if receipt is None:
            serial = Entry.read(entry).lock_serial
            hashed = {"intent_hash": entry.digest, "serial": serial, "answered_by": index + 1}
            self._row(INTENTS, entry_index=index, **hashed)
        else:
            self._row(RECEIPTS, serial=receipt[0], seq=receipt[1], entry_index=index)
        self.index += 1

    def _row(self, table: Any, **values: Any) -> None:  # noqa: ANN401
        self.tables.setdefault(table, []).append({"origin": self.ledger.origin, **values})

    def flush(self) -> None:
        """Into the database."""
        with self.ledger.store.write() as connection:
            for table, rows in self.tables.items():
                connection.execute(insert(table), rows)
            connection.execute(update(LOGS).values(size=self.index))
        self.tables.clear()


def build(folder: Path, entries: int) -> None:
    """A ledger of `entries` (an even number), with a checkpoint over all of them."""
    vendor = Vendor()
    with made_ledger(folder, vendor) as ledger:
        rows = Rows(ledger)
        station = load_key(folder, ledger.verifier.subject)
        for entry in entries_of(vendor, ledger.origin, station, entries // 2):
            lock = vendor.locks[rows.index // 2 % LOCKS]
            rows.add(entry, (lock.serial, lock.head.seq) if rows.index % 2 else None)
            if rows.index % 20_000 == 0:
                rows.flush()
        if rows.tables:
            rows.flush()
        ledger.checkpoint(NOW)


class Ledgers:
    """Ledgers by size, made once a run, or once if `folder` is kept; `scratch` never is."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.scratch = scratch

    def of(self, entries: int) -> Path:
        """The folder of one with `entries`."""
        path = self.folder / str(entries)
        if not path.exists():
            started = time.perf_counter()
            build(path, entries)
            print(f"  (made {entries} entries in {time.perf_counter() - started:.0f} s)")
        return path

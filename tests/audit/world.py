"""A technician, an issuer, a root, a manufacturer and locks, for filling ledgers."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from protocol.objects import (
    IssuerCertificate,
    LockCertificate,
    Receipt,
    RefusalStatement,
    TechnicianCertificate,
    chain_next,
    chain_start,
)
from protocol.scope import EVERYTHING
from protocol.sealed import Realm, Sealed
from protocol.values import ActResult, AfterState, Head, ImageVersion, Op, Role
from svcport.audit.ledger import Ledger
from svcport.audit.note import StationKey

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
DIGEST = bytes(range(32))


def key(name: str) -> StationKey:
    return StationKey.from_seed(hashlib.sha256(name.encode()).digest())


ROOT, ISSUER, TECHNICIAN, MANUFACTURER = (
    key(name) for name in ("root", "issuer", "technician", "manufacturer")
)


def issuer_certificate(realm: Realm = Realm.TRAINING, signer: StationKey = ROOT) -> Sealed:
    body = IssuerCertificate(
        subject=ISSUER.subject,
        ops=Op(0xFF),
        epoch=1,
        not_before=0,
        not_after=2**40,
        ticket_class=2,
    )
    return body.seal(realm, signer)


def technician_certificate(realm: Realm = Realm.TRAINING) -> Sealed:
    body = TechnicianCertificate(
        subject=TECHNICIAN.subject,
        role=Role.TECHNICIAN,
        ops=Op(0x3F),
        scope=EVERYTHING,
        epoch=1,
        not_before=0,
        not_after=2**40,
        serial=bytes(8),
    )
    return body.seal(realm, ISSUER)


@dataclass
class FakeLock:
    serial: str
    realm: Realm = Realm.TRAINING
    seq: int = 0
    chain: bytes = b""
    key: StationKey = field(init=False)

    def __post_init__(self) -> None:
        self.key = key(self.serial)
        self.chain = chain_start(self.serial)

    @property
    def head(self) -> Head:
        return Head(self.seq, self.chain)

    @property
    def certificate(self) -> Sealed:
        body = LockCertificate(
            subject=self.key.subject,
            serial=self.serial,
            x25519=bytes(32),
            certificate_serial=bytes(8),
        )
        return body.seal(self.realm, MANUFACTURER)

    def receipt(self, intent_hash: bytes, result: ActResult = ActResult.DONE) -> bytes:
        self.seq += 1
        body = Receipt(
            serial=self.serial,
            seq=self.seq,
            op=Op.RESTORE,
            chain_before=self.chain,
            intent_hash=intent_hash,
            intent_key=TECHNICIAN.subject.key_id,
            result=result,
            image_digest=DIGEST,
            after=AfterState(ImageVersion(2, 4, 1, 0), 3),
            ticket_id=bytes(32),
            time_floor=0,
            reset_count=4,
            refusals=0,
        )
        data = body.seal(self.realm, self.key).build()
        self.chain = chain_next(self.chain, data)
        return data

    def refusal(self, intent_hash: bytes) -> bytes:
        body = RefusalStatement(
            serial=self.serial, intent_hash=intent_hash, code=7, session=bytes(32)
        )
        return body.seal(self.realm, self.key).build()


def make_ledger(folder: Path, realm: Realm = Realm.TRAINING) -> Ledger:
    ledger = Ledger.open(folder, realm, create=True)
    ledger.remember_certificate(issuer_certificate(realm))
    ledger.remember_certificate(technician_certificate(realm))
    return ledger


def meet(ledger: Ledger, serial: str) -> FakeLock:
    lock = FakeLock(serial, ledger.realm)
    ledger.remember_certificate(lock.certificate)
    return lock


def intend(ledger: Ledger, lock: FakeLock, *, session: bytes = bytes(32)) -> Sealed:
    return ledger.record_intent(
        signer=TECHNICIAN,
        op=Op.RESTORE,
        serial=lock.serial,
        now=NOW,
        technician_hash=technician_certificate(ledger.realm).digest,
        image_digest=DIGEST,
        session=session,
        lock_head=lock.head,
        case_id="C-17",
    )[1]


def act(ledger: Ledger, lock: FakeLock) -> Sealed:
    intent = intend(ledger, lock, session=lock.seq.to_bytes(32, "big"))
    ledger.record_result(intent=intent, receipt=lock.receipt(intent.digest), now=NOW)
    ledger.checkpoint(NOW)
    return intent


ENTRIES = 8
"""What `fill` makes: three acts on A1, an open intent on B2, a note."""


def fill(folder: Path) -> None:
    with make_ledger(folder) as ledger:
        lock = meet(ledger, "A1")
        for _ in range(3):
            act(ledger, lock)
        intend(ledger, meet(ledger, "B2"))
        ledger.checkpoint(NOW)
        ledger.record_note(text="after the checkpoint", now=NOW)


def sql(folder: Path, statement: str, *values: object) -> None:
    link = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
    assert link.execute(statement, values).rowcount != 0
    link.close()

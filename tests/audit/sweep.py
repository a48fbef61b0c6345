"""Many stations working on many locks, fast: real ledgers, and locks that are only their acts.

A lock here keeps the rules of acts (protocol/README) and nothing else: no port, no flash. Hosts and
locks stop at random moments; whoever visits the lock next settles what is open.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from audit.world import NOW, TECHNICIAN, FakeLock, make_ledger, technician_certificate

from protocol.objects import Entry, Receipt, chain_next
from protocol.sealed import Realm, Sealed
from protocol.values import ActResult, AfterState, ImageVersion, Op
from svcport.audit.ledger import Ledger
from svcport.audit.view import RECEIPT_RING

NO_TICKET: Final = bytes(32)
IMAGES: Final = tuple(bytes([number]) * 32 for number in range(1, 4))
KILL_CHANCE: Final = 0.04
"""Chance, at each of four moments of an operation, that the host dies there."""


@dataclass
class Work:
    """What an act does; the same again continues it."""

    op: Op
    image: bytes
    ticket: bytes


@dataclass
class ActLock(FakeLock):
    """The act record, the receipts ring and the used tickets of one lock."""

    act: tuple[Sealed, Work] | None = None
    ring: dict[int, bytes] = field(default_factory=dict)
    used: set[bytes] = field(default_factory=set)
    honest: bool = True

    def begin(self, intent: Sealed) -> None:
        body = Entry.read(intent)
        assert body.op is not None
        assert body.image_digest is not None
        work = Work(body.op, body.image_digest, body.ticket_id or NO_TICKET)
        continued = self.act is not None and self.act[1] == work
        if self.act is not None:
            self.close(ActResult.SUPERSEDED if continued else ActResult.ABANDONED)
        if not continued and work.ticket != NO_TICKET:
            assert not self.honest or work.ticket not in self.used
            self.used.add(work.ticket)
        self.act = (intent, work)

    def close(self, result: ActResult) -> bytes:
        assert self.act is not None
        intent, work = self.act
        self.act = None
        self.seq += 1
        receipt = Receipt(
            serial=self.serial,
            seq=self.seq,
            op=work.op,
            chain_before=self.chain,
            intent_hash=intent.digest,
            intent_key=TECHNICIAN.subject.key_id,
            result=result,
            image_digest=work.image,
            after=AfterState(ImageVersion(2, 4, 1, 0), 3),
            ticket_id=work.ticket,
            time_floor=0,
            reset_count=self.seq,
            refusals=0,
        )
        data = receipt.seal(self.realm, self.key).build()
        self.chain = chain_next(self.chain, data)
        self.ring[self.seq] = data
        self.ring.pop(self.seq - RECEIPT_RING, None)
        return data


class Killed(Exception):  # noqa: N818 - what happened to the host, no error of ours
    """The host died here."""


class Fleet:
    """Stations with a ledger each under `root`, and the locks they serve."""

    def __init__(self, root: Path, stations: int, locks: int, seed: int = 3) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.folders = [root / f"station-{number:02d}" for number in range(stations)]
        self.locks = [ActLock(f"SL-{number:06d}", Realm.TRAINING) for number in range(locks)]
        self._crew = {lock.serial: self.random.sample(self.folders, 3) for lock in self.locks}
        self._ledgers: dict[Path, Ledger] = {}
        self.kills = 0
        certificates = [lock.certificate for lock in self.locks]
        for folder in self.folders:
            ledger = make_ledger(folder)
            self._ledgers[folder] = ledger
            for lock, certificate in zip(self.locks, certificates, strict=True):
                if folder in self._crew[lock.serial]:
                    ledger.remember_certificate(certificate)

    def close(self) -> None:
        for ledger in self._ledgers.values():
            ledger.close()
        self._ledgers.clear()

    def ledger(self, folder: Path) -> Ledger:
        if folder not in self._ledgers:
            self._ledgers[folder] = Ledger.open(folder, Realm.TRAINING, create=False)
        return self._ledgers[folder]

    def run(self, operations: int) -> None:
        for _ in range(operations):
            lock = self.random.choice(self.locks)
            folder = self.random.choice(self._crew[lock.serial])
            try:
                self.operate(folder, lock)
            except Killed:
                self.kills += 1
                self._ledgers.pop(folder).close()
        for folder in self.folders:
            self.ledger(folder).checkpoint(NOW)

    def operate(self, folder: Path, lock: ActLock, work: Work | None = None) -> None:
        ledger = self.ledger(folder)
        if lock.act is not None and self.random.random() < 0.3:
            lock.close(ActResult.REVERTED)  # it was reset on trial
        self._settle(ledger, lock)
        intent = self._intend(ledger, lock, work or self._plan(lock))
        self._perhaps_die()
        lock.begin(intent)
        self._perhaps_die()
        lock.close(ActResult.DONE)
        self._perhaps_die()
        # BEGIN may have closed an older act: its receipt is fetched with this one's
        missing = ledger.missing(lock.serial, lock.head)
        receipts = [lock.ring[seq] for seq in missing]
        ledger.record_receipts(serial=lock.serial, receipts=receipts, intent=intent, now=NOW)
        self._perhaps_die()

    def _perhaps_die(self) -> None:
        if self.random.random() < KILL_CHANCE:
            raise Killed

    def _settle(self, ledger: Ledger, lock: ActLock) -> None:
        receipts = [lock.ring[seq] for seq in ledger.missing(lock.serial, lock.head)]
        ledger.record_receipts(serial=lock.serial, receipts=receipts, intent=None, now=NOW)
        for left in ledger.open_intents(lock.serial):
            still = lock.act is not None and lock.act[0].digest == left.intent_hash
            assert left.lock_head is not None
            if not still and ledger.covers(lock.serial, left.lock_head, lock.head):
                ledger.record_recovered(serial=lock.serial, intent_hash=left.intent_hash, now=NOW)

    def _plan(self, lock: ActLock) -> Work:
        if lock.act is not None and self.random.random() < 0.7:
            return lock.act[1]
        image = self.random.choice(IMAGES)
        if self.random.random() < 0.5:
            return Work(Op.UPDATE, image, NO_TICKET)
        return Work(self.random.choice([Op.ROLLBACK, Op.RESTORE]), image, self.random.randbytes(32))

    def _intend(self, ledger: Ledger, lock: ActLock, work: Work) -> Sealed:
        return ledger.record_intent(
            signer=TECHNICIAN,
            op=work.op,
            serial=lock.serial,
            now=NOW,
            technician_hash=technician_certificate().digest,
            ticket_id=None if work.ticket == NO_TICKET else work.ticket,
            image_digest=work.image,
            session=self.random.randbytes(32),
            lock_head=lock.head,
        )[1]

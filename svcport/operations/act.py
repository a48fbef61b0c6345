"""One act on one lock: INTENT, the change, the trial, CONFIRM, RECEIPT, RESULT; in this order.

What a failure means depends on how far the act came (docs/contract.md, "Exit codes"): before BEGIN
nothing was changed; a lost answer to BEGIN or ACTIVATE is `unknown`; between them the running image
is untouched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from protocol.objects import Receipt
from protocol.sealed import Sealed
from protocol.values import ActResult, Slot, SlotState
from svcport.authorisation.policy import Permit
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RefusedError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)
from svcport.locks.errors import LockRefusedError
from svcport.locks.snapshot import Snapshot
from svcport.operations.report import with_facts
from svcport.operations.settle import checked_receipts
from svcport.operations.visit import Visit
from svcport.transport.port import LinkLostError

RECONCILE = "run svcport reconcile when the lock answers again; do not restore blindly"


@dataclass(frozen=True, slots=True)
class Finished:
    """An act that the lock itself calls done.

    Attributes:
        after: `after` of the report: what runs now, as measured.
        receipt: the lock's.
        index: ledger index of the RESULT.
    """

    after: dict[str, Any]
    receipt: Receipt
    index: int

    def facts(self, visit: Visit) -> dict[str, Any]:
        """Members of the report."""
        return {
            "after": self.after,
            "receipt": {"seq": self.receipt.seq, "result": self.receipt.result.name.lower()},
            "ledger": {"origin": visit.inst.ledger.origin, "index": self.index},
        }


def record_intent(visit: Visit, permit: Permit) -> Sealed:
    """The technician's signed INTENT, durable in the ledger before it is returned."""
    inst, session = visit.inst, visit.lock.session
    catalogue = inst.catalogue
    stale = " stale" if catalogue.expired else ""
    _index, intent = inst.ledger.record_intent(
        signer=inst.credential.signer,
        op=permit.op,
        serial=permit.lock_serial,
        now=inst.now(),
        technician_hash=inst.credential.certificates.technician_sealed.digest,
        ticket_id=permit.ticket_id,
        image_digest=permit.image_digest,
        session=session.handshake_hash,
        lock_head=session.head,
        catalogue=f"{catalogue.version}{stale}",
        case_id=visit.target.case_id,
    )
    return intent


@contextlib.contextmanager
def opening(visit: Visit, intent: Sealed, doing: str) -> Iterator[None]:
    """Around the request that carries the INTENT: its refusal closes it, its silence does not.

    Raises:
        RefusedError: the lock refused; the refusal is in the ledger, nothing was changed.
        UnknownOutcomeError: the answer is missing.
    """
    try:
        yield
    except LockRefusedError as error:
        visit.inst.ledger.record_result(
            intent=intent,
            receipt=error.refusal.statement or None,
            now=visit.inst.now(),
            note=f"refused: {error.refusal.code.name.lower()}",
        )
        visit.inst.ledger.checkpoint(visit.inst.now())
        if error.outcome is Outcome.REFUSED:
            raise RefusedError(error.reason, error.message, hint=error.hint) from error
        raise FailedError(error.reason, error.message, hint=error.hint) from error
    except LinkLostError as error:
        raise unknown(visit, intent, f"the lock's answer to {doing} is missing: {error}") from error


@contextlib.contextmanager
def opening_trial(visit: Visit, intent: Sealed) -> Iterator[None]:
    """Around ACTIVATE: its silence is `unknown`, its refusal leaves the running image untouched."""
    try:
        with unfinished(visit, but=(LinkLostError,)):
            yield
    except LinkLostError as error:
        raise unknown(
            visit, intent, f"the lock's answer to ACTIVATE is missing: {error}"
        ) from error


def unknown(visit: Visit, intent: Sealed, message: str) -> UnknownOutcomeError:
    """What to raise where only the lock can tell; noted in the ledger, the INTENT stays open."""
    visit.inst.ledger.record_note(
        text=f"unknown: {message}",
        now=visit.inst.now(),
        serial=visit.lock.serial,
        intent=intent,
        case_id=visit.target.case_id,
    )
    visit.inst.ledger.checkpoint(visit.inst.now())
    return UnknownOutcomeError(Reason.LINK_LOST, message, hint=RECONCILE)


@contextlib.contextmanager
def unfinished(visit: Visit, *, but: tuple[type[SvcportError], ...] = ()) -> Iterator[None]:
    """Between BEGIN and ACTIVATE: whatever fails, the running image is untouched.

    Args:
        visit: whose snapshot tells what the lock boots.
        but: errors that pass as they are.

    Raises:
        UnfinishedError: with what the lock boots.
    """
    boots = boots_now(visit.snapshot)
    try:
        yield
    except (LockRefusedError, FailedError) as error:
        if isinstance(error, but):
            raise
        what = f"{boots} still runs" if boots else "nothing bootable was there before"
        raise UnfinishedError(
            error.reason,
            f"{error.message}; {what}",
            boots=boots,
            hint="run the same command again: it continues where the lock's sectors end",
        ) from error


def boots_now(snapshot: Snapshot) -> str | None:
    """The version that the lock boots as it stands."""
    running = snapshot.running
    return str(running.version) if running and running.version else None


def try_and_confirm(visit: Visit, intent: Sealed, digest: bytes) -> Finished:
    """After ACTIVATE or ROLLBACK: wait for the lock, test, confirm, measure, record.

    Raises:
        UnknownOutcomeError: the lock did not come back, or an answer is missing.
        UnfinishedError: it fell back to the image before, or failed its self-test.
    """
    visit.progress.step("waiting for the lock to restart")
    try:
        visit.lock.come_back()
        visit.progress.step("asking the lock what runs now")
        visit.look()
        return confirm_trial(visit, intent, digest)
    except LinkLostError as error:
        raise unknown(visit, intent, f"contact was lost during the trial: {error}") from error
    except FailedError as error:
        if error.reason is Reason.WRONG_LOCK:
            raise unknown(visit, intent, error.message) from error
        raise


def confirm_trial(visit: Visit, intent: Sealed | None, digest: bytes) -> Finished:
    """Test and confirm the image on trial, which must be `digest`; then measure and record.

    Args:
        visit: in a session after the reset.
        intent: this ledger's INTENT of the act; None if another station opened it.
        digest: the image that should be on trial.
    """
    running = visit.snapshot.running
    if running is None or running.digest != digest or running.state is not SlotState.TRYING:
        raise _fell_back(visit, intent)
    visit.progress.step("having the lock test itself")
    failed = visit.lock.self_test()
    if failed:
        names = ", ".join(str(part.name).lower() for part in type(failed) if part in failed)
        visit.progress.step("self-test failed: going back to the image before")
        visit.lock.reset()
        visit.lock.come_back()
        visit.look()
        raise _fell_back(visit, intent, f"the new image fails the self-test ({names})")
    visit.progress.step("confirming the new image")
    data = visit.lock.confirm()
    return _close(visit, intent, data, running.slot, digest)


def _close(visit: Visit, intent: Sealed | None, data: bytes, slot: Slot, digest: bytes) -> Finished:
    """Check the receipt, ask the lock once more what runs, write RESULT and checkpoint."""
    head, receipts = visit.lock.receipts_since(visit.snapshot.head.seq)
    receipt = next((r for raw, r in checked_receipts(visit, head, receipts) if raw == data), None)
    if receipt is None or receipt.image_digest != digest or receipt.result is not ActResult.DONE:
        raise UnknownOutcomeError(
            Reason.RECEIPT_INVALID, "the lock's receipt is not for this act", hint=RECONCILE
        )
    after = visit.look().slot(slot)
    statement = visit.lock.measure(slot, None)
    confirmed = after.state is SlotState.RUNNING and statement.image_digest == digest
    ledger, now = visit.inst.ledger, visit.inst.now()
    if intent is not None and receipt.intent_hash == intent.digest:
        index, _entry = ledger.record_result(intent=intent, receipt=data, now=now)
    else:
        index, _entry = ledger.record_recovered(serial=visit.lock.serial, receipt=data, now=now)
    ledger.checkpoint(visit.inst.now())
    visit.lock.collected(receipt.seq)
    if not confirmed:
        raise UnknownOutcomeError(
            Reason.NOT_CONFIRMED,
            "the lock confirmed, and then states another image",
            hint=RECONCILE,
        )
    shown = {"version": str(after.version), "digest": digest.hex(), "confirmed": True}
    return Finished(shown, receipt, index)


def _fell_back(
    visit: Visit, intent: Sealed | None, why: str = "the new image did not stay up on trial"
) -> SvcportError:
    """What to raise after a trial that ended by itself; its receipt goes into the ledger."""
    ledger, now, serial = visit.inst.ledger, visit.inst.now(), visit.lock.serial
    head, receipts = visit.lock.receipts_since(
        visit.lock.head.seq - 1 if visit.lock.head.seq else 0
    )
    held = ledger.receipts(serial)
    for data, receipt in checked_receipts(visit, head, receipts):
        if receipt.seq in held:
            continue
        if intent is not None and receipt.intent_hash == intent.digest:
            ledger.record_result(intent=intent, receipt=data, now=now)
        else:
            ledger.record_recovered(serial=serial, receipt=data, now=now)
    ledger.checkpoint(now)
    boots = boots_now(visit.snapshot)
    error = UnfinishedError(
        Reason.NOT_CONFIRMED,
        f"{why}; {boots or 'nothing'} runs",
        boots=boots,
        hint="svcport diagnose shows why; report the image to the vendor before trying it again",
    )
    return with_facts(error, lock=visit.snapshot.as_json())

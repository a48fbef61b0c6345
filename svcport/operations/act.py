"""The beginning of an act, and what a failure means by how far the act has come.

An act is INTENT, the change, the trial, CONFIRM, RECEIPT, RESULT, in this order (docs/contract.md,
"Exit codes"). Before BEGIN nothing was changed; a lost answer to BEGIN, ACTIVATE or later is
`unknown`; between BEGIN and ACTIVATE the running image is untouched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from protocol.sealed import Sealed
from svcport.authorisation.policy import Permit
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RecordsError,
    RefusedError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)
from svcport.locks.errors import LockRefusedError
from svcport.locks.snapshot import Snapshot
from svcport.operations.visit import Visit
from svcport.transport.port import LinkLostError

RECONCILE = "run svcport reconcile when the lock answers again; do not restore blindly"


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
def under_way() -> Iterator[None]:
    """Around everything that may change the lock: a ledger that fails now must not hide that.

    Raises:
        RecordsError: the ledger cannot be written; says that only the lock knows what was done.
    """
    try:
        yield
    except RecordsError as error:
        raise RecordsError(
            error.reason,
            f"{error.message}; the lock may have been changed, and this is not recorded here",
            hint="free space or mend the folder, then run svcport reconcile: the lock knows",
        ) from error


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
            checkpoint=True,
        )
        if error.outcome is Outcome.REFUSED:
            raise RefusedError(error.reason, error.message, hint=error.hint) from error
        raise FailedError(error.reason, error.message, hint=error.hint) from error
    except (LinkLostError, KeyboardInterrupt) as error:
        raise unknown(visit, intent, f"the lock's answer to {doing} is missing", error) from error


@contextlib.contextmanager
def opening_trial(visit: Visit, intent: Sealed) -> Iterator[None]:
    """Around ACTIVATE: its silence is `unknown`, its refusal leaves the running image untouched."""
    try:
        with unfinished(visit, but=(LinkLostError, KeyboardInterrupt)):
            yield
    except (LinkLostError, KeyboardInterrupt) as error:
        raise unknown(visit, intent, "the lock's answer to ACTIVATE is missing", error) from error


def unknown(
    visit: Visit, intent: Sealed | None, what: str, error: BaseException
) -> UnknownOutcomeError:
    """What to raise where only the lock can tell; noted in the ledger, the INTENT stays open."""
    reason, message = reason_of(error), f"{what}: {words_of(error)}"
    visit.inst.ledger.record_note(
        text=f"unknown: {message}",
        now=visit.inst.now(),
        serial=visit.lock.serial,
        intent=intent,
        case_id=visit.target.case_id,
        checkpoint=True,
    )
    return UnknownOutcomeError(reason, message, hint=RECONCILE)


def reason_of(error: BaseException) -> Reason:
    """The stable word for what broke an act off."""
    return error.reason if isinstance(error, SvcportError) else Reason.INTERRUPTED


def words_of(error: BaseException) -> str:
    """The same for people; Ctrl-C and SIGTERM have no words of their own."""
    return str(error) or "interrupted"


@contextlib.contextmanager
def unfinished(visit: Visit, *, but: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
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
    except (LockRefusedError, FailedError, KeyboardInterrupt) as error:
        if isinstance(error, but):
            raise
        what = f"{boots} still runs" if boots else "nothing bootable was there before"
        raise UnfinishedError(
            reason_of(error),
            f"{words_of(error)}; {what}",
            boots=boots,
            hint="run the same command again: it continues where the lock's sectors end",
        ) from error


def boots_now(snapshot: Snapshot) -> str | None:
    """The version that the lock boots as it stands."""
    running = snapshot.running
    return str(running.version) if running and running.version else None


@contextlib.contextmanager
def on_trial(visit: Visit, intent: Sealed | None) -> Iterator[None]:
    """While an image is on trial: what breaks off leaves the end to be asked of the lock.

    Raises:
        UnknownOutcomeError: in place of what broke off.
    """
    try:
        yield
    except (FailedError, LockRefusedError, KeyboardInterrupt) as error:
        raise unknown(visit, intent, "the trial was not brought to its end", error) from error

"""Who may start at all: the clock, the credential, the lock's scope; EPOCH and TIME are brought.

The lock judges most of it again. Said here, it is said before anything starts, with its cure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from protocol.objects import Entry, nonce_hash
from protocol.scope import ScopeKind
from protocol.sealed import Sealed
from protocol.statements import EpochTaken, TimeTaken
from protocol.values import Op
from svcport.authorisation.files import remove
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.scope import scope_refusals
from svcport.authorisation.standing import CLOCK_SKEW_S
from svcport.authorisation.times import unix, when
from svcport.authorisation.timestatement import HeldTime
from svcport.errors import Reason, Refusal, RefusedError
from svcport.locks.errors import LockRefusedError
from svcport.locks.service_port import ServicePortLock
from svcport.locks.snapshot import Snapshot
from svcport.operations.installation import Installation

_CLOCK_HINT = "set this computer's clock; svcport doctor shows what it says"
_REVOKED_HINT = (
    "the vendor has revoked your key, your issuer's, or your certificate's epoch: ask for a new "
    "credential and run 'svcport setup' with it"
)
_TIME_HINT: Final = (
    "have the issuer state the time for the nonce that the lock shows now: "
    "'svcport identify --json', then 'svcport issuer time'"
)


def admit(inst: Installation) -> None:
    """Refuse to start with a credential that is not good now, or a clock behind the newest EPOCH.

    A revoked credential passes: its session brings the lock the revocation, and ends by it.

    Raises:
        RefusedError: `credential-expired`.
    """
    epoch = inst.newest_epoch()
    if epoch is not None:
        _check_clock(inst, "the vendor's newest EPOCH statement", epoch.issued_at)
    nos = _standing(inst)
    bad = [no for no in nos if no.reason is not Reason.REVOKED]
    if bad:
        raise RefusedError.of(nos)


def admit_records(inst: Installation) -> None:
    """The same for a clock behind the ledger's newest entry; before anything may change the lock.

    Raises:
        RefusedError: `credential-expired`.
        RecordsError: the records are damaged, or their last entry cannot be read.
    """
    for stored in inst.ledger.entries(max(0, inst.ledger.size - 1)):
        moment = Entry.read(Sealed.parse(stored.data)).host_time
        _check_clock(inst, "this ledger's newest entry", moment)


def _check_clock(inst: Installation, what: str, moment: int) -> None:
    """Refuse a clock before a moment that has surely passed: nothing can be judged by it."""
    now = unix(inst.now())
    if now + CLOCK_SKEW_S < moment:
        raise RefusedError(
            Reason.CREDENTIAL_EXPIRED,
            f"this computer's clock went back: it says {when(now)}, {what} is of {when(moment)}",
            hint=_CLOCK_HINT,
        )


def check_serial(inst: Installation, serial: str) -> None:
    """Refuse a lock whose serial the credential does not cover, before the technician is named.

    Raises:
        RefusedError: `no-permit`.
    """
    asked = PermitRequest(op=Op.INFO, lock_serial=serial, lock_model="", lock_batch="")
    certificates = (
        ("your certificate", inst.credential.technician.scope),
        ("your issuer's certificate", inst.credential.issuer.scope),
    )
    for what, scope in certificates:
        ranges = [item for item in scope or () if item.kind is ScopeKind.SERIAL_RANGE]
        nos = scope_refusals(what, ranges or None, asked)
        if nos:
            raise RefusedError.of(nos)


def bring_epoch(
    inst: Installation,
    lock: ServicePortLock,
    snapshot: Snapshot,
    warn: Callable[[Refusal], None],
) -> Snapshot:
    """Push the newest EPOCH to a lock whose own is older, before anything else may change it.

    Args:
        inst: knows it.
        lock: with an authenticated session.
        snapshot: what the lock said just now.
        warn: told if the lock does not take it, which stops nothing.

    Returns:
        The snapshot as the lock is now.

    Raises:
        RefusedError: `revoked`: this credential falls by the statement.
        LinkLostError: the answer is missing.
    """
    epoch, sealed = inst.newest_epoch(), inst.trust.epoch
    if epoch is not None and sealed is not None and epoch.number > snapshot.epoch_number:
        try:
            taken = lock.put_epoch(sealed.build())
        except LockRefusedError as error:
            words = f"{error.message}; it goes on by number {snapshot.epoch_number}"
            warn(Refusal(Reason.LOCK_REFUSED, words, "tell the vendor: its roots may differ"))
        else:
            _require_kept(taken)
            snapshot = lock.with_authority_now(snapshot)
    revoked = [no for no in _standing(inst) if no.reason is Reason.REVOKED]
    if revoked:
        raise RefusedError.of(revoked)
    return snapshot


def bring_time(
    inst: Installation,
    lock: ServicePortLock,
    snapshot: Snapshot,
    given: tuple[Path, ...],
    warn: Callable[[Refusal], None],
) -> Snapshot:
    """Push a TIME statement that was made for this lock's present nonce, if one is at hand.

    The lock replaces its nonce then; so where a nonce ticket is held for it, that comes first. A
    statement of the home that was taken is removed: it is good once.

    Args:
        inst: holds statements.
        lock: with an authenticated session.
        snapshot: what the lock said just now.
        given: files of statements and tickets, besides those of the home.
        warn: told why a statement that was given is not brought, which stops nothing.

    Returns:
        The snapshot as the lock is now.

    Raises:
        RefusedError: a file given is none (`usage`, `no-permit`); or by that time this credential
            has ended (`credential-expired`).
        LinkLostError: the answer is missing.
    """
    times = inst.times(given)
    if not times:
        return snapshot
    present = nonce_hash(lock.nonce())
    named = ", ".join(str(time.path) for time in times if time.given)
    fit = next((time for time in times if time.stated.nonce_hash == present), None)
    if fit is None:
        if named:
            words = f"{named}: made for another lock, or a nonce that the lock has replaced"
            warn(Refusal(Reason.PERMIT_USED, words, _TIME_HINT))
        return snapshot
    tickets = inst.tickets(lock.serial, given).tickets
    if any(held.ticket.nonce_hash == present for held in tickets):
        words = f"{fit.path} is not brought: a ticket is held for the same nonce, and would be void"
        warn(Refusal(Reason.PERMIT_USED, words, _TIME_HINT))
        return snapshot
    return _put_time(lock, fit, snapshot, warn)


def _put_time(
    lock: ServicePortLock, time: HeldTime, snapshot: Snapshot, warn: Callable[[Refusal], None]
) -> Snapshot:
    try:
        taken = lock.put_time(time.sealed.build(), time.issuer_sealed.build())
    except LockRefusedError as error:
        warn(Refusal(Reason.LOCK_REFUSED, f"{time.path}: {error.message}", _TIME_HINT))
        return snapshot
    if not time.given:
        remove(time.path)
    _require_unexpired(taken)
    return lock.with_authority_now(snapshot)


def _require_unexpired(taken: TimeTaken) -> None:
    if taken.dropped:
        raise RefusedError(
            Reason.CREDENTIAL_EXPIRED,
            f"the lock ended the session: it knows now that it is {when(taken.time_floor)} or "
            "later, and this credential has ended by then",
            hint=f"{_CLOCK_HINT}; or get a new credential and run 'svcport setup' with it",
        )


def _require_kept(taken: EpochTaken) -> None:
    if taken.dropped:
        raise RefusedError(
            Reason.REVOKED,
            "the lock ended the session: this credential is revoked by the vendor's EPOCH "
            f"statement {taken.number}, which the lock has taken now",
            hint=_REVOKED_HINT,
        )


def _standing(inst: Installation) -> tuple[Refusal, ...]:
    return inst.credential.standing(inst.now(), inst.newest_epoch())

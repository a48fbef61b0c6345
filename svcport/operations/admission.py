"""Who may start at all: the clock, the credential, the lock's place in its scope; and revocations.

The lock judges most of it again. Said here, it is said before anything starts, with its cure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from protocol.objects import Entry
from protocol.queries import Identity
from protocol.scope import ScopeKind
from protocol.sealed import Sealed
from protocol.statements import EpochTaken
from protocol.values import Op
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.scope import scope_refusals
from svcport.authorisation.standing import CLOCK_SKEW_S
from svcport.authorisation.times import unix, when
from svcport.errors import Reason, Refusal, RefusedError
from svcport.locks.errors import LockRefusedError
from svcport.locks.service_port import ServicePortLock
from svcport.operations.installation import Installation

_CLOCK_HINT = "set this computer's clock; svcport doctor shows what it says"
_REVOKED_HINT = (
    "the vendor has revoked your key, your issuer's, or your certificate's epoch: ask for a new "
    "credential and run 'svcport setup' with it"
)


def admit(inst: Installation) -> None:
    """Refuse to start with a clock that went back, or a credential that is not good now.

    A revoked credential passes: its session brings the lock the revocation, and ends by it.

    Raises:
        RefusedError: `credential-expired`.
        RecordsError: the ledger's last entry cannot be read.
    """
    check_clock(inst)
    nos = _standing(inst)
    bad = [no for no in nos if no.reason is not Reason.REVOKED]
    if bad:
        raise RefusedError.of(nos)


def check_clock(inst: Installation) -> None:
    """Refuse a clock that stands before what this installation has already seen.

    Raises:
        RefusedError: `credential-expired`: nothing that has dates can be judged by such a clock.
    """
    now = unix(inst.now())
    for what, moment in _seen(inst):
        if now + CLOCK_SKEW_S < moment:
            raise RefusedError(
                Reason.CREDENTIAL_EXPIRED,
                f"this computer's clock went back: it says {when(now)}, "
                f"{what} is of {when(moment)}",
                hint=_CLOCK_HINT,
            )


def _seen(inst: Installation) -> Iterator[tuple[str, int]]:
    """What has a date that has surely passed, and the date in unix seconds."""
    for stored in inst.ledger.entries(max(0, inst.ledger.size - 1)):
        yield "this ledger's newest entry", Entry.read(Sealed.parse(stored.data)).host_time
    epoch = inst.newest_epoch()
    if epoch is not None:
        yield "the vendor's newest EPOCH statement", epoch.issued_at


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
    identity: Identity,
    warn: Callable[[Refusal], None],
) -> Identity:
    """Push the newest EPOCH to a lock whose own is older, right after AUTH.

    Args:
        inst: knows it.
        lock: with an authenticated session.
        identity: the lock's, asked just now.
        warn: told if the lock does not take it, which stops nothing.

    Returns:
        The lock's identity as it is now.

    Raises:
        RefusedError: `revoked`: this credential falls by the statement.
        LinkLostError: the answer is missing.
    """
    epoch, sealed = inst.newest_epoch(), inst.trust.epoch
    if epoch is not None and sealed is not None and epoch.number > identity.epoch_number:
        try:
            taken = lock.put_epoch(sealed.build())
        except LockRefusedError as error:
            words = f"{error.message}; it goes on by number {identity.epoch_number}"
            warn(Refusal(Reason.LOCK_REFUSED, words, "tell the vendor: its roots may differ"))
        else:
            _require_kept(taken)
            identity = lock.identify()
    revoked = [no for no in _standing(inst) if no.reason is Reason.REVOKED]
    if revoked:
        raise RefusedError.of(revoked)
    return identity


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

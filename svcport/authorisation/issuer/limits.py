"""What an issuer may give, judged before anything is signed; locks judge all of it again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from protocol.objects import EpochStatement, IssuerCertificate, TechnicianCertificate
from protocol.scope import SERIAL_FIELD, ScopeItem, ScopeKind
from protocol.sealed import SIGNATURE_SIZE, SubjectKey
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.request import PermitRequest, op_names
from svcport.authorisation.scope import names_one_lock, scope_refusals
from svcport.authorisation.standing import Moment
from svcport.authorisation.tickets import HeldTicket, Holder, judge_ticket
from svcport.authorisation.times import when
from svcport.errors import Reason, Refusal

DAY_S: Final = 86_400
CREDENTIAL_DAYS: Final = {Role.TECHNICIAN: 7, Role.DEPOT: 7, Role.OWNER: 90}
"""Most days of a credential: a stolen laptop's must end before anybody has to revoke it."""

ISSUER_DAYS: Final = 90
"""Most days of an issuer's certificate."""

_RENEW: Final = "have the root renew it: svcport issuer credential DIR --role issuer"
_WIDER: Final = "ask for less, or have the root give this issuer more"

_JUDGED: Final = (ScopeKind.EVERYTHING, ScopeKind.SERIAL_RANGE, ScopeKind.CASE)
"""Kinds of scope that an issuer can judge; model and batch are known to the lock alone."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Stands for a key while a ticket is judged; what it signs is good nowhere."""

    subject: SubjectKey

    def sign(self, message: bytes) -> bytes:  # noqa: ARG002 - the face of every signer
        """64 zero bytes."""
        return bytes(SIGNATURE_SIZE)


def issuer_refusals(
    issuer: IssuerCertificate, now: datetime, epoch: EpochStatement | None
) -> tuple[Refusal, ...]:
    """Why an issuer may sign nothing at `now` (aware): its dates, its epoch, its key."""
    moment, what = Moment.of(now, epoch), "the issuer's certificate"
    expired = Reason.CREDENTIAL_EXPIRED
    return (
        *_hinted(moment.revoked(what, (issuer.subject.key_id,), issuer.epoch), _RENEW),
        *moment.early(what, issuer.not_before, expired),
        *moment.late(what, issuer.not_after, expired, _RENEW),
    )


def credential_refusals(
    issuer: IssuerCertificate,
    *,
    role: Role,
    ops: Op,
    scope: tuple[ScopeItem, ...],
    not_before: int,
    not_after: int,
) -> tuple[Refusal, ...]:
    """Why an issuer may not give such a credential."""
    name = role.name.lower()
    never = "ask for less: no issuer can give a role more"
    parties = ((f"the role {name}", ROLE_OPS[role], never), ("the issuer", issuer.ops, _WIDER))
    found = [
        Refusal(Reason.NO_PERMIT, f"{who} does not allow {op_names(ops & ~allowed)}", hint)
        for who, allowed, hint in parties
        if ops & ~allowed
    ]
    if role is Role.OWNER and not names_one_lock(scope):
        message = "an owner's certificate names the owner's own lock, this one does not"
        found.append(Refusal(Reason.NO_PERMIT, message, "give --lock SERIAL, and no wider range"))
    found += [
        Refusal(Reason.NO_PERMIT, text, _WIDER) for text in _beyond_scope(issuer.scope, scope)
    ]
    limit = CREDENTIAL_DAYS[role]
    if not_after - not_before > limit * DAY_S:
        message = f"a credential of the role {name} ends after {limit} days"
        found.append(Refusal(Reason.NO_PERMIT, message, "give fewer --days, and renew it in time"))
    return (*found, *outlives("the credential", not_after, issuer))


def outlives(what: str, not_after: int | None, issuer: IssuerCertificate) -> tuple[Refusal, ...]:
    """A refusal for what would end after its issuer: it would be good for nothing then."""
    if not_after is None or not_after <= issuer.not_after:
        return ()
    message = (
        f"{what} would end at {when(not_after)}, the issuer's certificate at "
        f"{when(issuer.not_after)}"
    )
    return (Refusal(Reason.CREDENTIAL_EXPIRED, message, "give fewer --days, or renew the issuer"),)


def ticket_refusals(
    draft: HeldTicket, holder: TechnicianCertificate | Role, moment: Moment
) -> tuple[Refusal, ...]:
    """Why a lock would not take this ticket from this holder, as far as an issuer can know.

    `holder` is the certificate where it is known; of a bare key only the role is assumed.
    """
    ticket = draft.ticket
    request = PermitRequest(
        op=ticket.ops,
        lock_serial=ticket.lock_serial,
        lock_model="",
        lock_batch="",
        image_digest=ticket.image_digest or bytes(32),
        security_counter=ticket.min_security_counter,
        case_id=ticket.case_id,
    )
    judged = replace(draft.issuer, scope=_judgeable(draft.issuer.scope))
    role = holder if isinstance(holder, Role) else holder.role
    found = judge_ticket(
        replace(draft, issuer=judged), request, Holder(ticket.holder, role), moment
    )
    found = _hinted(found, _WIDER)
    return found if isinstance(holder, Role) else found + _holder_refusals(holder, request, moment)


def _hinted(refusals: Sequence[Refusal], hint: str) -> tuple[Refusal, ...]:
    """The same refusals for the issuer's own eyes: others are told to ask the issuer."""
    return tuple(replace(refusal, hint=hint) for refusal in refusals)


def _holder_refusals(
    holder: TechnicianCertificate, request: PermitRequest, moment: Moment
) -> tuple[Refusal, ...]:
    expired, what = Reason.CREDENTIAL_EXPIRED, "the holder's certificate"
    hint = "give the holder a credential that allows it first: svcport issuer credential"
    found = [*moment.revoked(what, (holder.subject.key_id,), holder.epoch)]
    found += moment.late(what, holder.not_after, expired, hint)
    parties = ((f"the role {holder.role.name.lower()}", ROLE_OPS[holder.role]), (what, holder.ops))
    found += [
        Refusal(Reason.NO_PERMIT, f"{who} does not allow {request.op_name}", hint)
        for who, allowed in parties
        if request.op not in allowed
    ]
    return (*found, *scope_refusals(what, _judgeable(holder.scope), request))


def _judgeable(scope: tuple[ScopeItem, ...] | None) -> tuple[ScopeItem, ...] | None:
    if scope is None:
        return None
    return tuple(item for item in scope if item.kind in _JUDGED) or None


def _beyond_scope(
    allowed: Sequence[ScopeItem] | None, wanted: Sequence[ScopeItem]
) -> tuple[str, ...]:
    """What of a scope no lock would ever grant, because the issuer's own does not cover it."""
    if allowed is None:
        return ()
    bounds = [item for item in allowed if item.kind is not ScopeKind.EVERYTHING]
    kinds = {item.kind for item in bounds}
    return tuple(
        f"the issuer does not cover {item.kind.name.lower().replace('_', ' ')} {_shown(item)}"
        for item in wanted
        if item.kind in kinds and not any(_within(item, bound) for bound in bounds)
    )


def _within(item: ScopeItem, bound: ScopeItem) -> bool:
    if item.kind is not bound.kind:
        return False
    if item.kind is not ScopeKind.SERIAL_RANGE:
        return item.value == bound.value
    low, high = item.value[:SERIAL_FIELD], item.value[SERIAL_FIELD:]
    return bound.value[:SERIAL_FIELD] <= low and high <= bound.value[SERIAL_FIELD:]


def _shown(item: ScopeItem) -> str:
    if item.kind is not ScopeKind.SERIAL_RANGE:
        return item.value.decode("ascii", "backslashreplace")
    ends = (item.value[:SERIAL_FIELD], item.value[SERIAL_FIELD:])
    return " to ".join(end.rstrip(b"\0").decode("ascii", "backslashreplace") for end in ends)

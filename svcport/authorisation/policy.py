"""The one place that says yes: `authorise` makes a Permit, and nothing else can.

What must hold for an act (the lock judges most of it again):

* the credential stands: both certificates in their dates, of an accepted epoch, no key revoked;
* role, technician's certificate and issuer's certificate all allow the operation, and an owner's
  certificate names one lock;
* the scopes of both certificates cover the lock, the case and the site;
* rollback, restore and override need a ticket, and so does an owner's update. It names the
  operation, the lock, the image and the holder; its issuer may issue such a ticket for such a
  lock; it is in its dates, of an accepted epoch, and unused.

The ticket of an open act with the same operation and image is used again. Else a ticket named on
the command line is the only one considered; else the lowest counter that fits is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from datetime import datetime
from typing import Final

from protocol.objects import EpochStatement
from protocol.values import ROLE_OPS, TICKETED, ZERO_DIGEST, Op, Role
from svcport.authorisation.credentials import Credential
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.scope import names_one_lock, scope_refusals
from svcport.authorisation.standing import Moment
from svcport.authorisation.tickets import HeldTicket, Holder, judge_ticket, names_act
from svcport.errors import Reason, Refusal, RefusedError, in_order

_AUTHORISED: Final = object()
_OWNER_HINT: Final = (
    "an owner can bring the newer version that the catalogue approves, with the vendor's "
    "self-service ticket: svcport restore; have a technician do anything else"
)


@dataclass(frozen=True, slots=True)
class Permit:
    """Proof that one act may be tried on one lock. Only `authorise` can make one (else TypeError).

    Attributes:
        ticket: the sealed ticket as BEGIN carries it, and the issuer certificate that signed it;
            both None for an act that needs none, and then `ticket_id` is zero.
        holder: the technician's name, for the record.
    """

    op: Op
    lock_serial: str
    image_digest: bytes
    ticket: bytes | None
    ticket_issuer: bytes | None
    ticket_id: bytes
    holder: str
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not _AUTHORISED:
            raise TypeError("a Permit is made by authorise() alone")


def authorise(
    credential: Credential,
    request: PermitRequest,
    tickets: Sequence[HeldTicket],
    epoch: EpochStatement | None,
    now: datetime,
) -> Permit:
    """Permission for one act, at `now` (aware).

    Raises:
        RefusedError: with every reason against it.
    """
    ticket, refusals = _decide(credential, request, tickets, Moment.of(now, epoch), now)
    if refusals:
        raise RefusedError.of(refusals)
    return Permit(
        request.op,
        request.lock_serial,
        request.image_digest,
        None if ticket is None else ticket.sealed.build(),
        None if ticket is None else ticket.issuer_sealed.build(),
        ZERO_DIGEST if ticket is None else ticket.id,
        credential.holder,
        _AUTHORISED,
    )


def judge(
    credential: Credential,
    request: PermitRequest,
    tickets: Sequence[HeldTicket],
    epoch: EpochStatement | None,
    now: datetime,
) -> tuple[Refusal, ...]:
    """What `authorise` would refuse with; empty if it would permit. For dry runs."""
    _ticket, refusals = _decide(credential, request, tickets, Moment.of(now, epoch), now)
    return in_order(refusals)


def needs_ticket(role: Role, op: Op) -> bool:
    """Whether this act by this role needs a ticket that names the lock."""
    return op in TICKETED or (role is Role.OWNER and op is Op.UPDATE)


def _decide(
    credential: Credential,
    request: PermitRequest,
    tickets: Sequence[HeldTicket],
    moment: Moment,
    now: datetime,
) -> tuple[HeldTicket | None, list[Refusal]]:
    if request.op not in tuple(Op):
        raise RuntimeError(f"a request names exactly one operation, not {request.op!r}")
    refusals = list(credential.standing(now, moment.epoch))
    rights = _rights(credential, request)
    refusals += rights
    refusals += scope_refusals("your certificate", credential.technician.scope, request)
    refusals += scope_refusals("your issuer's certificate", credential.issuer.scope, request)
    if rights or not needs_ticket(credential.role, request.op):
        return None, refusals
    holder = Holder(credential.technician.subject.key_id, credential.role)
    ticket, against = _choose(request, tickets, holder, moment)
    hint = _who_can_issue(credential, request)
    refusals += [
        Refusal(no.reason, no.message, hint) if no.reason is Reason.NO_PERMIT else no
        for no in against
    ]
    return ticket, refusals


def _rights(credential: Credential, request: PermitRequest) -> tuple[Refusal, ...]:
    role = credential.role
    parties = (
        (f"the role {role.name.lower()}", ROLE_OPS[role]),
        ("your certificate", credential.technician.ops),
        ("your issuer's certificate", credential.issuer.ops),
    )
    hint = f"ask for a credential that allows {request.op_name}"
    if role is Role.OWNER:
        hint = _OWNER_HINT
    found = [
        Refusal(Reason.NO_PERMIT, f"{who} does not allow {request.op_name}", hint)
        for who, ops in parties
        if request.op not in ops
    ]
    if role is Role.OWNER and not names_one_lock(credential.technician.scope):
        message = "an owner's certificate names the owner's own lock, yours names more than one"
        found.append(Refusal(Reason.NO_PERMIT, message, hint))
    return tuple(found)


def _choose(
    request: PermitRequest, tickets: Sequence[HeldTicket], holder: Holder, moment: Moment
) -> tuple[HeldTicket | None, tuple[Refusal, ...]]:
    """The ticket to use, or why there is none."""
    going_on = [held for held in tickets if held.id == request.continue_ticket_id]
    for held in sorted(going_on, key=_counter_first):
        if not judge_ticket(held, request, holder, moment):
            return held, ()
    named = [held for held in tickets if held.given]
    candidates = named or [held for held in tickets if names_act(held, request)]
    if not candidates:
        return None, (Refusal(Reason.NO_PERMIT, _none_found(request, tickets)),)
    judged = [
        (held, judge_ticket(held, request, holder, moment))
        for held in sorted(candidates, key=_counter_first)
    ]
    for held, against in judged:
        if not against:
            return held, ()
    _held, fewest = min(judged, key=lambda pair: len(pair[1]))
    return None, fewest


def _counter_first(held: HeldTicket) -> tuple[bool, int, bytes]:
    """Lowest counter first, nonce tickets last: those cost the issuer most to replace."""
    counter = held.ticket.counter
    return counter is None, counter or 0, held.id


def _none_found(request: PermitRequest, tickets: Sequence[HeldTicket]) -> str:
    wanted = f"{request.op_name} of lock {request.lock_serial} with {request.image_name}"
    here = sum(held.ticket.lock_serial == request.lock_serial for held in tickets)
    return f"no ticket for {wanted} is held ({len(tickets)} held, {here} for this lock)"


def _who_can_issue(credential: Credential, request: PermitRequest) -> str:
    issuer = credential.issuer.subject.key_id.hex()
    return (
        f"ask the issuer of your credential (key {issuer}) for a {request.op_name} ticket for lock "
        f"{request.lock_serial}, holder key {credential.technician.subject.key_id.hex()}, "
        f"{request.image_name}; give it with --ticket"
    )

"""The lock's own judgement of tickets: one act, one lock, one holder, once. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from protocol.errors import ProtocolError
from protocol.objects import IssuerCertificate, Ticket, TicketMode, nonce_hash, ticket_id
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from protocol.values import Op, Role
from svcport.simulator.credentials import Credential, judge_issuer, raised_floor
from svcport.simulator.factory import Factory
from svcport.simulator.refusals import RefusedError
from svcport.simulator.state import LockState, TicketWindow

WINDOW_WIDTH: Final = 64
"""Counters that the lock remembers one by one, below and with the highest consumed."""

LEAD_LIMIT: Final = 1024
"""How far a counter may run ahead of the highest consumed."""

_CLASS_NEEDED: Final = {TicketMode.NONCE: 1, TicketMode.COUNTER: 2}


@dataclass(frozen=True, slots=True)
class JudgedTicket:
    """A ticket that is good for this act; whether it was used is `check_unused`'s question."""

    id: bytes
    ticket: Ticket
    not_before: int
    """Unix time that has passed if ticket and issuer are true."""


def judge_ticket(
    factory: Factory,
    state: LockState,
    holder: Credential,
    *,
    ticket: bytes,
    issuer: bytes,
    op: Op,
    image_digest: bytes,
) -> JudgedTicket:
    """Judge everything about a ticket but its use; RefusedError names the first thing wrong."""
    if not ticket:
        raise RefusedError(RefusalCode.NO_TICKET)
    certificate = _judge_signer(factory, state, issuer)
    try:
        sealed = Sealed.parse(ticket)
        sealed.verify(certificate.subject)
        body = Ticket.read(sealed)
        number = ticket_id(certificate.subject.key_id, body)
        judged = JudgedTicket(number, body, max(body.issued_at, certificate.not_before))
    except ProtocolError as error:
        raise RefusedError(RefusalCode.TICKET_INVALID) from error
    if sealed.realm is not factory.realm or not _may_sign(factory, certificate, body):
        raise RefusedError(RefusalCode.TICKET_INVALID)
    _check_binding(factory, state, holder, body, image_digest)
    if (holder.role, op, body.mode) == (Role.DEPOT, Op.RESTORE, TicketMode.COUNTER):
        raise RefusedError(RefusalCode.TICKET_INVALID)
    if not op & body.ops & certificate.ops:
        raise RefusedError(RefusalCode.NOT_ALLOWED)
    return judged


def check_unused(state: LockState, ticket: Ticket) -> None:
    """Refuse a ticket whose nonce is not the lock's, or whose counter is consumed or too far."""
    if ticket.mode is TicketMode.NONCE:
        if ticket.nonce_hash != nonce_hash(state.nonce):
            raise RefusedError(RefusalCode.TICKET_USED)
        return
    counter, window = _counter(ticket), state.tickets
    if counter > window.high + LEAD_LIMIT:
        raise RefusedError(RefusalCode.TICKET_INVALID, LEAD_LIMIT)
    age = window.high - counter
    if age >= WINDOW_WIDTH or (age >= 0 and window.bits >> age & 1):
        raise RefusedError(RefusalCode.TICKET_USED)


def consume(state: LockState, judged: JudgedTicket, fresh_nonce: bytes) -> LockState:
    """The state in which the ticket is used; the caller writes it with the act that uses it."""
    ticket = judged.ticket
    state = replace(state, time_floor=raised_floor(state, judged.not_before))
    if ticket.mode is TicketMode.NONCE:
        return replace(state, nonce=fresh_nonce)
    counter, window = _counter(ticket), state.tickets
    if counter > window.high:
        bits = (window.bits << (counter - window.high)) & ((1 << WINDOW_WIDTH) - 1) | 1
        return replace(state, tickets=TicketWindow(counter, bits))
    bits = window.bits | 1 << (window.high - counter)
    return replace(state, tickets=TicketWindow(window.high, bits))


def _judge_signer(factory: Factory, state: LockState, issuer: bytes) -> IssuerCertificate:
    try:
        return judge_issuer(factory, state, issuer)
    except RefusedError as error:
        codes = {
            RefusalCode.CREDENTIAL_INVALID: RefusalCode.TICKET_INVALID,
            RefusalCode.CREDENTIAL_EXPIRED: RefusalCode.TICKET_EXPIRED,
        }
        raise RefusedError(codes.get(error.code, error.code), error.detail) from error


def _may_sign(factory: Factory, issuer: IssuerCertificate, ticket: Ticket) -> bool:
    """Whether the issuer may give such a ticket, and this lock can judge all that it asks."""
    if ticket.mode is TicketMode.COUNTER and issuer.subject.key_id != factory.counter_issuer:
        return False
    # Constraints and owner approvals belong to operations that this lock does not have yet.
    judgeable = ticket.constraints is None and ticket.owner_approval is None
    return judgeable and issuer.ticket_class >= _CLASS_NEEDED[ticket.mode]


def _check_binding(
    factory: Factory, state: LockState, holder: Credential, ticket: Ticket, image_digest: bytes
) -> None:
    if ticket.lock_serial != factory.serial:
        raise RefusedError(RefusalCode.TICKET_LOCK)
    if ticket.holder != holder.key.key_id:
        raise RefusedError(RefusalCode.TICKET_HOLDER)
    if ticket.image_digest != image_digest:
        raise RefusedError(RefusalCode.TICKET_IMAGE)
    if ticket.epoch < state.epoch.minimum:
        raise RefusedError(RefusalCode.REVOKED, state.epoch.minimum)
    if ticket.not_after is not None and ticket.not_after < state.time_floor:
        raise RefusedError(RefusalCode.TICKET_EXPIRED)


def _counter(ticket: Ticket) -> int:
    if ticket.counter is None:  # ticket_id has refused this
        raise RefusedError(RefusalCode.TICKET_INVALID)
    return ticket.counter

"""The vendor's side of authority: signing certificates, tickets, EPOCH and TIME statements.

Times are unix seconds, as in the objects. What comes out is the same each time for the same
arguments where the signer's key is Ed25519.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack

from protocol.objects import (
    EpochStatement,
    IssuerCertificate,
    LockCertificate,
    TechnicianCertificate,
    Ticket,
    TicketMode,
    TimeStatement,
    nonce_hash,
)
from protocol.scope import EVERYTHING, ScopeItem
from protocol.sealed import Realm, Sealed, Signer, SubjectKey
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.request import op_names
from svcport.authorisation.scope import names_one_lock
from svcport.authorisation.tickets import CLASS_COUNTER, WITH_IMAGE
from svcport.errors import Reason, RefusedError

COUNTER_LIMIT: Final = (1 << 64) - 1
NONCE_SIZE: Final = 16


class Powers(TypedDict):
    """What every certificate that gives power says; times in unix seconds, both included."""

    subject: SubjectKey
    ops: Op
    epoch: int
    not_before: int
    not_after: int


def make_issuer_certificate(
    root: Signer,
    realm: Realm,
    *,
    ticket_class: int = CLASS_COUNTER,
    scope: tuple[ScopeItem, ...] | None = None,
    **powers: Unpack[Powers],
) -> Sealed:
    """Empower an issuer's key. `ticket_class`: 0 none, 1 nonce, 2 nonce and counter tickets.

    Give class 2 to one issuer at a time: a lock keeps one window of counters. Every function here
    raises RefusedError (`usage`) for a contradiction and MalformedObjectError for a value that
    does not fit its field.
    """
    _require_period(powers["not_before"], powers["not_after"])
    if not 0 <= ticket_class <= CLASS_COUNTER:
        raise _usage(f"a ticket class is 0, 1 or 2, not {ticket_class}")
    return IssuerCertificate(scope=scope, ticket_class=ticket_class, **powers).seal(realm, root)


def make_technician_certificate(
    issuer: Signer,
    realm: Realm,
    *,
    role: Role,
    serial: bytes,
    scope: tuple[ScopeItem, ...] = EVERYTHING,
    name: str | None = None,
    **powers: Unpack[Powers],
) -> Sealed:
    """Empower a technician, depot or owner; `serial` is 8 bytes of the issuer's choice."""
    _require_period(powers["not_before"], powers["not_after"])
    beyond = powers["ops"] & ~ROLE_OPS[role]
    if beyond:
        raise _usage(f"the role {role.name.lower()} never allows {op_names(beyond)}")
    if role is Role.OWNER and not names_one_lock(scope):
        raise _usage("an owner's certificate names the owner's own lock, one serial")
    body = TechnicianCertificate(name=name, role=role, scope=scope, serial=serial, **powers)
    return body.seal(realm, issuer)


def make_lock_certificate(
    manufacturer: Signer,
    realm: Realm,
    *,
    subject: SubjectKey,
    serial: str,
    x25519: bytes,
    certificate_serial: bytes,
) -> Sealed:
    """Bind a lock's signing key and its X25519 key (32 bytes) to the serial on its housing."""
    body = LockCertificate(
        subject=subject, serial=serial, x25519=x25519, certificate_serial=certificate_serial
    )
    return body.seal(realm, manufacturer)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketOrder:
    """What a ticket is for, before it is decided how it is made good once only.

    Attributes:
        holder: key id of the technician's certificate.
        ops: what it allows; any for firmware needs `image_digest` (SHA-256 of the image).
        issued_at: unix seconds; so is `not_after`, None for a ticket that does not end.
        min_security_counter: the image must have at least this one.
        max_session_s: the lock ends a session under this ticket after so many seconds.
    """

    holder: bytes
    lock_serial: str
    ops: Op
    epoch: int
    issued_at: int
    not_after: int | None = None
    image_digest: bytes | None = None
    constraints: bytes | None = None
    owner_approval: bytes | None = None
    case_id: str | None = None
    min_security_counter: int | None = None
    max_session_s: int | None = None


def make_counter_ticket(issuer: Signer, realm: Realm, order: TicketOrder, counter: int) -> Sealed:
    """A ticket prepared before a trip; `counter` from the issuance log, never used before."""
    if not 1 <= counter <= COUNTER_LIMIT:
        raise _usage(f"a ticket counter is 1..{COUNTER_LIMIT}, not {counter}")
    return _seal_ticket(issuer, realm, order, TicketMode.COUNTER, None, counter)


def make_nonce_ticket(
    issuer: Signer, realm: Realm, order: TicketOrder, lock_nonce: bytes
) -> Sealed:
    """A ticket for the nonce (16 bytes) that the lock gave just now."""
    return _seal_ticket(issuer, realm, order, TicketMode.NONCE, _hashed(lock_nonce), None)


def make_time(issuer: Signer, realm: Realm, *, unix_time: int, lock_nonce: bytes) -> Sealed:
    """State the time to the one lock that gave this nonce (16 bytes) just now."""
    body = TimeStatement(unix_time=unix_time, nonce_hash=_hashed(lock_nonce))
    return body.seal(realm, issuer)


def make_epoch(
    root: Signer,
    realm: Realm,
    *,
    number: int,
    min_epoch: int,
    issued_at: int,
    revoked: Iterable[bytes] = (),
) -> Sealed:
    """State which epochs and keys (ids of 8 bytes, at most 32) are no longer good.

    `number` must rise with every statement and `min_epoch` must not fall: locks and homes take no
    other.
    """
    body = EpochStatement(
        min_epoch=min_epoch, issued_at=issued_at, revoked=tuple(revoked), number=number
    )
    return body.seal(realm, root)


def _seal_ticket(
    issuer: Signer,
    realm: Realm,
    order: TicketOrder,
    mode: TicketMode,
    hashed: bytes | None,
    counter: int | None,
) -> Sealed:
    if order.ops & WITH_IMAGE and order.image_digest is None:
        raise _usage(f"a ticket for {op_names(order.ops)} names an image")
    if order.not_after is not None:
        _require_period(order.issued_at, order.not_after)
    body = Ticket(
        holder=order.holder,
        lock_serial=order.lock_serial,
        ops=order.ops,
        epoch=order.epoch,
        issued_at=order.issued_at,
        not_after=order.not_after,
        image_digest=order.image_digest,
        mode=mode,
        nonce_hash=hashed,
        counter=counter,
        constraints=order.constraints,
        owner_approval=order.owner_approval,
        case_id=order.case_id,
        min_security_counter=order.min_security_counter,
        max_session_s=order.max_session_s,
    )
    return body.seal(realm, issuer)


def _hashed(lock_nonce: bytes) -> bytes:
    if len(lock_nonce) != NONCE_SIZE:
        raise _usage(f"a lock's nonce has {NONCE_SIZE} bytes, not {len(lock_nonce)}")
    return nonce_hash(lock_nonce)


def _require_period(not_before: int, not_after: int) -> None:
    if not_after < not_before:
        raise _usage(f"it would end at {not_after}, before it begins at {not_before}")


def _usage(message: str) -> RefusedError:
    return RefusedError(Reason.USAGE, message)

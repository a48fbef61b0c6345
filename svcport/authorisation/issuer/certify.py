"""Issuing certificates: technicians', depots' and owners' by an issuer, issuers' by the root.

And the manufacturer's of locks.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import ProtocolError
from protocol.scope import ScopeItem
from protocol.sealed import Realm, Sealed, Signer, SubjectKey
from protocol.values import Op, Role
from svcport.authorisation.issuer.desk import Desk, misfit
from svcport.authorisation.issuer.issuance import IssuedKind
from svcport.authorisation.issuer.limits import (
    CREDENTIAL_DAYS,
    DAY_S,
    ISSUER_DAYS,
    credential_refusals,
)
from svcport.authorisation.issuer.signing import (
    make_issuer_certificate,
    make_lock_certificate,
    make_technician_certificate,
)
from svcport.authorisation.request import op_names
from svcport.errors import Reason, RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialOrder:
    """What a credential is for.

    Attributes:
        days: None for as long as role and issuer allow.
        serial: 8 random bytes, the certificate's number.
    """

    subject: SubjectKey
    role: Role
    ops: Op
    scope: tuple[ScopeItem, ...]
    name: str | None
    days: int | None
    serial: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerOrder:
    """What an issuer's certificate is for: see `make_issuer_certificate`; unix seconds."""

    subject: SubjectKey
    ops: Op
    scope: tuple[ScopeItem, ...] | None
    ticket_class: int
    epoch: int
    not_before: int
    days: int

    @property
    def not_after(self) -> int:
        """When it ends."""
        return self.not_before + self.days * DAY_S


def sign_credential(desk: Desk, issuer: Signer, order: CredentialOrder) -> Sealed:
    """A technician's, depot's or owner's certificate, logged.

    Raises:
        RefusedError: issuer or role may not (`no-permit`, `credential-expired`, `revoked`), or a
            value does not fit its field (`usage`). Nothing was signed.
        RecordsError: the log fails.
    """
    begin, authority = desk.seconds, desk.authority
    longest = min(begin + CREDENTIAL_DAYS[order.role] * DAY_S, authority.issuer.not_after)
    end = longest if order.days is None else begin + order.days * DAY_S
    desk.refuse_issuer(
        credential_refusals(
            authority.issuer,
            role=order.role,
            ops=order.ops,
            scope=order.scope,
            not_before=begin,
            not_after=end,
        )
    )
    try:
        sealed = make_technician_certificate(
            issuer,
            authority.realm,
            subject=order.subject,
            role=order.role,
            ops=order.ops,
            scope=order.scope,
            epoch=authority.epoch,
            not_before=begin,
            not_after=end,
            serial=order.serial,
            name=order.name,
        )
    except ProtocolError as error:
        raise misfit(error) from error
    desk.log.record(
        desk.entry(
            IssuedKind.CREDENTIAL,
            issuer.subject,
            holder=order.subject.key_id.hex(),
            name=order.name or "",
            mode=order.role.name.lower(),
            ops=op_names(order.ops),
            not_after=end,
            object=sealed.digest.hex(),
        )
    )
    return sealed


def issuer_certificate(root: Signer, realm: Realm, order: IssuerOrder) -> Sealed:
    """An issuer's certificate; log it with `log_issuer` before it leaves the vendor's hands.

    Raises:
        RefusedError: it would last too long (`no-permit`), or a value does not fit (`usage`).
    """
    if order.days > ISSUER_DAYS:
        raise RefusedError(
            Reason.NO_PERMIT,
            f"an issuer's certificate ends after {ISSUER_DAYS} days, {order.days} were asked for",
            hint="give fewer --days, and renew it in time",
        )
    try:
        return make_issuer_certificate(
            root,
            realm,
            subject=order.subject,
            ops=order.ops,
            scope=order.scope,
            epoch=order.epoch,
            not_before=order.not_before,
            not_after=order.not_after,
            ticket_class=order.ticket_class,
        )
    except ProtocolError as error:
        raise misfit(error) from error


def log_issuer(desk: Desk, root: SubjectKey, order: IssuerOrder, sealed: Sealed) -> None:
    """Put an issuer's certificate into the log; RecordsError if that fails."""
    desk.log.record(
        desk.entry(
            IssuedKind.ISSUER,
            root,
            holder=order.subject.key_id.hex(),
            mode=f"tickets of class {order.ticket_class}",
            ops=op_names(order.ops),
            not_after=order.not_after,
            object=sealed.digest.hex(),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOrder:
    """Which keys are whose lock's.

    Attributes:
        subject: signs receipts and measurements.
        x25519: 32 bytes, the lock's static key in the handshake.
        lock_serial: as on the housing, 1 to 16 ASCII characters.
        serial: 8 random bytes, the certificate's number.
    """

    subject: SubjectKey
    x25519: bytes
    lock_serial: str
    serial: bytes


def sign_lock(desk: Desk, manufacturer: Signer, order: LockOrder) -> Sealed:
    """A lock's certificate, logged; it has no end, and homes believe it by the manufacturer's key.

    Raises:
        RefusedError: a value does not fit its field (`usage`). Nothing was signed.
        RecordsError: the log fails.
    """
    try:
        sealed = make_lock_certificate(
            manufacturer,
            desk.authority.realm,
            subject=order.subject,
            serial=order.lock_serial,
            x25519=order.x25519,
            certificate_serial=order.serial,
        )
    except ProtocolError as error:
        raise misfit(error) from error
    desk.log.record(
        desk.entry(
            IssuedKind.LOCK,
            manufacturer.subject,
            holder=order.subject.key_id.hex(),
            lock=order.lock_serial,
            object=sealed.digest.hex(),
        )
    )
    return sealed

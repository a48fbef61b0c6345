"""The lock's own judgement of who may ask: root, issuer, technician, scope, epoch, time.

Written from the security specification; shares nothing with the tool that makes credentials.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.errors import ProtocolError
from protocol.handshake import auth_message
from protocol.objects import IssuerCertificate, TechnicianCertificate
from protocol.queries import Auth
from protocol.refusal import RefusalCode
from protocol.scope import SERIAL_FIELD, ScopeItem, ScopeKind
from protocol.sealed import Realm, Sealed, SubjectKey
from protocol.values import TICKETED, Op, Role
from svcport.simulator.factory import Factory
from svcport.simulator.refusals import RefusedError
from svcport.simulator.state import LockState

FLOOR_LEAD_S: Final = 14 * 24 * 3600
"""The time floor never passes the newest EPOCH statement by more: no issuer can push time."""

ROLE_OPS: Final = {
    Role.TECHNICIAN: (Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.OVERRIDE),
    Role.DEPOT: (Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.ERASE | Op.ISSUE),
    Role.OWNER: Op.INFO | Op.LOGS | Op.UPDATE,
}
"""What a role may at most; certificates and tickets only narrow it."""

_JUDGED_HERE: Final = (ScopeKind.MODEL, ScopeKind.BATCH, ScopeKind.SERIAL_RANGE)


@dataclass(frozen=True, slots=True)
class Credential:
    """Who opened the session, judged.

    Attributes:
        key: the technician's; signs INTENTs.
        certificate_hash: SHA-256 of the certificate object.
        ops: what role, technician and issuer together allow.
        not_before: the latest of both certificates.
        not_after: the earliest of both; `epoch` is the lowest.
        issuer: key of the certificate that signed the technician's.
    """

    key: SubjectKey
    certificate_hash: bytes
    role: Role
    ops: Op
    not_before: int
    not_after: int
    epoch: int
    issuer: SubjectKey

    def stands(self, state: LockState) -> bool:
        """Whether AUTH would still take these certificates: revocations and time have moved on."""
        try:
            check_life(state, self.epoch, self.not_after, [self.key, self.issuer])
        except RefusedError:
            return False
        return True

    def needs_ticket(self, op: Op) -> bool:
        """Whether `op` needs a ticket from this holder; an owner needs one for everything."""
        return bool(op & TICKETED) or self.role is Role.OWNER


def judge_auth(factory: Factory, state: LockState, auth: Auth, session: bytes) -> Credential:
    """Judge an AUTH for the session of handshake hash `session`, or RefusedError."""
    issuer = judge_issuer(factory, state, auth.issuer)
    try:
        sealed = Sealed.parse(auth.technician)
        sealed.verify(issuer.subject)
        technician = TechnicianCertificate.read(sealed)
        message = auth_message(factory.realm, session, auth.technician)
        technician.subject.verify(auth.signature, message)
    except ProtocolError as error:
        raise RefusedError(RefusalCode.CREDENTIAL_INVALID) from error
    _check_realm(factory.realm, sealed)
    check_life(state, technician.epoch, technician.not_after, [technician.subject])
    check_scope(factory, technician.scope)
    if technician.role is Role.OWNER and not _names_one_lock(technician.scope):
        raise RefusedError(RefusalCode.OUT_OF_SCOPE)
    return Credential(
        technician.subject,
        hashlib.sha256(auth.technician).digest(),
        technician.role,
        technician.ops & issuer.ops & ROLE_OPS[technician.role],
        max(technician.not_before, issuer.not_before),
        min(technician.not_after, issuer.not_after),
        min(technician.epoch, issuer.epoch),
        issuer.subject,
    )


def judge_issuer(factory: Factory, state: LockState, data: bytes) -> IssuerCertificate:
    """The issuer's certificate, signed by a root key and good for this lock, or RefusedError."""
    try:
        sealed = Sealed.parse(data)
        roots = [key for key in factory.root_keys if key.key_id == sealed.signer]
        if not roots:
            raise RefusedError(RefusalCode.CREDENTIAL_INVALID)
        sealed.verify(roots[0])
        issuer = IssuerCertificate.read(sealed)
    except ProtocolError as error:
        raise RefusedError(RefusalCode.CREDENTIAL_INVALID) from error
    _check_realm(factory.realm, sealed)
    check_life(state, issuer.epoch, issuer.not_after, [issuer.subject])
    if issuer.scope is not None:
        check_scope(factory, issuer.scope)
    return issuer


def check_life(state: LockState, epoch: int, not_after: int, keys: Iterable[SubjectKey]) -> None:
    """Refuse what an EPOCH statement revoked, or what ended before the lock's time floor."""
    if epoch < state.epoch.minimum or any(key.key_id in state.epoch.revoked for key in keys):
        raise RefusedError(RefusalCode.REVOKED, state.epoch.minimum)
    if not_after < state.time_floor:
        raise RefusedError(RefusalCode.CREDENTIAL_EXPIRED)


def check_scope(factory: Factory, scope: tuple[ScopeItem, ...]) -> None:
    """Refuse unless each kind of item that a lock can judge has one that names this lock.

    Case and site are judged by host and ticket.
    """
    for kind in _JUDGED_HERE:
        items = [item.value for item in scope if item.kind is kind]
        if items and not any(_names(factory, kind, value) for value in items):
            raise RefusedError(RefusalCode.OUT_OF_SCOPE)


def raised_floor(state: LockState, not_before: int) -> int:
    """The time floor after an object valid from `not_before` on was accepted."""
    return max(state.time_floor, min(not_before, state.epoch.issued_at + FLOOR_LEAD_S))


def _check_realm(realm: Realm, sealed: Sealed) -> None:
    if sealed.realm is not realm:
        raise RefusedError(RefusalCode.CREDENTIAL_INVALID)


def _names(factory: Factory, kind: ScopeKind, value: bytes) -> bool:
    if kind is ScopeKind.MODEL:
        return value == factory.model.encode("ascii")
    if kind is ScopeKind.BATCH:
        return value == factory.batch.encode("ascii")
    serial = factory.serial.encode("ascii").ljust(SERIAL_FIELD, b"\0")
    return value[:SERIAL_FIELD] <= serial <= value[SERIAL_FIELD:]


def _names_one_lock(scope: tuple[ScopeItem, ...]) -> bool:
    ranges = [item.value for item in scope if item.kind is ScopeKind.SERIAL_RANGE]
    return bool(ranges) and all(value[:SERIAL_FIELD] == value[SERIAL_FIELD:] for value in ranges)

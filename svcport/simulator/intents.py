"""The lock's own reading of an INTENT: signed by this session's technician, for this lock, now."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from protocol.errors import ProtocolError
from protocol.objects import Entry, EntryKind
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from protocol.values import ZERO_DIGEST, Head, Op
from svcport.simulator.credentials import Credential
from svcport.simulator.factory import Factory
from svcport.simulator.refusals import RefusedError


@dataclass(frozen=True, slots=True)
class Intent:
    """What a technician signed to do.

    Attributes:
        hash: SHA-256 of the object.
        ticket_id: zero if the act is to go without a ticket.
    """

    hash: bytes
    op: Op
    image_digest: bytes
    ticket_id: bytes


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What an INTENT must agree with: the handshake hash, who opened it, the head AUTH gave."""

    hash: bytes
    credential: Credential
    head: Head


def signed_hash(factory: Factory, session: SessionFacts, data: bytes) -> bytes | None:
    """SHA-256 of an INTENT that the session's technician did sign; None for anything else."""
    try:
        _read(factory, session, data)
    except RefusedError:
        return None
    return hashlib.sha256(data).digest()


def read_intent(
    factory: Factory, session: SessionFacts, data: bytes, ops: Collection[Op]
) -> Intent:
    """Read an INTENT for one of `ops`; RefusedError(INTENT_INVALID) if anything disagrees."""
    entry = _read(factory, session, data)
    agrees = (
        entry.lock_serial == factory.serial
        and entry.session == session.hash
        and entry.lock_head == session.head
        and entry.technician_hash == session.credential.certificate_hash
    )
    if not agrees or entry.op not in ops or entry.op is None or entry.image_digest is None:
        raise RefusedError(RefusalCode.INTENT_INVALID)
    if not entry.op & session.credential.ops:
        raise RefusedError(RefusalCode.NOT_ALLOWED)
    return Intent(
        hashlib.sha256(data).digest(), entry.op, entry.image_digest, entry.ticket_id or ZERO_DIGEST
    )


def _read(factory: Factory, session: SessionFacts, data: bytes) -> Entry:
    try:
        sealed = Sealed.parse(data)
        sealed.verify(session.credential.key)
        entry = Entry.read(sealed)
    except ProtocolError as error:
        raise RefusedError(RefusalCode.INTENT_INVALID) from error
    if sealed.realm is not factory.realm or entry.kind is not EntryKind.INTENT:
        raise RefusedError(RefusalCode.INTENT_INVALID)
    return entry

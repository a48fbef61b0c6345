"""What the sealed objects say: certificates, tickets, statements, intents, receipts. No policy.

Each class is a table of its TLV numbers. A field marked optional may be absent; one that is not
critical may be ignored by an older reader. Numbers are shared: protocol/README, "Field numbers".
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final, NamedTuple, Self

from protocol.codecs import (
    KEY,
    KEY_IDS,
    U8,
    U16,
    U32,
    U64,
    Codec,
    blob,
    enum_u8,
    exact,
    flags_u16,
    record,
    text,
)
from protocol.errors import MalformedObjectError
from protocol.scope import SCOPE, ScopeItem
from protocol.sealed import ObjectType, Realm, Sealed, Shape, Signer, SubjectKey, Tlv, seal_body
from protocol.values import (
    SERIAL_LIMIT,
    ActResult,
    AfterState,
    Head,
    Op,
    Role,
    Slot,
    SlotState,
)


class _Field(NamedTuple):
    number: int
    codec: Codec[Any]
    critical: bool
    optional: bool


def _tlv(number: int, codec: Codec[Any], *, critical: bool = True, optional: bool = False) -> Any:  # noqa: ANN401 - stands where a dataclass default stands
    spec = _Field(number, codec, critical, optional)
    if optional:
        return dataclasses.field(default=None, metadata={"tlv": spec})
    return dataclasses.field(metadata={"tlv": spec})


class Body:
    """Base of the typed bodies; a subclass lists its fields in ascending TLV order."""

    TYPE: ClassVar[ObjectType]
    __slots__ = ()

    @classmethod
    def read(cls, sealed: Sealed) -> Self:
        """The body of an object of this type; anything else is MalformedObjectError.

        Says nothing about the signature: call `Sealed.verify` with the key that should have signed.
        """
        if sealed.type is not cls.TYPE:
            raise MalformedObjectError(f"wanted {cls.TYPE.name}, this object is {sealed.type.name}")
        if sealed.known is not None:
            shape, values = sealed.known
            plan = _plan(cls, shape)  # type: ignore[arg-type] # see _table_of
            if plan is not None:
                return cls(**plan.decode(values))
        return cls(**cls._read_fields(sealed))

    @classmethod
    def _read_fields(cls, sealed: Sealed) -> dict[str, Any]:
        """Field by field: what a plan comes to, and what names whatever is wrong."""
        table = _table_of(cls)
        values = {}
        for number, critical, value in sealed.body:
            named = table.by_number.get(number)
            if named is None:
                if critical:
                    raise MalformedObjectError(
                        f"{cls.TYPE.name}: unknown critical fields [{number}]"
                    )
                continue
            name, spec = named
            if critical is not spec.critical:
                raise MalformedObjectError(
                    f"{cls.TYPE.name}: field {number} has the wrong critical bit"
                )
            values[name] = spec.codec.decode(value)
        if not table.required <= values.keys():
            missing = (n for n, (name, _) in table.by_number.items() if name not in values)
            first = next(n for n in missing if not table.by_number[n][1].optional)
            raise MalformedObjectError(f"{cls.TYPE.name}: field {first} is missing")
        return values

    def seal(self, realm: Realm, signer: Signer) -> Sealed:
        """Sign this body; a value that does not fit its field is MalformedObjectError."""
        return seal_body(realm, self.TYPE, self.tlvs(), signer)

    def tlvs(self) -> tuple[Tlv, ...]:
        """The body's fields as they stand in the object."""
        return tuple(
            Tlv(spec.number, spec.critical, spec.codec.encode(value))
            for name, spec in _table_of(type(self)).by_number.values()
            if (value := getattr(self, name)) is not None
        )


class _Table(NamedTuple):
    """A body's fields by TLV number, ascending, each with its name; and those it must have."""

    by_number: dict[int, tuple[str, _Field]]
    required: frozenset[str]


def _table_of(cls: type[Body]) -> _Table:
    return _table(cls)  # type: ignore[arg-type] # mypy takes a class for an instance's __hash__


@functools.cache
def _table(cls: type[Body]) -> _Table:
    specs: list[tuple[str, _Field]] = [
        (f.name, f.metadata["tlv"])
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
    ]
    specs.sort(key=lambda item: item[1].number)
    required = frozenset(name for name, spec in specs if not spec.optional)
    return _Table({spec.number: (name, spec) for name, spec in specs}, required)


class _Plan(NamedTuple):
    """How to read bodies whose headers are known to be right: names, and what to decode where."""

    names: tuple[str, ...]
    decoders: tuple[tuple[int, Callable[[bytes], Any]], ...]

    def decode(self, written: Sequence[bytes]) -> dict[str, Any]:
        """The values by name; one that is malformed is MalformedObjectError."""
        values: list[Any] = list(written)
        for position, decode in self.decoders:
            values[position] = decode(values[position])
        return dict(zip(self.names, values, strict=True))


@functools.cache  # shapes are few: see Shape
def _plan(cls: type[Body], shape: Shape) -> _Plan | None:
    """The plan for bodies of this shape; None if something about it is wrong, or unknown."""
    table = _table_of(cls)
    names: list[str] = []
    decoders: list[tuple[int, Callable[[bytes], Any]]] = []
    for position, (number, critical, length) in enumerate(shape.headers):
        named = table.by_number.get(number)
        if named is None or critical is not named[1].critical:
            return None
        name, (_, codec, _, _) = named
        names.append(name)
        if codec.width is None:
            decoders.append((position, codec.decode))
        elif codec.width != length:
            return None
        elif codec.plain is not None:
            decoders.append((position, codec.plain))
    return _Plan(tuple(names), tuple(decoders)) if table.required <= set(names) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerCertificate(Body):
    """Signed by the fleet root: whom an issuer's key may empower."""

    TYPE = ObjectType.ISSUER
    subject: SubjectKey = _tlv(1, KEY)
    ops: Op = _tlv(4, flags_u16(Op))
    scope: tuple[ScopeItem, ...] | None = _tlv(5, SCOPE, optional=True)
    epoch: int = _tlv(6, U32)
    not_before: int = _tlv(7, U64)
    not_after: int = _tlv(8, U64)
    ticket_class: int = _tlv(12, U8)  # 0 none, 1 nonce tickets, 2 nonce and counter tickets


@dataclass(frozen=True, slots=True, kw_only=True)
class TechnicianCertificate(Body):
    """Signed by an issuer: who may open a session, and for what."""

    TYPE = ObjectType.TECHNICIAN
    subject: SubjectKey = _tlv(1, KEY)
    name: str | None = _tlv(2, text(40), critical=False, optional=True)
    role: Role = _tlv(3, enum_u8(Role))
    ops: Op = _tlv(4, flags_u16(Op))
    scope: tuple[ScopeItem, ...] = _tlv(5, SCOPE)
    epoch: int = _tlv(6, U32)
    not_before: int = _tlv(7, U64)
    not_after: int = _tlv(8, U64)
    serial: bytes = _tlv(10, exact(8))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCertificate(Body):
    """Signed by the manufacturer: which keys are this lock's. Says nothing else about it."""

    TYPE = ObjectType.LOCK
    subject: SubjectKey = _tlv(1, KEY)
    serial: str = _tlv(2, text(SERIAL_LIMIT))
    x25519: bytes = _tlv(9, exact(32))
    certificate_serial: bytes = _tlv(10, exact(8))


class TicketMode(IntEnum):
    """What makes a ticket good once only."""

    NONCE = 1
    COUNTER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket(Body):
    """Signed by an issuer: one act, on one lock, by one holder."""

    TYPE = ObjectType.TICKET
    holder: bytes = _tlv(1, exact(8))
    lock_serial: str = _tlv(2, text(SERIAL_LIMIT))
    ops: Op = _tlv(4, flags_u16(Op))
    epoch: int = _tlv(6, U32)
    issued_at: int = _tlv(7, U64)
    not_after: int | None = _tlv(8, U64, optional=True)
    image_digest: bytes | None = _tlv(16, exact(32), optional=True)
    mode: TicketMode = _tlv(17, enum_u8(TicketMode))
    nonce_hash: bytes | None = _tlv(18, exact(32), optional=True)
    counter: int | None = _tlv(19, U64, optional=True)
    constraints: bytes | None = _tlv(20, blob(32), optional=True)
    owner_approval: bytes | None = _tlv(22, exact(32), optional=True)
    case_id: str | None = _tlv(23, text(40), critical=False, optional=True)
    min_security_counter: int | None = _tlv(24, U32, optional=True)
    max_session_s: int | None = _tlv(25, U32, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStatement(Body):
    """Signed by the fleet root: which certificates are no longer good."""

    TYPE = ObjectType.EPOCH
    min_epoch: int = _tlv(6, U32)
    issued_at: int = _tlv(7, U64)
    revoked: tuple[bytes, ...] = _tlv(20, KEY_IDS)
    number: int = _tlv(21, U32)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStatement(Body):
    """Signed by an issuer: the time, bound to a nonce that the lock gave."""

    TYPE = ObjectType.TIME
    unix_time: int = _tlv(7, U64)
    nonce_hash: bytes = _tlv(18, exact(32))


class EntryKind(IntEnum):
    """What a ledger entry records."""

    INTENT = 1
    RESULT = 2
    NOTE = 3
    RECOVERED = 4
    IMPORT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Body):
    """One entry of a station's ledger; the technician signs INTENTs, the station the rest."""

    TYPE = ObjectType.ENTRY
    origin: str = _tlv(1, text(96))
    kind: EntryKind = _tlv(4, enum_u8(EntryKind))
    host_time: int = _tlv(5, U64)
    op: Op | None = _tlv(6, flags_u16(Op), optional=True)
    lock_serial: str | None = _tlv(7, text(SERIAL_LIMIT), optional=True)
    ticket_id: bytes | None = _tlv(8, exact(32), optional=True)
    image_digest: bytes | None = _tlv(9, exact(32), optional=True)
    receipt: bytes | None = _tlv(10, blob(640), optional=True)
    intent_hash: bytes | None = _tlv(11, exact(32), optional=True)
    technician_hash: bytes | None = _tlv(12, exact(32), optional=True)
    session: bytes | None = _tlv(13, exact(32), optional=True)
    catalogue: str | None = _tlv(14, text(40), critical=False, optional=True)
    case_id: str | None = _tlv(15, text(40), critical=False, optional=True)
    lock_head: Head | None = _tlv(16, record(Head), optional=True)
    note: str | None = _tlv(17, text(96), critical=False, optional=True)
    assurance: str | None = _tlv(26, text(32), optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Body):
    """Signed by the lock when an act closes: what became of it."""

    TYPE = ObjectType.RECEIPT
    serial: str = _tlv(2, text(SERIAL_LIMIT))
    seq: int = _tlv(3, U64)
    op: Op = _tlv(4, flags_u16(Op))
    chain_before: bytes = _tlv(5, exact(32))
    intent_hash: bytes = _tlv(6, exact(32))
    intent_key: bytes = _tlv(7, exact(8))
    result: ActResult = _tlv(8, enum_u8(ActResult))
    image_digest: bytes = _tlv(9, exact(32))
    after: AfterState | None = _tlv(10, record(AfterState), optional=True)
    ticket_id: bytes = _tlv(11, exact(32))
    time_floor: int = _tlv(12, U64)
    reset_count: int = _tlv(13, U32)
    refusals: int = _tlv(15, U16)
    confirm_key: bytes | None = _tlv(16, exact(8), optional=True)
    override_uses: int | None = _tlv(17, U16, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatement(Body):
    """Signed by the lock when it refuses an INTENT; takes no sequence number."""

    TYPE = ObjectType.REFUSAL
    serial: str = _tlv(2, text(SERIAL_LIMIT))
    intent_hash: bytes = _tlv(6, exact(32))
    code: int = _tlv(8, U8)
    session: bytes = _tlv(13, exact(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Body):
    """Signed by the lock: what a slot holds, measured for one nonce of the host."""

    TYPE = ObjectType.MEASUREMENT
    serial: str = _tlv(2, text(SERIAL_LIMIT))
    slot: Slot = _tlv(3, enum_u8(Slot))
    state: SlotState = _tlv(4, enum_u8(SlotState))
    image_digest: bytes | None = _tlv(9, exact(32), optional=True)
    after: AfterState | None = _tlv(10, record(AfterState), optional=True)
    nonce: bytes = _tlv(18, exact(16))
    slot_digest: bytes = _tlv(20, exact(32))


CHAIN_DOMAIN: Final = b"svcport-chain-v1\0"
TICKET_DOMAIN: Final = b"svcport-ticket-v1\0"
NONCE_DOMAIN: Final = b"svcport-nonce-v1\0"


def chain_start(serial: str) -> bytes:
    """The receipt chain of a lock that has issued none (32 bytes)."""
    return hashlib.sha256(CHAIN_DOMAIN + serial.encode("ascii")).digest()


def chain_next(chain: bytes, receipt: bytes) -> bytes:
    """The chain after `receipt` (the whole object): SHA-256(02 | chain | SHA-256(receipt))."""
    return hashlib.sha256(b"\x02" + chain + hashlib.sha256(receipt).digest()).digest()


def nonce_hash(lock_nonce: bytes) -> bytes:
    """How a ticket names the lock's 16-byte nonce without telling it."""
    return hashlib.sha256(NONCE_DOMAIN + lock_nonce).digest()


def ticket_id(issuer_key_id: bytes, ticket: Ticket) -> bytes:
    """What makes two tickets the same: issuer, mode and the counter or nonce inside (32 bytes)."""
    if ticket.mode is TicketMode.COUNTER and ticket.counter is not None:
        once = ticket.counter.to_bytes(8, "big")
    elif ticket.mode is TicketMode.NONCE and ticket.nonce_hash is not None:
        once = ticket.nonce_hash
    else:
        raise MalformedObjectError(f"a {ticket.mode.name} ticket lacks its {ticket.mode.name}")
    return hashlib.sha256(TICKET_DOMAIN + issuer_key_id + bytes([ticket.mode]) + once).digest()


def measured(nonce: bytes, content: bytes) -> bytes:
    """SHA-256(nonce | content): `slot_digest` of a slot whose image fills [0, len(content))."""
    return hashlib.sha256(nonce + content).digest()


BODIES: Final[dict[ObjectType, type[Body]]] = {
    cls.TYPE: cls
    for cls in (
        IssuerCertificate,
        TechnicianCertificate,
        LockCertificate,
        Ticket,
        EpochStatement,
        TimeStatement,
        Entry,
        Receipt,
        RefusalStatement,
        Measurement,
    )
}

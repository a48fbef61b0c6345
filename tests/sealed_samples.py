"""One object of every sealed type, signed by fixed keys; tests/vectors/sealed holds their bytes."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.objects import (
    Body,
    Entry,
    EntryKind,
    EpochStatement,
    IssuerCertificate,
    LockCertificate,
    Measurement,
    Receipt,
    RefusalStatement,
    TechnicianCertificate,
    Ticket,
    TicketMode,
    TimeStatement,
    nonce_hash,
)
from protocol.scope import ScopeItem, ScopeKind, serial_range
from protocol.sealed import SubjectKey, raw_signature
from protocol.values import ActResult, AfterState, Head, ImageVersion, Op, Role, Slot, SlotState


@dataclass(frozen=True)
class SeedSigner:
    """An Ed25519 key whose 32-byte seed is one byte, repeated."""

    seed: int

    @property
    def _key(self) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def subject(self) -> SubjectKey:
        return SubjectKey.of(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


@dataclass(frozen=True)
class CurveSigner:
    """A P-256 key whose private value is a small number."""

    number: int

    @property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(self.number, ec.SECP256R1())

    @property
    def subject(self) -> SubjectKey:
        return SubjectKey.of(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        return raw_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))


ROOT, ISSUER, TECHNICIAN, MAKER, LOCK, STATION = (SeedSigner(n) for n in range(1, 7))
CURVE = CurveSigner(7)
NONCE = bytes(range(16))
IMAGE = bytes(range(32))
AFTER = AfterState(ImageVersion(2, 4, 1, 0), 3)

BODIES: dict[str, tuple[SeedSigner, Body]] = {
    "issuer": (
        ROOT,
        IssuerCertificate(
            subject=ISSUER.subject,
            ops=Op(0x00FF),
            scope=(ScopeItem(ScopeKind.MODEL, b"SL-2"),),
            epoch=4,
            not_before=1_790_000_000,
            not_after=1_797_776_000,
            ticket_class=2,
        ),
    ),
    "technician": (
        ISSUER,
        TechnicianCertificate(
            subject=TECHNICIAN.subject,
            name="Ada Field",
            role=Role.TECHNICIAN,
            ops=Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE,
            scope=(
                ScopeItem(ScopeKind.MODEL, b"SL-2"),
                ScopeItem(ScopeKind.MODEL, b"SL-3"),
                serial_range("SL2-000100", "SL2-000199"),
            ),
            epoch=4,
            not_before=1_795_000_000,
            not_after=1_795_604_800,
            serial=bytes.fromhex("0102030405060708"),
        ),
    ),
    "technician-p256": (
        ISSUER,
        TechnicianCertificate(
            subject=CURVE.subject,
            role=Role.DEPOT,
            ops=Op.INFO,
            scope=(ScopeItem(ScopeKind.EVERYTHING, b""),),
            epoch=0,
            not_before=0,
            not_after=(1 << 64) - 1,
            serial=bytes(8),
        ),
    ),
    "lock": (
        MAKER,
        LockCertificate(
            subject=LOCK.subject,
            serial="SL2-000123",
            x25519=bytes(range(32, 64)),
            certificate_serial=bytes(8),
        ),
    ),
    "ticket-counter": (
        ISSUER,
        Ticket(
            holder=TECHNICIAN.subject.key_id,
            lock_serial="SL2-000123",
            ops=Op.ROLLBACK,
            epoch=4,
            issued_at=1_795_000_000,
            not_after=1_795_604_800,
            image_digest=IMAGE,
            mode=TicketMode.COUNTER,
            counter=41,
            case_id="C-2026-11",
            min_security_counter=3,
            max_session_s=900,
        ),
    ),
    "ticket-nonce": (
        ISSUER,
        Ticket(
            holder=TECHNICIAN.subject.key_id,
            lock_serial="SL2-000123",
            ops=Op.RESTORE,
            epoch=4,
            issued_at=1_795_000_000,
            image_digest=IMAGE,
            mode=TicketMode.NONCE,
            nonce_hash=nonce_hash(NONCE),
            constraints=b"\x01",
            owner_approval=bytes(32),
        ),
    ),
    "epoch": (
        ROOT,
        EpochStatement(
            min_epoch=4,
            issued_at=1_795_000_000,
            revoked=(bytes(8), bytes.fromhex("ffffffffffffffff")),
            number=17,
        ),
    ),
    "time": (ISSUER, TimeStatement(unix_time=1_795_000_123, nonce_hash=nonce_hash(NONCE))),
    "entry-intent": (
        TECHNICIAN,
        Entry(
            origin="svcport.example/station/bench-07",
            kind=EntryKind.INTENT,
            host_time=1_795_000_200,
            op=Op.ROLLBACK,
            lock_serial="SL2-000123",
            ticket_id=bytes(32),
            image_digest=IMAGE,
            technician_hash=bytes(range(64, 96)),
            session=bytes(range(96, 128)),
            catalogue="12",
            case_id="C-2026-11",
            lock_head=Head(8, bytes(range(128, 160))),
        ),
    ),
    "entry-result": (
        STATION,
        Entry(
            origin="svcport.example/station/bench-07",
            kind=EntryKind.RESULT,
            host_time=1_795_000_300,
            receipt=b"receipt",
            intent_hash=bytes(32),
            note="confirmed",
        ),
    ),
    "receipt": (
        LOCK,
        Receipt(
            serial="SL2-000123",
            seq=9,
            op=Op.ROLLBACK,
            chain_before=bytes(range(128, 160)),
            intent_hash=bytes(range(160, 192)),
            intent_key=TECHNICIAN.subject.key_id,
            result=ActResult.DONE,
            image_digest=IMAGE,
            after=AFTER,
            ticket_id=bytes(32),
            time_floor=1_795_000_000,
            reset_count=3,
            refusals=1,
            confirm_key=TECHNICIAN.subject.key_id,
            override_uses=0,
        ),
    ),
    "refusal": (
        LOCK,
        RefusalStatement(
            serial="SL2-000123", intent_hash=bytes(range(160, 192)), code=7, session=bytes(32)
        ),
    ),
    "measurement": (
        LOCK,
        Measurement(
            serial="SL2-000123",
            slot=Slot.B,
            state=SlotState.RUNNING,
            image_digest=IMAGE,
            after=AFTER,
            nonce=NONCE,
            slot_digest=bytes(range(192, 224)),
        ),
    ),
}

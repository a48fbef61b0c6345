"""A small vendor for tests of the board: keys of repeated bytes, images, certificates, tickets."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from images import FileSigner, LockMetadata, Version, sign, verify
from protocol.objects import (
    IssuerCertificate,
    LockCertificate,
    TechnicianCertificate,
    Ticket,
    TicketMode,
    ticket_id,
)
from protocol.scope import EVERYTHING
from protocol.sealed import Realm, SubjectKey
from protocol.values import Op, Role, Slot
from svcport.simulator.board import Board
from svcport.simulator.factory import Factory
from svcport.simulator.flash import FLASH_SIZE, INSTANT, NorFlash, Profile
from svcport.simulator.provision import FACTORY_TIME, Condition, provision
from svcport.simulator.world import World

REALM = Realm.TRAINING
SERIAL = "TR-000001"
ALL_OPS = Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.OVERRIDE
BEGINS, ENDS = FACTORY_TIME, FACTORY_TIME + 90 * 86400


@dataclass(frozen=True)
class Key:
    """An Ed25519 key whose seed is one repeated byte."""

    byte: int

    @property
    def seed(self) -> bytes:
        return bytes([self.byte]) * 32

    @property
    def subject(self) -> SubjectKey:
        return SubjectKey.of(Ed25519PrivateKey.from_private_bytes(self.seed).public_key())

    def sign(self, message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


ROOT, NEXT_ROOT, ISSUER, TECHNICIAN, MANUFACTURER, LOCK, STRANGER, DEPOT = map(
    Key, range(0xA1, 0xA9)
)
X25519_SEED = b"\x07" * 32


MINE = LockMetadata("AL-1", ("B",), ("2026-31",))


@cache
def image_key(name: str = "vendor") -> FileSigner:
    number = int.from_bytes(name.encode(), "big") % (1 << 64)
    return FileSigner(ec.derive_private_key(number + 2, ec.SECP256R1()))


@cache
def image(
    version: str = "2.4.1",
    *,
    counter: int | None = 3,
    size: int = 20_000,
    key: str = "vendor",
    metadata: LockMetadata | None = MINE,
    noise: bool = True,
) -> bytes:
    """A signed image with incompressible content that its version decides, or only a little of."""
    own = random.Random(version).randbytes(size if noise else 9)
    return sign(
        own if noise else random.Random(0).randbytes(size - len(own)) + own,
        image_key(key),
        version=Version.parse(version),
        security_counter=counter,
        metadata=metadata,
    )


def digest(data: bytes) -> bytes:
    return verify(data, factory().trust()).digest


@cache
def factory() -> Factory:
    x25519 = X25519PrivateKey.from_private_bytes(X25519_SEED).public_key().public_bytes_raw()
    certificate = LockCertificate(
        subject=LOCK.subject, serial=SERIAL, x25519=x25519, certificate_serial=bytes(8)
    )
    return Factory(
        serial=SERIAL,
        model="AL-1",
        hardware="B",
        batch="2026-31",
        realm=REALM,
        certificate=certificate.seal(REALM, MANUFACTURER).build(),
        identity_seed=LOCK.seed,
        x25519_private=X25519_SEED,
        root_keys=(ROOT.subject, NEXT_ROOT.subject),
        image_keys=(image_key().public.to_pem(),),
        counter_issuer=ISSUER.subject.key_id,
    )


ISSUER_BODY = IssuerCertificate(
    subject=ISSUER.subject,
    ops=ALL_OPS,
    epoch=1,
    not_before=BEGINS,
    not_after=ENDS,
    ticket_class=2,
)
TECHNICIAN_BODY = TechnicianCertificate(
    subject=TECHNICIAN.subject,
    role=Role.TECHNICIAN,
    ops=ALL_OPS,
    scope=EVERYTHING,
    epoch=1,
    not_before=BEGINS,
    not_after=ENDS,
    serial=bytes(8),
)


def issuer_certificate(root: Key = ROOT, realm: Realm = REALM, **changes: object) -> bytes:
    return replace(ISSUER_BODY, **changes).seal(realm, root).build()  # type: ignore[arg-type]


def technician_certificate(issuer: Key = ISSUER, **changes: object) -> bytes:
    return replace(TECHNICIAN_BODY, **changes).seal(REALM, issuer).build()  # type: ignore[arg-type]


@dataclass(frozen=True)
class Paper:
    """A ticket, its issuer's certificate, and its id."""

    ticket: bytes
    issuer: bytes
    id: bytes


def paper(
    op: Op,
    image_digest: bytes | None,
    counter: int | None = 1,
    *,
    by: Key = ISSUER,
    **changes: object,
) -> Paper:
    body = Ticket(
        holder=TECHNICIAN.subject.key_id,
        lock_serial=SERIAL,
        ops=op,
        epoch=1,
        issued_at=BEGINS,
        image_digest=image_digest,
        mode=TicketMode.COUNTER,
        counter=counter,
    )
    body = replace(body, **changes)  # type: ignore[arg-type]
    issuer = issuer_certificate(subject=by.subject)
    return Paper(body.seal(REALM, by).build(), issuer, ticket_id(by.subject.key_id, body))


def fresh_flash(
    images: dict[Slot, bytes],
    *,
    active: Slot | None = Slot.A,
    counter: int = 3,
    world: World | None = None,
    condition: Condition = Condition.HEALTHY,
    profile: Profile = INSTANT,
) -> NorFlash:
    flash = NorFlash(bytearray(b"\xff" * FLASH_SIZE), profile)
    provision(
        flash,
        factory(),
        images=images,
        active=active,
        security_counter=counter,
        world=world,
        condition=condition,
    )
    return NorFlash(flash._buffer, profile)


def power_up(flash: NorFlash, now: float = 0.0) -> Board:
    return Board(factory(), flash, entropy=random.Random(5).randbytes, now=now)

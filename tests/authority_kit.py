"""A small vendor with fixed keys: certificates, tickets and bundles for the tests of authority."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.objects import EpochStatement
from protocol.scope import EVERYTHING, ScopeItem
from protocol.sealed import Realm, Sealed, SubjectKey
from protocol.values import Op, Role
from svcport.authorisation.credentials import Credential, store_credential
from svcport.authorisation.issuer import signing as issuer
from svcport.authorisation.keys.keyfile import KeyFileSigner, key_file_bytes
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.tickets import HeldTicket, TicketReader, ticket_file
from svcport.authorisation.trust import Trust, Vendor
from svcport.home import Home

DAY = 86_400
T0 = 1_795_000_000
NOW = datetime.fromtimestamp(T0, UTC)
SERIAL = "SL2-000123"
GOOD, OTHER = bytes([1]) * 32, bytes([2]) * 32
TECHNICIAN_OPS = Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.OVERRIDE
DEPOT_OPS = Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.ISSUE
EVERY_OP = Op(0xFF)


def seed_key(seed: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


ROOT, NEXT_ROOT, MAKER, ISSUER, DEPOT = (KeyFileSigner.of(seed_key(n)) for n in range(11, 16))
TECHNICIAN_KEY = ec.derive_private_key(16, ec.SECP256R1())
TECHNICIAN = KeyFileSigner.of(TECHNICIAN_KEY)


@dataclass(frozen=True)
class Maker:
    """Makes the papers of one vendor; `replace` one member to break one rule."""

    realm: Realm = Realm.PRODUCTION
    role: Role = Role.TECHNICIAN
    ops: Op = TECHNICIAN_OPS
    scope: tuple[ScopeItem, ...] = EVERYTHING
    name: str | None = "Ada Field"
    epoch: int = 4
    not_before: int = T0 - DAY
    not_after: int = T0 + DAY
    issuer_ops: Op = EVERY_OP
    issuer_scope: tuple[ScopeItem, ...] | None = None
    issuer_epoch: int = 4
    issuer_not_before: int = T0 - 10 * DAY
    issuer_not_after: int = T0 + 80 * DAY
    ticket_class: int = 2
    statement: Sealed | None = None

    def but(self, **changes: Any) -> Maker:
        return replace(self, **changes)

    @property
    def trust(self) -> Trust:
        return Trust(
            Vendor("Demo Locks", self.realm),
            (ROOT.subject,),
            MAKER.subject,
            (b"pem one\n", b"pem two\n"),
            b"{}",
            self.statement,
        )

    def issuer_certificate(self, signer: KeyFileSigner = ROOT) -> Sealed:
        return issuer.make_issuer_certificate(
            signer,
            self.realm,
            subject=ISSUER.subject,
            ops=self.issuer_ops,
            scope=self.issuer_scope,
            epoch=self.issuer_epoch,
            not_before=self.issuer_not_before,
            not_after=self.issuer_not_after,
            ticket_class=self.ticket_class,
        )

    def technician_certificate(
        self, signer: KeyFileSigner = ISSUER, subject: SubjectKey = TECHNICIAN.subject
    ) -> Sealed:
        return issuer.make_technician_certificate(
            signer,
            self.realm,
            subject=subject,
            role=self.role,
            ops=self.ops,
            scope=self.scope,
            epoch=self.epoch,
            not_before=self.not_before,
            not_after=self.not_after,
            serial=bytes(8),
            name=self.name,
        )

    def order(self, **changes: Any) -> issuer.TicketOrder:
        usual = issuer.TicketOrder(
            holder=TECHNICIAN.subject.key_id,
            lock_serial=SERIAL,
            ops=Op.ROLLBACK,
            epoch=4,
            issued_at=T0 - DAY,
            not_after=T0 + DAY,
            image_digest=GOOD,
        )
        return replace(usual, **changes)

    def ticket(
        self, counter: int = 1, *, nonce: bytes | None = None, given: bool = False, **changes: Any
    ) -> HeldTicket:
        order = self.order(**changes)
        if nonce is None:
            sealed = issuer.make_counter_ticket(ISSUER, self.realm, order, counter)
        else:
            sealed = issuer.make_nonce_ticket(ISSUER, self.realm, order, nonce)
        content = ticket_file(sealed, self.issuer_certificate())
        return TicketReader(self.trust).open(content, f"t{counter}.svc", given=given)

    def credential(self, home: Home) -> Credential:
        self.write(home)
        return Credential.load(home, self.trust)

    def write(
        self, home: Home, passphrase: bytes = b"", tickets: tuple[HeldTicket, ...] = ()
    ) -> None:
        """A home, or a bundle, which is laid out alike."""
        self.trust.write(home)
        key = key_file_bytes(TECHNICIAN_KEY, passphrase, rounds=1)
        store_credential(home, self.issuer_certificate(), self.technician_certificate(), key)
        home.tickets.mkdir(exist_ok=True)
        for number, held in enumerate(tickets):
            (home.tickets / f"{number}.svc").write_bytes(held.build())


def statement(
    number: int = 1, min_epoch: int = 4, revoked: tuple[bytes, ...] = (), **changes: Any
) -> Sealed:
    usual = {"signer": ROOT, "realm": Realm.PRODUCTION, "issued_at": T0 - DAY, **changes}
    return issuer.make_epoch(
        usual["signer"],
        usual["realm"],
        number=number,
        min_epoch=min_epoch,
        issued_at=usual["issued_at"],
        revoked=revoked,
    )


def said(sealed: Sealed) -> EpochStatement:
    return EpochStatement.read(sealed)


def request(**changes: Any) -> PermitRequest:
    usual = PermitRequest(
        op=Op.ROLLBACK,
        lock_serial=SERIAL,
        lock_model="SL-2",
        lock_batch="2026-07",
        image_digest=GOOD,
        security_counter=3,
    )
    return replace(usual, **changes)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }

"""Everybody of a lab's vendor that `lab init` does not make: depots, owners, second technicians."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fieldkit import NOW, Field

from protocol.objects import TimeStatement, nonce_hash
from protocol.scope import EVERYTHING, ScopeItem, serial_range
from protocol.sealed import Realm, Sealed
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.credentials import store_credential
from svcport.authorisation.issuer import signing as issuer
from svcport.authorisation.keys.keyfile import KeyFileSigner, key_file_bytes
from svcport.authorisation.tickets import ticket_file
from svcport.authorisation.times import unix
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.lab.vendor import EPOCH, TrainingVendor

BEGINS, ENDS = unix(NOW - timedelta(days=1)), unix(NOW + timedelta(days=7))
_NUMBERS = itertools.count(1000)


@dataclass(frozen=True)
class Office:
    """The vendor's desk: its keys, out of the lab's folder."""

    lab: LabFolder

    @property
    def vendor(self) -> TrainingVendor:
        return TrainingVendor("tests", NOW - timedelta(days=1))  # the seed of fieldkit's labs

    def certificate(
        self, key: KeyFileSigner, role: Role, scope: tuple[ScopeItem, ...] = EVERYTHING, **but: int
    ) -> Sealed:
        usual = {"epoch": EPOCH, "not_before": BEGINS, "not_after": ENDS} | but
        return issuer.make_technician_certificate(
            self.vendor.issuer,
            Realm.TRAINING,
            subject=key.subject,
            role=role,
            ops=ROLE_OPS[role],
            serial=next(_NUMBERS).to_bytes(8, "big"),
            scope=scope,
            name=f"Training {role.name.lower()}",
            **usual,
        )

    def enrol(self, field: Field, home: Path, role: Role, **but: int) -> Person:
        """A home for somebody new; an owner's certificate names the field's first lock."""
        private = Ed25519PrivateKey.generate()
        key = KeyFileSigner.of(private)
        serial = self.lab.serials[0]
        scope = (serial_range(serial, serial),) if role is Role.OWNER else EVERYTHING
        made = Home(home)
        trust = Trust.load(Home(self.lab.technician))
        trust.write(made)
        store_credential(
            made,
            self.vendor.issuer_certificate(),
            self.certificate(key, role, scope, **but),
            key_file_bytes(private),
        )
        made.tickets.mkdir()
        Catalogue.refresh(
            made.root, self.lab.technician / "catalogue", now=NOW, root=trust.catalogue_root
        )
        return Person(self, Field(self.lab, made, field.cables), key)

    def epoch(self, number: int = 2, least: int = EPOCH, revoked: Iterable[bytes] = ()) -> Sealed:
        return issuer.make_epoch(
            self.vendor.root,
            Realm.TRAINING,
            number=number,
            min_epoch=least,
            issued_at=BEGINS + 60,
            revoked=revoked,
        )

    def time(self, lock_nonce: bytes, unix_time: int) -> Sealed:
        body = TimeStatement(unix_time=unix_time, nonce_hash=nonce_hash(lock_nonce))
        return body.seal(Realm.TRAINING, self.vendor.issuer)


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own, at the same locks."""

    office: Office
    field: Field
    key: KeyFileSigner

    def give(
        self, op: Op, digest: bytes, *, nonce: bytes | None = None, serial: str | None = None
    ) -> None:
        """Put a ticket into the home: a counter ticket, or one for the lock's nonce."""
        vendor = self.office.vendor
        order = issuer.TicketOrder(
            holder=self.key.subject.key_id,
            lock_serial=serial or self.office.lab.serials[0],
            ops=op,
            epoch=EPOCH,
            issued_at=BEGINS,
            not_after=ENDS,
            image_digest=digest,
        )
        if nonce is None:
            ticket = issuer.make_counter_ticket(
                vendor.issuer, Realm.TRAINING, order, next(_NUMBERS) % 800 + 100
            )
        else:
            ticket = issuer.make_nonce_ticket(vendor.issuer, Realm.TRAINING, order, nonce)
        content = ticket_file(ticket, vendor.issuer_certificate())
        (self.field.home.tickets / f"{next(_NUMBERS)}.svc").write_bytes(content)

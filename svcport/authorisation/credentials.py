"""The technician's credential: two certificates and the key they speak for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.errors import ProtocolError
from protocol.objects import EpochStatement, IssuerCertificate, TechnicianCertificate
from protocol.sealed import Realm, Sealed, Signer
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.files import not_set_up, read_sealed, write_changed
from svcport.authorisation.keys.keyplace import StoredReference, find_key, store_key
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.standing import Moment
from svcport.authorisation.times import at
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, Refusal
from svcport.home import Home

ISSUER_FILE: Final = "issuer.svc"
TECHNICIAN_FILE: Final = "technician.svc"


@dataclass(frozen=True, slots=True)
class Certificates:
    """An issuer's and a technician's certificate whose signatures have been checked."""

    issuer_sealed: Sealed
    issuer: IssuerCertificate
    technician_sealed: Sealed
    technician: TechnicianCertificate

    @classmethod
    def load(cls, home: Home, trust: Trust) -> Certificates:
        """Read a home's (or bundle's) certificates; needs no passphrase.

        Raises:
            RefusedError: one is missing, damaged or not signed as it must be (`not-set-up`).
            RecordsError: a file cannot be read (`storage`).
        """
        issuer_sealed = read_sealed(home.credential / ISSUER_FILE)
        technician_sealed = read_sealed(home.credential / TECHNICIAN_FILE)
        try:
            issuer = trust.read_issuer(issuer_sealed)
        except ProtocolError as error:
            raise not_set_up(f"the issuer's certificate cannot be believed: {error}") from error
        try:
            trust.require_realm(technician_sealed)
            technician_sealed.verify(issuer.subject)
            technician = TechnicianCertificate.read(technician_sealed)
        except ProtocolError as error:
            raise not_set_up(f"the technician's certificate cannot be believed: {error}") from error
        return cls(issuer_sealed, issuer, technician_sealed, technician)

    @property
    def holder(self) -> str:
        """The name on the certificate; the key id where it states none."""
        return self.technician.name or self.technician.subject.key_id.hex()

    @property
    def role(self) -> Role:
        """Who the certificate speaks for."""
        return self.technician.role

    @property
    def valid_until(self) -> datetime:
        """When the first of the two certificates ends."""
        return at(min(self.technician.not_after, self.issuer.not_after))

    @property
    def effective_ops(self) -> Op:
        """What the technician, the issuer and the role all allow, tickets not counted."""
        return self.technician.ops & self.issuer.ops & ROLE_OPS[self.role]

    def standing(self, now: datetime, epoch: EpochStatement | None) -> tuple[Refusal, ...]:
        """Every reason why these certificates are no good at `now` (aware); empty if they are."""
        moment, expired = Moment.of(now, epoch), Reason.CREDENTIAL_EXPIRED
        found: list[Refusal] = []
        certificates = (
            ("the technician's certificate", self.technician),
            ("the issuer's certificate", self.issuer),
        )
        for what, certificate in certificates:
            found += moment.revoked(what, (certificate.subject.key_id,), certificate.epoch)
            found += moment.early(what, certificate.not_before, expired)
            hint = "get a new credential from your issuer and run 'svcport setup' with it"
            found += moment.late(what, certificate.not_after, expired, hint)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Credential:
    """Certificates, and the unlocked key of the technician they name."""

    certificates: Certificates
    signer: Signer

    @classmethod
    def load(cls, home: Home, trust: Trust, secret: Secret | None = None) -> Credential:
        """Read and unlock a home's credential.

        Raises:
            RefusedError: as `Certificates.load`; the key is not the certificate's (`not-set-up`);
                it is readable by others, or locked and not opened (`signer-locked`).
            RecordsError: a file cannot be read (`storage`).
        """
        certificates = Certificates.load(home, trust)
        place = find_key(home, certificates.technician.subject)
        return cls(certificates, place.open(certificates.technician.subject, secret))

    @property
    def technician(self) -> TechnicianCertificate:
        """The technician's certificate."""
        return self.certificates.technician

    @property
    def issuer(self) -> IssuerCertificate:
        """The certificate of who issued it."""
        return self.certificates.issuer

    @property
    def issuer_bytes(self) -> bytes:
        """The issuer certificate as AUTH carries it."""
        return self.certificates.issuer_sealed.build()

    @property
    def technician_bytes(self) -> bytes:
        """The technician certificate as AUTH carries it."""
        return self.certificates.technician_sealed.build()

    @property
    def holder(self) -> str:
        """The name on the certificate; the key id where it states none."""
        return self.certificates.holder

    @property
    def role(self) -> Role:
        """Who the certificate speaks for."""
        return self.certificates.role

    @property
    def valid_until(self) -> datetime:
        """When the first of the two certificates ends."""
        return self.certificates.valid_until

    @property
    def effective_ops(self) -> Op:
        """What the technician, the issuer and the role all allow, tickets not counted."""
        return self.certificates.effective_ops

    def standing(self, now: datetime, epoch: EpochStatement | None) -> tuple[Refusal, ...]:
        """Every reason why this credential is no good at `now` (aware); empty if it is."""
        return self.certificates.standing(now, epoch)

    def auth_signature(self, realm: Realm, handshake_hash: bytes) -> bytes:
        """What AUTH carries: 64 bytes over domain | handshake hash | SHA-256(certificate)."""
        certificate = hashlib.sha256(self.technician_bytes).digest()
        return self.signer.sign(realm.auth_domain + handshake_hash + certificate)


def store_credential(
    home: Home, issuer: Sealed, technician: Sealed, key: bytes | StoredReference | None
) -> None:
    """Write a credential, the technician's certificate last: with it the home is set up.

    `key` is the content of a key file, or says where the key is; None keeps what is there.
    RecordsError (`storage`) if the disk fails.
    """
    if key is not None:
        store_key(home, key)
    write_changed(home.credential / ISSUER_FILE, issuer.build())
    write_changed(home.credential / TECHNICIAN_FILE, technician.build())

"""The training vendor: every key from one seed, and what those keys sign. Writes no file.

All of it is of the training realm: nothing here can pass for a real vendor's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from images import PublicKey
from protocol.sealed import P256_ORDER, Realm, Sealed, SubjectKey
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.issuer.signing import (
    TicketOrder,
    make_counter_ticket,
    make_epoch,
    make_issuer_certificate,
    make_lock_certificate,
    make_technician_certificate,
)
from svcport.authorisation.keys.keyfile import KeyFileSigner
from svcport.authorisation.times import unix
from svcport.authorisation.trust import Trust, Vendor
from svcport.catalogue.keys import VendorKeys
from svcport.lab.releases import FIXED, GOOD, MODEL, UNAPPROVED, Release, SignedRelease
from svcport.simulator.factory import Factory

NAME: Final = "Training vendor"
HOLDER: Final = "Training technician"
HARDWARE: Final = "B"
BATCH: Final = "2026-31"
VALIDITY: Final = timedelta(days=3653)
"""Ten years: nothing of a training vendor should run out while somebody learns."""

EPOCH: Final = 1
TICKETS_OF_A_KIND: Final = 8

_KEY_LABEL: Final = b"svcport-training-key-v1\0"

TICKETED: Final[tuple[tuple[Op, Release | None], ...]] = (
    (Op.ROLLBACK, GOOD),
    (Op.ROLLBACK, FIXED),
    (Op.RESTORE, GOOD),
    (Op.RESTORE, FIXED),
    (Op.RESTORE, UNAPPROVED),
    (Op.OVERRIDE, None),
)
"""What tickets are prepared for. Six kinds of eight stay inside a lock's window of 64 counters, so
they can be used in any order."""

TICKETS_OF_A_LOCK: Final = len(TICKETED) * TICKETS_OF_A_KIND


@dataclass(frozen=True, slots=True)
class ImageKey:
    """The vendor's image key. Signs the same digest the same way each time, where it can."""

    _key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        """As `images.ImageSigner`."""
        return PublicKey.from_crypto(self._key.public_key(), name="training")

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """For the vendor's key file."""
        return self._key

    def sign(self, digest: bytes) -> bytes:
        """As `images.ImageSigner`."""
        algorithm = Prehashed(hashes.SHA256())
        try:
            steady = ec.ECDSA(algorithm, deterministic_signing=True)
        except UnsupportedAlgorithm:  # OpenSSL before 3.2
            return self._key.sign(digest, ec.ECDSA(algorithm))
        return self._key.sign(digest, steady)


class TrainingVendor:
    """One vendor. The same seed gives the same keys.

    Attributes:
        root: the fleet root; `next_root` is announced to succeed it.
        manufacturer: signs lock certificates.
        issuer: signs technicians' certificates and counter tickets.
        image_key: signs firmware.
        technician: private key of the one technician.
        catalogue: keys of the catalogue's roles.
    """

    def __init__(self, seed: str, now: datetime) -> None:
        self._seed = seed
        self._now = unix(now)
        self._end = unix(now + VALIDITY)
        self.keys: Final[Mapping[str, ed25519.Ed25519PrivateKey]] = {
            name: self._ed25519(name) for name in ("root", "root-next", "manufacturer", "issuer")
        }
        self.root = KeyFileSigner.of(self.keys["root"])
        self.next_root = KeyFileSigner.of(self.keys["root-next"])
        self.manufacturer = KeyFileSigner.of(self.keys["manufacturer"])
        self.issuer = KeyFileSigner.of(self.keys["issuer"])
        self.image_key = ImageKey(self._p256("image"))
        self.technician = self._p256("technician")
        self.catalogue = VendorKeys.from_seed(self._secret("catalogue"), (MODEL,))

    @property
    def holder(self) -> SubjectKey:
        """The technician's public key."""
        return SubjectKey.of(self.technician.public_key())

    def trust(self, catalogue_root: bytes) -> Trust:
        """What a technician's home believes."""
        return Trust(
            Vendor(NAME, Realm.TRAINING),
            (self.root.subject, self.next_root.subject),
            self.manufacturer.subject,
            (self.image_key.public.to_pem(),),
            catalogue_root,
            self.epoch(),
        )

    def epoch(self) -> Sealed:
        """The first EPOCH: nobody is revoked."""
        return make_epoch(self.root, Realm.TRAINING, number=1, min_epoch=EPOCH, issued_at=self._now)

    def issuer_certificate(self) -> Sealed:
        """Of the one issuer, who may issue counter tickets."""
        return make_issuer_certificate(
            self.root,
            Realm.TRAINING,
            subject=self.issuer.subject,
            ops=ROLE_OPS[Role.TECHNICIAN] | ROLE_OPS[Role.DEPOT],
            epoch=EPOCH,
            not_before=self._now,
            not_after=self._end,
        )

    def technician_certificate(self) -> Sealed:
        """Of the one technician."""
        return make_technician_certificate(
            self.issuer,
            Realm.TRAINING,
            subject=self.holder,
            role=Role.TECHNICIAN,
            ops=ROLE_OPS[Role.TECHNICIAN],
            epoch=EPOCH,
            not_before=self._now,
            not_after=self._end,
            serial=self._secret("technician-certificate")[:8],
            name=HOLDER,
        )

    def tickets(
        self, serial: str, releases: Mapping[Release, SignedRelease], counters: Iterable[int]
    ) -> list[Sealed]:
        """Every ticket for one lock; `counters` are `TICKETS_OF_A_LOCK` that nobody has used."""
        made, left = [], iter(counters)
        for op, release in TICKETED:
            order = TicketOrder(
                holder=self.holder.key_id,
                lock_serial=serial,
                ops=op,
                epoch=EPOCH,
                issued_at=self._now,
                not_after=self._end,
                image_digest=None if release is None else releases[release].image.digest,
            )
            made += [
                make_counter_ticket(self.issuer, Realm.TRAINING, order, next(left))
                for _ticket in range(TICKETS_OF_A_KIND)
            ]
        return made

    def factory(self, serial: str) -> Factory:
        """What the factory burns into one lock."""
        identity = self._ed25519(f"lock/{serial}")
        static = x25519.X25519PrivateKey.from_private_bytes(self._secret(f"x25519/{serial}"))
        certificate = make_lock_certificate(
            self.manufacturer,
            Realm.TRAINING,
            subject=SubjectKey.of(identity.public_key()),
            serial=serial,
            x25519=static.public_key().public_bytes_raw(),
            certificate_serial=self._secret(f"lock-certificate/{serial}")[:8],
        )
        return Factory(
            serial=serial,
            model=MODEL,
            hardware=HARDWARE,
            batch=BATCH,
            realm=Realm.TRAINING,
            certificate=certificate.build(),
            identity_seed=identity.private_bytes_raw(),
            x25519_private=static.private_bytes_raw(),
            root_keys=(self.root.subject, self.next_root.subject),
            image_keys=(self.image_key.public.to_pem(),),
            counter_issuer=self.issuer.subject.key_id,
        )

    def _secret(self, name: str) -> bytes:
        """32 bytes of SHA-256 over label, seed and name."""
        return hashlib.sha256(_KEY_LABEL + f"{self._seed}\0{name}".encode()).digest()

    def _ed25519(self, name: str) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.from_private_bytes(self._secret(name))

    def _p256(self, name: str) -> ec.EllipticCurvePrivateKey:
        # 256 bits modulo the order are not quite uniform, which is nothing for training keys.
        number = int.from_bytes(self._secret(name), "big") % (P256_ORDER - 1) + 1
        return ec.derive_private_key(number, ec.SECP256R1())

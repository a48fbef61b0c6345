"""Whom this installation believes: one vendor's public keys, and its newest revocations.

trust/vendor.json             {"name": ..., "realm": "production" | "training"}
trust/root.key                the fleet root's subject key in hex; root-next.key if announced
trust/manufacturer.key        who signs lock certificates
trust/images/*.pem            public keys of firmware images
trust/catalogue/1.root.json   the catalogue's first root metadata
trust/epoch.svc               the newest EPOCH statement, if one was ever received
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import ProtocolError, SignatureError
from protocol.objects import EpochStatement, IssuerCertificate
from protocol.sealed import Realm, Sealed, SubjectKey
from svcport.authorisation.files import not_set_up, read_sealed, read_small, remove, write_changed
from svcport.errors import RefusedError
from svcport.home import Home

REALM_NAMES: Final = {Realm.PRODUCTION: "production", Realm.TRAINING: "training"}
_REALMS: Final = {name: realm for realm, name in REALM_NAMES.items()}
NAME_LIMIT: Final = 80
"""Most characters of a vendor's name."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who issues here, and whether for real."""

    name: str
    realm: Realm

    @classmethod
    def load(cls, home: Home) -> Vendor:
        """Read `vendor.json`; RefusedError (`not-set-up`) if it is missing or damaged."""
        path = home.trust / "vendor.json"
        data = read_small(path)
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise not_set_up(f"{path} is no JSON: {error}") from error
        match content:
            case {"name": str(name), "realm": str(word)} if word in _REALMS:
                if 1 <= len(name) <= NAME_LIMIT and name.isprintable():
                    return cls(name, _REALMS[word])
        raise not_set_up(f"{path} does not state a name and a realm (production or training)")

    def build(self) -> bytes:
        """The content of `vendor.json`."""
        content = {"name": self.name, "realm": REALM_NAMES[self.realm]}
        return json.dumps(content, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Trust:
    """One vendor's public halves.

    Attributes:
        vendor: name and realm.
        roots: the fleet root key, and the next one where it is announced.
        manufacturer: signs lock certificates.
        image_keys: public keys of images, PEM; judged by whoever verifies images.
        catalogue_root: the catalogue's first root metadata; judged by the catalogue.
        epoch: the newest EPOCH statement, verified under a root; None before the first.
    """

    vendor: Vendor
    roots: tuple[SubjectKey, ...]
    manufacturer: SubjectKey
    image_keys: tuple[bytes, ...]
    catalogue_root: bytes
    epoch: Sealed | None = None

    @property
    def realm(self) -> Realm:
        """Real or training."""
        return self.vendor.realm

    @property
    def epoch_statement(self) -> EpochStatement | None:
        """What the newest EPOCH says."""
        return None if self.epoch is None else EpochStatement.read(self.epoch)

    @classmethod
    def load(cls, home: Home) -> Trust:
        """Read the trust of a home, or of a bundle laid out like one.

        Raises:
            RefusedError: a piece is missing, damaged or not signed as it must be (`not-set-up`).
            RecordsError: a file cannot be read (`storage`).
        """
        vendor, folder = Vendor.load(home), home.trust
        following = folder / "root-next.key"
        root_files = [folder / "root.key", *([following] if following.exists() else [])]
        trust = cls(
            vendor,
            tuple(_read_key(path) for path in root_files),
            _read_key(folder / "manufacturer.key"),
            tuple(read_small(path) for path in sorted(folder.glob("images/*.pem"))),
            read_small(folder / "catalogue" / "1.root.json"),
        )
        statement = folder / "epoch.svc"
        if not statement.exists():
            return trust
        sealed = read_sealed(statement)
        try:
            trust.read_epoch(sealed)
        except ProtocolError as error:
            raise not_set_up(f"{statement} cannot be believed: {error}") from error
        return dataclasses.replace(trust, epoch=sealed)

    def write(self, home: Home) -> None:
        """Write these files and drop image keys that are no longer trusted; RecordsError if not."""
        folder = home.trust
        write_changed(folder / "root.key", _key_bytes(self.roots[0]))
        following = folder / "root-next.key"
        for key in self.roots[1:2]:
            write_changed(following, _key_bytes(key))
        if len(self.roots) == 1:
            remove(following)
        write_changed(folder / "manufacturer.key", _key_bytes(self.manufacturer))
        self._write_image_keys(folder / "images")
        write_changed(folder / "catalogue" / "1.root.json", self.catalogue_root)
        self.write_epoch(home)
        write_changed(folder / "vendor.json", self.vendor.build())

    def write_epoch(self, home: Home) -> None:
        """Write the newest EPOCH alone, as it comes between two setups; RecordsError if not."""
        if self.epoch is not None:
            write_changed(home.trust / "epoch.svc", self.epoch.build())

    def _write_image_keys(self, folder: Path) -> None:
        wanted = {f"{hashlib.sha256(pem).hexdigest()[:16]}.pem": pem for pem in self.image_keys}
        for name, pem in wanted.items():
            write_changed(folder / name, pem)
        for path in folder.glob("*.pem"):
            if path.name not in wanted:
                remove(path)

    def read_issuer(self, sealed: Sealed) -> IssuerCertificate:
        """What an issuer certificate says, once a root of this vendor is seen to have signed it.

        Raises:
            SignatureError: of another realm, or not signed by a root.
            MalformedObjectError: no issuer certificate.
        """
        self._verify_by_root(sealed)
        return IssuerCertificate.read(sealed)

    def read_epoch(self, sealed: Sealed) -> EpochStatement:
        """What an EPOCH says, once a root is seen to have signed it; raises as `read_issuer`."""
        self._verify_by_root(sealed)
        return EpochStatement.read(sealed)

    def with_epoch(self, sealed: Sealed) -> Trust:
        """This trust with a newer EPOCH; an older one, or a lower epoch, changes nothing.

        Raises:
            SignatureError, MalformedObjectError: as `read_epoch`.
        """
        newer = supersedes(self.read_epoch(sealed), self.epoch_statement)
        return dataclasses.replace(self, epoch=sealed) if newer else self

    def _verify_by_root(self, sealed: Sealed) -> None:
        self.require_realm(sealed)
        for root in self.roots:
            if root.key_id == sealed.signer:
                sealed.verify(root)
                return
        known = ", ".join(root.key_id.hex() for root in self.roots)
        raise SignatureError(f"signed by key {sealed.signer.hex()}, the vendor's root is {known}")

    def require_realm(self, sealed: Sealed) -> None:
        """SignatureError unless the object is of this vendor's realm."""
        if sealed.realm is not self.realm:
            raise SignatureError(
                f"it is a {REALM_NAMES[sealed.realm]} object, "
                f"this vendor is {REALM_NAMES[self.realm]}"
            )


def supersedes(offered: EpochStatement, held: EpochStatement | None) -> bool:
    """Whether a statement may replace the one held: a higher number, and no lower epoch."""
    return held is None or (offered.number > held.number and offered.min_epoch >= held.min_epoch)


def find_vendor(home: Home) -> Vendor | None:
    """The vendor a home already belongs to; None if it states none that can be read."""
    with contextlib.suppress(RefusedError):
        return Vendor.load(home)
    return None


def find_trust(home: Home) -> Trust | None:
    """The trust of a home; None if it is missing or damaged, which `setup` cures."""
    with contextlib.suppress(RefusedError):
        return Trust.load(home)
    return None


def _read_key(path: Path) -> SubjectKey:
    text = read_small(path, 1024).strip()
    try:
        return SubjectKey(bytes.fromhex(text.decode("ascii")))
    except (ValueError, ProtocolError) as error:
        raise not_set_up(f"{path} is no subject key in hex: {error}") from error


def _key_bytes(key: SubjectKey) -> bytes:
    return key.raw.hex().encode("ascii") + b"\n"

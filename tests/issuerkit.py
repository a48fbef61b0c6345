"""A vendor made with `svcport issuer`, its people's keys, and a simulated lock of its factory."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fieldkit
from clirunner import Ran, svcport
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from fieldkit import Field
from locksim import Cable

from protocol.sealed import Realm, SubjectKey
from svcport.authorisation.issuer.authority import Authority
from svcport.authorisation.issuer.signing import make_lock_certificate
from svcport.authorisation.keys.keyfile import load_key_file, write_key_file
from svcport.authorisation.times import unix
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.lab.history import fresh_flash
from svcport.lab.releases import MODEL, make_releases
from svcport.lab.vendor import ImageKey
from svcport.simulator.board import Board
from svcport.simulator.factory import Factory
from svcport.simulator.flash import NorFlash
from svcport.simulator.provision import Condition

SERIAL = "SL2-000123"


@dataclass(frozen=True)
class Vendor:
    """A vendor's folder below `root`, and commands run as its people run them."""

    root: Path
    name: str = "V"

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def lab(self) -> LabFolder:
        """Whose images and catalogue this vendor has."""
        return fieldkit.lab("bad-update")

    def __call__(self, *words: str | Path) -> Ran:
        """Run a command at the vendor's computer."""
        return svcport("--home", self.root / "office", "--json", *words)

    def issuer(self, command: str, *words: str | Path, folder: str | None = None) -> Ran:
        directory = self.folder if folder is None else self.root / folder
        return self("issuer", command, directory, *words)

    def init(self, *words: str | Path, training: bool = True) -> Ran:
        image_key = self.root / "image-pub.pem"
        image_key.write_bytes(
            self._image_key()
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        usual: list[str | Path] = ["--image-key", image_key, "--catalogue", self.catalogue]
        return self.issuer("init", *usual, *(["--training"] if training else []), *words)

    @property
    def catalogue(self) -> Path:
        return self.lab.technician / "catalogue"

    def image(self, version: str) -> Path:
        return next(self.lab.images.glob(f"*-{version}*.bin"))

    def authority(self, folder: str | None = None) -> Authority:
        return Authority.load(self.folder if folder is None else self.root / folder)

    def person(self, name: str = "ada") -> Path:
        """A key that somebody made: the path of the public half; the key file lies beside it."""
        key = ed25519.Ed25519PrivateKey.generate()
        write_key_file(self.root / name, key)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        path = self.root / f"{name}.pub"
        path.write_bytes(public + f" {name}@büro\n".encode())
        return path

    def credential(self, *words: str | Path, output: str = "bundle") -> Ran:
        out = ("--catalogue", self.catalogue, "-o", self.root / output)
        return self.issuer("credential", *words, *out)

    def ticket(self, *words: str | Path, output: str = "t.svc", lock: str = SERIAL) -> Ran:
        return self.issuer("ticket", "--lock", lock, *words, "-o", self.root / output)

    def field(self, *setup: str | Path, bundle: str = "bundle") -> Field:
        """A technician who has set up a home from a bundle, with this vendor's lock at P0."""
        home = self.root / f"home-{bundle}"
        ran = svcport("--home", home, "setup", "--from", self.root / bundle, *setup, "--json")
        assert ran.code == 0, ran.out
        return Field(self.lab, Home(home), {"P0": self.cable()}, now=datetime.now(UTC))

    def cable(self) -> Cable:
        """A lock of this vendor's factory that runs a bad update."""
        factory = self.factory()
        releases = make_releases("tests", ImageKey(self._image_key()))
        now = unix(datetime.now(UTC))
        flash = NorFlash(bytearray(fresh_flash(factory, Condition.BAD_UPDATE, releases, now)))
        board = Board(factory, flash, entropy=random.Random(5).randbytes, now=0.0)
        cable = Cable("P0", board)
        board.poll(cable.clock.now())
        return cable

    def factory(self) -> Factory:
        authority = self.authority()
        identity = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
        static = x25519.X25519PrivateKey.from_private_bytes(bytes([4]) * 32)
        certificate = make_lock_certificate(
            load_key_file(self.folder / "keys" / "manufacturer.key", None),
            Realm.TRAINING,
            subject=SubjectKey.of(identity.public_key()),
            serial=SERIAL,
            x25519=static.public_key().public_bytes_raw(),
            certificate_serial=bytes(8),
        )
        return Factory(
            serial=SERIAL,
            model=MODEL,
            hardware="B",
            batch="2026-31",
            realm=Realm.TRAINING,
            certificate=certificate.build(),
            identity_seed=identity.private_bytes_raw(),
            x25519_private=static.private_bytes_raw(),
            root_keys=authority.trust.roots,
            image_keys=authority.trust.image_keys,
            counter_issuer=authority.issuer.subject.key_id,
        )

    def _image_key(self) -> Any:
        return load_pem_private_key((self.lab.vendor / "image.pem").read_bytes(), None)


def refused(ran: Ran) -> tuple[int, str, str]:
    """Exit code, reason and every message of a refusal."""
    report = ran.report
    messages = [one["message"] for one in report.get("refusals", [report])]
    return ran.code, report["reason"], "; ".join(messages)

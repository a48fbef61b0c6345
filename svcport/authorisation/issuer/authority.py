"""An issuer's folder: the keys it signs with, its certificate, and what it has issued.

authority.json   {"keys": {"root": "keys/root.key", "issuer": "pkcs11:...", ...}}
keys/            private keys as OpenSSH key files; a key on a token has only its reference above
issuer.svc       the issuer's certificate, signed by the fleet root
trust/           the vendor's public halves, as `setup --from` takes them
issued.db        the issuance log, with every counter that was given out

A vendor's folder has all keys; a depot's has the issuer key only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.errors import ProtocolError
from protocol.objects import IssuerCertificate
from protocol.sealed import Realm, Sealed, Signer, SubjectKey
from svcport.authorisation.files import read_sealed, read_small
from svcport.authorisation.issuer.issuance import IssuanceLog
from svcport.authorisation.keys.keyfile import KDF_ROUNDS, KeyFileSigner, key_file_bytes
from svcport.authorisation.keys.references import KeyFile, parse_reference
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, RefusedError
from svcport.home import Home, storage_error, write_whole

ROOT: Final = "root"
ROOT_NEXT: Final = "root-next"
MANUFACTURER: Final = "manufacturer"
ISSUER: Final = "issuer"
KEYS: Final = (ROOT, ROOT_NEXT, MANUFACTURER, ISSUER)
"""The keys of a vendor, by the names that its folder has them under."""

_RECORD: Final = "authority.json"
_CERTIFICATE: Final = "issuer.svc"
_INIT_HINT: Final = "make one with 'svcport issuer init DIR'"

Opener = Callable[[str], Signer]
"""Opens the signer that a reference names; asks for passphrase or PIN where one is needed."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key for a new folder: a signer, where it is, and the key file if it is to be written."""

    signer: Signer
    reference: str
    file: bytes | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """One issuer's folder, read and believed.

    Attributes:
        folder: where it is; it is laid out like a home as far as `trust` goes.
        trust: the vendor's public halves; the newest EPOCH among them.
        keys: for each key of the folder, the reference that opens it.
        sealed: the issuer's certificate, and what it says.
    """

    folder: Path
    trust: Trust
    keys: Mapping[str, str]
    sealed: Sealed
    issuer: IssuerCertificate

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder.

        Raises:
            RefusedError: it is none, or a piece is missing or not to be believed (`not-set-up`).
            RecordsError: a file cannot be read (`storage`).
        """
        if not (folder / _RECORD).is_file():
            raise _no_authority(f"{folder} is no issuer's folder: it has no {_RECORD}")
        keys = _read_keys(folder / _RECORD)
        try:
            trust = Trust.load(Home(folder))
            sealed = read_sealed(folder / _CERTIFICATE)
            issuer = trust.read_issuer(sealed)
        except RefusedError as error:
            raise _no_authority(error.message) from error
        except ProtocolError as error:
            raise _no_authority(
                f"the certificate {folder / _CERTIFICATE} cannot be believed: {error}"
            ) from error
        return cls(folder, trust, keys, sealed, issuer)

    @property
    def realm(self) -> Realm:
        """Real or training."""
        return self.trust.realm

    @property
    def epoch(self) -> int:
        """The epoch of what is issued now: no lower than the vendor accepts."""
        statement = self.trust.epoch_statement
        return max(self.issuer.epoch, 0 if statement is None else statement.min_epoch)

    @property
    def epoch_file(self) -> Path:
        """The newest EPOCH statement of the folder."""
        return Home(self.folder).trust / "epoch.svc"

    def log(self, marks: Path | None = None) -> IssuanceLog:
        """The issuance log; `marks` is a folder outside this one that remembers its head."""
        key_id = self.issuer.subject.key_id.hex()
        return _log(self.folder, None if marks is None else marks / f"{key_id}.json")

    def issuer_signer(self, opener: Opener, reference: str | None = None) -> Signer:
        """The issuer's key; raises as `root_signer`."""
        what = "not the issuer's, the certificate names"
        return self._signer(ISSUER, opener, reference, (self.issuer.subject,), what)

    def manufacturer_signer(self, opener: Opener, reference: str | None = None) -> Signer:
        """The manufacturer's key; raises as `root_signer`."""
        what = "not the manufacturer's, homes believe locks of key"
        return self._signer(MANUFACTURER, opener, reference, (self.trust.manufacturer,), what)

    def root_signer(self, opener: Opener, reference: str | None = None) -> Signer:
        """The fleet root's key.

        Raises:
            RefusedError: it cannot be opened (`signer-locked`), the folder has none (`not-set-up`),
                or it is no root of this vendor (`no-permit`).
        """
        what = "no root of this vendor, only the root signs issuers and epochs:"
        return self._signer(ROOT, opener, reference, self.trust.roots, what)

    def _signer(
        self,
        name: str,
        opener: Opener,
        reference: str | None,
        known: tuple[SubjectKey, ...],
        what: str,
    ) -> Signer:
        signer = opener(self._reference(name, reference))
        if signer.subject not in known:
            wanted = ", ".join(key.key_id.hex() for key in known)
            raise RefusedError(
                Reason.NO_PERMIT,
                f"key {signer.subject.key_id.hex()} is {what} {wanted}",
                hint=f"give the {name}'s own key with --{name}-key",
            )
        return signer

    def _reference(self, name: str, given: str | None) -> str:
        if given is not None:
            return given
        if name not in self.keys:
            raise RefusedError(
                Reason.NOT_SET_UP,
                f"{self.folder} has no {name} key",
                hint=f"give it with --{name}-key: a key file, or a token's key as pkcs11:...",
            )
        reference = self.keys[name]
        where = parse_reference(reference)
        return str(self.folder / where.path) if isinstance(where, KeyFile) else reference


def make_key(name: str, passphrase: bytes, *, rounds: int = KDF_ROUNDS) -> NewKey:
    """A fresh Ed25519 key for a key file; an empty passphrase (training only) locks nothing."""
    key = Ed25519PrivateKey.generate()
    data = key_file_bytes(key, passphrase, rounds=rounds)
    return NewKey(KeyFileSigner.of(key), f"keys/{name}.key", data)


def write_authority(
    folder: Path, trust: Trust, certificate: Sealed, keys: Mapping[str, NewKey]
) -> Authority:
    """Make a folder; its record is written last, so that a half-made one says that it is none.

    Raises:
        RefusedError: the folder has something in it (`usage`).
        RecordsError: it cannot be written (`storage`).
    """
    claim_folder(folder)
    for key in keys.values():
        if key.file is not None:
            write_whole(folder / key.reference, key.file, private=True)
    trust.write(Home(folder))
    write_whole(folder / _CERTIFICATE, certificate.build())
    _log(folder, None).create()
    content = {"keys": {name: key.reference for name, key in keys.items()}}
    write_whole(folder / _RECORD, json.dumps(content, sort_keys=True, indent=1).encode() + b"\n")
    return Authority.load(folder)


def renew_certificate(authority: Authority, certificate: Sealed) -> Authority:
    """Put a new certificate of the same issuer key in the folder; RecordsError if that fails."""
    write_whole(authority.folder / _CERTIFICATE, certificate.build())
    return Authority.load(authority.folder)


def claim_folder(folder: Path) -> None:
    """Make a folder for its owner only; raises as `refuse_occupied`."""
    refuse_occupied(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def refuse_occupied(folder: Path) -> None:
    """Refuse to write over what is there already.

    Raises:
        RefusedError: a file, or a folder with something in it (`usage`).
        RecordsError: it cannot be looked into (`storage`).
    """
    hint = "give a new folder; nothing was touched"
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise RefusedError(Reason.USAGE, f"{folder} is a file, wanted a new folder", hint=hint)
        if any(folder.iterdir()):
            raise RefusedError(
                Reason.USAGE, f"{folder} has something in it, wanted an empty folder", hint=hint
            )
    except OSError as error:
        raise storage_error(folder, error) from error


def _log(folder: Path, mark: Path | None) -> IssuanceLog:
    return IssuanceLog(folder / "issued.db", mark)


def _read_keys(path: Path) -> dict[str, str]:
    try:
        content = json.loads(read_small(path))
    except (ValueError, RecursionError) as error:
        raise _no_authority(f"{path} is no JSON: {error}") from error
    match content:
        case {"keys": dict(keys)} if all(isinstance(value, str) for value in keys.values()):
            return keys
    raise _no_authority(f"{path} does not name its keys")


def _no_authority(message: str) -> RefusedError:
    return RefusedError(Reason.NOT_SET_UP, message, hint=_INIT_HINT)

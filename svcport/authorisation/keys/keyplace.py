"""Where a home's technician key is: in a file of the home, or where a stored reference says.

A bundle's key is a file or nothing: a reference names a driver to load, so only the operator of
this computer may give one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import ProtocolError
from protocol.sealed import Signer, SubjectKey
from svcport.authorisation.files import not_set_up, read_small, remove, write_changed
from svcport.authorisation.keys.keyfile import inspect_key
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.keys.references import KeyFile, KeyReference, parse_reference
from svcport.authorisation.keys.signers import open_signer, self_check
from svcport.errors import RefusedError
from svcport.home import Home

KEY_FILE: Final = "technician.key"
REFERENCE_FILE: Final = "technician.keyref"

_FIRST_LINE: Final = "svcport-key-reference/1"


@dataclass(frozen=True, slots=True)
class StoredReference:
    """A reference, and the public half of the key that was found there."""

    reference: KeyReference
    subject: SubjectKey

    @classmethod
    def parse(cls, data: bytes) -> StoredReference:
        """Read one; ValueError, ProtocolError or RefusedError if `build` would not write it."""
        first, reference, subject, end = data.decode("utf-8").split("\n")
        found = cls(parse_reference(reference), SubjectKey(bytes.fromhex(subject)))
        if first != _FIRST_LINE or end or found.build() != data:
            raise ValueError("it is not written as svcport writes it")
        return found

    def build(self) -> bytes:
        """Three lines: what this is, the reference, the subject key in hex."""
        lines = (_FIRST_LINE, str(self.reference), self.subject.raw.hex(), "")
        return "\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is, and what it is shown to be: nothing protects that."""

    reference: KeyReference
    shown: SubjectKey

    def require(self, subject: SubjectKey) -> None:
        """RefusedError (`not-set-up`) unless it shows the key that the certificate names."""
        _require(str(self.reference), self.shown, subject)

    def open(self, subject: SubjectKey, secret: Secret | None) -> Signer:
        """Open the key, if it shows and is the one that the certificate names.

        Raises:
            RefusedError: it is another (`not-set-up`), and as `open_signer`.
            RecordsError: a key file cannot be read (`storage`).
        """
        self.require(subject)
        signer = open_signer(self.reference, secret)
        _require(str(self.reference), signer.subject, subject)
        return signer


def find_key(home: Home, subject: SubjectKey) -> KeyPlace:
    """The reference if it is for the key `subject`, else the key file of a home or bundle.

    A setup that was broken off may leave both.

    Raises:
        RefusedError: neither is there, or one is damaged (`not-set-up`).
        RecordsError: one cannot be read (`storage`).
    """
    stored = _stored(home.credential / REFERENCE_FILE)
    if stored is not None and stored.subject == subject:
        return KeyPlace(stored.reference, stored.subject)
    path = home.credential / KEY_FILE
    if stored is not None and not path.exists():
        return KeyPlace(stored.reference, stored.subject)
    return KeyPlace(KeyFile(path), inspect_key(read_small(path), str(path)).subject)


def try_key(reference: KeyReference, subject: SubjectKey, secret: Secret | None) -> StoredReference:
    """Open a key where it is, sign with it once, and make what the home will keep of it.

    Raises:
        RefusedError: it is not the key `subject` (`not-set-up`), and as `open_signer`.
        RecordsError: a key file cannot be read (`storage`).
        FailedError: it does not sign (`signer-locked`).
    """
    if isinstance(reference, KeyFile):
        reference = KeyFile(Path(reference.path).absolute())
    signer = open_signer(reference, secret)
    _require(str(reference), signer.subject, subject)
    self_check(signer)
    return StoredReference(reference, subject)


def store_key(home: Home, key: bytes | StoredReference) -> None:
    """Keep a key file's content, or where the key is, in place of what a home has.

    RecordsError (`storage`) if the disk fails.
    """
    path, reference = home.credential / KEY_FILE, home.credential / REFERENCE_FILE
    if isinstance(key, bytes):
        write_changed(path, key, private=True)
        remove(reference)
    else:
        write_changed(reference, key.build())
        remove(path)


def _stored(path: Path) -> StoredReference | None:
    if not path.exists():
        return None
    data = read_small(path)
    try:
        return StoredReference.parse(data)
    except (ValueError, ProtocolError, RefusedError) as error:
        raise not_set_up(f"{path} is damaged: {error}") from error


def _require(place: str, shown: SubjectKey, named: SubjectKey) -> None:
    if shown != named:
        raise not_set_up(
            f"{place} holds key {shown.key_id.hex()}, the certificate names {named.key_id.hex()}"
        )

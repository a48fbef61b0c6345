"""The station's own key and the name of its log: made once, on the first write, and never again.

The key file exists exactly when the log does; a crash between the two is finished at the next open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.sealed import Realm, SubjectKey
from svcport.audit.note import StationKey
from svcport.audit.store import damaged
from svcport.errors import RecordsError
from svcport.home import read_file, storage_error, write_whole

KEY_NAME: Final = "station.pem"
PENDING_NAME: Final = "station.pem.new"

_PREFIX: Final = "svcport.station/"
_TRAINING: Final = "training."


def origin_of(realm: Realm, subject: SubjectKey) -> str:
    """The log's name: `svcport.station/` and the key id, behind `training.` in training."""
    name = _PREFIX + subject.key_id.hex()
    return _TRAINING + name if realm is Realm.TRAINING else name


def make_pending_key(folder: Path) -> StationKey:
    """A new key in a file that does not count until `settle_key`; durable."""
    key = StationKey(Ed25519PrivateKey.generate())
    pem = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),  # the station signs unattended; the file is the owner's only
    )
    write_whole(folder / PENDING_NAME, pem, private=True)
    return key


def settle_key(folder: Path) -> None:
    """Give the pending key its name; another process may have done so already."""
    try:
        (folder / PENDING_NAME).replace(folder / KEY_NAME)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(folder / KEY_NAME, error) from error


def known_subject(folder: Path) -> SubjectKey | None:
    """The public half of the folder's key, pending or not; None if there is none.

    Raises:
        RecordsError: the file holds no such key (`ledger-damaged`), or cannot be read.
    """
    for path in (folder / KEY_NAME, folder / PENDING_NAME):
        if path.exists():
            return _parse(path, read_file(path)).subject
    return None


def load_key(folder: Path, subject: SubjectKey) -> StationKey:
    """The key that owns the log; RecordsError (`ledger-damaged`) if it is missing or another."""
    if not (folder / KEY_NAME).exists():
        settle_key(folder)
    path = folder / KEY_NAME
    if not path.exists():
        raise damaged(f"{path}: the station key is missing")
    key = _parse(path, read_file(path))
    if key.subject != subject:
        raise damaged(f"{path}: key {key.subject.key_id.hex()}, wanted {subject.key_id.hex()}")
    return key


def _parse(path: Path, data: bytes) -> StationKey:
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unreadable(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _unreadable(path)
    return StationKey(private)


def _unreadable(path: Path) -> RecordsError:
    return damaged(f"{path}: not an Ed25519 private key in PEM")

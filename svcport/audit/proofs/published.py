"""An exported log, this station's or another's: files that anybody may have changed since.

Reading judges form only: whether hashes, signatures and the tree hold, its callers find out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from protocol.errors import MalformedObjectError
from protocol.sealed import Realm, Sealed
from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError, VerifierKey
from svcport.audit.proofs.tiles import (
    CERTIFICATES_NAME,
    CHECKPOINT_NAME,
    VKEY_NAME,
    Tile,
    number_of,
    parse_bundle,
    parse_tile,
    tile_node_reader,
)
from svcport.audit.station import origin_of
from svcport.errors import FailedError, Reason

FILE_LIMIT: Final = 1 << 20
"""Most bytes of any file of an export; a full bundle of the largest entries has a quarter."""

_TILES_KEPT: Final = 64


class PublishedLog:
    """One export folder whose checkpoint verifies under the key that its origin names."""

    def __init__(self, folder: Path, key: VerifierKey, note: bytes) -> None:
        self.folder = folder
        self.key = key
        self.note = note
        self.checkpoint = Checkpoint.open(note, key)
        self.realm = realm_of(key)
        self._kept = functools.lru_cache(maxsize=_TILES_KEPT)(self._read_tile)

    @classmethod
    def open(cls, folder: Path) -> PublishedLog:
        """The log in `folder`.

        Raises:
            NoteError: key or checkpoint are missing, malformed, forged or not a station's.
            FailedError: the disk fails (reason `storage`).
        """
        key = read_vkey(folder / VKEY_NAME)
        note = read_part(folder / CHECKPOINT_NAME)
        return cls(folder, key, note)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.checkpoint.origin

    @property
    def size(self) -> int:
        """Entries that the checkpoint covers."""
        return self.checkpoint.size

    def tile(self, tile: Tile) -> list[bytes]:
        """The hashes of a tile; NoteError if it is missing or has another length."""
        return self._kept(tile)

    def _read_tile(self, tile: Tile) -> list[bytes]:
        return parse_tile(tile, read_part(self.folder / tile.path))

    def bundle(self, tile: Tile) -> list[bytes]:
        """The entries under a tile of level 0, however many stand there; NoteError."""
        return parse_bundle(read_part(self.folder / tile.bundle_path))

    def last_number(self, kind: str) -> int:
        """The number of the last tile that has a file under `tile/<kind>`; -1 if none has."""
        folder = self.folder / "tile" / kind
        names = (path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file())
        found = (number_of(parts) for parts in names)
        return max((number for number in found if number is not None), default=-1)

    @property
    def node_reader(self) -> merkle.ReadNode:
        """Reads subtrees out of the tiles; NoteError for a tile that cannot be read."""
        return tile_node_reader(self.size, self.tile)

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries as the tiles have it; NoteError."""
        return merkle.root(size, self.node_reader)

    def certificates(self) -> Iterator[tuple[str, Sealed | None]]:
        """Each certificate file's name and what it holds, None if that does not parse."""
        folder = self.folder / CERTIFICATES_NAME
        for path in sorted(folder.glob("*.svc")) if folder.is_dir() else ():
            try:
                yield path.name, Sealed.parse(read_part(path))
            except (MalformedObjectError, NoteError):
                yield path.name, None


def realm_of(key: VerifierKey) -> Realm:
    """The realm of a station's log; NoteError unless the log's name is the one of its key."""
    for realm in Realm:
        if key.name == origin_of(realm, key.subject):
            return realm
    wanted = origin_of(Realm.PRODUCTION, key.subject)
    raise NoteError(f"the log {key.name} is not named after its key, wanted {wanted}")


def read_vkey(path: Path) -> VerifierKey:
    """A station's key in a file of one line; NoteError."""
    data = read_part(path)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise NoteError(f"{path} is not a key") from error
    key = VerifierKey.parse(text.removesuffix("\n"))
    realm_of(key)
    return key


def read_part(path: Path) -> bytes:
    """A file of an export.

    Raises:
        NoteError: it is missing, no file, or too large.
        FailedError: the disk fails (reason `storage`).
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoteError(f"{path} is missing") from error
    except OSError as error:
        raise FailedError(Reason.STORAGE, f"{path}: {error.strerror or error}") from error
    if len(data) > FILE_LIMIT:
        raise NoteError(f"{path} has more than {FILE_LIMIT} bytes")
    return data

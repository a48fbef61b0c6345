"""Writing a sound ledger where others can check it: checkpoint, tiles, entries, certificates.

The layout is that of C2SP tlog-tiles. Tiles come first and the checkpoint last, so that a folder
whose export was cut short still is the export that it was before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError
from svcport.audit.proofs.published import PublishedLog, read_part
from svcport.audit.proofs.tiles import (
    CERTIFICATES_NAME,
    CHECKPOINT_NAME,
    VKEY_NAME,
    Tile,
    build_bundle,
    build_tile,
    levels,
    tile_root,
    tiles,
)
from svcport.audit.rows import iterate, node_reader
from svcport.audit.store import damaged
from svcport.audit.tables import CERTIFICATES
from svcport.audit.view import LedgerView
from svcport.errors import FailedError, Reason, RecordsError, RefusedError
from svcport.home import write_whole


@dataclass(frozen=True, slots=True)
class Export:
    """What an export folder holds now.

    Attributes:
        before: entries that an older export in the folder had.
        entries: entries now; `root` is over all of them.
        files: files written this time.
    """

    folder: Path
    before: int
    entries: int
    root: bytes
    files: int


def export_log(view: LedgerView, out_dir: Path) -> Export:
    """Write the log up to its last checkpoint into `out_dir`, or bring that folder up to date.

    Raises:
        RefusedError: `out_dir` holds another log, or something else (reason `usage`); or nothing
            was signed yet (`not-set-up`).
        RecordsError: the ledger is not what was signed (`ledger-damaged`), or `out_dir` holds a
            later state of it (`ledger-fork`); the checkpoint in `out_dir` stays as it was then.
        FailedError: `out_dir` cannot be written (`storage`).
    """
    note = view.last_checkpoint()
    if note is None:
        raise RefusedError(
            Reason.NOT_SET_UP, "nothing was signed yet: the ledger has no checkpoint"
        )
    try:
        checkpoint = Checkpoint.open(note, view.verifier)
    except NoteError as error:
        raise damaged(f"the last checkpoint does not verify: {error}") from error
    run = _Export(view, out_dir, note, checkpoint, _older(view, out_dir, checkpoint))
    run.write_tiles()
    run.write_certificates()
    run.check_root()
    run.put(VKEY_NAME, f"{view.vkey}\n".encode())
    run.put(CHECKPOINT_NAME, note)
    run.remove_partials()
    return Export(out_dir, run.before, checkpoint.size, checkpoint.root, run.files)


def _older(view: LedgerView, out_dir: Path, now: Checkpoint) -> Checkpoint | None:
    """The checkpoint of the export that is there already, None for a folder not used yet."""
    try:
        used = out_dir.exists() and any(out_dir.iterdir())
    except OSError as error:
        raise FailedError(Reason.STORAGE, f"{out_dir}: {error.strerror or error}") from error
    if not used:
        return None
    try:
        # A first export that was cut short leaves tiles and no checkpoint.
        if not (out_dir / CHECKPOINT_NAME).exists() and _only_tiles(out_dir):
            return None
        before = Checkpoint.open(read_part(out_dir / CHECKPOINT_NAME), view.verifier)
    except NoteError as error:
        raise RefusedError(
            Reason.USAGE,
            f"{out_dir} is no export of {view.origin}: {error}",
            hint="choose a new folder, or the one of this ledger's last export",
        ) from error
    check_extends(view, before, now, f"the checkpoint in {out_dir}")
    return before


def _only_tiles(out_dir: Path) -> bool:
    return {path.name for path in out_dir.iterdir()} <= {"tile", CERTIFICATES_NAME, VKEY_NAME}


def check_extends(view: LedgerView, old: Checkpoint, now: Checkpoint, name: str) -> None:
    """Raise RecordsError (`ledger-fork`) unless the ledger begins with what `old` signed."""
    if old.size > now.size:
        what = f"{name} covers {old.size} entries, this ledger has {now.size}"
    else:
        with view.store.read() as connection:
            root = merkle.root(old.size, node_reader(connection, view.origin))
        if root == old.root:
            return
        what = f"{name} has another root at {old.size} entries than this ledger"
    raise RecordsError(
        Reason.LEDGER_FORK,
        what,
        hint="this ledger was put back from an old copy, or rewritten: stop using it, keep both",
    )


class _Export:
    """One run into one folder."""

    def __init__(
        self,
        view: LedgerView,
        out_dir: Path,
        note: bytes,
        now: Checkpoint,
        older: Checkpoint | None,
    ) -> None:
        self.view = view
        self.out_dir = out_dir
        self.note = note
        self.now = now
        self.before = 0 if older is None else older.size
        self.files = 0

    def put(self, name: str | Path, data: bytes) -> None:
        """Write one file whole."""
        try:
            write_whole(self.out_dir / name, data)
        except RecordsError as error:  # the disk of the export, not the ledger's
            raise FailedError(error.reason, error.message, hint="choose another place") from error
        self.files += 1

    def _lacking(self, level: int) -> Iterator[Tile]:
        """The tiles that the folder lacks: what was full before never changes."""
        for tile in tiles(self.now.size, level):
            full_before = tile.first + tile.width <= self.before >> 8 * level
            there = (self.out_dir / tile.path).is_file()
            if level == 0:
                there = there and (self.out_dir / tile.bundle_path).is_file()
            if not (full_before and tile.is_full and there):
                yield tile

    def write_tiles(self) -> None:
        """Every tile and bundle that the folder lacks."""
        for tile in self._lacking(0):
            leaves, entries = self._leaves(tile)
            self._write_tile(tile, leaves)
            self.put(Path(tile.bundle_path), build_bundle(entries))
        for level in range(1, levels(self.now.size)):
            for tile in self._lacking(level):
                with self.view.store.read() as connection:
                    read = node_reader(connection, self.view.origin)
                    hashes = [read(tile.node(at)) for at in range(tile.width)]
                self._write_tile(tile, hashes)

    def _leaves(self, tile: Tile) -> tuple[list[bytes], list[bytes]]:
        leaves: list[bytes] = []
        entries: list[bytes] = []
        stop = tile.first + tile.width
        for stored in iterate(self.view.store, self.view.origin, tile.first, stop):
            leaves.append(stored.leaf_hash)
            entries.append(stored.data)
        return leaves, entries

    def _write_tile(self, tile: Tile, hashes: list[bytes]) -> None:
        if tile.is_full:
            with self.view.store.read() as connection:
                above = node_reader(connection, self.view.origin)(tile.parent())
            if tile_root(hashes) != above:
                raise damaged(f"the stored tree is not that of {tile.path}")
        self.put(Path(tile.path), build_tile(hashes))

    def write_certificates(self) -> None:
        """What the entries are checked with; certificates never change."""
        with self.view.store.read() as connection:
            names = _certificate_names(connection)
        for sha256 in names:
            path = Path(CERTIFICATES_NAME) / f"{sha256.hex()}.svc"
            if (self.out_dir / path).is_file():
                continue
            with self.view.store.read() as connection:
                query = select(CERTIFICATES.c.data).where(CERTIFICATES.c.sha256 == sha256)
                data: object = connection.execute(query).scalar()
            if isinstance(data, bytes):
                self.put(path, data)

    def check_root(self) -> None:
        """The files give the root that was signed, or this is no export."""
        log = PublishedLog(self.out_dir, self.view.verifier, self.note)
        try:
            found = log.root(self.now.size)
        except NoteError as error:
            raise FailedError(Reason.STORAGE, f"what was written is not there: {error}") from error
        if found != self.now.root:
            raise damaged(f"the tree of {self.now.size} entries is not the one signed")

    def remove_partials(self) -> None:
        """The partial tiles of the older export, which the checkpoint no longer needs."""
        for level in range(levels(self.before)):
            for tile in tiles(self.before, level, self.before >> 8 * (level + 1)):
                grown = self.now.size >> 8 * level != self.before >> 8 * level
                if grown and not tile.is_full:
                    self._remove(self.out_dir / tile.path)
                    if level == 0:
                        self._remove(self.out_dir / tile.bundle_path)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FailedError(Reason.STORAGE, f"{path}: {error.strerror or error}") from error


def _certificate_names(connection: Connection) -> list[bytes]:
    found = connection.execute(select(CERTIFICATES.c.sha256).order_by(CERTIFICATES.c.sha256))
    return [sha256 for sha256 in found.scalars() if isinstance(sha256, bytes)]

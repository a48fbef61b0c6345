"""Reading one exported log for a cross-check: its entries, its tree, and what is wrong with either.

A bundle of entries is in memory at a time. Only entries that verify are taken in.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from protocol.errors import MalformedObjectError, SignatureError
from protocol.sealed import Sealed
from svcport.audit import merkle
from svcport.audit.certificates import CertificateError, Keyring, remember
from svcport.audit.checking import check_signature, check_statement
from svcport.audit.crosscheck.holes import Hole, HoleCode
from svcport.audit.crosscheck.index import Batch, CrossIndex
from svcport.audit.entries import LedgerEntry, MalformedReceiptError, read_entry
from svcport.audit.note import NoteError
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import Tile, tile_root, tiles


def gather_certificates(log: PublishedLog, index: CrossIndex) -> Iterator[Hole]:
    """Take in the certificates of an export."""
    wrong: list[str] = []
    with index.store.write() as connection:
        for name, sealed in log.certificates():
            if sealed is None or f"{sealed.digest.hex()}.svc" != name:
                wrong.append(name)
                continue
            try:
                remember(connection, sealed)
            except (MalformedObjectError, ValueError):
                wrong.append(name)
    for name in wrong:
        message = f"certificate file {name} is not what it was"
        yield Hole(HoleCode.CERTIFICATE, message, log.origin)


class Gathering:
    """One pass over one export.

    Args:
        log: the export.
        index: where what its entries say goes.
        keyring: finds who should have signed.
        sizes: at which sizes the root of the log is wanted.
    """

    def __init__(
        self, log: PublishedLog, index: CrossIndex, keyring: Keyring, sizes: Iterable[int]
    ) -> None:
        self.log = log
        self.roots: dict[int, bytes] = {}
        self.entries = 0
        self._index = index
        self._keyring = keyring
        self._sizes = frozenset(sizes)
        self._stack: list[bytes] = []
        self._size = 0
        self._whole = True
        self._last_bundle = -1

    def run(self) -> Iterator[Hole]:
        """Every entry once, in order; `roots` and `entries` are set afterwards.

        The pass ends one tile behind the last file: a checkpoint may state any size.
        """
        self._note_root()
        self._last_bundle = self.log.last_number("entries")
        end = max(self._last_bundle, self.log.last_number("0")) + 1
        for tile in tiles(self.log.size, 0):
            if tile.number > end:
                self._whole = False
                break
            batch = Batch()
            leaves = yield from self._leaves(tile)
            data = yield from self._bundle(tile)
            if data is not None:
                yield from self._entries(tile, leaves, data, batch)
                leaves = leaves or [merkle.leaf_hash(one) for one in data]
            self._grow(tile, leaves)
            self._index.add(batch)
        if self._whole and merkle.fold(self._stack) != self.log.checkpoint.root:
            message = f"its {self.log.size} entries have another root than the one signed"
            yield self._hole(HoleCode.TREE, None, message)

    def _hole(self, code: HoleCode, index: int | None, message: str) -> Hole:
        return Hole(code, message, self.log.origin, index)

    def _grow(self, tile: Tile, leaves: list[bytes] | None) -> None:
        if leaves is None or len(leaves) != tile.width:
            self._whole = False
        if leaves is None or not self._whole:
            return
        for value in leaves:
            top = value
            for _ in merkle.completed_by(self._size):
                top = merkle.node_hash(self._stack.pop(), top)
            self._stack.append(top)
            self._size += 1
            self._note_root()

    def _note_root(self) -> None:
        if self._size in self._sizes:
            self.roots[self._size] = merkle.fold(self._stack)

    def _leaves(self, tile: Tile) -> Generator[Hole, None, list[bytes] | None]:
        """The leaf hashes as the tile has them, None if it cannot be read."""
        try:
            leaves = self.log.tile(tile)
            above = self.log.node_reader(tile.parent()) if tile.is_full else None
        except NoteError as error:
            yield self._hole(HoleCode.TREE, tile.first, str(error))
            return None
        if above is not None and above != tile_root(leaves):
            message = f"this or one of the next {tile.width - 1} was changed, and its tile with it"
            yield self._hole(HoleCode.REWRITTEN_ENTRY, tile.first, message)
        return leaves

    def _bundle(self, tile: Tile) -> Generator[Hole, None, list[bytes] | None]:
        """The entries as the bundle has them, None if it cannot be read."""
        try:
            return self.log.bundle(tile)
        except NoteError as error:
            there = tile.number < self._last_bundle
            code = HoleCode.DROPPED_ENTRY if there else HoleCode.TRUNCATED_TAIL
            yield self._hole(code, tile.first, str(error))
            return None

    def _entries(
        self, tile: Tile, leaves: list[bytes] | None, data: list[bytes], batch: Batch
    ) -> Iterator[Hole]:
        yield from self._compare(tile, leaves, data)
        places = {} if leaves is None else {leaf: at for at, leaf in enumerate(leaves)}
        for at, one in enumerate(data):
            place = at if leaves is None else places.get(merkle.leaf_hash(one))
            if place is not None:
                self.entries += 1
                yield from self._entry(tile.first + place, one, batch)

    def _compare(self, tile: Tile, leaves: list[bytes] | None, data: list[bytes]) -> Iterator[Hole]:
        """Which entries are not those whose hashes the tile has."""
        hashes = [merkle.leaf_hash(one) for one in data]
        if leaves is None or hashes == leaves:
            if len(data) != tile.width:
                message = f"{len(data)} entries stand where {tile.width} must"
                yield self._hole(HoleCode.DROPPED_ENTRY, tile.first, message)
            return
        last = tile.first + tile.width == self.log.size
        if last and hashes == leaves[: len(hashes)]:
            first = tile.first + len(hashes)
            message = f"it and all up to entry {self.log.size - 1} are cut off"
            yield self._hole(HoleCode.TRUNCATED_TAIL, first, message)
            return
        yield from self._changed(tile, leaves, hashes)

    def _changed(self, tile: Tile, leaves: list[bytes], hashes: list[bytes]) -> Iterator[Hole]:
        short = len(hashes) < len(leaves)
        code = HoleCode.DROPPED_ENTRY if short else HoleCode.REWRITTEN_ENTRY
        message = "the signed tree has it" if short else "it is not the one in the signed tree"
        found = frozenset(hashes)
        changed = [at for at, leaf in enumerate(leaves) if leaf not in found]
        if not changed:  # all are there, in another order or twice
            changed = [next(at for at, one in enumerate(hashes) if one not in leaves[at : at + 1])]
        for at in changed:
            yield self._hole(code, tile.first + at, message)

    def _entry(self, index: int, data: bytes, batch: Batch) -> Iterator[Hole]:
        try:
            entry = read_entry(Sealed.parse(data), self.log.realm, self.log.origin)
        except MalformedReceiptError as error:
            yield self._hole(HoleCode.RECEIPT_INVALID, index, str(error))
            return
        except MalformedObjectError as error:
            yield self._hole(HoleCode.REWRITTEN_ENTRY, index, str(error))
            return
        wrong = self._signatures(index, entry)
        if wrong is None:
            batch.add(self.log.origin, index, entry)
        else:
            yield wrong

    def _signatures(self, index: int, entry: LedgerEntry) -> Hole | None:
        try:
            check_signature(entry, self.log.key.subject, self._keyring)
        except SignatureError as error:
            return self._hole(HoleCode.REWRITTEN_ENTRY, index, str(error))
        except CertificateError as error:
            return self._hole(HoleCode.CERTIFICATE, index, str(error))
        try:
            check_statement(entry, self._keyring)
        except SignatureError as error:
            return self._hole(HoleCode.RECEIPT_INVALID, index, str(error))
        except CertificateError as error:
            return self._hole(HoleCode.CERTIFICATE, index, str(error))
        return None

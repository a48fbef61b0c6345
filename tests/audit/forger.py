"""Changing exports: as somebody who holds the files, or as one who holds the station's key."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from protocol.objects import Entry, EntryKind, Receipt
from protocol.sealed import Sealed
from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import StationKey
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import Tile, build_bundle, build_tile, levels, tiles
from svcport.audit.station import load_key


def entries_of(export: Path) -> list[bytes]:
    log = PublishedLog.open(export)
    return [one for tile in tiles(log.size, 0) for one in log.bundle(tile)]


def bodies(entries: Sequence[bytes]) -> Iterator[tuple[int, Sealed, Entry]]:
    for index, data in enumerate(entries):
        sealed = Sealed.parse(data)
        yield index, sealed, Entry.read(sealed)


def receipt_of(body: Entry) -> Receipt | None:
    return None if body.receipt is None else Receipt.read(Sealed.parse(body.receipt))


def rewrite_bundle(export: Path, index: int, change: Callable[[list[bytes], int], None]) -> None:
    """Change one bundle's file and nothing else."""
    log = PublishedLog.open(export)
    tile = list(tiles(log.size, 0))[index // 256]
    bundle = log.bundle(tile)
    change(bundle, index % 256)
    (export / tile.bundle_path).write_bytes(build_bundle(bundle))


def sign_again(export: Path, station: Path, entries: Sequence[bytes]) -> None:
    """Make `export` an export of other entries, signed by the same station."""
    log = PublishedLog.open(export)
    key = load_key(station, log.key.subject)
    shutil.rmtree(export / "tile")
    write_log(export, key, log.origin, entries)


def write_log(export: Path, key: StationKey, origin: str, entries: Sequence[bytes]) -> None:
    nodes: dict[merkle.Node, bytes] = {}
    for index, data in enumerate(entries):
        leaf = merkle.leaf_hash(data)
        nodes[merkle.Node(0, index)] = leaf
        nodes.update(merkle.append(index, leaf, nodes.__getitem__))
    for level in range(levels(len(entries))):
        for tile in tiles(len(entries), level):
            _write(export, tile, nodes)
            if level == 0:
                part = entries[tile.first : tile.first + tile.width]
                _put(export / tile.bundle_path, build_bundle(part))
    root = merkle.root(len(entries), nodes.__getitem__)
    _put(export / "checkpoint", Checkpoint(origin, len(entries), root).sign(key))


def _write(export: Path, tile: Tile, nodes: Mapping[merkle.Node, bytes]) -> None:
    _put(export / tile.path, build_tile([nodes[tile.node(at)] for at in range(tile.width)]))


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def is_result(body: Entry) -> bool:
    return body.kind is EntryKind.RESULT and body.receipt is not None

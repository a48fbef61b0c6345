"""Tiles of a log (C2SP tlog-tiles): names of files, and what stands in them. Opens none.

A tile holds up to 256 hashes of one level of the tree, 8 levels apart; a bundle holds the entries
under a tile of level 0. One that is not full yet is partial, and its name says how wide it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from svcport.audit import merkle
from svcport.audit.note import NoteError

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
CHECKPOINT_NAME: Final = "checkpoint"
VKEY_NAME: Final = "vkey"
CERTIFICATES_NAME: Final = "certificates"

_GROUP: Final = 1000
_LENGTH_SIZE: Final = 2


class Tile(NamedTuple):
    """One tile: hash i of it is the subtree that covers leaves up to `node(i).last`.

    Attributes:
        level: 0 for leaf hashes.
        number: from the left, from 0.
        width: hashes in it, 1..256.
    """

    level: int
    number: int
    width: int

    @property
    def path(self) -> PurePosixPath:
        """`tile/<L>/<N>[.p/<W>]`."""
        return _path(str(self.level), self.number, self.width)

    @property
    def bundle_path(self) -> PurePosixPath:
        """`tile/entries/<N>[.p/<W>]`: the entries under this tile of level 0."""
        return _path("entries", self.number, self.width)

    @property
    def is_full(self) -> bool:
        """Whether it will never change again."""
        return self.width == TILE_WIDTH

    @property
    def first(self) -> int:
        """Index of its first hash among those of its level."""
        return self.number * TILE_WIDTH

    def node(self, position: int) -> merkle.Node:
        """The subtree whose hash stands at `position`."""
        level = self.level * TILE_HEIGHT
        return merkle.Node(level, (self.first + position + 1 << level) - 1)

    def parent(self) -> merkle.Node:
        """The subtree over all of a full tile: one hash of the tile above."""
        level = (self.level + 1) * TILE_HEIGHT
        return merkle.Node(level, (self.number + 1 << level) - 1)


def _path(kind: str, number: int, width: int) -> PurePosixPath:
    groups = [f"{number % _GROUP:03d}"]
    while number >= _GROUP:
        number //= _GROUP
        groups.append(f"x{number % _GROUP:03d}")
    path = PurePosixPath("tile", kind, *reversed(groups))
    if width == TILE_WIDTH:
        return path
    return path.with_name(f"{path.name}.p") / str(width)


def number_of(parts: Sequence[str]) -> int | None:
    """The number of the tile whose file has these names below its level; None for other files."""
    names = parts[:-1] if len(parts) > 1 and parts[-2].endswith(".p") else parts
    digits = "".join(name.removeprefix("x").removesuffix(".p") for name in names)
    return int(digits) if digits.isascii() and digits.isdigit() else None


def tiles(size: int, level: int, start: int = 0) -> Iterator[Tile]:
    """The tiles of one level of a tree of `size` leaves, from number `start` on."""
    hashes = size >> TILE_HEIGHT * level
    for number in range(start, -(-hashes // TILE_WIDTH)):
        yield Tile(level, number, min(TILE_WIDTH, hashes - number * TILE_WIDTH))


def levels(size: int) -> int:
    """How many levels of tiles a tree of `size` leaves has."""
    count = 0
    while size >> TILE_HEIGHT * count:
        count += 1
    return count


def build_tile(hashes: Sequence[bytes]) -> bytes:
    """The content of a tile's file."""
    return b"".join(hashes)


def parse_tile(tile: Tile, data: bytes) -> list[bytes]:
    """The hashes of a tile; a file of another length is NoteError."""
    wanted = tile.width * merkle.HASH_SIZE
    if len(data) != wanted:
        raise NoteError(f"{tile.path} has {len(data)} bytes, wanted {wanted}")
    return [data[at : at + merkle.HASH_SIZE] for at in range(0, wanted, merkle.HASH_SIZE)]


def build_bundle(entries: Sequence[bytes]) -> bytes:
    """The content of a bundle's file: each entry behind its length, u16 big-endian."""
    return b"".join(len(one).to_bytes(_LENGTH_SIZE, "big") + one for one in entries)


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle, however many; one that is cut is NoteError."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_SIZE
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise NoteError(f"entry {len(found)} of the bundle is cut")
        found.append(data[start:at])
    return found


ReadTile = Callable[[Tile], list[bytes]]
"""Gives the hashes of a tile as it is in a tree of the reader's size."""


def tile_node_reader(size: int, read: ReadTile) -> merkle.ReadNode:
    """Reads subtrees of a tree of `size` leaves out of its tiles."""

    def node_of(node: merkle.Node) -> bytes:
        level, above = divmod(node.level, TILE_HEIGHT)
        last = (node.last + 1 >> TILE_HEIGHT * level) - 1
        first = last + 1 - (1 << above)
        number = first // TILE_WIDTH
        hashes = (size >> TILE_HEIGHT * level) - number * TILE_WIDTH
        tile = Tile(level, number, min(TILE_WIDTH, hashes))
        return _subtree(read(tile)[first - tile.first : last + 1 - tile.first])

    return node_of


def _subtree(hashes: list[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [merkle.node_hash(left, right) for left, right in pairs]
    return hashes[0]


def tile_root(hashes: list[bytes]) -> bytes:
    """The hash over a full tile, which stands in the tile above."""
    return _subtree(hashes)

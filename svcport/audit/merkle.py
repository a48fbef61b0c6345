"""The Merkle tree of RFC 6962 as pure arithmetic on hashes; knows nothing of entries or storage.

A complete subtree is named by the last leaf it covers and its level: it holds 2**level leaves and
ends at leaf `last`. Once complete it never changes, so a store may keep its hash for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962, 2.1)."""


class Node(NamedTuple):
    """A complete subtree; level 0 is a leaf, whose `last` is its own index."""

    level: int
    last: int


ReadNode = Callable[[Node], bytes]
"""Gives the stored hash of a complete subtree."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(00 | data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 | left | right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def frontier(size: int) -> tuple[Node, ...]:
    """The complete subtrees that a tree of `size` leaves falls into, largest first."""
    return _pieces(0, size)


def fold(hashes: Iterable[bytes]) -> bytes:
    """The root over the hashes of a frontier, largest subtree first."""
    root: bytes | None = None
    for piece in reversed(list(hashes)):
        root = piece if root is None else node_hash(piece, root)
    return EMPTY_ROOT if root is None else root


def completed_by(index: int) -> tuple[Node, ...]:
    """The subtrees above leaf level that leaf `index` completes, smallest first."""
    level = 0
    done: list[Node] = []
    while (index >> level) & 1:
        level += 1
        done.append(Node(level, index))
    return tuple(done)


def left_sibling(node: Node) -> Node:
    """The subtree that joins `node` on its left, one level up (`node` must be a right child)."""
    return Node(node.level, node.last - (1 << node.level))


def append(index: int, leaf: bytes, read: ReadNode) -> list[tuple[Node, bytes]]:
    """The hashes of the subtrees that `leaf` at `index` completes; reads log2(index) at most."""
    hashes: list[tuple[Node, bytes]] = []
    below, value = Node(0, index), leaf
    for node in completed_by(index):
        value = node_hash(read(left_sibling(below)), value)
        hashes.append((node, value))
        below = node
    return hashes


def root(size: int, read: ReadNode) -> bytes:
    """The root of the first `size` leaves, from stored subtrees alone."""
    return fold(read(node) for node in frontier(size))


def inclusion_proof(index: int, size: int, read: ReadNode) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1), leaf first.

    Raises:
        ValueError: `index` is not in 0..size-1.
    """
    _in_tree(index, size)
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        split = low + _split(high - low)
        other = (split, high) if index < split else (low, split)
        path.append(fold(read(node) for node in _pieces(*other)))
        low, high = (low, split) if index < split else (split, high)
    return tuple(reversed(path))


def proves(index: int, size: int, leaf: bytes, path: tuple[bytes, ...], wanted: bytes) -> bool:
    """Whether `path` leads from the leaf hash at `index` to the root `wanted` of `size` leaves.

    Raises:
        ValueError: `index` is not in 0..size-1.
    """
    _in_tree(index, size)
    position, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and value == wanted


def consistency_proof(old: int, size: int, read: ReadNode) -> tuple[bytes, ...]:
    """The proof that the first `old` of `size` leaves are unchanged (RFC 6962, 2.1.2).

    Empty where there is nothing to prove: `old` is 0 or `size`.

    Raises:
        ValueError: `old` is not in 0..size.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not extend one of {old}")
    if old in (0, size):
        return ()
    proof: list[bytes] = []
    low, high = 0, size
    while high != old:
        split = low + _split(high - low)
        left = old <= split
        other = (split, high) if left else (low, split)
        proof.append(fold(read(node) for node in _pieces(*other)))
        low, high = (low, split) if left else (split, high)
    if low:  # else the verifier knows this subtree: it is the whole old tree
        proof.append(fold(read(node) for node in _pieces(low, high)))
    return tuple(reversed(proof))


def extends(old: int, old_root: bytes, size: int, root: bytes, proof: tuple[bytes, ...]) -> bool:
    """Whether `proof` shows that the tree `root` of `size` leaves begins with the `old` one.

    Raises:
        ValueError: `old` is not in 0..size.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not extend one of {old}")
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    known = (old_root,) if old & (old - 1) == 0 else ()  # a complete old tree proves itself
    path = known + proof
    if not path:
        return False
    position, last = old - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    return _climb(position, last, path) == (old_root, root)


def _climb(position: int, last: int, path: tuple[bytes, ...]) -> tuple[bytes, bytes] | None:
    """Both roots that a consistency path leads to, None if its length does not fit."""
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        position, last = position >> 1, last >> 1
    return (before, after) if last == 0 else None


def _in_tree(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")


def _split(size: int) -> int:
    """The largest power of two below `size` (size >= 2)."""
    return int(1 << (size - 1).bit_length() - 1)


def _pieces(low: int, high: int) -> tuple[Node, ...]:
    """The complete subtrees of leaves low..high-1; `low` is a multiple of the largest of them."""
    found: list[Node] = []
    while low < high:
        level = (high - low).bit_length() - 1
        low += 1 << level
        found.append(Node(level, low - 1))
    return tuple(found)

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.audit import merkle


def brute_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    pair = brute_root(leaves[:split]) + brute_root(leaves[split:])
    return hashlib.sha256(b"\x01" + pair).digest()


def brute_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*brute_path(index, leaves[:split]), brute_root(leaves[split:])]
    return [*brute_path(index - split, leaves[split:]), brute_root(leaves[:split])]


def stored(leaves: list[bytes]) -> dict[merkle.Node, bytes]:
    nodes: dict[merkle.Node, bytes] = {}
    for index, data in enumerate(leaves):
        leaf = merkle.leaf_hash(data)
        nodes[merkle.Node(0, index)] = leaf
        nodes.update(merkle.append(index, leaf, nodes.__getitem__))
    return nodes


@pytest.mark.parametrize("size", range(70))
def test_the_stored_nodes_give_the_root_and_every_proof_of_rfc_6962(size: int) -> None:
    leaves = [b"leaf %d" % i for i in range(size)]
    nodes = stored(leaves)
    for earlier in range(size + 1):
        assert merkle.root(earlier, nodes.__getitem__) == brute_root(leaves[:earlier])
    root = brute_root(leaves)
    for index in range(size):
        path = merkle.inclusion_proof(index, size, nodes.__getitem__)
        assert list(path) == brute_path(index, leaves)
        leaf = merkle.leaf_hash(leaves[index])
        assert merkle.proves(index, size, leaf, path, root)


@given(st.integers(1, 80), st.data())
def test_a_proof_holds_for_nothing_but_its_leaf_index_size_and_root(
    size: int, data: st.DataObject
) -> None:
    leaves = [b"%d" % i for i in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, stored(leaves).__getitem__)
    root, leaf = brute_root(leaves), merkle.leaf_hash(leaves[index])
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else None
    if other is not None:
        assert not merkle.proves(other, size, leaf, path, root)
        assert not merkle.proves(index, size, merkle.leaf_hash(leaves[other]), path, root)
        cut = data.draw(st.integers(0, len(path) - 1))
        assert not merkle.proves(index, size, leaf, path[:cut] + path[cut + 1 :], root)
    assert not merkle.proves(index, size, leaf, (*path, leaf), root)
    assert not merkle.proves(index, size, leaf, path, bytes(32))


def test_an_append_reads_no_more_than_the_logarithm_of_the_size() -> None:
    reads: list[merkle.Node] = []

    def read(node: merkle.Node) -> bytes:
        reads.append(node)
        return bytes(32)

    merkle.append(2**40 - 1, bytes(32), read)
    assert len(reads) == 40


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not in a tree of {size}"):
        merkle.inclusion_proof(index, size, lambda _node: bytes(32))
    with pytest.raises(ValueError, match="is not in a tree"):
        merkle.proves(index, size, bytes(32), (), bytes(32))


def test_the_worked_vector_has_its_root_and_proof() -> None:
    leaves = [b"entry 0", b"entry 1", b"entry 2"]
    nodes = stored(leaves)
    root = base64.b64decode("lPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=")
    path = [
        base64.b64decode("dziFphNIniTOLPdhmdakI/BC5LvxLX7s7pEu8nbGVwE="),
        base64.b64decode("V8efTzGuApxdS9MLBzwnyU35NDiytGl+Hh7vW8A5SkE="),
    ]
    assert merkle.root(3, nodes.__getitem__) == root
    assert list(merkle.inclusion_proof(1, 3, nodes.__getitem__)) == path


def brute_consistency(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2, as it is written there."""
    size = len(leaves)
    if old == size:
        return [] if whole else [brute_root(leaves)]
    split = 1
    while split * 2 < size:
        split *= 2
    if old <= split:
        return [*brute_consistency(old, leaves[:split], whole=whole), brute_root(leaves[split:])]
    rest = brute_consistency(old - split, leaves[split:], whole=False)
    return [*rest, brute_root(leaves[:split])]


@pytest.mark.parametrize("size", range(1, 50))
def test_every_consistency_proof_is_that_of_rfc_6962_and_holds(size: int) -> None:
    leaves = [b"leaf %d" % i for i in range(size)]
    read = stored(leaves).__getitem__
    root = brute_root(leaves)
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(old, size, read)
        assert list(proof) == brute_consistency(old, leaves)
        assert merkle.extends(old, brute_root(leaves[:old]), size, root, proof)
    assert merkle.consistency_proof(0, size, read) == ()
    assert merkle.extends(0, merkle.EMPTY_ROOT, size, root, ())


@given(st.integers(2, 80), st.data())
def test_a_consistency_proof_holds_for_nothing_but_its_two_trees(
    size: int, data: st.DataObject
) -> None:
    leaves = [b"%d" % i for i in range(size)]
    old = data.draw(st.integers(1, size - 1))
    root, old_root = brute_root(leaves), brute_root(leaves[:old])
    proof = merkle.consistency_proof(old, size, stored(leaves).__getitem__)
    forked = brute_root([*leaves[: old - 1], b"another"])
    assert not merkle.extends(old, forked, size, root, proof)
    assert not merkle.extends(old, old_root, size, forked, proof)
    assert not merkle.extends(old, old_root, size, root, (*proof, root))
    assert not merkle.extends(size, root, size, old_root, ())
    if proof:
        cut = data.draw(st.integers(0, len(proof) - 1))
        assert not merkle.extends(old, old_root, size, root, proof[:cut] + proof[cut + 1 :])
        flipped = (*proof[:cut], bytes(32), *proof[cut + 1 :])
        assert not merkle.extends(old, old_root, size, root, flipped)


def test_a_tree_does_not_extend_a_larger_one() -> None:
    with pytest.raises(ValueError, match="a tree of 3 leaves does not extend one of 4"):
        merkle.consistency_proof(4, 3, lambda _node: bytes(32))
    with pytest.raises(ValueError, match="does not extend"):
        merkle.extends(4, bytes(32), 3, bytes(32), ())

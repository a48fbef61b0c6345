"""Harnesses of ledgers that others hand over: notes, checkpoints, proofs, keys, tiles, exports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from unittest import mock

from fuzz.harness import Harness, NotTakenError, Pieces, nothing_more

from protocol.errors import MalformedObjectError
from protocol.sealed import Realm, Sealed
from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.entries import read_entry
from svcport.audit.note import Note, NoteError, StationKey, VerifierKey
from svcport.audit.proofs import published
from svcport.audit.proofs.proof import EntryProof
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import build_bundle, parse_bundle, tiles
from svcport.audit.station import origin_of
from svcport.audit.witness.addcheckpoint import AddCheckpoint
from svcport.audit.witness.cosignature import WitnessKey, cosign

KEY = StationKey.from_seed(b"\x21" * 32)
ORIGIN = origin_of(Realm.TRAINING, KEY.subject)
VERIFIER = KEY.verifier(ORIGIN)
WITNESS = WitnessKey.of(KEY, "training.witness.example/1")
ENTRIES = (b"first", b"second", b"", b"fourth", b"fifth")
_NOWHERE = Path("an-export")


@cache
def _tree() -> dict[merkle.Node, bytes]:
    nodes: dict[merkle.Node, bytes] = {}
    for index, entry in enumerate(ENTRIES):
        leaf = merkle.leaf_hash(entry)
        nodes[merkle.Node(0, index)] = leaf
        nodes.update(merkle.append(index, leaf, nodes.__getitem__))
    return nodes


@cache
def _checkpoint(size: int = len(ENTRIES)) -> bytes:
    return Checkpoint(ORIGIN, size, merkle.root(size, _tree().__getitem__)).sign(KEY)


def _check_note(data: bytes, note: Note) -> None:
    assert note.build() == data
    for key in (VERIFIER, KEY.verifier("other")):
        _quiet(lambda key=key: note.verify([key]))  # type: ignore[misc]
    _quiet(lambda: WITNESS.verify(note))


def _quiet(call: object) -> None:
    try:
        call()  # type: ignore[operator]
    except NoteError:
        return


def _checkpoint_text(data: bytes) -> tuple[Checkpoint, str]:
    text = _text(data)
    return Checkpoint.parse(text), text


def _check_checkpoint(_data: bytes, found: tuple[Checkpoint, str]) -> None:
    checkpoint, text = found
    assert str(checkpoint) == text
    assert Checkpoint.parse(Note.parse(checkpoint.sign(KEY)).text) == checkpoint


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotTakenError from error


def _keys(data: bytes) -> tuple[object, str]:
    text = _text(data)
    try:
        return VerifierKey.parse(text), text
    except NoteError:
        return WitnessKey.parse(text), text


def _check_keys(_data: bytes, found: tuple[object, str]) -> None:
    assert str(found[0]) == found[1]


def _proof(data: bytes) -> EntryProof:
    return EntryProof.parse(data)


def _check_proof(data: bytes, proof: EntryProof) -> None:
    assert proof.build() == data
    _quiet(lambda: proof.verify(VERIFIER))
    _quiet(lambda: proof.verify(VERIFIER, ENTRIES[1]))
    signed = EntryProof(proof.index, proof.path, _checkpoint(), proof.extra)
    try:
        signed.verify(VERIFIER)
    except NoteError:
        return
    assert signed.extra == ENTRIES[signed.index]


def _check_request(data: bytes, request: AddCheckpoint) -> None:
    assert request.build() == data
    old = request.old if request.old <= len(ENTRIES) else 2
    root = merkle.root(old, _tree().__getitem__)
    new = merkle.root(len(ENTRIES), _tree().__getitem__)
    real = merkle.consistency_proof(old, len(ENTRIES), _tree().__getitem__)
    taken = merkle.extends(old, root, len(ENTRIES), new, request.proof)
    assert taken == (request.proof == real)


def _trees(data: bytes) -> bool:
    """Any numbers and hashes in the arithmetic of proofs."""
    pieces = Pieces(data)
    width = 1 + pieces.number() % 8
    index, size, old = (pieces.number(width) for _ in range(3))
    hashes = tuple(pieces.fixed(32) for _ in range(pieces.number() % 66))
    leaf, root = pieces.fixed(32), pieces.fixed(32)
    taken = merkle.proves(index, size, leaf, hashes, root)
    return merkle.extends(old, leaf, size, root, hashes) or taken


def _check_bundle(data: bytes, entries: list[bytes]) -> None:
    assert build_bundle(entries) == data


@cache
def _export() -> dict[str, bytes]:
    """A small export as its files; ENTRIES are no sealed objects, which readers must bear."""
    leaves = [merkle.leaf_hash(entry) for entry in ENTRIES]
    return {
        "vkey": str(VERIFIER).encode() + b"\n",
        "checkpoint": _checkpoint(),
        "tile/0/000.p/5": b"".join(leaves),
        "tile/entries/000.p/5": build_bundle(ENTRIES),
    }


def _published(data: bytes) -> PublishedLog:
    """One file of an export is another; choice 4 signs any size and root."""
    choice, content = data[:1], data[1:]
    files = dict(_export())
    number = choice[0] if choice else 0
    if number < len(files):
        files[list(files)[number]] = content
    else:
        size, root = int.from_bytes(content[:8], "big") >> 1, content[8:40].ljust(32, b"\0")
        files["checkpoint"] = Checkpoint(ORIGIN, size, root).sign(KEY)
    with mock.patch.object(published, "read_part", _reader(files)):
        log = PublishedLog.open(_NOWHERE)
        for tile in tiles(min(log.size, 600), 0):
            assert len(log.tile(tile)) == tile.width
            for entry in log.bundle(tile):
                _read(entry)
        log.root(log.size)
    return log


def _read(entry: bytes) -> None:
    try:
        read_entry(Sealed.parse(entry), Realm.TRAINING, ORIGIN)
    except MalformedObjectError:
        return


def _reader(files: dict[str, bytes]) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        found = files.get(path.relative_to(_NOWHERE).as_posix())
        if found is None:
            raise NoteError(f"{path} is missing")
        return found

    return read


def _notes() -> Iterator[bytes]:
    yield _checkpoint()
    note = Note.parse(_checkpoint(2))
    seen = cosign(KEY, WITNESS.name, note.text, 1_795_000_000)
    yield Note(note.text, (*note.signatures, seen)).build()
    yield KEY.sign_note("other", "any text\n\nof two paragraphs\n").build()


def _texts() -> Iterator[bytes]:
    for size in range(0, len(ENTRIES) + 1, 2):
        yield Note.parse(_checkpoint(size)).text.encode()


def _key_texts() -> Iterator[bytes]:
    yield str(VERIFIER).encode()
    yield str(WITNESS).encode()


def _proofs() -> Iterator[bytes]:
    for index, entry in enumerate(ENTRIES):
        path = merkle.inclusion_proof(index, len(ENTRIES), _tree().__getitem__)
        extra = entry if index % 2 else None
        yield EntryProof(index, path, _checkpoint(), extra).build()


def _requests() -> Iterator[bytes]:
    for old in range(len(ENTRIES) + 1):
        proof = merkle.consistency_proof(old, len(ENTRIES), _tree().__getitem__)
        yield AddCheckpoint(old, proof, _checkpoint()).build()


def _tree_seeds() -> Iterator[bytes]:
    leaf = merkle.leaf_hash(ENTRIES[0])
    path = merkle.inclusion_proof(0, 2, _tree().__getitem__)
    root = merkle.root(2, _tree().__getitem__)
    yield bytes([0, 0, 2, 1, len(path), *b"".join(path), *leaf, *root])
    yield bytes([7]) + (2**63).to_bytes(8, "big") * 3 + bytes([64]) + bytes(64 * 32)


def _bundles() -> Iterator[bytes]:
    yield build_bundle(ENTRIES)


def _exports() -> Iterator[bytes]:
    for number, content in enumerate(_export().values()):
        yield bytes([number]) + content
    yield bytes([9]) + (5 << 1).to_bytes(8, "big") + hashlib.sha256(b"").digest()


_NOTE = (NoteError,)
HARNESSES = (
    Harness("note", "a signed note", Note.parse, _NOTE, _check_note, _notes, 2048),
    Harness("checkpoint", "a checkpoint", _checkpoint_text, _NOTE, _check_checkpoint, _texts, 300),
    Harness("ledger-key", "keys of logs", _keys, _NOTE, _check_keys, _key_texts, 200),
    Harness("entry-proof", "an entry's proof", _proof, _NOTE, _check_proof, _proofs),
    Harness(
        "add-checkpoint",
        "a request to a witness",
        AddCheckpoint.parse,
        _NOTE,
        _check_request,
        _requests,
    ),
    Harness(
        "tree-proof", "proofs of the tree", _trees, (ValueError,), nothing_more, _tree_seeds, 2400
    ),
    Harness("entry-bundle", "a bundle of entries", parse_bundle, _NOTE, _check_bundle, _bundles),
    Harness("export", "an exported log", _published, _NOTE, nothing_more, _exports),
)

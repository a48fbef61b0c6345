from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit.publishing import append_notes, export, files
from audit.world import DIGEST, ENTRIES, NOW, act, make_ledger, meet, sql
from hypothesis import given
from hypothesis import strategies as st

from protocol.sealed import Sealed
from svcport.audit import merkle
from svcport.audit.note import NoteError
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import (
    Tile,
    build_bundle,
    parse_bundle,
    parse_tile,
    tile_node_reader,
    tiles,
)
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import FailedError, Reason, RecordsError, RefusedError
from svcport.home import write_whole


@pytest.mark.parametrize(
    ("tile", "path", "bundle"),
    [
        (Tile(0, 0, 256), "tile/0/000", "tile/entries/000"),
        (Tile(0, 0, 1), "tile/0/000.p/1", "tile/entries/000.p/1"),
        (Tile(1, 67, 255), "tile/1/067.p/255", "tile/entries/067.p/255"),
        (Tile(0, 1000, 256), "tile/0/x001/000", "tile/entries/x001/000"),
        (Tile(2, 1234067, 256), "tile/2/x001/x234/067", "tile/entries/x001/x234/067"),
        (Tile(0, 999999, 8), "tile/0/x999/999.p/8", "tile/entries/x999/999.p/8"),
    ],
)
def test_tiles_have_the_paths_of_the_specification(tile: Tile, path: str, bundle: str) -> None:
    assert tile.path.as_posix() == path
    assert tile.bundle_path.as_posix() == bundle


def test_a_tree_has_full_tiles_and_at_most_one_partial_a_level() -> None:
    assert list(tiles(0, 0)) == []
    assert list(tiles(256, 0)) == [Tile(0, 0, 256)]
    assert list(tiles(70_000, 0))[-1] == Tile(0, 273, 112)
    assert list(tiles(70_000, 1)) == [Tile(1, 0, 256), Tile(1, 1, 17)]
    assert list(tiles(70_000, 2)) == [Tile(2, 0, 1)]
    assert list(tiles(70_000, 3)) == []


@given(st.integers(1, 1400), st.data())
def test_tiles_give_every_root_and_proof_that_the_stored_nodes_give(
    size: int, data: st.DataObject
) -> None:
    nodes: dict[merkle.Node, bytes] = {}
    for index in range(size):
        leaf = merkle.leaf_hash(b"%d" % index)
        nodes[merkle.Node(0, index)] = leaf
        nodes.update(merkle.append(index, leaf, nodes.__getitem__))
    read = tile_node_reader(size, lambda tile: [nodes[tile.node(i)] for i in range(tile.width)])
    old = data.draw(st.integers(0, size))
    assert merkle.root(old, read) == merkle.root(old, nodes.__getitem__)
    proof = merkle.consistency_proof(old, size, nodes.__getitem__)
    assert merkle.consistency_proof(old, size, read) == proof


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_bundle_that_rebuilds_to_them_or_a_note_error(data: bytes) -> None:
    try:
        entries = parse_bundle(data)
    except NoteError:
        return
    assert build_bundle(entries) == data


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(NoteError, match="has 31 bytes, wanted 32"):
        parse_tile(Tile(0, 0, 1), bytes(31))


def test_an_export_holds_all_that_is_needed_to_check_it_elsewhere(
    filled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = export(filled, out)
    assert (done.before, done.entries) == (0, ENTRIES - 1)  # the last was never signed
    names = set(files(out))
    assert {"checkpoint", "vkey", "tile/0/000.p/7", "tile/entries/000.p/7"} <= names
    assert sum(name.startswith("certificates/") for name in names) == 4
    log = PublishedLog.open(out)
    assert log.root(log.size) == log.checkpoint.root == done.root
    entries = log.bundle(Tile(0, 0, 7))
    assert [merkle.leaf_hash(one) for one in entries] == log.tile(Tile(0, 0, 7))
    assert all(sealed is not None for _, sealed in log.certificates())
    assert Sealed.parse(entries[0]).realm is log.realm


def test_a_second_export_adds_what_is_new_and_takes_partial_tiles_away(tmp_path: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    with make_ledger(tmp_path / "ledger") as ledger:
        sizes = [3, 256, 257, 600, 600]
        for size in sizes:
            append_notes(ledger, size - ledger.size)
            before = files(out) if out.exists() else {}
            done = export(tmp_path / "ledger", out)
            assert done.entries == size
            full = {name for name in before if name.startswith("tile") and ".p/" not in name}
            assert all(files(out)[name] == before[name] for name in full)
            assert done.files <= 12
        export(tmp_path / "ledger", fresh)
    assert files(out) == files(fresh)
    assert "tile/0/000.p/3" not in files(out)
    assert "tile/0/002.p/88" in files(out)


def test_a_full_tile_that_got_lost_is_written_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with make_ledger(tmp_path / "ledger") as ledger:
        append_notes(ledger, 300)
    export(tmp_path / "ledger", out)
    whole = files(out)
    for name in ("tile/0/000", "tile/entries/000", "vkey"):
        (out / name).unlink()
    export(tmp_path / "ledger", out)
    assert files(out) == whole


def test_a_folder_of_another_log_or_of_anything_else_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with make_ledger(tmp_path / name) as ledger:
            append_notes(ledger, 2)
    export(tmp_path / "one", tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "holiday.txt").write_text("mine")
    for folder in ("out", "strange"):
        with pytest.raises(RefusedError, match="no export of training") as caught:
            export(tmp_path / "two", tmp_path / folder)
        assert caught.value.reason is Reason.USAGE
    assert files(tmp_path / "out") == before


def test_a_first_export_that_was_cut_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with make_ledger(tmp_path / "ledger") as ledger:
        append_notes(ledger, 600)
    left = 0

    def fail(path: Path, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise RecordsError(Reason.STORAGE, "disk full")
        left -= 1
        write_whole(path, data)

    export(tmp_path / "ledger", tmp_path / "whole")
    wanted = files(tmp_path / "whole")
    for limit in (0, 1, 4, len(wanted) - 1):
        left = limit
        with monkeypatch.context() as patch:
            patch.setattr("svcport.audit.proofs.publish.write_whole", fail)
            with pytest.raises(FailedError, match="disk full"):
                export(tmp_path / "ledger", out)
        assert "checkpoint" not in files(out)
        export(tmp_path / "ledger", out)
        assert files(out) == wanted
        shutil.rmtree(out)


def test_a_later_export_that_is_cut_short_leaves_the_older_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with make_ledger(tmp_path / "ledger") as ledger:
        append_notes(ledger, 300)
        export(tmp_path / "ledger", out)
        append_notes(ledger, 300)

    def fail(path: Path, data: bytes) -> None:
        if path.name == "checkpoint":
            raise RecordsError(Reason.STORAGE, "disk full")
        write_whole(path, data)

    monkeypatch.setattr("svcport.audit.proofs.publish.write_whole", fail)
    with pytest.raises(FailedError):
        export(tmp_path / "ledger", out)
    log = PublishedLog.open(out)
    assert log.size == 300
    assert log.root(300) == log.checkpoint.root
    assert sum(len(log.bundle(tile)) for tile in tiles(300, 0)) == 300


def test_a_ledger_put_back_from_an_old_copy_is_seen_at_the_next_export(tmp_path: Path) -> None:
    folder, out = tmp_path / "ledger", tmp_path / "out"
    with make_ledger(folder) as ledger:
        lock = meet(ledger, "A1")
        act(ledger, lock)
    shutil.copytree(folder, tmp_path / "old")
    with make_ledger(folder) as ledger:
        act(ledger, lock)
    export(folder, out)
    with pytest.raises(RecordsError, match="covers 4 entries, this ledger has 2") as caught:
        export(tmp_path / "old", out)
    assert caught.value.reason is Reason.LEDGER_FORK
    with make_ledger(tmp_path / "old") as ledger:
        for _ in range(4):
            ledger.record_note(text="another history", now=NOW)
        ledger.checkpoint(NOW)
    with pytest.raises(RecordsError, match="another root at 4 entries"):
        export(tmp_path / "old", out)
    assert PublishedLog.open(out).size == 4


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET data = zeroblob(100) WHERE entry_index = 3",
        "UPDATE entries SET leaf_hash = zeroblob(32) WHERE entry_index = 3",
        "DELETE FROM entries WHERE entry_index = 3",
        "UPDATE nodes SET hash = zeroblob(32) WHERE level = 8",
        "DELETE FROM nodes WHERE level = 8",
    ],
)
def test_a_damaged_ledger_is_not_exported(tmp_path: Path, damage: str) -> None:
    with make_ledger(tmp_path / "ledger") as ledger:
        append_notes(ledger, 300)
    with LedgerView.open_for_audit(tmp_path / "ledger") as view:
        assert verify_ledger(view).problems == ()
    sql(tmp_path / "ledger", damage)
    with pytest.raises(RecordsError) as caught:
        export(tmp_path / "ledger", tmp_path / "out")
    assert caught.value.reason is Reason.LEDGER_DAMAGED
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_a_ledger_that_never_signed_has_nothing_to_export(tmp_path: Path) -> None:
    with make_ledger(tmp_path / "ledger") as ledger:
        ledger.record_recovered(
            serial="A1", intent_hash=DIGEST, note="cannot be carried out", now=NOW
        )
    with pytest.raises(RefusedError, match="nothing was signed yet"):
        export(tmp_path / "ledger", tmp_path / "out")


def test_files_changed_in_an_export_are_never_taken_for_it(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(filled, out)
    for name in ("checkpoint", "vkey"):
        content = (out / name).read_bytes()
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1
            (out / name).write_bytes(bytes(changed))
            with pytest.raises(NoteError):
                PublishedLog.open(out)
        (out / name).unlink()
        with pytest.raises(NoteError, match="is missing"):
            PublishedLog.open(out)
        (out / name).write_bytes(content)
    (out / "tile" / "0" / "000.p" / "7").write_bytes(bytes(7 * 32))
    assert PublishedLog.open(out).root(7) != PublishedLog.open(out).checkpoint.root

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from audit.world import (
    ENTRIES,
    NOW,
    make_ledger,
    sql,
)

from protocol.sealed import Realm
from svcport.audit.ledger import Ledger
from svcport.audit.proofs.export import export_damaged
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RecordsError, RefusedError


def test_a_marked_ledger_refuses_to_operate_until_the_mark_is_cleared(copy: Path) -> None:
    sql(copy, "UPDATE entries SET data = zeroblob(100) WHERE entry_index = 2")
    Ledger.open(copy, Realm.TRAINING, create=False).close()  # not seen at a glance
    with LedgerView.open_for_audit(copy) as view:
        verdict = verify_ledger(view)
        assert view.damage is None
        assert view.mark_damaged(verdict.problems)
        assert view.damage is not None
        assert view.damage.startswith("entry 2: leaf-hash")
    for create in (False, True):
        with pytest.raises(RecordsError) as caught:
            Ledger.open(copy, Realm.TRAINING, create=create)
        assert caught.value.reason is Reason.LEDGER_DAMAGED
        assert "audit export --damaged DIR" in caught.value.hint
        assert "entry 2" in caught.value.message
    with LedgerView.open_for_audit(copy) as view:
        view.clear_mark()
    Ledger.open(copy, Realm.TRAINING, create=False).close()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 400)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: sql(
            folder, "UPDATE nodes SET hash = zeroblob(32) WHERE last = 3 AND level = 2"
        ),
        lambda folder: sql(
            folder, "UPDATE entries SET leaf_hash = zeroblob(32) WHERE entry_index=6"
        ),
        lambda folder: sql(folder, "UPDATE entries SET data = zeroblob(99) WHERE entry_index = 7"),
        lambda folder: sql(folder, "DELETE FROM entries WHERE entry_index = 7"),
        lambda folder: sql(folder, "UPDATE logs SET size = 6"),
        lambda folder: sql(folder, "UPDATE logs SET vkey = 'x'"),
        lambda folder: sql(folder, "UPDATE logs SET realm = 'PRODUCTION'"),
        lambda folder: sql(folder, "DELETE FROM logs"),
        lambda folder: sql(folder, "UPDATE checkpoints SET note = zeroblob(9)"),
        lambda folder: sql(folder, "DROP TABLE entries"),
        lambda folder: (folder / "station.pem").unlink(),
        lambda folder: (folder / "station.pem").write_bytes(b"junk"),
        lambda folder: (folder / "ledger.sqlite").unlink(),
        lambda folder: (folder / "ledger.sqlite").write_bytes(b""),
        lambda folder: _truncate(folder / "ledger.sqlite"),
        lambda folder: _overwrite(folder / "ledger.sqlite"),
    ],
)
def test_what_is_seen_to_be_damaged_at_once_is_refused_and_marked(
    copy: Path, damage: Callable[[Path], object]
) -> None:
    damage(copy)
    for _ in range(2):
        with pytest.raises(RecordsError) as caught:
            Ledger.open(copy, Realm.TRAINING, create=True)
        assert caught.value.reason is Reason.LEDGER_DAMAGED
        assert "audit export --damaged DIR" in caught.value.hint
    assert (copy / "damaged").exists()


def test_another_stations_key_is_refused(copy: Path, tmp_path: Path) -> None:
    make_ledger(tmp_path / "other").close()
    shutil.copy(tmp_path / "other" / "station.pem", copy / "station.pem")
    with pytest.raises(RecordsError, match="wanted"):
        Ledger.open(copy, Realm.TRAINING, create=False)


def test_nothing_is_signed_over_a_tree_that_denies_the_last_checkpoint(copy: Path) -> None:
    with Ledger.open(copy, Realm.TRAINING, create=False) as ledger:
        sql(copy, "UPDATE nodes SET hash = zeroblob(32) WHERE last = 3 AND level = 2")
        before = ledger.last_checkpoint()
        with pytest.raises(RecordsError) as caught:
            ledger.checkpoint(NOW)
        assert caught.value.reason is Reason.LEDGER_DAMAGED
        assert ledger.last_checkpoint() == before


def test_export_writes_what_verifies_and_lists_what_does_not(copy: Path, tmp_path: Path) -> None:
    with LedgerView.open_for_audit(copy) as view:
        wanted = {f"{one.index:012d}.svc": one.data for one in view.entries() if one.index != 2}
        vkey = view.vkey
    sql(copy, "UPDATE entries SET data = zeroblob(100) WHERE entry_index = 2")
    out = tmp_path / "out"
    with LedgerView.open_for_audit(copy) as view:
        report = export_damaged(view, out)
        assert (report.folder, report.entries) == (out, ENTRIES - 1)
        with pytest.raises(RefusedError, match="not empty"):
            export_damaged(view, out)
    assert {path.name: path.read_bytes() for path in (out / "entries").iterdir()} == wanted
    assert len(list((out / "certificates").iterdir())) == 4
    assert (out / "vkey").read_text() == vkey + "\n"
    assert (out / "checkpoint").read_text().startswith(report_origin := vkey.split("+")[0])
    assert report_origin
    assert "entry 2: leaf-hash" in (out / "problems.txt").read_text()


def test_entries_on_pages_around_a_destroyed_one_are_still_got_out(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with make_ledger(folder) as ledger:
        for number in range(100):
            ledger.record_note(text=f"note {number}", now=NOW)
        victim = list(ledger.entries())[50]
    path = folder / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    page = content.index(victim.data[-64:]) // 4096 * 4096
    content[page : page + 4096] = bytes([0xFF] * 4096)
    path.write_bytes(content)
    with LedgerView.open_for_audit(folder) as view:
        verdict = verify_ledger(view)
        assert (50, "entry-missing") in {(one.index, one.code.value) for one in verdict.problems}
        assert verdict.is_damaged
        assert 50 < export_damaged(view, tmp_path / "out").entries < 100
        with pytest.raises(RecordsError) as caught:
            list(view.entries())
        assert caught.value.reason is Reason.LEDGER_DAMAGED

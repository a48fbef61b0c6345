from __future__ import annotations

from pathlib import Path

import pytest
from audit.postgreskit import Postgres
from audit.test_durability import acknowledged, notes, start
from audit.world import ENTRIES, NOW, act, fill, make_ledger, meet
from sqlalchemy import text

from protocol.sealed import Realm
from svcport.audit import ledger as ledger_module
from svcport.audit.ledger import Ledger
from svcport.audit.rows import add_entry
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RecordsError, RefusedError


def folder_for(url: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "database.url").write_text(f"{url}\n")
    return folder


def test_a_ledger_in_a_database_verifies_on_workers_too(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_for(postgres.new_database(), tmp_path / "home")
    fill(folder)
    assert not (folder / "ledger.sqlite").exists()
    with LedgerView.open_for_audit(folder) as view:
        for workers in (0, 2):
            verdict = verify_ledger(view, workers=workers)
            assert (verdict.problems, verdict.entries, verdict.locks) == ((), ENTRIES, 2)


def test_stations_share_a_database_and_each_has_its_log(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    folders = [folder_for(url, tmp_path / name) for name in ("left", "right", "third")]
    processes = [start(folder, folder.name, 30) for folder in folders]
    outputs = [process.communicate(timeout=50)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output.splitlines()[0] for output in outputs}) == 3
    for folder, output in zip(folders, outputs, strict=True):
        assert notes(folder) == acknowledged(output)


def test_stations_that_meet_one_lock_keep_its_certificate_once(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    with (
        make_ledger(folder_for(url, tmp_path / "left")) as left,
        make_ledger(folder_for(url, tmp_path / "right")) as right,
    ):
        for ledger in (left, right):
            act(ledger, meet(ledger, "A1"))
            assert verify_ledger(ledger).problems == ()
        assert (left.size, right.size) == (2, 2)
        assert left.last_checkpoint() != right.last_checkpoint()


def test_a_connection_lost_in_the_middle_of_an_append_leaves_nothing_half_recorded(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_for(postgres.new_database(), tmp_path / "home")
    with make_ledger(folder) as ledger:
        lock = meet(ledger, "A1")
        act(ledger, lock)

        def cut(*arguments: object) -> int:
            index = add_entry(*arguments)  # type: ignore[arg-type]
            postgres.cut_connections()
            return index

        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, "add_entry", cut)
            with pytest.raises(RecordsError) as caught:
                ledger.record_note(text="lost", now=NOW, checkpoint=True)
        assert caught.value.reason is Reason.STORAGE
        assert "database server" in caught.value.hint
        assert ledger.size == 2
        assert ledger.damage is None
        act(ledger, lock)
        assert verify_ledger(ledger).problems == ()
        assert ledger.size == 4


def test_a_server_that_crashes_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    server = _own_server()
    try:
        folder = folder_for(server.new_database(), tmp_path / "home")
        process = start(folder, "before", 100_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        server.crash()
        rest = process.communicate(timeout=50)[0]
        assert process.returncode != 0
        with pytest.raises(RecordsError) as caught:
            Ledger.open(folder, Realm.TRAINING, create=True)
        assert caught.value.reason is Reason.STORAGE
        server.start()
        known = acknowledged("".join(lines) + rest)
        stored = notes(folder)
        assert {index: stored[index] for index in known} == known
        with Ledger.open(folder, Realm.TRAINING, create=False) as ledger:
            assert ledger.record_note(text="again", now=NOW)[0] == len(stored)
    finally:
        server.close()


def _own_server() -> Postgres:
    from audit.postgreskit import missing

    why = missing()
    if why is not None:
        pytest.skip(why)
    return Postgres()


def test_a_log_held_by_another_process_is_named_in_the_end(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcport.audit.postgres.LOCK_TIMEOUT_S", 1)
    folder = folder_for(postgres.new_database(), tmp_path / "home")
    with make_ledger(folder) as ledger, make_ledger(folder) as other:
        with other.store.write() as connection:
            connection.execute(text("SELECT size FROM logs FOR UPDATE"))
            with pytest.raises(RecordsError, match="lock timeout") as caught:
                ledger.record_note(text="x", now=NOW)
        assert caught.value.reason is Reason.STORAGE
        ledger.record_note(text="x", now=NOW)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE entries SET data = '\\x00' WHERE entry_index = 1", "leaf-hash"),
        ("DELETE FROM entries WHERE entry_index = 1", "entry-missing"),
        ("UPDATE nodes SET hash = decode(repeat('00', 32), 'hex') WHERE last = 3", "tree-node"),
        ("UPDATE logs SET size = 7", "size"),
        ("DROP TABLE intents", "store-damaged"),
    ],
)
def test_damage_in_a_database_is_named(
    postgres: Postgres, tmp_path: Path, statement: str, code: str
) -> None:
    folder = folder_for(postgres.new_database(), tmp_path / "home")
    fill(folder)
    with LedgerView.open_for_audit(folder) as view:
        with view.store.write() as connection:
            connection.exec_driver_sql(statement)
        verdict = verify_ledger(view)
    assert verdict.is_damaged
    assert code in {problem.code for problem in verdict.problems}


def test_a_database_without_the_stations_log_is_damage_and_not_a_new_ledger(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_for(postgres.new_database(), tmp_path / "home")
    fill(folder)
    (folder / "database.url").write_text(postgres.new_database())
    for opening in (
        lambda: Ledger.open(folder, Realm.TRAINING, create=True),
        lambda: LedgerView.open_for_audit(folder),
    ):
        with pytest.raises(RecordsError) as caught:
            opening()
        assert caught.value.reason is Reason.LEDGER_DAMAGED


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    folder = folder_for(f"postgresql://me@/none?host={tmp_path}", tmp_path / "home")
    with pytest.raises(RecordsError) as caught:
        Ledger.open(folder, Realm.TRAINING, create=True)
    assert caught.value.reason is Reason.STORAGE
    assert not (folder / "damaged").exists()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("postgresql://me:secret@host/db", "password"),
        ("postgresql://me@host/db?password=secret", "password"),
        ("mysql://me@host/db", "mysql"),
        ("no url://", "no URL"),
    ],
)
def test_a_url_that_names_no_place_for_a_ledger_is_refused(
    tmp_path: Path, url: str, match: str
) -> None:
    folder = folder_for(url, tmp_path / "home")
    with pytest.raises(RefusedError, match=match) as caught:
        Ledger.open(folder, Realm.TRAINING, create=True)
    assert caught.value.reason is Reason.USAGE
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    folder = folder_for("postgresql://me@host/db", tmp_path / "home")
    with pytest.raises(RefusedError) as caught:
        Ledger.open(folder, Realm.TRAINING, create=True)
    assert caught.value.reason is Reason.NOT_SET_UP
    assert "svcport[postgres]" in caught.value.hint


def test_a_folder_never_has_two_ledgers(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "database.url").write_text("postgresql://me@host/db")
    with pytest.raises(RefusedError, match=r"both ledger.sqlite and database.url"):
        LedgerView.open_for_audit(tmp_path)


def test_a_server_that_forgets_is_refused(tmp_path: Path) -> None:
    server = _own_server()
    try:
        server.admin("ALTER SYSTEM SET fsync TO off")
        server.admin("SELECT pg_reload_conf()")
        folder = folder_for(server.new_database(), tmp_path / "home")
        with pytest.raises(RecordsError, match="fsync off"):
            Ledger.open(folder, Realm.TRAINING, create=True)
    finally:
        server.close()

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import pytest
from audit.world import NOW, make_ledger
from sqlalchemy import event

from protocol.objects import Entry
from protocol.sealed import Realm, Sealed
from svcport.audit import opening
from svcport.audit.ledger import Ledger
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RecordsError

APPENDER = Path(__file__).with_name("appender.py")
TREE = Path(__file__).parents[2]


def start(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(APPENDER), str(folder), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TREE)},
    )


def notes(folder: Path) -> dict[int, str | None]:
    with LedgerView.open_for_audit(folder) as view:
        assert verify_ledger(view).problems == ()
        return {one.index: Entry.read(Sealed.parse(one.data)).note for one in view.entries()}


def acknowledged(output: str) -> dict[int, str]:
    lines = [line for line in output.splitlines(keepends=True) if line.endswith("\n")]
    pairs = [line.rstrip("\n").split(" ", 1) for line in lines if not line.startswith("open")]
    return {int(index): text for index, text in pairs}


def test_a_kill_in_the_middle_of_appends_loses_none_that_was_acknowledged(
    ledger_folder: Path,
) -> None:
    known: dict[int, str] = {}
    for attempt in range(4):
        process = start(ledger_folder, f"run{attempt}", 100_000)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("open")
        first = process.stdout.readline()
        time.sleep(random.uniform(0.02, 0.3))
        process.kill()
        known |= acknowledged(first + process.communicate()[0])
        stored = notes(ledger_folder)
        assert {index: stored[index] for index in known} == known
    assert known


def test_processes_that_append_at_once_share_one_tree(ledger_folder: Path) -> None:
    processes = [start(ledger_folder, name, 40) for name in ("left", "right", "third")]
    outputs = [process.communicate(timeout=50)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output.splitlines()[0] for output in outputs}) == 1
    told = [acknowledged(output) for output in outputs]
    assert [len(one) for one in told] == [40, 40, 40]
    assert told[0] | told[1] | told[2] == notes(ledger_folder)
    assert sorted(notes(ledger_folder)) == list(range(120))


def test_a_kill_while_the_ledger_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        process = start(folder, "made", 3)
        while process.poll() is None and not (folder / "ledger.sqlite").exists():
            time.sleep(0.0005)
        time.sleep(attempt * 0.002)
        process.kill()
        process.communicate()
        Ledger.open(folder, Realm.TRAINING, create=True).close()


@pytest.mark.parametrize("step", ["make_pending_key", "settle_key"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_of_making_a_ledger_is_finished_later(
    ledger_folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    real = getattr(opening, step)

    def crash(folder: Path) -> object:
        if after:
            real(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(opening, step, crash)
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(ledger_folder, Realm.TRAINING, create=True)
    with Ledger.open(ledger_folder, Realm.TRAINING, create=True) as ledger:
        ledger.record_note(text="x", now=NOW)
        assert verify_ledger(ledger).problems == ()
    assert not (ledger_folder / "station.pem.new").exists()


def _limit_pages(ledger: Ledger) -> None:
    """Make the disk full: SQLite says SQLITE_FULL where the file would have to grow."""

    def limit(link: object, _record: object, _proxy: object) -> None:
        link.execute("PRAGMA max_page_count=1")  # type: ignore[attr-defined]

    event.listen(ledger.store._engine, "checkout", limit)


def _fill(ledger: Ledger) -> None:
    for _ in range(1000):
        ledger.record_note(text="x" * 96, now=NOW)


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:
        ledger.record_note(text="before", now=NOW)
        ledger.checkpoint(NOW)
        _limit_pages(ledger)
        with pytest.raises(RecordsError) as caught:
            _fill(ledger)
        assert caught.value.reason is Reason.STORAGE
        assert "full" in caught.value.message
        assert "--home" in caught.value.hint
        size = ledger.size
    with Ledger.open(tmp_path, Realm.TRAINING, create=False) as ledger:
        assert ledger.size == size
        assert ledger.record_note(text="space again", now=NOW)[0] == size
        assert verify_ledger(ledger).problems == ()


def test_a_read_only_database_is_named(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:

        def read_only(link: object, _record: object, _proxy: object) -> None:
            link.execute("PRAGMA query_only=ON")  # type: ignore[attr-defined]

        event.listen(ledger.store._engine, "checkout", read_only)
        for attempt in (
            lambda: ledger.record_note(text="x", now=NOW),
            lambda: ledger.checkpoint(NOW),
        ):
            with pytest.raises(RecordsError) as caught:
                attempt()
            assert caught.value.reason is Reason.STORAGE


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordsError) as caught:
        Ledger.open(tmp_path / "file" / "ledger", Realm.TRAINING, create=True)
    assert caught.value.reason is Reason.STORAGE


OPENS: Final = """
import os, sys
from pathlib import Path
from protocol.sealed import Realm
from svcport.audit.ledger import Ledger
from svcport.audit.view import LedgerView
from svcport.errors import RecordsError, RefusedError
writable, folder = map(Path, sys.argv[1:])
Ledger.open(writable, Realm.TRAINING, create=True).close()  # loads all that only root may read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for attempt in (lambda: Ledger.open(folder, Realm.TRAINING, create=True),
                lambda: LedgerView.open_for_audit(folder)):
    try:
        attempt()
    except (RecordsError, RefusedError) as error:
        print(error.reason)
"""
"""Opens a ledger as somebody whom permissions bind, which root is not."""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are of POSIX")
@pytest.mark.parametrize(
    ("mode", "told"), [(0o555, ["storage", "not-set-up"]), (0o000, ["storage", "storage"])]
)
def test_a_folder_without_permission_is_named(tmp_path: Path, mode: int, told: list[str]) -> None:
    # outside tmp_path, which nobody but this user may enter
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", OPENS, str(tmp_path), folder],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TREE)},
            timeout=25,
        )
        Path(folder).chmod(0o700)
        assert list(Path(folder).iterdir()) == []
    assert (done.stdout.split(), done.stderr) == (told, "")


def test_a_ledger_held_by_another_process_is_named_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcport.audit.store.BUSY_TIMEOUT_S", 0.05)
    with make_ledger(tmp_path) as ledger, make_ledger(tmp_path) as other:
        with (
            other.store.write(),
            pytest.raises(RecordsError, match="locked") as caught,
        ):
            ledger.record_note(text="x", now=NOW)
        assert caught.value.reason is Reason.STORAGE
        ledger.record_note(text="x", now=NOW)

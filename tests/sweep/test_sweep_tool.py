from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from sweep import runner
from sweep.disk import DISK, Fault, is_available
from sweep.runner import read_journal, run_all
from sweep.starts import room, start
from sweep.wear import wear_of
from sweep.wire import Hang, garbled
from sweep.yard import Yard

from svcport.errors import Reason, SvcportError

CASES = ("power/confirm/during/1", "power/confirm/after/2", "ctrl-c/rollback/step/2")


def test_a_sweep_goes_on_where_its_journal_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal"
    found, _seconds = run_all(CASES[:2], journal, 1, io.StringIO())
    assert [ran.promise for ran in found] == ["", ""]
    with journal.open("a", encoding="utf-8") as file:
        file.write("ctrl-c/rollback/step/2\tbrick\tok\t0.1")  # cut short while it was written
    assert set(read_journal(journal)) == set(CASES[:2])
    ran: list[str] = []
    real = runner.cases.run
    monkeypatch.setattr(runner.cases, "run", lambda name: ran.append(name) or real(name))
    assert len(run_all(CASES, journal, 1, io.StringIO())[0]) == 3
    assert ran == [CASES[2]]


def test_one_case_runs_alone_by_its_name() -> None:
    command = [sys.executable, str(Path(__file__).parent), "--case", CASES[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:2] == ["power", "1"]


def test_a_case_that_breaks_prints_its_name_and_why() -> None:
    out = io.StringIO()
    found, _seconds = run_all(["power/no-such-flow/during/1"], None, 1, out)
    assert found[0].promise == "error"
    assert out.getvalue().startswith("power/no-such-flow/during/1: KeyError")


@pytest.mark.skipif(not is_available(), reason="SQLite's writes cannot be reached from this Python")
def test_every_write_of_sqlite_is_seen_and_fails_as_a_full_disk_does() -> None:
    yard = Yard(start("first"), room(), own_home=True)
    with DISK.watching(Fault.FULL, 9):
        ended = yard.go()
    assert isinstance(ended.error, SvcportError)
    assert ended.error.reason is Reason.STORAGE
    assert DISK.writes > 9
    assert yard.go().outcome == "ok"


def test_a_command_that_waits_too_long_is_a_hang() -> None:
    yard = Yard(start("restore"), room())
    end = yard.wire.open()
    with pytest.raises(Hang):
        end.read(60.0)


def test_ends_of_different_speeds_do_not_understand_each_other() -> None:
    assert garbled(b"hello", 26.0) != b"hello"
    assert b"hello" not in garbled(b"hello", 26.0)
    assert len(garbled(bytes(260), 1 / 26)) == 10


def test_no_part_of_the_memory_wears_faster_than_one_erase_in_two_acts() -> None:
    found = {part.name: part for part in wear_of(12)}
    assert all(part.worst <= part.acts // 2 for part in found.values())
    assert (found["slot A"].worst, found["slot B"].worst) == (6, 6)
    lifetime = found["state"].lifetime
    assert lifetime is None or lifetime > 10_000

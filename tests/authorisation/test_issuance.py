from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svcport.authorisation.issuer.issuance import COUNTER_LIMIT, IssuanceLog, Issued, IssuedKind
from svcport.errors import Reason, RecordsError, RefusedError

WISH = Issued(
    kind=IssuedKind.RESERVED, time=1, operator="ada", signer="11" * 8, lock="S-1", holder="22" * 8
)

ISSUER = """
import sys
from pathlib import Path
from svcport.authorisation.issuer.issuance import IssuanceLog, Issued, IssuedKind
log = IssuanceLog(Path(sys.argv[1]), Path(sys.argv[2]))
wish = Issued(kind=IssuedKind.RESERVED, time=1, operator="p", signer="11" * 8, lock="S-1")
for _ in range(int(sys.argv[3])):
    taken = log.reserve_counters(wish, 3)
    print(taken.start, taken.stop, flush=True)
"""


@pytest.fixture
def log(tmp_path: Path) -> IssuanceLog:
    made = IssuanceLog(tmp_path / "issued.db", tmp_path / "marks" / "m.json")
    made.create()
    return made


def wish(lock: str = "S-1") -> Issued:
    return dataclasses.replace(WISH, lock=lock)


def test_counters_of_each_lock_rise_from_one(log: IssuanceLog) -> None:
    assert list(log.reserve_counters(wish("A"), 2)) == [1, 2]
    assert list(log.reserve_counters(wish("B"), 1)) == [1]
    assert list(IssuanceLog(log.path).reserve_counters(wish("A"), 3)) == [3, 4, 5]


def test_what_is_recorded_is_read_back(log: IssuanceLog) -> None:
    entry = dataclasses.replace(
        WISH, kind=IssuedKind.TICKET, first=1, last=1, case="C-1", revoked=("33" * 8,), number=0
    )
    log.record(entry, WISH)
    assert log.entries() == (entry, WISH)
    assert Issued.parse(entry.build()) == entry


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "7", '{"kind":"x"}', WISH.build() + " ", '{"kind":"ticket","a":1}']
)
def test_a_content_that_is_no_entry_is_a_value_error(content: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Issued.parse(content)


def test_a_reservation_that_is_refused_takes_nothing(log: IssuanceLog) -> None:
    log.reserve_counters(wish(), 5)
    for first in (1, 5):
        with pytest.raises(RefusedError, match="goes on at 6"):
            log.reserve_counters(wish(), 1, at_least=first)
    with pytest.raises(RefusedError, match="above"):
        log.reserve_counters(wish(), 2, at_least=COUNTER_LIMIT)
    assert list(log.reserve_counters(wish(), 1)) == [6]


def test_what_then_raises_is_not_recorded(log: IssuanceLog) -> None:
    def fail() -> None:
        raise RecordsError(Reason.STORAGE, "disk full")

    with pytest.raises(RecordsError, match="disk full"):
        log.record(WISH, then=fail)
    assert log.entries() == ()


def test_entries_cannot_be_changed_or_removed_in_passing(log: IssuanceLog) -> None:
    log.record(WISH)
    connection = sqlite3.connect(log.path)
    for change in ("UPDATE entry SET lock = 'B'", "DELETE FROM entry"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change)
    connection.close()


CHANGES = [
    "UPDATE entry SET content = replace(content, 'ada', 'bob') WHERE number = 2",
    "UPDATE entry SET last = 1 WHERE number = 2",
    "UPDATE entry SET lock = 'S-9' WHERE number = 2",
    "DELETE FROM entry WHERE number = 2",
    "DELETE FROM entry WHERE number = 1",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_log_is_found_out(log: IssuanceLog, change: str) -> None:
    for _ in range(3):
        log.reserve_counters(wish(), 4)
    connection = sqlite3.connect(log.path, isolation_level=None)
    connection.executescript("DROP TRIGGER no_change; DROP TRIGGER no_removal;")
    connection.execute(change)
    connection.close()
    with pytest.raises(RecordsError, match=r"changed or removed|issuance") as caught:
        log.entries()
    assert caught.value.reason is Reason.LEDGER_DAMAGED


def damaged(log: IssuanceLog) -> str:
    with pytest.raises(RecordsError) as caught:
        log.reserve_counters(wish(), 1)
    assert caught.value.reason is Reason.LEDGER_DAMAGED
    return caught.value.message


def test_an_old_copy_put_back_is_noticed(log: IssuanceLog, tmp_path: Path) -> None:
    log.reserve_counters(wish(), 1)
    shutil.copy(log.path, tmp_path / "backup")
    log.reserve_counters(wish(), 1)
    shutil.copy(tmp_path / "backup", log.path)
    assert "has seen 2 entries, the log has 1" in damaged(log)


def test_a_copy_that_went_another_way_is_noticed(log: IssuanceLog, tmp_path: Path) -> None:
    log.reserve_counters(wish(), 1)
    shutil.copy(log.path, tmp_path / "other.db")
    log.reserve_counters(wish(), 1)
    other = IssuanceLog(tmp_path / "other.db")
    for lock in ("X", "Y"):
        other.reserve_counters(wish(lock), 1)
    shutil.copy(other.path, log.path)
    assert "another copy" in damaged(log)


def test_a_log_that_was_lost_goes_on_above_every_counter_given(
    log: IssuanceLog, tmp_path: Path
) -> None:
    log.reserve_counters(wish(), 1)
    shutil.copy(log.path, tmp_path / "backup")
    log.reserve_counters(wish(), 8)
    shutil.copy(tmp_path / "backup", log.path)
    assert list(log.reserve_counters(wish(), 1, at_least=100)) == [100]
    assert list(log.reserve_counters(wish(), 1)) == [101]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None])
def test_a_missing_or_broken_log_does_not_begin_again(
    log: IssuanceLog, content: bytes | None
) -> None:
    log.reserve_counters(wish(), 1)
    if content is None:
        log.path.unlink()
    else:
        log.path.write_bytes(content)
    assert damaged(log)
    if content is None:
        assert not log.path.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"entries": 1, "chain": "zz"}'])
def test_a_broken_mark_is_named(log: IssuanceLog, content: str) -> None:
    log.reserve_counters(wish(), 1)
    assert log.mark is not None
    log.mark.write_text(content)
    assert str(log.mark) in damaged(log)


def test_creating_a_log_twice_leaves_it_alone(log: IssuanceLog) -> None:
    log.reserve_counters(wish(), 1)
    log.create()
    assert list(log.reserve_counters(wish(), 1)) == [2]


def issuing(log: IssuanceLog, rounds: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", ISSUER, str(log.path), str(log.mark), str(rounds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def taken(lines: str) -> list[int]:
    ranges = [tuple(map(int, line.split())) for line in lines.splitlines() if line.count(" ") == 1]
    return [counter for start, stop in ranges for counter in range(start, stop)]


def test_two_processes_never_take_the_same_counter(log: IssuanceLog) -> None:
    processes = [issuing(log, 15) for _ in range(2)]
    counters = [c for process in processes for c in taken(process.communicate(timeout=50)[0])]
    assert sorted(counters) == list(range(1, 91))
    assert len(log.entries()) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal on this platform")
def test_a_killed_process_never_leads_to_a_counter_given_twice(log: IssuanceLog) -> None:
    given: list[int] = []
    for delay in (0.0, 0.004, 0.011):
        process = issuing(log, 10_000)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        given += taken(first + process.communicate(timeout=20)[0])
    given += log.reserve_counters(wish(), 3)
    assert len(set(given)) == len(given)
    reserved = [entry for entry in log.entries() if entry.kind is IssuedKind.RESERVED]
    assert reserved[-1].last == given[-1]


def test_the_mark_is_what_the_log_says(log: IssuanceLog) -> None:
    log.reserve_counters(wish(), 1)
    assert log.mark is not None
    assert json.loads(log.mark.read_text())["entries"] == 1

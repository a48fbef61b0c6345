from __future__ import annotations

import inspect
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchlab import Done
from manylocks import Benched, bench_rows
from profiled import Profiled
from uploads import Watch, Window, cpu_s, read_windows, used_by

LINE_RATE = 92_160
linux = pytest.mark.skipif(sys.platform != "linux", reason="processor times are asked of Linux")


def benched(filled: float, *uploads: Window) -> Benched:
    transfer = {
        "image_bytes": 225_187,
        "wire_bytes": LINE_RATE,
        "seconds": round(1 / filled + 0.001, 6),
    }
    # over the whole command the processors look full
    done = Done(10.0, 6.0, [{"transfer": transfer}] * 2, 14.0)
    return Benched(done, uploads, Window(6.0, 3.0, 3.0))


@pytest.mark.parametrize(
    ("filled", "uploads", "verdict"),
    [
        (0.96, (Window(4.0, 2.0, 3.0),), "ok"),
        (0.94, (Window(4.0, 2.9, 4.4),), "bounded"),
        (0.94, (Window(4.0, 2.9, 4.4), Window(2.0, 1.7, 1.6)), "MISSED"),
        (0.94, (Window(4.0, 2.0, 3.0),), "MISSED"),
    ],
)
def test_processors_excuse_empty_wires_only_if_they_are_full_while_blocks_are_on_their_way(
    filled: float, uploads: tuple[Window, ...], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    _cost, cores, wires = bench_rows(2, [benched(filled, *uploads)], "")
    assert cores.values == [3.0]  # each wire carries a second's worth
    assert wires.values == [pytest.approx(filled)]
    assert wires.verdict == verdict


def test_what_is_told_of_several_benches_is_the_median_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    full, idle = Window(4.0, 3.0, 5.0), Window(4.0, 1.0, 1.0)
    *_costs, wires = bench_rows(2, [benched(0.8, full), benched(0.9, idle), benched(0.7, full)], "")
    assert wires.verdict == "bounded"
    *_costs, wires = bench_rows(2, [benched(0.8, idle), benched(0.9, full), benched(0.7, full)], "")
    assert wires.verdict == "MISSED"


def test_processors_are_counted_from_the_first_upload_to_the_end_of_the_last(
    tmp_path: Path,
) -> None:
    out = tmp_path / "window"
    used = iter(
        [
            Window(100.0, 7.0, 50.0),  # the first begins
            Window(101.0, 7.5, 52.0),  # the second
            Window(103.0, 8.0, 56.0),  # and ends
            Window(107.0, 8.25, 57.0),  # the first ends
            Window(115.0, 9.0, 58.0),  # the third begins
            Window(117.0, 9.5, 66.0),  # and ends
        ]
    )
    watch = Watch(lambda: next(used), out)
    assert watch.around(watch.around(str.upper))("worked") == "WORKED"
    watch.around(len)("")
    second, first, third, whole = read_windows(out)
    assert second == Window(2.0, 0.5, 4.0)
    assert first == Window(7.0, 1.25, 7.0)
    assert third == Window(2.0, 0.5, 8.0)
    assert whole == Window(17.0, 2.5, 16.0)
    assert (second.busy, third.busy) == (2.25, 4.25)


def test_an_upload_that_fails_ends_the_window_too(tmp_path: Path) -> None:
    out = tmp_path / "window"
    used = iter([Window(1.0, 2.0, 3.0), Window(2.0, 4.0, 6.0)])

    def fails() -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        Watch(lambda: next(used), out).around(fails)()
    assert read_windows(out) == (Window(1.0, 2.0, 3.0),) * 2


@linux
def test_what_this_process_uses_is_counted_and_grows() -> None:
    before = now = used_by([os.getpid()])
    assert min(before.host_s, before.locks_s) > 0
    # until both have ticked, or the test's own time limit
    while now.host_s == before.host_s or now.locks_s == before.locks_s:
        now = used_by([os.getpid()])
    assert now.wall_s > before.wall_s
    assert now.host_s > before.host_s
    assert now.locks_s > before.locks_s


def test_what_all_locks_use_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.cpu_s", {11: 0.5, 12: 2.0}.__getitem__)
    assert used_by([11, 12]).locks_s == 2.5
    assert used_by([]).locks_s == 0


@linux
def test_a_process_that_is_gone_has_used_nothing() -> None:
    assert cpu_s(2**22 + 1) == 0
    assert cpu_s(os.getpid()) > 0


@dataclass
class Hand:
    """A clock that is moved by hand."""

    now: float = 0.0

    def spend(self, seconds: float, in_c: float) -> str:
        self.now += seconds
        setattr(self, "now", self.now + in_c)  # noqa: B010 - a function of C
        return "worked"


def test_a_profile_counts_what_the_function_spends_by_file_and_function_of_c() -> None:
    hand = Hand()
    profiled = Profiled(lambda: hand.now)
    assert not profiled.by_file()
    looked_at = profiled.around(hand.spend)
    hand.spend(64.0, 64.0)  # beside it
    assert looked_at(2.0, 0.25) == "worked"
    hand.spend(64.0, 64.0)
    assert looked_at(1.0, 0.5) == "worked"
    here = "/".join(Path(__file__).parts[-2:])
    assert +profiled.by_file() == {here: 3.0, "<built-in method builtins.setattr>": 0.75}


def test_a_profile_goes_by_the_clock_that_stands_still_while_its_thread_waits() -> None:
    assert inspect.signature(Profiled).parameters["clock"].default is time.thread_time

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchlab import Done
from manylocks import Benched, bench_rows
from profiled import Profiled
from uploads import Watch, Window, cpu_s, read_windows

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


def work(seconds: float) -> str:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return "worked"


@linux
def test_processors_are_counted_from_the_first_upload_to_the_end_of_the_last(
    tmp_path: Path,
) -> None:
    out = tmp_path / "window"
    work(0.2)  # before it, so not counted
    watch = Watch([os.getpid()], out)
    first, second = watch.around(work), watch.around(time.sleep)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(first, 0.1), pool.submit(second, 0.3)]
        assert answers[0].result() == "worked"
    work(0.2)  # after it
    short, long, whole = read_windows(out)
    assert 0.1 <= short.wall_s < 0.3 <= long.wall_s <= whole.wall_s
    for window in (short, long, whole):
        assert 0.05 < window.host_s < 0.2
        assert window.locks_s == pytest.approx(window.host_s, abs=0.025)  # it ticks in 10 ms
        assert window.busy == pytest.approx((window.host_s + window.locks_s) / window.wall_s)


@linux
def test_an_upload_that_fails_ends_the_window_too(tmp_path: Path) -> None:
    out = tmp_path / "window"

    def fails() -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        Watch([], out).around(fails)()
    assert [window.locks_s for window in read_windows(out)] == [0, 0]


@linux
def test_a_process_that_is_gone_has_used_nothing() -> None:
    assert cpu_s(2**22 + 1) == 0
    assert cpu_s(os.getpid()) > 0


def test_a_profile_counts_processor_time_within_the_function_and_no_waiting() -> None:
    profiled = Profiled()
    assert not profiled.by_file()
    looked_at = profiled.around(work)
    work(0.1)  # beside it
    assert looked_at(0.2) == "worked"
    profiled.around(time.sleep)(0.2)
    spent = profiled.by_file()
    here = "/".join(Path(__file__).parts[-2:])
    assert spent[here] > 0
    assert spent.total() == pytest.approx(0.2, abs=0.05)

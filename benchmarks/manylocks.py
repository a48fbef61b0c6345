"""Many locks at once: what each costs the host, how full their wires are, and what fills the rest.

Host and locks share the processors of this computer: a lock is played by a program that needs more
of them than svcport does for it. So where wires stay empty, two more things are looked at: how busy
the processors were while a lock uploaded, and with what.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import firmware
from benchlab import BenchLab, Done, noise, served, svcport
from ours import BENCH, Job
from rows import Row, Want
from uploads import Window, read_windows

LOCK_PROCESSES: Final = 8
SATURATED: Final = 0.9
"""A share of all processors that says that they are what bounds."""

MB: Final = 1e6
SHOWN: Final = 6
"""Files and functions of a profile that are named."""


@dataclass(frozen=True, slots=True)
class Benched:
    """One command for many locks.

    Attributes:
        uploads: what the processors did during each upload.
        whole: the same from the first block of all to the last acknowledgement.
    """

    done: Done
    uploads: Sequence[Window]
    whole: Window

    @property
    def busy(self) -> float:
        """Processors that were busy during an upload, mean of all uploads."""
        return statistics.mean(window.busy for window in self.uploads)

    @property
    def filled(self) -> float:
        """Sum of the wires' rates while uploading, over the sum of the line rates."""
        transfers = [report["transfer"] for report in self.done.documents]
        latency_s = BENCH.latency_ms / 1000
        rates = [one["wire_bytes"] / (one["seconds"] - latency_s) for one in transfers]
        return float(sum(rates)) / len(rates) / BENCH.line_rate


def many(job: Job) -> Iterator[Row]:
    """Benches of simulated locks on the same processors."""
    for count in job.benches:
        root = job.root / f"bench{count}"
        payloads = [*noise(2), firmware.firmware()]
        lab = BenchLab(root, payloads, condition="dead", locks=count)
        runs = [_bench(lab) for _run in range(job.runs)]
        yield from bench_rows(count, runs, _profile(lab))


def _bench(lab: BenchLab) -> Benched:
    script = Path(__file__).with_name("uploads.py")
    with (
        tempfile.TemporaryDirectory() as folder,
        lab.copy() as (locks, home),
        served(locks, BENCH, processes=LOCK_PROCESSES) as up,
    ):
        out = Path(folder) / "window"
        pids = ",".join(str(process.pid) for process in up.processes)
        before = up.cpu_s()
        done = svcport(
            *_restore(home, up.ports), prefix=[sys.executable, str(script), str(out), pids]
        )
        *uploads, whole = read_windows(out)
        done = Done(done.wall_s, done.cpu_s, done.documents, up.cpu_s() - before)
    return Benched(done, uploads, whole)


def _restore(home: Path, ports: Sequence[str]) -> list[str | Path]:
    return ["--home", home, "restore", *(word for port in ports for word in ("--port", port))]


def bench_rows(count: int, runs: Sequence[Benched], profile: str) -> Iterator[Row]:
    """What one bench costs, and how far it fills its wires; its median run is described."""
    middle = sorted(runs, key=lambda one: one.filled)[len(runs) // 2]
    done, whole = middle.done, middle.whole
    megabytes = done.documents[0]["transfer"]["image_bytes"] / MB
    yield Row(
        _group(count),
        f"{count} locks: host's processor time for a lock and MB",
        [one.done.cpu_s / count / megabytes for one in runs],
        "s",
        note=f"{done.cpu_s / count:.3f} s a lock; "
        f"a simulated lock itself {done.locks_cpu_s / count:.3f} s; "
        f"{done.wall_s:.1f} s whole command",
    )
    line_s = done.documents[0]["transfer"]["wire_bytes"] / BENCH.line_rate
    yield Row(
        _group(count),
        f"{count} locks: host's processors, if all wires were full",
        [one.whole.host_s / line_s for one in runs],
        "cores",
        note=f"by profile: {profile}",
    )
    cores = os.cpu_count() or 1
    yield Row(
        _group(count),
        f"{count} locks: wire filled, mean of the upload phases",
        [one.filled for one in runs],
        want=Want.AT_LEAST,
        goal=0.95,
        bound="bounded" if middle.busy >= SATURATED * cores else "",
        note=f"{middle.busy:.2f} of {cores} processors busy during an upload; first block to last "
        f"acknowledgement {whole.wall_s:.2f} s: host {whole.host_s:.2f} s, "
        f"locks {whole.locks_s:.2f} s",
    )


def _profile(lab: BenchLab) -> str:
    """What host and lock do while blocks are on their way, seen at one of the locks."""
    script = str(Path(__file__).with_name("profiled.py"))
    with tempfile.TemporaryDirectory() as folder, lab.copy() as (locks, home):
        serial = min(path.name for path in (locks / "locks").iterdir())
        for path in (locks / "locks").iterdir():
            if path.name != serial:
                shutil.rmtree(path)
        lock, host = Path(folder) / "lock", Path(folder) / "host"
        with served(locks, BENCH, prefix=[sys.executable, script, str(lock), "serving"]) as up:
            prefix = [sys.executable, script, str(host), "uploading"]
            svcport(*_restore(home, up.ports), prefix=prefix)
        return f"host {_shares(host)}; a lock {_shares(lock)}"


def _shares(profile: Path) -> str:
    spent = Counter(json.loads(profile.read_text()))
    named = (f"{name} {seconds / spent.total():.0%}" for name, seconds in spent.most_common(SHOWN))
    return ", ".join(named)


def _group(count: int) -> str:
    return f"{count} locks at once, {BENCH}, the same release, locks on the same processors"

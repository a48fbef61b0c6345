"""A campaign: harnesses in processes of their own, one a core at a time, and a table of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fuzz.harness import Harness

WORKER = Path(__file__).parent / "worker.py"
START_S = 4.0
"""What a worker needs before its first execution: imports, and adding counters to them."""

UNIT_LIMIT_S = 10
"""An input that takes longer counts as a hang."""

GRACE_S = 90.0
ADOPT_LIMIT, ADOPT_COUNT = 300, 20
"""Bytes of an input, and inputs of a harness, that are committed at one time."""
_MEMORY_MB = 2048
_STATUS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs in", re.MULTILINE)


@dataclass(frozen=True)
class Campaign:
    """What a run is given.

    Attributes:
        minutes: wall time for everything together.
        runs: executions a harness, None for as many as fit.
        jobs: processes at a time, None for one a core.
        keep: where corpora grow from run to run; None to begin from the committed ones.
        found: where inputs that break something go.
    """

    minutes: float
    runs: int | None
    jobs: int | None
    keep: Path | None
    found: Path


@dataclass(frozen=True)
class Row:
    """What became of one harness."""

    name: str
    executions: int
    seconds: float
    coverage: int
    features: int
    corpus: int
    crash: str

    def __str__(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0.0
        return (
            f"{self.name:18}{self.executions:>11,}{rate:>9,.0f}{self.coverage:>8}"
            f"{self.features:>9}{self.corpus:>8}  {self.crash or '-'}"
        )


HEADING = f"{'harness':18}{'executions':>11}{'a second':>9}{'edges':>8}{'features':>9}{'corpus':>8}"


def run(harnesses: Sequence[Harness], campaign: Campaign) -> int:
    """Fuzz them all and print what came of it; the exit code."""
    if find_spec("atheris") is None:
        sys.stderr.write(
            "error: atheris is not installed\nhint: pip install -e '.[fuzz]' (Linux)\n"
        )
        return 2
    jobs = campaign.jobs or os.cpu_count() or 1
    share_s = campaign.minutes * 60 * min(jobs, len(harnesses)) / len(harnesses)
    started = time.monotonic()
    _say(f"{HEADING}  found")
    rows: list[Row] = []
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(lambda one: _fuzz(one, campaign, share_s), harnesses):
            rows.append(row)
            _say(str(row))
    _total(rows, time.monotonic() - started)
    return 1 if any(row.crash for row in rows) else 0


def adopt(harnesses: Sequence[Harness], grown: Path) -> int:
    """Take the small inputs that a run kept, the latest first, into the committed corpus; 0."""
    for harness in harnesses:
        folder = grown / harness.name
        latest = sorted(folder.iterdir(), key=_age) if folder.is_dir() else []
        small = [path.read_bytes() for path in latest if path.stat().st_size <= ADOPT_LIMIT]
        before = len(harness.inputs())
        harness.commit(small[:ADOPT_COUNT])
        _say(f"{harness.name:18}{len(harness.inputs()) - before:>5} of {len(small)}")
    return 0


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def _total(rows: Sequence[Row], wall_s: float) -> None:
    executions = sum(row.executions for row in rows)
    broken = [row.name for row in rows if row.crash]
    _say(f"{'all':18}{executions:>11,} executions in {wall_s / 60:.1f} min")
    _say(f"{len(broken)} of {len(rows)} harnesses found something: {', '.join(broken) or '-'}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fuzz(harness: Harness, campaign: Campaign, share_s: float) -> Row:
    campaign.found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="svcport-fuzz-") as scratch:
        grown = (campaign.keep or Path(scratch)) / harness.name
        grown.mkdir(parents=True, exist_ok=True)
        start = Path(scratch) / "committed"
        start.mkdir()
        for number, data in enumerate(harness.inputs()):
            (start / str(number)).write_bytes(data)
        before = set(campaign.found.iterdir())
        started = time.monotonic()
        output = _worker(harness, campaign, share_s, (grown, start))
        seconds = max(0.1, time.monotonic() - started - START_S)
    new = sorted(set(campaign.found.iterdir()) - before)
    mine = [path.name for path in new if path.name.startswith(f"{harness.name}--")]
    return _row(harness.name, output, seconds, mine)


def _worker(harness: Harness, campaign: Campaign, share_s: float, corpora: Sequence[Path]) -> str:
    """What libFuzzer says of one harness; the exit code says nothing that its files do not."""
    words = [
        f"-artifact_prefix={campaign.found.resolve()}/{harness.name}--",
        f"-max_total_time={max(1, round(share_s - START_S))}",
        f"-timeout={UNIT_LIMIT_S}",
        f"-rss_limit_mb={_MEMORY_MB}",
        "-print_final_stats=1",
        *([f"-runs={campaign.runs}"] if campaign.runs else []),
        *(str(folder.resolve()) for folder in corpora),
    ]
    command = [sys.executable, str(WORKER), harness.room, harness.name, *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=share_s + GRACE_S
        )
    except subprocess.TimeoutExpired as late:
        said = late.stderr or b""
        return said.decode(errors="replace") if isinstance(said, bytes) else said
    return done.stdout + done.stderr


def _row(name: str, output: str, seconds: float, mine: Sequence[str]) -> Row:
    statuses = _STATUS.findall(output)
    executions, coverage, features, corpus = map(int, statuses[-1]) if statuses else (0, 0, 0, 0)
    done = _DONE.search(output)
    if done is None and not mine:
        return Row(name, executions, seconds, coverage, features, corpus, _trouble(output))
    if done is not None:
        executions = int(done[1])
    return Row(name, executions, seconds, coverage, features, corpus, ", ".join(mine))


def _trouble(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return f"ended early: {lines[-1][:80] if lines else 'without a word'}"

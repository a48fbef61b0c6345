from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

SVCPORT = [sys.executable, "-m", "svcport", "--json"]
KILLS = 20
"""Locks of the lab, each of whose restores is killed once at a moment of its own."""

BAUD = 460_800
"""Slow enough that half of the moments lie in the upload."""


def call(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [*SVCPORT, "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


def releases_apart(folder: Path, size: int) -> list[str]:
    """Options of `lab init` for releases that share no byte, so that an upload takes its time."""
    options = []
    for number in range(3):
        payload = folder / f"payload{number}.bin"
        payload.write_bytes(random.Random(number).randbytes(size))
        options += ["--payload", str(payload)]
    return options


@contextlib.contextmanager
def served(lab: Path, locks: int, *options: str) -> Iterator[list[str]]:
    command = [*SVCPORT, "lab", "run", str(lab), "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [json.loads(process.stdout.readline())["port"] for _ in range(locks)]
        finally:
            process.terminate()


def killed_after(home: Path, port: str, seconds: float) -> None:
    command = [*SVCPORT, "--home", str(home), "restore", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()


def survive(home: Path, port: str, seconds: float) -> bool:
    """Kill one restore; the lock and the records must hold. Whether the next one resumed."""
    killed_after(home, port, seconds)
    code, report = call(home, "identify", "--port", port)
    assert code == 0, report
    runs = next(s for s in report["lock"]["slots"] if s["state"] in ("running", "trying"))
    assert runs["version"] in ("2.4.0+0", "2.4.1+0")
    held = next(s for s in report["lock"]["slots"] if s is not runs)
    code, report = call(home, "restore", "--port", port)
    assert code == 0, report
    assert report["outcome"] in ("ok", "nothing-to-do")
    transfer = report.get("transfer") or {"resumed": False, "units": {"skipped": 0}}
    if held["state"] == "partial" and transfer["units"]["skipped"]:
        assert transfer["resumed"] is True
    return bool(transfer["resumed"])


@pytest.mark.timeout(900)  # 75 s on an idle computer
def test_restores_killed_at_twenty_random_moments_lose_nothing(tmp_path: Path) -> None:
    lab, home = tmp_path / "lab", tmp_path / "home"
    apart = releases_apart(tmp_path, 100_000)
    command = ["lab", "init", str(lab), "--locks", str(KILLS), "--seed", "kill", *apart]
    code, _report = call(home, *command)
    assert code == 0
    assert call(home, "setup", "--from", str(lab / "technician"))[0] == 0
    moments = random.Random(20261122)
    with (
        served(lab, KILLS, "--baud", str(BAUD), "--latency-ms", "1") as ports,
        ThreadPoolExecutor(2) as pool,
    ):
        resumed = list(pool.map(lambda port: survive(home, port, moments.uniform(0.4, 4.5)), ports))
        assert any(resumed)
        code, report = call(home, "audit", "verify")
    assert code == 0, report
    assert report["problems"] == []
    assert report["locks"] == KILLS


@pytest.mark.timeout(120)
def test_two_processes_share_a_home_and_not_a_port(tmp_path: Path) -> None:
    lab, home = tmp_path / "lab", tmp_path / "home"
    apart = releases_apart(tmp_path, 100_000)
    call(home, "lab", "init", str(lab), "--locks", "2", "--seed", "two", *apart)
    call(home, "setup", "--from", str(lab / "technician"))
    # the upload takes 9 s, and the question that must be told "busy" meanwhile 2 s
    with served(lab, 2, "--baud", "115200") as ports:
        command = [*SVCPORT, "-v", "--home", str(home), "restore", "--port", ports[0]]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as first:
            assert first.stderr is not None
            assert any("sending the new image" in line for line in first.stderr)
            code, report = call(home, "identify", "--port", ports[0])
            assert (code, report["reason"]) == (4, "port-busy")
            code, report = call(home, "restore", "--port", ports[1])
            assert code == 0, report
            out, _err = first.communicate(timeout=60)
        assert json.loads(out)["outcome"] == "ok"
        code, report = call(home, "audit", "verify")
        assert (code, report["entries"]) == (0, 4)

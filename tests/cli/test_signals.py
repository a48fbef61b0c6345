from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from svcport.cli import signals

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="Windows copies no process and sends it none"
)

STRIDE = "60"
BOTH = (signal.SIGINT, signal.SIGTERM)


def struck(numbers: tuple[int, ...], *words: str) -> tuple[list[dict[str, Any]], int]:
    """Every point at which a copy was struck, and the code of the process that was not."""
    script = Path(__file__).with_name("signalpoints.py")
    told = [",".join(str(int(number)) for number in numbers), STRIDE, *words]
    ran = subprocess.run([sys.executable, script, *told], capture_output=True, text=True)
    assert ran.stderr == ""
    return [json.loads(line) for line in ran.stdout.splitlines()], ran.returncode


@pytest.mark.parametrize("numbers", [(signal.SIGINT,), (signal.SIGTERM,), BOTH])
def test_a_wrong_line_ends_by_the_signal_at_every_point(numbers: tuple[int, ...]) -> None:
    points, code = struck(numbers, "lab", "run", "--bogus")
    assert code == 2
    assert len(points) > 200
    for point in points:
        assert -point["code"] in numbers, point
        assert point["out"] == "", point
        assert point["err"] == "" or point["err"].startswith("error: no such option"), point
        assert "Traceback" not in point["err"], point
    assert {bool(point["err"]) for point in points} == {False, True}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((signal.SIGINT,), ("explain", "no-lock")),
        ((signal.SIGTERM,), ("lab", "run", "no-such-lab")),
        (BOTH, ("explain", "no-lock")),
    ],
)
def test_a_command_ends_by_the_signal_or_with_one_report_at_every_point(
    numbers: tuple[int, ...], words: tuple[str, ...]
) -> None:
    points, code = struck(numbers, "--json", *words)
    ends = set()
    for point in points:
        assert "Traceback" not in point["err"], point
        reports = [json.loads(line) for line in point["out"].splitlines()]
        if point["code"] >= 0:
            (report,) = reports
            stopped = report.get("reason") == "interrupted"
            assert point["code"] == (4 if stopped else code), point
            ends.add(stopped)
        else:
            assert -point["code"] in numbers, point
            assert len(reports) <= 1, point
            ends.add(None)
    assert {True, None} <= ends


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored() -> None:
    script = (
        "import os, signal, svcport.__main__ as program, svcport.cli.main as cli\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "cli.root.main = lambda **_: os.kill(os.getpid(), signal.SIGINT) or 3\n"
        "program.main()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (ran.returncode, ran.stderr) == (3, b"")


def test_a_process_that_is_not_ours_keeps_its_handlers() -> None:
    before = [signal.getsignal(number) for number in BOTH]
    signals.begin()
    signals.end()
    signals.ignore()
    assert [signal.getsignal(number) for number in BOTH] == before


def test_what_nobody_catches_is_told_unless_it_is_ctrl_c() -> None:
    script = (
        "import svcport.__main__ as program, svcport.cli.main as cli\n"
        "def raises(**_): raise {}\n"
        "cli.root.main = raises\n"
        "program.main()"
    )
    ends = []
    for error in ("KeyboardInterrupt", "ZeroDivisionError"):
        ran = subprocess.run([sys.executable, "-c", script.format(error)], capture_output=True)
        ends.append((ran.returncode, b"Traceback" in ran.stderr))
    assert ends == [(-signal.SIGINT, False), (1, True)]

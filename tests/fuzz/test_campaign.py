from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import campaign
from fuzz.campaign import Campaign
from fuzz.harness import Harness, Pieces, nothing_more
from fuzz.harnesses import HARNESSES

SAID = """\
#22\tINITED cov: 27 ft: 119 corp: 22/3kb exec/s: 0 rss: 70Mb
#8192\tpulse  cov: 27 ft: 120 corp: 23/3kb exec/s: 2730 rss: 71Mb
"""


@pytest.fixture
def short(tmp_path: Path) -> Campaign:
    return Campaign(minutes=0.5, runs=300, jobs=1, keep=None, found=tmp_path / "found")


def test_without_atheris_it_says_how_to_get_it(
    short: Campaign, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(campaign, "find_spec", lambda _name: None)
    assert campaign.run([HARNESSES["frame"]], short) == 2
    assert "pip install" in capsys.readouterr().err


def test_a_row_tells_what_libfuzzer_said_last() -> None:
    row = campaign._row("frame", f"{SAID}Done 9001 runs in 3 second(s)\n", 3.0, [])
    assert (row.executions, row.coverage, row.features, row.corpus) == (9001, 27, 120, 23)
    assert not row.crash


def test_a_find_and_an_early_end_both_count() -> None:
    assert campaign._row("frame", SAID, 3.0, ["frame--crash-1"]).crash == "frame--crash-1"
    assert (
        "ModuleNotFoundError" in campaign._row("frame", "ModuleNotFoundError: x\n", 1.0, []).crash
    )


def test_pieces_are_read_to_their_end_and_then_are_nothing() -> None:
    pieces = Pieces(b"\x05\x00\x02ab\x00\x09c")
    assert (pieces.number(), pieces.some(), pieces.some(), pieces.left) == (5, b"ab", b"c", False)
    assert (pieces.number(2), pieces.some()) == (0, b"")


def test_an_undeclared_error_and_a_broken_promise_come_out_of_a_harness() -> None:
    harness = Harness("h", "x", bytes.hex, (), nothing_more, lambda: ())
    assert harness(b"a")
    with pytest.raises(ZeroDivisionError):
        replace(harness, parse=lambda data: 1 // len(data))(b"")
    with pytest.raises(ZeroDivisionError):
        replace(harness, check=lambda _data, value: divmod(1, len(value)))(b"")
    assert not replace(harness, parse=lambda _data: int("x"), errors=(ValueError,))(b"")


def test_the_smallest_inputs_of_a_grown_corpus_are_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.harness.CORPUS", tmp_path)
    grown = tmp_path / "grown" / "frame"
    grown.mkdir(parents=True)
    for number, data in enumerate((b"\x02\x01", b"\x01", bytes(5000), b"")):
        (grown / str(number)).write_bytes(data)
    assert campaign.adopt([HARNESSES["frame"]], tmp_path / "grown") == 0
    assert (tmp_path / "frame.txt").read_bytes() == b"01\n0201\n"


def test_a_harness_runs_under_atheris(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed (Linux)")
    words = ["--only", "frame", "--runs", "300", "--minutes", "0.5", "--found", str(tmp_path)]
    folder = Path(campaign.__file__).parent
    done = subprocess.run([sys.executable, str(folder), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 1 harnesses found something" in done.stdout

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.cli.answer import Answer
from svcport.cli.exits import Exit
from svcport.cli.output import Batch, Output, harmless, one_line, write
from svcport.cli.tables import Table
from svcport.errors import FailedError, Reason, RefusedError, UnknownOutcomeError


@given(st.text())
def test_json_is_one_line_for_every_reader_of_lines(text: str) -> None:
    line = one_line({"message": text})
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"message": text}


@given(st.text())
def test_text_for_people_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not any(char in shown for char in "\x1b\x07\r\x00\x9b\u202e")


def test_a_file_name_that_is_no_text_is_still_json_in_utf_8(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    Output("image-verify", as_json=True).publish(Answer.ok("fine", file="\udcff"))
    assert json.loads(capfdbinary.readouterr().out.decode("utf-8"))["file"] == "\udcff"


def test_a_batch_is_printed_as_it_comes_and_exits_with_its_highest_code(
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = Output("restore", as_json=True)
    seen: list[int] = []

    def answers() -> Iterator[Answer]:
        yield Answer.ok("done").about("port", "a")
        seen.append(capfd.readouterr().out.count("\n"))
        yield Answer.of_error(UnknownOutcomeError(Reason.LINK_LOST, "gone")).about("port", "b")
        yield Answer.of_error(RefusedError(Reason.NO_PERMIT, "none")).about("port", "c")

    output.publish(Batch(answers(), "port"))
    rest = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert seen == [1]
    assert [one["port"] for one in rest] == ["b", "c"]
    assert output.code is Exit.UNKNOWN


def test_people_get_one_table_for_a_bench_and_the_errors_by_port(
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = [
        Answer.ok("runs 2.4.1", lock={"serial": "S1"}).about("port", "COM5"),
        Answer.of_error(FailedError(Reason.NO_LOCK, "silence", hint="plug")).about("port", "COM6"),
    ]
    Output("restore", as_json=False).publish(Batch(answers, "port"))
    shown = capfd.readouterr()
    header, first, second = shown.out.splitlines()
    assert header.split() == ["port", "lock", "result", "what", "happened"]
    assert first.split()[:2] == ["COM5", "S1"]
    assert "[FAIL] failed" in second
    assert shown.err.splitlines() == ["error: COM6: silence", "hint: plug"]


WARNING: Final = {"reason": "ledger-gap", "message": "receipt 1 is not here", "hint": "put it back"}


def test_people_are_told_a_warning_once_after_the_report(
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = Output("restore", as_json=False)
    output.publish(Answer.ok("runs 2.4.1", warnings=[WARNING]))
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [
        "runs 2.4.1",
        "[!] receipt 1 is not here",
        "    hint: put it back",
    ]
    assert shown.err == ""
    output.publish(Answer.ok("runs 2.4.1; receipt 1 is not here", warnings=[WARNING]))
    assert capfd.readouterr().out.count("receipt 1") == 1


def test_people_are_told_warnings_of_a_bench_below_the_table_by_port(
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = [
        Answer.ok("runs 2.4.1").about("port", "COM5"),
        Answer.ok("runs 2.4.1", warnings=[WARNING]).about("port", "COM6"),
    ]
    Output("restore", as_json=False).publish(Batch(answers, "port"))
    lines = capfd.readouterr().out.splitlines()
    assert lines[3:] == ["[!] COM6: receipt 1 is not here", "    hint: put it back"]


def test_a_reader_that_went_away_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output = Output("identify", as_json=True)
        output.publish(Answer.ok("fine"))
        output.publish(Answer.ok("fine again"))
    assert output.code is Exit.OK


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    write(stream, "text")
    write(None, "text")


@pytest.mark.parametrize("words", [["explain"], ["explain", "--json"], ["--version"], ["--help"]])
def test_a_full_disk_under_stdout_is_told_and_is_no_success(words: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full: /dev/full")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "svcport", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ran.returncode == 4
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.endswith("No space left on device\n")
    assert "Traceback" not in ran.stderr


def test_columns_of_a_plain_table_stand_under_each_other() -> None:
    table = Table.of(("a", "b"), [("1", "2"), ("three", "4")])
    assert table.plain().splitlines() == ["a      b", "1      2", "three  4"]

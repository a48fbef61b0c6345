from __future__ import annotations

import click
import pytest
from clirunner import svcport

from svcport.cli import explain, faults
from svcport.cli.exits import Exit
from svcport.errors import Outcome


def test_a_bug_while_reading_has_changed_nothing() -> None:
    answer = faults.of_exception(ZeroDivisionError("x"), changes=False, verbosity=0)
    assert (answer.outcome, answer.code) == (Outcome.FAILED, Exit.FAILED)


def test_a_bug_while_changing_a_lock_leaves_it_open_what_happened() -> None:
    answer = faults.of_exception(ZeroDivisionError("x"), changes=True, verbosity=0)
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, Exit.UNKNOWN)
    assert "svcport reconcile" in answer.hint


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_stopping_is_told_as_such(error: BaseException) -> None:
    answer = faults.of_exception(error, changes=True, verbosity=0)
    assert (answer.reason, answer.code) == ("interrupted", Exit.FAILED)


def _broken(word: str) -> None:
    raise ZeroDivisionError(f"while\nexplaining {word}")


@pytest.mark.parametrize("words", [("--json",), ()])
def test_a_bug_in_a_command_is_a_sentence_and_no_traceback(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_explained", _broken)
    ran = svcport("explain", "usage", *words)
    assert ran.code == 4
    assert "Traceback" not in ran.err
    assert "ZeroDivisionError: while explaining usage" in ran.err
    if words:
        assert ran.report["schema"] == "svcport/explain/1"


def test_vvv_shows_where_a_bug_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_explained", _broken)
    ran = svcport("-vv", "explain", "usage", "-v", "--json")
    assert "Traceback" in ran.err
    assert ran.report["outcome"] == "failed"

from __future__ import annotations

import pytest

from svcport.cli import exits
from svcport.cli.answer import Answer
from svcport.cli.exits import Exit
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RecordsError,
    RefusedError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.OK, 0),
        (Outcome.NOTHING_TO_DO, 0),
        (Outcome.DIFFERS, 1),
        (Outcome.REFUSED, 3),
        (Outcome.FAILED, 4),
        (Outcome.UNKNOWN, 6),
    ],
)
def test_a_report_exits_with_the_code_of_its_outcome(outcome: Outcome, code: int) -> None:
    assert exits.of_outcome(outcome, Reason.NO_LOCK) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError(Reason.USAGE, "x"), 2),
        (RefusedError(Reason.SEVERAL_LOCKS, "x"), 3),
        (RefusedError(Reason.WRONG_LOCK, "x"), 3),
        (RefusedError(Reason.NO_PERMIT, "x"), 3),
        (FailedError(Reason.LINK_LOST, "x"), 4),
        (SvcportError(Reason.NO_LOCK, "x"), 4),
        (UnfinishedError(Reason.LINK_LOST, "x", boots="2.3.1+0"), 5),
        (UnknownOutcomeError(Reason.LINK_LOST, "x"), 6),
        (RecordsError(Reason.LEDGER_DAMAGED, "x"), 7),
        (RecordsError(Reason.STORAGE, "x"), 7),
    ],
)
def test_an_error_exits_with_the_code_of_its_class(error: SvcportError, code: int) -> None:
    assert exits.of_error(error) == code


def test_several_reports_exit_with_the_highest_code() -> None:
    assert exits.highest([Exit.OK, Exit.UNKNOWN, Exit.REFUSED]) is Exit.UNKNOWN
    assert exits.highest([]) is Exit.OK


def test_an_unfinished_act_says_what_boots_even_if_nothing_does() -> None:
    answer = Answer.of_error(UnfinishedError(Reason.LINK_LOST, "cable", boots=None))
    assert answer.document("restore")["boots"] is None


def test_a_refusal_lists_every_no_in_the_contracts_order() -> None:
    error = RefusedError(Reason.NO_PERMIT, "none fits", hint="ask")
    document = Answer.of_error(error).document("rollback")
    assert list(document)[:5] == ["schema", "outcome", "reason", "message", "hint"]
    assert document["refusals"] == [{"reason": "no-permit", "message": "none fits", "hint": "ask"}]


def test_notes_on_an_error_are_told_as_hints() -> None:
    error = FailedError(Reason.NO_LOCK, "silence", hint="check the cable")
    error.add_note("then the battery")
    assert Answer.of_error(error).hint == "check the cable; then the battery"


def test_a_good_answer_has_no_reason() -> None:
    assert "reason" not in Answer.ok("done").document("identify")

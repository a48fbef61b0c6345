from __future__ import annotations

import re

import pytest
from clirunner import svcport

from svcport.cli.reasons import EXPLANATIONS
from svcport.errors import Reason


def test_every_reason_is_explained_in_the_order_of_reports() -> None:
    assert list(EXPLANATIONS) == list(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_an_explanation_says_what_happened_what_to_do_and_what_never_to_do(reason: Reason) -> None:
    ran = svcport("explain", reason, "--json")
    assert ran.code == 0
    assert ran.report["word"] == reason
    assert ran.report["do"]
    for text in (EXPLANATIONS[reason].meaning, *ran.report["do"], ran.report["never"]):
        assert re.fullmatch(r"[A-Z`].*[.!]", text, re.DOTALL), text
        assert text.isascii(), text


@pytest.mark.parametrize("reason", list(Reason))
def test_commands_named_in_an_explanation_exist(reason: Reason) -> None:
    found = EXPLANATIONS[reason]
    for text in (found.meaning, *found.do, found.never):
        for line in re.findall(r"`svcport ([a-z]+(?: (?:verify|export|inspect))?)", text):
            assert svcport(*line.split(), "--help").code == 0, line


def test_without_a_reason_all_are_listed() -> None:
    ran = svcport("explain", "--json")
    assert [one["word"] for one in ran.report["reasons"]] == list(Reason)


def test_an_unknown_word_is_a_usage_error_that_names_the_closest() -> None:
    ran = svcport("--json", "explain", "no-permt")
    assert ran.code == 2
    assert (ran.report["outcome"], ran.report["reason"]) == ("refused", "usage")
    assert "no-permit" in ran.report["hint"]


@pytest.mark.parametrize("word", ["NO_PERMIT", " no-permit ", "No-Permit"])
def test_a_reason_is_found_however_it_is_typed(word: str) -> None:
    assert svcport("explain", word).code == 0

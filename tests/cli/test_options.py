from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.cli.logs import Since
from svcport.cli.options import (
    MAX_CASE,
    MAX_PASSPHRASE,
    MAX_WAIT_S,
    CaseNumber,
    Seconds,
    passphrase_source,
)
from svcport.errors import Reason, RefusedError


def _given(data: bytes) -> bytes:
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        source = passphrase_source(reading)
        assert source is not None
        return source()
    finally:
        os.close(reading)


@pytest.mark.parametrize("text", ["4", "Fall 4711/2 (B)", "x" * MAX_CASE, "~"])
def test_a_case_number_is_taken_as_it_is(text: str) -> None:
    assert CaseNumber().convert(text, None, None) == text


@pytest.mark.parametrize("data", [b"secret", b"secret\n", b"secret\r\n", b"secret\nmore"])
def test_a_passphrase_is_the_first_line_of_its_descriptor(data: bytes) -> None:
    assert _given(data) == b"secret"


@pytest.mark.parametrize("data", [b"", b"\n", b"x" * (MAX_PASSPHRASE + 1)])
def test_no_passphrase_or_far_too_long_a_one_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        _given(data)
    assert caught.value.reason is Reason.SIGNER_LOCKED


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    source = passphrase_source(987)
    assert source is not None
    with pytest.raises(RefusedError, match="987"):
        source()


def test_without_a_terminal_nobody_is_asked() -> None:
    assert passphrase_source(None) is None


@given(st.text())
def test_any_text_is_a_time_to_wait_within_bounds_or_a_usage_error(text: str) -> None:
    try:
        seconds = Seconds().convert(text, None, None)
    except click.BadParameter:
        return
    assert 0 <= seconds <= MAX_WAIT_S


@given(st.text())
def test_any_text_is_an_aware_moment_or_a_usage_error(text: str) -> None:
    try:
        moment = Since().convert(text, None, None)
    except click.BadParameter:
        return
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T23:30:00Z", datetime(2026, 11, 22, 23, 30, tzinfo=UTC)),
        ("2026-11-22T23:30:00+01:00", datetime(2026, 11, 22, 22, 30, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: datetime) -> None:
    assert Since().convert(text, None, None) == moment


def test_an_age_counts_back_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 22, 23, 30, 0, 250, tzinfo=UTC)
    monkeypatch.setattr("svcport.cli.logs.utc_now", lambda: now)
    assert Since().convert("24h", None, None) == now - timedelta(hours=24)

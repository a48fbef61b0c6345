from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fieldkit import AtStep, Field, LoudSilence, copy_home, make_field, press_ctrl_c
from peoplekit import Office

from protocol.values import Role
from svcport.audit.verify import LedgerVerdict, verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Outcome, SvcportError


@dataclass
class Stations:
    """Two technicians, each with a home and a key, who meet the same lock."""

    a: Field
    b: Field

    def _end_of_a(self, step: str, after: int | None) -> Callable[[], None]:
        """A pulled cable, `after` bytes later; or the end of the program."""
        if step == "waiting" or after is None:
            return press_ctrl_c
        return lambda: self.a.cable.pull_in(after)

    def kill_a(self, step: str, after: int | None = 10) -> None:
        self.a.progress = AtStep(step, self._end_of_a(step, after))
        with pytest.raises(SvcportError):
            self.a.restore()
        self.a.progress = LoudSilence()
        self.a.cable.cut_after = None


@pytest.fixture
def stations(tmp_path: Path) -> Stations:
    a = make_field(tmp_path)
    return Stations(a, Office(a.lab).enrol(a, tmp_path / "b", Role.TECHNICIAN).field)


def verdict(field: Field) -> LedgerVerdict:
    with LedgerView.open_for_audit(field.home.ledger) as view:
        return verify_ledger(view)


def clean(field: Field) -> bool:
    found = verdict(field)
    return not found.problems and not found.open_intents


STEPS = ["sending the new image", "having the lock verify", "starting the new", "waiting", "having"]


@pytest.mark.parametrize("step", [*STEPS, "confirming"])
def test_what_one_station_left_open_another_finishes_and_both_ledgers_close(
    stations: Stations, step: str
) -> None:
    a, b = stations.a, stations.b
    stations.kill_a(step)
    b.reconcile()
    assert b.restore().outcome in (Outcome.OK, Outcome.NOTHING_TO_DO)
    assert b.verify().outcome is Outcome.OK
    assert clean(b)
    settled = a.reconcile().members()
    assert settled["open"] == []
    assert len(settled["closed"]) == 1
    assert "warnings" not in settled
    assert clean(a)
    assert a.restore().outcome is Outcome.NOTHING_TO_DO


@pytest.mark.parametrize("step", STEPS)
def test_reconcile_names_an_act_that_another_station_left_open_on_the_lock(
    stations: Stations, step: str
) -> None:
    stations.kill_a(step)
    report = stations.b.reconcile()
    [found] = report.members()["open"]
    assert (found["index"], found["op"]) == (None, "update")
    assert "still open" in report.hint
    [mine] = stations.a.reconcile().members()["open"]
    assert mine["index"] is not None


def test_another_station_fetches_the_receipt_that_the_first_never_saw(stations: Stations) -> None:
    stations.kill_a("confirming", after=40)
    settled = stations.b.reconcile().members()
    assert [one["result"] for one in settled["recovered"]] == ["done"]
    assert settled["open"] == []
    stations.a.reconcile()
    with stations.a.installation() as one, stations.b.installation() as two:
        serial = stations.a.lab.serials[0]
        assert one.ledger.receipts(serial) == two.ledger.receipts(serial)
        assert len(one.ledger.receipts(serial)) == 1


def test_an_intent_that_never_reached_the_lock_is_closed_as_not_executed(
    stations: Stations,
) -> None:
    a, b = stations.a, stations.b
    stations.kill_a("comparing what")
    assert b.restore().outcome is Outcome.OK
    a.reconcile()
    assert clean(a)


def test_a_ledger_put_back_from_an_old_copy_is_seen_at_the_next_lock_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="svcport")
    field = make_field(tmp_path)
    old = copy_home(field.home, tmp_path / "backup")
    field.identify()
    assert field.restore().outcome is Outcome.OK
    shutil.rmtree(field.home.root)
    copy_home(old, field.home.root)

    report = field.restore(version="2.3.1")
    assert report.outcome is Outcome.OK
    [warning] = report.members()["warnings"]
    assert warning["reason"] == "ledger-gap"
    assert "receipt 1 of lock TR-100001" in warning["message"]
    assert "put back from an old copy" in warning["message"]
    assert warning["hint"]
    assert "put back from an old copy" in caplog.text
    notes = [entry.data for entry in entries(field) if b"not in this ledger" in entry.data]
    assert len(notes) == 1
    assert "warnings" not in field.restore().members()
    assert clean(field)


def test_reconcile_says_that_a_ledger_was_put_back(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    old = copy_home(field.home, tmp_path / "backup")
    field.restore()
    shutil.rmtree(field.home.root)
    copy_home(old, field.home.root)
    report = field.reconcile()
    assert "old copy" in report.message
    assert "backup" in report.hint
    assert [one["seq"] for one in report.members()["recovered"]] == [1]
    assert "old copy" not in field.reconcile().message


def test_a_ledger_that_is_ahead_of_the_lock_is_a_gap_and_nothing_is_done(tmp_path: Path) -> None:
    field = make_field(tmp_path / "one")
    field.restore()
    replaced = make_field(tmp_path / "two")
    field.cables = replaced.cables
    with pytest.raises(SvcportError) as caught:
        field.rollback()
    assert caught.value.reason == "ledger-gap"
    assert "states 0 receipts" in caught.value.message
    assert replaced.board.core.state.head.seq == 0


def test_a_colleagues_receipts_are_no_gap(stations: Stations) -> None:
    assert stations.a.restore().outcome is Outcome.OK
    report = stations.b.reconcile()
    assert "warnings" not in report.members()
    assert len(report.members()["recovered"]) == 1


def entries(field: Field) -> list:  # type: ignore[type-arg]
    with LedgerView.open_for_audit(field.home.ledger) as view:
        return list(view.entries())

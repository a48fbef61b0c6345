from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import AtStep, Field, LoudSilence, make_field
from locksim import Answering

from svcport.audit.ledger import Ledger
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RecordsError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)

CUTS = 24


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def whole_restore_bytes(tmp_path: Path) -> int:
    field = make_field(tmp_path / "measure")
    field.restore()
    return field.cable.carried


def outcome_of(field: Field) -> tuple[Outcome, Reason | None]:
    try:
        return field.restore().outcome, None
    except (FailedError, UnfinishedError, UnknownOutcomeError) as error:
        return error.outcome, error.reason


@pytest.mark.parametrize("part", range(CUTS))
def test_a_cable_pulled_anywhere_leaves_a_lock_that_the_next_restore_finishes(
    tmp_path: Path, part: int
) -> None:
    total = whole_restore_bytes(tmp_path)
    field = make_field(tmp_path / "cut")
    # Half of the cuts lie in the last two thousand bytes, where the trial is.
    early = part * (total - 2000) // (CUTS // 2)
    late = total - 2000 + (part - CUTS // 2) * 2000 // (CUTS // 2)
    field.cable.cut_after = (early if part < CUTS // 2 else late) + 1
    outcome, reason = outcome_of(field)
    assert reason in (None, Reason.LINK_LOST, Reason.NO_LOCK, Reason.PORT_BUSY)
    field.cable.cut_after = None
    lock = field.identify().members()["lock"]
    runs = next(s for s in lock["slots"] if s["state"] in ("running", "trying"))
    assert runs["version"] in ("2.4.0+0", "2.4.1+0")
    if outcome is Outcome.OK:
        assert (runs["version"], runs["state"]) == ("2.4.1+0", "running")
    assert field.restore().outcome in (Outcome.OK, Outcome.NOTHING_TO_DO)
    assert field.verify().outcome is Outcome.OK
    with LedgerView.open_for_audit(field.home.ledger) as view:
        verdict = verify_ledger(view)
    assert verdict.problems == ()
    assert verdict.open_intents == ()


@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        ("choosing the image", KeyboardInterrupt, None),
        ("sending the new image", UnfinishedError, Reason.INTERRUPTED),
        ("having the lock verify", UnfinishedError, Reason.INTERRUPTED),
        ("starting the new image", UnknownOutcomeError, Reason.INTERRUPTED),
        ("waiting for the lock", UnknownOutcomeError, Reason.INTERRUPTED),
        ("confirming", UnknownOutcomeError, Reason.INTERRUPTED),
    ],
)
def test_ctrl_c_ends_with_the_meaning_of_its_moment(
    field: Field, step: str, error: type[BaseException], code: Reason | None
) -> None:
    field.progress = AtStep(step)
    with pytest.raises(error) as broken:
        field.restore()
    if isinstance(broken.value, SvcportError):
        assert broken.value.reason is code
    field.progress = LoudSilence()
    assert field.restore().outcome is Outcome.OK


def test_ctrl_c_in_mid_upload_leaves_the_lock_at_the_speed_that_the_next_host_starts_with(
    field: Field,
) -> None:
    speeds = []
    field.progress = AtStep("sending", lambda: speeds.append(field.board.baud))
    field.restore()
    assert speeds[0] > 115_200
    field = make_field(field.home.root.parent / "second")
    field.progress = AtStep("sending")
    with pytest.raises(UnfinishedError):
        field.restore()
    field.board.poll(field.cable.clock.now())
    assert field.board.baud == 115_200


def test_a_lost_answer_to_activate_is_unknown_and_reconciled_from_the_lock(field: Field) -> None:
    def pull() -> None:
        field.cable.cut_after = field.cable.carried + 10

    field.progress = AtStep("starting the new image", pull)
    with pytest.raises(UnknownOutcomeError):
        field.restore()
    field.progress = LoudSilence()
    report = field.reconcile()
    assert report.members()["open"][0]["op"] == "update"
    assert field.restore().outcome is Outcome.OK
    assert field.reconcile().members() == {
        "lock": report.members()["lock"] | field.identify().members()["lock"],
        "recovered": [],
        "closed": [],
        "open": [],
    }


def test_an_image_that_fails_its_self_test_is_given_up_and_said_to_be(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protocol.refusal import SelfTestPart
    from svcport.locks.service_port import ServicePortLock

    monkeypatch.setattr(ServicePortLock, "self_test", lambda _lock: SelfTestPart.RADIO)
    with pytest.raises(UnfinishedError) as unfinished:
        field.restore()
    assert unfinished.value.boots == "2.4.0+0"
    assert "radio" in unfinished.value.message
    monkeypatch.undo()
    with field.installation() as inst:
        assert inst.ledger.open_intents() == ()


def test_a_trial_that_times_out_falls_back_by_itself(field: Field) -> None:
    def wait() -> None:
        field.cable.clock.sleep(700)

    field.progress = AtStep("having the lock test itself", wait)
    with pytest.raises(UnknownOutcomeError):
        field.restore()
    field.progress = LoudSilence()
    lock = field.identify().members()["lock"]
    assert next(s for s in lock["slots"] if s["state"] == "running")["version"] == "2.4.0+0"
    settled = field.reconcile().members()
    assert [r["result"] for r in settled["recovered"]] == ["reverted"]
    assert len(settled["closed"]) == 1


def test_a_lock_power_cut_in_mid_upload_is_restored_by_the_next_try(field: Field) -> None:
    def cut() -> None:
        flash = field.board._flash
        flash.cut_at(flash.operations + 40)

    field.progress = AtStep("sending the new image", cut)
    with pytest.raises(UnfinishedError) as unfinished:
        field.restore()
    assert unfinished.value.boots == "2.4.0+0"
    field.progress = LoudSilence()
    report = field.restore()
    assert report.members()["transfer"]["resumed"] is True


def test_a_disk_that_fills_up_during_the_trial_does_not_hide_that_the_lock_changed(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_facts: object) -> None:
        raise RecordsError(Reason.STORAGE, "ledger: no space left on device")

    field.progress = AtStep(
        "confirming", lambda: monkeypatch.setattr(Ledger, "record_receipts", full)
    )
    with pytest.raises(RecordsError) as failed:
        field.restore()
    assert "the lock may have been changed" in failed.value.message
    assert "reconcile" in failed.value.hint
    monkeypatch.undo()
    field.progress = LoudSilence()
    assert [r["result"] for r in field.reconcile().members()["recovered"]] == ["done"]
    assert field.restore().outcome is Outcome.NOTHING_TO_DO


def test_whoever_stops_while_a_lock_restarts_need_not_wait_for_it(field: Field) -> None:
    cable = field.cable
    silent_since: list[float] = []

    def die() -> None:
        silent_since.append(cable.clock.time)
        cable.board = Answering(lambda _data: b"")

    class Stopping(AtStep):
        def advance(self, to_bytes: int) -> None:
            if silent_since:
                raise KeyboardInterrupt

    field.progress = Stopping("waiting for the lock to restart", die)
    with pytest.raises(UnknownOutcomeError) as ended:
        field.restore()
    assert ended.value.reason is Reason.INTERRUPTED
    assert cable.clock.time - silent_since[0] < 4

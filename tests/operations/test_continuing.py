from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import AtStep, Field, LoudSilence, make_field

from protocol.objects import Receipt
from protocol.sealed import Sealed
from svcport.audit.view import LedgerView
from svcport.errors import Outcome, SvcportError


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def entries(field: Field) -> int:
    with LedgerView.open_for_audit(field.home.ledger) as view:
        return view.size


def results(field: Field) -> list[str]:
    """Results of the lock's receipts, as the recovered and own ones in the ledger say."""
    with field.installation() as inst:
        held = inst.ledger.receipts(field.lab.serials[0]).values()
        return [Receipt.read(Sealed.parse(data)).result.name.lower() for data in held]


def break_off(field: Field, step: str, **options: object) -> None:
    field.progress = AtStep(step)
    with pytest.raises(SvcportError):
        field.rollback() if options.pop("back", False) else field.restore(**options)
    field.progress = LoudSilence()


def test_a_counter_ticket_is_consumed_once_however_often_its_act_is_taken_up(field: Field) -> None:
    image = field.image("2.5.0")
    for _ in range(3):
        break_off(field, "having the lock verify", image=image)
    assert field.restore(image=image).outcome is Outcome.OK
    window = field.board.core.state.tickets
    assert window.bits.bit_count() == 1
    assert results(field) == ["superseded"] * 3 + ["done"]


def test_a_rollback_on_trial_is_confirmed_without_another_intent_or_ticket(field: Field) -> None:
    break_off(field, "having the lock test itself", back=True)
    ticket = field.board.core.state.tickets
    before = entries(field)
    assert field.rollback().outcome is Outcome.OK
    assert field.board.core.state.tickets == ticket
    assert results(field) == ["done"]
    assert entries(field) == before + 1  # the RESULT


def test_an_image_on_trial_that_is_not_what_is_asked_for_is_given_up_first(field: Field) -> None:
    break_off(field, "having the lock test itself", image=field.image("2.5.0"))
    report = field.restore()
    assert report.outcome is Outcome.OK
    assert report.members()["after"]["version"] == "2.4.1+0"
    assert results(field) == ["reverted", "done"]


def test_a_rollback_gives_up_an_update_on_trial(field: Field) -> None:
    break_off(field, "having the lock test itself")
    with pytest.raises(SvcportError):
        field.rollback()  # the slot that held 2.3.1 was overwritten
    assert results(field) == ["reverted"]
    assert field.board.core.running_version is not None
    assert str(field.board.core.running_version) == "2.4.0+0"

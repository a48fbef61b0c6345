from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import Field, make_field

from svcport.errors import Outcome, Reason, RefusedError


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def test_rollback_returns_to_the_good_image_before(field: Field) -> None:
    report = field.rollback()
    assert report.outcome is Outcome.OK
    assert report.members()["after"]["version"] == "2.3.1+0"
    assert report.members()["receipt"] == {"seq": 1, "result": "done"}
    assert "transfer" not in report.members()


def test_a_second_rollback_is_nothing_to_do(field: Field) -> None:
    field.rollback()
    assert field.rollback().outcome is Outcome.NOTHING_TO_DO


def test_rollback_and_restore_follow_each_other_as_on_a_real_visit(field: Field) -> None:
    assert field.rollback().members()["after"]["version"] == "2.3.1+0"
    assert field.restore().members()["after"]["version"] == "2.4.1+0"
    assert field.verify().outcome is Outcome.OK
    assert field.restore().outcome is Outcome.NOTHING_TO_DO
    assert field.rollback().members()["after"]["version"] == "2.3.1+0"


def test_a_withdrawn_image_in_the_other_slot_is_refused(field: Field) -> None:
    field.restore()
    with pytest.raises(RefusedError) as refused:
        field.rollback()
    assert refused.value.reason is Reason.IMAGE_WITHDRAWN


def test_a_higher_image_in_the_other_slot_is_no_rollback(field: Field) -> None:
    field.rollback()
    field.restore()
    field.rollback()
    # The last act was this rollback; after another act the question is judged anew.
    field.restore(version="2.4.1")
    field.rollback()
    report = field.rollback()
    assert report.outcome is Outcome.NOTHING_TO_DO


def test_a_dead_lock_has_nothing_to_go_back_from(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        make_field(tmp_path, "dead").rollback()
    assert refused.value.reason is Reason.NO_OLDER_IMAGE


def test_rollback_without_a_ticket_is_refused(field: Field) -> None:
    for ticket in field.home.tickets.glob("*.svc"):
        ticket.unlink()
    with pytest.raises(RefusedError) as refused:
        field.rollback()
    assert refused.value.reason is Reason.NO_PERMIT


def test_a_dry_run_of_a_refused_rollback_names_every_reason(field: Field) -> None:
    field.restore()
    for ticket in field.home.tickets.glob("*.svc"):
        ticket.unlink()
    with pytest.raises(RefusedError) as refused:
        field.rollback(dry_run=True)
    reasons = [no["reason"] for no in refused.value.members()["refusals"]]
    assert reasons == ["image-withdrawn", "no-permit"]
    assert refused.value.members()["plan"]

from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import Field, make_field

from svcport.errors import Outcome, Reason, RefusedError


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def test_identify_shows_the_lock_as_the_contract_says(field: Field) -> None:
    lock = field.identify().members()["lock"]
    assert lock["kind"] == "service-port"
    assert lock["serial"] == field.lab.serials[0]
    assert {slot["state"] for slot in lock["slots"]} == {"running", "fallback"}
    assert lock["security_counter"] == 3
    assert set(lock["battery_mv"]) == {"rest", "load"}


def test_another_lock_than_the_expected_is_refused_before_anything_else(field: Field) -> None:
    with pytest.raises(RefusedError) as refused:
        field.restore(expect_serial="TR-999999")
    assert refused.value.reason is Reason.WRONG_LOCK


def test_verify_says_no_to_the_withdrawn_release(field: Field) -> None:
    report = field.verify()
    assert (report.outcome, report.reason) == (Outcome.DIFFERS, Reason.IMAGE_WITHDRAWN)
    results = {check["name"]: check["result"] for check in report.members()["checks"]}
    assert results == {
        "measured": "pass",
        "signed": "pass",
        "in-catalogue": "pass",
        "not-withdrawn": "fail",
        "security-counter": "pass",
        "confirmed": "pass",
    }


def test_verify_passes_an_older_release_that_is_not_withdrawn(field: Field) -> None:
    field.rollback()
    assert field.verify().outcome is Outcome.OK


def test_verify_of_a_dead_lock_is_no(tmp_path: Path) -> None:
    assert make_field(tmp_path, "dead").verify().outcome is Outcome.DIFFERS


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("bad-update", "advisory"),
        ("dead", "nothing-bootable"),
        ("weak-battery", "battery-weak"),
        ("interrupted", "update-half-written"),
        ("healthy", "healthy"),
    ],
)
def test_diagnose_finds_what_the_lab_has_done(tmp_path: Path, condition: str, code: str) -> None:
    report = make_field(tmp_path, condition).diagnose()
    assert code in [finding["code"] for finding in report.members()["findings"]]


def test_diagnose_sees_the_cloud_failures_in_the_event_log(field: Field) -> None:
    report = field.diagnose()
    assert "cloud-auth-failing" in [f["code"] for f in report.members()["findings"]]
    assert report.members()["advisories"][0]["id"] == "SVA-2026-001"


def test_the_event_log_is_read_whole_and_in_order(field: Field) -> None:
    events = field.logs().members()["events"]
    assert [e["index"] for e in events] == sorted(e["index"] for e in events)
    assert "cloud-auth-failed" in {e["code"] for e in events}


def test_a_connection_right_after_a_start_does_not_hide_the_failures_before_it(
    field: Field,
) -> None:
    field.board.power_cycle(field.cable.clock.now())
    field.cable.clock.sleep(60)
    codes = {e["code"] for e in field.logs().members()["events"][-3:]}
    assert "cloud-connected" in codes
    assert "cloud-auth-failing" in [f["code"] for f in field.diagnose().members()["findings"]]


def test_failures_of_the_release_before_say_nothing_of_the_one_that_runs(field: Field) -> None:
    field.restore()
    assert [f["code"] for f in field.diagnose().members()["findings"]] == ["healthy"]

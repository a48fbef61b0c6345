from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import Field, make_field

from images import SECTOR_SIZE
from svcport.errors import Outcome, Reason, RefusedError, UnfinishedError
from svcport.simulator.flash import PAGE_SIZE, SLOT_ADDRESS, SLOT_SIZE


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def test_restore_brings_the_approved_image_and_proves_that_it_runs(field: Field) -> None:
    report = field.restore()
    facts = report.members()
    assert report.outcome is Outcome.OK
    assert facts["before"]["version"] == "2.4.0+0"
    assert facts["after"] == {
        "version": "2.4.1+0",
        "digest": facts["after"]["digest"],
        "confirmed": True,
    }
    assert facts["receipt"]["result"] == "done"
    assert facts["transfer"]["resumed"] is False
    running = next(s for s in facts["lock"]["slots"] if s["state"] == "running")
    assert (running["version"], running["digest"]) == ("2.4.1+0", facts["after"]["digest"])


def test_restore_of_what_runs_already_is_nothing_to_do_and_touches_no_flash(field: Field) -> None:
    field.restore()
    erases, entries = _slot_erases(field), _entries(field)
    report = field.restore()
    assert report.outcome is Outcome.NOTHING_TO_DO
    assert (_slot_erases(field), _entries(field)) == (erases, entries)


def test_restore_brings_a_dead_lock_back(tmp_path: Path) -> None:
    field = make_field(tmp_path, "dead")
    report = field.restore()
    assert report.members()["before"]["version"] is None
    assert report.members()["after"]["confirmed"] is True


def test_restore_finishes_what_an_interrupted_one_began(tmp_path: Path) -> None:
    field = make_field(tmp_path, "interrupted")
    report = field.restore()
    assert report.outcome is Outcome.OK
    assert report.members()["transfer"]["units"]["skipped"] > 0


def test_only_sectors_that_differ_cross_the_wire(field: Field) -> None:
    field.restore()
    report = field.restore(version="2.3.1")
    transfer = report.members()["transfer"]
    sent = transfer["units"]["raw"] + transfer["units"]["deflate"]
    assert sent + transfer["units"]["skipped"] == -(-transfer["image_bytes"] // SECTOR_SIZE)
    assert transfer["units"]["skipped"] > 0


def test_an_image_that_the_catalogue_does_not_approve_needs_its_ticket(field: Field) -> None:
    image = field.image("2.5.0")
    for ticket in field.home.tickets.glob("*.svc"):
        ticket.rename(tmp := ticket.with_suffix(".away"))
        assert tmp.exists()
    with pytest.raises(RefusedError) as refused:
        field.restore(image=image)
    assert refused.value.reason is Reason.NO_PERMIT
    for ticket in field.home.tickets.glob("*.away"):
        ticket.rename(ticket.with_suffix(".svc"))
    report = field.restore(image=image)
    assert report.members()["after"]["version"] == "2.5.0+0"
    assert report.members()["lock"]["security_counter"] == 4


def test_a_counter_that_has_risen_makes_older_images_impossible(field: Field) -> None:
    field.restore()
    field.restore(image=field.image("2.5.0"))
    with pytest.raises(RefusedError) as refused:
        field.rollback()
    assert refused.value.reason is Reason.ANTI_ROLLBACK
    with pytest.raises(RefusedError) as refused:
        field.restore(version="2.4.1")
    assert refused.value.reason is Reason.ANTI_ROLLBACK


def test_an_image_for_another_model_is_refused_by_name(field: Field) -> None:
    others = [p for p in field.lab.images.glob("*.bin") if not p.name.startswith("LX-200")]
    with pytest.raises(RefusedError) as refused:
        field.restore(image=others[0])
    assert refused.value.reason is Reason.IMAGE_MODEL


def test_a_withdrawn_image_is_refused_by_name(field: Field) -> None:
    field.restore()
    with pytest.raises(RefusedError) as refused:
        field.restore(version="2.4.0")
    assert refused.value.reason is Reason.IMAGE_WITHDRAWN


def test_a_weak_battery_stops_a_restore_before_anything_is_recorded(tmp_path: Path) -> None:
    field = make_field(tmp_path, "weak-battery")
    before = _entries(field)
    with pytest.raises(RefusedError) as refused:
        field.restore(version="2.4.1")
    assert refused.value.reason is Reason.BATTERY_LOW
    assert _entries(field) == before


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_image_file_is_refused_by_name(field: Field, tmp_path: Path, damage: str) -> None:
    data = bytearray(field.image("2.4.1").read_bytes())
    match damage:
        case "flip":
            data[5000] ^= 1
        case "cut":
            data = data[:-100]
        case "empty":
            data = bytearray()
        case _:
            data = bytearray(b"hello\n")
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        field.restore(image=path)
    assert str(refused.value.reason).startswith("image-")


def test_a_dry_run_shows_the_plan_and_changes_nothing(field: Field) -> None:
    entries = _entries(field)
    report = field.restore(dry_run=True)
    assert report.outcome is Outcome.OK
    assert [s["name"] for s in report.members()["plan"] if s["result"] == "todo"] == [
        "record",
        "write",
        "commit",
        "trial",
        "self-test",
        "confirm",
    ]
    assert _entries(field) == entries
    assert field.identify().members()["lock"]["receipts"]["seq"] == 0


def test_a_pulled_cable_ends_with_what_boots_and_the_next_restore_resumes(field: Field) -> None:
    field.restore(dry_run=True)
    field.pull_while_sending()
    with pytest.raises(UnfinishedError) as unfinished:
        field.restore()
    assert unfinished.value.boots == "2.4.0+0"
    assert unfinished.value.reason is Reason.LINK_LOST
    report = field.restore()
    assert report.outcome is Outcome.OK
    assert report.members()["transfer"]["resumed"] is True
    with field.installation() as inst:
        assert inst.ledger.open_intents() == ()


def _slot_erases(field: Field) -> list[int]:
    first = min(SLOT_ADDRESS.values()) // PAGE_SIZE
    return field.board._flash.erases[first : first + 2 * SLOT_SIZE // PAGE_SIZE]


def _entries(field: Field) -> int:
    with field.installation() as inst:
        return inst.ledger.size

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fieldkit import AtStep, Field, make_field

from images import SECTOR_SIZE, Unit, sector_count
from protocol.values import Slot
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Outcome, Reason, UnfinishedError
from svcport.operations.encoding import Encoding
from svcport.simulator.flash import SLOT_ADDRESS


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def base_slot(field: Field) -> Slot:
    return field.board.core.target.other


def flip(field: Field, *offsets: int) -> None:
    """Change one bit each of the image in the slot that is not written."""
    for offset in offsets:
        field.board._flash._buffer[SLOT_ADDRESS[base_slot(field)] + offset] ^= 0x10


def transfer(field: Field) -> dict[str, object]:
    report = field.restore()
    assert report.outcome is Outcome.OK
    members: dict[str, object] = report.members()["transfer"]
    return members


def counted(members: dict[str, object]) -> tuple[int, int, int]:
    units = members["units"]
    assert isinstance(units, dict)
    assert list(units) == ["raw", "deflate", "skipped"]
    return units["raw"], units["deflate"], units["skipped"]


def sectors_of(members: dict[str, object]) -> int:
    assert isinstance(members["image_bytes"], int)
    return sector_count(members["image_bytes"])


def ledger_is_whole(field: Field) -> None:
    with LedgerView.open_for_audit(field.home.ledger) as view:
        verdict = verify_ledger(view)
    assert (verdict.problems, verdict.open_intents) == ((), ())


def test_a_near_version_goes_in_a_fraction_of_its_size(field: Field) -> None:
    members = transfer(field)
    raw, deflate, skipped = counted(members)
    assert (raw, raw + deflate + skipped) == (0, sectors_of(members))
    assert 50 * int(str(members["wire_bytes"])) < int(str(members["image_bytes"]))


def test_a_lock_that_holds_no_image_gets_it_without_a_base(tmp_path: Path) -> None:
    field = make_field(tmp_path, "dead")
    members = transfer(field)
    raw, deflate, skipped = counted(members)
    assert raw + deflate + skipped == sectors_of(members)
    assert deflate > 40
    assert int(str(members["wire_bytes"])) < 0.74 * deflate * SECTOR_SIZE


def test_a_base_that_is_not_in_the_catalogue_any_more_is_done_without(
    field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    with field.installation() as inst:
        release = inst.catalogue.find("LX-200", version="2.4.0")
        assert release is not None
        (field.home.root / "catalogue" / "targets" / release.target.sha256.hex()).unlink()
    with caplog.at_level(logging.WARNING):
        members = transfer(field)
    assert "no base for lock" in caplog.text
    assert int(str(members["wire_bytes"])) > 100_000


def test_a_bit_that_differs_in_the_base_costs_one_raw_sector(
    field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    field.progress = AtStep("sending", lambda: flip(field, 20 * SECTOR_SIZE + 5))
    with caplog.at_level(logging.WARNING):
        members = transfer(field)
    raw, deflate, skipped = counted(members)
    assert (raw, raw + deflate + skipped) == (1, sectors_of(members))
    assert "at sector 20: unit_digest" in caplog.text
    assert field.progress.steps.count("sending the new image") == 2
    ledger_is_whole(field)


def test_a_base_that_differs_all_over_ends_in_raw_sectors(field: Field) -> None:
    everywhere = [sector * SECTOR_SIZE + 5 for sector in range(20, 50)]
    field.progress = AtStep("sending", lambda: flip(field, *everywhere))
    members = transfer(field)
    raw, deflate, skipped = counted(members)
    assert raw + deflate + skipped == sectors_of(members)
    assert raw > 30
    assert field.progress.steps.count("sending the new image") == 3
    ledger_is_whole(field)


def test_a_base_that_the_lock_has_lost_since_it_was_asked_is_done_without(
    field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    def lose() -> None:
        flip(field, 30_000)
        field.board.core.slots.forget(base_slot(field))

    field.progress = AtStep("comparing", lose)
    with caplog.at_level(logging.WARNING):
        members = transfer(field)
    assert "base-unknown" in caplog.text
    assert counted(members)[1] > 40
    assert int(str(members["wire_bytes"])) > 100_000
    ledger_is_whole(field)


def test_units_that_stay_wrong_end_the_restore_with_the_running_image_untouched(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(make: Callable[[Encoding, int], Unit]) -> Callable[[Encoding, int], Unit]:
        return lambda self, sector: replace(make(self, sector), check=bytes(8))

    monkeypatch.setattr(Encoding, "unit", wrong(Encoding.unit))
    monkeypatch.setattr(Encoding, "raw", wrong(Encoding.raw))
    with pytest.raises(UnfinishedError, match="units arrived damaged in 3 transfers") as ended:
        field.restore()
    assert ended.value.reason is Reason.LINK_LOST
    assert ended.value.boots == "2.4.0+0"
    monkeypatch.undo()
    transfer(field)
    ledger_is_whole(field)

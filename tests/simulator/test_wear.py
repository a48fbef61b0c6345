from __future__ import annotations

import pytest
from simulator.trainer import fresh_flash, image

from protocol.values import Slot
from svcport.simulator.flash import FLASH_SIZE, NVM_ADDRESS, PAGE_SIZE, Cut, NorFlash, PowerCut
from svcport.simulator.pagelog import PageLog

RECORD = b"r" * 100
"""112 bytes with its frame: 36 of them fill a page."""

A_PAGE = 36


def blank() -> NorFlash:
    return NorFlash(bytearray(b"\xff" * FLASH_SIZE))


def test_a_log_over_a_page_pair_erases_each_page_once_in_two_pages_of_records() -> None:
    flash = blank()
    log = PageLog(flash, NVM_ADDRESS, 2)
    for _record in range(20 * A_PAGE):
        log.append(RECORD)
    first = NVM_ADDRESS // PAGE_SIZE
    assert flash.erases[first : first + 2] == [9, 9]
    assert sum(flash.erases) == 18


def test_a_log_wears_its_pages_evenly() -> None:
    flash = blank()
    log = PageLog(flash, NVM_ADDRESS, 4)
    for _record in range(100 * A_PAGE):
        log.append(RECORD)
    first = NVM_ADDRESS // PAGE_SIZE
    erases = flash.erases[first : first + 4]
    assert max(erases) - min(erases) <= 1


@pytest.mark.parametrize("how", list(Cut))
def test_a_log_loses_no_record_to_power_cuts_that_follow_each_other(how: Cut) -> None:
    """Every third operation is cut, so that mounting and going on are cut too."""
    flash = blank()
    for operation in range(3, 3000, 3):
        flash.cut_at(operation, how)
    written = 0
    log = PageLog(flash, NVM_ADDRESS, 2)
    while written < 3 * A_PAGE:
        try:
            log.append(written.to_bytes(4, "big") * 25)
            written += 1
        except PowerCut:
            log = PageLog(flash, NVM_ADDRESS, 2)
            last = log.last()
            assert last is not None
            found = int.from_bytes(last.payload[:4], "big")
            assert found in (written - 1, written)
            written = found + 1


def test_an_erase_that_a_power_cut_stopped_is_counted_as_one() -> None:
    flash = fresh_flash({Slot.A: image("2.3.1")})
    before = sum(flash.erases)
    flash.cut_at(flash.operations + 1)
    with pytest.raises(PowerCut):
        flash.erase(NVM_ADDRESS)
    flash.erase(NVM_ADDRESS)
    assert sum(flash.erases) == before + 2

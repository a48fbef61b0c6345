from __future__ import annotations

import pytest

from protocol.values import Slot
from svcport.simulator.flash import (
    FLASH_SIZE,
    INSTANT,
    NRF52840,
    NVM_ADDRESS,
    NVM_SIZE,
    PAGE_SIZE,
    SLOT_ADDRESS,
    SLOT_SIZE,
    Cut,
    FlashViolation,
    NorFlash,
    PowerCut,
    Profile,
)

PAGE = 0x10000


def erased(profile: Profile = INSTANT) -> NorFlash:
    return NorFlash(bytearray(b"\xff" * FLASH_SIZE), profile)


def test_the_layout_fills_the_part_without_overlap() -> None:
    assert SLOT_ADDRESS[Slot.A] + SLOT_SIZE == SLOT_ADDRESS[Slot.B]
    assert SLOT_ADDRESS[Slot.B] + SLOT_SIZE == NVM_ADDRESS
    assert NVM_ADDRESS + NVM_SIZE == FLASH_SIZE


def test_a_page_erases_to_ones_and_nothing_beside_it_changes() -> None:
    flash = NorFlash(bytearray(FLASH_SIZE))
    flash.erase(PAGE)
    assert flash.is_blank(PAGE)
    assert flash.read(PAGE - 1, 1) == flash.read(PAGE + PAGE_SIZE, 1) == b"\0"
    assert flash.erases[PAGE // PAGE_SIZE] == sum(flash.erases) == 1


def test_a_write_may_clear_bits_twice_and_never_set_one() -> None:
    flash = erased()
    flash.write(PAGE, b"\x0f\xff\xff\xff")
    flash.write(PAGE, b"\x0e\xff\xff\xff")
    with pytest.raises(FlashViolation):
        flash.write(PAGE, b"\x1e\xff\xff\xff")
    assert flash.read(PAGE, 4) == b"\x0e\xff\xff\xff"


@pytest.mark.parametrize(
    ("address", "size"),
    [(PAGE + 2, 4), (PAGE, 3), (PAGE, 0), (PAGE + PAGE_SIZE - 4, 8), (FLASH_SIZE, 4), (-4, 4)],
)
def test_a_write_that_the_part_cannot_do_is_a_violation(address: int, size: int) -> None:
    with pytest.raises(FlashViolation):
        erased().write(address, bytes(size))


def test_an_erase_must_start_at_a_page() -> None:
    with pytest.raises(FlashViolation):
        erased().erase(PAGE + 4)


def test_a_buffer_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="1048576"):
        NorFlash(bytearray(12))


def test_operations_take_the_time_of_the_part() -> None:
    flash = erased(NRF52840)
    flash.erase(PAGE)
    flash.write(PAGE, bytes(400))
    assert flash.elapsed_s == pytest.approx(0.085 + 100 * 41e-6)
    assert flash.operations == 2


@pytest.mark.parametrize(("how", "words"), [(Cut.BEFORE, 0), (Cut.DURING, 4.5), (Cut.AFTER, 8)])
def test_a_cut_write_leaves_a_prefix_of_whole_and_half_words(how: Cut, words: float) -> None:
    flash = erased()
    flash.cut_at(2, how)
    flash.write(PAGE, bytes(4))
    with pytest.raises(PowerCut):
        flash.write(PAGE + 4, bytes(32))
    assert flash.read(PAGE + 4, 32) == bytes(int(words * 4)).ljust(32, b"\xff")
    flash.write(PAGE + 2 * PAGE_SIZE, bytes(4))


@pytest.mark.parametrize("operation", [1, 2])
def test_a_cut_erase_leaves_half_a_page(operation: int) -> None:
    flash = NorFlash(bytearray(FLASH_SIZE))
    flash.cut_at(operation)
    if operation == 2:
        flash.erase(0)
    with pytest.raises(PowerCut):
        flash.erase(PAGE)
    halves = {flash.read(PAGE, 2048), flash.read(PAGE + 2048, 2048)}
    assert halves == {bytes(2048), b"\xff" * 2048}

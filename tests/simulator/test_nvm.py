from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.trainer import SERIAL, factory, fresh_flash

from protocol.objects import Receipt, chain_next, chain_start
from protocol.sealed import Sealed
from protocol.values import ActResult, Op, Phase, Slot
from svcport.simulator.flash import FLASH_SIZE, NVM_ADDRESS, PAGE_SIZE, Cut, NorFlash, PowerCut
from svcport.simulator.nvm import RING_DEPTH, NotProvisionedError, Nvm
from svcport.simulator.pagelog import PageLog
from svcport.simulator.receipts import Receipts
from svcport.simulator.refusals import RefusedError
from svcport.simulator.state import NO_ACT, LockState

CUTS = list(Cut)


def erased() -> NorFlash:
    return NorFlash(bytearray(b"\xff" * FLASH_SIZE))


def again(flash: NorFlash) -> NorFlash:
    """The same part after power came back."""
    return NorFlash(flash._buffer)


def log_of(flash: NorFlash, pages: int = 3) -> PageLog:
    return PageLog(flash, NVM_ADDRESS, pages)


def payload(number: int) -> bytes:
    return random.Random(number).randbytes(700 + number % 7)


def append_until_cut(log: PageLog, last: int) -> int:
    """The number of the last record whose `append` returned."""
    try:
        while log.last_seq < last:
            log.append(payload(log.last_seq + 1))
    except PowerCut:
        return log.last_seq
    pytest.fail("the power was never cut")


def test_a_log_gives_back_what_was_written_newest_last() -> None:
    flash = erased()
    log = log_of(flash)
    for number in range(1, 40):
        assert log.append(payload(number)) == number
    mounted = log_of(again(flash))
    assert mounted.last() == (39, payload(39))
    kept = mounted.records()
    assert [seq for seq, _ in kept] == list(range(kept[0].seq, 40))
    assert all(data == payload(seq) for seq, data in kept)


@pytest.mark.parametrize("how", CUTS)
def test_a_log_survives_a_power_cut_at_every_operation(how: Cut) -> None:
    rounds = 32  # twice around three pages, with 4 erases
    for operation in range(1, 37):
        flash = erased()
        flash.cut_at(operation, how)
        log = log_of(flash)
        done = append_until_cut(log, rounds)
        mounted = log_of(again(flash))
        assert mounted.last_seq in (done, done + 1)
        for number in range(mounted.last_seq + 1, rounds + 1):
            mounted.append(payload(number))
        last = log_of(again(flash)).last()
        assert last == (rounds, payload(rounds))


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from(CUTS)), max_size=6))
def test_a_log_survives_any_run_of_power_cuts(cuts: list[tuple[int, Cut]]) -> None:
    flash, acknowledged = erased(), 0
    for operation, how in cuts:
        flash = again(flash)
        flash.cut_at(operation, how)
        log = log_of(flash)
        assert log.last_seq in (acknowledged, acknowledged + 1)
        acknowledged = log.last_seq
        acknowledged = append_until_cut(log, acknowledged + 100)
    last = log_of(again(flash)).last()
    seq = last.seq if last else 0
    assert seq in (acknowledged, acknowledged + 1)
    assert last is None or last.payload == payload(seq)


def test_a_torn_first_word_costs_one_word_only() -> None:
    flash = erased()
    log = log_of(flash)
    log.append(b"first")
    end = 8 + 8 + 4
    flash.write(NVM_ADDRESS + end, b"\x4c\x47\xff\xff")
    mounted = log_of(again(flash))
    mounted.append(b"second")
    assert [data for _, data in log_of(again(flash)).records()] == [b"first", b"second"]


def test_a_payload_that_looks_like_a_record_is_not_one() -> None:
    source = erased()
    log_of(source).append(b"forged")
    forged = source.read(NVM_ADDRESS, 20)
    flash = erased()
    flash.cut_at(2)
    log = log_of(flash)
    log.append(b"true")
    with pytest.raises(PowerCut):
        log.append(forged * 20)
    assert [data for _, data in log_of(again(flash)).records()] == [b"true"]


def test_a_first_page_that_an_erase_left_half_done_is_not_written() -> None:
    flash = erased()
    flash.write(NVM_ADDRESS + PAGE_SIZE // 2, bytes(2048))
    log_of(flash).append(b"first")
    assert log_of(again(flash)).last() == (1, b"first")
    assert flash.is_blank(NVM_ADDRESS, PAGE_SIZE // 2)


def test_flash_without_a_state_is_not_provisioned() -> None:
    with pytest.raises(NotProvisionedError):
        Nvm(erased())


def provisioned() -> tuple[NorFlash, Nvm]:
    flash = fresh_flash({})
    return flash, Nvm(flash)


def with_act(state: LockState, number: int) -> LockState:
    act = replace(NO_ACT, phase=Phase.WRITING, op=Op.UPDATE, image_digest=bytes([number]) * 32)
    return replace(state, act=act)


def close_act(nvm: Nvm, number: int) -> None:
    receipts = Receipts(factory(), factory().identity(), nvm)
    nvm.write(receipts.close(with_act(nvm.state, number), ActResult.DONE, None))


def check_chain(nvm: Nvm, first: int = 1) -> None:
    """Every receipt from `first` on is there, and chained to the head."""
    chain = None
    found = nvm.receipts(first - 1)
    for number, data in enumerate(found, first):
        receipt = Receipt.read(Sealed.parse(data))
        assert receipt.seq == number
        assert chain in (None, receipt.chain_before)
        chain = chain_next(receipt.chain_before, data)
    assert len(found) == nvm.state.head.seq - first + 1
    assert nvm.state.head.chain == (chain or chain_start(SERIAL))


@pytest.mark.parametrize("how", CUTS)
def test_receipt_and_state_change_together_whatever_operation_is_cut(how: Cut) -> None:
    closed = 14  # the receipts' page and the state's pages change on the way
    for operation in range(1, 80):
        flash, _ = provisioned()
        flash = again(flash)
        flash.cut_at(operation, how)
        nvm, before = Nvm(flash), 0
        try:
            for number in range(1, closed + 1):
                close_act(nvm, number)
                before = number
        except PowerCut:
            nvm = Nvm(again(flash))
            assert nvm.state.head.seq in (before, before + 1)
            assert nvm.state.last.image_digest[0] == nvm.state.head.seq
        else:
            assert operation > 2 * closed
            break
        check_chain(nvm)
        for number in range(nvm.state.head.seq + 1, closed + 1):
            close_act(nvm, number)
        check_chain(Nvm(again(flash)))
    else:
        pytest.fail("the loop never reached the end of the work")


def test_the_ring_keeps_the_last_64_receipts() -> None:
    flash, nvm = provisioned()
    for number in range(1, 201):
        nvm.write(replace(nvm.state, collected=nvm.state.head.seq))
        close_act(nvm, number)
    mounted = Nvm(again(flash))
    assert len(mounted.receipts(0)) == RING_DEPTH
    check_chain(mounted, first=200 - RING_DEPTH + 1)
    assert len(mounted.receipts(198)) == 2


def test_a_new_act_is_refused_with_60_receipts_uncollected_and_room_is_left_for_more() -> None:
    _, nvm = provisioned()
    receipts = Receipts(factory(), factory().identity(), nvm)
    for number in range(60):
        receipts.check_room()
        close_act(nvm, number)
    with pytest.raises(RefusedError, match="receipts full"):
        receipts.check_room()
    for number in range(60, 64):
        close_act(nvm, number)
    check_chain(nvm)
    nvm.write(replace(nvm.state, collected=64))
    receipts.check_room()


def test_power_cuts_that_waste_cells_fill_the_ring_before_a_receipt_is_lost() -> None:
    flash, nvm = provisioned()
    close_act(nvm, 1)
    for _ in range(200):
        receipts = Receipts(factory(), factory().identity(), nvm)
        try:
            receipts.check_room()
        except RefusedError:
            break
        receipts.close(with_act(nvm.state, 2), ActResult.DONE, None)  # and power fails here
        nvm = Nvm(again(flash))
    else:
        pytest.fail("cells were wasted for ever")
    check_chain(nvm)


def test_marks_survive_power_and_belong_to_their_slot() -> None:
    flash, nvm = provisioned()
    nvm.set_marks(Slot.B, [0, 7, 111], marked=True)
    nvm.set_marks(Slot.B, [7], marked=False)
    mounted = Nvm(again(flash))
    assert [n for n in range(112) if mounted.is_marked(Slot.B, n)] == [0, 111]
    assert not any(mounted.is_marked(Slot.A, n) for n in range(112))


def test_a_mark_that_changes_nothing_writes_nothing() -> None:
    flash, nvm = provisioned()
    before = flash.operations
    nvm.set_marks(Slot.A, [3], marked=False)
    nvm.write(nvm.state)
    assert flash.operations == before


def test_events_keep_rising_numbers_when_the_oldest_give_way() -> None:
    flash, nvm = provisioned()
    first = nvm.next_event
    for number in range(500):
        nvm.add_event(unix_time=0, uptime_s=number, code=1, argument=number)
    events = Nvm(again(flash)).events(0)
    assert events[-1].index == first + 499 == nvm.next_event - 1
    assert [e.index for e in events] == list(range(events[0].index, first + 500))
    assert len(events) >= PAGE_SIZE // 40
    assert [e.argument for e in nvm.events(first + 497)] == [497, 498, 499]

from __future__ import annotations

import pytest
from simulator.actkit import FIXED, GOOD, NEXT, make_host
from simulator.trainer import digest, factory, fresh_flash, image, paper

from protocol.acts import Activate, Confirm, Reset
from protocol.values import Op, Phase, Slot
from svcport.simulator.flash import SLOT_ADDRESS, Cut, PowerCut
from svcport.simulator.nvm import Nvm
from svcport.simulator.slots import Slots
from svcport.simulator.state import LockState, Trial

PHASES = {Trial.PENDING: Phase.PENDING, Trial.TRYING: Phase.TRYING}
Change = tuple[LockState, LockState]


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """Every change of the durable state, before and after, while acts go all their ways."""
    found: list[Change] = []
    write = Nvm.write

    def remember(nvm: Nvm, state: LockState) -> None:
        if state != nvm.state:
            found.append((nvm.state, state))
        write(nvm, state)

    monkeypatch.setattr(Nvm, "write", remember)
    host = make_host()
    host.login()
    host.send_image(FIXED)
    host.send_image(FIXED)  # superseded
    host.send_image(GOOD, Op.RESTORE, paper(Op.RESTORE, digest(GOOD)))  # abandoned
    host.call(Activate())
    host.login()
    host.call(Reset())  # reverted
    host.login()
    host.rollback(GOOD, paper(Op.ROLLBACK, digest(GOOD), 2))
    host.login()
    host.call(Confirm())
    host.install(NEXT)
    host.board.power_cycle(host.now)
    assert host.board.core.state.head.seq == 5
    return found


def test_boot_record_and_act_never_disagree(changes: list[Change]) -> None:
    for _, after in changes:
        trial, phase = after.boot.trial, after.act.phase
        assert (trial in PHASES) == (phase in PHASES.values())
        assert PHASES.get(trial, phase) is phase
        assert phase not in PHASES.values() or after.boot.candidate is after.act.slot


def test_an_act_closes_only_with_its_receipt(changes: list[Change]) -> None:
    for before, after in changes:
        closed = before.act.is_open and after.act.intent_hash != before.act.intent_hash
        assert after.head.seq - before.head.seq == int(closed)
        assert not closed or after.last.intent_hash == before.act.intent_hash


def test_a_ticket_is_consumed_only_with_the_act_that_it_opens(changes: list[Change]) -> None:
    consumed = [(b, a) for b, a in changes if a.tickets != b.tickets]
    assert len(consumed) == 2
    for before, after in consumed:
        assert after.act.intent_hash != before.act.intent_hash
        assert any(after.act.ticket_id)


def test_active_slot_and_counter_change_only_with_a_done_receipt(changes: list[Change]) -> None:
    confirmed = [(b, a) for b, a in changes if a.boot.active != b.boot.active]
    raised = [(b, a) for b, a in changes if a.security_counter != b.security_counter]
    assert len(confirmed) == 2
    assert len(raised) == 1
    assert raised[0] == confirmed[1]
    assert all(a.head.seq == b.head.seq + 1 for b, a in confirmed)


def test_every_reset_is_counted_in_the_record_of_its_boot_decision(changes: list[Change]) -> None:
    tried = [(b, a) for b, a in changes if a.boot.trial is not b.boot.trial and b.boot.trial]
    for before, after in tried:
        confirmed = after.boot.active is not before.boot.active
        assert after.reset_count - before.reset_count == int(not confirmed)


@pytest.mark.parametrize("how", list(Cut))
def test_a_mark_is_gone_before_its_sector_is_touched(how: Cut) -> None:
    flash = fresh_flash({Slot.B: image()})
    nvm = Nvm(flash)
    slots = Slots(flash, factory(), nvm)
    before = flash.read(SLOT_ADDRESS[Slot.B], 4096)
    flash.cut_at(flash.operations + 2, how)
    with pytest.raises(PowerCut):
        slots.erase(Slot.B, 0)
    assert (flash.read(SLOT_ADDRESS[Slot.B], 4096) == before) is (how is Cut.BEFORE)
    assert not Nvm(flash).is_marked(Slot.B, 0)


def test_a_sector_that_reads_back_wrong_gets_no_mark() -> None:
    flash = fresh_flash({})
    slots = Slots(flash, factory(), Nvm(flash))
    read = flash.read
    flash.read = lambda _address, size: bytes(size)  # type: ignore[method-assign]
    assert not slots.program(Slot.B, 0, b"\1" * 4096)
    flash.read = read  # type: ignore[method-assign]
    assert not Nvm(flash).is_marked(Slot.B, 0)

from __future__ import annotations

import contextlib

import pytest
from simulator.actkit import receipts
from simulator.hostdriver import Host, Silence, refused
from simulator.trainer import Paper, digest, fresh_flash, image, paper, power_up

from protocol.acts import Activate, ActStatus, Begin, Confirm
from protocol.queries import Slots
from protocol.refusal import RefusalCode
from protocol.values import ZERO_DIGEST, ActResult, Op, Phase, Slot, SlotState
from svcport.simulator.flash import Cut, NorFlash

OLD = image("2.3.1")
NEW = image("2.4.1", size=23_000)
FIRST = bytes(fresh_flash({Slot.A: OLD, Slot.B: image("2.2.0", size=23_000)})._buffer)


def lock(operation: int, how: Cut) -> Host:
    flash = NorFlash(bytearray(FIRST))
    flash.cut_at(operation, how)
    return Host(power_up(flash))


def update(host: Host) -> bool:
    """One technician's try, from whatever state the lock is in; False if it could not be ended."""
    order = paper(Op.RESTORE, digest(NEW))
    with contextlib.suppress(Silence):
        host.login()
        status = host.call(ActStatus())
        if status.last_op and status.last_result is ActResult.DONE:
            return True
        if status.last_op and status.last_result is ActResult.REVERTED:
            assert refused(host, begin(host, order)) is RefusalCode.TICKET_USED
            return False
        if status.phase is not Phase.TRYING:
            host.send_image(NEW, Op.RESTORE, order)
            host.call(Activate())
            host.login()
        host.call(Confirm())
        return True
    host.now += 1
    return False


def begin(host: Host, order: Paper) -> Begin:
    intent = host.intent(Op.RESTORE, digest(NEW), order.id)
    target = host.target()
    return Begin(intent, order.ticket, order.issuer, target, len(NEW), ZERO_DIGEST, b"")


def check_alive(host: Host) -> None:
    """An authorised image runs, and the records are whole."""
    assert host.board.core.running is not None
    host.login()
    slots = host.call(Slots()).slots
    assert [s for s in slots if s.state in (SlotState.RUNNING, SlotState.TRYING) and s.bootable]
    receipts(host)


def operations_of_an_update() -> int:
    host = lock(0, Cut.BEFORE)
    assert update(host)
    return host.board._flash.operations


TOTAL = operations_of_an_update()


@pytest.mark.parametrize("how", list(Cut))
def test_a_power_cut_at_any_flash_operation_leaves_a_lock_that_boots_and_can_go_on(
    how: Cut,
) -> None:
    assert TOTAL > 30
    for operation in range(1, TOTAL + 1):
        host = lock(operation, how)
        done = update(host)
        if not done:
            check_alive(host)
            done = update(host) or update(host)
        if not done:
            # The trial fell back: its act is closed, its ticket is used, nothing else is lost.
            found = receipts(host)
            assert found[-1].result is ActResult.REVERTED
            state = host.board.core.state
            assert (state.tickets.high, state.tickets.bits) == (1, 1)
            continue
        check_alive(host)
        found = receipts(host)
        assert found[-1].result is ActResult.DONE
        assert {r.result for r in found[:-1]} <= {ActResult.SUPERSEDED}
        assert {r.ticket_id for r in found} == {paper(Op.RESTORE, digest(NEW)).id}
        assert str(host.board.core.running_version) == "2.4.1+0"


def test_a_power_cut_while_booting_boots_again() -> None:
    for operation in range(1, 4):
        for how in Cut:
            flash = NorFlash(bytearray(FIRST))
            flash.cut_at(operation, how)
            check_alive(Host(power_up(flash)))

from __future__ import annotations

import pytest
from simulator.hostdriver import Host, Silence
from simulator.trainer import fresh_flash, image, power_up

from protocol.acts import Activate, ActStatus, Confirm, Reset
from protocol.queries import Events, Slots
from protocol.refusal import EventCode
from protocol.values import ActResult, Op, Phase, Slot, SlotState
from svcport.simulator.boot import REBOOT_LIMIT, TRIAL_S, decide
from svcport.simulator.state import BootRecord, Trial

A, B = Slot.A, Slot.B
OLD, NEW = image("2.4.0"), image("2.4.1")


@pytest.mark.parametrize(
    ("trial", "reboots", "good", "runs", "left", "gave_up"),
    [
        (Trial.NONE, 0, {A, B}, A, Trial.NONE, False),
        (Trial.NONE, 0, {B}, None, Trial.NONE, False),
        (Trial.PENDING, 0, {A, B}, B, Trial.TRYING, False),
        (Trial.PENDING, 0, {B}, B, Trial.TRYING, False),
        (Trial.PENDING, 0, {A}, A, Trial.NONE, True),
        (Trial.PENDING, 0, set(), None, Trial.NONE, True),
        (Trial.TRYING, 0, {A, B}, A, Trial.NONE, True),
        (Trial.TRYING, 0, {B}, B, Trial.TRYING, False),
        (Trial.TRYING, REBOOT_LIMIT - 1, {B}, B, Trial.TRYING, False),
        (Trial.TRYING, REBOOT_LIMIT, {B}, None, Trial.NONE, True),
        (Trial.TRYING, 0, set(), None, Trial.NONE, True),
    ],
)
def test_the_boot_record_decides(
    trial: Trial, reboots: int, good: set[Slot], runs: Slot | None, left: Trial, gave_up: bool
) -> None:
    decision = decide(BootRecord(A, B, trial, reboots), good.__contains__)
    assert (decision.runs, decision.record.trial, decision.gave_up) == (runs, left, gave_up)
    assert decision.record.active is A


def on_trial() -> Host:
    host = Host(power_up(fresh_flash({A: OLD})))
    host.login()
    host.send_image(NEW)
    host.call(Activate())
    host.login()
    return host


def states(host: Host) -> list[SlotState]:
    return [slot.state for slot in host.call(Slots()).slots]


def test_an_activated_image_boots_once_as_trying() -> None:
    host = on_trial()
    assert states(host) == [SlotState.FALLBACK, SlotState.TRYING]
    status = host.call(ActStatus())
    assert status.phase is Phase.TRYING
    assert TRIAL_S - 2 < status.trial_left_s <= TRIAL_S


def test_a_confirmed_image_runs_after_every_reset() -> None:
    host = on_trial()
    host.call(Confirm())
    assert states(host) == [SlotState.FALLBACK, SlotState.RUNNING]
    host.board.power_cycle(host.now)
    host.login()
    assert states(host) == [SlotState.FALLBACK, SlotState.RUNNING]


@pytest.mark.parametrize("how", ["power", "request", "time"])
def test_an_unconfirmed_image_falls_back_and_its_act_is_reverted(how: str) -> None:
    host = on_trial()
    if how == "power":
        host.board.power_cycle(host.now)
    elif how == "request":
        host.call(Reset())
    else:
        host.now += TRIAL_S
    host.login()
    assert states(host) == [SlotState.RUNNING, SlotState.FALLBACK]
    status = host.call(ActStatus())
    assert (status.phase, status.last_op, status.last_result) == (
        Phase.NONE,
        Op.UPDATE,
        ActResult.REVERTED,
    )
    codes = [event.code for event in host.call(Events(0)).events]
    assert codes.count(EventCode.BOOT_FALLBACK) == 1


def test_a_trial_just_short_of_its_time_still_runs() -> None:
    host = on_trial()
    host.now += TRIAL_S - 3
    host.login()
    assert states(host)[B] is SlotState.TRYING


def test_without_a_fallback_a_trial_survives_three_resets_then_the_lock_stays_in_service() -> None:
    host = Host(power_up(fresh_flash({A: OLD}, active=None)))
    host.login()
    assert host.call(Slots()).target is B
    host.send_image(NEW)
    host.call(Activate())
    for _ in range(REBOOT_LIMIT):
        host.login()
        assert states(host) == [SlotState.INVALID, SlotState.TRYING]
        host.call(Reset())
    host.login()
    host.call(Reset())
    host.login()
    assert states(host) == [SlotState.INVALID, SlotState.FALLBACK]
    assert host.call(ActStatus()).last_result is ActResult.REVERTED


def test_a_dead_lock_is_brought_back_by_an_update_in_service_mode() -> None:
    host = Host(power_up(fresh_flash({A: OLD, B: OLD}, active=None)))
    host.install(NEW)
    assert states(host) == [SlotState.INVALID, SlotState.RUNNING]
    assert host.call(Slots()).target is A


def test_an_image_with_a_counter_below_the_locks_does_not_boot() -> None:
    host = Host(power_up(fresh_flash({A: image("2.4.0", counter=3)}, counter=4)))
    host.login()
    assert states(host) == [SlotState.FALLBACK, SlotState.EMPTY]
    assert not host.call(Slots()).slots[A].bootable


def test_the_port_is_silent_while_the_lock_boots() -> None:
    board = power_up(fresh_flash({A: OLD}), now=10.0)
    host = Host(board, now=10.1, patience_s=0.1)
    with pytest.raises(Silence):
        host.handshake()
    host.now, host.patience_s = 10.4, 1.0
    host.handshake()

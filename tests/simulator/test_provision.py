from __future__ import annotations

import json

import pytest
from simulator.hostdriver import Host
from simulator.trainer import digest, factory, fresh_flash, image, power_up

from protocol.acts import ActStatus
from protocol.queries import Battery, Events, SelfTest, Slots
from protocol.refusal import EventCode, SelfTestPart
from protocol.values import Phase, Slot, SlotState
from svcport.simulator.factory import Factory
from svcport.simulator.firmware import FAILING_S
from svcport.simulator.flash import FLASH_SIZE, NorFlash
from svcport.simulator.nvm import NotProvisionedError
from svcport.simulator.provision import Condition
from svcport.simulator.world import BATTERY_WARNING_MV, World

A, B = Slot.A, Slot.B
IMAGES = {A: image("2.4.0"), B: image("2.3.1")}


def visit(condition: Condition, images: dict[Slot, bytes] = IMAGES) -> Host:
    host = Host(power_up(fresh_flash(images, condition=condition)))
    host.login()
    return host


def states(host: Host) -> list[SlotState]:
    return [slot.state for slot in host.call(Slots()).slots]


def codes(host: Host) -> list[int]:
    found, since = [], 0
    while page := host.call(Events(since)).events:
        found += [event.code for event in page]
        since = page[-1].index + 1
    return found


def test_a_healthy_lock_runs_and_passes_its_self_test() -> None:
    host = visit(Condition.HEALTHY)
    assert states(host) == [SlotState.RUNNING, SlotState.FALLBACK]
    assert host.call(SelfTest()).failed == 0
    assert EventCode.CLOUD_AUTH_FAILED not in codes(host)


def test_a_badly_updated_lock_has_the_failures_in_its_log() -> None:
    found = codes(visit(Condition.BAD_UPDATE))
    assert found.count(EventCode.CLOUD_AUTH_FAILED) == found.count(EventCode.CLOUD_RESET) == 24


def test_the_bad_release_fails_after_minutes_and_goes_on_failing() -> None:
    host = visit(Condition.HEALTHY)
    assert host.call(SelfTest()).failed == 0
    host.now += FAILING_S + 600
    host.board.poll(host.now)
    host.login()
    assert host.call(SelfTest()).failed == SelfTestPart.CLOUD
    found = codes(host)
    assert found.count(EventCode.CLOUD_CONNECTED) == 2
    assert 10 <= found.count(EventCode.CLOUD_AUTH_FAILED) <= 11


def test_a_good_release_connects_and_is_quiet() -> None:
    host = visit(Condition.HEALTHY, {A: image("2.3.1")})
    host.now += 3600
    host.board.poll(host.now)
    host.login()
    assert host.call(SelfTest()).failed == 0
    assert EventCode.CLOUD_AUTH_FAILED not in codes(host)


def test_a_dead_lock_boots_nothing_and_its_port_works() -> None:
    host = visit(Condition.DEAD)
    assert states(host) == [SlotState.INVALID, SlotState.INVALID]
    assert codes(host)[-2:] == [EventCode.SERVICE_MODE, EventCode.SERVICE_SESSION]
    assert host.call(SelfTest()).failed == SelfTestPart.IMAGE


def test_a_weak_battery_is_told_and_does_not_fail_the_self_test() -> None:
    host = visit(Condition.WEAK_BATTERY)
    level = host.call(Battery())
    assert level.load_mv < level.rest_mv
    assert level.load_mv < BATTERY_WARNING_MV
    assert EventCode.BATTERY_WARNING in codes(host)
    assert host.call(SelfTest()).failed == 0


def test_an_interrupted_update_is_half_there_and_open() -> None:
    images = {A: image("2.3.1"), B: image("2.4.1")}
    host = visit(Condition.INTERRUPTED, images)
    assert states(host) == [SlotState.RUNNING, SlotState.PARTIAL]
    status = host.call(ActStatus())
    assert (status.phase, status.image_digest) == (Phase.WRITING, digest(images[B]))
    assert host.missing(images[B]) == [2, 3, 4, 5]
    host.install(images[B])


@pytest.mark.parametrize("part", [SelfTestPart.RADIO, SelfTestPart.KEYPAD | SelfTestPart.MOTOR])
def test_broken_parts_fail_the_self_test(part: SelfTestPart) -> None:
    host = Host(power_up(fresh_flash(IMAGES, world=World(broken=part))))
    host.login()
    assert host.call(SelfTest()).failed == part


def test_the_flash_is_all_that_a_lock_needs_to_be_itself_again() -> None:
    host = visit(Condition.HEALTHY)
    copy = NorFlash(bytearray(host.board._flash._buffer))
    again = Host(power_up(copy))
    again.login()
    assert again.board.core.state.reset_count == host.board.core.state.reset_count + 1


def test_a_flash_without_a_lock_does_not_power_up() -> None:
    with pytest.raises(NotProvisionedError):
        power_up(NorFlash(bytearray(b"\xff" * FLASH_SIZE)))


def test_a_factory_record_survives_its_file() -> None:
    assert Factory.from_json(factory().to_json()) == factory()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"serial": 1}'])
def test_a_damaged_factory_record_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Factory.from_json(text)


def test_every_missing_field_of_a_factory_record_is_a_value_error() -> None:
    fields = json.loads(factory().to_json())
    for name in fields:
        with pytest.raises(ValueError, match=r".+"):
            Factory.from_json(json.dumps({k: v for k, v in fields.items() if k != name}))

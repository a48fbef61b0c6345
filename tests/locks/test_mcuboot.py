from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from smpserver import UNSUPPORTED, Device, DevicePort

from images import Version
from protocol.smp import SmpFraming
from svcport.errors import FailedError, Reason
from svcport.locks.device import Buffers, DeviceLog, SlotSpace
from svcport.locks.errors import NoLockError
from svcport.locks.mcuboot import QUIET_S, SHY_S, McubootLock
from svcport.locks.smp_boot import BootProof
from svcport.locks.smp_errors import SmpRefusedError, UnsupportedError
from svcport.locks.snapshot import LockKind
from svcport.transport.port import LinkLostError, Transport

FRAMINGS = list(SmpFraming)
HASH = bytes(range(32))
RUNNING = {"slot": 0, "version": "1.2.3.4", "hash": HASH, "active": True, "confirmed": True}
SPACES = [{"image": 0, "slots": [{"slot": 0, "size": 4096}, {"slot": 1, "upload_image_id": 0}]}]
IMAGE = bytes(2000)


def application(**changes: Any) -> Device:
    fields = {"count": 4, "recovery": False, "images": [RUNNING], "spaces": SPACES}
    return Device(**{**fields, **changes})


def found(device: Device, port: DevicePort | None = None) -> tuple[McubootLock, DevicePort]:
    port = port or DevicePort(device)
    return McubootLock.on(port, lambda _name: port), port


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("made", [Device, application])
def test_framing_and_kind_are_found_by_asking(
    framing: SmpFraming, made: Callable[..., Device]
) -> None:
    lock, port = found(made(framing=framing))
    view = lock.look()
    recovery = made is Device
    assert view.kind is (LockKind.MCUBOOT_RECOVERY if recovery else LockKind.ZEPHYR_SMP)
    assert view.framing is framing
    assert port.clock.time - 1000 < 1.5
    assert set(port.device.said) <= {
        "params", "echo", "state", "slots", "info", "bootloader"
    }  # fmt: skip


def test_nothing_at_the_port_is_known_in_three_seconds() -> None:
    port = DevicePort(Device(mishaps=dict.fromkeys(range(99), "lost")))
    with pytest.raises(NoLockError):
        found(port.device, port)
    assert 1 < port.clock.time - 1000 < 3.3
    assert not port.closed


def test_a_console_that_talks_all_the_time_is_no_device() -> None:
    port = DevicePort(Device(mishaps=dict.fromkeys(range(99), "lost")))
    for tick in range(4000):
        port.say(b"uart:~$ hello\r\n", tick * 0.002)
    with pytest.raises(NoLockError):
        found(port.device, port)
    assert port.clock.time - 1000 < 10


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        # a boot loader that is built with echo
        ({"count": 1, "images": []}, LockKind.MCUBOOT_RECOVERY),
        ({"count": 1, "images": [{"slot": 0, "version": "1.0.0"}]}, LockKind.MCUBOOT_RECOVERY),
        # an application with one buffer, or which states none
        ({"count": 1}, LockKind.ZEPHYR_SMP),
        ({"states_buffers": False}, LockKind.ZEPHYR_SMP),
        ({"states_buffers": False, "images": []}, LockKind.ZEPHYR_SMP),
        ({"states_buffers": False, "recovery": True, "images": []}, LockKind.MCUBOOT_RECOVERY),
    ],
)
def test_one_buffer_alone_makes_no_boot_loader(changes: dict[str, Any], kind: LockKind) -> None:
    lock, _port = found(application(**changes))
    assert lock.kind is kind


def test_a_view_of_an_application_has_everything_it_says() -> None:
    said = {
        "info": {"output": "Zephyr \x1b[31m4.4"},
        "bootloader": {"bootloader": "MCUboot", "mode": 6, "no-downgrade": True},
    }
    lock, _port = found(application(special=lambda name, _asked: said.get(name)))
    view = lock.look()
    assert view.application == "Zephyr ?[31m4.4"
    assert view.bootloader == "MCUboot, RAM load, no downgrade"
    assert view.buffers == Buffers(1024, 4)
    assert view.spaces == (SlotSpace(0, 0, 4096, None), SlotSpace(0, 1, None, 0))
    assert view.slot_size == 4096
    running = view.running
    assert running is not None
    assert running.version == Version(1, 2, 3, 4)
    assert running.digest == HASH
    # flags that an application leaves out are false
    assert (running.confirmed, running.pending, running.permanent) == (True, False, False)
    assert view.other is None


def test_a_view_of_a_boot_loader_claims_no_flags_and_nothing_that_runs() -> None:
    images = [{"slot": 0, "version": "not one", "hash": HASH}]
    lock, _port = found(Device(images=images))
    (slot,) = lock.look().slots
    assert (slot.version, slot.digest) == (None, HASH)
    assert {slot.active, slot.confirmed, slot.pending, slot.bootable, slot.permanent} == {None}
    assert lock.look().running is None


def test_a_device_without_images_has_no_slots() -> None:
    device = application(special=lambda name, _asked: UNSUPPORTED if name == "state" else None)
    lock, _port = found(device)
    assert lock.look().slots == ()


@pytest.mark.parametrize(
    ("spaces", "number"),
    [
        (None, None),
        (SPACES, 0),
        ([{"image": 0, "slots": [{"slot": 1, "upload_image_id": 3}]}], 3),
        ([{"image": 2, "slots": [{"slot": 1, "upload_image_id": 2}]}], None),
    ],
)
def test_an_upload_names_no_image_but_the_one_that_slot_info_names(
    spaces: list[dict[str, Any]] | None, number: int | None
) -> None:
    lock, port = found(application(spaces=spaces))
    lock.upload(IMAGE, lambda _done: None)
    first = next(asked for asked in port.device.asked if "off" in asked)
    assert first.get("image") == number
    assert port.device.taken == IMAGE


def test_an_upload_of_nothing_is_a_mistake_of_the_caller() -> None:
    lock, _port = found(Device())
    with pytest.raises(RuntimeError):
        lock.upload(b"", lambda _done: None)


@pytest.mark.parametrize(
    ("no", "can"),
    [(UNSUPPORTED, False), ({"err": {"group": 1, "rc": 8}}, True), ({"rc": 5}, True)],
)
def test_whether_a_trial_is_possible_is_asked_with_a_hash_of_no_image(
    no: dict[str, Any], can: bool
) -> None:
    device = application(special=lambda _name, asked: no if "hash" in asked else None)
    lock, port = found(device)
    assert lock.can_try() is can
    assert port.device.asked[-1] == {"hash": bytes(32), "confirm": False}


def test_a_boot_loader_is_not_asked_for_a_trial() -> None:
    lock, port = found(Device())
    before = list(port.device.said)
    assert not lock.can_try()
    assert port.device.said == before


def test_marking_and_confirming_say_which_image() -> None:
    lock, port = found(
        application(special=lambda _n, a: {"images": []} if "confirm" in a else None)
    )
    lock.mark_test(HASH)
    lock.confirm(HASH)
    lock.confirm()
    assert port.device.asked[-3:] == [
        {"hash": HASH, "confirm": False},
        {"hash": HASH, "confirm": True},
        {"confirm": True},
    ]


def test_an_erase_may_take_long_and_is_asked_once() -> None:
    device = application(answer_s=0.01)
    lock, port = found(device)
    device.answer_s = 40.0
    device.special = lambda name, _asked: {} if name == "erase" else None
    lock.erase(1)
    assert port.device.said.count("erase") == 1
    assert port.device.asked[-1] == {"slot": 1}


def test_what_is_not_built_in_is_unsupported() -> None:
    lock, _port = found(Device())
    assert lock.logs() == ()
    with pytest.raises(UnsupportedError):
        lock.erase()


def test_after_a_reset_nothing_is_asked_while_the_device_boots() -> None:
    device = Device()
    lock, port = found(device)
    lock.reset()
    at, asked = port.clock.time, len(device.said)

    def booted(_name: str, _asked: dict[str, Any]) -> dict[str, Any] | None:
        assert port.clock.time - at >= QUIET_S
        return None

    device.special, device.recovery, device.count, device.images = booted, False, 4, [RUNNING]
    view = lock.come_back()
    assert view.kind is lock.kind is LockKind.ZEPHYR_SMP
    assert lock.boot_proof is BootProof.KIND
    assert len(device.said) > asked


def test_a_boot_loader_that_is_found_again_is_reset_once_more_and_left_alone() -> None:
    device = Device()
    lock, port = found(device)
    lock.reset()
    first = port.clock.time
    view = lock.come_back()
    assert view.kind is LockKind.MCUBOOT_RECOVERY
    assert device.said.count("reset") == 2
    assert port.clock.time - first >= QUIET_S + SHY_S
    # it is known now
    lock.reset()
    lock.come_back()
    assert device.said.count("reset") == 3


def test_an_application_that_our_question_held_in_its_boot_loader_is_let_go() -> None:
    device = application()
    lock, _port = found(device)
    lock.reset()
    device.recovery, device.count, device.images = True, 1, []

    def second(name: str, _asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "reset":
            device.recovery, device.count, device.images = False, 4, [RUNNING]
        return None

    device.special = second
    assert lock.come_back().kind is LockKind.ZEPHYR_SMP


def test_a_port_that_goes_with_the_reset_is_opened_again_when_it_is_back() -> None:
    device = application()
    first, second = DevicePort(device), DevicePort(device)
    tries: list[str] = []
    second.clock = first.clock

    def opener(_name: str) -> Transport:
        if len(tries) < 20:
            tries.append("none")
            raise FailedError(Reason.NO_LOCK, "no such port")
        tries.append("second")
        return second

    lock = McubootLock.on(first, opener)
    device.special = lambda name, _asked: _lose(first) if name == "reset" else None
    lock.reset()
    device.special = lambda _name, _asked: None
    assert lock.come_back().running is not None
    assert lock.boot_proof is BootProof.PORT
    assert first.closed
    assert tries[-1] == "second"


def _lose(port: DevicePort) -> dict[str, Any]:
    port.lost = True
    return {}


def test_a_device_that_never_comes_back_is_lost_in_time() -> None:
    device = application()
    lock, port = found(device)
    lock.reset()
    at = port.clock.time
    device.mishaps = dict.fromkeys(range(len(device.said), 9999), "lost")
    with pytest.raises(LinkLostError, match="does not come back"):
        lock.come_back(20.0)
    assert 20 <= port.clock.time - at < 26
    assert port.closed
    with pytest.raises(LinkLostError, match="away"):
        lock.look()


def test_a_device_may_boot_into_another_framing() -> None:
    device = Device(SmpFraming.COBS)
    lock, port = found(device)
    lock.reset()
    other = DevicePort(application(framing=SmpFraming.RAW))
    other.clock = port.clock
    port.write, port.read, port.device = other.write, other.read, other.device  # type: ignore[method-assign]
    view = lock.come_back()
    assert view.framing is lock.framing is SmpFraming.RAW
    assert view.kind is LockKind.ZEPHYR_SMP


@pytest.mark.parametrize(
    ("text", "counts", "proof"),
    [
        (b"*** Booting Zephyr OS build v4.4 ***\r\n", (100, 3), BootProof.TEXT),
        (b"", (100, 3), BootProof.COUNTERS),
        (b"", (100, 101), BootProof.TIME),
    ],
)
def test_what_proves_a_restart_is_named(
    text: bytes, counts: tuple[int, int], proof: BootProof
) -> None:
    device = application()
    ticks = iter((counts[0], counts[1]))

    def said(name: str, _asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "stats":
            return {"stat_list": ["svr"]}
        return {"name": "svr", "fields": {"ticks": next(ticks)}} if name == "stat" else None

    device.special = said
    lock, port = found(device)
    lock.reset()
    if text:
        port.say(text, 0.5)
    lock.come_back()
    assert lock.boot_proof is proof


def test_recovery_is_entered_by_boot_mode() -> None:
    device = application()

    def boots(name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "reset":
            assert asked == {"boot_mode": 1}
            device.recovery, device.count, device.images = True, 1, []
        return None

    device.special = boots
    lock, _port = found(device)
    assert lock.enter_recovery().kind is LockKind.MCUBOOT_RECOVERY
    asked = len(device.said)
    # it is there already
    lock.enter_recovery()
    assert "reset" not in device.said[asked:]


def test_an_application_that_does_not_know_boot_modes_is_an_error_with_a_cure() -> None:
    lock, _port = found(application())
    with pytest.raises(FailedError, match="boot mode") as caught:
        lock.enter_recovery()
    assert "button" in caught.value.hint


def test_a_reset_that_is_refused_is_said() -> None:
    device = application(special=lambda name, _asked: {"rc": 10} if name == "reset" else None)
    lock, _port = found(device)
    with pytest.raises(SmpRefusedError, match="restart: busy"):
        lock.reset()


def test_to_come_back_without_a_reset_is_a_mistake_of_the_caller() -> None:
    lock, _port = found(Device())
    with pytest.raises(RuntimeError):
        lock.come_back()


def test_logs_are_read_from_files_and_shell() -> None:
    body = b"line\n" * 300

    def said(name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "file" and asked["name"] == "/lfs1/log.0001":
            piece = body[asked["off"] : asked["off"] + 400]
            first = {"len": len(body)} if asked["off"] == 0 else {}
            return {"off": asked["off"], "data": piece, **first}
        if name == "file":
            return {"err": {"group": 8, "rc": 3}}
        if name == "shell":
            return {"o": "\r\nUptime: 5 ms\r\n", "ret": 0 if asked["argv"][1] == "uptime" else -8}
        return None

    lock, _port = found(application(special=said))
    assert lock.logs() == (
        DeviceLog("/lfs1/log.0001", body),
        DeviceLog("shell: kernel uptime", b"Uptime: 5 ms"),
    )

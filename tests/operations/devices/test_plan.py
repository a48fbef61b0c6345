from __future__ import annotations

import pytest
from imagecraft import craft, generate

from images import Flag, KeyKind, TrustStore, VerifiedImage, Version, verify
from images.header import Header
from protocol.smp import SmpFraming
from svcport.errors import Reason
from svcport.locks.device import DeviceSlot, DeviceView, SlotSpace
from svcport.locks.snapshot import LockKind
from svcport.operations.devices.plan import DevicePlan, Way, plan_restore, plan_rollback

OLD, NEW, NEWER = Version(0, 9, 0), Version(1, 2, 3, 4), Version(2, 0, 0)
SIGNER = generate(KeyKind.P256)


def image(*, ram_load: bool = False) -> VerifiedImage:
    """Version 1.2.3+4, as `craft` makes it."""
    flags, address = (int(Flag.RAM_LOAD), 0x2024_0000) if ram_load else (0, 0)
    data = craft(SIGNER, flags=flags, load_addr=address)
    assert Header.parse(data).version == NEW
    return verify(data, TrustStore([SIGNER.public]))


def slot(number: int, version: Version, **flags: bool) -> DeviceSlot:
    return DeviceSlot(0, number, version, bytes([number]) * 32, **flags)


def running(number: int, version: Version, **flags: bool) -> DeviceSlot:
    return slot(number, version, **{"active": True, "confirmed": True, **flags})


def application(*slots: DeviceSlot, size: int = 0x80000) -> DeviceView:
    spaces = (SlotSpace(0, 0, size, None), SlotSpace(0, 1, size, 0))
    return DeviceView(LockKind.ZEPHYR_SMP, SmpFraming.CONSOLE, "", "", slots, spaces)


def recovery(*slots: DeviceSlot) -> DeviceView:
    return DeviceView(LockKind.MCUBOOT_RECOVERY, SmpFraming.CONSOLE, "", "", slots)


def reasons(plan: DevicePlan) -> list[Reason]:
    return [refusal.reason for refusal in plan.refusals]


@pytest.mark.parametrize(
    ("view", "can_try", "way"),
    [
        (recovery(), False, Way.OVERWRITE),
        (application(running(0, OLD)), True, Way.TRIAL),
        (application(running(0, NEWER)), True, Way.TRIAL),
        (application(running(0, OLD)), False, Way.HIGHER),
        (application(running(0, NEWER)), False, Way.CLEARED),
        (application(running(0, NEW)), False, Way.CLEARED),
        (application(running(0, OLD), slot(1, NEWER)), False, Way.CLEARED),
        (application(running(1, OLD), slot(0, OLD)), False, Way.RECOVERY),
    ],
)
def test_the_way_follows_from_what_answers_and_what_starts(
    view: DeviceView, can_try: bool, way: Way
) -> None:
    plan = plan_restore(view, image(), can_try=can_try)
    assert (plan.way, plan.refusals) == (way, ())
    assert plan.version == "1.2.3+4"
    assert plan.digest == image().digest


def test_a_higher_version_in_the_slot_that_runs_cannot_be_emptied() -> None:
    plan = plan_restore(application(running(1, NEWER)), image(), can_try=False)
    assert reasons(plan) == [Reason.NOT_BOOTABLE]
    assert "slot 1 holds 2.0.0" in plan.refusals[0].message
    assert {step.name: step.result for step in plan.steps}["starts"] == "refused"


def test_in_recovery_a_higher_version_in_slot_1_matters_where_images_run_from_ram() -> None:
    view = recovery(slot(0, OLD), slot(1, NEWER))
    assert reasons(plan_restore(view, image(ram_load=True), can_try=False)) == [Reason.NOT_BOOTABLE]
    assert reasons(plan_restore(view, image(), can_try=False)) == []


def test_an_image_larger_than_the_slot_is_refused() -> None:
    plan = plan_restore(application(running(0, OLD), size=100), image(), can_try=True)
    assert reasons(plan) == [Reason.IMAGE_MODEL]


def test_a_rollback_goes_to_the_lower_version_in_the_other_slot() -> None:
    view = application(running(0, NEWER), slot(1, OLD, active=False, bootable=True))
    plan = plan_rollback(view, None, can_try=True)
    assert (plan.refusals, plan.version, plan.digest) == ((), "0.9.0+0", b"\1" * 32)


@pytest.mark.parametrize(
    ("view", "can_try", "reason"),
    [
        (recovery(slot(0, NEWER), slot(1, OLD)), False, Reason.NO_OLDER_IMAGE),
        (application(running(0, NEWER)), True, Reason.NO_OLDER_IMAGE),
        (application(running(0, OLD), slot(1, NEWER)), True, Reason.NO_OLDER_IMAGE),
        (application(running(0, NEW), slot(1, NEW)), True, Reason.NO_OLDER_IMAGE),
        (application(running(0, NEWER), slot(1, OLD)), False, Reason.NO_OLDER_IMAGE),
        (application(running(0, NEWER), slot(1, OLD, bootable=False)), True, Reason.NOT_BOOTABLE),
    ],
)
def test_a_rollback_that_cannot_be_is_refused_by_its_reason(
    view: DeviceView, can_try: bool, reason: Reason
) -> None:
    assert reasons(plan_rollback(view, None, can_try=can_try)) == [reason]

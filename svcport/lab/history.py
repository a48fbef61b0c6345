"""What became of a simulated lock before the technician meets it: which images, which runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.values import Slot
from svcport.lab.releases import BAD, FIXED, GOOD, Release, SignedRelease
from svcport.simulator.factory import Factory
from svcport.simulator.flash import FLASH_SIZE, NorFlash
from svcport.simulator.provision import Condition, provision


@dataclass(frozen=True, slots=True)
class _History:
    """The release that runs, and the one in the other slot, if there is one."""

    runs: Release
    other: Release | None


_HISTORIES: Final = {
    Condition.HEALTHY: _History(FIXED, GOOD),
    Condition.BAD_UPDATE: _History(BAD, GOOD),
    Condition.DEAD: _History(BAD, GOOD),
    Condition.WEAK_BATTERY: _History(GOOD, None),
    Condition.INTERRUPTED: _History(BAD, FIXED),
}
"""The lock left the factory with one image in slot A; each later one went to the other slot."""


def fresh_flash(
    factory: Factory,
    condition: Condition,
    releases: Mapping[Release, SignedRelease],
    now: int,
) -> bytes:
    """The flash of a lock in that condition at the unix time `now`."""
    history = _HISTORIES[condition]
    active = Slot.A if history.other is None else Slot.B
    images = {active: releases[history.runs].image.data}
    if history.other is not None:
        images[active.other] = releases[history.other].image.data
    memory = bytearray(b"\xff" * FLASH_SIZE)
    provision(
        NorFlash(memory),
        factory,
        images=images,
        active=active,
        security_counter=history.runs.security_counter,
        condition=condition,
        now=now,
    )
    return bytes(memory)

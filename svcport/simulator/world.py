"""The physical facts of one simulated device: its battery, and which of its parts are broken.

No lock stores these; they stand in the first page of the unused boot area so that the flash buffer
is all that a simulated lock needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from construct import Int16ub

from protocol.errors import MalformedMessageError
from protocol.record import Record, flags_field, wire
from protocol.refusal import SelfTestPart
from svcport.simulator.flash import WORD_SIZE, NorFlash

WORLD_ADDRESS: Final = 0

BATTERY_CRITICAL_MV: Final = 3300
"""Under the motor's load; below it the motor stalls, and the lock takes no new firmware."""

BATTERY_WARNING_MV: Final = 4200
"""Under the motor's load; below it the event log gets a warning at every boot."""

NOTHING_BROKEN: Final = SelfTestPart(0)


@dataclass(frozen=True, slots=True)
class World(Record):
    """Battery in millivolts, at rest and under the motor's load; parts that fail a self-test."""

    rest_mv: int = 6100
    load_mv: int = 5600
    broken: SelfTestPart = NOTHING_BROKEN

    WIRE = wire(rest_mv=Int16ub, load_mv=Int16ub, broken=flags_field(SelfTestPart))


_SIZE: Final = len(World().build())


def load_world(flash: NorFlash) -> World:
    """What `save_world` wrote; a healthy device where nothing was written."""
    if flash.is_blank(WORLD_ADDRESS, _SIZE):
        return World()
    try:
        return World.parse(flash.read(WORLD_ADDRESS, _SIZE))
    except MalformedMessageError as error:
        raise ValueError("the page of physical facts is damaged") from error


def save_world(flash: NorFlash, world: World) -> None:
    """Replace the facts."""
    flash.erase(WORLD_ADDRESS)
    data = world.build()
    flash.write(WORLD_ADDRESS, data.ljust(-(-_SIZE // WORD_SIZE) * WORD_SIZE, b"\xff"))

"""What a slot is to the boot logic, in the words of the wire. Changes nothing."""

from __future__ import annotations

from protocol.queries import SlotInfo
from protocol.values import ZERO_DIGEST, ImageVersion, Phase, Slot, SlotState
from svcport.simulator.core import Core
from svcport.simulator.state import Trial


def slot_state(core: Core, slot: Slot) -> SlotState:
    """The slot's part: what runs and what waits first, then what it holds."""
    if slot is core.running:
        return SlotState.TRYING if core.on_trial else SlotState.RUNNING
    boot, act = core.state.boot, core.state.act
    if boot.trial is Trial.PENDING and slot is boot.candidate:
        return SlotState.PENDING
    if core.slots.is_blank(slot):
        return SlotState.EMPTY
    if core.slots.image(slot) is not None:
        return SlotState.FALLBACK
    if act.phase is Phase.WRITING and act.slot is slot:
        return SlotState.PARTIAL
    return SlotState.INVALID


def slot_info(core: Core, slot: Slot) -> SlotInfo:
    """All that SLOTS says of one slot."""
    image = core.slots.image(slot)
    if image is None:
        return SlotInfo(
            slot=slot,
            state=slot_state(core, slot),
            bootable=False,
            version=ImageVersion(0, 0, 0, 0),
            digest=ZERO_DIGEST,
            security_counter=0,
            size=0,
        )
    return SlotInfo(
        slot=slot,
        state=slot_state(core, slot),
        bootable=core.slots.bootable(slot),
        version=image.version,
        digest=image.digest,
        security_counter=image.security_counter,
        size=image.size,
    )

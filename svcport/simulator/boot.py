"""Which slot runs after a reset. A pure decision over the boot record; versions play no part.

Rules:

* no trial: the active slot runs if it verifies, else nothing does (service mode);
* pending: the candidate boots once, as trying; one that does not verify is given up;
* trying, so it was reset before it was confirmed: back to the active slot. Where that does not
  verify, the candidate boots again, at most 3 times, then service mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from protocol.values import Slot
from svcport.simulator.state import BootRecord, Trial

REBOOT_LIMIT: Final = 3
"""Times that a candidate without a fall-back boots again after a reset."""

TRIAL_S: Final = 600
"""Seconds of uptime after which an image that nobody confirmed is given up."""

BOOT_S: Final = 0.3
"""Seconds from reset to a listening port, verification not included."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a boot does.

    Attributes:
        record: the boot record to be durable before the jump.
        runs: the slot that runs; None is service mode.
        gave_up: whether a trial ended here, which closes its act as reverted.
    """

    record: BootRecord
    runs: Slot | None
    gave_up: bool = False

    @property
    def on_trial(self) -> bool:
        """Whether what runs is the candidate."""
        return self.record.trial is Trial.TRYING


def decide(record: BootRecord, bootable: Callable[[Slot], bool]) -> Decision:
    """Apply the rules; `bootable` says whether a slot's image verifies for this lock."""
    fallback = record.active if bootable(record.active) else None
    if record.trial is Trial.NONE:
        return Decision(record, fallback)
    if record.trial is Trial.PENDING and bootable(record.candidate):
        return Decision(replace(record, trial=Trial.TRYING, reboots=0), record.candidate)
    if (
        record.trial is Trial.TRYING
        and fallback is None
        and record.reboots < REBOOT_LIMIT
        and bootable(record.candidate)
    ):
        return Decision(replace(record, reboots=record.reboots + 1), record.candidate)
    return Decision(replace(record, trial=Trial.NONE, reboots=0), fallback, gave_up=True)

"""One visit to a device whose port asks nobody: what it says of itself, and what that is worth.

No identity is proved, no receipt is signed, and what runs is what the running application claims.
Every report and every entry of the ledger says so (`assurance`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from svcport.errors import Reason, RefusedError, SvcportError
from svcport.locks.device import DeviceSlot, DeviceView
from svcport.locks.mcuboot import McubootLock
from svcport.operations.progress import Progress, heed_of
from svcport.operations.report import with_facts
from svcport.operations.workplace import Target, Workplace

BOOT_DEADLINE_S: Final = 60.0
"""Longest wait for a device after a reset: a swap of two slots takes its time."""

ASSURANCE: Final = "unauthenticated-port"
"""What an entry or report of such a port says: no identity, no receipt, the digest is a claim."""


@dataclass(slots=True)
class DeviceVisit:
    """A device that answers, and what it said last.

    Attributes:
        view: replaced by `look` and `restart`.
    """

    work: Workplace
    target: Target
    lock: McubootLock
    progress: Progress
    view: DeviceView

    @property
    def name(self) -> str:
        """The device in a sentence."""
        serial = self.target.claimed_serial
        return f"{self.view.kind} device" + (f" {serial} (as claimed)" if serial else "")

    def look(self) -> DeviceView:
        """Ask the device everything again."""
        self.view = self.lock.look()
        return self.view

    def restart(self) -> DeviceView:
        """Reset the device, and wait until it answers again; LinkLostError if it does not."""
        self.progress.step("restarting the device")
        self.lock.reset()
        self.view = self.lock.come_back(BOOT_DEADLINE_S, heed_of(self.progress))
        return self.view

    def facts(self) -> dict[str, Any]:
        """What every report of this visit says."""
        serial = self.target.claimed_serial
        return {"lock": lock_json(self.view, serial), "assurance": ASSURANCE}


@contextlib.contextmanager
def device_visit(
    work: Workplace, target: Target, lock: McubootLock, progress: Progress
) -> Iterator[DeviceVisit]:
    """Look at a device that was found; its port is let go at the end.

    Raises:
        RefusedError: `wrong-lock`: a lock was expected by its serial, which this port cannot prove.
        SvcportError: whatever stands in the way.
    """
    try:
        work.require_records()
        _expect(target, lock)
        progress.step("asking the device about its state")
        stay = DeviceVisit(work, target, lock, progress, lock.look())
        try:
            yield stay
        except SvcportError as error:
            raise with_facts(error, **stay.facts()) from error.__cause__
    except BaseException:
        lock.drop()
        raise
    lock.close()


def _expect(target: Target, lock: McubootLock) -> None:
    if target.expect_serial is not None:
        raise RefusedError(
            Reason.WRONG_LOCK,
            f"a {lock.kind} device answers at {lock.port}, which cannot prove that it is "
            f"{target.expect_serial}",
            hint="leave --expect-serial away; --serial records a serial as claimed, not proved",
        )


def lock_json(view: DeviceView, serial: str | None) -> dict[str, Any]:
    """The `lock` member: what the device cannot tell is None."""
    return {
        "kind": str(view.kind),
        "serial": serial,
        "model": None,
        "hardware": None,
        "batch": None,
        "bootloader": view.bootloader or None,
        "application": view.application or None,
        "slots": [_slot_json(slot) for slot in view.slots],
        "security_counter": None,
        "battery_mv": {"rest": None, "load": None},
        "receipts": {"seq": None},
    }


def _slot_json(slot: DeviceSlot) -> dict[str, Any]:
    return {
        "slot": slot.slot,
        "version": None if slot.version is None else str(slot.version),
        "digest": None if slot.digest is None else slot.digest.hex(),
        "state": _state(slot),
        "bootable": slot.bootable,
        "security_counter": None,
    }


def _state(slot: DeviceSlot) -> str | None:
    """The contract's word for a slot; None where the device gives no flags, as recovery does."""
    if slot.active is None:
        return None
    if slot.active:
        return "running" if slot.confirmed else "trying"
    if slot.pending:
        return "pending"
    return "fallback" if slot.bootable else "invalid"

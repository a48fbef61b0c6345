"""Everything a lock says of itself at one moment, frozen; what diagnosis and plans look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from protocol.acts import ActState
from protocol.queries import Event
from protocol.refusal import EventCode
from protocol.values import Head, ImageVersion, Slot, SlotState


class LockKind(StrEnum):
    """The kinds of device that svcport knows."""

    SERVICE_PORT = "service-port"
    MCUBOOT_RECOVERY = "mcuboot-recovery"
    ZEPHYR_SMP = "zephyr-smp"


@dataclass(frozen=True, slots=True)
class SlotView:
    """What one slot holds; version, digest and counter are None unless an image verifies."""

    slot: Slot
    state: SlotState
    bootable: bool
    version: ImageVersion | None
    digest: bytes | None
    security_counter: int | None
    size: int

    def as_json(self) -> dict[str, Any]:
        """The slot as reports show it."""
        return {
            "slot": int(self.slot),
            "version": str(self.version) if self.version else None,
            "digest": self.digest.hex() if self.digest else None,
            "state": self.state.name.lower(),
            "bootable": self.bootable,
            "security_counter": self.security_counter,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One lock at one moment.

    Attributes:
        target: the slot that a new image must be written to.
        slot_size: bytes of one image slot.
        max_baud: fastest speed the lock offers.
        battery_rest_mv: millivolts at rest.
        battery_load_mv: millivolts under the motor's load.
        events: newest part of the event log, rising by index; empty unless it was asked for.
    """

    kind: LockKind
    serial: str
    model: str
    hardware: str
    batch: str
    bootloader: str
    slots: tuple[SlotView, ...]
    target: Slot
    slot_size: int
    max_baud: int
    security_counter: int
    battery_rest_mv: int
    battery_load_mv: int
    head: Head
    act: ActState
    min_epoch: int
    epoch_number: int
    time_floor: int
    uptime_s: int
    events: tuple[Event, ...] = ()

    @property
    def running(self) -> SlotView | None:
        """The slot that runs, on trial or confirmed; None in service mode."""
        wanted = (SlotState.RUNNING, SlotState.TRYING)
        return next((slot for slot in self.slots if slot.state in wanted), None)

    @property
    def running_digest(self) -> bytes | None:
        """Digest of the image that runs; None in service mode."""
        return self.running.digest if self.running else None

    @property
    def on_trial(self) -> bool:
        """Whether the running image waits for its confirmation."""
        return self.running is not None and self.running.state is SlotState.TRYING

    def slot(self, slot: Slot) -> SlotView:
        """The view of one slot."""
        return next(view for view in self.slots if view.slot is slot)

    @property
    def other(self) -> SlotView | None:
        """The slot that does not run; None where nothing runs."""
        return self.slot(self.running.slot.other) if self.running else None

    def as_json(self) -> dict[str, Any]:
        """The `lock` member of every report."""
        return {
            "kind": str(self.kind),
            "serial": self.serial,
            "model": self.model,
            "hardware": self.hardware,
            "batch": self.batch,
            "bootloader": self.bootloader,
            "slots": [slot.as_json() for slot in self.slots],
            "security_counter": self.security_counter,
            "battery_mv": {"rest": self.battery_rest_mv, "load": self.battery_load_mv},
            "receipts": {"seq": self.head.seq},
        }


def event_json(event: Event) -> dict[str, Any]:
    """One event as reports show it; `time` is None where the lock's clock was lost."""
    try:
        text = EventCode(event.code).name.lower().replace("_", "-")
    except ValueError:
        text = f"event-{event.code}"
    return {
        "index": event.index,
        "time": rfc3339(event.unix_time) if event.unix_time else None,
        "uptime_s": event.uptime_s,
        "code": text,
        "argument": event.argument,
    }


def rfc3339(unix_time: int) -> str | None:
    """Seconds since 1970 as RFC 3339 in UTC; None if beyond any calendar."""
    try:
        return datetime.fromtimestamp(unix_time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None

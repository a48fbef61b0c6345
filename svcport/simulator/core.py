"""One power-up of the lock: the boot, and what every part of the firmware shares until the reset.

Making a Core is booting. Nothing here knows frames or sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from protocol.refusal import EventCode, SelfTestPart
from protocol.values import ActResult, AfterState, ImageVersion, Phase, Slot
from svcport.simulator.boot import TRIAL_S, Decision, decide
from svcport.simulator.factory import Factory
from svcport.simulator.firmware import Firmware
from svcport.simulator.flash import NorFlash
from svcport.simulator.nvm import Nvm
from svcport.simulator.receipts import Receipts
from svcport.simulator.slots import Slots
from svcport.simulator.state import LockState
from svcport.simulator.world import BATTERY_WARNING_MV, load_world

Entropy = Callable[[int], bytes]
"""Gives that many random bytes."""


class Core:
    """The booted lock.

    Attributes:
        running: the slot whose image runs; None is service mode.
        on_trial: whether that image is a candidate that nobody confirmed yet.
        booted_at: when the reset was, in the caller's seconds.

    Raises:
        PowerCut: the power failed during the boot.
        NotProvisionedError: the flash holds no lock.
    """

    def __init__(
        self, factory: Factory, flash: NorFlash, entropy: Entropy, now: float, *, cold: bool
    ) -> None:
        """Boot; `cold` says that power was lost, and the clock with it."""
        self.factory = factory
        self.identity = factory.identity()
        self.entropy = entropy
        self.booted_at = now
        self.nvm = Nvm(flash)
        self.slots = Slots(flash, factory, self.nvm)
        self.receipts = Receipts(factory, self.identity, self.nvm)
        self.world = load_world(flash)
        decision = decide(self.nvm.state.boot, self.slots.bootable)
        self.running = decision.runs
        self.on_trial = decision.on_trial
        self._make_durable(decision)
        self.firmware = Firmware(self.running_version, now)
        self._log_boot(decision, cold=cold)

    @property
    def state(self) -> LockState:
        """The durable state."""
        return self.nvm.state

    @property
    def target(self) -> Slot:
        """The slot that may be written: the one that the active slot is not."""
        return self.state.boot.active.other

    @property
    def running_version(self) -> ImageVersion | None:
        """Version of the image that runs; None in service mode."""
        image = None if self.running is None else self.slots.image(self.running)
        return None if image is None else image.version

    @property
    def trial_ends_at(self) -> float | None:
        """When an unconfirmed image is given up; None while none is on trial."""
        return self.booted_at + TRIAL_S if self.on_trial else None

    def after_state(self, state: LockState) -> AfterState | None:
        """What a receipt says of the lock after the act; None in service mode."""
        version = self.running_version
        return None if version is None else AfterState(version, state.security_counter)

    def uptime_s(self, now: float) -> int:
        """Whole seconds since the reset."""
        return max(0, int(now - self.booted_at))

    def log(self, code: EventCode, argument: int, now: float) -> None:
        """Append to the event log; the clock was lost with the last power, so no time of day."""
        self.nvm.add_event(unix_time=0, uptime_s=self.uptime_s(now), code=code, argument=argument)

    def self_test(self, now: float) -> SelfTestPart:
        """Parts that fail; the running image is hashed and verified anew."""
        failed = self.firmware.failed_parts(self.world, now)
        if self.running is not None:
            self.slots.forget(self.running)
        if self.running is None or not self.slots.bootable(self.running):
            failed |= SelfTestPart.IMAGE
        return failed

    def _make_durable(self, decision: Decision) -> None:
        """One record before the jump: boot decision, act and reset count together."""
        state = replace(self.state, reset_count=self.state.reset_count + 1)
        if decision.gave_up and state.act.phase in (Phase.PENDING, Phase.TRYING):
            state = self.receipts.close(state, ActResult.REVERTED, self.after_state(state))
        elif decision.on_trial and state.act.is_open:
            state = replace(state, act=replace(state.act, phase=Phase.TRYING))
        self.nvm.write(replace(state, boot=decision.record))

    def _log_boot(self, decision: Decision, *, cold: bool) -> None:
        now, version = self.booted_at, self.running_version
        if cold:
            self.log(EventCode.CLOCK_LOST, 0, now)
        if decision.gave_up:
            self.log(EventCode.BOOT_FALLBACK, self.state.boot.candidate, now)
        if version is None:
            self.log(EventCode.SERVICE_MODE, 0, now)
        else:
            code = EventCode.BOOT_TRIAL if decision.on_trial else EventCode.BOOT
            self.log(code, packed(version), now)
        if self.world.load_mv < BATTERY_WARNING_MV:
            self.log(EventCode.BATTERY_WARNING, self.world.load_mv, now)


def packed(version: ImageVersion) -> int:
    """A version as an event's argument: major u8 | minor u8 | revision u16."""
    return version.major << 24 | version.minor << 16 | version.revision

"""What the running firmware does while the lock lives its life: the cloud, mostly.

Release 2.4.0 is the bad one: after some minutes its cloud authentication fails for good, and it
fills the event log with retries. Every other version connects and is quiet. The bolt never moves.
"""

from __future__ import annotations

from typing import Final

from protocol.refusal import EventCode, SelfTestPart
from protocol.values import ImageVersion
from svcport.simulator.world import BATTERY_CRITICAL_MV, World

BAD_RELEASE: Final = (2, 4, 0)
CONNECT_S: Final = 5.0
"""Uptime at which the lock has reached its cloud."""

FAILING_S: Final = 180.0
"""Uptime from which on the bad release fails to authenticate."""

RETRY_S: Final = 60.0
"""Seconds from one failure of the bad release to the next."""

RESET_AFTER_S: Final = 5.0
"""Seconds from a failure to the reset connection."""

CLOUD_UNAUTHORIZED: Final = 401
"""Argument of CLOUD_AUTH_FAILED: what the cloud answered."""


def is_bad(version: ImageVersion) -> bool:
    """Whether the image is of the bad release, whatever its build."""
    return (version.major, version.minor, version.revision) == BAD_RELEASE


class Firmware:
    """One boot of one image. `version` None: service mode, which does nothing by itself."""

    def __init__(self, version: ImageVersion | None, booted_at: float) -> None:
        self._bad = version is not None and is_bad(version)
        self._booted_at = booted_at
        self._failures = 0
        self._in_reset = False
        self.next_at = None if version is None else booted_at + CONNECT_S
        self._connected = False

    def step(self) -> tuple[EventCode, int]:
        """The event that is due at `next_at`: code and argument; sets the next one's time."""
        if not self._connected:
            self._connected = True
            self.next_at = self._booted_at + FAILING_S if self._bad else None
            return EventCode.CLOUD_CONNECTED, 0
        start = self._booted_at + FAILING_S + self._failures * RETRY_S
        if not self._in_reset:
            self._in_reset = True
            self.next_at = start + RESET_AFTER_S
            return EventCode.CLOUD_AUTH_FAILED, CLOUD_UNAUTHORIZED
        self._in_reset = False
        self._failures += 1
        self.next_at = start + RETRY_S
        return EventCode.CLOUD_RESET, self._failures

    def failed_parts(self, world: World, now: float) -> SelfTestPart:
        """Parts that fail a self-test now, the image left out."""
        failed = world.broken
        if world.load_mv < BATTERY_CRITICAL_MV:
            failed |= SelfTestPart.BATTERY
        if self._bad and now >= self._booted_at + FAILING_S:
            failed |= SelfTestPart.CLOUD
        return failed

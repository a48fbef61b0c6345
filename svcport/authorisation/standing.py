"""Whether a certificate or ticket is good at a moment: its dates, its epoch, its keys. No clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.objects import EpochStatement
from svcport.authorisation.times import unix, when
from svcport.errors import Reason, Refusal

CLOCK_SKEW_S: Final = 300
"""Seconds that a computer's clock may be behind the issuer's before fresh papers look wrong."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, and the newest EPOCH known now.

    Attributes:
        now: unix seconds, of this computer's clock.
        epoch: what is revoked; None before the first statement.
    """

    now: int
    epoch: EpochStatement | None

    @classmethod
    def of(cls, now: datetime, epoch: EpochStatement | None) -> Moment:
        """The moment `now` (aware)."""
        return cls(unix(now), epoch)

    @property
    def latest(self) -> int:
        """The later of clock and EPOCH: a clock set back does not bring dead papers to life."""
        return self.now if self.epoch is None else max(self.now, self.epoch.issued_at)

    def early(self, what: str, not_before: int, reason: Reason) -> tuple[Refusal, ...]:
        """A refusal if `what` is good only later than now, clock skew allowed."""
        if not_before <= self.now + CLOCK_SKEW_S:
            return ()
        return (
            Refusal(
                reason,
                f"{what} begins at {when(not_before)}, this computer's clock says {when(self.now)}",
                "set this computer's clock",
            ),
        )

    def late(self, what: str, not_after: int, reason: Reason, hint: str) -> tuple[Refusal, ...]:
        """A refusal if `what` has ended; its last second is still good."""
        if self.latest <= not_after:
            return ()
        return (Refusal(reason, f"{what} ended at {when(not_after)}", hint),)

    def revoked(self, what: str, key_ids: tuple[bytes, ...], epoch: int) -> tuple[Refusal, ...]:
        """A refusal for each way in which the newest EPOCH revokes `what`."""
        if self.epoch is None:
            return ()
        hint = "ask the vendor for a new one; this one cannot be made good again"
        found = [
            Refusal(Reason.REVOKED, f"{what}: the vendor revoked key {key_id.hex()}", hint)
            for key_id in key_ids
            if key_id in self.epoch.revoked
        ]
        if epoch < self.epoch.min_epoch:
            message = f"{what} is of epoch {epoch}, the vendor accepts {self.epoch.min_epoch} on"
            found.append(Refusal(Reason.REVOKED, message, hint))
        return tuple(found)

"""One session of the port, and what guards it: the bucket of handshakes, the delay after failures.

All of it is RAM: a reset forgets it. Time comes in as seconds of the caller's monotonic clock.
"""

from __future__ import annotations

import math
from typing import Final

from protocol.channel import LockChannel
from protocol.noise import SessionKeys
from protocol.values import Head
from svcport.simulator.credentials import Credential
from svcport.simulator.intents import SessionFacts
from svcport.simulator.transfer import Transfer

IDLE_LIMIT_S: Final = 120.0
SESSION_LIMIT_S: Final = 30 * 60.0
BUCKET_SIZE: Final = 8
REFILL_S: Final = 2.0
"""Seconds until the bucket gets a token back."""

DELAY_LIMIT_S: Final = 60
"""The delay after failed AUTHs doubles from 1 s up to here."""


class Session:
    """From the handshake on; `facts` is there once AUTH has succeeded.

    Attributes:
        channel: the sealed control records.
        facts: who opened it; None before AUTH.
        transfer: the one under way.
    """

    def __init__(self, keys: SessionKeys, now: float) -> None:
        self.keys = keys
        self.channel = LockChannel(keys)
        self.facts: SessionFacts | None = None
        self.transfer: Transfer | None = None
        self._opened_at = now
        self._last_at = now
        self._limit_s = SESSION_LIMIT_S
        self._transfers = 0

    def authenticate(self, credential: Credential, head: Head, now: float) -> SessionFacts:
        """AUTH has succeeded; `head` is what its answer says."""
        self.touch(now)
        self.facts = SessionFacts(self.keys.handshake_hash, credential, head)
        return self.facts

    def drop(self) -> None:
        """Be anonymous again: AUTH anew, or nothing; the transfer ends, the act stays."""
        self.facts = None
        self.transfer = None

    def next_transfer_id(self) -> int:
        """1, 2, 3 ... within the session."""
        self._transfers += 1
        return self._transfers

    def touch(self, now: float) -> None:
        """Something genuine came."""
        self._last_at = now

    def shorten(self, limit_s: int) -> None:
        """End the session earlier: no later than `limit_s` after the handshake."""
        self._limit_s = min(self._limit_s, float(limit_s))

    @property
    def ends_at(self) -> float:
        """When it is over if nothing more comes."""
        return min(self._last_at + IDLE_LIMIT_S, self._opened_at + self._limit_s)


class Bucket:
    """Handshakes that a stranger may cause: 8 at once, then one every 2 s."""

    def __init__(self, now: float) -> None:
        self._tokens = float(BUCKET_SIZE)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token; False if there is none."""
        self._tokens = min(BUCKET_SIZE, self._tokens + max(0.0, now - self._at) / REFILL_S)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """The handshake led to an AUTH."""
        self._tokens = min(BUCKET_SIZE, self._tokens + 1)


class FailureDelay:
    """1, 2, 4 .. 60 s during which no AUTH is judged, after each that failed."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = -math.inf

    def left_s(self, now: float) -> int:
        """Whole seconds to wait, 0 if none."""
        return math.ceil(self._until - now) if now < self._until else 0

    def fail(self, now: float) -> int:
        """One more failure; the seconds to wait from now."""
        delay = min(DELAY_LIMIT_S, 1 << min(self._failures, 6))
        self._failures += 1
        self._until = now + delay
        return delay

    def succeed(self) -> None:
        """Forget the failures."""
        self._failures = 0

"""What a port's whole traffic adds up to."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

GAP_S: Final = 1.0
"""A silence both ways from which on it is told."""

GAPS_TOLD: Final = 20
"""Longest silences of a port that are told."""

_MICRO: Final = 1_000_000


class Tally:
    """Counts one port's bytes, frames, faults and silences.

    Attributes:
        bytes, frames, packets, resends, crc_errors, garbage_bytes, text_lines: by side.
        counts: how often the port was opened, could not be, was lost and closed.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        self.bytes: Counter[str] = Counter()
        self.frames: dict[str, Counter[str]] = {"host": Counter(), "lock": Counter()}
        self.packets: Counter[str] = Counter()
        self.resends: Counter[str] = Counter()
        self.crc_errors: Counter[str] = Counter()
        self.garbage_bytes: Counter[str] = Counter()
        self.text_lines: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.upload_bytes = self.missing_bytes = 0
        self._bauds: list[int] = []
        self._gaps: list[tuple[int, int]] = []
        self._first_us = self._last_us = 0
        self._quiet_since: int | None = None

    def heard(self, side: str, size: int, time_us: int) -> None:
        """So many bytes went over the line from that side."""
        self.bytes[side] += size
        if self._quiet_since is not None and time_us - self._quiet_since >= GAP_S * _MICRO:
            self._gaps.append((self._quiet_since, time_us - self._quiet_since))
            if len(self._gaps) > 2 * GAPS_TOLD:
                self._gaps = self._longest()
        self._quiet_since = time_us

    def seen(self, time_us: int) -> None:
        """Something happened at the port."""
        self._first_us = self._first_us or time_us
        self._last_us = max(self._last_us, time_us)

    def interrupted(self) -> None:
        """The port was closed: silence means nothing until it is used again."""
        self._quiet_since = None

    def baud(self, baud: int) -> None:
        """The host's side has this speed now."""
        if baud not in self._bauds and len(self._bauds) < GAPS_TOLD:
            self._bauds.append(baud)

    def _longest(self) -> list[tuple[int, int]]:
        return sorted(self._gaps, key=lambda gap: -gap[1])[:GAPS_TOLD]

    def as_json(self, start_us: int) -> dict[str, Any]:
        """The members of `summary.ports[]`; `start_us` is the capture's first moment."""
        sides = ("host", "lock")
        return {
            "port": self.port,
            "seconds": seconds(self._last_us - self._first_us),
            **{name: self.counts[name] for name in ("opened", "not_opened", "lost", "closed")},
            "bytes": _both(self.bytes),
            "frames": {side: dict(sorted(self.frames[side].items())) for side in sides},
            "smp": _both(self.packets),
            "resends": _both(self.resends),
            "crc_errors": _both(self.crc_errors),
            "garbage_bytes": _both(self.garbage_bytes),
            "text_lines": _both(self.text_lines),
            "upload_bytes": self.upload_bytes,
            "missing_bytes": self.missing_bytes,
            "bauds": self._bauds,
            "gaps": [
                {"time": seconds(since - start_us), "seconds": seconds(long)}
                for since, long in sorted(self._longest())
            ],
        }


def _both(counter: Counter[str]) -> dict[str, int]:
    return {"host": counter["host"], "lock": counter["lock"]}


def seconds(time_us: int) -> float:
    """Microseconds as JSON has them."""
    return round(time_us / _MICRO, 6)

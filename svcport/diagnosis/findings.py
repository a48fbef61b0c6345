"""Findings, and the rules that make them of a snapshot. Pure: nothing is asked, nothing changed.

Each rule looks at one thing and gives at most one finding, with the evidence that made it. Rules do
not know of each other; `diagnose` ranks what they found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from protocol.queries import Event
from protocol.refusal import EventCode
from protocol.values import Phase, SlotState
from svcport.locks.snapshot import Snapshot, event_json

WEAK_LOAD_MV: Final = 4600
"""Below this under load the motor is slow; four cells of 1.15 V."""

WEAK_SAG_MV: Final = 900
"""A drop of more than this from rest to load means cells that are nearly empty, or corroded."""

CLOUD_FAILURES: Final = 3
"""Failures since the last success from which on they are no accident."""


PROVING_S: Final = 15 * 60
"""Seconds that a connection must have lasted before it outweighs failures in the log."""

_OTHER_IMAGE: Final = (EventCode.BOOT_TRIAL, EventCode.BOOT_FALLBACK, EventCode.CONFIRMED)
"""Events after which another image runs: what was logged before says nothing of it."""

_STARTS: Final = (EventCode.BOOT, EventCode.BOOT_TRIAL, EventCode.BOOT_FALLBACK)


class Severity(StrEnum):
    """How soon it matters."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: stable word.
        confidence: 0 to 1: how surely the evidence means this.
        evidence: what was seen, in the lock's own figures.
        action: what to do next.
    """

    code: str
    severity: Severity
    confidence: float
    evidence: tuple[str, ...]
    action: str

    def as_json(self) -> dict[str, Any]:
        """The finding as reports show it."""
        return {
            "code": self.code,
            "severity": str(self.severity),
            "confidence": self.confidence,
            "evidence": list(self.evidence),
            "action": self.action,
        }


@dataclass(frozen=True, slots=True)
class KnownTrouble:
    """An advisory that concerns the running version, as far as diagnosis needs it."""

    id: str
    title: str
    action: str


Rule = Callable[[Snapshot, tuple[KnownTrouble, ...]], Finding | None]


def nothing_bootable(lock: Snapshot, _known: tuple[KnownTrouble, ...]) -> Finding | None:
    """The lock waits in service mode: no slot holds an image that it may boot."""
    if lock.running is not None:
        return None
    states = tuple(f"slot {view.slot.name}: {view.state.name.lower()}" for view in lock.slots)
    return Finding(
        "nothing-bootable",
        Severity.CRITICAL,
        1.0,
        states,
        "svcport restore brings the approved image; until then keypad and app do nothing",
    )


def advisory(lock: Snapshot, known: tuple[KnownTrouble, ...]) -> Finding | None:
    """The vendor has published an advisory about the version that runs."""
    if not known or lock.running is None:
        return None
    return Finding(
        "advisory",
        Severity.CRITICAL,
        1.0,
        tuple(f"{one.id}: {one.title}" for one in known),
        "svcport restore brings the version that the vendor approves",
    )


def cloud_auth_failing(lock: Snapshot, _known: tuple[KnownTrouble, ...]) -> Finding | None:
    """The lock reaches the cloud and is turned away, again and again.

    A connection right after a start proves little: bad firmware fails minutes later.
    """
    failures: list[Event] = []
    started = max((e.index for e in lock.events if e.code in _STARTS), default=-1)
    for event in lock.events:
        young = event.index > started and lock.uptime_s - event.uptime_s < PROVING_S
        if event.code in _OTHER_IMAGE or (event.code == EventCode.CLOUD_CONNECTED and not young):
            failures.clear()
        elif event.code in (EventCode.CLOUD_AUTH_FAILED, EventCode.CLOUD_RESET):
            failures.append(event)
    if len(failures) < CLOUD_FAILURES:
        return None
    last = event_json(failures[-1])
    return Finding(
        "cloud-auth-failing",
        Severity.WARNING,
        0.9,
        (
            f"{len(failures)} failures since the last lasting connection in the event log",
            f"last: {last['code']} at {last['time'] or 'unknown time'}",
        ),
        "look for an advisory for this version; without one, the account or network is at fault",
    )


def update_half_written(lock: Snapshot, _known: tuple[KnownTrouble, ...]) -> Finding | None:
    """An update was begun and not finished."""
    partial = [view for view in lock.slots if view.state is SlotState.PARTIAL]
    writing = lock.act.phase is Phase.WRITING
    if not partial and not writing:
        return None
    evidence = [f"slot {view.slot.name} is partly written" for view in partial]
    if writing:
        evidence.append(f"an act is open, image {lock.act.image_digest.hex()[:16]}")
    return Finding(
        "update-half-written",
        Severity.WARNING,
        1.0,
        tuple(evidence),
        "run svcport restore again: it continues where the written sectors end",
    )


def battery_weak(lock: Snapshot, _known: tuple[KnownTrouble, ...]) -> Finding | None:
    """The battery sags under the motor's load."""
    sag = lock.battery_rest_mv - lock.battery_load_mv
    if lock.battery_load_mv >= WEAK_LOAD_MV and sag <= WEAK_SAG_MV:
        return None
    return Finding(
        "battery-weak",
        Severity.WARNING,
        0.95,
        (f"{lock.battery_rest_mv} mV at rest, {lock.battery_load_mv} mV under load",),
        "put fresh batteries in, all of them, before anything else",
    )


RULES: Final[tuple[Rule, ...]] = (
    nothing_bootable,
    update_half_written,
    advisory,
    cloud_auth_failing,
    battery_weak,
)


def diagnose(lock: Snapshot, known: Iterable[KnownTrouble]) -> tuple[Finding, ...]:
    """What is found, the most severe first; `healthy` if nothing is."""
    trouble = tuple(known)
    found = [finding for rule in RULES if (finding := rule(lock, trouble)) is not None]
    if not found:
        version = lock.running.version if lock.running else None
        evidence = (f"runs {version}, {lock.battery_load_mv} mV under load",)
        return (Finding("healthy", Severity.INFO, 0.8, evidence, "nothing to do"),)
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))

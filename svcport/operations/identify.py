"""Who the lock says it is, authenticated; and its event log."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from svcport.errors import Outcome
from svcport.locks.snapshot import event_json
from svcport.operations.report import Report
from svcport.operations.visit import Visit

WHOLE_LOG: Final = 1_000_000
"""More events than any ring holds."""


def identify_lock(stay: Visit) -> Report:
    """The lock's identity and state, as it states them to an authenticated technician.

    With its nonce, which an issuer needs for a nonce ticket.
    """
    lock, nonce = stay.snapshot, stay.lock.nonce()
    runs = f"runs {lock.running.version}" if lock.running else "runs nothing: service mode"
    return Report(
        Outcome.OK,
        f"lock {lock.serial}: {lock.model}, hardware {lock.hardware}, {runs}",
        facts={**stay.facts(), "nonce": nonce.hex()},
    )


def read_logs(stay: Visit, since: datetime | None) -> Report:
    """The lock's event log; with `since` (aware), only events whose time is known and later."""
    stay.progress.step("reading the event log")
    events = stay.lock.recent_events(WHOLE_LOG)
    floor = int(since.timestamp()) if since else None
    kept = [e for e in events if floor is None or e.unix_time >= floor]
    return Report(
        Outcome.OK,
        f"{len(kept)} of {len(events)} events of lock {stay.lock.serial}",
        facts={
            **stay.facts(),
            "events": [event_json(event) for event in kept],
        },
    )

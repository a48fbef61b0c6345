"""Ask a lock for what this ledger lacks, and close what was left open."""

from __future__ import annotations

from svcport.errors import Outcome
from svcport.operations.report import Report
from svcport.operations.settle import settle
from svcport.operations.visit import Visit

_OPEN_HINT = (
    "an act is still open on the lock: run restore or rollback, here or at the station that began "
    "it, to finish or replace it"
)


def reconcile_lock(stay: Visit) -> Report:
    """Fetch missing receipts, close the intents that they answer or rule out, name the rest."""
    stay.progress.step("asking the lock for its receipts")
    settled = settle(stay)
    running = stay.snapshot.running
    runs = f"it runs {running.version}" if running else "nothing runs on it"
    if stay.snapshot.on_trial:
        runs += ", on trial"
    hint = stay.warnings[0].hint if stay.warnings else ""
    if settled.open:
        hint = _OPEN_HINT
    return Report(
        Outcome.OK,
        f"lock {stay.lock.serial}: {len(settled.recovered)} receipts recovered, "
        f"{len(settled.closed)} intents closed, {len(settled.open)} open; {runs}"
        + "".join(f"; {warning.message}" for warning in stay.warnings),
        hint=hint,
        facts={
            **stay.facts(),
            "recovered": list(settled.recovered),
            "closed": list(settled.closed),
            "open": list(settled.open),
        },
    )

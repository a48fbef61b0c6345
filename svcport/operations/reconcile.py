"""Ask a lock for what this ledger lacks, and close what was left open."""

from __future__ import annotations

from svcport.errors import Outcome
from svcport.operations.installation import Installation, Target
from svcport.operations.progress import Progress
from svcport.operations.report import Report
from svcport.operations.settle import settle
from svcport.operations.visit import visit


def reconcile(inst: Installation, target: Target, progress: Progress) -> Report:
    """Fetch missing receipts, close the intents that they answer or rule out, name the rest."""
    with visit(inst, target, progress) as stay:
        progress.step("asking the lock for its receipts")
        settled = settle(stay)
        running = stay.snapshot.running
        runs = f"it runs {running.version}" if running else "nothing runs on it"
        if stay.snapshot.on_trial:
            runs += ", on trial"
        hint = ""
        if settled.open:
            hint = "an act is still open on the lock: run the same command again to finish it"
        return Report(
            Outcome.OK,
            f"lock {stay.lock.serial}: {len(settled.recovered)} receipts recovered, "
            f"{len(settled.closed)} intents closed, {len(settled.open)} open; {runs}",
            hint=hint,
            facts={
                "lock": stay.snapshot.as_json(),
                "recovered": list(settled.recovered),
                "closed": list(settled.closed),
                "open": list(settled.open),
            },
        )

"""What is wrong with the lock at a port, and what to do next."""

from __future__ import annotations

from dataclasses import replace

from svcport.catalogue.advisory import Advisory
from svcport.diagnosis.findings import KnownTrouble
from svcport.diagnosis.findings import diagnose as judge
from svcport.errors import Outcome
from svcport.operations.report import Report
from svcport.operations.visit import Visit


def diagnose_lock(stay: Visit) -> Report:
    """Findings with their evidence, and the advisories that apply; `ok` whatever is found."""
    stay.progress.step("reading the event log")
    stay.snapshot = replace(stay.snapshot, events=stay.lock.recent_events())
    stay.progress.step("comparing with the vendor's advisories")
    advisories = _advisories(stay)
    known = [KnownTrouble(one.id, one.title, str(one.action)) for one in advisories]
    findings = judge(stay.snapshot, known)
    first = findings[0]
    codes = ", ".join(finding.code for finding in findings)
    return Report(
        Outcome.OK,
        f"lock {stay.lock.serial}: {codes}",
        hint=first.action,
        facts={
            **stay.facts(),
            "findings": [finding.as_json() for finding in findings],
            "advisories": [_advisory_json(one) for one in advisories],
        },
    )


def _advisories(stay: Visit) -> tuple[Advisory, ...]:
    lock = stay.snapshot
    if lock.running is None or lock.running.version is None:
        return ()
    return stay.inst.catalogue.advisories(lock.model, lock.batch, str(lock.running.version))


def _advisory_json(advisory: Advisory) -> dict[str, str]:
    return {"id": advisory.id, "title": advisory.title, "action": str(advisory.action)}

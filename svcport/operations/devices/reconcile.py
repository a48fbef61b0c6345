"""Close the INTENTs of a device whose end nobody knows, by what runs on it now.

A device signs nothing and counts nothing, so this is a claim: the application that answers says
what it is. Open INTENTs are matched by the serial that was claimed, then and now.
"""

from __future__ import annotations

from protocol.objects import Entry
from protocol.sealed import Sealed
from svcport.errors import Outcome
from svcport.operations.devices.act import boots_now
from svcport.operations.devices.choice import entry_digest
from svcport.operations.devices.visit import ASSURANCE, DeviceVisit
from svcport.operations.report import Report
from svcport.operations.settle import intent_json


def reconcile_device(stay: DeviceVisit) -> Report:
    """Each open INTENT for this device gets a RESULT that says whether its image runs."""
    stay.progress.step("comparing what runs with what was left open")
    ledger, serial = stay.work.ledger, stay.target.claimed_serial
    running = stay.view.running
    digest = None if running is None or running.digest is None else entry_digest(running.digest)
    closed = []
    for intent in ledger.open_intents():
        sealed = Sealed.parse(intent.sealed)
        if intent.serial != serial or Entry.read(sealed).assurance != ASSURANCE:
            continue
        does = "runs" if intent.image_digest == digest else "does not run"
        note = f"its image {does}; {boots_now(stay.view) or 'nothing'} runs, as claimed"
        ledger.record_result(
            intent=sealed, receipt=None, now=stay.work.now(), note=note, checkpoint=True
        )
        closed.append(intent_json(intent))
    runs = boots_now(stay.view)
    return Report(
        Outcome.OK,
        f"{stay.name}: {len(closed)} intents closed; it runs {runs or 'nothing'}, as it claims",
        facts={**stay.facts(), "recovered": [], "closed": closed, "open": []},
    )

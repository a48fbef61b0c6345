"""One act at a device: INTENT, the change, the restart, what runs then, RESULT.

There is no receipt: success is that the application that runs after the restart states version and
hash of the image that was wanted, and that it is confirmed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from protocol.sealed import Sealed
from protocol.values import Op
from svcport.errors import (
    FailedError,
    Reason,
    UnfinishedError,
    UnknownOutcomeError,
)
from svcport.locks.device import DeviceSlot, DeviceView
from svcport.locks.smp_errors import SmpRefusedError
from svcport.locks.snapshot import LockKind
from svcport.operations.act import reason_of, under_way, words_of
from svcport.operations.devices.choice import entry_digest
from svcport.operations.devices.visit import ASSURANCE, DeviceVisit

BROKEN_OFF: Final = (FailedError, SmpRefusedError, KeyboardInterrupt)
"""The port, the device's own no, and whoever stands before it."""

RECONCILE: Final = "run svcport reconcile when the device answers again: it asks what runs"


@dataclass(frozen=True, slots=True)
class DeviceAct:
    """What is being done to one device, and the INTENT that says so."""

    stay: DeviceVisit
    intent: Sealed
    digest: bytes

    def close(self, note: str) -> int:
        """Write the RESULT and the checkpoint over it; the entry's index."""
        ledger = self.stay.work.ledger
        index, _entry = ledger.record_result(
            intent=self.intent,
            receipt=None,
            now=self.stay.work.now(),
            note=note,
            checkpoint=True,
        )
        return index


@contextlib.contextmanager
def device_act(stay: DeviceVisit, op: Op, digest: bytes, version: str) -> Iterator[DeviceAct]:
    """Around everything that changes the device; the INTENT is durable before it begins.

    Raises:
        RecordsError: the ledger cannot be written.
    """
    work = stay.work
    signer = work.intent_signer
    _index, intent = work.ledger.record_intent(
        signer=signer.signer,
        technician_hash=signer.technician_hash,
        op=op,
        serial=stay.target.claimed_serial,
        now=work.now(),
        image_digest=entry_digest(digest),
        case_id=stay.target.case_id,
        note=f"{stay.view.kind} at {stay.lock.port}: {version}",
        assurance=ASSURANCE,
    )
    with under_way():
        yield DeviceAct(stay, intent, digest)


@contextlib.contextmanager
def before_restart(act: DeviceAct, boots: str | None) -> Iterator[None]:
    """While the image is written: what breaks off leaves what `boots` says, and is recorded.

    Args:
        act: under way.
        boots: version that the device starts if it is restarted now; None if nothing.

    Raises:
        UnfinishedError: in place of what broke off.
    """
    try:
        yield
    except BROKEN_OFF as error:
        raise unfinished(act, error, boots) from error


def unfinished(act: DeviceAct, error: BaseException, boots: str | None) -> UnfinishedError:
    """What to raise where the new image surely does not run; the RESULT is written."""
    what = f"{boots} is there as before" if boots else "nothing bootable is there now"
    message = f"{words_of(error)}; {what}"
    act.close(f"failed: {message}")
    hint = "run the same command again"
    return UnfinishedError(reason_of(error), message, boots=boots, hint=hint)


@contextlib.contextmanager
def restarting(act: DeviceAct) -> Iterator[None]:
    """From the restart on, only the device can tell what runs: silence is `unknown`.

    Raises:
        UnknownOutcomeError: in place of what broke off; the INTENT stays open.
    """
    try:
        yield
    except UnfinishedError:
        raise
    except BROKEN_OFF as error:
        stay = act.stay
        message = f"the device was restarted and does not tell what runs: {words_of(error)}"
        stay.work.ledger.record_note(
            text=f"unknown: {message}",
            now=stay.work.now(),
            serial=stay.target.claimed_serial,
            intent=act.intent,
            case_id=stay.target.case_id,
            checkpoint=True,
        )
        raise UnknownOutcomeError(reason_of(error), message, hint=RECONCILE) from error


def prove(act: DeviceAct) -> DeviceView:
    """Confirm what runs if it is the wanted image on trial, and look once more.

    Raises:
        UnfinishedError: something else runs, or the boot loader waits: it did not take the image.
    """
    stay, view = act.stay, act.stay.view
    running = view.running
    if running is None or running.digest != act.digest:
        raise unfinished(act, _not_taken(act, view), boots_next(view))
    if running.confirmed is False:
        stay.progress.step("confirming the new image")
        stay.lock.confirm(act.digest)
        view = stay.look()
        running = view.running
        if running is None or running.digest != act.digest or running.confirmed is False:
            raise unfinished(act, _not_taken(act, view), boots_next(view))
    return view


def boots_now(view: DeviceView) -> str | None:
    """The version that runs, as far as the device tells."""
    return _version_in(view.running)


def boots_next(view: DeviceView) -> str | None:
    """The version that a restart would start, as far as the device tells."""
    return _version_in(view.starts_next)


def _version_in(slot: DeviceSlot | None) -> str | None:
    return None if slot is None or slot.version is None else str(slot.version)


def _not_taken(act: DeviceAct, view: DeviceView) -> FailedError:
    running = view.running
    if running is not None and running.digest == act.digest:
        seen = f"{boots_now(view) or 'the image'} runs, and the device does not keep it"
    elif view.kind is LockKind.MCUBOOT_RECOVERY:
        seen = "the boot loader waits in serial recovery: it did not start the image"
    else:
        seen = f"{boots_now(view) or 'something else'} runs after the restart, not the image"
    return FailedError(Reason.LOCK_REFUSED, seen)


def done_facts(act: DeviceAct, before: dict[str, Any]) -> dict[str, Any]:
    """The members of a report after an act that went well; closes the act."""
    after = state_json(act.stay.view)
    index = act.close(f"runs {after['version']}, as its application claims")
    return {
        **act.stay.facts(),
        "before": before,
        "after": after,
        "receipt": None,
        "ledger": {"origin": act.stay.work.ledger.origin, "index": index},
    }


def state_json(view: DeviceView) -> dict[str, Any]:
    """The `before` and `after` members."""
    running = view.running
    if running is None:
        return {"version": None, "digest": None, "confirmed": False}
    return {
        "version": None if running.version is None else str(running.version),
        "digest": None if running.digest is None else running.digest.hex(),
        "confirmed": running.confirmed,
    }

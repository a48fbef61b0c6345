"""Put a named image on a device, and read from the running application that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from images import PublicKey, VerifiedImage
from protocol.values import Op
from svcport.errors import Outcome, RefusedError
from svcport.locks.device import UploadTally
from svcport.locks.snapshot import LockKind
from svcport.operations.devices.act import (
    DeviceAct,
    before_restart,
    boots_next,
    device_act,
    done_facts,
    prove,
    restarting,
    state_json,
)
from svcport.operations.devices.choice import chosen_image
from svcport.operations.devices.plan import DevicePlan, Way, plan_restore
from svcport.operations.devices.visit import DeviceVisit
from svcport.operations.progress import heed_of
from svcport.operations.report import Report, refusals_json

TRIALS: Final = 2
"""Restarts that may be needed until no foreign image is on trial: one is pending, one runs."""


def restore_device(
    stay: DeviceVisit,
    *,
    file: Path | None,
    version: str | None,
    keys: Sequence[PublicKey],
    dry_run: bool,
) -> Report:
    """Bring the image in `file` onto the device.

    Args:
        stay: the visit.
        file: the image; naming it is the permit.
        version: refused here: a catalogue's versions are for service-port locks.
        keys: public keys under which a signature may verify, beside the home's.
        dry_run: only say what would be done.

    Raises:
        RefusedError: the `image-` reasons, `not-bootable`, `no-permit`.
        SvcportError: see docs/contract.md.
    """
    image = chosen_image(stay.work, file, version, keys)
    plan = plan_restore(stay.view, image, can_try=_can_try(stay))
    if dry_run:
        return dry_run_report(stay, plan, "restore")
    before = state_json(stay.view)
    if _runs(stay, image):
        return _nothing_to_do(stay, image, before)
    if plan.refusals:
        raise RefusedError.of(plan.refusals)
    with device_act(stay, Op.RESTORE, image.digest, plan.version) as act:
        tally = None if _on_trial(stay, image) else _bring(act, image, plan.way)
        with restarting(act):
            prove(act)
        return _done(act, image, before, tally)


def dry_run_report(stay: DeviceVisit, plan: DevicePlan, word: str) -> Report:
    """The report of a dry run; RefusedError with the plan where it would be refused."""
    facts = {**stay.facts(), "plan": [step.as_json() for step in plan.steps]}
    if plan.refusals:
        error = RefusedError.of(plan.refusals)
        error.facts = facts
        raise error
    return Report(
        Outcome.OK,
        f"would {word} the {stay.name} to {plan.version}; nothing was changed",
        facts={**facts, "refusals": refusals_json(())},
    )


def _can_try(stay: DeviceVisit) -> bool:
    return stay.view.kind is LockKind.ZEPHYR_SMP and stay.lock.can_try()


def _runs(stay: DeviceVisit, image: VerifiedImage) -> bool:
    running = stay.view.running
    return running is not None and running.digest == image.digest and running.confirmed is not False


def _on_trial(stay: DeviceVisit, image: VerifiedImage) -> bool:
    """Whether the image runs already and only waits for its confirmation."""
    running = stay.view.running
    return running is not None and running.digest == image.digest and running.confirmed is False


def _bring(act: DeviceAct, image: VerifiedImage, way: Way) -> UploadTally:
    """The image written and started; UnfinishedError while that is not so."""
    stay = act.stay
    _end_trials(act)
    if way in (Way.RECOVERY, Way.CLEARED):
        _enter_recovery(act, clear=way is Way.CLEARED)
    # In recovery the first chunk erases what was there; an application writes the other slot.
    boots = boots_next(stay.view)
    tally = _write(act, image, boots)
    if way is Way.TRIAL:
        with before_restart(act, boots):
            stay.progress.step("starting the new image on trial")
            stay.lock.mark_test(image.digest)
    with restarting(act):
        stay.restart()
    return tally


def _end_trials(act: DeviceAct) -> None:
    """A foreign image on trial, or about to be, goes first: the confirmed one must stay whole."""
    stay = act.stay
    for _restart in range(TRIALS):
        running = stay.view.running
        pending = any(slot.pending for slot in stay.view.slots)
        if not pending and (running is None or running.confirmed is not False):
            return
        with before_restart(act, boots_next(stay.view)):
            stay.progress.step("giving up the image that is on trial")
            stay.restart()


def _enter_recovery(act: DeviceAct, *, clear: bool) -> None:
    stay = act.stay
    with before_restart(act, boots_next(stay.view)):
        if clear and stay.view.other is not None:
            stay.progress.step("emptying the other slot")
            stay.lock.erase(None)
        stay.progress.step("restarting the device into serial recovery")
        stay.view = stay.lock.enter_recovery(heed=heed_of(stay.progress))


def _write(act: DeviceAct, image: VerifiedImage, boots: str | None) -> UploadTally:
    """Send the image; `boots` is what a restart in between would start."""
    stay = act.stay
    with before_restart(act, boots):
        stay.progress.step("sending the new image")
        stay.progress.start(image.size)
        tally = stay.lock.upload(image.data, stay.progress.advance)
        stay.progress.finish()
    return tally


def _nothing_to_do(stay: DeviceVisit, image: VerifiedImage, before: dict[str, Any]) -> Report:
    return Report(
        Outcome.NOTHING_TO_DO,
        f"the {stay.name} runs {image.version} already, as its application claims",
        facts={**stay.facts(), "before": before, "after": before},
    )


def _done(
    act: DeviceAct, image: VerifiedImage, before: dict[str, Any], tally: UploadTally | None
) -> Report:
    facts = done_facts(act, before)
    facts["transfer"] = None if tally is None else transfer_json(image, tally)
    facts["signer"] = image.signer or None
    signed = "" if image.signed else "; nobody signed it, only its hash was checked"
    return Report(
        Outcome.OK,
        f"the {act.stay.name} runs {image.version} after its restart, "
        f"as its application claims{signed}",
        facts=facts,
    )


def transfer_json(image: VerifiedImage, tally: UploadTally) -> dict[str, Any]:
    """The `transfer` member: chunks are raw units; such a device takes no others."""
    return {
        "image_bytes": image.size,
        "wire_bytes": tally.wire_bytes,
        "units": {"raw": tally.chunks, "deflate": 0, "skipped": 0},
        "resumed": tally.resumed > 0,
        "seconds": round(tally.seconds, 3),
        "baud": None,
    }
